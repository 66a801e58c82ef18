"""Preparing face data sets: what is stored, what is left out, and what continues after a stop."""

import json
import shutil
import tarfile
import zipfile

import numpy as np
import pytest
import tensorflow_datasets as tfds
from face_images import write_faces
from PIL import ExifTags, Image

from regcls_jax.data.images import check as image_check
from regcls_jax.data.images import prepare as preparation
from regcls_jax.data.images.builders import AgeTableImages
from regcls_jax.data.images.files import ImageFiles
from regcls_jax.data.images.prepare import prepare
from regcls_jax.data.images.splits import PLACES, findings, load_images
from regcls_jax.report.images.data_summary import summary
from regcls_jax.store.claims import open_claims
from regcls_jax.store.files import read_json

AGES = [1, 1, 1, 30, 30, 30, 30, 30, 30, 90, 90, 91]


@pytest.fixture(autouse=True)
def _quiet():
    tfds.disable_progress_bar()


@pytest.fixture
def manual(tmp_path):
    """A folder with 12 faces and their table agedb.csv."""
    folder = tmp_path / "manual"
    names = write_faces(folder / "AgeDB", AGES, 16)
    splits = ["train", "val", "test"] * 4
    rows = [f"{age},AgeDB/{name},{split}" for age, name, split in zip(AGES, names, splits, strict=True)]
    (folder / "agedb.csv").write_text("\n".join(["age,path,split", *rows]) + "\n")
    return folder


def test_stores_the_files_unchanged_in_the_order_of_the_table(manual, tmp_path):
    assert prepare("agedb_dir", manual, tmp_path / "data")
    splits = load_images("agedb_dir", tmp_path / "data").splits
    assert list(splits) == ["train", "val", "test"]
    for start, split in enumerate(splits.values()):
        assert split.targets.dtype == np.float32
        np.testing.assert_array_equal(split.targets, AGES[start::3])
        assert split.names[0] == f"AgeDB/{AGES[start]}_0_0_{start:08}.jpg"
        assert len(split.images) == len(split.names) == 4
        files = [(manual / name).read_bytes() for name in split.names]
        assert split.images.read(range(4)) == files
        assert [split.images[row] for row in (2, 0)] == [files[2], files[0]]
    assert findings("agedb_dir", tmp_path / "data") == ({}, ([], [], 0, False), [])


def test_tfds_reads_what_was_stored(manual, tmp_path):
    prepare("agedb_dir", manual, tmp_path / "data")
    builder = AgeTableImages(config="agedb_dir", data_dir=str(tmp_path / "data"), file_format="array_record")
    source = builder.as_data_source("val")
    assert len(source) == 4
    assert source[1]["image"].shape == (16, 16, 3)
    assert source[1]["age"] == AGES[4]
    assert source[1]["name"].decode() == f"AgeDB/{AGES[4]}_0_0_00000004.jpg"


def test_an_archive_beside_the_table_serves_as_well_as_a_folder(manual, tmp_path):
    with zipfile.ZipFile(manual / "AgeDB.zip", "w") as archive:
        for path in (manual / "AgeDB").iterdir():
            archive.write(path, f"AgeDB/{path.name}")
    content = (manual / "AgeDB" / "1_0_0_00000000.jpg").read_bytes()
    shutil.rmtree(manual / "AgeDB")
    prepare("agedb_dir", manual, tmp_path / "data")
    assert load_images("agedb_dir", tmp_path / "data").splits["train"].images[0] == content


def spoil(manual):
    """Removes one image, cuts another and empties a third; returns their names with what is wrong."""
    first, second, third = sorted((manual / "AgeDB").iterdir())[1:4]
    first.unlink()
    second.write_bytes(second.read_bytes()[:200])
    third.write_bytes(b"")
    starts = {first: "missing", second: "corrupt: ", third: "corrupt: "}
    return {f"AgeDB/{path.name}": start for path, start in starts.items()}


def test_skips_unusable_images_up_to_the_limit_and_lists_them(manual, tmp_path):
    faults = spoil(manual)
    assert prepare("agedb_dir", manual, tmp_path / "data", max_skipped=0.2)  # ceil(0.2 * 12) = 3
    left = findings("agedb_dir", tmp_path / "data").faults
    assert left.keys() == faults.keys()
    assert all(left[name].startswith(start) for name, start in faults.items())
    splits = load_images("agedb_dir", tmp_path / "data").splits
    stored = np.concatenate([split.names for split in splits.values()])
    assert len(stored) == 9
    assert not set(stored) & set(faults)


def test_one_more_unusable_image_than_the_limit_is_an_error_that_names_them(manual, tmp_path):
    faults = spoil(manual)
    with pytest.raises(ValueError, match="3 of 12 images cannot be used, and at most 2 may be skipped") as caught:
        prepare("agedb_dir", manual, tmp_path / "data", max_skipped=0.16)  # ceil(0.16 * 12) = 2
    assert all(name in str(caught.value) for name in faults)
    listing = tmp_path / "data" / "checks" / "age_table_images" / "unusable.json"
    assert read_json(listing).keys() == faults.keys()
    assert str(listing) in str(caught.value)
    with pytest.raises(OSError, match=r"agedb_dir is not prepared in .*launch/prepare.py --dataset=agedb_dir"):
        load_images("agedb_dir", tmp_path / "data")


def test_a_repaired_image_is_checked_again(manual, tmp_path):
    path = manual / "AgeDB" / "1_0_0_00000001.jpg"
    content = path.read_bytes()
    path.write_bytes(b"no image")
    with pytest.raises(ValueError, match="1 of 12 images cannot be used, and at most 0"):
        prepare("agedb_dir", manual, tmp_path / "data", max_skipped=0)
    path.write_bytes(content)
    assert prepare("agedb_dir", manual, tmp_path / "data", max_skipped=0)


def test_a_stopped_check_continues_where_it_was(manual, tmp_path, monkeypatch):
    monkeypatch.setattr(image_check, "CHUNK", 3)
    images, folder = ImageFiles(manual), tmp_path / "checks"
    names, decoded = images.names(), []

    def decode(data, stop_at=None):
        if len(decoded) == stop_at:
            raise KeyboardInterrupt
        decoded.append(data)

    monkeypatch.setattr(image_check, "decode_rgb", lambda data: decode(data, stop_at=7))
    with pytest.raises(KeyboardInterrupt):
        image_check.check_images(images, names, folder, workers=1)
    assert len(list(folder.iterdir())) == 2  # two whole chunks of three, and one image of the third
    monkeypatch.setattr(image_check, "decode_rgb", decode)
    continued = image_check.check_images(images, names, folder, workers=1)
    assert len(decoded) == 7 + 6, "only the images of unfinished chunks are decoded again"
    (next(folder.iterdir())).write_text("{")
    assert image_check.check_images(images, names, folder, workers=1) == continued
    assert len(decoded) == 13 + 3, "a damaged result is made again"


def test_utkface_drops_duplicates_before_splitting(tmp_path):
    names = write_faces(tmp_path / "faces", AGES, 16)
    (tmp_path / "faces" / names[1]).write_bytes((tmp_path / "faces" / names[0]).read_bytes())
    (tmp_path / "faces" / names[11]).write_bytes((tmp_path / "faces" / names[4]).read_bytes())
    prepare("utkface", tmp_path / "faces", tmp_path / "data")
    assert findings("utkface", tmp_path / "data") == ({}, ([names[1]], [names[11]], 0, True), [])
    splits = load_images("utkface", tmp_path / "data").splits
    np.testing.assert_array_equal(splits["val"].targets, [30, 30])
    np.testing.assert_array_equal(splits["test"].targets, [30, 30])
    stored = np.concatenate([split.names for split in splits.values()]).tolist()
    assert sorted(stored) == sorted(set(names) - {names[1], names[11]})


def given_again(dataset, manual, tmp_path, **options):
    return prepare(dataset, manual, tmp_path / "data", **options)


def test_a_table_that_changed_since_is_an_error_and_overwrite_prepares_it(manual, tmp_path):
    assert given_again("agedb_dir", manual, tmp_path)
    before = load_images("agedb_dir", tmp_path / "data")
    assert not given_again("agedb_dir", manual, tmp_path)
    assert not given_again("agedb_dir", None, tmp_path)
    table = manual / "agedb.csv"
    table.write_text(table.read_text().replace("\n90,", "\n89,", 1))
    message = f"{manual} holds other data than agedb_dir was prepared from; give --overwrite to prepare it again"
    with pytest.raises(ValueError, match=message):
        given_again("agedb_dir", manual, tmp_path)
    assert not given_again("agedb_dir", None, tmp_path), "what was prepared is there still"
    assert given_again("agedb_dir", manual, tmp_path, overwrite=True)
    assert load_images("agedb_dir", tmp_path / "data").digest != before.digest
    assert not given_again("agedb_dir", manual, tmp_path)


@pytest.mark.parametrize("change", ["add", "remove", "rename"])
def test_other_images_of_utkface_are_an_error(tmp_path, change):
    names = write_faces(tmp_path / "faces", AGES, 16)
    path = tmp_path / "faces" / names[3]
    (tmp_path / "faces" / names[4]).write_bytes(path.read_bytes())
    (tmp_path / "faces" / names[5]).write_bytes(b"")
    assert given_again("utkface", tmp_path / "faces", tmp_path)
    assert not given_again("utkface", tmp_path / "faces", tmp_path)
    if change == "add":
        shutil.copy(path, path.with_name("7_new.jpg"))
    elif change == "remove":
        path.unlink()
    else:
        path.rename(path.with_name("7_new.jpg"))
    with pytest.raises(ValueError, match="faces holds other data than utkface was prepared from; give --overwrite"):
        given_again("utkface", tmp_path / "faces", tmp_path)


def test_a_folder_that_is_missing_later_is_an_error(manual, tmp_path):
    given_again("agedb_dir", manual, tmp_path)
    with pytest.raises(OSError, match=r"there is no folder .*/gone; what was prepared before is in .*--overwrite"):
        given_again("agedb_dir", tmp_path / "gone", tmp_path)
    with pytest.raises(ValueError, match="give --manual_dir, the folder of the images, to prepare agedb_dir"):
        given_again("agedb_dir", None, tmp_path, overwrite=True)
    with pytest.raises(ValueError, match="give --manual_dir, the folder of the images, to prepare utkface"):
        given_again("utkface", None, tmp_path)


def files_of(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_what_was_prepared_stays_if_preparing_it_again_fails(manual, tmp_path, monkeypatch):
    given_again("agedb_dir", manual, tmp_path)
    folder = PLACES.folder_of("agedb_dir", tmp_path / "data")
    before = files_of(folder)
    spoil(manual)
    with pytest.raises(ValueError, match="3 of 12 images cannot be used"):
        given_again("agedb_dir", manual, tmp_path, overwrite=True)
    assert files_of(folder) == before
    monkeypatch.setattr(preparation, "build", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        given_again("agedb_dir", manual, tmp_path, overwrite=True)
    assert files_of(folder) == before
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


@pytest.mark.parametrize("finished", [False, True])
def test_a_process_killed_while_it_prepared_again_loses_nothing(manual, tmp_path, finished):
    given_again("agedb_dir", manual, tmp_path)
    folder = PLACES.folder_of("agedb_dir", tmp_path / "data")
    before = files_of(folder)
    (shutil.copytree if finished else shutil.move)(folder, folder.with_name("before"))
    assert given_again("agedb_dir", manual, tmp_path, overwrite=finished) == finished
    assert files_of(folder).keys() == before.keys()
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


def test_leftovers_of_a_killed_preparation_are_removed(manual, tmp_path):
    folder = PLACES.folder_of("agedb_dir", tmp_path / "data")
    (folder.with_name("incomplete.ABCDEF_1.0.0") / "part").mkdir(parents=True)
    given_again("agedb_dir", manual, tmp_path)
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


def test_two_processes_do_not_prepare_one_data_set_at_once(manual, tmp_path):
    folder = PLACES.folder_of("agedb_dir", tmp_path / "data")
    with open_claims(folder.parent / "claims") as other:
        other.take(folder.name)
        with pytest.raises(OSError, match="agedb_dir/1.0.0 is being prepared by another process"):
            given_again("agedb_dir", manual, tmp_path)
    assert given_again("agedb_dir", manual, tmp_path)


def test_duplicates_of_a_table_are_counted_and_dropped_on_request(manual, tmp_path):
    names = sorted(path.name for path in (manual / "AgeDB").iterdir())
    for original, copy in ((0, 1), (3, 6), (3, 10)):
        shutil.copy(manual / "AgeDB" / names[original], manual / "AgeDB" / names[copy])
    paths = [f"AgeDB/{name}" for name in names]
    given_again("agedb_dir", manual, tmp_path)
    found = findings("agedb_dir", tmp_path / "data")
    # Row i of the table is in split i % 3: 0 and 1 lie in two splits, as do 3, 6 and 10.
    assert found.duplicates == ([paths[1], paths[6]], [paths[10]], 2, False)
    assert found.dropped == []
    assert "kept: 2 of the same age, 1 of another; 2 groups" in summary_of(tmp_path)
    with pytest.raises(ValueError, match="agedb_dir was prepared before without --drop_duplicates; give --overwrite"):
        given_again("agedb_dir", None, tmp_path, drop_duplicates=True)
    given_again("agedb_dir", manual, tmp_path, drop_duplicates=True, overwrite=True)
    splits = load_images("agedb_dir", tmp_path / "data").splits
    stored = np.concatenate([split.names for split in splits.values()]).tolist()
    assert sorted(stored) == sorted(set(paths) - {paths[1], paths[6], paths[10]})
    assert findings("agedb_dir", tmp_path / "data").duplicates == ([paths[1], paths[6]], [paths[10]], 0, True)
    assert "dropped: 2 of the same age, 1 of another" in summary_of(tmp_path)
    assert not given_again("agedb_dir", manual, tmp_path, drop_duplicates=True)
    with pytest.raises(ValueError, match="agedb_dir was prepared before with --drop_duplicates"):
        given_again("agedb_dir", manual, tmp_path)


def summary_of(tmp_path):
    return summary(load_images("agedb_dir", tmp_path / "data"), findings("agedb_dir", tmp_path / "data"))


def test_rotated_images_are_told(manual, tmp_path):
    path = manual / "AgeDB" / "1_0_0_00000001.jpg"
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    with Image.open(path) as image:
        image.save(path, exif=exif)
    given_again("agedb_dir", manual, tmp_path)
    assert findings("agedb_dir", tmp_path / "data").rotated == [f"AgeDB/{path.name}"]
    assert "rotated by EXIF data: 1 images" in summary_of(tmp_path)


def test_what_earlier_versions_did_not_look_for_is_told(manual, tmp_path):
    given_again("agedb_dir", manual, tmp_path)
    path = PLACES.folder_of("agedb_dir", tmp_path / "data") / "left_out.json"
    path.write_text(json.dumps({"faults": {}, "duplicates": {"same_age": [], "other_age": []}}))
    assert findings("agedb_dir", tmp_path / "data") == ({}, None, None)
    assert summary_of(tmp_path).count("without looking for them; --overwrite does") == 2
    assert not given_again("agedb_dir", manual, tmp_path)


def test_preparing_prints_nothing(manual, tmp_path, capsys):
    given_again("agedb_dir", manual, tmp_path)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("archive", ["UTKFACE.ZIP", "archive.zip", "UTKFace.tar.gz"])
def test_utkface_comes_in_archives_of_several_names(tmp_path, archive):
    names = write_faces(tmp_path / "faces", AGES, 16)
    (tmp_path / "manual").mkdir()
    inside = {f"archive/UTKFace/{name.upper()}": tmp_path / "faces" / name for name in names}
    if archive.lower().endswith(".zip"):
        with zipfile.ZipFile(tmp_path / "manual" / archive, "w") as file:
            for name, path in inside.items():
                file.write(path, name)
    else:
        with tarfile.open(tmp_path / "manual" / archive, "w:gz") as file:
            for name, path in inside.items():
                file.add(path, name)
    assert given_again("utkface", tmp_path / "manual", tmp_path)
    splits = load_images("utkface", tmp_path / "data").splits
    assert sorted(np.concatenate([split.names for split in splits.values()])) == sorted(inside)


def test_a_folder_without_images_or_with_a_broken_archive_is_named(tmp_path):
    with pytest.raises(ValueError, match="has neither images nor an archive"):
        prepare("utkface", tmp_path, tmp_path / "data")
    (tmp_path / "utkface.zip").write_bytes(b"PK no archive")
    with pytest.raises(ValueError, match=r"utkface\.zip is no readable zip archive"):
        prepare("utkface", tmp_path, tmp_path / "data")


def test_missing_records_are_told(manual, tmp_path):
    prepare("agedb_dir", manual, tmp_path / "data")
    for path in PLACES.folder_of("agedb_dir", tmp_path / "data").glob("*-val.array_record*"):
        path.unlink()
    with pytest.raises(OSError, match="0 images but 4 targets of val; prepare it again with --overwrite"):
        load_images("agedb_dir", tmp_path / "data")


@pytest.mark.parametrize("part", ["labels.npz", "dataset.json", "left_out.json", "*-val.array_record*"])
@pytest.mark.parametrize("damage", ["empty", "cut", "changed"])
def test_damaged_files_are_named_and_prepared_again(manual, tmp_path, part, damage):
    prepare("agedb_dir", manual, tmp_path / "data")
    (path,) = PLACES.folder_of("agedb_dir", tmp_path / "data").glob(part)
    whole = path.read_bytes()
    half = len(whole) // 2
    content = {"empty": b"", "cut": whole[:half], "changed": whole[:half] + b"\xff\x00\xff" + whole[half + 3 :]}[damage]
    path.write_bytes(content)
    with pytest.raises(OSError, match=rf"{path.name}.* is .*; prepare it again with --overwrite$"):
        prepare("agedb_dir", manual, tmp_path / "data")
    prepare("agedb_dir", manual, tmp_path / "data", overwrite=True)
    assert path.read_bytes() == whole


def test_a_damaged_image_is_found_when_it_is_read(manual, tmp_path):
    prepare("agedb_dir", manual, tmp_path / "data")
    (path,) = PLACES.folder_of("agedb_dir", tmp_path / "data").glob("*-train.array_record*")
    whole = bytearray(path.read_bytes())
    whole[300] ^= 255  # of the images, before the index that is read first
    path.write_bytes(whole)
    with pytest.raises(OSError, match=rf"{path.name} is damaged \(.*\); prepare it again with --overwrite"):
        load_images("agedb_dir", tmp_path / "data").splits["train"].images[0]


def test_a_full_disk_is_told_by_file(manual, tmp_path, monkeypatch):
    def full(*_, **__):
        raise RuntimeError(
            'Failed to finalize "val": write() failed: No space left on device; writing /data/x; at byte 7'
        )

    monkeypatch.setattr(AgeTableImages, "_generate_examples", full)
    with pytest.raises(OSError, match="^/data/x cannot be written: No space left on device; once that is mended"):
        prepare("agedb_dir", manual, tmp_path / "data")
    monkeypatch.setattr(AgeTableImages, "_generate_examples", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        prepare("agedb_dir", manual, tmp_path / "data")


def test_an_unknown_data_set_is_named(tmp_path):
    with pytest.raises(ValueError, match="unknown data set 'faces'; one of utkface, imdb_wiki_dir, agedb_dir"):
        load_images("faces", tmp_path)


def test_a_missing_table_or_folder_and_a_wrong_share_are_named(tmp_path):
    with pytest.raises(OSError, match=r"agedb\.csv"):
        prepare("agedb_dir", tmp_path, tmp_path / "data")
    with pytest.raises(OSError, match=f"there is no folder {tmp_path}/none"):
        prepare("utkface", tmp_path / "none", tmp_path / "data")
    with pytest.raises(ValueError, match=r"max_skipped must be a share in \[0, 1\), got 1"):
        prepare("utkface", tmp_path, tmp_path / "data", max_skipped=1)
