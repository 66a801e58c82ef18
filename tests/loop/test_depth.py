"""Depth as a task of the loop: what its heads are trained on, what is measured, and trainings from end to end."""

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from depth_runs import depth_run, one_block, prepare_rooms
from image_training import train
from nyud2 import nyud2_counts

from regcls_jax import targets
from regcls_jax.loop.depth import DEPTH, training_pixels
from regcls_jax.loop.depth_files import write_depths
from regcls_jax.loop.evaluate import restore
from regcls_jax.loop.predict import predict
from regcls_jax.loop.task import Evaluation
from regcls_jax.prediction import Prediction


@pytest.fixture(scope="module")
def rooms(tmp_path_factory):
    import tensorflow_datasets as tfds

    tfds.disable_progress_bar()
    return prepare_rooms(tmp_path_factory.mktemp("rooms"))


@pytest.fixture(scope="module")
def trained(rooms, tmp_path_factory):
    """A run that two splits select, and its folder."""
    run = depth_run(also_select="test", balanced=True, classes=10)
    with one_block():
        yield run, train(run, rooms, tmp_path_factory.mktemp("runs"))


def half(values):
    """Twice as many points, ends on ends, as an independent oracle: np.interp along both axes."""
    rows, columns = values.shape[-2:]
    wide = [np.interp(np.linspace(0, columns - 1, 2 * columns), np.arange(columns), row) for row in values]
    return np.stack(
        [np.interp(np.linspace(0, rows - 1, 2 * rows), np.arange(rows), column) for column in np.transpose(wide)], -1
    )


def a_batch(least=0.5):
    generator = np.random.default_rng(0)
    depths = generator.uniform(least, 9, (3, 6, 8)).astype(np.float32)
    valid = generator.random(depths.shape) < 0.8
    return {
        "target": np.where(valid, depths, 0),
        "valid": valid,
        "mask": np.array([True, True, False]),
    }


@pytest.mark.parametrize("least", [0.0, 0.7])
def test_classes_are_of_measured_depths_alone_at_twice_the_resolution(least):
    batch = a_batch()
    prediction = Prediction(jnp.ones((3, 6, 8)), None, None)
    heads = DEPTH.heads(depth_run(least_depth=least), batch, prediction)
    valid = batch["valid"] & (batch["target"] >= least)
    valid[2] = False
    np.testing.assert_array_equal(heads.valid, valid)
    for row in range(3):
        holes = half(np.where(valid[row], 0.0, 1.0))
        # A weight that is 0 but for rounding reads no hole.
        clear = (holes < 1e-9) | (holes > 1e-3)
        np.testing.assert_array_equal(np.asarray(heads.class_valid[row])[clear], (holes < 1e-9)[clear])
        expected = half(np.where(valid[row], batch["target"][row], 0))
        np.testing.assert_allclose(heads.class_target[row], expected, rtol=1e-5, atol=1e-5)
    assert not heads.class_valid[2].any()


def test_balanced_data_compare_the_upsampled_prediction():
    batch = a_batch()
    value = jnp.asarray(np.random.default_rng(1).random((3, 6, 8)), jnp.float32)
    heads = DEPTH.heads(depth_run(balanced_data=10), batch, Prediction(value, None, None))
    np.testing.assert_allclose(heads.value[0], half(np.asarray(value[0])), rtol=1e-5)
    np.testing.assert_array_equal(heads.target, heads.class_target)
    np.testing.assert_array_equal(heads.valid, heads.class_valid)


def test_published_counts_decide_classes_and_shots(rooms):
    own, published = depth_run(), depth_run(counts="published")
    assert training_pixels(own, rooms).counts.sum() < 10**7
    np.testing.assert_array_equal(training_pixels(published, rooms).counts, nyud2_counts())
    bins = targets.class_bins(depth_run(classes=100, balanced=True), training_pixels(published, rooms))
    assert bins.classes == 49


def test_buckets_of_feature_smoothing_start_where_the_run_says(rooms):
    buckets = DEPTH.buckets(depth_run(bucket_start=7), rooms)
    batch = a_batch()
    expected = np.clip(np.floor(batch["target"] * np.float32(10)), 7, 99) - 7
    expected[~batch["valid"]] = -1
    expected[2] = -1
    assert buckets.count == 93
    np.testing.assert_array_equal(buckets.of(batch, False), expected)
    np.testing.assert_array_equal(buckets.of(batch, True), expected[:, 1::2, 1::2])


def test_rows_follow_from_what_is_kept(rooms, trained):
    run, folder = trained
    rows = pd.read_csv(folder / "rows.csv.gz")
    assert list(rows["arm"].unique()) == ["reg", "constant", "median", "pixel_mean"]
    with np.load(folder / "predictions.npz") as stored:
        sums, buckets = stored["test_sums"], stored["test_bucket_sums"]
        assert stored["shown_predictions"].shape == stored["shown_depths"].shape == (4, 32, 32)
    test = rows[(rows["arm"] == "reg") & (rows["split"] == "test") & (rows["selected_on"] == "val")]
    everything = test[test["shot"] == "all"].iloc[0]
    assert everything["mse"] == pytest.approx(sums[..., 0].sum() / sums[..., -1].sum(), rel=1e-6)
    assert everything["rmse"] == pytest.approx(everything["mse"] ** 0.5)
    np.testing.assert_allclose(buckets.sum(0), sums.sum((0, 1))[[0, 1, -1]], rtol=1e-5)
    assert everything["count"] == sums[..., -1].sum() == 6 * 64 * 64


def test_the_test_split_selects_a_second_time(trained):
    _, folder = trained
    rows = pd.read_csv(folder / "rows.csv.gz")
    second = rows[rows["selected_on"] == "test"]
    assert set(second["arm"]) == {"reg"}
    assert set(second["split"]) == {"test"}
    logged = pd.read_json(folder / "metrics.jsonl", lines=True)["test_rmse"]
    assert second.loc[second["shot"] == "all", "rmse"].item() == pytest.approx(logged.min(), rel=1e-4)


def test_trivial_predictors_are_those_of_the_training_pixels(rooms):
    """Of every pixel, measured or not, the mean over the training images; an oracle over single examples."""
    run = depth_run()
    batches = [*DEPTH.eval_batches(run, rooms.splits["train"], (0, 1))]
    depths = np.concatenate([batch["target"][batch["mask"]] for batch in batches]).astype(float)
    valid = np.concatenate([batch["valid"][batch["mask"]] for batch in batches])
    mean = np.where(valid, depths, 0).sum(0) / valid.sum(0)
    test = [*DEPTH.eval_batches(run, rooms.splits["test"], (0, 1))]
    true = np.concatenate([batch["target"][batch["mask"]] for batch in test])
    seen = np.concatenate([batch["valid"][batch["mask"]] for batch in test])
    measure = DEPTH.measure(run, rooms)
    found = measure.metrics(measure.baselines("test")["pixel_mean"])["all"]
    assert found["rmse"] == pytest.approx(np.sqrt(((mean - true)[seen] ** 2).mean()), rel=1e-5)


def test_the_published_selection_reads_one_pixel_of_an_image(rooms):
    run = depth_run(select="first_pixel")
    measure = DEPTH.measure(run, rooms)
    batch = next(iter(DEPTH.eval_batches(run, rooms.splits["val"], (0, 1))))
    value = jnp.zeros((8, 32, 32))
    first = np.asarray(measure.keep(batch, value)["first_pixel"])
    for row in np.flatnonzero(batch["mask"]):
        assert np.isclose(np.sqrt(first[row]), batch["target"][row][batch["valid"][row]]).any()
    assert np.isnan(first[~batch["mask"]]).all()
    kept = jax.tree.map(lambda x: np.asarray(x)[batch["mask"]], measure.keep(batch, value))
    found = measure.metrics(Evaluation((), kept))["all"]
    assert found["first_pixel"] == pytest.approx(np.sqrt(first[batch["mask"]].mean()))


def test_the_first_pixels_of_a_trivial_predictor_are_those_of_the_run_beside_it(rooms):
    """Whichever run of the process came first: what a pass over the data found is shared."""

    def constant(**changes):
        measure = DEPTH.measure(depth_run(select="first_pixel", **changes), rooms)
        return measure.metrics(measure.baselines("train")["constant"])["all"]

    first, other, again = constant(seed=0), constant(seed=1), constant(seed=0)
    assert first == again
    assert first["rmse"] == other["rmse"]
    assert first["first_pixel"] != other["first_pixel"]


@pytest.mark.parametrize("name", ["depths", "depths.npy"])
def test_predictions_are_written_as_millimetres_or_metres(rooms, trained, tmp_path, name):
    from PIL import Image

    run, folder = trained
    engine, state = restore(run, rooms, folder)
    split = rooms.splits["test"]
    found = [*predict(engine, state, split)]
    write_depths(tmp_path / name, rooms, split, iter(found))
    values = np.concatenate([maps for _, maps in found])
    if name == "depths.npy":
        np.testing.assert_array_equal(np.load(tmp_path / name), values)
        return
    for row, file in enumerate(split.names):
        with Image.open((tmp_path / name / file).with_suffix(".png")) as picture:
            np.testing.assert_array_equal(np.asarray(picture), np.rint(values[row] * 1000).clip(0, 65535))


def test_two_pictures_of_one_name_are_refused(tmp_path, rooms):
    split = rooms.splits["test"]
    twice = split.rows(np.array([0, 0]))._replace(names=np.array(["a/room.jpg", "a/room.png"]))
    with pytest.raises(ValueError, match="several pictures are called a/room"):
        write_depths(tmp_path / "depths", rooms, twice, iter([]))


def test_one_pixel_selects_on_the_validation_set_alone():
    assert depth_run(select="first_pixel", also_select="test").also_metric == "rmse"
    assert depth_run(select="mae").also_metric == "mae"


def test_sizes_that_the_network_cannot_halve_twice_are_refused():
    with pytest.raises(ValueError, match="arm 'reg': image_height must be a multiple of 4, got 70"):
        depth_run(image_height=70)
