"""Traces on disk: what `study.trace` measures of every run, in every epoch, on every split (long format, CSV)."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from regcls_jax.store.rows import read_file

# What is measured: the fields of `study.trace.Trace`.
QUANTITIES = (
    *("mse", "balanced_nll", "imbalanced_nll", "l_extra_gaussian", "l_extra_softmax", "cross_entropy"),
    *("assumption_gap", "true_class_share", "correlation_softmax", "correlation_cross_entropy", "unseen"),
)
_OF_A_ROW = (
    *("run", "arm", "scenario", "sampling", "noise", "function", "repetition", "seed", "classes", "classes_kept"),
    *("balanced", "lam", "scale", "learning_rate", "weight_decay"),
)
# What identifies a trained model, as in the rows, then the point in its training, then what was measured.
TRACE_COLUMNS = (*_OF_A_ROW, "trace", "epoch", "split", *QUANTITIES)
# Means are taken over the runs that agree in these columns.
ARM = ("scenario", "sampling", "noise", "arm", "classes", "balanced", "lam", "trace")
GROUP = (*ARM, "epoch", "split")
SUMMARY_COLUMNS = (*GROUP, "runs", *QUANTITIES, *(f"{name}_std" for name in QUANTITIES))
# The split whose MSE is sigma^2 where `trace` is "mse".
TRAINING = "train"
# What an export keeps of the epochs: the first ten and every fifth.
DENSE, STRIDE = 10, 5
# The two files of an export.
CURVES_FILE, FINAL_FILE = "trace.csv.gz", "trace_final.csv.gz"


class TraceResults(NamedTuple):
    """The traces of a study: `curves` over epochs are means over runs, `final` has every run after the last epoch.

    curves: what `summarise` returns. final: `TRACE_COLUMNS`, one line per run and split, sorted by both.
    """

    curves: pd.DataFrame
    final: pd.DataFrame


def read_trace(workdir: str | os.PathLike, runs: set[int] | None = None) -> TraceResults:
    """The traces of a study, `workdir/trace/*.csv.gz`, or the two files of an exported one (see `export_files`).

    Args:
      workdir: the folder of the study or of its export.
      runs: the numbers of the runs to keep, all if None. The curves of an export stay those of all its runs.

    Raises:
      OSError: there is no file, or one is empty, cannot be read or is incomplete (the message names it).
      ValueError: a file lacks a column or has text where numbers belong, a run is in two files, or one of `runs`
        in none.
    """
    workdir = Path(workdir)
    if files := sorted((workdir / "trace").glob("*.csv.gz")):
        trace = _only(runs, _read_runs(files), workdir)
        final = trace[trace["epoch"] == trace["epoch"].max()]
        # Sorted, because sums depend on the order: an export gives the same tables to the last bit.
        return TraceResults(summarise(trace), final.sort_values(["run", "split"], ignore_index=True))
    if not (workdir / CURVES_FILE).exists():
        raise OSError(f"{workdir} holds no trace (trace/*.csv.gz or {CURVES_FILE}).")
    final = read_file(workdir / FINAL_FILE, TRACE_COLUMNS)
    return TraceResults(read_file(workdir / CURVES_FILE, SUMMARY_COLUMNS), _only(runs, final, workdir))


def _read_runs(files: Sequence[Path]) -> pd.DataFrame:
    frames = [read_file(path, TRACE_COLUMNS) for path in files]
    for path, frame in zip(files, frames, strict=True):
        lines = frame["run"].value_counts()
        if lines.nunique() > 1:
            raise OSError(f"{path} is incomplete: epochs or splits of run {lines.idxmin()} are missing")
    trace = pd.concat(frames, ignore_index=True)
    if (twice := trace.duplicated(["run", "epoch", "split"])).any():
        run = trace.loc[twice, "run"].iloc[0]
        raise ValueError(f"{files[0].parent.parent}: the trace of run {run} is in two files.")
    return trace


def _only(runs: set[int] | None, trace: pd.DataFrame, workdir: Path) -> pd.DataFrame:
    if runs is None:
        return trace
    if missing := runs.difference(trace["run"]):
        raise ValueError(f"{workdir}: run {min(missing)} has no trace ({len(missing)} of {len(runs)} runs have none).")
    return trace[trace["run"].isin(runs)].reset_index(drop=True)


def summarise(trace: pd.DataFrame) -> pd.DataFrame:
    """Mean and standard deviation (`_std`) of every quantity over the runs of an arm, per cell, epoch and split.

    trace: lines with `TRACE_COLUMNS`. Values of diverged runs that are not finite are left out. Returns
    `SUMMARY_COLUMNS`; `runs` counts the finite MSEs.
    """
    values = trace[list(QUANTITIES)]
    groups = trace.assign(**values.where(np.isfinite(values))).groupby(list(GROUP))
    means, deviations = groups[list(QUANTITIES)].mean(), groups[list(QUANTITIES)].std()
    summary = means.join(deviations.add_suffix("_std")).join(groups["mse"].count().rename("runs"))
    return summary.reset_index()[list(SUMMARY_COLUMNS)]


def export_files(results: TraceResults, splits: Sequence[str]) -> dict[str, pd.DataFrame]:
    """The part of the traces that is worth committing, by file name; `read_trace` reads it back.

    The curves are limited to `splits` and some epochs (see `STRIDE`), in six significant digits; the final lines to
    `splits` and `TRAINING`, in float32 as they were computed, so that nothing is lost.
    """
    curves, final = results
    epochs = curves["epoch"]
    kept = (epochs <= DENSE) | (epochs % STRIDE == 0) | (epochs == epochs.max())
    curves = curves[kept & curves["split"].isin(splits)].reset_index(drop=True)
    numbers = list(SUMMARY_COLUMNS[len(GROUP) + 1 :])
    rounded = curves[numbers].map(lambda value: float(f"{value:.6g}"))
    final = final.loc[final["split"].isin([*splits, TRAINING]), list(TRACE_COLUMNS)]
    return {
        CURVES_FILE: curves.assign(**rounded),
        FINAL_FILE: final.astype(dict.fromkeys(QUANTITIES, np.float32)).reset_index(drop=True),
    }
