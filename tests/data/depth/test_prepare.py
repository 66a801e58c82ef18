"""Preparing NYUD2 and anybody's pictures with depth maps, and reading what was prepared."""

import shutil
import tarfile
import zipfile
from collections import Counter

import numpy as np
import pytest
import tensorflow_datasets as tfds
from depth_pairs import levels, npy, room, write, write_pairs, write_release
from face_images import encode
from PIL import Image

from regcls_jax.data.depth.builders import OwnDepths
from regcls_jax.data.depth.histogram import histogram
from regcls_jax.data.depth.pipeline import eval_batches
from regcls_jax.data.depth.prepare import prepare_depths, prepare_nyud2
from regcls_jax.data.depth.sources import metres_per_unit
from regcls_jax.data.depth.splits import PLACES, findings, load_depths
from regcls_jax.data.nyud2 import balanced_mask, split_scenes
from regcls_jax.data.places import LABELS
from regcls_jax.store.files import read_json

SCALE = 1 / 25.5


@pytest.fixture(autouse=True)
def _quiet():
    tfds.disable_progress_bar()


@pytest.fixture
def folder(tmp_path):
    write_pairs(tmp_path / "own", 12)
    return tmp_path / "own"


def prepare(folder, **options):
    return prepare_depths("rooms", folder, folder.parent / "data", **{"scale": SCALE} | options)


def load(folder):
    return load_depths("rooms", folder.parent / "data")


def everything(data):
    return np.concatenate([split.names for split in data.splits.values()]).tolist()


def test_pairs_are_stored_as_they_are_and_split_by_the_seed(folder):
    assert prepare(folder)
    data = load(folder)
    assert (data.name, data.target, data.unit) == ("rooms", "depth", "m")
    assert {name: len(split.names) for name, split in data.splits.items()} == {"train": 9, "val": 1, "test": 2}
    assert sorted(everything(data)) == [f"images/{number:03}.jpg" for number in range(12)]
    for split in data.splits.values():
        assert split.scale == SCALE
        assert split.names.tolist() == sorted(split.names)
        for name, (image, depth) in zip(split.names, split.pairs.read(range(len(split.pairs))), strict=True):
            assert image == (folder / name).read_bytes()
            assert depth == (folder / name.replace("images", "depths").replace("jpg", "png")).read_bytes()
    assert not prepare(folder), "it was done before"
    assert prepare(folder, seed=1, overwrite=True)
    assert load(folder).digest != data.digest
    assert everything(load(folder)) != everything(data)


def test_the_histogram_is_of_the_training_depths_at_the_published_view(folder):
    prepare(folder)
    values, counts = histogram(load(folder))
    naive = Counter()
    for name in load(folder).splits["train"].names:
        depth = Image.open(folder / name.replace("images", "depths").replace("jpg", "png"))
        seen = np.asarray(depth.resize((320, 240), Image.Resampling.NEAREST))[6:234, 8:312]
        naive.update(np.float32(seen[seen > 0] / 25.5).tolist())
    assert (values.dtype, counts.dtype) == (np.float32, np.int64)
    assert dict(zip(values.tolist(), counts.tolist(), strict=True)) == dict(naive)
    assert counts.sum() == 9 * 228 * 304


def test_tfds_reads_it(folder):
    prepare(folder)
    config = tfds.core.BuilderConfig(name="rooms")
    builder = OwnDepths(config=config, data_dir=str(folder.parent / "data"), file_format="array_record")
    first = builder.as_data_source("train")[0]
    assert first["image"].shape == (48, 64, 3)
    assert first["name"].decode() == load(folder).splits["train"].names[0]


@pytest.mark.parametrize("kind", ["tar", "zip"])
def test_an_archive_serves_as_well_as_a_folder(folder, kind):
    path = folder.parent / f"pairs.{kind}"
    if kind == "tar":
        with tarfile.open(path, "w") as archive:
            archive.add(folder, "rooms")
    else:
        with zipfile.ZipFile(path, "w") as archive:
            for file in folder.rglob("*.*"):
                archive.write(file, f"rooms/{file.relative_to(folder)}")
    (folder.parent / "other.zip").write_bytes(b"no archive, and none of its business")
    assert prepare_depths("packed", path, folder.parent / "data", scale=SCALE)
    data = load_depths("packed", folder.parent / "data")
    assert len(everything(data)) == 12
    name = data.splits["val"].names[0]
    assert name.startswith("rooms/images/")
    assert data.splits["val"].pairs.read([0])[0][0] == (folder / name.removeprefix("rooms/")).read_bytes()


def test_maps_of_numpy_hold_metres_and_holes(tmp_path):
    folder, generator = tmp_path / "own", np.random.default_rng(0)
    maps = {}
    for number in range(4):
        picture, depth = room(generator)
        depth[:10] = np.nan
        depth[10:12] = [[np.inf], [-1]]
        maps[f"images/a/{number}.jpeg"] = depth
        write(folder / f"images/a/{number}.jpeg", encode(picture))
        write(folder / f"depths/a/{number}.npy", npy(depth))
    assert prepare(folder, scale=1.0)
    data = load(folder)
    (batch,) = eval_batches(data.splits["test"], batch_size=1, height=46, width=61)
    expected = np.float32(maps[data.splits["test"].names[0]])[1:47, 2:63]
    assert batch["valid"].mean() < 0.8
    np.testing.assert_array_equal(batch["target"][0][batch["valid"][0]], expected[batch["valid"][0]])
    values, counts = histogram(data)
    assert np.isfinite(values).all()
    assert values.min() >= 0.8
    np.testing.assert_allclose(values * 1000, np.rint(values * 1000), atol=1e-3)
    assert counts.sum() < 2 * 228 * 304 * 0.8


def spoil(folder):
    """Spoils five pairs in five ways; by name the start of what is said of them."""
    (folder / "images/000.jpg").write_bytes((folder / "images/000.jpg").read_bytes()[:300])
    (folder / "depths/001.png").write_bytes(b"")
    (folder / "depths/002.png").unlink()
    (folder / "images/003.jpg").unlink()
    write(folder / "depths/004.png", levels(np.full((24, 32), 3.0)))
    write(folder / "depths/005.png", levels(np.zeros((48, 64))))
    return {
        "images/000.jpg": "corrupt: ",
        "images/001.jpg": "its depth map depths/001.png is corrupt: is no image",
        "images/002.jpg": "has no partner in depths/",
        "depths/003.png": "has no partner in images/",
        "images/004.jpg": "has 64 x 48 pixels, and its depth map depths/004.png 32 x 24",
        "images/005.jpg": "its depth map depths/005.png has no measured pixel",
    }


def test_unusable_pairs_are_named_and_left_out_up_to_the_limit(folder):
    write_pairs(folder, 30)
    faults = spoil(folder)
    with pytest.raises(ValueError, match="6 of 30 pairs cannot be used, and at most 5 may be skipped") as caught:
        prepare(folder, max_skipped=0.16)
    assert "images/001.jpg (its depth map depths/001.png is corrupt: is no image)" in str(caught.value)
    with pytest.raises(ValueError, match="unknown data set 'rooms'"):
        load(folder)
    assert prepare(folder, max_skipped=0.2)
    found = findings("rooms", folder.parent / "data")
    assert found.faults.keys() == faults.keys()
    assert all(found.faults[name].startswith(start) for name, start in faults.items())
    assert sorted(everything(load(folder))) == [f"images/{number:03}.jpg" for number in range(6, 30)]
    assert not prepare(folder, max_skipped=0.2)


def test_a_split_that_has_lost_all_its_pairs_is_an_error(folder):
    prepare(folder)
    (folder / load(folder).splits["val"].names[0]).write_bytes(b"")
    with pytest.raises(ValueError, match="no pair that can be used is in the split val; mend the files, or choose ano"):
        prepare(folder, max_skipped=0.5, overwrite=True)
    assert len(everything(load(folder))) == 12, "what was prepared before is still there"


def test_equal_pairs_across_splits_are_counted(folder):
    prepare(folder)
    train, test = (load(folder).splits[name].names[0] for name in ("train", "test"))
    shutil.copy(folder / train, folder / test)
    maps = [name.replace("images", "depths").replace("jpg", "png") for name in (train, test)]
    shutil.copy(folder / maps[0], folder / maps[1])
    assert prepare(folder, overwrite=True)
    assert findings("rooms", folder.parent / "data").across_splits == 1


@pytest.mark.parametrize("change", [{"scale": 0.001}, {"seed": 2}, "another picture"])
def test_other_data_under_the_same_name_are_refused(folder, change):
    prepare(folder)
    before = load(folder).digest
    if change == "another picture":
        (folder / "images/000.jpg").rename(folder / "images/100.jpg")
        (folder / "depths/000.png").rename(folder / "depths/100.png")
        change = {}
    with pytest.raises(ValueError, match="rooms was prepared before from other pictures, or with .*; choose another"):
        prepare(folder, **change)
    assert load(folder).digest == before
    assert prepare(folder, **change, overwrite=True)


def test_what_was_changed_afterwards_is_refused(folder):
    prepare(folder)
    path = PLACES.folder_of("rooms", folder.parent / "data") / LABELS
    with np.load(path) as arrays:
        labels = dict(arrays)
    labels["histogram_counts"][0] += 1
    np.savez(path, **labels)
    with pytest.raises(OSError, match=r"labels.npz is not the one that was prepared; prepare it again"):
        load(folder)
    path.write_bytes(b"")
    with pytest.raises(OSError, match=r"labels.npz is damaged"):
        load(folder)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scale": 0.0}, "scale must be a positive number, metres per unit"),
        ({"scale": np.nan}, "scale must be a positive number"),
        ({"seed": -1}, "seed must be"),
        ({"max_skipped": 1.0}, "max_skipped must be"),
    ],
)
def test_arguments_out_of_range(folder, options, message):
    with pytest.raises(ValueError, match=message):
        prepare(folder, **options)


def test_a_folder_of_something_else_is_refused(tmp_path):
    (tmp_path / "own").mkdir()
    with pytest.raises(ValueError, match=r"own has no pictures images/\*.jpg, with depths/"):
        prepare(tmp_path / "own")
    write_pairs(tmp_path / "own", 2)
    with pytest.raises(ValueError, match="has 2 pairs; train, val and test need one each"):
        prepare(tmp_path / "own")
    write(tmp_path / "own/images/000.png", (tmp_path / "own/images/000.jpg").read_bytes())
    with pytest.raises(ValueError, match=r"images/000.png and images/000.jpg are of one picture; keep one"):
        prepare(tmp_path / "own")
    with pytest.raises(NotADirectoryError, match="there is no folder"):
        prepare(tmp_path / "none")
    with pytest.raises(ValueError, match="name 'nyud2': a data set of your own has a name"):
        prepare_depths("nyud2", tmp_path / "own", tmp_path / "data", scale=1.0)


def test_a_scale_is_a_number_or_a_quotient():
    assert [metres_per_unit(text, "--scale") for text in ("1/25.5", "0.001", "1")] == [1 / 25.5, 0.001, 1]
    for text in ("", "a/2", "1/0", "1/2/3", "-0.001", "0", "nan", "inf"):
        with pytest.raises(ValueError, match="--scale must be metres per unit"):
            metres_per_unit(text, "--scale")


@pytest.fixture
def release(tmp_path):
    write_release(tmp_path / "release")
    return tmp_path / "release"


def test_nyud2_is_prepared_from_its_release(release, tmp_path):
    assert prepare_nyud2(release, tmp_path / "data")
    data = load_depths("nyud2", tmp_path / "data")
    train, val, test = (data.splits[name] for name in ("train", "val", "test"))
    assert (train.scale, val.scale, test.scale) == (10 / 255, 10 / 255, 0.001)
    assert [len(split.names) for split in (train, val, test)] == [16, 4, 3]
    rows = [line.split(",")[0].removeprefix("data/") for line in (release / "nyu2_train.csv").read_text().split()]
    trained = split_scenes(rows)
    assert train.names.tolist() == [row for row, one in zip(rows, trained, strict=True) if one]
    assert val.names.tolist() == [row for row, one in zip(rows, trained, strict=True) if not one]
    assert test.names.tolist() == [f"nyu2_test/{number:05}_colors.png" for number in range(3)]
    assert train.statistics_rows.tolist() == list(range(16)), "all, because there are fewer than 600"
    (batch,) = eval_batches(test._replace(mask=None), batch_size=3)
    assert 0.8 <= batch["target"].min() < batch["target"].max() <= 9.81
    mask = balanced_mask(batch["target"])
    np.testing.assert_array_equal([test.mask_of(row) for row in range(3)], mask)
    (masked,) = eval_batches(test, batch_size=3)
    np.testing.assert_array_equal(masked["valid"], mask)
    remarks = findings("nyud2", tmp_path / "data").remarks
    assert remarks[0] == "feature smoothing: 16 training pictures, drawn with seed 0, give its statistics"
    assert remarks[1].startswith(f"evaluated test pixels: {mask.sum():,}, equally many of every bucket of .1 m")
    assert "drawn with seed 0; the published draw has no seed" in remarks[1]
    assert not prepare_nyud2(release, tmp_path / "data")
    assert not prepare_nyud2(None, tmp_path / "data")


def test_mask_and_subset_of_the_release_are_taken(release, tmp_path):
    generator = np.random.default_rng(0)
    mask = generator.random((3, 228, 304)) < 0.1
    np.save(release / "test_balanced_mask.npy", mask.astype(np.uint8))
    lines = (release / "nyu2_train.csv").read_text().splitlines()
    chosen = sorted(generator.choice(20, 9, replace=False).tolist())
    (release / "nyu2_train_FDS_subset.csv").write_text("\n".join(lines[row] for row in chosen))
    (release / "nyu2_test/00001_depth.png").unlink()
    assert prepare_nyud2(release, tmp_path / "data", max_skipped=0.04)
    data = load_depths("nyud2", tmp_path / "data")
    test, train = data.splits["test"], data.splits["train"]
    assert test.names.tolist() == ["nyu2_test/00000_colors.png", "nyu2_test/00002_colors.png"]
    np.testing.assert_array_equal([test.mask_of(row) for row in range(2)], mask[[0, 2]])
    subset = {lines[row].split(",")[0].removeprefix("data/") for row in chosen}
    trained = subset & {*train.names.tolist()}
    assert {*train.names[train.statistics_rows].tolist()} == trained
    assert findings("nyud2", tmp_path / "data").remarks == [
        f"feature smoothing: {len(trained)} of the 9 pictures of nyu2_train_FDS_subset.csv are trained on, and give "
        "its statistics",
        f"evaluated test pixels: {mask[[0, 2]].sum():,}, those of test_balanced_mask.npy",
    ]
    (release / "test_balanced_mask.npy").unlink()
    with pytest.raises(ValueError, match="holds other data than nyud2 was prepared from; give --overwrite"):
        prepare_nyud2(release, tmp_path / "data")


def test_an_archive_of_nyud2_with_its_folder(release, tmp_path):
    (tmp_path / "zipped").mkdir()
    with zipfile.ZipFile(tmp_path / "zipped" / "nyu_data.zip", "w") as archive:
        for file in release.rglob("*.*"):
            archive.write(file, f"data/{file.relative_to(release)}")
    for number, source in enumerate((tmp_path / "zipped", tmp_path / "zipped" / "nyu_data.zip")):
        assert prepare_nyud2(source, tmp_path / f"data{number}")
    prepare_nyud2(release, tmp_path / "data")
    assert len({load_depths("nyud2", tmp_path / f"data{end}").digest for end in ("", 0, 1)}) == 1


def test_nyud2_that_was_never_prepared(tmp_path):
    with pytest.raises(ValueError, match="give --manual_dir, the folder of the release"):
        prepare_nyud2(None, tmp_path)
    with pytest.raises(OSError, match="nyud2 is not prepared in .*launch/prepare.py --dataset=nyud2 --manual_dir="):
        load_depths("nyud2", tmp_path)


def test_the_facts_are_checked_json(folder):
    prepare(folder)
    facts = read_json(PLACES.folder_of("rooms", folder.parent / "data") / "dataset.json")
    assert facts["scales"] == dict.fromkeys(("train", "val", "test"), SCALE)
    assert facts["digest"] == load(folder).digest
