"""The training loop: what a run leaves, and the same numbers whatever stopped it on its way."""

import itertools
import shutil

import jax
import numpy as np
import pytest
from image_training import (
    STEPS,
    assert_rows_follow_from_predictions,
    assert_same_results,
    checkpoint,
    lines,
    read_rows,
    small_run,
    stop_after,
    train,
    train_stopped,
)
from jax.sharding import AxisType

from regcls_jax.loop import epochs, scalar, watch
from regcls_jax.loop.epochs import Stopped
from regcls_jax.loop.evaluate import evaluate_run
from regcls_jax.loop.mesh import check_batch_size
from regcls_jax.loop.results import result_rows
from regcls_jax.loop.steps import make_engine
from regcls_jax.loop.task import Evaluation
from regcls_jax.loop.tasks import task_of
from regcls_jax.metrics.shots import class_error_sums
from regcls_jax.store.files import from_json
from regcls_jax.store.rows import SHARED

pytestmark = pytest.mark.usefixtures("small_network")


@pytest.fixture(scope="module")
def finished(faces, tmp_path_factory):
    """A workdir with a finished `reg`."""
    workdir = tmp_path_factory.mktemp("finished")
    train(small_run(), faces, workdir)
    return workdir


def test_what_a_run_leaves(faces, finished):
    folder = finished / "reg" / "seed0"
    left = {path.name for path in folder.iterdir()} - {"claims"}
    expected = {
        "rows.csv.gz",
        "predictions.npz",
        "metrics.jsonl",
        "meta.json",
        "config.json",
        "checkpoints",
        "tensorboard",
    }
    assert left == expected
    assert list((folder / "tensorboard").glob("events.out.tfevents.*"))
    meta = from_json((folder / "meta.json").read_text())
    assert (meta["command"], meta["epochs"]) == ("test", 2)
    assert (meta["dataset"], meta["target"], meta["unit"]) == ("utkface", "age", "years")
    assert meta["digest"] == faces.digest
    assert meta["seconds"] > 0
    assert meta["images_per_second"] == pytest.approx(2 * STEPS * 16 / meta["seconds"], rel=0.1)
    logged = lines(folder)
    assert [(line["step"], line["epoch"]) for line in logged] == [(STEPS, 1), (2 * STEPS, 2)]
    names = {"train_loss", "train_regression", *(f"val_{name}" for name in ("mae", "mse", "rmse", "gm", "bmae"))}
    assert names < logged[0].keys()


@pytest.mark.parametrize("batch_size", [16, 20])  # of 48 test images: three whole batches; two and a partial one
def test_rows_are_the_metrics_of_all_samples(faces, finished, batch_size):
    folder = finished / "reg" / "seed0"
    rows, found, *_ = evaluate_run(small_run(batch_size=batch_size), faces, "test", folder)
    predictions = found.kept
    assert predictions.shape == (48,)
    assert np.isfinite(predictions).all()
    assert len(np.unique(predictions)) > 40, "of different images"
    of_model = rows[rows["arm"] == "reg"]
    assert_rows_follow_from_predictions(
        of_model, faces.splits["test"].targets, predictions, faces.splits["train"].targets
    )
    with np.load(folder / "predictions.npz") as stored:
        np.testing.assert_allclose(predictions, stored["test_prediction"], rtol=1e-5)
    if batch_size == 16:
        stored_rows = read_rows(folder)
        kept = stored_rows[stored_rows["split"] == "test"].reset_index(drop=True)
        np.testing.assert_allclose(rows.select_dtypes("number"), kept.select_dtypes("number"), rtol=1e-12)


def test_stored_predictions_and_trivial_predictors(faces, finished):
    folder = finished / "reg" / "seed0"
    rows, train_ages = read_rows(folder), faces.splits["train"].targets
    assert list(rows["arm"].unique()) == ["reg", "constant", "median", "oracle_bin_100"]
    assert set(rows[rows["arm"] != "reg"]["seed"]) == {-1}
    with np.load(folder / "predictions.npz") as stored:
        np.testing.assert_array_equal(stored["train_counts"], np.bincount(train_ages.astype(int)))
        np.testing.assert_array_equal(stored["bucket_edges"], np.arange(72))
        for split in ("val", "test"):
            ages = faces.splits[split].targets
            np.testing.assert_array_equal(stored[f"{split}_target"], ages)
            predictions = {
                "reg": stored[f"{split}_prediction"],
                "constant": np.full(48, np.mean(train_ages, dtype=np.float64)),
                "median": np.full(48, np.median(train_ages)),
                # The ages are 5, 25, 40 and 70 only, each alone in its class of one year.
                "oracle_bin_100": ages,
            }
            for arm, values in predictions.items():
                part = rows[(rows["arm"] == arm) & (rows["split"] == split)]
                assert_rows_follow_from_predictions(part, ages, values, train_ages)


def test_the_oracle_has_the_classes_of_its_run(faces):
    """Classes of 25 years: 5 | 25, 40 | 70; each predicted as the mean of its training ages."""
    ages, train_ages = faces.splits["test"].targets, faces.splits["train"].targets
    middle = train_ages[(train_ages == 25) | (train_ages == 40)].mean(dtype=np.float64)
    sums = class_error_sums(ages + 1, ages, ages.astype(int), np.ones(48, bool), 71)
    run = small_run(classes=4)
    rows = result_rows(run, faces, task_of(run).measure(run, faces), {"test": Evaluation(sums, None)})
    assert set(SHARED) <= set(rows)
    oracle = rows[rows["arm"] == "oracle_bin_4"]
    assert_rows_follow_from_predictions(oracle, ages, np.where((ages == 5) | (ages == 70), ages, middle), train_ages)


@pytest.mark.parametrize("select", ["mae", "mse", "last"])
def test_the_epoch_with_the_lowest_selected_metric_is_tested(faces, tmp_path, monkeypatch, select):
    """The lowest MAE is in epoch 2 of 4 and again in 4 (the first of equals counts); the lowest MSE is in epoch 3."""
    table = {"mae": [5, 3, 4, 3], "mse": [40, 30, 20, 30]}
    real, epochs_done = scalar.shot_metrics, itertools.count()

    def shot_metrics(sums, counts):
        epoch = next(epochs_done)
        found = real(sums, counts)
        if epoch >= 4:  # of the test, and of trivial predictors
            return found
        return {**found, "all": {**found["all"], **{name: float(values[epoch]) for name, values in table.items()}}}

    monkeypatch.setattr(scalar, "shot_metrics", shot_metrics)
    run = small_run(epochs=4, select=select, learning_rate=0.01)
    folder = train(run, faces, tmp_path)
    best = {"mae": 2, "mse": 3, "last": 4}[select]
    assert from_json((folder / "meta.json").read_text())["best_epoch"] == best
    steps = sorted(int(path.name) for path in (folder / "checkpoints").iterdir() if path.name.isdigit())
    assert steps == sorted({best * STEPS, 4 * STEPS})
    with np.load(folder / "predictions.npz") as stored:
        tested = stored["test_prediction"]
    of_best, of_newest = (evaluate_run(run, faces, "test", folder, which)[1].kept for which in ("best", "newest"))
    np.testing.assert_array_equal(of_best, tested)
    assert (np.abs(of_newest - tested).max() > 0.01) == (select != "last")
    if select != "last":
        assert 1 + int(np.argmin([line[f"val_{select}"] for line in lines(folder)])) == best


KINDS = {
    "reg": {},
    "reg_cls_bal": {"classes": 4, "balanced": True},
    "balanced_data": {"balanced_data": 4, "classes": 4},
    "fds": {"fds": "corrected", "epochs": 3},
    "bmc": {"regression": "bmc"},
}


@pytest.mark.parametrize(
    ("arm", "steps"),
    # 9 steps an epoch: 5 is in the middle of the first, 18 at the end of the second, after its pass for FDS.
    [("reg", 5), ("reg", 9), ("reg_cls_bal", 12), ("balanced_data", 3), ("fds", 18), ("fds", 23), ("bmc", 8)],
)
def test_a_stopped_run_ends_with_the_same_bits(faces, tmp_path, arm, steps):
    run = small_run(arm, **KINDS[arm])
    if arm == "reg_cls_bal":
        assert (make_engine(run, faces).fitted.keep < 1).any(), "samples are dropped by chance"
    whole = train(run, faces, tmp_path / "whole")
    stopped = train_stopped(run, faces, tmp_path / "stopped", steps)
    assert_same_results(whole, stopped)


def test_a_crash_goes_back_to_the_end_of_the_epoch(faces, tmp_path, monkeypatch):
    """Lines of steps after the checkpoint are dropped, and written again."""
    monkeypatch.setattr(watch, "LINES_EVERY", 1)
    monkeypatch.setattr(watch, "IN_FLIGHT", 1)
    run, calls = small_run(), itertools.count(1)

    def stop():
        if next(calls) == 14:
            raise RuntimeError("power cut")
        return False

    whole = train(run, faces, tmp_path / "whole")
    with pytest.raises(RuntimeError, match="power cut"):
        train(run, faces, tmp_path / "crashed", stop=stop)
    folder = tmp_path / "crashed" / "reg" / "seed0"
    assert lines(folder)[-1]["step"] > STEPS
    assert checkpoint(run, faces, folder, "newest")[1] == STEPS
    with open(folder / "metrics.jsonl", "a") as file:
        file.write('{"step": 17, "lo')  # killed while writing
    assert_same_results(whole, train(run, faces, tmp_path / "crashed"))
    assert [line["step"] for line in lines(folder)] == [*range(1, STEPS + 1), *range(STEPS, 2 * STEPS + 1), 2 * STEPS]


def test_a_crash_while_testing_costs_no_training(faces, finished, tmp_path, monkeypatch):
    copy = tmp_path / "reg" / "seed0"
    shutil.copytree(finished / "reg" / "seed0", copy)
    for name in ("rows.csv.gz", "predictions.npz", "meta.json"):
        (copy / name).unlink()

    def no_step(*_):
        raise AssertionError("trains again")

    monkeypatch.setattr(epochs, "train_epoch", no_step)
    assert_same_results(finished / "reg" / "seed0", train(small_run(), faces, tmp_path))


def test_checkpoints_inside_an_epoch_change_nothing(faces, finished, tmp_path):
    folder = train(small_run(), faces, tmp_path, save_minutes=0.0)
    assert_same_results(finished / "reg" / "seed0", folder)
    steps = {int(path.name) for path in (folder / "checkpoints").iterdir() if path.name.isdigit()}
    assert steps <= {STEPS, 2 * STEPS}


def test_a_loss_that_is_not_finite_stops_with_step_and_samples(faces, tmp_path, monkeypatch):
    """The loss of step 15 is inf; what was saved before it stands, and the run ends well once the cause is gone."""
    run, bad = small_run(), 15
    with pytest.raises(Stopped):
        train(run, faces, tmp_path, stop=stop_after(STEPS))
    folder = tmp_path / "reg" / "seed0"
    batches, real = {}, watch.Watch.add

    def add(self, step, samples, terms):
        batches[step] = samples
        real(self, step, samples, {**terms, "loss": np.float32(np.inf)} if step == bad else terms)

    with monkeypatch.context() as patch:
        patch.setattr(watch.Watch, "add", add)
        with pytest.raises(
            ValueError, match=f"loss is inf at step {bad}; its batch of 16 samples begins with "
        ) as told:
            train(run, faces, tmp_path, save_minutes=1e-9)
    assert ", ".join(faces.splits["train"].names[batches[bad][:5]]) in str(told.value)
    assert not (folder / "rows.csv.gz").exists()
    assert checkpoint(run, faces, folder, "newest")[1] == bad - 1
    assert_same_results(train(run, faces, tmp_path), train(run, faces, tmp_path / "whole"))


def test_a_rate_that_explodes_is_told(faces, tmp_path):
    with pytest.raises(ValueError, match=r"loss is (nan|inf) at step [23]; its batch of 16 samples begins with \d+_0"):
        train(small_run(learning_rate=1e30, optimizer="sgd"), faces, tmp_path)


def test_four_devices_are_one(faces, finished, tmp_path, monkeypatch):
    """`finished` was trained on all four; the last batch of an epoch has rows for one of them only."""
    one = jax.make_mesh((1,), ("data",), axis_types=(AxisType.Auto,), devices=jax.devices()[:1])
    monkeypatch.setattr(epochs, "data_mesh", lambda: one)
    folder = train(small_run(), faces, tmp_path)
    for left, right in zip(lines(finished / "reg" / "seed0"), lines(folder), strict=True):
        assert left.keys() == right.keys()
        np.testing.assert_allclose(list(left.values()), list(right.values()), rtol=1e-4)


def test_other_data_of_the_same_name_are_refused(faces, tmp_path):
    with pytest.raises(Stopped):
        train(small_run(), faces, tmp_path, stop=stop_after(3))
    with pytest.raises(OSError, match=r"reg/seed0 was trained on other data than utkface is now; prepare that again"):
        train(small_run(), faces._replace(digest="another"), tmp_path)


def test_batches_must_fit_the_devices(faces, tmp_path):
    check_batch_size(16, 4)
    with pytest.raises(ValueError, match=r"batch_size 18 cannot be split into 1 part\(s\) over 4 devices; .* of 4"):
        train(small_run(batch_size=18), faces, tmp_path)
    with pytest.raises(ValueError, match=r"batch_size 20 cannot be split into 2 part\(s\) over 4 devices; .* of 8"):
        check_batch_size(20, 2)


def test_the_folder_of_another_run_is_left_alone(faces, finished):
    before = (finished / "reg" / "seed0" / "rows.csv.gz").read_bytes()
    with pytest.raises(ValueError, match=r"another config: epochs is 2 there and 3 here"):
        train(small_run(epochs=3), faces, finished)
    assert (finished / "reg" / "seed0" / "rows.csv.gz").read_bytes() == before
