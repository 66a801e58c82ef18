"""Tables of faces: where each image is, how old the person is, and the split it belongs to."""

import os
from typing import NamedTuple, Self

import numpy as np
import pandas as pd

SPLITS = ("train", "val", "test")
COLUMNS = ("path", "age", "split")


class AgeTable(NamedTuple):
    """One row per image: path in the image folder (str), age in years (float32), split (str); all [n]."""

    paths: np.ndarray
    ages: np.ndarray
    splits: np.ndarray

    def rows(self, mask: np.ndarray) -> Self:
        """The rows where `mask` [n] (bool) holds, in their order."""
        return type(self)(*(column[mask] for column in self))

    def split(self, name: str) -> Self:
        """The rows of one split, in their order."""
        return self.rows(self.splits == name)


def read_age_table(path: str | os.PathLike) -> AgeTable:
    """Reads a CSV table with columns path, age and split, as IMDB-WIKI-DIR and AgeDB-DIR publish them.

    Other columns are ignored and ages are not clipped (IMDB-WIKI-DIR goes to 186; recipe 5.1).

    Raises:
      OSError: there is no such file.
      ValueError: a column is missing, an age is no number >= 0, a path is empty or comes twice, a split is unknown or
        empty; the message names file, line (the header is line 1) and column.
    """
    try:
        frame = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8")
    except ValueError as error:  # pandas' own errors of parsing and of encoding are ValueErrors
        raise ValueError(f"{path} is no CSV table: {error}") from error
    for column in COLUMNS:
        if column not in frame.columns:
            raise ValueError(f"{path} has no column {column!r}; it has {', '.join(frame.columns)}")
    ages = pd.to_numeric(frame["age"], errors="coerce").to_numpy(np.float64)
    with np.errstate(invalid="ignore"):
        usable = np.isfinite(ages) & (ages >= 0)
    _refuse(path, frame, "age", ~usable, "is no age in years (a number >= 0)")
    _refuse(path, frame, "split", ~frame["split"].isin(SPLITS).to_numpy(), f"is none of {', '.join(SPLITS)}")
    _refuse(path, frame, "path", (frame["path"] == "").to_numpy(), "names no image")
    _refuse(path, frame, "path", frame["path"].duplicated().to_numpy(), "was given in a row above")
    table = AgeTable(frame["path"].to_numpy(np.str_), ages.astype(np.float32), frame["split"].to_numpy(np.str_))
    check_splits(table, path)
    return table


def check_splits(table: AgeTable, source: str | os.PathLike) -> None:
    """Raises ValueError, naming `source`, where a split has no row."""
    for name in SPLITS:
        if not (table.splits == name).any():
            raise ValueError(f"{source}, column 'split': no row is {name!r}")


def _refuse(path: str | os.PathLike, frame: pd.DataFrame, column: str, wrong: np.ndarray, what: str) -> None:
    if wrong.any():
        row = int(np.argmax(wrong))
        raise ValueError(f"{path}, line {row + 2}, column {column!r}: {frame[column].iloc[row]!r} {what}")
