"""Features of videos, a file each with one row a frame, read once and kept in one compact file per task."""

import functools
import hashlib
import io
import os
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tqdm

from regcls_jax.data.images.files import ImageFiles
from regcls_jax.store.files import read_json, to_json, write_atomic

SUFFIXES = (".txt", ".npy")
# The features of all videos, float32 row by row; names and lengths of the videos, stamp of what was read, digest.
FEATURES_FILE, INDEX_FILE = "features.bin", "videos.json"


class Videos(NamedTuple):
    """Videos in the order of their names: `lengths` [v] in frames, and the `features` of all frames [n, D], float32."""

    names: tuple[str, ...]
    lengths: np.ndarray
    features: np.ndarray

    @property
    def video(self) -> np.ndarray:
        """The number of every frame's video, int32 [n]."""
        return np.repeat(np.arange(len(self.names), dtype=np.int32), self.lengths)

    @property
    def time(self) -> np.ndarray:
        """The number of every frame in its video, from 0, int32 [n]."""
        starts = np.cumsum(self.lengths) - self.lengths
        return np.arange(self.lengths.sum(), dtype=np.int32) - np.repeat(starts, self.lengths).astype(np.int32)


def video_files(files: ImageFiles) -> dict[str, str]:
    """Name of a video -> its file, in the order of the names, whatever that of the directory is.

    Raises ValueError for a video with two files.
    """
    found: dict[str, str] = {}
    for file in files.names(SUFFIXES):
        name = Path(file).stem
        if name in found:
            raise ValueError(f"{files.folder}: {found[name]} and {file} are both of video {name}; remove one")
        found[name] = file
    return dict(sorted(found.items()))


def ensure(files: ImageFiles, videos: Mapping[Path, Mapping[str, str]], width: int, progress: bool) -> None:
    """Reads features into folders, where they are not there yet or their files have changed since.

    Args:
      files: where the feature files are.
      videos: folder -> the videos that it is to hold, by name, and their files (of `video_files`).
      width: numbers per frame.
      progress: whether to show a bar.

    Raises:
      OSError: a file cannot be read or written, or what was read before is damaged.
      ValueError: a file is no table of finite numbers of this width; the message names file and row.
    """
    stamps = {folder: _stamp(files, named) for folder, named in videos.items()}
    stale = [folder for folder, stamp in stamps.items() if not _is_current(folder, stamp)]
    total = sum(len(videos[folder]) for folder in stale)
    with tqdm.tqdm(desc="features", total=total, unit=" videos", disable=not (progress and stale), leave=False) as bar:

        def tables(folder: Path) -> Iterator[tuple[str, np.ndarray]]:
            for name, file in videos[folder].items():
                yield name, read_features(files, file, width)
                bar.update()

        for folder in stale:
            _write(folder, tables(folder), width, stamps[folder])
    for folder in videos:
        _check(folder)


def read_features(files: ImageFiles, file: str, width: int) -> np.ndarray:
    """The features of one video, float32 [frames, width]; errors as `ensure`."""
    content = files.read(file)
    where = f"{files.folder}: {file}"
    try:
        if file.lower().endswith(".npy"):
            table = np.load(io.BytesIO(content), allow_pickle=False)
        else:
            text = io.BytesIO(content)
            table = np.loadtxt(text, dtype=np.float32, ndmin=2, comments=None) if content.strip() else None
    except (ValueError, EOFError, OSError) as error:
        raise ValueError(f"{where} is no table of numbers: {error}") from error
    if table is None or not table.size:
        raise ValueError(f"{where} has no frames")
    if table.ndim != 2 or table.dtype.kind not in "fiu":
        raise ValueError(f"{where} holds {table.dtype} {list(table.shape)}, not one row of numbers a frame")
    if table.shape[1] != width:
        raise ValueError(f"{where} has {table.shape[1]} columns; expected {width}")
    table = np.ascontiguousarray(table, np.float32)
    if len(bad := np.flatnonzero(~np.isfinite(table).all(1))):
        raise ValueError(f"{where}, row {bad[0] + 1}: a value is NaN or infinite ({len(bad)} such rows)")
    return table


def load(folder: Path) -> Videos:
    """The videos of a folder that `ensure` filled; their features stay on disk until they are used."""
    index = read_json(folder / INDEX_FILE)
    lengths = np.array(list(index["videos"].values()), np.int64)
    features = np.memmap(folder / FEATURES_FILE, np.float32, "r", shape=(int(lengths.sum()), index["width"]))
    return Videos(tuple(index["videos"]), lengths, features)


def _stamp(files: ImageFiles, named: Mapping[str, str]) -> str:
    stamps = [f"{name} {files.stamp(file)}" for name, file in named.items()]
    return hashlib.blake2b("\n".join(stamps).encode(), digest_size=16).hexdigest()


def _is_current(folder: Path, source: str) -> bool:
    path = folder / INDEX_FILE
    return path.exists() and read_json(path)["source"] == source


def _write(folder: Path, tables: Iterator[tuple[str, np.ndarray]], width: int, source: str) -> None:
    """Video by video, so that memory holds one; both files are whole whenever the process is killed."""
    folder.mkdir(parents=True, exist_ok=True)
    lengths, found = {}, hashlib.blake2b(digest_size=16)
    temporary = folder / f".{FEATURES_FILE}.{uuid.uuid4().hex}.tmp"
    try:
        with open(temporary, "xb") as file:
            for name, table in tables:
                lengths[name] = len(table)
                found.update(table.data)
                file.write(table.data)
        os.replace(temporary, folder / FEATURES_FILE)
    finally:
        temporary.unlink(missing_ok=True)
    index = {"videos": lengths, "width": width, "source": source, "digest": found.hexdigest()}
    write_atomic(folder / INDEX_FILE, to_json(index))
    _check.cache_clear()


@functools.cache
def _check(folder: Path) -> None:
    """Raises OSError, once per process, where the features are not those that were written."""
    with open(folder / FEATURES_FILE, "rb") as file:
        found = hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
    if found != read_json(folder / INDEX_FILE)["digest"]:
        raise OSError(f"{folder / FEATURES_FILE} is damaged; remove the folder to read the features again")
