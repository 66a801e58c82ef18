"""Data sets of the user's own: any number as target, splits from the table or made, and the same name twice."""

import json
import re
import shutil
import tracemalloc

import numpy as np
import pytest
import tensorflow_datasets as tfds
from face_images import write_faces
from own_images import write_houses

from regcls_jax.data.images.builders import OwnImages, TableConfig
from regcls_jax.data.images.prepare import prepare, prepare_own
from regcls_jax.data.images.splits import PLACES, findings, load_images
from regcls_jax.data.images.table import ImageTable, split_by_target
from regcls_jax.data.places import LABELS
from regcls_jax.data.prepared import SPLITS
from regcls_jax.report.images.data_summary import summary

COUNT = 60


@pytest.fixture(autouse=True)
def _quiet():
    tfds.disable_progress_bar()


def prepare_houses(folder, **options):
    options = {"target": "price", "unit": "kEUR", "path_column": "photo", **options}
    return prepare_own("houses", folder / "houses.csv", folder / "photos", folder / "data", **options)


def test_splits_of_the_table_are_kept_and_a_second_time_is_known(tmp_path):
    given = ["train", "val", "test", "train"] * (COUNT // 4)
    names, prices = write_houses(tmp_path, COUNT, given)
    assert prepare_houses(tmp_path)
    data = load_images("houses", tmp_path / "data")
    assert (data.name, data.target, data.unit) == ("houses", "price", "kEUR")
    for split in SPLITS:
        member = np.array(given) == split
        assert data.splits[split].names.tolist() == np.array(names)[member].tolist()
        np.testing.assert_array_equal(data.splits[split].targets, prices[member].astype(np.float32))
        assert data.splits[split].targets.min() < 0
    assert data.splits["val"].images[2] == (tmp_path / "photos" / data.splits["val"].names[2]).read_bytes()
    assert not prepare_houses(tmp_path)
    with pytest.raises(ValueError, match="houses was prepared before from another table, target, unit, split or seed"):
        prepare_houses(tmp_path, unit="EUR")
    table = tmp_path / "houses.csv"
    table.write_text(table.read_text().replace(",val\n", ",train\n", 1))
    with pytest.raises(ValueError, match="houses was prepared before from another table"):
        prepare_houses(tmp_path)


def test_splits_are_made_without_the_unusable_images_and_by_the_seed(tmp_path):
    names, prices = write_houses(tmp_path, COUNT)
    (tmp_path / "photos" / names[7]).write_bytes(b"")
    assert prepare_houses(tmp_path, seed=4, max_skipped=0.01)
    data = load_images("houses", tmp_path / "data")
    stored = np.concatenate([split.names for split in data.splits.values()]).tolist()
    assert sorted(stored) == sorted(set(names) - {names[7]})
    kept = ImageTable(*(np.delete(column, 7) for column in (np.array(names), prices.astype(np.float32))))
    expected = split_by_target(kept, "houses", 4)
    assert {name: split.names.tolist() for name, split in data.splits.items()} == {
        name: expected.split(name).paths.tolist() for name in SPLITS
    }
    assert not prepare_houses(tmp_path, seed=4)
    with pytest.raises(ValueError, match="split or seed; choose another name, or give --overwrite to prepare it again"):
        prepare_houses(tmp_path, seed=5)


def test_tfds_reads_what_was_stored(tmp_path):
    names, prices = write_houses(tmp_path, COUNT, ["train", "val", "test"] * (COUNT // 3))
    prepare_houses(tmp_path)
    config = TableConfig(name="houses", table="houses.csv", target="price", unit="kEUR")
    builder = OwnImages(config=config, data_dir=str(tmp_path / "data"), file_format="array_record")
    second = builder.as_data_source("test")[1]
    assert second["image"].shape == (16, 16, 3)
    assert second["target"] == np.float32(prices[5])
    assert second["name"].decode() == names[5]


def test_two_data_sets_of_ones_own_stand_side_by_side(tmp_path):
    write_houses(tmp_path, COUNT)
    prepare_houses(tmp_path)
    prepare_own(
        "flats", tmp_path / "houses.csv", tmp_path / "photos", tmp_path / "data", target="price", path_column="photo"
    )
    assert load_images("flats", tmp_path / "data").unit == ""
    with pytest.raises(
        ValueError, match="unknown data set 'huts'; one of utkface, imdb_wiki_dir, agedb_dir, flats, ho"
    ):
        load_images("huts", tmp_path / "data")


@pytest.mark.parametrize("name", ["utkface", "", "a b", "../x", "-x"])
def test_a_name_that_is_taken_or_none(tmp_path, name):
    with pytest.raises(ValueError, match="a data set of your own has a name of letters, digits"):
        prepare_own(name, tmp_path / "t.csv", tmp_path, tmp_path / "data", target="price")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"target": "town"}, r"houses\.csv, line 2, column 'town': 'Bern' is not a finite number"),
        ({"target": "cost"}, r"houses\.csv has no column 'cost'; it has photo, town, price"),
        ({"path_column": "path"}, r"houses\.csv has no column 'path'"),
        ({"seed": -1}, "seed must be an integer of at least 0"),
        ({"max_skipped": 1.0}, "max_skipped must be a share"),
    ],
)
def test_mistakes_are_named(tmp_path, options, message):
    write_houses(tmp_path, 6)
    with pytest.raises(ValueError, match=message):
        prepare_houses(tmp_path, **options)
    with pytest.raises(ValueError, match="unknown data set 'houses'"):
        load_images("houses", tmp_path / "data")


def test_labels_of_other_data_are_told(tmp_path):
    write_houses(tmp_path, COUNT)
    prepare_houses(tmp_path)
    path = PLACES.folder_of("houses", tmp_path / "data") / LABELS
    with np.load(path) as file:
        arrays = dict(file)
    arrays["train_targets"][0] += 1
    np.savez(path, **arrays)
    with pytest.raises(OSError, match=r"labels\.npz is not the one that was prepared; prepare it again with --over"):
        load_images("houses", tmp_path / "data")


def test_what_earlier_versions_prepared_stays_readable(tmp_path):
    """They wrote no facts, and ages."""
    write_faces(tmp_path / "faces", [1, 30, 30, 30, 30, 30, 30], 16)
    prepare("utkface", tmp_path / "faces", tmp_path / "data")
    now = load_images("utkface", tmp_path / "data")
    folder = PLACES.folder_of("utkface", tmp_path / "data")
    with np.load(folder / LABELS) as file:
        arrays = {name.replace("_targets", "_ages"): values for name, values in file.items()}
    np.savez(folder / LABELS, **arrays)
    assert json.loads((folder / "dataset.json").read_text())["digest"] == now.digest
    (folder / "dataset.json").unlink()
    before = load_images("utkface", tmp_path / "data")
    assert (before.target, before.unit, before.digest) == ("age", "years", now.digest)
    for name, split in before.splits.items():
        np.testing.assert_array_equal(split.targets, now.splits[name].targets)
    shutil.rmtree(folder)
    with pytest.raises(OSError, match="utkface is not prepared in"):
        load_images("utkface", tmp_path / "data")


def test_duplicates_of_ones_own_are_dropped_before_the_splits_are_drawn(tmp_path):
    names, _ = write_houses(tmp_path, COUNT)
    shutil.copy(tmp_path / "photos" / names[0], tmp_path / "photos" / names[1])
    assert prepare_houses(tmp_path)
    assert findings("houses", tmp_path / "data").dropped == []
    with pytest.raises(ValueError, match="houses was prepared before without --drop_duplicates"):
        prepare_houses(tmp_path, drop_duplicates=True)
    assert prepare_houses(tmp_path, drop_duplicates=True, overwrite=True)
    assert findings("houses", tmp_path / "data").dropped == [names[1]]
    stored = [split.names.tolist() for split in load_images("houses", tmp_path / "data").splits.values()]
    assert sorted(sum(stored, [])) == sorted(set(names) - {names[1]})
    assert not prepare_houses(tmp_path, drop_duplicates=True)


def test_another_table_of_the_same_name_with_overwrite(tmp_path):
    write_houses(tmp_path, COUNT)
    prepare_houses(tmp_path)
    before = load_images("houses", tmp_path / "data").digest
    assert prepare_houses(tmp_path, seed=5, overwrite=True)
    assert load_images("houses", tmp_path / "data").digest != before
    with pytest.raises(ValueError, match="give --overwrite to prepare it again"):
        prepare_houses(tmp_path)


def test_a_huge_target_costs_no_memory(tmp_path):
    write_houses(tmp_path, COUNT)
    table = tmp_path / "houses.csv"
    table.write_text(re.sub(r",[-.0-9]+\n", ",2e9\n", table.read_text(), count=1))
    tracemalloc.start()
    try:
        prepare_houses(tmp_path)
        text = summary(load_images("houses", tmp_path / "data"), findings("houses", tmp_path / "data"))
        assert tracemalloc.get_traced_memory()[1] < 2e8
    finally:
        tracemalloc.stop()
    assert "to 2e+09 kEUR" in text
