"""Repeated cross-validation over the rows of a table: what its specs share."""

import itertools
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from regcls_jax.checks import check_integer, check_share


class FoldSpec:
    """One fold of one repetition: `folds` test sets per repetition; of the other rows the share `validation` is the
    validation set. Subclasses are frozen dataclasses with these fields.
    """

    fold: int
    repetition: int
    folds: int
    validation: float

    scenario = ""
    key = 0

    @property
    def of_what(self) -> str:
        """What the fold is of, for messages."""
        raise NotImplementedError

    @property
    def name(self) -> str:
        """The fold by name, for messages."""
        return f"{self.of_what}/repetition {self.repetition}/fold {self.fold}"

    @property
    def seed(self) -> int:
        """Every fold of every repetition has its own initial weights and order of samples."""
        return self.repetition * self.folds + self.fold

    def fold_columns(self) -> dict[str, int]:
        """The columns of a result row that tell folds apart."""
        return {"fold": self.fold, "repetition": self.repetition}


def every_fold(data: Mapping[str, Any]) -> Iterator[tuple[int, int]]:
    """(fold, repetition) of all `folds` and `repetitions` of a config's section `data`, with its share `validation`.

    Raises ValueError for an invalid setting.
    """
    check_integer("data.folds", data["folds"], 2)
    check_integer("data.repetitions", data["repetitions"], 1)
    check_share("data.validation", data["validation"])
    return ((fold, repetition) for repetition in range(data["repetitions"]) for fold in range(data["folds"]))


def split(spec: FoldSpec, rows: int, groups: np.ndarray | None = None) -> dict[str, np.ndarray]:
    """Row numbers int32 of train, val and test; rows of equal `groups` [rows] are in one of them."""
    # scikit-learn is imported where it is used: it takes a second, which no other source should wait for.
    from sklearn.model_selection import GroupKFold, GroupShuffleSplit, KFold, ShuffleSplit

    outer = (KFold if groups is None else GroupKFold)(spec.folds, shuffle=True, random_state=spec.repetition)
    others, test = next(itertools.islice(outer.split(np.arange(rows), groups=groups), spec.fold, None))
    draw = ShuffleSplit if groups is None else GroupShuffleSplit
    inner = draw(1, test_size=spec.validation, random_state=spec.seed)
    train, val = next(inner.split(others, groups=None if groups is None else groups[others]))
    splits = {"train": np.sort(others[train]), "val": np.sort(others[val]), "test": test}
    return {name: found.astype(np.int32) for name, found in splits.items()}
