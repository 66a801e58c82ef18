"""UTKFace's table: ages from names, duplicates, and DIR's balanced splits."""

import collections
import hashlib
import zipfile
from pathlib import Path

import numpy as np
import pytest

from regcls_jax.data.images.duplicates import find_duplicates
from regcls_jax.data.images.files import ImageFiles
from regcls_jax.data.images.table import ImageTable
from regcls_jax.data.utkface import CAP, age_of, balanced_table

UTKFACE = Path("/work/shared/data/utkface64.zip")


def names_of(counts):
    return [f"{age}_0_0_{number:04}.jpg" for age, count in counts.items() for number in range(count)]


@pytest.mark.parametrize(
    ("name", "age"), [("100_0_0_2017.jpg.chip.jpg", 100), ("x_9/61_1_2017.jpg", 61), ("1_.jpg", 1)]
)
def test_age_is_the_first_field_of_the_file_name(name, age):
    assert age_of(name) == age


@pytest.mark.parametrize(
    "name", ["old_0_0.jpg", "_1.jpg", "-3_0.jpg", "1.5_0.jpg", "face.jpg", "1234_0.jpg", "201_0.jpg"]
)
def test_a_name_without_an_age_is_named(name):
    with pytest.raises(ValueError, match=name):
        age_of(name)


@pytest.mark.parametrize("cap", [1, 4, 150])
def test_val_and_test_get_a_third_of_an_age_up_to_the_cap(cap):
    counts = {1: 2, 2: 3, 3: 11, 30: 12, 31: 60}
    table = balanced_table(names_of(counts), cap=cap, seed=3)
    got = collections.Counter(zip(table.targets.tolist(), table.splits.tolist(), strict=True))
    for age, count in counts.items():
        held_out = min(count // 3, cap)
        assert got[age, "val"] == got[age, "test"] == held_out
        assert got[age, "train"] == count - 2 * held_out


def test_the_draw_follows_numpy_age_by_age_and_the_seed():
    names = names_of({5: 7, 40: 9})
    table = balanced_table(names, cap=2, seed=11)
    generator = np.random.default_rng(11)
    expected = ["train"] * len(names)
    for age in (5, 40):
        rows = [row for row, name in enumerate(names) if name.startswith(f"{age}_")]
        rows = generator.permutation(rows)
        for place, row in enumerate(rows):
            expected[row] = "val" if place < 2 else "test" if place < 4 else "train"
    assert table.paths.tolist() == names
    assert table.splits.tolist() == expected
    assert balanced_table(names, cap=2, seed=12).splits.tolist() != expected


@pytest.mark.parametrize(("option", "value"), [("cap", 0), ("cap", 1.5), ("seed", -1)])
def test_refuses_a_wrong_option(option, value):
    with pytest.raises(ValueError, match=option):
        balanced_table(names_of({1: 9}), **{option: value})


def test_refuses_a_name_that_comes_twice():
    with pytest.raises(ValueError, match="twice"):
        balanced_table(["1_a.jpg", "1_a.jpg"])


def test_archive_and_folder_list_the_same_images_in_the_same_order(tmp_path):
    names = ["2_b.jpg", "10_a.PNG", "2_a.jpeg", "notes.txt", ".2_c.jpg"]
    with zipfile.ZipFile(tmp_path / "utkface_small.zip", "w") as archive:
        for name in names:
            archive.writestr(f"faces/{name}", name)
            archive.writestr(f"__MACOSX/faces/._{name}", "")
            (tmp_path / "plain" / "faces").mkdir(parents=True, exist_ok=True)
            (tmp_path / "plain" / "faces" / name).write_text(name)
    zipped, plain = ImageFiles(tmp_path, ["utkface"]), ImageFiles(tmp_path / "plain")
    assert zipped.names() == plain.names() == ["faces/10_a.PNG", "faces/2_a.jpeg", "faces/2_b.jpg"]
    assert zipped.read("faces/2_b.jpg") == plain.read("faces/2_b.jpg") == b"2_b.jpg"


@pytest.mark.skipif(not UTKFACE.exists(), reason=f"needs {UTKFACE}")
def test_real_utkface_duplicates_and_balance():
    images = ImageFiles(UTKFACE.parent, ["utkface"])
    names = images.names()
    assert len(names) == 23_708  # data/README.md, as are the 345 groups
    digests = {name: hashlib.sha256(images.read(name)).hexdigest() for name in names}
    groups = collections.Counter(digests.values())
    assert sum(count > 1 for count in groups.values()) == 345
    same, other = find_duplicates(names, [age_of(name) for name in names], digests)
    kept = [name for name in names if name not in {*same, *other}]
    assert len(kept) == len(groups) == 23_708 - len(same) - len(other)
    table = balanced_table(kept)
    assert isinstance(table, ImageTable)
    assert (table.targets.min(), table.targets.max()) == (1, 116)
    for split in ("val", "test"):
        assert np.unique(table.split(split).targets, return_counts=True)[1].max() == CAP
    np.testing.assert_array_equal(np.sort(table.split("val").targets), np.sort(table.split("test").targets))
