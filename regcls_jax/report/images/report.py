"""The report of an image study: from its finished trainings to what `build.publish` writes."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from regcls_jax.report.drawing import render
from regcls_jax.report.images.figures import curve_figure, error_figure, prediction_figure
from regcls_jax.report.images.rows import EVALUATION, TRIVIAL_SEED, ImageStudy, read_study
from regcls_jax.report.images.tables import SIGNS, image_tables
from regcls_jax.report.tables import Report

# Test predictions are exported up to this many numbers (about 150 kB); beyond that, the rows alone.
MAX_PREDICTIONS = 100_000


def _config(study: ImageStudy) -> dict[str, Any]:
    """The settings as a config gives them: what all arms share once, and what each arm sets."""
    configs = {arm: dict(config) for arm, config in study.configs.items()}
    for config in configs.values():
        del config["arm"], config["seed"]
    first = next(iter(configs.values()))
    shared = {key: value for key, value in first.items() if all(config[key] == value for config in configs.values())}
    arms = {arm: {key: value for key, value in config.items() if key not in shared} for arm, config in configs.items()}
    return {
        "name": study.dataset,
        "seeds": sorted({seed for _, seed in study.runs}),
        "run": shared,
        "arms": arms,
    }


def _distinct(study: ImageStudy, key: str) -> list[Any]:
    """The different values of a key of meta.json among the runs, in order."""
    found: list[Any] = []
    for run in study.runs.values():
        if key in run.meta and run.meta[key] not in found:
            found.append(run.meta[key])
    return found


def _meta(study: ImageStudy) -> dict[str, Any]:
    """What the page tells of a study: how it was trained, and the seconds of each arm over all its seeds."""
    meta: dict[str, Any] = {"command": "\n".join(_distinct(study, "command")), "trainings": len(study.runs)}
    meta["seconds"] = round(sum(run.meta.get("seconds", 0.0) for run in study.runs.values()), 3)
    meta["machine"] = "; ".join(_distinct(study, "machine"))
    versions = _distinct(study, "versions")
    meta["versions"] = versions[0] if len(versions) == 1 else versions
    meta["arms"] = {}
    for arm in study.configs:
        of_arm = {seed: run.meta for (name, seed), run in study.runs.items() if name == arm}
        meta["arms"][arm] = {
            "seeds": len(of_arm),
            "seconds": round(sum(each.get("seconds", 0.0) for each in of_arm.values()), 3),
            "best_epoch": {str(seed): each.get("best_epoch") for seed, each in of_arm.items()},
        }
    return meta


def _predictions(study: ImageStudy) -> pd.DataFrame:
    """Test predictions, a line per image: age, and `<arm>/seed<k>` in tenths of a year."""
    columns = {f"{arm}/seed{seed}": run.predictions.round(1) for (arm, seed), run in study.runs.items()}
    return pd.DataFrame({"age": study.ages, **columns})


def _rows(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows worth committing, sorted, in the digits that a float32 has."""
    metrics = [name for name in rows if name not in (*EVALUATION, "count")]
    kept = rows.astype(dict.fromkeys(metrics, np.float32)).astype(dict.fromkeys(metrics, float))
    return kept.sort_values(EVALUATION).reset_index(drop=True)


def _figures(study: ImageStudy) -> Mapping[str, Figure]:
    predictions = {arm: np.stack(list(study.predictions(arm).values())) for arm in study.configs}
    figures = {
        "prediction_versus_age": prediction_figure(study.ages, predictions, study.train_counts),
        "error_by_age": error_figure(study.ages, predictions, study.train_counts),
    }
    curves = {
        arm: [run.curve for (name, _), run in study.runs.items() if name == arm and len(run.curve)]
        for arm in study.configs
    }
    curves = {arm: found for arm, found in curves.items() if found}
    trivial = study.rows[(study.rows["arm"] == "median") & (study.rows["seed"] == TRIVIAL_SEED)]
    median = trivial.loc[(trivial["split"] == "val") & (trivial["shot"] == "all"), "mae"]
    if curves and len(median):
        figures["training_curves"] = curve_figure(curves, float(median.iloc[0]))
    return figures


def image_report(workdir: str | os.PathLike, *, unfinished: bool = False, figures: bool = True) -> Report:
    """The report of an image study, nothing written.

    Args:
      workdir: the folder of its trainings, see `image_rows.read_study`.
      unfinished: whether a study with trainings still to be done is reported, saying so; otherwise it is an error.
      figures: whether they are drawn.

    Raises:
      OSError: something cannot be read (the message names it).
      ValueError: rows are malformed, or trainings are unfinished (the message names them).
    """
    study = read_study(workdir)
    remark = "All trainings that were started are finished."
    if study.unfinished:
        remark = f"{len(study.unfinished)} trainings are still to be done: {', '.join(study.unfinished)}"
        if not unfinished:
            raise ValueError(f"{Path(workdir)}: {remark}; run launch/train.py again, or report with --unfinished")
        remark = f"**Unfinished: {remark}.**"
    whole = len(study.ages) * len(study.runs) <= MAX_PREDICTIONS
    return Report(
        name=study.dataset,
        config=_config(study),
        meta=_meta(study),
        rows=_rows(study.rows),
        trace={"predictions.csv.gz": _predictions(study)} if whole else {},
        signs=SIGNS,
        models=len(study.runs) + study.rows.loc[study.rows["seed"] == TRIVIAL_SEED, "arm"].nunique(),
        remarks=remark,
        tables=image_tables(study),
        figures={
            f"{stem}.{kind}": data
            for stem, figure in (_figures(study) if figures else {}).items()
            for kind, data in render(figure).items()
        },
    )
