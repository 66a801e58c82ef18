"""The report of a depth study: from its finished trainings, or their export, to what `build.publish` writes."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from regcls_jax.data.depth.splits import DepthSplit
from regcls_jax.data.prepared import Prepared
from regcls_jax.loop.depth_files import write_depths
from regcls_jax.loop.runs import LoopRun
from regcls_jax.loop.task import Evaluation, Measure, Predict
from regcls_jax.loop.tasks import task_of
from regcls_jax.report.depth.export import MAPS, export_files, is_depth_export, read_depth_export
from regcls_jax.report.depth.figures import error_figure, map_figure, picture_of, sum_of
from regcls_jax.report.depth.rows import read_depth_trainings
from regcls_jax.report.depth.study import Depths, DepthStudy
from regcls_jax.report.depth.tables import SIGNS, depth_tables
from regcls_jax.report.depth.verdict import depth_verdict
from regcls_jax.report.drawing import render
from regcls_jax.report.tables import Report
from regcls_jax.report.trainings import TRIVIAL_SEED, unfinished_remark
from regcls_jax.store.files import write_atomic

# Arms whose maps one figure shows.
SHOWN_ARMS = 6


def read_depth_study(workdir: str | os.PathLike) -> DepthStudy:
    """The study of a folder of trainings or of an export; errors as `read_depth_trainings` and `read_depth_export`."""
    return read_depth_export(workdir) if is_depth_export(workdir) else read_depth_trainings(workdir)


def _figures(study: DepthStudy) -> dict[str, bytes]:
    drawn = {}
    if study.shown is not None:
        arms = list(study.shown.predictions)[:SHOWN_ARMS]
        columns = {"true depth": study.shown.depths, **{arm: study.shown.predictions[arm] for arm in arms}}
        drawn[MAPS] = map_figure(columns)  # no pictures: exports are published, and few data sets' pictures may be
    errors = {arm: sum_of([study.buckets[study.of(arm, seed)] for seed in study.seeds(arm)]) for arm in study.configs}
    drawn["error_by_depth"] = error_figure(errors, study.buckets.get(("pixel_mean", TRIVIAL_SEED)), study.depths)
    files = {f"{stem}.{kind}": data for stem, figure in drawn.items() for kind, data in render(figure).items()}
    return study.figures | files


def depth_report(workdir: str | os.PathLike, *, unfinished: bool = False, figures: bool = True) -> Report:
    """The report of a depth study, nothing written; arguments and errors as those of `images.report.image_report`."""
    study = read_depth_study(workdir)
    remark = unfinished_remark(workdir, study.unfinished, unfinished)
    return Report(
        name=study.name,
        config=study.config,
        meta=study.meta,
        rows=study.rows,
        besides=export_files(study),
        signs=SIGNS,
        models=len(study.sums),
        remarks=remark,
        tables=depth_tables(study),
        figures=_figures(study) if figures else {},
        verdict=depth_verdict(study),
    )


def save_run(
    folder: Path, run: LoopRun, data: Prepared, split: str, measure: Measure, found: Evaluation, predict: Predict
) -> None:
    """Writes depth_maps.png and error_by_depth.png of one run, as it did on a split, into its folder."""
    arrays = measure.arrays({split: found}, predict)
    columns = {"true depth": arrays["shown_depths"], run.arm: arrays["shown_predictions"]}
    depths = Depths(arrays["bucket_edges"], arrays["train_counts"], arrays["bucket_groups"])
    folder.mkdir(parents=True, exist_ok=True)
    trivial = arrays[f"{split}_pixel_mean_bucket_sums"]
    for name, figure in (
        (MAPS, map_figure(columns, arrays["shown_pictures"])),
        ("error_by_depth", error_figure({run.arm: arrays[f"{split}_bucket_sums"]}, trivial, depths)),
    ):
        write_atomic(folder / f"{name}.png", render(figure, ("png",))["png"])


def write_predictions(
    path: str | os.PathLike,
    run: LoopRun,
    data: Prepared,
    split: DepthSplit,
    found: Iterator[tuple[np.ndarray, np.ndarray]],
) -> None:
    """Writes the maps as `write_depths`, and NAME_depth.png, each picture beside its depth with a scale in m.

    Of a single .npy file the pictures are in the folder beside it that has its name without the suffix.
    """
    path = Path(path)
    folder = path.with_suffix("") if path.suffix == ".npy" else path

    def drawn() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for rows, values in found:
            batches = task_of(run).eval_batches(run, split.rows(rows), (0, 1))
            pictures: list[Any] = [picture for batch in batches for picture in batch["input"][batch["mask"]]]
            batches.close()
            for row, picture, depths in zip(rows, pictures, values, strict=True):
                file = folder / Path(str(split.names[row])).with_suffix("")
                file.parent.mkdir(parents=True, exist_ok=True)
                write_atomic(
                    file.with_name(f"{file.name}_depth.png"), render(picture_of(picture, depths), ("png",))["png"]
                )
            yield rows, values

    write_depths(path, data, split, drawn())
