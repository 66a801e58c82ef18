"""Progress of cooking videos (Breakfast, Kukleva et al. 2019) as problems of the study engine, one per task and split.

Every frame is an example: its IDT features, 64 numbers, and how far its video is. Recipes 4.6 and 5.4.
"""

import dataclasses
import functools
import os
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from regcls_jax.checks import check_integer, check_share
from regcls_jax.config import check_keys
from regcls_jax.data import video_features
from regcls_jax.data.images.files import ImageFiles, open_files
from regcls_jax.data.source import Groups, Problem, Source

TASKS = (
    *("coffee", "cereals", "tea", "milk", "juice"),
    *("sandwich", "scrambledegg", "friedegg", "salat", "pancake"),
)
# Persons of the test set of every fold; all others train.
FOLDS = {"S1": range(3, 16), "S2": range(16, 29), "S3": range(29, 42), "S4": range(42, 55)}
# Further folds, for a handful of videos: the test set is one person.
PERSONS = {f"P{number:02d}": range(number, number + 1) for number in range(3, 55)}
TARGETS = {"relative": ("progress", ""), "absolute": ("frame number", "frames")}
# What is drawn for validation: whole videos, as the paper says, or frames, as the published code does (4.6-5).
VALIDATION = ("videos", "frames")
WIDTH = 64  # numbers per frame
# The published RMSE is a mean over sequential batches of so many frames (4.6-2).
BATCH = 40
DATA_FIELDS = {
    "features": "features",
    "tasks": TASKS,
    "folds": tuple(FOLDS),
    "targets": "relative",
    "validation": "videos",
    "validation_share": 1 / 3,
    "repetitions": 1,
}


@dataclasses.dataclass(frozen=True)
class BreakfastSpec:
    """One task, trained on all persons but those of a fold; `repetition` is the seed of its trainings.

    The validation set is the same in all repetitions (seed 0, as published).
    """

    features: str
    task: str
    fold: str
    target: str
    validation: str
    validation_share: float
    repetition: int

    scenario = ""
    key = 0

    @property
    def name(self) -> str:
        """Task and fold, for messages."""
        return f"{self.task}/{self.fold}/repetition {self.repetition}"

    @property
    def seed(self) -> int:
        """Of the trainings: tasks and folds share initial weights, as published."""
        return self.repetition

    @property
    def shared(self) -> tuple[str, str, str]:
        """All folds and repetitions are rows of one task."""
        return self.features, self.task, self.target

    def content(self) -> tuple[Any, ...]:
        """Plain values; where the features lie changes nothing."""
        return dataclasses.astuple(self)[1:]

    def columns(self) -> dict[str, Any]:
        """What a result row says of the problem."""
        target, unit = TARGETS[self.target]
        about = {"dataset": "breakfast", "target": target, "unit": unit}
        return {**about, "task": self.task, "fold": self.fold, "repetition": self.repetition}


def breakfast_specs(data: Mapping[str, Any]) -> list[BreakfastSpec]:
    """Every task, fold and repetition, from the config section `data` (keys and defaults: DATA_FIELDS).

    `features`: the folder, or an archive, of the feature files; `folds`: names of FOLDS or PERSONS. Raises ValueError
    for an invalid setting.
    """
    check_keys("data.", data, tuple(DATA_FIELDS))
    data = {**DATA_FIELDS, **data}
    if not isinstance(data["features"], str) or not data["features"]:
        raise ValueError(
            "data.features must name the folder of the IDT features, one .txt or .npy file a video, got "
            f"{data['features']!r}"
        )
    for field, known in (("tasks", TASKS), ("folds", (*FOLDS, *PERSONS))):
        given = data[field]
        if not isinstance(given, tuple | list) or not given or not all(name in known for name in given):
            some = ", ".join(known[:10]) + (", ..." if len(known) > 10 else "")
            raise ValueError(f"data.{field} must be a tuple of some of {some}, got {given!r}")
    for field, choices in (("targets", tuple(TARGETS)), ("validation", VALIDATION)):
        if data[field] not in choices:
            raise ValueError(f"data.{field} must be one of {', '.join(choices)}, got {data[field]!r}")
    share = data["validation_share"]
    check_share("data.validation_share", share)
    check_integer("data.repetitions", data["repetitions"], 1)
    features = os.path.abspath(data["features"])
    return [
        BreakfastSpec(features, task, fold, data["targets"], data["validation"], float(share), repetition)
        for task in data["tasks"]
        for fold in data["folds"]
        for repetition in range(data["repetitions"])
    ]


def _open(features: str) -> ImageFiles:
    try:
        return open_files(features)
    except NotADirectoryError:
        raise NotADirectoryError(
            f"there is no folder or archive {features} of features; --config.data.features=... names it"
        ) from None


def _of_task(named: Mapping[str, str], task: str, features: str) -> dict[str, str]:
    """The videos of a task, person_camera_person_task, and their files. Raises ValueError where there is none."""
    found = {name: file for name, file in named.items() if name.rsplit("_", 1)[-1] == task}
    if not found:
        there = ", ".join(sorted({name.rsplit("_", 1)[-1] for name in named} & set(TASKS))) or "none of Breakfast"
        raise ValueError(
            f"{features} has no features of task {task}, files such as P03_cam01_P03_{task}.txt; its tasks: {there}"
        )
    return found


def _folder(features: str, task: str, cache_dir: str | os.PathLike) -> Path:
    # One per source: another one, such as generated features, must not push these out.
    return Path(cache_dir) / "breakfast" / f"{Path(features).name}-{zlib.crc32(features.encode()):08x}" / task


def ensure(specs: Sequence[BreakfastSpec], cache_dir: str | os.PathLike, progress: bool) -> None:
    """Reads the features of every task once, into `cache_dir`/breakfast; errors as `video_features.ensure`."""
    _problem.cache_clear()  # files may have come, gone or changed since this process looked
    for features in dict.fromkeys(spec.features for spec in specs):
        files = _open(features)
        named = video_features.video_files(files)
        tasks = dict.fromkeys(spec.task for spec in specs if spec.features == features)
        videos = {_folder(features, task, cache_dir): _of_task(named, task, features) for task in tasks}
        video_features.ensure(files, videos, WIDTH, progress)


def read(spec: BreakfastSpec, cache_dir: str | os.PathLike) -> Problem:
    """The frames of a task and their numbers in train, val and test; those of a video are a group.

    Raises ValueError where a split would be empty.
    """
    # Repetitions are one problem.
    return _problem(dataclasses.replace(spec, repetition=0), os.fspath(cache_dir))


# Rows are asked for run by run.
@functools.lru_cache(maxsize=4)
def _problem(spec: BreakfastSpec, cache_dir: str) -> Problem:
    videos = video_features.load(_folder(spec.features, spec.task, cache_dir))
    video, time = videos.video, videos.time
    targets = (time / videos.lengths[video] if spec.target == "relative" else time).astype(np.float32)
    is_test = np.array([in_fold(name, spec.fold) for name in videos.names])
    if is_test.all() or not is_test.any():
        raise ValueError(f"{spec.name}: {is_test.sum()} of {len(is_test)} videos are of the persons to test on")
    test, others = np.flatnonzero(is_test[video]), np.flatnonzero(~is_test[video])
    if spec.validation == "frames":
        drawn = _drawn(len(others), spec.validation_share)
    else:
        drawn_videos = np.flatnonzero(~is_test)[_drawn(len(is_test) - is_test.sum(), spec.validation_share)]
        drawn = np.isin(video[others], drawn_videos)
    splits = {"train": others[~drawn], "val": others[drawn], "test": test}
    if empty := [split for split, rows in splits.items() if not len(rows)]:
        raise ValueError(f"{spec.name}: no frames are left for {' and '.join(empty)}: there are too few videos")
    groups = Groups(video, videos.names, BATCH)
    return Problem(videos.features, targets, {name: rows.astype(np.int32) for name, rows in splits.items()}, groups)


def in_fold(video: str, fold: str) -> bool:
    """Whether a video is in the test set of a fold, which its person decides. ValueError for a name without person."""
    person = video.split("_", 1)[0]
    if not (person.startswith("P") and person[1:].isdigit()):
        raise ValueError(f"video {video} is not named as person_camera_person_task, such as P03_cam01_P03_coffee")
    return int(person[1:]) in (FOLDS | PERSONS)[fold]


def _drawn(count: int, share: float) -> np.ndarray:
    """bool [count], True for a share of them, the same ones always; at least one, and not all, of two or more."""
    number = min(max(round(count * share), 1), count - 1)
    drawn = np.zeros(count, bool)
    drawn[np.random.default_rng(0).permutation(count)[:number]] = True
    return drawn


def predictors(spec: BreakfastSpec, problem: Problem) -> dict[str, np.ndarray]:
    """Predictions [n] without a model: 0; for relative targets also .5, and a clock, the time over the mean length of
    the training videos, at most 1. The clock sees the time, which the models do not.
    """
    found = {"zero": np.zeros(len(problem.targets))}
    if spec.target == "relative" and problem.groups is not None:
        # The frames of a video are in one split, or in two that both train.
        lengths = np.bincount(problem.groups.of)
        trained = np.unique(problem.groups.of[problem.splits["train"]])
        time = problem.targets * lengths[problem.groups.of]
        found |= {"half": np.full(len(time), 0.5), "clock": np.minimum(time / lengths[trained].mean(), 1)}
    return found


SOURCE = Source(breakfast_specs, ensure, read, predictors=predictors)
