"""The cache of 1-D data sets: names, damage, atomic writes, several writers, errors of the file system."""

import dataclasses
import errno
import io
import os
import subprocess
import sys
import warnings
import zipfile

import numpy as np
import pytest

from regcls_jax.data import synthetic as s1d
from regcls_jax.data.synthetic import cache

SMALL = s1d.DataSpec("clean", "uniform", 0, 0, total=1024)  # 2,048 samples, 34 kB


def equal(dataset, other):
    return all(
        np.array_equal(a.x, b.x) and np.array_equal(a.y, b.y) and a.x.shape == b.x.shape
        for a, b in zip(dataset, other, strict=True)
    )


def files(folder):
    return sorted(path.name for path in folder.iterdir())


def test_load_gives_what_make_gives_and_makes_it_once(tmp_path, monkeypatch):
    specs = [dataclasses.replace(SMALL, function=f, repetition=r) for f in (0, 1) for r in (1, 0)]
    specs += [dataclasses.replace(specs[0], scenario="noisy", noise=sigma) for sigma in (0.1, 0.5)]
    folder = tmp_path / "made" / "when missing"
    first = s1d.load(specs, folder, workers=2)
    assert list(first) == specs
    assert all(equal(first[spec], s1d.make(spec)) for spec in specs)
    assert files(folder) == sorted(cache.path_of(spec, folder).name for spec in specs)

    def refuse(*_):
        raise AssertionError("made again")

    monkeypatch.setattr(s1d.Source, "make", refuse)
    again = s1d.load(specs, folder)
    assert all(equal(first[spec], again[spec]) for spec in specs)


def test_read_makes_what_is_missing_without_a_warning(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert equal(s1d.read(SMALL, tmp_path), s1d.make(SMALL))
    assert cache.path_of(SMALL, tmp_path).exists()


def test_ensure_shows_progress_only_when_asked(tmp_path, capsys):
    s1d.ensure([SMALL], tmp_path / "quiet")
    assert capsys.readouterr().err == ""
    s1d.ensure([SMALL], tmp_path / "loud", progress=True)
    assert "1/1" in capsys.readouterr().err


@pytest.mark.parametrize("workers", [0, -1, 1.5])
def test_workers_must_be_a_positive_integer(tmp_path, workers):
    with pytest.raises(ValueError, match="workers must be an integer of at least 1"):
        s1d.ensure([SMALL], tmp_path, workers=workers)


def test_names_differ_by_everything_that_matters_and_nothing_else(tmp_path, monkeypatch):
    base = s1d.DataSpec("noisy", "mild", 0, 0)
    changes = [
        {"scenario": "clean"}, {"scenario": "ood"}, {"sampling": "severe"}, {"function": 1},
        {"repetition": 1}, {"noise": 0.2}, {"noise_kind": "uniform"}, {"total": 30_000}, {"peak_share": 0.75},
    ]  # fmt: skip
    fields = {f.name for f in dataclasses.fields(base)}
    assert {key for change in changes for key in change} == fields - {"by_shots"}  # the same data
    assert cache.path_of(dataclasses.replace(base, by_shots=True), tmp_path) == cache.path_of(base, tmp_path)
    names = {cache.path_of(spec, tmp_path) for spec in (dataclasses.replace(base, **c) for c in changes)}
    names.add(cache.path_of(base, tmp_path))
    assert len(names) == len(changes) + 1

    clean, uniform = s1d.DataSpec("clean", "mild", 0, 0), s1d.DataSpec("noisy", "uniform", 0, 0)
    for spec, change in ((clean, {"noise": 0.5, "noise_kind": "uniform"}), (uniform, {"peak_share": 0.75})):
        assert cache.path_of(dataclasses.replace(spec, **change), tmp_path) == cache.path_of(spec, tmp_path)
    numpy_spec = s1d.DataSpec("noisy", "mild", np.int64(0), np.int32(0), noise=np.float64(0.1))
    assert cache.path_of(numpy_spec, tmp_path) == cache.path_of(base, tmp_path)

    monkeypatch.setattr(cache, "GENERATOR_VERSION", cache.GENERATOR_VERSION + 1)
    assert cache.path_of(base, tmp_path) not in names


def test_specs_of_equal_content_share_a_file(tmp_path):
    other = dataclasses.replace(SMALL, noise=0.5)
    loaded = s1d.load([SMALL, other], tmp_path)
    assert len(files(tmp_path)) == 1
    assert equal(loaded[SMALL], loaded[other])


@pytest.mark.parametrize("kept", [0, 1, 100, 20_000, -1])
def test_a_truncated_file_is_made_again_with_a_warning(tmp_path, kept):
    path = cache.path_of(SMALL, tmp_path)
    expected = s1d.read(SMALL, tmp_path)
    whole = path.read_bytes()
    path.write_bytes(whole[:kept])
    with pytest.warns(UserWarning, match=rf"{path.name} is damaged"):
        assert equal(s1d.read(SMALL, tmp_path), expected)
    assert equal(cache._decode(path.read_bytes()), expected)
    assert files(tmp_path) == [path.name]


def test_no_flipped_byte_changes_what_is_read(tmp_path):
    # Bytes of the zip directory that nothing reads (times, permissions) may be flipped without notice.
    path = cache.path_of(SMALL, tmp_path)
    expected = s1d.read(SMALL, tmp_path)
    whole = path.read_bytes()
    members = zipfile.ZipFile(io.BytesIO(whole)).infolist()
    headers = [member.header_offset + i for member in members for i in range(0, 180, 5)]
    positions = [*headers, *range(1000, len(whole) - 500, 4001), *range(len(whole) - 300, len(whole), 7)]
    noticed = 0
    for position in positions:
        damaged = bytearray(whole)
        damaged[position] ^= 0x55
        path.write_bytes(damaged)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            assert equal(s1d.read(SMALL, tmp_path), expected), position
        noticed += len(caught)
    assert noticed > 0.7 * len(positions)


def test_a_changed_array_header_is_noticed(tmp_path):
    # Half the bytes read as float32 give arrays of the right length: only a checksum of the member tells.
    path = cache.path_of(SMALL, tmp_path)
    expected = s1d.read(SMALL, tmp_path)
    path.write_bytes(path.read_bytes().replace(b"<f8", b"<f4"))
    with pytest.warns(UserWarning, match="is damaged"):
        assert equal(s1d.read(SMALL, tmp_path), expected)


def test_a_file_appears_whole_and_on_disk(tmp_path, monkeypatch):
    events = []
    target = cache.path_of(SMALL, tmp_path)

    def fsync(descriptor):
        events.append("fsync")

    def replace(source, destination, *, really=os.replace):
        assert destination == target
        assert not target.exists()
        assert source.parent == target.parent
        cache._decode(source.read_bytes())
        events.append("replace")
        really(source, destination)

    monkeypatch.setattr(cache.os, "fsync", fsync)
    monkeypatch.setattr(cache.os, "replace", replace)
    s1d.ensure([SMALL], tmp_path)
    assert events == ["fsync", "replace"]
    assert files(tmp_path) == [target.name]


@pytest.mark.parametrize("call", ["fsync", "replace"])
@pytest.mark.parametrize("use", [s1d.load, s1d.ensure])
def test_a_full_disk_is_one_error_that_names_the_file(tmp_path, monkeypatch, call, use):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(cache.os, call, full)
    with pytest.raises(OSError, match="cannot be written: No space left on device") as error:
        use([SMALL, dataclasses.replace(SMALL, function=1)], tmp_path, workers=1)
    assert error.value.errno == errno.ENOSPC
    assert error.value.filename == str(cache.path_of(SMALL, tmp_path))
    assert files(tmp_path) == []


def test_the_first_error_stops_the_work(tmp_path, monkeypatch):
    tried = []

    def full(*_):
        tried.append(1)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(cache.os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        s1d.ensure([dataclasses.replace(SMALL, function=f) for f in range(30)], tmp_path, workers=1)
    assert len(tried) < 30


def test_what_another_program_made_meanwhile_is_not_made_again(tmp_path, monkeypatch):
    other = dataclasses.replace(SMALL, total=2048)
    made = []

    def make(source, spec, *, really=s1d.Source.make):
        made.append(spec)
        cache.path_of(other, tmp_path).write_bytes(b"made by another program")
        return really(source, spec)

    monkeypatch.setattr(s1d.Source, "make", make)
    s1d.ensure([SMALL, other], tmp_path)
    assert made == [SMALL]


def test_a_folder_that_cannot_be_is_an_error_that_names_the_file(tmp_path):
    (tmp_path / "file").write_text("")
    folder = tmp_path / "file" / "cache"
    for use in (lambda: s1d.ensure([SMALL], folder), lambda: s1d.read(SMALL, folder)):
        with pytest.raises(OSError, match="cannot be") as error:
            use()
        assert error.value.filename == str(cache.path_of(SMALL, folder))


def test_an_unreadable_file_is_an_error_not_damage(tmp_path):
    path = cache.path_of(SMALL, tmp_path)
    path.mkdir()
    with pytest.raises(IsADirectoryError, match="data set cannot be read") as error:
        s1d.read(SMALL, tmp_path)
    assert error.value.filename == str(path)


def test_two_programs_fill_one_cache_at_once(tmp_path):
    program = (
        "import sys\n"
        "from regcls_jax.data.synthetic import DataSpec, load\n"
        "specs = [DataSpec('clean', 'uniform', f, r, total=1024) for f in range(3) for r in range(3)]\n"
        "print(sum(float(d.train.y.sum()) for d in load(specs, sys.argv[1], workers=2).values()))\n"
        "assert not {'jax', 'pandas'} & set(sys.modules), 'the data needs neither'\n"
    )
    command = [sys.executable, "-W", "error", "-c", program, str(tmp_path)]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    sums = [process.communicate(timeout=60)[0] for process in running]
    assert [process.returncode for process in running] == [0, 0]
    assert sums[0] == sums[1] != ""
    assert len(files(tmp_path)) == 9
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for f in range(3):
            spec = dataclasses.replace(SMALL, function=f)
            assert equal(s1d.read(spec, tmp_path), s1d.make(spec))
