"""How trainings of the loop are reported, by task: the registry that launch programs and `build` go by."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from regcls_jax.data.images.decoding import decode_rgb
from regcls_jax.data.prepared import Prepared
from regcls_jax.loop.runs import LoopRun
from regcls_jax.loop.task import Evaluation, Measure, Predict
from regcls_jax.loop.tasks import DEFAULT, task_of
from regcls_jax.report.depth import report as depth
from regcls_jax.report.depth.export import is_depth_export
from regcls_jax.report.images.export import is_export
from regcls_jax.report.images.figures import save_run_figures
from regcls_jax.report.images.report import image_report
from regcls_jax.report.images.study import target_of
from regcls_jax.report.tables import Report
from regcls_jax.report.trainings import has_trainings
from regcls_jax.store.files import read_json


class Kind(NamedTuple):
    """What a task is reported with.

    report: (workdir, unfinished=, figures=) -> the report of a folder of its trainings, or of their export.
    save_run: (folder, run, data, split, measure, evaluation, predict) -> nothing; writes the figures of one run.
    predicted: (path, run, data, split, rows and values batch by batch) -> nothing; writes predictions.
    out: where predictions go unless a user says so.
    """

    report: Callable[..., Report]
    save_run: Callable[[Path, Any, Prepared, str, Measure, Evaluation, Predict], None]
    predicted: Callable[[Any, Any, Prepared, Any, Iterator[tuple[np.ndarray, np.ndarray]]], None]
    out: str


def _save_image_run(
    folder: Path, run: LoopRun, data: Prepared, split: str, measure: Measure, found: Evaluation, predict: Predict
) -> None:
    arrays, examples = measure.arrays({split: found}, predict), data.splits[split]
    save_run_figures(
        folder,
        arm=run.arm,
        values=examples.targets,
        predictions=found.kept,
        target=target_of(
            arrays["train_counts"],
            examples.targets,
            edges=arrays["bucket_edges"],
            median=float(arrays["train_median"]),
            name=data.target,
            unit=data.unit,
        ),
        decode=lambda indices: np.stack([decode_rgb(examples.images[int(i)], run.image_size) for i in indices]),
    )


def _write(path: Any, run: LoopRun, data: Prepared, split: Any, found: Iterator[tuple[np.ndarray, np.ndarray]]) -> None:
    task_of(run).write(path, data, split, found)


IMAGES = Kind(image_report, _save_image_run, _write, "predictions.csv")
DEPTHS = Kind(depth.depth_report, depth.save_run, depth.write_predictions, "depths")
KINDS: dict[str, Kind] = {"age": IMAGES, "scalar": IMAGES, "depth": DEPTHS}


def kind_of(workdir: str | os.PathLike) -> Kind | None:
    """The kind of the trainings in a folder, or of the export it is; None where it is a study of small networks.

    Raises OSError for a damaged config.json, ValueError, naming it, for an unknown task.
    """
    if is_export(workdir):
        return IMAGES
    if is_depth_export(workdir):
        return DEPTHS
    if not has_trainings(workdir):
        return None
    path = min(Path(workdir).glob("*/seed*/config.json"))
    task = read_json(path).get("task", DEFAULT)
    if task not in KINDS:
        raise ValueError(f"{path}: unknown task {task!r}; one of {', '.join(KINDS)}")
    return KINDS[task]
