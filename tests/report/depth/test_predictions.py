"""What evaluate.py and predict.py write of a run on depth: figures, maps, and pictures beside them."""

import numpy as np
import pytest
from depth_pairs import write_pairs
from depth_runs import depth_run, one_block, prepare_rooms
from image_training import train
from PIL import Image

from regcls_jax.loop.evaluate import evaluate_run, restore
from regcls_jax.loop.predict import predict
from regcls_jax.loop.tasks import task_of
from regcls_jax.report.kinds import KINDS


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The data, a run, and its folder."""
    import tensorflow_datasets as tfds

    tfds.disable_progress_bar()
    folder = tmp_path_factory.mktemp("rooms")
    data, run = prepare_rooms(folder), depth_run(epochs=1)
    with one_block():
        yield data, run, train(run, data, folder / "runs")


def test_a_run_is_evaluated_on_other_pictures(trained, tmp_path):
    data, run, folder = trained
    write_pairs(tmp_path / "other", 5, seed=9)
    split, faults = task_of(run).labelled(tmp_path / "other", "1/25.5")
    assert (len(split.names), faults) == (5, {})
    data = data._replace(splits={**data.splits, "images": split})
    tested = evaluate_run(run, data, "images", folder)
    rows = tested.rows
    assert set(rows["arm"]) == {"reg", "constant", "median", "pixel_mean"}
    assert set(rows.loc[rows["shot"] == "all", "count"]) == {5 * 64 * 64}
    measure, predicting = tested.measure, tested.predict
    KINDS["depth"].save_run(tmp_path / "figures", run, data, "images", measure, tested.evaluation, predicting)
    assert {path.name for path in (tmp_path / "figures").iterdir()} == {"depth_maps.png", "error_by_depth.png"}


@pytest.mark.parametrize("out", ["depths", "depths.npy"])
def test_predictions_come_with_pictures(trained, tmp_path, out):
    data, run, folder = trained
    engine, state = restore(run, data, folder)
    split = data.splits["test"].rows(np.arange(2))
    found = [*predict(engine, state, split)]
    KINDS["depth"].predicted(tmp_path / out, run, data, split, iter(found))
    files = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    stems = [f"depths/{name.removesuffix('.jpg')}" for name in split.names]
    maps = {"depths.npy"} if out.endswith(".npy") else {f"{stem}.png" for stem in stems}
    assert files == maps | {f"{stem}_depth.png" for stem in stems}
    if out == "depths":
        with Image.open(tmp_path / f"{stems[1]}.png") as image:
            np.testing.assert_array_equal(np.asarray(image), np.rint(found[0][1][1] * 1000).clip(0, 65535))
