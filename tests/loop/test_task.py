"""The seam: a task that the package has never seen, with maps as targets, trains through the loop as it is."""

import numpy as np
import pandas as pd
import pytest
from image_training import assert_same_rows, stop_after, train
from pixel_task import HIGH, LOW, PIXELS, PixelRun

from regcls_jax.loop.epochs import Stopped
from regcls_jax.loop.evaluate import evaluate_run
from regcls_jax.loop.mesh import data_mesh
from regcls_jax.loop.start import load_checkpoint
from regcls_jax.loop.steps import make_engine
from regcls_jax.loop.tasks import TASKS, read_run, task_of
from regcls_jax.loop.trainings import train_all

SETTINGS = {
    **{"task": "pixels", "dataset": "scenes", "low": LOW, "high": HIGH, "channels": 16},
    **{"batch_size": 8, "epochs": 10, "boundaries": (), "learning_rate": 0.03},
}
ARMS = {
    "reg": {},
    "reg_cls_bal": {"classes": 8, "balanced": True, "lam": 0.5},
    "balanced_data": {"balanced_data": 4, "classes": 8, "output": "standardised", "accumulate": 2},
    "lds": {"reweight": "sqrt_inv", "lds": True, "fds": "corrected"},
    "fds_depth": {"fds": "published_depth"},
}


@pytest.fixture(autouse=True)
def _pixels(monkeypatch):
    monkeypatch.setitem(TASKS, "pixels", PIXELS)


def pixel_run(arm, **changes):
    return PixelRun(arm=arm, seed=0, **{**SETTINGS, **ARMS[arm], **changes})


def test_all_arms_train_and_beat_the_mean(tmp_path):
    config = {"name": "scenes", "seeds": (0,), "run": SETTINGS, "arms": ARMS}
    assert train_all(config, tmp_path, tmp_path, command="test").startswith("5 trainings: 5 trained now.")
    for arm in ARMS:
        folder = tmp_path / arm / "seed0"
        rows = pd.read_csv(folder / "rows.csv.gz")
        with np.load(folder / "predictions.npz") as stored:
            arrays = dict(stored)
        assert arrays["two_predictions"].shape == (2, 4, 4), "maps are kept of two scenes alone"
        assert set(rows["arm"]) == {arm, "constant"}
        test = rows[rows["split"] == "test"].set_index("arm")
        assert test.loc[arm, "mse"] < 0.3 * test.loc["constant", "mse"]
        assert test.loc[arm, "rmse"] == pytest.approx(test.loc[arm, "mse"] ** 0.5)
        assert arrays["test_squared"].shape == (13,), "in batches of 8"
        mse = arrays["test_squared"].sum() / arrays["test_count"].sum()
        assert test.loc[arm, "mse"] == pytest.approx(mse, rel=1e-6)
        assert read_run(folder) == pixel_run(arm)


@pytest.mark.parametrize("arm", ARMS)
def test_a_stopped_run_ends_with_the_same_rows(tmp_path, arm):
    run = pixel_run(arm, epochs=2)
    data = task_of(run).load("scenes", tmp_path)
    whole = train(run, data, tmp_path / "whole")
    with pytest.raises(Stopped):
        train(run, data, tmp_path / "stopped", stop=stop_after(7))
    assert_same_rows(whole, train(run, data, tmp_path / "stopped"))


def test_every_measured_pixel_of_every_scene_counts_once(tmp_path):
    run = pixel_run("reg", epochs=1)
    data = task_of(run).load("scenes", tmp_path)
    folder = train(run, data, tmp_path)
    rows, found, *_ = evaluate_run(run, data, "test", folder)
    maps = data.splits["test"].maps
    np.testing.assert_array_equal(found.kept["count"], np.isfinite(maps).sum((1, 2)))
    with np.load(folder / "predictions.npz") as stored:
        np.testing.assert_array_equal(stored["test_squared"], found.kept["squared"])
        two = stored["two_predictions"].repeat(2, 1).repeat(2, 2)
    error = np.where(np.isfinite(maps[:2]), two - maps[:2], 0)
    np.testing.assert_allclose((error**2).sum((1, 2)), found.kept["squared"][:2], rtol=1e-5)
    assert set(rows["count"]) == {np.isfinite(maps).sum()}  # 13 scenes in batches of 8
    error = maps - np.nanmean(data.splits["train"].maps)
    constant = rows.set_index("arm").loc["constant"]
    assert constant["mse"] == pytest.approx(np.nanmean(error**2), rel=1e-5)
    assert constant["mae"] == pytest.approx(np.nanmean(np.abs(error)), rel=1e-5)


def test_an_unknown_task_is_named():
    with pytest.raises(ValueError, match="arm 'reg': unknown task 'depths'; one of age, .*pixels"):
        task_of(pixel_run("reg", task="depths"))


def test_statistics_are_of_the_scenes_that_the_task_names(tmp_path):
    """The count of every bucket, after one epoch, is that of the pixels of the first twenty scenes."""
    run = pixel_run("fds_depth", epochs=1)
    data = task_of(run).load("scenes", tmp_path)
    state, _ = load_checkpoint(train(run, data, tmp_path), make_engine(run, data), data_mesh())
    maps = data.splits["train"].maps[:20, ::2, ::2]
    expected = np.histogram(maps[np.isfinite(maps)], np.linspace(LOW, HIGH, 9, dtype=np.float32))[0]
    np.testing.assert_array_equal(state.fds.count, expected)
