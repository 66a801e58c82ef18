"""The study engine: vmap = loop, padded = unpadded, 1 device = 4 devices, resumed = uninterrupted, and its errors."""

import errno
import itertools
import os
import signal
import subprocess
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pandas as pd
import pytest
from paths import ROOT
from study_config import small

from regcls_jax import binning
from regcls_jax import optimizer as optimizers
from regcls_jax.data.synthetic import problems
from regcls_jax.models.mlp import MLP
from regcls_jax.objectives import keep_mask, objective
from regcls_jax.store import files
from regcls_jax.store.rows import SHARED, read_rows
from regcls_jax.study import arrays, plan
from regcls_jax.study import train as training
from regcls_jax.study.engine import run_study
from regcls_jax.study.runs import expand
from regcls_jax.study.step import init_state, train_step


@pytest.fixture(scope="module")
def cache_dir(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def finished(tmp_path_factory, cache_dir):
    """The small study, finished on four devices."""
    workdir = tmp_path_factory.mktemp("finished")
    assert run_study(small(), workdir, cache_dir, command="test", progress=False) == 16
    return workdir


def rows_of(workdir):
    return read_rows(workdir).sort_values(
        ["run", "arm", "scenario", "sampling", "repetition", "split"], ignore_index=True
    )


def one_by_one(run, cache_dir):
    """The slow reading of a training: batch-major model, no chunk, no padding, one jitted step per batch."""
    problem = problems.read(run.data, cache_dir)
    x, y = problem.inputs[problem.splits["train"]].astype(np.float32), problem.train_targets.astype(np.float32)
    bins = binning.fit(problem.train_targets, run.classes, balanced=run.balanced) if run.classes else None
    classes = bins.classes if bins else 0
    label = np.asarray(binning.assign(problem.train_targets, bins.edges)) if bins else None
    model = MLP(run.hidden, classes)
    key = arrays.run_keys([run])[0]
    padded = plan.padded_classes(classes) if run.balanced else classes
    params = MLP(run.hidden, padded).init(jax.random.fold_in(key, training.INITIAL_WEIGHTS), x[:1])["params"]
    if run.balanced:
        # Xavier's bound of the real head over that of the padded one, for the same uniform draws.
        bound = np.sqrt((run.hidden[-1] + padded) / (run.hidden[-1] + classes))
        head = params["class_head"]
        params["class_head"] = {"kernel": head["kernel"][:, :classes] * bound, "bias": head["bias"][:classes]}
    optimizer = optimizers.make(learning_rate=run.learning_rate, weight_decay=run.weight_decay)

    @jax.jit
    def step(state, x, y, label, mask_key):
        def loss(params):
            prediction = model.apply({"params": params}, x)
            kept = keep_mask(mask_key, label, jnp.asarray(bins.keep, jnp.float32)) if run.balanced else None
            return objective(prediction, y, label, lam=run.lam, class_mask=kept)

        return train_step(state, loss, optimizer)[0]

    state = init_state(params, optimizer)
    orders = arrays.sample_orders(run.seed, len(y), run.epochs)
    batches = len(y) // run.batch_size
    mask_key = jax.random.fold_in(key, training.CLASS_MASKS)
    for number, (order, batch) in enumerate(itertools.product(orders, range(batches))):
        rows = order[batch * run.batch_size : (batch + 1) * run.batch_size]
        labels = label[rows] if bins else None
        state = step(state, x[rows], y[rows], labels, jax.random.fold_in(mask_key, number))
    trunk = {name: layer for name, layer in state.params.items() if name != "class_head"}
    value = MLP(run.hidden).apply({"params": trunk}, problem.inputs.astype(np.float32)).value
    squared = (np.asarray(value, np.float64) - problem.targets) ** 2
    return {name: float(np.mean(squared[rows])) for name, rows in problem.splits.items()}


@pytest.mark.parametrize("arm", ["reg", "reg_cls", "bal"])
def test_the_engine_trains_as_a_plain_loop_does(finished, cache_dir, arm):
    """Feature-major, vmapped, padded, scanned, sharded ≡ one step after the other (168 steps of Adam in float32)."""
    rows = rows_of(finished)
    runs = expand(small())
    number = max(n for n, run in enumerate(runs) if run.arm == arm and run.data.sampling == "severe")
    mine = rows[rows["run"] == number].set_index("split")["mse"].to_dict()
    assert mine == pytest.approx(one_by_one(runs[number], cache_dir), rel=2e-4)


def test_rows_say_what_was_trained_and_beside_it_the_trivial_predictors(finished, cache_dir):
    rows = rows_of(finished)
    runs = expand(small())
    trained = rows[rows["run"] >= 0]
    assert len(trained) == len(runs) * 4
    assert set(SHARED) <= set(rows)
    for number, members in trained.groupby("run"):
        run = runs[number]
        assert set(members["split"]) == {"train", "val", "val_balanced", "test"}
        assert (members["arm"] == run.arm).all()
        assert (members["lam"] == run.lam).all()
        assert (members["sampling"] == run.data.sampling).all()
        assert (members["repetition"] == run.data.repetition).all()
        assert (members["classes"] == run.classes).all()
    balanced = trained[trained["arm"] == "bal"]
    assert (balanced["classes_kept"] < 16).any()
    assert (
        trained[trained["arm"] == "reg_cls"]["classes_kept"] == trained[trained["arm"] == "reg_cls"]["classes"]
    ).all()
    data = next(run.data for run in runs if run.data.sampling == "severe")
    problem = problems.read(data, cache_dir)
    constant = rows[(rows["arm"] == "constant") & (rows["sampling"] == "severe") & (rows["repetition"] == 0)]
    expected = np.mean((problem.targets[problem.splits["test"]] - problem.train_targets.mean()) ** 2)
    assert constant.set_index("split")["mse"]["test"] == pytest.approx(expected, rel=1e-12)
    median = rows[(rows["arm"] == "median") & (rows["sampling"] == "severe") & (rows["repetition"] == 0)]
    expected = np.mean(np.abs(problem.targets[problem.splits["val"]] - np.median(problem.train_targets)))
    assert median.set_index("split")["mae"]["val"] == pytest.approx(expected, rel=1e-12)


def test_repetitions_differ_in_initial_weights_and_in_batches():
    first, second = (next(run for run in expand(small()) if run.data.repetition == r) for r in (0, 1))
    shape = plan.shape_of(first, plan.Sized(1000, "", 1010, 2, 0, {"test": 10}, None))
    weights = [training._initial_params(shape, arrays.run_keys([run])[0], 1, jnp.zeros(())) for run in (first, second)]
    for a, b in zip(*map(jax.tree.leaves, weights), strict=True):
        assert not a.any() or (a != b).all()
    assert (arrays.sample_orders(first.seed, 1000, 1) != arrays.sample_orders(second.seed, 1000, 1)).mean() > 0.9


def test_one_device_equals_four(finished, tmp_path, cache_dir):
    """In a process of its own, since the number of devices is fixed when JAX starts."""
    config = tmp_path / "config.py"
    config.write_text(
        "from ml_collections import ConfigDict\nimport sys\n"
        f"sys.path.insert(0, {str(ROOT / 'tests' / 'helpers')!r})\n"
        "from study_config import small\ndef get_config():\n    return ConfigDict(small())\n"
    )
    launch(config, tmp_path / "one", cache_dir, devices=1)
    four, one = (rows_of(folder).drop(columns="run") for folder in (finished, tmp_path / "one"))
    names = [name for name in four if name not in ("mse", "mae")]  # a ConfigDict sorts its arms, so numbers differ
    four, one = (rows.sort_values(names, ignore_index=True) for rows in (four, one))
    pd.testing.assert_frame_equal(four, one, check_exact=False, rtol=1e-5)


def launch(config, workdir, cache_dir, devices=2, **kwargs):
    arguments = [f"--config={config}", f"--workdir={workdir}", f"--cache_dir={cache_dir}", f"--devices={devices}"]
    return subprocess.run(
        [sys.executable, "launch/study.py", *arguments], cwd=ROOT, check=True, capture_output=True, text=True, **kwargs
    )


def test_a_killed_study_continues_to_the_same_rows_bit_for_bit(tmp_path, cache_dir):
    """kill -9 after the first part; what is left has to be trained, and only that."""
    config = "configs/fig3.py:runlocal"
    launch(config, tmp_path / "whole", cache_dir)
    arguments = [f"--config={config}", f"--workdir={tmp_path / 'killed'}", f"--cache_dir={cache_dir}", "--devices=2"]
    process = subprocess.Popen([sys.executable, "launch/study.py", *arguments], cwd=ROOT, stderr=subprocess.DEVNULL)
    rows = tmp_path / "killed" / "rows"
    while process.poll() is None and not list(rows.glob("0*.csv.gz")):
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    kept = {path.name: path.read_bytes() for path in rows.glob("0*.csv.gz")}
    whole = {path.name: path.read_bytes() for path in (tmp_path / "whole" / "rows").glob("*.csv.gz")}
    assert 0 < len(kept) < len(whole) - 1, "the kill came too late to test anything"
    output = launch(config, tmp_path / "killed", cache_dir).stdout
    left = 12 - sum(pd.read_csv(rows / name)["run"].nunique() for name in kept)
    assert f"{left} trainings done now" in output
    assert {path.name: path.read_bytes() for path in rows.glob("*.csv.gz")} == whole
    assert "All trainings were done before." in launch(config, tmp_path / "killed", cache_dir).stdout
    assert {path.name: path.read_bytes() for path in rows.glob("*.csv.gz")} == whole


def test_a_full_disk_in_mid_study_is_one_error_and_loses_nothing(finished, tmp_path, cache_dir, monkeypatch):
    written = []

    def full(descriptor):
        written.append(descriptor)
        if len(written) > 5:  # config, trivial rows, what chunks are chosen by, one part and its time
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(files.os, "fsync", full)
        with pytest.raises(OSError, match="cannot be written: No space left on device") as error:
            run_study(small(), tmp_path, cache_dir, progress=False)
    assert str(tmp_path) in error.value.filename
    assert len(list((tmp_path / "rows").glob("0*.csv.gz"))) == 1
    assert not list(tmp_path.rglob("*.tmp"))
    assert 0 < run_study(small(), tmp_path, cache_dir, progress=False) < 16
    pd.testing.assert_frame_equal(rows_of(finished), rows_of(tmp_path), check_exact=True)


def test_a_workdir_belongs_to_one_config(finished, cache_dir):
    with pytest.raises(ValueError, match=r"another config: run\.epochs is 2 there and 3 here"):
        run_study(small(run={"epochs": 3}), finished, cache_dir, progress=False)


def test_a_workdir_that_cannot_be_written_is_one_error(tmp_path, cache_dir):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="workdir .*file/study cannot be written"):
        run_study(small(), tmp_path / "file" / "study", cache_dir, progress=False)


def test_new_learning_rates_and_lambdas_compile_nothing(cache_dir, tmp_path):
    """What a run may vary freely is traced: a second study of the same shapes reuses the programs of the first."""
    arms = {"reg": {"lam": 1.0}}
    run_study(small(arms=arms), tmp_path / "first", cache_dir, progress=False)
    before = training.train_runs._cache_size()
    arms = {"reg": {"lam": 3.0, "scale": 2.0, "learning_rate": 0.01, "weight_decay": 0.0}}
    run_study(small(arms=arms), tmp_path / "second", cache_dir, progress=False)
    assert training.train_runs._cache_size() == before


def test_a_diverged_run_is_a_row_with_nan_not_a_crash(cache_dir, tmp_path):
    run_study(small(arms={"reg": {"lam": 1.0, "learning_rate": 1e30}}), tmp_path, cache_dir, progress=False)
    rows = rows_of(tmp_path)
    assert not np.isfinite(rows[rows["arm"] == "reg"]["mse"]).any()
    assert np.isfinite(rows[rows["arm"] == "constant"]["mse"]).all()


def test_sgd_and_two_hidden_layouts_train(cache_dir, tmp_path):
    arms = {"sgd": {"optimizer": "sgd", "lam": 1.0, "hidden": ((4,), (8, 8)), "learning_rate": 0.05}}
    data = {"samplings": ("uniform",), "repetitions": 1}
    run_study(small(data=data, arms=arms), tmp_path, cache_dir, progress=False)
    rows = rows_of(tmp_path)
    test = rows[rows["split"] == "test"].set_index(["arm", "hidden"])["mse"]
    sgd = rows[(rows["arm"] == "sgd") & (rows["split"] == "train")]
    assert set(sgd["hidden"].astype(str)) == {"4", "8-8"}
    assert (sgd["mse"] < test.loc["constant"].iloc[0]).all()


def test_one_flat_vector_is_updated_as_the_layers_are():
    """The engine flattens the parameters for speed; only the order of roundings may differ."""
    params = {"a": jnp.arange(6.0).reshape(2, 3), "b": jnp.array([0.5, -2.0])}
    gradient = jax.tree.map(lambda p: jnp.cos(p) * 3, params)
    optimizer = optimizers.make(learning_rate=1e-2, weight_decay=1e-1)
    flat = optax.flatten(optimizer)
    for a, b in zip(
        jax.tree.leaves(optimizer.update(gradient, optimizer.init(params), params)[0]),
        jax.tree.leaves(flat.update(gradient, flat.init(params), params)[0]),
        strict=True,
    ):
        np.testing.assert_allclose(a, b, rtol=1e-6)
