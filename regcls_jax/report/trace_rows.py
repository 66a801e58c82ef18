"""Traces on disk: what `training.trace` measures of every run, in every epoch, on every split (long format, CSV)."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from regcls_jax.report.published import CELL
from regcls_jax.report.rows import COLUMNS, METRICS, read_file
from regcls_jax.training.trace import Trace

QUANTITIES = Trace._fields
_OF_A_ROW = tuple(name for name in COLUMNS if name not in ("split", "n", *METRICS))
# What names a trained model, as in the rows, then the place in its training, then what was measured.
TRACE_COLUMNS = (*_OF_A_ROW, "trace", "epoch", "split", *QUANTITIES)
# Runs that agree in these are the ones that a mean is taken over.
ARM = (*CELL, "noise", "arm", "classes", "balanced", "lam", "trace")
GROUP = (*ARM, "epoch", "split")
SUMMARY_COLUMNS = (*GROUP, "runs", *QUANTITIES, *(f"{name}_std" for name in QUANTITIES))
# What an export keeps of the epochs: the first ten and every fifth.
DENSE, STRIDE = 10, 5


def read_trace(workdir: str | os.PathLike) -> pd.DataFrame:
    """The traces of a study, `workdir/trace/*.csv.gz`, or the summary `workdir/trace.csv.gz` of an exported one.

    Returns:
      A frame with `TRACE_COLUMNS`, one line per run, epoch (0: before training) and split; of an exported study what
      `summarise` returns.

    Raises:
      OSError: there is no file, or one is empty, cannot be read or is not whole (the message names it).
      ValueError: a file lacks a column or has text where numbers belong, or a run stands in two files.
    """
    files = sorted((Path(workdir) / "trace").glob("*.csv.gz"))
    if not files:
        if not (exported := Path(workdir) / "trace.csv.gz").exists():
            raise OSError(f"{workdir} holds no trace (trace/*.csv.gz or trace.csv.gz).")
        return read_file(exported, SUMMARY_COLUMNS)
    frames = [read_file(path, TRACE_COLUMNS) for path in files]
    for path, frame in zip(files, frames, strict=True):
        lines = frame["run"].value_counts()
        if lines.nunique() > 1:
            raise OSError(f"{path} is not whole: run {lines.idxmin()} lacks epochs or splits")
    trace = pd.concat(frames, ignore_index=True)
    if (twice := trace.duplicated(["run", "epoch", "split"])).any():
        raise ValueError(f"{workdir}: the trace of run {trace.loc[twice, 'run'].iloc[0]} stands in two files.")
    return trace


def is_summary(trace: pd.DataFrame) -> bool:
    """Whether a frame holds means over runs, so that its runs cannot be paired."""
    return "run" not in trace


def summarise(trace: pd.DataFrame) -> pd.DataFrame:
    """Mean and standard deviation (`_std`) of every quantity over the runs of an arm, per cell, epoch and split.

    trace: what `read_trace` returns; a summary stays what it is. Values of diverged runs that are not finite are left
    out. Returns `SUMMARY_COLUMNS`; `runs` counts the finite MSEs.
    """
    if is_summary(trace):
        return trace
    values = trace[list(QUANTITIES)]
    groups = trace.assign(**values.where(np.isfinite(values))).groupby(list(GROUP))
    means, deviations = groups[list(QUANTITIES)].mean(), groups[list(QUANTITIES)].std()
    summary = means.join(deviations.add_suffix("_std")).join(groups["mse"].count().rename("runs"))
    return summary.reset_index()[list(SUMMARY_COLUMNS)]


def export_trace(trace: pd.DataFrame, splits: Sequence[str]) -> pd.DataFrame:
    """The summary worth committing: some splits and epochs (see `STRIDE`), six significant digits."""
    summary = summarise(trace)
    epochs = summary["epoch"]
    kept = (epochs <= DENSE) | (epochs % STRIDE == 0) | (epochs == epochs.max())
    summary = summary[kept & summary["split"].isin(splits)].reset_index(drop=True)
    numbers = list(SUMMARY_COLUMNS[len(GROUP) + 1 :])
    rounded = summary[numbers].map(lambda value: float(f"{value:.6g}"))
    return summary.assign(**rounded)
