"""The report of an image study: from its finished trainings, or their export, to what `build.publish` writes."""

import os
from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure

from regcls_jax.report.drawing import render
from regcls_jax.report.images.export import export_files, is_export, read_export
from regcls_jax.report.images.figures import curve_figure, error_figure, prediction_figure
from regcls_jax.report.images.rows import read_trainings
from regcls_jax.report.images.study import ImageStudy
from regcls_jax.report.images.tables import image_tables, signs
from regcls_jax.report.images.verdict import image_verdict
from regcls_jax.report.tables import Report
from regcls_jax.report.trainings import TRIVIAL_SEED, unfinished_remark


def read_study(workdir: str | os.PathLike) -> ImageStudy:
    """The study of a folder of trainings or of an export; errors as `read_trainings` and `read_export`."""
    return read_export(workdir) if is_export(workdir) else read_trainings(workdir)


def _figures(study: ImageStudy) -> Mapping[str, Figure]:
    """By name; without validation curves (an early export has none) there is no figure of them."""
    predictions = {arm: np.stack(list(study.predictions(arm).values())) for arm in study.configs}
    figures = {
        f"prediction_versus_{study.target.name}": prediction_figure(study.values, predictions, study.target),
        f"error_by_{study.target.name}": error_figure(study.values, predictions, study.target),
    }
    curves = {arm: [curve for (name, _), curve in study.curves.items() if name == arm] for arm in study.configs}
    curves = {arm: found for arm, found in curves.items() if found}
    trivial = study.rows[(study.rows["arm"] == "median") & (study.rows["seed"] == TRIVIAL_SEED)]
    median = trivial.loc[(trivial["split"] == "val") & (trivial["shot"] == "all"), "mae"]
    if curves and len(median):
        figures["training_curves"] = curve_figure(curves, float(median.iloc[0]), study.target)
    return figures


def image_report(workdir: str | os.PathLike, *, unfinished: bool = False, figures: bool = True) -> Report:
    """The report of an image study, nothing written.

    Args:
      workdir: the folder of its trainings (`rows.read_trainings`), or of its export.
      unfinished: whether a study with trainings still to be done is reported, saying so; otherwise it is an error.
      figures: whether they are drawn.

    Raises:
      OSError: something cannot be read (the message names it).
      ValueError: rows are malformed, or trainings are unfinished (the message names them).
    """
    study = read_study(workdir)
    remark = unfinished_remark(workdir, study.unfinished, unfinished)
    return Report(
        name=study.name,
        config=study.config,
        meta=study.meta,
        rows=study.rows,
        besides=export_files(study),
        signs=signs(study.target),
        models=len(study.found) + study.rows.loc[study.rows["seed"] == TRIVIAL_SEED, "arm"].nunique(),
        remarks=remark,
        tables=image_tables(study),
        figures={
            f"{stem}.{kind}": data
            for stem, figure in (_figures(study) if figures else {}).items()
            for kind, data in render(figure).items()
        },
        verdict=image_verdict(study),
    )
