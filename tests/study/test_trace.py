"""The trace of section 2.2 in training, against plain NumPy on snapshots; its cost; resuming."""

import dataclasses
import itertools
import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from report_rows import round_trip
from scipy import stats
from study_config import small

from regcls_jax import priors
from regcls_jax.data.source import Problem
from regcls_jax.data.synthetic.generator import Split
from regcls_jax.data.synthetic.spec import DataSpec
from regcls_jax.models.mlp import MLP
from regcls_jax.report.build import build
from regcls_jax.store.files import from_json
from regcls_jax.store.rows import write_csv_atomic
from regcls_jax.store.traces import QUANTITIES, read_trace
from regcls_jax.study import arrays, plan
from regcls_jax.study import engine as study
from regcls_jax.study import train as training
from regcls_jax.study.runs import Run, expand
from regcls_jax.study.trace import TraceArrays, watch

EPOCHS = 2
alone = jax.jit(training._train, static_argnums=0)
ARMS = {
    "reg": {"trace": "lambda", "lam": 3.0},
    "reg_cls": {"classes": 4, "trace": "mse", "lam": 5.0},
    "bal": {"classes": 12, "balanced": True, "trace": "mse", "lam": 5.0},
}


def problem(data):
    """Peaked targets, splits of three sizes, one of them beyond the range of training."""
    rng = np.random.default_rng(data.function)
    x = np.clip(rng.normal(0.2, 0.25, (400, 1)), -1, 1)
    wide = np.linspace(-1.2, 1.2, 90)[:, None]
    splits = {"val": np.arange(0, 400, 3), "train": np.arange(400), "wide": np.arange(400, 490)}
    inputs = np.concatenate([x, wide])
    return Problem(inputs, np.sin(2 * inputs[:, 0]), splits)


def built(arm):
    """Two runs of an arm on two functions: what `train` takes."""
    settings = {"batch_size": 64, "epochs": EPOCHS, "components": 3, **ARMS[arm]}
    runs = [Run(arm=arm, data=DataSpec("clean", "mild", f, 0), seed=7, **settings) for f in (0, 1)]
    sizes = {run.trained_on: plan.measure(run.trained_on, problem(run.data)) for run in runs}
    ((part, *more),) = plan.plan(runs, sizes, devices=1)
    assert not more
    padding = arrays.padding([part], runs, sizes)
    return part, *arrays.build(part, padding, runs, sizes, problem, 1), [sizes[run.trained_on] for run in runs]


def one_run(runs, number):
    return jax.tree.map(lambda values: values[0, number], runs)


def snapshot(shape, shared, batches, run, epochs):
    """The parameters after some epochs of a training without trace."""
    shape = shape._replace(epochs=epochs, trace="none", trace_points=0)
    shared = shared._replace(trace=None, orders=shared.orders[:, :epochs])
    params, trace = alone(shape, shared, batches, run)
    assert trace is None
    return params["model"]


def naive(params, split, train, variance, mixture, bins):
    """Every quantity of one split in float64, written out sample by sample."""

    def forward(x):
        layers = [{k: np.asarray(v, np.float64) for k, v in params[name].items()} for name in sorted(params)]
        named = dict(zip(sorted(params), layers, strict=True))
        h = x
        for name in ("hidden_0", "hidden_1"):
            h = np.maximum(h @ named[name]["kernel"] + named[name]["bias"], 0)
        value = (h @ named["value_head"]["kernel"] + named["value_head"]["bias"])[:, 0]
        return value, h @ named["class_head"]["kernel"] + named["class_head"]["bias"] if bins else None

    value, logits = forward(split.x)
    variance = variance or np.mean((forward(train.x)[0] - train.y) ** 2)
    means, variances, weights = (np.asarray(values, np.float64) for values in mixture)
    density = (weights * stats.norm.pdf(split.y[:, None], means, np.sqrt(variances))).sum(1)
    evidence = (weights * stats.norm.pdf(value[:, None], means, np.sqrt(variances + variance))).sum(1)
    balanced = -stats.norm.logpdf(split.y, value, np.sqrt(variance))
    eq8 = np.log(density) - np.log(evidence)
    eq5 = -np.log(np.exp(-balanced) * density / evidence)
    result = {"mse": np.mean((value - split.y) ** 2), "balanced_nll": balanced.mean()}
    result |= {"imbalanced_nll": eq5.mean(), "l_extra_gaussian": eq8.mean()}
    if bins is None:
        return result
    prior = bins.counts / bins.counts.sum()
    labels = np.clip(np.digitize(split.y, bins.edges) - 1, 0, bins.classes - 1)
    logits = logits[:, : bins.classes]
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    true = p[np.arange(len(p)), labels]
    eq9, eq11 = np.log(prior[labels]) - np.log((p * prior).sum(1)), -np.log(true)
    share = true * prior[labels] / (p * prior).sum(1)
    result |= {"l_extra_softmax": eq9.mean(), "cross_entropy": eq11.mean(), "assumption_gap": -np.log(share).mean()}
    result |= {"true_class_share": share.mean(), "unseen": 0.0}
    result |= {"correlation_softmax": np.corrcoef(eq8, eq9)[0, 1]}
    return result | {"correlation_cross_entropy": np.corrcoef(eq8, eq11)[0, 1]}


@pytest.mark.parametrize("arm", ARMS)
def test_the_trace_is_what_numpy_says_of_snapshots(arm):
    part, members, batches, shared, sizes = built(arm)
    assert shared.eval_rows.shape[2] > min(shared.eval_sizes[0])  # rows of padding
    run, sized = one_run(members, 1), sizes[1]
    if arm == "bal":
        assert part.shape.classes > sized.bins.classes  # classes of padding
    trained, trace = alone(part.shape, shared, batches[0], run)
    assert np.shape(trace.mse) == (EPOCHS + 1, 3)
    data = problem(DataSpec("clean", "mild", 1, 0))
    mixture = jax.tree.map(lambda values: values[int(run.training_set)], shared.trace.prior)
    for epoch in range(EPOCHS + 1) if arm == "reg" else (0, EPOCHS):  # to compile less
        params = snapshot(part.shape, shared, batches[0], run, epoch)
        train = data.splits["train"]
        for column, rows in enumerate(data.splits.values()):
            variance = 1 / (2 * ARMS[arm]["lam"]) if ARMS[arm]["trace"] == "lambda" else None
            split, whole = (Split(data.inputs[chosen], data.targets[chosen]) for chosen in (rows, train))
            expected = naive(params, split, whole, variance, mixture, sized.bins)
            for name, values in trace._asdict().items():
                wanted = expected.get(name, np.nan)
                assert values[epoch, column] == pytest.approx(wanted, rel=2e-4, abs=2e-5, nan_ok=True), (name, epoch)
    # Looking on changes nothing.
    jax.tree.map(np.testing.assert_array_equal, trained["model"], params)
    np.testing.assert_allclose(trace.balanced_nll, trace.imbalanced_nll + trace.l_extra_gaussian, rtol=1e-5, atol=1e-6)


def test_side_by_side_equals_one_by_one():
    part, members, batches, shared, _ = built("bal")
    mesh = jax.make_mesh((1,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    sums, together, *_ = training.train_runs(members, batches, shared, shape=part.shape, mesh=mesh)
    for number in range(2):
        _, trace = alone(part.shape, shared, batches[0], one_run(members, number))
        for name, values in trace._asdict().items():
            np.testing.assert_allclose(getattr(together, name)[0, number], values, rtol=1e-4, atol=1e-5, err_msg=name)
    np.testing.assert_allclose(together.mse[:, :, -1], sums.squared / sums.count, rtol=1e-5)


def hand_made(log_prior, labels, classes=None):
    """`watch` of a constant model with logits (0, 0, ...) on two real samples and one of padding."""
    model = MLP((2,), len(log_prior), feature_axis=0)
    params = jax.tree.map(jnp.zeros_like, model.init(jax.random.key(0), jnp.ones((1, 1)))["params"])
    prior = priors.MixturePrior(*np.float32([[0.0], [1.0], [1.0]]))
    task = TraceArrays(np.int32([labels]), np.float32(log_prior), prior, np.int32(0))
    targets = np.float32([[1.0, 2.0, np.inf]])
    inputs, sizes = np.ones((1, 3, 1), np.float32), np.int32([2])
    now = jax.jit(watch, static_argnames=("model", "block"))
    trace = now(model, params, inputs, targets, sizes, task, variance=None, classes=classes, block=2)
    return {name: float(value[0]) for name, value in trace._asdict().items()}


def test_empty_and_padded_classes_by_hand():
    log_prior = [np.log(0.25), -np.inf, np.log(0.75)]
    trace = hand_made(log_prior, [0, 2, 0])
    # p = 1/3 each, sum p p~ = 1/3: Eq. 9 is log 0.25 - log 1/3 and log 0.75 - log 1/3.
    assert trace["l_extra_softmax"] == pytest.approx(np.log(0.25 * 3 * 0.75 * 3) / 2, rel=1e-6)
    assert trace["cross_entropy"] == pytest.approx(np.log(3), rel=1e-6)
    assert trace["true_class_share"] == pytest.approx(0.5, rel=1e-6)
    assert trace["assumption_gap"] == pytest.approx(-np.log(0.25 * 0.75) / 2, rel=1e-6)
    assert trace["unseen"] == 0
    assert trace["mse"] == pytest.approx(2.5)  # padding holds inf
    # The second sample in the class without a training target: Eq. 9 is of the first alone, its share is 0.
    unseen = hand_made(log_prior, [0, 1, 0])
    assert unseen["unseen"] == 0.5
    assert unseen["l_extra_softmax"] == pytest.approx(np.log(0.25 * 3), rel=1e-6)
    assert unseen["assumption_gap"] == pytest.approx(-np.log(0.25), rel=1e-6)
    assert unseen["cross_entropy"] == pytest.approx(np.log(3), rel=1e-6)
    assert unseen["true_class_share"] == pytest.approx(0.125, rel=1e-6)
    # Two more classes of padding are nothing.
    padded = hand_made([*log_prior, -np.inf, -np.inf], [0, 2, 0], classes=jnp.int32(3))
    assert padded == pytest.approx(trace, rel=1e-6, nan_ok=True)


def test_an_unknown_trace_is_an_error_and_a_known_one_has_its_own_program():
    with pytest.raises(ValueError, match="unknown trace 'all'; one of none, mse, lambda"):
        expand(small(run={"trace": "all"}))
    (run, *_) = expand(small(run={"trace": "mse"}))
    sized = plan.Sized(1000, "", 1010, 2, 0, {"test": 10}, None)
    shape = plan.shape_of(run, sized)
    assert (shape.trace, shape.trace_points) == ("mse", 8)
    plain = plan.shape_of(dataclasses.replace(run, trace="none"), sized)
    assert plain == shape._replace(trace="none", trace_points=0)


def test_parts_with_a_trace_are_shorter_by_its_cost():
    """10 functions x 10 repetitions, one run per chunk: 1e6 samples x 2 epochs x 40 is 1/75 of a part's cost."""
    lengths = {}
    for trace in ("none", "mse"):
        data = {"samplings": ("severe",), "functions": 10, "repetitions": 10}
        runs = [run for run in expand(small(data=data, run={"trace": trace})) if run.arm == "reg"]
        assert len(runs) == 100
        sizes = {run.trained_on: plan.Sized(1_000_000, "", 1_000_010, 2, 0, {"test": 10}, None) for run in runs}
        ((part, *_),) = plan.plan(runs, sizes, devices=1, chunk=1)
        lengths[trace] = part.length
    assert lengths == {"none": 75, "mse": 75 // plan.TRACE_COST}


CONFIG = {
    **small(
        data={"samplings": ("severe",), "repetitions": 2, "functions": 2, "total": 6144},
        run={"trace": "mse", "epochs": 1, "components": 2},
    ),
    "arms": {"reg": {"lam": 1.0}, "reg_cls": {"classes": 4}},
    "chunk": 1,
    "name": "theory",
}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A study with trace, one chunk per part, and its cache."""
    folder = tmp_path_factory.mktemp("traced")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plan, "PART_COST", 1.0)
        assert study.run_study(CONFIG, folder / "work", folder / "cache", progress=False) == 8
    return folder / "work", folder / "cache"


def contents(folder):
    return {path.name: path.read_bytes() for part in ("rows", "trace") for path in (folder / part).iterdir()}


def test_a_killed_study_continues_to_the_same_traces(finished, tmp_path, monkeypatch):
    """Killed between the trace of the second part and its rows, with the rest of a half-written file."""
    whole, cache_dir = finished
    monkeypatch.setattr(plan, "PART_COST", 1.0)
    with monkeypatch.context() as patch:
        count = itertools.count()

        def write(frame, path):
            if path.parent.name == "rows" and next(count) == 2:  # the trivial predictors, one part
                raise KeyboardInterrupt
            write_csv_atomic(frame, path)

        patch.setattr(study, "write_csv_atomic", write)
        with pytest.raises(KeyboardInterrupt):
            study.run_study(CONFIG, tmp_path, cache_dir, progress=False)
    assert len(list((tmp_path / "trace").iterdir())) == 2
    (tmp_path / "trace" / "0000000-0000099.csv.gz").write_bytes(b"")  # a part that was cut otherwise
    (tmp_path / "trace" / ".x.csv.gz.1.tmp").write_bytes(b"half")
    assert 0 < study.run_study(CONFIG, tmp_path, cache_dir, progress=False) < 8
    assert contents(tmp_path) == contents(whole)


def test_the_trace_ends_where_the_rows_do(finished):
    trace = read_trace(finished[0]).final
    rows = pd.concat([pd.read_csv(path) for path in (finished[0] / "rows").glob("0*.csv.gz")])
    both = trace.merge(rows, on=["run", "split", "arm", "function", "repetition", "lam"])
    assert len(both) == len(rows) == 8 * 4
    np.testing.assert_allclose(both["mse_x"], both["mse_y"], rtol=1e-5)
    assert "trace" not in rows
    assert trace.loc[trace["arm"] == "reg", "cross_entropy"].isna().all()
    assert trace.loc[trace["arm"] == "reg_cls", list(QUANTITIES)].notna().all(axis=None)


def test_its_report_survives_the_export(finished, tmp_path):
    made = round_trip(finished[0], tmp_path / "out")
    assert [table.title for table in made.tables][:2] == ["Section 2.2 on val_balanced", "Section 2.2 on val"]
    assert set(made.figures) == {f"{stem}.{kind}" for stem in ("figure", "coarsening") for kind in ("png", "svg")}
    assert set(made.besides) == {"trace.csv.gz", "trace_final.csv.gz"}
    assert "Unfinished" not in made.remarks


def test_a_trace_of_another_study_is_named_in_its_report(finished, tmp_path):
    shutil.copytree(finished[0], tmp_path / "mine")
    config = from_json((tmp_path / "mine" / "config.json").read_text()) | {"name": "mine"}
    (tmp_path / "mine" / "config.json").write_text(json.dumps(config))
    assert "A trace was recorded" in build(tmp_path / "mine").remarks


def test_a_study_without_trace_has_the_same_rows(finished, tmp_path):
    config = {**CONFIG, "run": {**CONFIG["run"], "trace": "none"}, "arms": {"reg": CONFIG["arms"]["reg"]}}
    study.run_study(config, tmp_path, finished[1], progress=False)
    assert not (tmp_path / "trace").exists()
    keys = ["function", "repetition", "split", "mse", "mae"]
    with_trace, without = (
        pd.concat(map(pd.read_csv, (folder / "rows").glob("0*.csv.gz"))).query("arm == 'reg'")[keys].sort_values(keys)
        for folder in (finished[0], tmp_path)
    )
    np.testing.assert_array_equal(with_trace.to_numpy(), without.to_numpy())
