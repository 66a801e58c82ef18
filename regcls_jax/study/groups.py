"""Errors group by group (of a video, say), and averaged over sequential batches as published code does."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from regcls_jax.data.source import Problem
from regcls_jax.store.groups import GROUP_COLUMNS, OF_A_ROW
from regcls_jax.study.pipeline import TrainedPart, valued
from regcls_jax.study.plan import Sized


def group_errors(values: npt.ArrayLike, problem: Problem, split: str) -> pd.DataFrame:
    """The columns group (its name), n, mse and mae of predictions `values` [m] on a split of a problem with groups."""
    assert problem.groups is not None  # the caller saw to it
    rows = problem.splits[split]
    error = np.asarray(values, np.float64) - problem.targets[rows]
    found, places = np.unique(problem.groups.of[rows], return_inverse=True)
    counts = np.bincount(places)
    sums = {"mse": np.bincount(places, error**2), "mae": np.bincount(places, np.abs(error))}
    names = [problem.groups.names[group] for group in found]
    return pd.DataFrame({"group": names, "n": counts, **{name: total / counts for name, total in sums.items()}})


def batch_rmse(values: npt.ArrayLike, targets: npt.ArrayLike, batch: int) -> float:
    """The mean of the RMSEs of the sequential batches of `batch` rows of a split; a last, smaller one counts as much.

    Recipes 4.6-2: what the published video code reports. It is no RMSE of the whole: within a video such a batch has
    nearly one target, so that it comes close to a mean absolute error.
    """
    squared = (np.asarray(values, np.float64) - np.asarray(targets, np.float64)) ** 2
    starts = np.arange(0, len(squared), batch)
    sizes = np.diff([*starts, len(squared)])
    return float(np.sqrt(np.add.reduceat(squared, starts) / sizes).mean())


def batch_columns(values: Mapping[str, npt.ArrayLike], problem: Problem) -> dict[str, dict[str, float]]:
    """What the rows of a problem with batches have besides: split -> column -> number, of predictions by split."""
    if problem.groups is None or not problem.groups.batch:
        return {}
    return {
        split: {"batch_rmse": batch_rmse(found, problem.targets[problem.splits[split]], problem.groups.batch)}
        for split, found in values.items()
    }


def part_values(made: TrainedPart, at: tuple[int, int], sized: Sized) -> dict[str, np.ndarray]:
    """What a run of a trained part predicts, by split (all but train); {} where that was not kept."""
    if made.trained.values is None:
        return {}
    splits = list(sized.splits.items())
    found = zip(valued(sized), np.asarray(made.trained.values)[at], strict=True)
    return {splits[split][0]: values[: splits[split][1]] for split, values in found}


def group_lines(columns: Mapping[str, Any], values: Mapping[str, npt.ArrayLike], problem: Problem) -> pd.DataFrame:
    """A line per split and group of one run or predictor; of the `columns` of its rows OF_A_ROW are kept."""
    frames = [group_errors(found, problem, split).assign(split=split) for split, found in values.items()]
    named = {name: columns[name] for name in OF_A_ROW if name in columns}
    frame = pd.concat(frames, ignore_index=True).assign(**named)
    return frame[[*named, *(name for name in GROUP_COLUMNS if name not in named)]]
