"""Tables as problems of the study engine: repeated cross-validation over the rows."""

import dataclasses
import functools
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from regcls_jax.config import check_keys
from regcls_jax.data.cross_validation import FoldSpec, every_fold, split
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
class TableSpec(FoldSpec):
    """One fold of one repetition of the cross-validation of a data set."""

    dataset: str
    fold: int
    repetition: int
    folds: int
    validation: float

    @property
    def of_what(self) -> str:
        """The data set."""
        return self.dataset

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
        return {"dataset": self.dataset, "target": table.target, "unit": table.unit, **self.fold_columns()}


def table_specs(data: Mapping[str, Any]) -> list[TableSpec]:
    """Every fold of every repetition, from the config section `data` (keys and defaults: DATA_FIELDS)."""
    check_keys("data.", data, tuple(DATA_FIELDS))
    data = {**DATA_FIELDS, **data}
    if not isinstance(data["dataset"], str) or data["dataset"] not in TABLES:
        raise ValueError(f"unknown data.dataset {data['dataset']!r}; one of {', '.join(TABLES)}")
    return [
        TableSpec(data["dataset"], fold, repetition, data["folds"], data["validation"])
        for fold, repetition in every_fold(data)
    ]


@functools.cache
def load(dataset: str) -> Table:
    """A data set by name."""
    return TABLES[dataset]()


def read(spec: TableSpec, cache_dir: str | os.PathLike) -> Problem:
    """One fold: the table, and the row numbers of train, val and test."""
    table = load(spec.dataset)
    return Problem(table.inputs, table.targets, split(spec, len(table.targets)))


def ensure(specs: Sequence[TableSpec], cache_dir: str | os.PathLike, progress: bool) -> None:
    """Nothing to fetch: scikit-learn ships the tables."""


SOURCE = Source(table_specs, ensure, read)
