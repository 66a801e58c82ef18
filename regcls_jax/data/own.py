"""The user's own table as problems of the study engine: repeated cross-validation, everything fitted fold by fold.

Imputation, categories and density of the targets are those of the training rows of a fold; the engine standardises
inputs and targets by them, too. Nothing of a test fold is seen before it is tested on.
"""

import dataclasses
import functools
import itertools
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from regcls_jax import binning
from regcls_jax.checks import check_integer, check_share
from regcls_jax.config import check_keys
from regcls_jax.data.own_table import OwnTable, read_table
from regcls_jax.data.source import Groups, Problem, Source
from regcls_jax.metrics.shots import SHOTS

DATA_FIELDS = {
    **{"path": None, "target": (), "group": "", "drop": ()},
    **{"folds": 5, "repetitions": 3, "validation": 0.2},
}
# Errors are summed by ranges of the target: so many, of equal width between these quantiles of the training targets;
# what lies beyond belongs to the outermost.
RANGES, QUANTILES = 20, (0.01, 0.99)
# A range with fewer training rows than this share of an equal part is "few", with more than the other "many".
FEW, MANY = 0.5, 1.5
# One-hot columns of a column of texts, of the most frequent categories.
MOST_COLUMNS = 50
# Rows that a fold must have.
LEAST_TESTED = 10
# Up to so many rows one thread fits the references as fast as several do, and waits for none.
ONE_THREAD = 20_000
# Settings that the references choose from on the validation set.
ALPHAS = np.geomspace(1e-2, 1e4, 7)
BOOSTING = tuple({"learning_rate": rate, "max_leaf_nodes": leaves} for rate in (0.03, 0.1, 0.3) for leaves in (8, 31))


@dataclasses.dataclass(frozen=True)
class OwnSpec:
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

    scenario = ""
    key = 0

    @property
    def name(self) -> str:
        """Target and fold, for messages."""
        table = load(self)
        return f"{table.target_names[self.target]}/repetition {self.repetition}/fold {self.fold}"

    @property
    def seed(self) -> int:
        """Every fold of every repetition has its own initial weights and order of samples."""
        return self.repetition * self.folds + self.fold

    @property
    def shared(self) -> "OwnSpec":
        """What is imputed and encoded differs from fold to fold."""
        return self

    def content(self) -> tuple[Any, ...]:
        """Plain values; where the table lies changes nothing."""
        return dataclasses.astuple(self)[1:]

    def columns(self) -> dict[str, Any]:
        """What a result row says of the fold."""
        named = {"dataset": os.path.basename(self.path), "target": load(self).target_names[self.target], "unit": ""}
        return {**named, "fold": self.fold, "repetition": self.repetition}


def own_specs(data: Mapping[str, Any]) -> list[OwnSpec]:
    """Every fold of every repetition of every target, from the config section `data` (keys and defaults: DATA_FIELDS).

    `path`: a file that `own_table.read_table` takes, with its `target` columns, `group` and `drop`.
    """
    check_keys("data.", data, tuple(DATA_FIELDS))
    data = {**DATA_FIELDS, **data}
    if not isinstance(data["path"], str) or not data["path"]:
        raise ValueError(f"data.path must name a table, got {data['path']!r}")
    for field in ("target", "drop"):
        if not isinstance(data[field], tuple | list) or not all(isinstance(name, str) for name in data[field]):
            raise ValueError(f"data.{field} must be a tuple of names of columns, got {data[field]!r}")
    if not isinstance(data["group"], str):
        raise ValueError(f"data.group must be the name of a column, got {data['group']!r}")
    check_integer("data.folds", data["folds"], 2)
    check_integer("data.repetitions", data["repetitions"], 1)
    check_share("data.validation", data["validation"])
    first = OwnSpec(
        os.path.abspath(data["path"]),
        tuple(data["target"]),
        data["group"],
        tuple(data["drop"]),
        *(0, 0, 0),
        data["folds"],
        float(data["validation"]),
    )
    table = load(first)
    if (rows := len(table.targets)) < LEAST_TESTED * data["folds"]:
        raise ValueError(
            f"{data['path']}: {rows} rows in {data['folds']} folds leave fewer than {LEAST_TESTED} to test on; use "
            "fewer folds"
        )
    if table.groups is not None and (several := int(table.groups.max()) + 1) < data["folds"]:
        raise ValueError(
            f"{data['path']}: column {data['group']!r} has {several} groups, fewer than {data['folds']} folds"
        )
    return [
        dataclasses.replace(first, target=target, repetition=repetition, fold=fold)
        for target in range(len(table.target_names))
        for repetition in range(data["repetitions"])
        for fold in range(data["folds"])
    ]


def load(spec: OwnSpec) -> OwnTable:
    """The table of a spec; errors as `read_table`."""
    return _load(spec.path, spec.targets, spec.group, spec.drop)


@functools.lru_cache(maxsize=4)
def _load(path: str, targets: tuple[str, ...], group: str, drop: tuple[str, ...]) -> OwnTable:
    return read_table(path, targets, group=group, drop=drop)


def folds_of(spec: OwnSpec) -> dict[str, np.ndarray]:
    """Row numbers int32 of train, val and test; rows of one group are in one split."""
    # scikit-learn is imported where it is used: it takes a second, which no other source should wait for.
    from sklearn.model_selection import GroupKFold, GroupShuffleSplit, KFold, ShuffleSplit

    table = load(spec)
    rows, groups = np.arange(len(table.targets)), table.groups
    outer = (KFold if groups is None else GroupKFold)(spec.folds, shuffle=True, random_state=spec.repetition)
    others, test = next(itertools.islice(outer.split(rows, groups=groups), spec.fold, None))
    draw = ShuffleSplit if groups is None else GroupShuffleSplit
    inner = draw(1, test_size=spec.validation, random_state=spec.seed)
    train, val = next(inner.split(others, groups=None if groups is None else groups[others]))
    splits = {"train": np.sort(others[train]), "val": np.sort(others[val]), "test": test}
    return {name: found.astype(np.int32) for name, found in splits.items()}


def encode(table: OwnTable, train: np.ndarray) -> np.ndarray:
    """Inputs float32 [n, D']: numbers, marks of missing ones, and a column for each frequent category.

    Missing numbers get the median of the training rows `train` int [m]. A category that these rows do not have is no
    category: all of its columns are 0, as is every column that is constant in them.
    """
    numbers = table.numbers
    missing = np.isnan(numbers)
    with np.errstate(all="ignore"):
        medians = np.array([_median(column[train]) for column in numbers.T])
    parts = [np.where(missing, medians, numbers), missing[:, missing.any(0)].astype(np.float64)]
    for codes, size in zip(table.categories.T, table.sizes, strict=True):
        counts = np.bincount(codes[train][codes[train] >= 0], minlength=size)
        frequent = np.argsort(-counts, kind="stable")[: min(size, MOST_COLUMNS)]
        parts.append((codes[:, None] == frequent).astype(np.float64))
    inputs = np.concatenate(parts, 1)
    constant = inputs[train].min(0) == inputs[train].max(0)
    inputs[:, constant] = 0
    return inputs.astype(np.float32)


def _median(values: np.ndarray) -> float:
    known = values[~np.isnan(values)]
    return float(np.median(known)) if len(known) else 0.0


def ranges(targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The edges [RANGES + 1] of the ranges of training targets [n], and the shot group [RANGES] of each, from SHOTS."""
    low, high = np.quantile(targets, QUANTILES)
    if not low < high:
        low, high = targets.min(), targets.max()
    edges = binning.uniform_edges(float(low), float(high), RANGES)
    counts = np.bincount(binning.assign(targets, edges), minlength=RANGES)
    share = counts * RANGES / len(targets)
    few, many = share < FEW, share > MANY
    return edges, np.select([many, few], [SHOTS.index("many"), SHOTS.index("few")], SHOTS.index("medium"))


def range_names(groups: np.ndarray) -> tuple[str, ...]:
    """Names of ranges, such as "07 few", of their shot groups [RANGES]."""
    return tuple(f"{place:02d} {SHOTS[group]}" for place, group in enumerate(groups))


def read(spec: OwnSpec, cache_dir: str | os.PathLike) -> Problem:
    """One fold; its rows are grouped by ranges of the target. Raises ValueError where a split has no row to spare."""
    return _problem(spec)


# Rows are asked for run by run, and every fold has inputs of its own.
@functools.lru_cache(maxsize=32)
def _problem(spec: OwnSpec) -> Problem:
    table, splits = load(spec), folds_of(spec)
    targets = table.targets[:, spec.target].astype(np.float32)
    edges, groups = ranges(targets[splits["train"]])
    of = np.asarray(binning.assign(targets, edges), np.int32)
    return Problem(encode(table, splits["train"]), targets, splits, Groups(of, range_names(groups)))


def predictors(spec: OwnSpec, problem: Problem) -> dict[str, np.ndarray]:
    """What models of another kind predict for all rows [n]: ridge regression and gradient boosting of scikit-learn.

    Both are fitted to the training rows; the settings with the lowest squared error on the validation rows count.
    """
    from sklearn.ensemble import HistGradientBoostingRegressor
    from sklearn.linear_model import Ridge
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from threadpoolctl import threadpool_limits

    candidates = {
        "ridge": [make_pipeline(StandardScaler(), Ridge(alpha)) for alpha in ALPHAS],
        "boosting": [HistGradientBoostingRegressor(**settings, random_state=spec.seed) for settings in BOOSTING],
    }
    train, val = problem.splits["train"], problem.splits["val"]
    found = {}
    with threadpool_limits(1 if len(train) <= ONE_THREAD else None):
        for name, models in candidates.items():
            fitted = [model.fit(problem.inputs[train], problem.targets[train]) for model in models]
            errors = [np.mean((model.predict(problem.inputs[val]) - problem.targets[val]) ** 2) for model in fitted]
            found[name] = fitted[int(np.argmin(errors))].predict(problem.inputs)
    return found


def ensure(specs: Sequence[OwnSpec], cache_dir: str | os.PathLike, progress: bool) -> None:
    """Nothing to fetch; the table is read anew, because it may have changed since this process looked."""
    _load.cache_clear()
    _problem.cache_clear()


SOURCE = Source(own_specs, ensure, read, predictors=predictors)
