"""What the trainings of an image study left on disk: result rows, predictions, validation curves."""

import dataclasses
import json
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from regcls_jax.loop.runs import ImageRun
from regcls_jax.store.files import read_json
from regcls_jax.store.rows import read_file

IMAGE_METRICS = ("mae", "mse", "rmse", "gm", "bmae")
IMAGE_COLUMNS = ("arm", "seed", "split", "shot", "count", *IMAGE_METRICS)
EVALUATION = ["arm", "seed", "split", "shot"]  # what names a row
TRIVIAL_SEED = -1
ARRAYS = ("test_age", "test_prediction", "train_counts")
# A run of an earlier version may lack a setting that has come since: it had the default.
DEFAULTS = {field.name: field.default for field in dataclasses.fields(ImageRun) if field.name not in ("arm", "seed")}
# Of `reg` as the published code and as the paper's text has it; any other regression loss is a baseline's.
PLAIN_LOSSES = ("absolute_error", "squared_error")


class FinishedRun(NamedTuple):
    """One training: its config and meta.json, its test predictions [n] (years), and per epoch its `val_mae`."""

    config: dict[str, Any]
    meta: dict[str, Any]
    predictions: np.ndarray
    curve: pd.DataFrame


class ImageStudy(NamedTuple):
    """All finished trainings of a folder, on one data set.

    `rows` are theirs and (seed -1) those of the trivial predictors; `runs` stand by arm and seed, arms in the order of
    `arm_order`; `ages` [n] of the test images, `train_counts` [K] per whole year; `unfinished` names what lacks.
    """

    rows: pd.DataFrame
    runs: dict[tuple[str, int], FinishedRun]
    ages: np.ndarray
    train_counts: np.ndarray
    unfinished: list[str]

    @property
    def dataset(self) -> str:
        """The data set's name."""
        return next(iter(self.runs.values())).config["dataset"]

    @property
    def configs(self) -> dict[str, dict[str, Any]]:
        """The settings of each arm, in order."""
        return {arm: run.config for (arm, _), run in self.runs.items()}

    def predictions(self, arm: str) -> dict[int, np.ndarray]:
        """The test predictions [n] of an arm by seed."""
        return {seed: run.predictions for (name, seed), run in self.runs.items() if name == arm}


def is_image_study(workdir: str | os.PathLike) -> bool:
    """Whether a folder holds trainings as <arm>/seed<k> and is not itself a study of the grid."""
    workdir = Path(workdir)
    return not (workdir / "config.json").exists() and any(workdir.glob("*/seed*/config.json"))


def arm_order(config: Mapping[str, Any]) -> tuple[Any, ...]:
    """The key that arms are sorted by: reg, with classes, the controls, then baselines and balanced data."""
    plain = (config["reweight"], config["fds"], config["trainable"]) == ("none", "none", "all")
    return (
        config["balanced_data"],
        not (plain and config["regression"] in PLAIN_LOSSES),
        config["output"] != "target",
        config["regression"] != "absolute_error",
        config["auxiliary"] != "classification",
        config["balanced"],
        config["classes"],
        config["arm"],
    )


def _arrays(path: Path) -> dict[str, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in ARRAYS}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise OSError(f"{path} is not a readable file of predictions: {error}") from error
    ages, predictions = arrays["test_age"], arrays["test_prediction"]
    if ages.shape != predictions.shape or ages.ndim != 1 or not len(ages):
        raise OSError(f"{path}: test_age has shape {ages.shape}, test_prediction {predictions.shape}")
    for name, values in arrays.items():
        if not np.all(np.isfinite(values)):
            raise OSError(f"{path}: {name} holds a value that is not finite")
    return arrays


def _curve(path: Path) -> pd.DataFrame:
    try:
        lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        points = [(int(line["epoch"]), float(line["val_mae"])) for line in lines if "val_mae" in line]
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise OSError(f"{path} is not a readable file of metrics: {error!r}") from error
    return pd.DataFrame(points, columns=["epoch", "val_mae"])


def _config(folder: Path) -> dict[str, Any]:
    path = folder / "config.json"
    config = {**DEFAULTS, **read_json(path)}
    if missing := [name for name in ("arm", "seed") if name not in config]:
        raise OSError(f"{path} lacks {', '.join(missing)}")
    if folder != folder.parents[1] / config["arm"] / f"seed{config['seed']}":
        raise OSError(f"{path} is of arm {config['arm']!r}, seed {config['seed']}: the folder was renamed or copied")
    return config


def _rows(folder: Path, config: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> pd.DataFrame:
    path = folder / "rows.csv"
    rows = read_file(path, IMAGE_COLUMNS)[list(IMAGE_COLUMNS)]
    if rows.duplicated(EVALUATION).any():
        raise OSError(f"{path} holds a row twice")
    own = rows[rows["seed"] != TRIVIAL_SEED]
    if set(own["arm"]) != {config["arm"]} or set(own["seed"]) != {config["seed"]}:
        raise OSError(f"{path} is not of arm {config['arm']!r}, seed {config['seed']}")
    stated = own.loc[(own["split"] == "test") & (own["shot"] == "all"), "mae"].to_list()
    found = float(np.mean(np.abs(arrays["test_prediction"].astype(float) - arrays["test_age"])))
    if len(stated) != 1 or not np.isclose(stated[0], found, rtol=1e-3, atol=0.0):
        raise OSError(f"{path} gives a test MAE of {stated}, predictions.npz beside it {found:.4f}: one is stale")
    return rows


def _one_set(rows: pd.DataFrame, folders: list[Path], arrays: list[dict[str, np.ndarray]]) -> None:
    """Checks that all runs were tested on the same images and measured against the same trivial predictors."""
    for folder, found in zip(folders, arrays, strict=True):
        for name in ("test_age", "train_counts"):
            if not np.array_equal(found[name], arrays[0][name]):
                raise OSError(f"{folder / 'predictions.npz'}: {name} differs from that of {folders[0]}")
    trivial = rows[rows["seed"] == TRIVIAL_SEED].groupby(EVALUATION)[list(IMAGE_METRICS)]
    low, high = trivial.min(), trivial.max()
    differs = ~np.isclose(low, high, rtol=1e-5, atol=0.0, equal_nan=True).all(axis=1)
    if differs.any():
        raise OSError(f"{folders[0].parents[1]}: the runs disagree about the predictor {low.index[differs][0][0]}")


def read_study(workdir: str | os.PathLike) -> ImageStudy:
    """All finished trainings of a folder, `workdir`/<arm>/seed<k>; one without rows.csv is not finished.

    A seed that another arm has and an arm has not counts as unfinished as well.

    Raises:
      OSError: a file is missing, damaged, or not of its folder, or two runs are not of one data set (names the file).
      ValueError: a file of rows lacks a column, has text for numbers, or no training is finished.
    """
    workdir = Path(workdir)
    started = sorted(path.parent for path in workdir.glob("*/seed*/config.json"))
    configs = {folder: _config(folder) for folder in started}
    finished = sorted(
        (folder for folder in started if (folder / "rows.csv").exists()),
        key=lambda folder: (arm_order(configs[folder]), configs[folder]["seed"]),
    )
    if not finished:
        raise ValueError(f"{workdir}: none of the {len(started)} trainings is finished; run launch/train.py again")
    if len(sets := {configs[folder]["dataset"] for folder in finished}) > 1:
        raise OSError(f"{workdir} holds runs on {' and '.join(sorted(sets))}; a report is of one data set")
    arrays = [_arrays(folder / "predictions.npz") for folder in finished]
    rows = pd.concat(
        [_rows(folder, configs[folder], found) for folder, found in zip(finished, arrays, strict=True)],
        ignore_index=True,
    )
    _one_set(rows, finished, arrays)
    runs = {
        (configs[folder]["arm"], configs[folder]["seed"]): FinishedRun(
            configs[folder],
            read_json(folder / "meta.json"),
            found["test_prediction"].astype(float),
            _curve(folder / "metrics.jsonl"),
        )
        for folder, found in zip(finished, arrays, strict=True)
    }
    arms = dict.fromkeys(config["arm"] for config in configs.values())
    seeds = sorted({config["seed"] for config in configs.values()})
    return ImageStudy(
        rows=rows.drop_duplicates(EVALUATION, ignore_index=True),
        runs=runs,
        ages=arrays[0]["test_age"].astype(float),
        train_counts=arrays[0]["train_counts"],
        unfinished=[f"{arm}/seed{seed}" for arm in arms for seed in seeds if (arm, seed) not in runs],
    )
