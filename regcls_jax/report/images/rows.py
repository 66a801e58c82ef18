"""What the trainings of an image study left on disk: result rows, predictions, validation curves."""

import dataclasses
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from regcls_jax.loop.tasks import DEFAULT, task_named
from regcls_jax.loop.writer import read_metrics
from regcls_jax.report.images.study import (
    EVALUATION,
    IMAGE_COLUMNS,
    IMAGE_METRICS,
    TRIVIAL_SEED,
    ImageStudy,
    Target,
    arm_order,
    check_mae,
    kept_rows,
    shared_config,
    target_of,
)
from regcls_jax.store.files import read_json
from regcls_jax.store.rows import AGAIN, read_file

# What predictions.npz holds, under the names that earlier versions gave it; and what it may hold.
ARRAYS = {"test_target": "test_age", "test_prediction": "test_prediction", "train_counts": "train_counts"}
OPTIONAL = ("bucket_edges", "train_median")


def has_trainings(workdir: str | os.PathLike) -> bool:
    """Whether a folder holds trainings as <arm>/seed<k> and is not itself a study of small networks."""
    workdir = Path(workdir)
    return not (workdir / "config.json").exists() and any(workdir.glob("*/seed*/config.json"))


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


def with_defaults(settings: Mapping[str, Any], where: str) -> dict[str, Any]:
    """The settings of a run, whole: one of an earlier version may lack a setting, which had its default.

    ValueError, naming `where`, for an unknown task.
    """
    kind = task_named(settings.get("task", DEFAULT), where).run
    defaults = {field.name: field.default for field in dataclasses.fields(kind) if field.name not in ("arm", "seed")}
    return {**defaults, **settings}


def _config(folder: Path) -> dict[str, Any]:
    path = folder / "config.json"
    config = with_defaults(read_json(path), str(path))
    if missing := [name for name in ("arm", "seed") if name not in config]:
        raise OSError(f"{path} lacks {', '.join(missing)}")
    if folder != folder.parents[1] / config["arm"] / f"seed{config['seed']}":
        raise OSError(f"{path} is of arm {config['arm']!r}, seed {config['seed']}: the folder was renamed or copied")
    return config


def _rows(folder: Path, config: Mapping[str, Any]) -> pd.DataFrame:
    path = folder / "rows.csv.gz"
    rows = read_file(path, IMAGE_COLUMNS, AGAIN)[list(IMAGE_COLUMNS)]
    if rows.duplicated(EVALUATION).any():
        raise OSError(f"{path} holds a row twice")
    own = rows[rows["seed"] != TRIVIAL_SEED]
    if set(own["arm"]) != {config["arm"]} or set(own["seed"]) != {config["seed"]}:
        raise OSError(f"{path} is not of arm {config['arm']!r}, seed {config['seed']}")
    return rows


def _one_set(rows: pd.DataFrame, arrays: Mapping[Path, Mapping[str, np.ndarray]]) -> None:
    """Checks that all runs were tested on the same images and measured against the same trivial predictors."""
    first = next(iter(arrays))
    for folder, found in arrays.items():
        for name in {*arrays[first], *found} - {"test_prediction"}:
            if not (name in found and name in arrays[first] and np.array_equal(found[name], arrays[first][name])):
                raise OSError(f"{folder / 'predictions.npz'}: {name} differs from that of {first}")
    trivial = rows[rows["seed"] == TRIVIAL_SEED].groupby(EVALUATION)[list(IMAGE_METRICS)]
    low, high = trivial.min(), trivial.max()
    differs = ~np.isclose(low, high, rtol=1e-5, atol=0.0, equal_nan=True).all(axis=1)
    if differs.any():
        raise OSError(f"{first.parents[1]}: the runs disagree about the predictor {low.index[differs][0][0]}")


def _distinct(metas: Mapping[Any, Mapping[str, Any]], key: str) -> list[Any]:
    """The different values of a key of meta.json among the runs, in order."""
    found: list[Any] = []
    for meta in metas.values():
        if key in meta and meta[key] not in found:
            found.append(meta[key])
    return found


def _meta(metas: Mapping[tuple[str, int], Mapping[str, Any]]) -> dict[str, Any]:
    """What the page tells of a study: how it was trained, and the seconds of each arm over all its seeds."""
    found: dict[str, Any] = {"command": "\n".join(_distinct(metas, "command")), "trainings": len(metas)}
    found["seconds"] = round(sum(meta.get("seconds", 0.0) for meta in metas.values()), 3)
    found["machine"] = "; ".join(_distinct(metas, "machine"))
    versions = _distinct(metas, "versions")
    found["versions"] = versions[0] if len(versions) == 1 else versions
    found |= {key: values[0] for key in ("target", "unit") if (values := _distinct(metas, key))}
    found["arms"] = {}
    for arm in dict.fromkeys(arm for arm, _ in metas):
        of_arm = {seed: meta for (name, seed), meta in metas.items() if name == arm}
        found["arms"][arm] = {
            "seeds": len(of_arm),
            "seconds": round(sum(each.get("seconds", 0.0) for each in of_arm.values()), 3),
            "best_epoch": {str(seed): each.get("best_epoch") for seed, each in of_arm.items()},
        }
    return found


def named(meta: Mapping[str, Any]) -> dict[str, str]:
    """Name and unit of the target, as meta.json gives them; earlier versions knew ages alone."""
    return {"name": meta.get("target", "age"), "unit": meta.get("unit", "years" if "target" not in meta else "")}


def _target(arrays: Mapping[str, np.ndarray], meta: Mapping[str, Any]) -> Target:
    edges, median = (arrays.get(name) for name in OPTIONAL)
    known = None if median is None else float(median)
    return target_of(arrays["train_counts"], arrays["test_target"], edges=edges, median=known, **named(meta))


def read_trainings(workdir: str | os.PathLike) -> ImageStudy:
    """All finished trainings of a folder, `workdir`/<arm>/seed<k>; one without rows.csv.gz is not finished.

    A seed that another arm has and an arm has not counts as unfinished as well.

    Raises:
      OSError: a file is missing, damaged, or not of its folder, or two runs are not of one data set (names the file).
      ValueError: a file of rows lacks a column, has text for numbers, or no training is finished.
    """
    workdir = Path(workdir)
    started = {path.parent: _config(path.parent) for path in sorted(workdir.glob("*/seed*/config.json"))}
    finished = {folder: config for folder, config in started.items() if (folder / "rows.csv.gz").exists()}
    finished = dict(sorted(finished.items(), key=lambda item: (arm_order(item[1]), item[1]["seed"])))
    if not finished:
        raise ValueError(f"{workdir}: none of the {len(started)} trainings is finished; run launch/train.py again")
    if len(sets := {config["dataset"] for config in finished.values()}) > 1:
        raise OSError(f"{workdir} holds runs on {' and '.join(sorted(sets))}; a report is of one data set")
    arrays = {folder: _arrays(folder / "predictions.npz") for folder in finished}
    rows = pd.concat([_rows(folder, config) for folder, config in finished.items()], ignore_index=True)
    _one_set(rows, arrays)
    runs = {(config["arm"], config["seed"]): folder for folder, config in finished.items()}
    meta = _meta({run: read_json(folder / "meta.json") for run, folder in runs.items()})
    first = next(iter(arrays.values()))
    target, values = _target(first, meta), first["test_target"].astype(float)
    found = {}
    for (arm, seed), folder in runs.items():
        found[arm, seed] = arrays[folder]["test_prediction"].astype(float).round(target.decimals)
        check_mae(str(folder / "rows.csv.gz"), rows, arm, seed, found[arm, seed] - values, target.decimals)
    curves = {run: _curve(folder / "metrics.jsonl") for run, folder in runs.items()}
    configs = {config["arm"]: config for config in finished.values()}
    (name,) = sets
    arms, seeds = dict.fromkeys(config["arm"] for config in started.values()), {c["seed"] for c in started.values()}
    return ImageStudy(
        name=name,
        config=shared_config(name, configs, sorted({seed for _, seed in runs})),
        meta=meta,
        rows=kept_rows(rows.drop_duplicates(EVALUATION)),
        configs=configs,
        found=found,
        curves={run: curve for run, curve in curves.items() if len(curve)},
        values=values,
        target=target,
        unfinished=[f"{arm}/seed{seed}" for arm in arms for seed in sorted(seeds) if (arm, seed) not in runs],
    )
