"""The user's own table as problems of the study engine: repeated cross-validation, everything fitted fold by fold.

Imputation, categories and density of the targets are those of the training rows of a fold; the engine standardises
inputs and targets by them, too. Nothing of a test fold is seen before it is tested on.
"""

import dataclasses
import functools
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from regcls_jax import binning
from regcls_jax.config import check_keys
from regcls_jax.data.cross_validation import FoldSpec, every_fold, split
from regcls_jax.data.own_table import OwnTable, read_table
from regcls_jax.data.ranges import range_names, ranges
from regcls_jax.data.references import references
from regcls_jax.data.source import Groups, Problem, Source

DATA_FIELDS = {
    **{"path": None, "target": (), "group": "", "drop": (), "digest": ""},
    **{"folds": 5, "repetitions": 3, "validation": 0.2},
}
# One-hot columns of a column of texts, of the most frequent categories.
MOST_COLUMNS = 50
# Rows that every split of a fold must have.
LEAST_OF_A_SPLIT = 5
VERBS = {"train": "train on", "val": "choose by", "test": "test on"}
# Folds whose inputs are kept.
KEPT = 8


@dataclasses.dataclass(frozen=True)
class OwnSpec(FoldSpec):
    """One fold of one repetition of the cross-validation of one target of a table."""

    path: str
    targets: tuple[str, ...]
    group: str
    drop: tuple[str, ...]
    target: int
    fold: int
    repetition: int
    folds: int
    validation: float

    @property
    def of_what(self) -> str:
        """The target; without its table where the config names it."""
        return (self.targets or load(self).target_names)[self.target]

    @property
    def shared(self) -> "OwnSpec":
        """What is imputed and encoded differs from fold to fold."""
        return self

    def content(self) -> tuple[Any, ...]:
        """Plain values; where the table lies changes nothing."""
        return dataclasses.astuple(self)[1:]

    def columns(self) -> dict[str, Any]:
        """What a result row says of the fold."""
        return {"dataset": os.path.basename(self.path), "target": self.of_what, "unit": "", **self.fold_columns()}


def own_specs(data: Mapping[str, Any]) -> list[OwnSpec]:
    """Every fold of every repetition of every target, from the config section `data` (keys and defaults: DATA_FIELDS).

    `path`: a file that `own_table.read_table` takes, with its `target` columns, `group` and `drop`. Where its `digest`
    is given, a table that has changed since is refused, and one that is gone can still be reported on.
    """
    check_keys("data.", data, tuple(DATA_FIELDS))
    data = {**DATA_FIELDS, **data}
    if not isinstance(data["path"], str) or not data["path"]:
        raise ValueError(f"data.path must name a table, got {data['path']!r}")
    for field in ("group", "digest"):
        if not isinstance(data[field], str):
            raise ValueError(f"data.{field} must be text, got {data[field]!r}")
    for field in ("target", "drop"):
        if not isinstance(data[field], tuple | list) or not all(isinstance(name, str) for name in data[field]):
            raise ValueError(f"data.{field} must be a tuple of names of columns, got {data[field]!r}")
    folds = [*every_fold(data)]
    first = OwnSpec(
        os.path.abspath(data["path"]),
        tuple(data["target"]),
        data["group"],
        tuple(data["drop"]),
        *(0, 0, 0),
        data["folds"],
        float(data["validation"]),
    )
    reported = bool(data["digest"] and first.targets and not os.path.exists(first.path))
    if not reported and data["digest"] not in ("", load(first).digest):
        raise ValueError(f"{first.path} is not as it was when this study began; choose another workdir for it")
    specs = [
        dataclasses.replace(first, target=target, repetition=repetition, fold=fold)
        for target in range(len(first.targets or load(first).target_names))
        for fold, repetition in folds
    ]
    if not reported:
        for spec in specs:
            if not spec.target:  # all targets have the same folds
                _check_fold(spec)
    return specs


def _check_fold(spec: OwnSpec) -> None:
    """Raises ValueError where a fold has too few rows to train, choose or test on."""
    table = load(spec)
    rows = several = len(table.targets)
    what = f"{rows:,} rows"
    if table.groups is not None:
        several = int(table.groups.max()) + 1
        what = f"{several:,} groups of column {spec.group!r}"
    if several <= spec.folds:
        raise ValueError(f"{spec.path}: {what} are too few for {spec.folds} folds; use fewer")
    for part, found in folds_of(spec).items():
        if len(found) < LEAST_OF_A_SPLIT:
            raise ValueError(
                f"{spec.path}: of {what} in {spec.folds} folds, {len(found)} rows are left to {VERBS[part]}; use "
                f"fewer folds{', or no group with most of the rows' if spec.group else ''}"
            )


def load(spec: OwnSpec) -> OwnTable:
    """The table of a spec; errors as `read_table`."""
    return load_table(spec.path, spec.targets, spec.group, spec.drop)


@functools.lru_cache(maxsize=4)
def load_table(path: str, targets: tuple[str, ...], group: str, drop: tuple[str, ...]) -> OwnTable:
    """As `own_table.read_table`, kept until `ensure` is called."""
    return read_table(path, targets, group=group, drop=drop)


def folds_of(spec: OwnSpec) -> dict[str, np.ndarray]:
    """Row numbers int32 of train, val and test; rows of one group are in one split."""
    table = load(spec)
    return split(spec, len(table.targets), table.groups)


def encode(table: OwnTable, train: np.ndarray) -> np.ndarray:
    """Inputs float32 [n, D']: numbers, marks of missing ones, and a column for each frequent category.

    Numbers are less the median of the training rows `train` int [m], which missing ones get; beyond the range of these
    rows they are its nearest end, where a network would follow a stray value without bound. A category that the rows do
    not have is no category: all of its columns are 0, as is every column that is constant in them.
    """
    missing = np.isnan(table.numbers)
    low, medians, high = np.array([_three_points(column[train]) for column in table.numbers.T]).reshape(-1, 3).T
    # Around the medians: float32 would round a large offset away together with what differs.
    numbers = np.where(missing, 0.0, np.clip(table.numbers, low, high) - medians)
    parts = [numbers, missing[:, missing.any(0)].astype(np.float64)]
    for codes, size in zip(table.categories.T, table.sizes, strict=True):
        counts = np.bincount(codes[train][codes[train] >= 0], minlength=size)
        frequent = np.argsort(-counts, kind="stable")[: min(size, MOST_COLUMNS)]
        parts.append((codes[:, None] == frequent).astype(np.float64))
    inputs = np.concatenate(parts, 1)
    constant = inputs[train].min(0) == inputs[train].max(0)
    inputs[:, constant] = 0
    return inputs.astype(np.float32)


def _three_points(values: np.ndarray) -> tuple[float, float, float]:
    """Least, median and greatest of the known values; all 0 where there is none."""
    known = values[~np.isnan(values)]
    return (float(known.min()), float(np.median(known)), float(known.max())) if len(known) else (0.0, 0.0, 0.0)


def read(spec: OwnSpec, cache_dir: str | os.PathLike) -> Problem:
    """One fold, its rows grouped by ranges of the target. Raises ValueError where its training targets are equal."""
    return _problem(spec)


# Rows are asked for run by run, and every fold has inputs of its own.
@functools.lru_cache(maxsize=KEPT)
def _problem(spec: OwnSpec) -> Problem:
    table, splits = load(spec), folds_of(spec)
    targets = table.targets[:, spec.target].astype(np.float32)
    try:
        edges, groups = ranges(targets[splits["train"]])
    except ValueError as error:
        raise ValueError(
            f"{spec.name}, training rows: {error}; the target has too few other values for folds"
        ) from None
    of = np.asarray(binning.assign(targets, edges), np.int32)
    return Problem(_inputs(dataclasses.replace(spec, target=0)), targets, splits, Groups(of, range_names(groups)))


@functools.lru_cache(maxsize=KEPT)
def _inputs(spec: OwnSpec) -> np.ndarray:
    return encode(load(spec), folds_of(spec)["train"])


def predictors(spec: OwnSpec, problem: Problem) -> dict[str, np.ndarray]:
    """What ridge regression and gradient boosting predict for all rows [n]."""
    return references(problem, spec.seed)


def ensure(specs: Sequence[OwnSpec], cache_dir: str | os.PathLike, progress: bool) -> None:
    """Nothing to fetch; the table is read anew, because it may have changed since this process looked."""
    load_table.cache_clear()
    _problem.cache_clear()
    _inputs.cache_clear()


SOURCE = Source(own_specs, ensure, read, predictors=predictors)
