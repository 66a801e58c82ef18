"""What the trainings of a depth study left on disk."""

import os
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd

from regcls_jax.report.depth.study import (
    COLUMNS,
    EVALUATION,
    METRICS,
    TRIVIAL,
    TRIVIAL_SEED,
    Depths,
    DepthStudy,
    Shown,
    choose_candidates,
)
from regcls_jax.report.images.rows import read_config, study_meta
from regcls_jax.report.images.study import arm_order, shared_config
from regcls_jax.store.files import read_json
from regcls_jax.store.rows import AGAIN, read_file


def _arrays(path: Path) -> dict[str, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files if not name.startswith("val_")}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise OSError(f"{path} is not a readable file of predictions: {error}") from error


def _rows(path: Path) -> pd.DataFrame:
    rows = read_file(path, COLUMNS, AGAIN)
    if "selected_on" not in rows:
        rows["selected_on"] = "val"
    return rows[[*EVALUATION, "count", *METRICS]]


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
    """All finished trainings of a folder, `workdir`/<arm>/seed<k>; one without rows.csv.gz is not finished.

    Raises:
      OSError: a file is missing, damaged, or not of its folder, or two runs are not of one data set (names the file).
      ValueError: a file of rows lacks a column, or no training is finished.
    """
    workdir = Path(workdir)
    started = {path.parent: read_config(path.parent) for path in sorted(workdir.glob("*/seed*/config.json"))}
    finished = {folder: config for folder, config in started.items() if (folder / "rows.csv.gz").exists()}
    finished = dict(sorted(finished.items(), key=lambda item: (arm_order(item[1]), item[1]["seed"])))
    if not finished:
        raise ValueError(f"{workdir}: none of the {len(started)} trainings is finished; run launch/train.py again")
    if len(sets := {config["dataset"] for config in finished.values()}) > 1:
        raise OSError(f"{workdir} holds runs on {' and '.join(sorted(sets))}; a report is of one data set")
    arrays = {folder: _arrays(folder / "predictions.npz") for folder in finished}
    rows = pd.concat([_rows(folder / "rows.csv.gz") for folder in finished], ignore_index=True)
    rows = rows.drop_duplicates(EVALUATION)
    first = arrays[next(iter(finished))]
    sums: dict[tuple[str, int], np.ndarray] = {(name, TRIVIAL_SEED): first[f"test_{name}_sums"] for name in TRIVIAL}
    buckets = {(name, TRIVIAL_SEED): first[f"test_{name}_bucket_sums"] for name in TRIVIAL}
    for folder, config in finished.items():
        if arrays[folder]["test_sums"].shape != first["test_sums"].shape:
            raise OSError(f"{folder / 'predictions.npz'} is of other test images than those of the other runs")
        run = config["arm"], config["seed"]
        sums[run], buckets[run] = arrays[folder]["test_sums"], arrays[folder]["test_bucket_sums"]
        check_rmse(folder / "rows.csv.gz", rows, *run, sums[run])
    trained = {config["arm"]: config for config in finished.values()}
    configs, chosen = choose_candidates(trained, rows)
    runs = {(config["arm"], config["seed"]): folder for folder, config in finished.items()}
    of_arm = {arm: [folder for (name, _), folder in runs.items() if name == found] for arm, found in chosen.items()}
    (name,) = sets
    arms, seeds = dict.fromkeys(config["arm"] for config in started.values()), {c["seed"] for c in started.values()}
    return DepthStudy(
        name=name,
        config=shared_config(name, trained, sorted({seed for _, seed in runs})),
        meta=study_meta({run: read_json(folder / "meta.json") for run, folder in runs.items()}),
        rows=kept_rows(rows),
        configs=configs,
        chosen=chosen,
        sums=sums,
        buckets=buckets,
        depths=Depths(first["bucket_edges"].astype(float).round(6), first["train_counts"], first["bucket_groups"]),
        shown=Shown(
            first["shown_pictures"],
            first["shown_depths"],
            {arm: arrays[folders[0]]["shown_predictions"] for arm, folders in of_arm.items()},
        ),
        figures={},
        unfinished=[f"{arm}/seed{seed}" for arm in arms for seed in sorted(seeds) if (arm, seed) not in runs],
    )
