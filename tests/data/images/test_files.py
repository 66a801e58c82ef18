"""Images as people have them: archives of every kind, nested folders, links, names in capitals."""

import concurrent.futures
import io
import os
import shutil
import tarfile
import zipfile

import pytest

from regcls_jax.data.images.files import ARCHIVES, ImageFiles, plain_path

CONTENT = {f"faces/{number}.jpg": f"{number}".encode() * (number + 1) for number in range(40)}
MODES = {".zip": "", ".tar": "w", ".tar.gz": "w:gz", ".tgz": "w:gz", ".tar.bz2": "w:bz2", ".tar.xz": "w:xz"}


def pack(path, content, start=""):
    """Writes an archive of the kind that its name tells."""
    kind = next(kind for kind in sorted(MODES, key=len, reverse=True) if path.name.lower().endswith(kind))
    if kind == ".zip":
        with zipfile.ZipFile(path, "w") as archive:
            for name, data in content.items():
                archive.writestr(f"{start}{name}", data)
        return path
    with tarfile.open(path, MODES[kind]) as archive:
        for name, data in content.items():
            info = tarfile.TarInfo(f"{start}{name}")
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


@pytest.mark.parametrize("kind", ARCHIVES)
def test_reads_every_kind_of_archive_from_several_threads(tmp_path, kind):
    pack(tmp_path / f"faces{kind}", {**CONTENT, "notes.txt": b"no image"})
    images = ImageFiles(tmp_path)
    assert sorted(images.names()) == sorted(CONTENT)
    with concurrent.futures.ThreadPoolExecutor(4) as threads:
        assert list(threads.map(images.read, list(CONTENT) * 5)) == list(CONTENT.values()) * 5
    assert images.stamp("faces/3.jpg") == ImageFiles(tmp_path).stamp("faces/3.jpg") != images.stamp("faces/4.jpg")
    assert images.stamp("faces/99.jpg") is None
    with pytest.raises(FileNotFoundError):
        images.read("faces/99.jpg")


@pytest.mark.parametrize("kind", ARCHIVES)
def test_a_damaged_archive_is_named(tmp_path, kind):
    path = pack(tmp_path / f"faces{kind}", {name: os.urandom(3000) for name in CONTENT})
    path.write_bytes(path.read_bytes()[:50_000])
    with pytest.raises(ValueError, match=rf"faces{kind} is no readable (zip|tar) archive: "):
        ImageFiles(tmp_path)
    path.write_bytes(b"no archive")
    with pytest.raises(ValueError, match=rf"faces{kind} is no readable (zip|tar) archive: "):
        ImageFiles(tmp_path)


def test_the_last_file_of_an_archive_may_be_cut(tmp_path):
    path = pack(tmp_path / "faces.tar", {"1.jpg": b"1" * 3000})
    images = ImageFiles(tmp_path)
    os.truncate(path, 2000)
    with pytest.raises(OSError, match=r"faces\.tar ends early"):
        images.read("1.jpg")


@pytest.mark.parametrize("start", ["", "./", "outer/", "./outer/"])
@pytest.mark.parametrize("kind", [".zip", ".tar.gz"])
def test_a_folder_around_everything_may_be_left_out_of_a_name(tmp_path, kind, start):
    pack(tmp_path / f"x{kind}", {**CONTENT, "other/1.png": b"1"}, start)
    pack(tmp_path / "macos.zip", {"__MACOSX/faces/._1.jpg": b"", ".DS_Store": b""})
    images = ImageFiles(tmp_path)
    assert len(images.names()) == len(CONTENT) + 1
    assert {name.removeprefix("outer/") for name in images.names()} == {*CONTENT, "other/1.png"}
    assert images.read("faces/7.jpg") == CONTENT["faces/7.jpg"]
    assert images.stamp("faces/7.jpg") is not None


def test_a_folder_around_all_folders_may_be_left_out(tmp_path):
    for name, data in CONTENT.items():
        (tmp_path / "outer" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "outer" / name).write_bytes(data)
    (tmp_path / ".hidden").mkdir()
    images = ImageFiles(tmp_path)
    assert images.read("faces/7.jpg") == images.read("outer/faces/7.jpg") == CONTENT["faces/7.jpg"]
    assert images.stamp("faces/7.jpg") == images.stamp("outer/faces/7.jpg")
    (tmp_path / "second").mkdir()
    assert ImageFiles(tmp_path).stamp("faces/7.jpg") is None


def test_the_first_start_of_a_name_that_occurs_chooses_the_archives_in_any_case(tmp_path):
    pack(tmp_path / "archive.zip", {"2.JPG": b"2"})
    pack(tmp_path / "other.zip", {"3.jpg": b"3"})
    assert ImageFiles(tmp_path, ["utkface", "archive."]).names() == ["2.JPG"]
    pack(tmp_path / "UTKFace.ZIP", {"1.JPG": b"1"})
    assert ImageFiles(tmp_path, ["utkface", "archive."]).names() == ["1.JPG"]
    assert ImageFiles(tmp_path).names() == ["1.JPG", "2.JPG", "3.jpg"]
    assert ImageFiles(tmp_path, ["agedb"]).names() == []


def test_folders_that_are_links_are_followed_once(tmp_path):
    (tmp_path / "disk" / "deep").mkdir(parents=True)
    (tmp_path / "disk" / "deep" / "1.png").write_bytes(b"1")
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "here").symlink_to(tmp_path / "disk")
    (tmp_path / "images" / "there").symlink_to(tmp_path / "disk" / "deep")
    (tmp_path / "disk" / "round").symlink_to(tmp_path / "images")
    images = ImageFiles(tmp_path / "images")
    assert images.names() == ["here/deep/1.png"]
    assert images.read("here/deep/1.png") == images.read("there/1.png") == b"1"


def test_no_space_to_unpack_is_told(tmp_path, monkeypatch):
    def full(source, *_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shutil, "copyfileobj", full)
    pack(tmp_path / "faces.tgz", CONTENT)
    with pytest.raises(OSError, match=r"faces\.tgz cannot be unpacked to .*\(No space left on device\); set TMPDIR"):
        ImageFiles(tmp_path)


@pytest.mark.parametrize(
    ("given", "plain"),
    [("a/b.jpg", "a/b.jpg"), ("./a//b.jpg", "a/b.jpg"), (r"a\b.jpg", "a/b.jpg"), ("a/../../b.jpg", "../b.jpg")],
)
def test_one_spelling_of_a_path(given, plain):
    assert plain_path(given) == plain
