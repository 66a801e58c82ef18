"""What the trainings of a depth study left on disk."""

import os
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd

from regcls_jax.report.candidates import choose_candidates
from regcls_jax.report.depth.study import (
    COLUMNS,
    EVALUATION,
    METRICS,
    TRIVIAL,
    Depths,
    DepthStudy,
    Shown,
)
from regcls_jax.report.trainings import TRIVIAL_SEED, check_shared, find_trainings, read_rows, study_meta

# What predictions.npz of all runs has alike: the training histogram, and what examples were tested on.
SHARED = ("bucket_edges", "bucket_groups", "train_counts", "shown_names", "shown_pictures", "shown_depths")


def _arrays(path: Path) -> dict[str, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files if not name.startswith("val_")}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise OSError(f"{path} is not a readable file of predictions: {error}") from error


def kept_rows(rows: pd.DataFrame) -> pd.DataFrame:
    """Sorted, in the digits that a float32 has: what is exported, and so what is reported."""
    rows = rows.astype(dict.fromkeys(METRICS, np.float32)).astype(dict.fromkeys(METRICS, float))
    return rows.sort_values(EVALUATION, ignore_index=True)


def check_rmse(where: Path, rows: pd.DataFrame, arm: str, seed: int, sums: np.ndarray) -> None:
    """Raises OSError, naming the file `where`, unless the rows of a run give the test RMSE of its sums [n, 3, 8]."""
    own = (rows["arm"] == arm) & (rows["seed"] == seed) & (rows["split"] == "test") & (rows["shot"] == "all")
    stated = rows.loc[own & (rows["selected_on"] == "val"), "rmse"].to_list()
    total = sums.sum((0, 1), dtype=np.float64)
    found = float(np.sqrt(total[0] / total[-1]))
    if len(stated) != 1 or not np.isclose(stated[0], found, rtol=1e-4):
        raise OSError(
            f"{where} gives a test RMSE of {stated}, the sums of {arm}, seed {seed} {found:.5f}: one is stale"
        )


def read_depth_trainings(workdir: str | os.PathLike) -> DepthStudy:
    """All finished trainings of a folder (`trainings.find_trainings`).

    Raises:
      OSError: a file is missing, damaged, or not of its folder, or two runs are not of one data set (names the file).
      ValueError: a file of rows lacks a column, or no training is finished.
    """
    trainings = find_trainings(workdir)
    arrays = {folder: _arrays(folder / "predictions.npz") for folder in trainings.runs.values()}
    rows = read_rows(trainings, COLUMNS, EVALUATION, METRICS)
    first = next(iter(arrays.values()))
    # Those of the trivial predictors may differ in their last digit; the rows tell whether they agree.
    check_shared(arrays, {name for name in first if name not in SHARED})
    sums: dict[tuple[str, int], np.ndarray] = {(name, TRIVIAL_SEED): first[f"test_{name}_sums"] for name in TRIVIAL}
    buckets = {(name, TRIVIAL_SEED): first[f"test_{name}_bucket_sums"] for name in TRIVIAL}
    for run, folder in trainings.runs.items():
        sums[run], buckets[run] = arrays[folder]["test_sums"], arrays[folder]["test_bucket_sums"]
        check_rmse(folder / "rows.csv.gz", rows, *run, sums[run])
    configs, chosen = choose_candidates(trainings.configs, rows)
    firsts = {arm: next(path for (name, _), path in trainings.runs.items() if name == chosen[arm]) for arm in chosen}
    return DepthStudy(
        name=trainings.dataset,
        config=trainings.shared_config,
        meta=study_meta(trainings.runs),
        rows=kept_rows(rows),
        configs=configs,
        chosen=chosen,
        sums=sums,
        buckets=buckets,
        depths=Depths(first["bucket_edges"].astype(float).round(6), first["train_counts"], first["bucket_groups"]),
        shown=Shown(
            first["shown_depths"],
            {arm: arrays[folder]["shown_predictions"] for arm, folder in firsts.items()},
        ),
        figures={},
        unfinished=trainings.unfinished,
    )
