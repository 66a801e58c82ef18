"""Errors by group, and predictions, of a study on disk: of every run, on every split but train (long format, CSV)."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from regcls_jax.store.rows import AGAIN, METRICS, read_file

# The columns of every line, and those of the rows that a line may have besides: they identify run and problem.
GROUP_COLUMNS = ("run", "arm", "split", "group", "n", *METRICS)
OF_A_ROW = (
    *("run", "arm", "dataset", "scenario", "sampling", "function", "noise", "target", "unit", "task", "fold"),
    *("repetition", "seed", "classes", "lam", "scale"),
)
# Of predictions, on the test split alone: the target and what is predicted, row by row in order.
PREDICTION_COLUMNS = ("run", "arm", "group", "truth", "prediction")
# The files of an export.
GROUPS_FILE, PREDICTIONS_FILE = "groups.csv.gz", "predicted.csv.gz"


class GroupResults(NamedTuple):
    """`errors`: GROUP_COLUMNS, a line per run, split and group; `predictions`: PREDICTION_COLUMNS, or no line."""

    errors: pd.DataFrame
    predictions: pd.DataFrame


def read_groups(workdir: str | os.PathLike, runs: set[int]) -> GroupResults:
    """What a study, or its export, has by group of some runs, and of the predictors without a model, whose run is -1.

    Raises:
      OSError: there are no errors by group, or a file is damaged (the message names it).
      ValueError: a run is in none of the files, or in two.
    """
    workdir = Path(workdir)
    files = sorted((workdir / "groups").glob("*.csv.gz")) or list(workdir.glob(GROUPS_FILE))
    if not files:
        raise OSError(f"{workdir} holds no errors by group (groups/*.csv.gz or {GROUPS_FILE})")
    found = pd.concat([read_file(path, GROUP_COLUMNS, AGAIN) for path in files], ignore_index=True)
    found = found[found["run"].isin({*runs, -1})]
    if missing := runs.difference(found["run"]):
        raise ValueError(f"{workdir}: run {min(missing)} has no errors by group ({len(missing)} of {len(runs)} runs)")
    if (twice := found.duplicated([name for name in found if name not in ("n", *METRICS)])).any():
        raise ValueError(f"{workdir}: the errors by group of run {found.loc[twice, 'run'].iloc[0]} are in two files")
    predicted = sorted((workdir / "predictions").glob("*.csv.gz")) or list(workdir.glob(PREDICTIONS_FILE))
    frames = [read_file(path, PREDICTION_COLUMNS, AGAIN) for path in predicted]
    # Sorted, because sums depend on the order, and in the digits of an export: that gives the same tables.
    by = [name for name in (*OF_A_ROW, "split", "group") if name in found]
    errors = found.sort_values(by, ignore_index=True)
    errors = errors.astype(dict.fromkeys(METRICS, np.float32)).astype(dict.fromkeys(METRICS, float))
    predictions = pd.concat(frames) if frames else pd.DataFrame(columns=list(PREDICTION_COLUMNS))
    predictions = predictions[predictions["run"].isin(runs)].sort_values("run", kind="stable", ignore_index=True)
    return GroupResults(errors, predictions)


def group_files(results: GroupResults, splits: Sequence[str]) -> dict[str, pd.DataFrame]:
    """The part that is worth committing, by file name; `read_groups` reads it back. Numbers in float32."""
    errors = results.errors[results.errors["split"].isin(splits)]
    files = {GROUPS_FILE: errors.astype(dict.fromkeys(METRICS, np.float32)).reset_index(drop=True)}
    if len(results.predictions):
        numbers = dict.fromkeys(("truth", "prediction"), np.float32)
        files[PREDICTIONS_FILE] = results.predictions.astype(numbers)
    return files
