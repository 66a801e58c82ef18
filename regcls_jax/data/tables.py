"""Tables as problems of the study engine: repeated cross-validation over the rows."""

import dataclasses
import functools
import itertools
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from regcls_jax.checks import check_integer, check_share
from regcls_jax.config import check_keys
from regcls_jax.data.source import Problem, Source


class Table(NamedTuple):
    """inputs [n, D], targets [n], what the target is and its unit ("" for none)."""

    inputs: np.ndarray
    targets: np.ndarray
    target: str
    unit: str


# scikit-learn is imported where it is used: it takes a second, which no other source should wait for.
def _diabetes() -> Table:
    from sklearn import datasets

    inputs, targets = datasets.load_diabetes(return_X_y=True, scaled=False)
    return Table(inputs, targets, "disease progression after one year", "")


def _linnerud() -> Table:
    from sklearn import datasets

    inputs, targets = datasets.load_linnerud(return_X_y=True)
    return Table(inputs, targets[:, 0], "weight", "pounds")


# Data set -> its loader. Register further ones here.
TABLES: dict[str, Callable[[], Table]] = {"diabetes": _diabetes, "linnerud": _linnerud}
DATA_FIELDS = {"dataset": None, "folds": 5, "repetitions": 1, "validation": 0.2}


@dataclasses.dataclass(frozen=True)
class TableSpec:
    """One fold of one repetition of the cross-validation of a data set.

    `folds` test sets per repetition; of the other rows the share `validation` is the validation set.
    """

    dataset: str
    fold: int
    repetition: int
    folds: int
    validation: float

    scenario = ""
    key = 0

    @property
    def name(self) -> str:
        """The fold by name, for messages."""
        return f"{self.dataset}/repetition {self.repetition}/fold {self.fold}"

    @property
    def seed(self) -> int:
        """Every fold of every repetition has its own initial weights and order of samples."""
        return self.repetition * self.folds + self.fold

    @property
    def shared(self) -> str:
        """All folds and repetitions are rows of one table."""
        return self.dataset

    def content(self) -> tuple[Any, ...]:
        """Plain values: specs of equal content are the same problem."""
        return dataclasses.astuple(self)

    def columns(self) -> dict[str, Any]:
        """What a result row says of the fold."""
        table = load(self.dataset)
        named = {"dataset": self.dataset, "target": table.target, "unit": table.unit}
        return {**named, "fold": self.fold, "repetition": self.repetition}


def table_specs(data: Mapping[str, Any]) -> list[TableSpec]:
    """Every fold of every repetition, from the config section `data` (keys and defaults: DATA_FIELDS)."""
    check_keys("data.", data, tuple(DATA_FIELDS))
    data = {**DATA_FIELDS, **data}
    if not isinstance(data["dataset"], str) or data["dataset"] not in TABLES:
        raise ValueError(f"unknown data.dataset {data['dataset']!r}; one of {', '.join(TABLES)}")
    check_integer("data.folds", data["folds"], 2)
    check_integer("data.repetitions", data["repetitions"], 1)
    check_share("data.validation", data["validation"])
    return [
        TableSpec(data["dataset"], fold, repetition, data["folds"], data["validation"])
        for repetition in range(data["repetitions"])
        for fold in range(data["folds"])
    ]


@functools.cache
def load(dataset: str) -> Table:
    """A data set by name."""
    return TABLES[dataset]()


def read(spec: TableSpec, cache_dir: str | os.PathLike) -> Problem:
    """One fold: the table, and the row numbers of train, val and test."""
    from sklearn.model_selection import KFold, train_test_split

    table = load(spec.dataset)
    folds = KFold(spec.folds, shuffle=True, random_state=spec.repetition).split(table.inputs)
    others, test = next(itertools.islice(folds, spec.fold, None))
    train, val = train_test_split(others, test_size=spec.validation, random_state=spec.seed)
    splits = {"train": np.sort(train), "val": np.sort(val), "test": test}
    return Problem(table.inputs, table.targets, {name: rows.astype(np.int32) for name, rows in splits.items()})


def ensure(specs: Sequence[TableSpec], cache_dir: str | os.PathLike, progress: bool) -> None:
    """Nothing to fetch: scikit-learn ships the tables."""


SOURCE = Source(table_specs, ensure, read)
