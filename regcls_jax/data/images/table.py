"""Tables of images with a target: where each image is, its number, and the split it belongs to."""

import csv
import gzip
import hashlib
import os
import re
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np
import pandas as pd

from regcls_jax import binning
from regcls_jax.data.images.files import plain_path

SPLITS = ("train", "val", "test")
# Uniform buckets of the target that splits are balanced over, if there are images for so many: 10 a bucket.
BUCKETS, PER_BUCKET = 50, 10
# Years that no age in a data set of ages exceeds: IMDB-WIKI-DIR has ages up to 186, and every year costs memory.
OLDEST = 200
# Of paths in one spelling: those that do not stay below the folder they start from.
OUTSIDE = re.compile(r"\.{1,2}$|\.\./|/|[A-Za-z]:/")
# Share of the images that goes to val at most, and to test.
HELD_OUT = 0.1


class ImageTable(NamedTuple):
    """One row per image: path in the image folder (str), target (float32), split (str, None if not split); all [n]."""

    paths: np.ndarray
    targets: np.ndarray
    splits: np.ndarray | None = None

    def rows(self, mask: np.ndarray) -> Self:
        """The rows where `mask` [n] (bool) holds, in their order."""
        splits = None if self.splits is None else self.splits[mask]
        return type(self)(self.paths[mask], self.targets[mask], splits)

    def split(self, name: str) -> Self:
        """The rows of one split, in their order. Raises ValueError if the table is not split."""
        if self.splits is None:
            raise ValueError("the table has no splits")
        return self.rows(self.splits == name)


def read_image_table(
    path: str | os.PathLike,
    target: str,
    *,
    path_column: str = "path",
    least: float = -np.inf,
    most: float = np.inf,
    split_needed: bool = False,
) -> ImageTable:
    """Reads a CSV table with a column of paths, one of numbers and, if it is there, a column `split`.

    Spaces around fields and names, and empty lines, do not matter. Paths come in one spelling (`files.plain_path`).

    Args:
      path: the CSV file, which may be gzipped (.gz); its other columns are ignored.
      target: the column of the numbers; they are not clipped (IMDB-WIKI-DIR has ages up to 186; recipe 5.1).
      path_column: the column of the images' paths.
      least: the smallest number that makes sense.
      most: the largest.
      split_needed: whether a missing column `split` is an error.

    Raises:
      OSError: there is no such file.
      ValueError: a column is missing, a target is no finite number from `least` to `most`, a path is empty, comes twice
        or leads out of the folder, a split is unknown or empty; the message names file, line and column.
    """
    frame = _read_rows(Path(path))
    for column in (path_column, target, *(["split"] if split_needed else [])):
        if column not in frame.columns:
            raise ValueError(f"{path} has no column {column!r}; it has {', '.join(frame.columns)}")
        if list(frame.columns).count(column) > 1:
            raise ValueError(f"{path} has more than one column {column!r}")
    with np.errstate(over="ignore", invalid="ignore"):
        targets = pd.to_numeric(frame[target], errors="coerce").to_numpy(np.float64).astype(np.float32)
        usable = np.isfinite(targets) & (targets >= least) & (targets <= most)
    wanted = "a finite number" if (least, most) == (-np.inf, np.inf) else f"a number from {least:g} to {most:g}"
    _refuse(path, frame, target, ~usable, f"is not {wanted}")
    _refuse(path, frame, path_column, (frame[path_column] == "").to_numpy(), "names no image")
    paths = frame[path_column].map(plain_path)
    outside = paths.str.match(OUTSIDE).to_numpy(bool)
    _refuse(path, frame, path_column, outside, "leads out of the folder of the images; give a path below it")
    _refuse(path, frame, path_column, paths.duplicated().to_numpy(), "was given in a row above")
    table = ImageTable(paths.to_numpy(np.str_), targets)
    if "split" not in frame.columns:
        return table
    _refuse(path, frame, "split", ~frame["split"].isin(SPLITS).to_numpy(), f"is none of {', '.join(SPLITS)}")
    table = table._replace(splits=frame["split"].to_numpy(np.str_))
    check_splits(table, path)
    return table


def balanced_splits(groups: np.ndarray, cap: int, seed: int) -> np.ndarray:
    """Splits str [n] as DIR makes them (recipe 5.1): of every group in order min(size // 3, cap) to val and to test.

    `groups` [n] of any values; which rows go where is drawn by `numpy.random.default_rng(seed)`, which shuffles group
    after group in their order.
    """
    splits = np.full(len(groups), "train")
    generator = np.random.default_rng(seed)
    for group in np.unique(groups):
        rows = generator.permutation(np.flatnonzero(groups == group))
        size = min(len(rows) // 3, cap)
        splits[rows[:size]] = "val"
        splits[rows[size : 2 * size]] = "test"
    return splits


def split_by_target(table: ImageTable, source: str | os.PathLike, seed: int) -> ImageTable:
    """The table with splits: val and test balanced over uniform buckets of the target, up to `HELD_OUT` of all each.

    Raises ValueError, naming `source`, where there are fewer than three images or all have the same target.
    """
    targets = table.targets
    different = len(np.unique(targets))
    if len(targets) < 3 or different == 1:
        raise ValueError(
            f"{source}: {len(targets)} images with {different} different targets and no column 'split' cannot be "
            "split; give that column"
        )
    buckets = min(max(len(targets) // PER_BUCKET, 1), BUCKETS)
    edges = np.linspace(targets.min(), targets.max(), buckets + 1, dtype=np.float32)
    groups = binning.assign(targets, edges)
    sizes = np.bincount(groups, minlength=buckets) // 3
    allowed = max(int(HELD_OUT * len(targets)), 1)
    # The largest cap that takes no more than allowed; where every bucket has one to give, that may be none at all.
    cap = max((cap for cap in range(1, sizes.max() + 1) if np.minimum(sizes, cap).sum() <= allowed), default=1)
    return table._replace(splits=balanced_splits(groups, cap, seed))


def check_splits(table: ImageTable, source: str | os.PathLike) -> None:
    """Raises ValueError, naming `source`, where a split has no row."""
    for name in SPLITS:
        if not len(table.split(name).targets):
            raise ValueError(f"{source}, column 'split': no row is {name!r}")


def digest(parts: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> str:
    """Of names str [n] and targets float32 [n] by split, in their order."""
    found = hashlib.blake2b(digest_size=16)
    for split, (names, targets) in parts.items():
        found.update(repr((split, names.tolist())).encode())
        found.update(np.ascontiguousarray(targets, "<f4").tobytes())
    return found.hexdigest()


def _read_rows(path: Path) -> pd.DataFrame:
    """The fields of a CSV file as text, by the line that a row ends on; pandas' own reader does not tell lines."""
    opened = gzip.open if path.suffix == ".gz" else open
    try:
        with opened(path, "rt", encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, skipinitialspace=True, strict=True)
            lines = [(reader.line_num, [field.strip() for field in row]) for row in reader]
        (_, header), *rows = [(line, row) for line, row in lines if any(row)]
    except FileNotFoundError:
        raise
    except (csv.Error, EOFError, OSError, ValueError, zlib.error) as error:  # of encoding, or no header
        raise ValueError(f"{path} is no CSV table: {error}") from error
    for line, row in rows:
        if any(row[len(header) :]):
            raise ValueError(f"{path}, line {line}: {len(row)} fields, but the header has {len(header)}")
    width = len(header)
    filled = [(row + [""] * width)[:width] for _, row in rows]
    return pd.DataFrame(filled, [line for line, _ in rows], header, dtype=str)


def _refuse(path: str | os.PathLike, frame: pd.DataFrame, column: str, wrong: np.ndarray, what: str) -> None:
    if wrong.any():
        row = int(np.argmax(wrong))
        raise ValueError(f"{path}, line {frame.index[row]}, column {column!r}: {frame[column].iloc[row]!r} {what}")
