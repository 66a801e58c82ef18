"""What the study engine trains on: problems and their sources. A new data set is a file here and a line in SOURCES."""

import os
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np


class Spec(Hashable, Protocol):
    """What determines one problem: small, frozen, hashable.

    `name` is used in messages; `scenario` is the key of the config's section `scenario` that applies to it ("": none);
    `seed` is that of its trainings; `key` is folded into their random keys, so that problems of one seed may start from
    different weights; specs of equal `shared` have the same inputs and targets and differ only in their splits (folds).
    """

    @property
    def name(self) -> str: ...
    @property
    def scenario(self) -> str: ...
    @property
    def seed(self) -> int: ...
    @property
    def key(self) -> int: ...
    @property
    def shared(self) -> Hashable: ...

    def content(self) -> tuple[Any, ...]:
        """Plain values: specs of equal content are the same problem. Seeds the draws of a budget."""

    def columns(self) -> dict[str, Any]:
        """The columns of a result row: `dataset`, `target`, `unit` ("" for none), and what identifies the problem."""


class Groups(NamedTuple):
    """Rows whose errors are summed by themselves, too, such as the frames of a video: `of` int32 [n], every row's
    group, and `names`.

    Where `batch` is above 0, RMSEs are also averaged over the sequential batches of so many rows of a split, as
    published code does.
    """

    of: np.ndarray
    names: tuple[str, ...]
    batch: int = 0


class Problem(NamedTuple):
    """inputs [n, D]; targets [n] or [n, t] in target units; splits: name -> row numbers int [m].

    The split "train" is trained on; all splits are evaluated, group by group, too, where there are `groups`. A row may
    be in several splits. `weights` [n] are factors of the losses of the training rows, beside those of a method.
    """

    inputs: np.ndarray
    targets: np.ndarray
    splits: dict[str, np.ndarray]
    groups: Groups | None = None
    weights: np.ndarray | None = None

    @property
    def train_targets(self) -> np.ndarray:
        """The targets [m] or [m, t] that are trained on."""
        return self.targets[self.splits["train"]]


class Source(NamedTuple):
    """Where problems come from.

    `specs(data)` lists those of a config's section `data` (without its key `source`) and raises ValueError for
    invalid settings; `ensure(specs, cache_dir, progress)` makes or fetches what `read` needs; `read(spec,
    cache_dir)` returns a problem; `scenarios` are the names that a config's section `scenario` may have;
    `predictors(spec, problem)` gives what else to compare the trainings with than the trivial predictors, by name (of
    `trivial.TRIVIAL_PREDICTORS`): predictions [n] of all rows.
    """

    specs: Callable[[Mapping[str, Any]], list[Any]]
    ensure: Callable[[Sequence[Any], str | os.PathLike, bool], None]
    read: Callable[[Any, str | os.PathLike], Problem]
    scenarios: tuple[str, ...] = ()
    predictors: Callable[[Any, Problem], dict[str, np.ndarray]] = lambda spec, problem: {}
