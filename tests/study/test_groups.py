"""Rows that belong to groups: their errors, the published mean over batches, predictions; and bounded memory."""

import jax
import numpy as np
import pandas as pd
import pytest
from toy import ToySpec, read_toy
from video_files import write_videos

from regcls_jax.data.source import Groups, Problem
from regcls_jax.data.sources import SOURCES
from regcls_jax.store.groups import read_groups
from regcls_jax.store.rows import read_rows
from regcls_jax.study import arrays, evaluation, plan
from regcls_jax.study import train as training
from regcls_jax.study.engine import run_study
from regcls_jax.study.fit import fit
from regcls_jax.study.groups import batch_rmse, group_errors
from regcls_jax.study.runs import Run


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    """Two arms on five short videos, of which every person of two is a test set."""
    folder = tmp_path_factory.mktemp("videos") / "features"
    write_videos(folder)
    return {
        "name": "tab5",
        "data": {"source": "breakfast", "features": str(folder), "tasks": ("tea",), "folds": ("P03", "P17")},
        "run": {"hidden": (8,), "batch_size": 40, "epochs": 3, "low": 0.0, "high": 1.0, "reduction": "sum"},
        "arms": {"reg": {}, "reg_cls": {"classes": 5}, "random": {"epochs": 0}},
        "predictions": True,
    }


@pytest.fixture(scope="module")
def finished(config, tmp_path_factory):
    workdir, cache_dir = tmp_path_factory.mktemp("finished"), tmp_path_factory.mktemp("cache")
    assert run_study(config, workdir, cache_dir, progress=False) == 6
    return workdir


def test_errors_of_groups_against_a_loop():
    generator = np.random.default_rng(0)
    targets, values, groups = generator.random(50), generator.random(30), generator.integers(0, 4, 50)
    rows = generator.permutation(50)[:30]
    problem = Problem(np.zeros((50, 1)), targets, {"test": rows}, Groups(groups, tuple("abcd"), 7))
    found = group_errors(values, problem, "test").set_index("group")
    for group, name in enumerate("abcd"):
        errors = [value - targets[row] for value, row in zip(values, rows, strict=True) if groups[row] == group]
        assert found.loc[name, "n"] == len(errors)
        assert found.loc[name, "mse"] == pytest.approx(np.mean(np.square(errors)))
        assert found.loc[name, "mae"] == pytest.approx(np.mean(np.abs(errors)))


def test_the_published_mean_over_batches_against_a_loop():
    generator = np.random.default_rng(1)
    values, targets = generator.random(95), generator.random(95)
    batches = [slice(start, start + 40) for start in (0, 40, 80)]  # the last of 15 counts as much
    expected = np.mean([np.sqrt(np.mean((values[batch] - targets[batch]) ** 2)) for batch in batches])
    assert batch_rmse(values, targets, 40) == pytest.approx(expected)


def test_a_constant_in_the_published_measure():
    """Recipes 4.6-2: 0.5 has a pooled RMSE of .2887, and .250 averaged over batches; 0 has .577 and .504."""
    progress = np.concatenate([np.arange(length) / length for length in (900, 2400, 1640, 640)])
    for constant, pooled, published in ((0.5, 0.2887, 0.250), (0.0, 0.577, 0.504)):
        assert np.sqrt(np.mean((constant - progress) ** 2)) == pytest.approx(pooled, abs=1e-3)
        assert batch_rmse(np.full(len(progress), constant), progress, 40) == pytest.approx(published, abs=6e-3)


def test_rows_groups_and_predictions_agree(finished):
    rows = read_rows(finished)
    errors, predictions = read_groups(finished, set(range(6)))
    assert set(errors["split"]) == {"val", "test"}
    test = rows[rows["split"] == "test"].set_index(["run", "arm", "fold"])
    of_videos = errors[errors["split"] == "test"].groupby(["run", "arm", "fold"])
    pooled = of_videos.apply(lambda part: np.average(part["mse"], weights=part["n"]), include_groups=False)
    np.testing.assert_allclose(pooled, test.loc[pooled.index, "mse"], rtol=1e-5)
    assert len(predictions["run"].unique()) == 6
    for run, part in predictions.groupby("run"):
        own = rows[(rows["run"] == run) & (rows["split"] == "test")].iloc[0]
        assert np.mean((part["prediction"] - part["truth"]) ** 2) == pytest.approx(own["mse"], rel=1e-5)
        assert batch_rmse(part["prediction"], part["truth"], 40) == pytest.approx(own["batch_rmse"], rel=1e-5)
    assert set(errors.loc[errors["run"] == -1, "arm"]) == {"constant", "median", "zero", "half", "clock"}
    half = test.xs("half", level="arm")["mse"] ** 0.5
    np.testing.assert_allclose(half, 0.2887, atol=2e-3)


def test_an_untrained_network_is_the_initial_one(finished):
    rows = read_rows(finished)
    random = rows[(rows["arm"] == "random") & (rows["split"] == "test")]
    assert (random["epochs"] == 0).all()
    assert np.isfinite(random["mse"]).all()


def test_resumed_without_some_files_is_the_same(config, finished, tmp_path):
    run_study(config, tmp_path, tmp_path, progress=False)
    for kind in ("rows", "groups", "predictions"):
        path = min((tmp_path / kind).glob("0*.csv.gz"))
        content = path.read_bytes()
        (tmp_path / "rows" / path.name).unlink()  # killed before the rows were written: the others are there
        assert run_study(config, tmp_path, tmp_path, progress=False) > 0
        assert path.read_bytes() == content
    assert read_groups(tmp_path, set(range(6))).errors.equals(read_groups(finished, set(range(6))).errors)


def test_a_missing_run_is_named(finished, tmp_path):
    with pytest.raises(ValueError, match="run 99 has no errors by group"):
        read_groups(finished, {0, 99})
    with pytest.raises(OSError, match="holds no errors by group"):
        read_groups(tmp_path, {0})


BASE = {"hidden": (8,), "batch_size": 40, "epochs": 3, "weight_decay": 0.0}


def trained(**settings):
    training.train_runs.clear_cache()
    runs = [Run(arm="a", data=ToySpec(), seed=ToySpec().seed, **{**BASE, **settings}) for _ in range(2)]
    return fit(runs, read_toy)[0]


@pytest.mark.parametrize("settings", [{}, {"classes": 4, "balanced": True}, {"reweight": "inverse"}])
def test_rows_gathered_step_by_step_are_those_gathered_at_once(monkeypatch, settings):
    at_once = trained(**settings)
    monkeypatch.setattr(training, "EPOCH_BYTES", 0)
    by_step = trained(**settings)
    jax.tree.map(np.testing.assert_array_equal, at_once.params, by_step.params)
    assert at_once.errors == by_step.errors


def test_a_split_evaluated_in_blocks(monkeypatch):
    whole = trained()
    monkeypatch.setattr(evaluation, "BLOCK_BYTES", 16 * 4 * ToySpec().width)
    blocks = trained()
    training.train_runs.clear_cache()
    for split, errors in whole.errors.items():
        assert blocks.errors[split]["n"] == errors["n"]
        assert blocks.errors[split]["mse"] == pytest.approx(errors["mse"], rel=1e-6)


def test_sum_is_the_mean_with_lambda_times_the_batch_size():
    summed, mean = trained(reduction="sum", lam=0.5), trained(reduction="mean", lam=20.0)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), summed.params, mean.params)


def built(last=None):
    runs = [Run(arm="a", data=ToySpec(), seed=0, **BASE)]
    sizes = {run.trained_on: plan.measure(run.trained_on, read_toy(run.data)) for run in runs}
    ((part,),) = plan.plan(runs, sizes, devices=1)
    return arrays.build(part, arrays.padding([part], runs, sizes), runs, sizes, read_toy, 1, last)[2]


def test_a_part_on_the_same_data_takes_over_its_arrays():
    last = arrays.LastData()
    first, second = built(last), built(last)
    assert second.inputs is first.inputs
    assert second.targets is first.targets
    np.testing.assert_array_equal(built().inputs, first.inputs)


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="cores of one CPU")
def test_devices_of_one_cpu_share_the_arrays():
    made = built()
    mesh = jax.make_mesh((jax.device_count(),), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    assert mesh.size > 1
    placed = arrays.on_every_device(made, mesh)
    for name in ("inputs", "orders"):
        array, own = getattr(placed, name), getattr(made, name)
        addresses = {shard.data.unsafe_buffer_pointer() for shard in array.addressable_shards}
        assert addresses == {own.ctypes.data}
        np.testing.assert_array_equal(array, own)


def test_large_data_sets_are_trained_on_one_after_another(monkeypatch):
    specs = [ToySpec(fold=fold, samples=samples) for fold in range(3) for samples in (200, 201, 202)]
    runs = [Run(arm="a", data=spec, seed=spec.seed, lam=lam, **BASE) for lam in (1.0, 2.0) for spec in specs]
    sizes = {run.trained_on: plan.measure(run.trained_on, read_toy(run.data)) for run in runs}

    def chunks():
        (parts,) = plan.plan(runs, sizes, devices=2, chunk=2)
        return [chunk for part in parts for chunk in part.chunks]

    before = chunks()
    monkeypatch.setattr(plan, "LARGE_BYTES", 0)
    after = chunks()
    assert sorted(before) == sorted(after)
    shared = [runs[chunk[0]].data.shared for chunk in after]
    assert sum(a != b for a, b in zip(shared, shared[1:], strict=False)) == len(set(shared)) - 1


def test_predictions_need_no_groups(tmp_path):
    config = {
        "name": "tables",
        "data": {"source": "table", "dataset": "linnerud", "folds": 2},
        "run": {"hidden": (4,), "batch_size": 4, "epochs": 1},
        "arms": {"reg": {}},
        "predictions": True,
    }
    run_study(config, tmp_path, tmp_path, progress=False)
    found = pd.concat(pd.read_csv(path) for path in (tmp_path / "predictions").glob("*.csv.gz"))
    assert len(found) == 20
    assert not (tmp_path / "groups").exists()


def test_every_fold_is_checked_on_its_own_rows(tmp_path, monkeypatch):
    """Folds share inputs and targets, but not every row has to be in the first one."""
    targets = np.arange(20.0)
    targets[19] = np.nan

    def read(spec, cache_dir):
        last = 19 + spec.fold
        splits = {"train": np.arange(8), "val": np.arange(8, 12), "test": np.arange(12, last)}
        return Problem(np.ones((20, 1)), targets, {name: rows.astype(np.int32) for name, rows in splits.items()})

    monkeypatch.setitem(SOURCES, "table", SOURCES["table"]._replace(read=read))
    config = {"name": "own", "data": {"source": "table", "dataset": "linnerud", "folds": 2}, "arms": {"reg": {}}}
    with pytest.raises(ValueError, match="fold 1, test targets: 1 of 8 values are not finite"):
        run_study({**config, "run": {"batch_size": 4, "epochs": 1}}, tmp_path, tmp_path, progress=False)
