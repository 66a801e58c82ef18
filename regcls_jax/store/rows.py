"""Result rows on disk: one row is one evaluation of one trained model on one split (long format, CSV)."""

import gzip
import os
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from regcls_jax.store.files import write_atomic

METRICS = ("mse", "mae")
# What else is measured: the number of samples, and where rows have groups the published mean of RMSEs of batches.
MEASURED = (*METRICS, "n", "batch_rmse")
# An MSE of so many times that of the mean of the targets is one of a diverged run.
DIVERGED = 1e6
# The file of the trivial predictors among the rows of a study.
TRIVIAL_FILE = "trivial.csv.gz"
# What to do about a damaged file.
AGAIN = "remove the file to train its runs again"
WRITES_AGAIN = "launch/study.py writes them again"
# The columns of both engines' rows: arm, data, settings, evaluated part of a split, errors.
SHARED = (
    *("arm", "dataset", "target", "unit", "seed", "classes", "balanced", "lam", "scale", "learning_rate"),
    *("weight_decay", "split", "shot", "n", *METRICS),
)
# The columns that every row of a study must have, in earlier versions, too; a study adds those of its source and the
# other settings of its runs.
COLUMNS = (
    *("run", "arm", "seed", "classes", "classes_kept", "balanced", "lam", "scale", "learning_rate", "weight_decay"),
    *("split", "n", *METRICS),
)
TEXT_COLUMNS = (
    "arm",
    "dataset",
    "target",
    "unit",
    "scenario",
    "sampling",
    "split",
    "shot",
    "trace",
    "group",
    "problem",
    "kind",
)
# The columns that identify a trained model, whatever split it is evaluated on; rows may have only some of them.
RUN = (
    *("arm", "dataset", "task", "scenario", "sampling", "noise", "function", "repetition", "fold", "seed"),
    *("classes", "lam", "scale", "learning_rate", "weight_decay", "run"),
)


def run_columns(frame: pd.DataFrame) -> list[str]:
    """The columns of RUN that are in a frame of rows."""
    return [name for name in RUN if name in frame]


def write_csv_atomic(frame: pd.DataFrame, path: str | os.PathLike) -> None:
    """Writes a frame as CSV, gzipped when the name ends in `.gz`; equal frames give equal bytes.

    Floats are written as their shortest exact representation: a float32 or float64 reads back unchanged.
    NaN is spelled `nan`, so that a diverged run cannot be taken for a missing cell.
    """
    data = frame.to_csv(index=False, na_rep="nan", lineterminator="\n").encode()
    if Path(path).suffix == ".gz":
        data = gzip.compress(data, mtime=0)  # a time stamp would make equal frames differ
    write_atomic(path, data)


def read_file(path: Path, columns: Sequence[str] = COLUMNS, remedy: str = "") -> pd.DataFrame:
    """Reads one CSV that has at least the given columns.

    Raises the errors of `read_rows`; that of a damaged file ends in the `remedy`.
    """
    try:
        # Only "nan" means missing: an arm may be called "none" or "null".
        # Layer widths ("6-15", but "4" for a single layer) are text; other types are inferred from whole columns.
        text = {"hidden": str}
        frame = pd.read_csv(path, keep_default_na=False, na_values=["nan"], dtype=text, low_memory=False)
    except (OSError, EOFError, zlib.error, ValueError) as error:  # ValueError: bad UTF-8 and parser errors
        raise OSError(f"{path} is not a readable CSV of result rows: {error}{remedy and f'; {remedy}'}") from error
    if missing := [name for name in columns if name not in frame]:
        raise ValueError(f"{path} lacks the column(s) {', '.join(missing)}.")
    if frame.empty:
        raise OSError(f"{path} has no rows.")
    for name in columns:
        if name not in TEXT_COLUMNS and not pd.api.types.is_numeric_dtype(frame[name]):
            raise ValueError(f"{path}: column {name} has a value that is not a number.")
    return frame


def read_rows(workdir: str | os.PathLike) -> pd.DataFrame:
    """All result rows of a study: `workdir/rows/*.csv.gz`, or `workdir/rows.csv.gz` of an exported one.

    Rows of diverged runs (NaN or infinite metrics) are kept; `diverged` lists them. Every file has a checksum, that of
    gzip, and all together must have each row once, those of the trivial predictors among them.

    Returns:
      A frame with at least `COLUMNS`; further columns are passed through.

    Raises:
      OSError: there is no file, one is damaged, or a row is missing or there twice (the message names the file).
      ValueError: a file lacks a column or has text where numbers belong (the message names file and column).
    """
    workdir = Path(workdir)
    parts = sorted((workdir / "rows").glob("*.csv.gz"))
    files = parts or list(workdir.glob("rows.csv.gz"))
    if not files:
        earlier = "; gzip those of an earlier version: gzip rows/*.csv" if [*workdir.glob("rows/*.csv")] else ""
        raise OSError(f"{workdir} holds no result rows (rows/*.csv.gz or rows.csv.gz){earlier}.")
    frames = [read_file(path, remedy=AGAIN if parts else "") for path in files]
    rows = pd.concat(frames, ignore_index=True)
    file = np.repeat([str(path) for path in files], [len(frame) for frame in frames])
    settings = [name for name in rows if name not in MEASURED]
    if (twice := rows.duplicated(settings, keep=False)).any():
        names, run = " and ".join(dict.fromkeys(file[twice])), rows.loc[twice, "run"].iloc[0]
        raise OSError(f"{names} hold(s) rows of run {run} twice; remove the file that was copied")
    splits = rows.groupby(["arm", "run"])["split"].transform("size")
    trained = rows["run"] >= 0
    if (short := trained & (splits < splits[trained].max())).any():
        raise OSError(
            f"{file[short][0]} is incomplete: rows of run {rows.loc[short, 'run'].iloc[0]} are missing; {AGAIN}"
        )
    if trained.all():
        raise OSError(f"{workdir} lacks the rows of the trivial predictors ({TRIVIAL_FILE}); {WRITES_AGAIN}")
    return rows


def with_diverged(frame: pd.DataFrame) -> pd.DataFrame:
    """Rows in which the metrics of a run that diverged to a finite number, such as an MSE of 1e29, are infinite.

    That is one whose MSE is over a million times the largest one of `constant` in the same split: no model that has
    learned anything has it, and one would hide all others in a mean.
    """
    limits = frame[frame["arm"] == "constant"].groupby("split")["mse"].max() * DIVERGED
    lost = (frame["run"] >= 0) & (frame["mse"] > frame["split"].map(limits))
    return frame.assign(**{name: frame[name].where(~lost, np.inf) for name in METRICS})


def diverged(frame: pd.DataFrame) -> pd.DataFrame:
    """The runs with a NaN or infinite metric on any split, one line each: the columns `RUN` and `splits`."""
    bad = frame[~np.isfinite(frame[list(METRICS)].astype(float)).all(axis=1)]
    return bad.groupby(run_columns(frame), dropna=False)["split"].agg(" ".join).rename("splits").reset_index()


def runs_of_file(path: Path) -> set[int]:
    """The numbers of the trained runs in one file of rows; the trivial predictors have number -1.

    Raises:
      OSError, ValueError: the file is damaged, or has fewer rows for one run than for another.
    """
    rows = read_file(path, remedy=AGAIN)["run"].value_counts()
    if -1 not in rows and rows.nunique() > 1:
        raise OSError(f"{path} is incomplete: rows of run {rows.idxmin()} are missing; {AGAIN}")
    return set(rows.index) - {-1}
