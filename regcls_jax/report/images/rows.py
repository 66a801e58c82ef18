"""What the trainings of an image study left on disk: result rows, predictions, validation curves."""

import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from regcls_jax.loop.writer import read_metrics
from regcls_jax.report.images.study import (
    EVALUATION,
    IMAGE_COLUMNS,
    IMAGE_METRICS,
    ImageStudy,
    Target,
    check_mae,
    kept_rows,
    target_of,
)
from regcls_jax.report.trainings import check_shared, find_trainings, read_rows, study_meta

# What predictions.npz holds, under the names that earlier versions gave it; and what it may hold.
ARRAYS = {"test_target": "test_age", "test_prediction": "test_prediction", "train_counts": "train_counts"}
OPTIONAL = ("bucket_edges", "train_median")


def _arrays(path: Path) -> dict[str, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name if name in file else earlier] for name, earlier in ARRAYS.items()}
            arrays |= {name: file[name] for name in OPTIONAL if name in file}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise OSError(f"{path} is not a readable file of predictions: {error}") from error
    targets, predictions = arrays["test_target"], arrays["test_prediction"]
    if targets.shape != predictions.shape or targets.ndim != 1 or not len(targets):
        raise OSError(f"{path}: the targets have shape {targets.shape}, test_prediction {predictions.shape}")
    for name, values in arrays.items():
        if not np.all(np.isfinite(values)):
            raise OSError(f"{path}: {name} holds a value that is not finite")
    return arrays


def _curve(path: Path) -> pd.DataFrame:
    try:
        points = [(int(line["epoch"]), float(line["val_mae"])) for line in read_metrics(path) if "val_mae" in line]
    except (ValueError, TypeError, KeyError) as error:
        raise OSError(f"{path} is not a readable file of metrics: {error!r}") from error
    return pd.DataFrame(points, columns=["epoch", "val_mae"])


def named(meta: Mapping[str, Any]) -> dict[str, str]:
    """Name and unit of the target, as meta.json gives them; earlier versions knew ages alone."""
    return {"name": meta.get("target", "age"), "unit": meta.get("unit", "years" if "target" not in meta else "")}


def _target(arrays: Mapping[str, np.ndarray], meta: Mapping[str, Any]) -> Target:
    edges, median = (arrays.get(name) for name in OPTIONAL)
    known = None if median is None else float(median)
    return target_of(arrays["train_counts"], arrays["test_target"], edges=edges, median=known, **named(meta))


def read_trainings(workdir: str | os.PathLike) -> ImageStudy:
    """All finished trainings of a folder (`trainings.find_trainings`).

    Raises:
      OSError: a file is missing, damaged, or not of its folder, or two runs are not of one data set (names the file).
      ValueError: a file of rows lacks a column, has text for numbers, or no training is finished.
    """
    trainings = find_trainings(workdir)
    arrays = {folder: _arrays(folder / "predictions.npz") for folder in trainings.runs.values()}
    rows = read_rows(trainings, IMAGE_COLUMNS, EVALUATION, IMAGE_METRICS)
    check_shared(arrays, ("test_prediction",))
    meta = study_meta(trainings.runs)
    first = next(iter(arrays.values()))
    target, values = _target(first, meta), first["test_target"].astype(float)
    found = {}
    for (arm, seed), folder in trainings.runs.items():
        found[arm, seed] = arrays[folder]["test_prediction"].astype(float).round(target.decimals)
        check_mae(str(folder / "rows.csv.gz"), rows, arm, seed, found[arm, seed] - values, target.decimals)
    curves = {run: _curve(folder / "metrics.jsonl") for run, folder in trainings.runs.items()}
    return ImageStudy(
        name=trainings.dataset,
        config=trainings.shared_config,
        meta=meta,
        rows=kept_rows(rows),
        configs=trainings.configs,
        found=found,
        curves={run: curve for run, curve in curves.items() if len(curve)},
        values=values,
        target=target,
        unfinished=trainings.unfinished,
    )
