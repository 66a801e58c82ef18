"""What the study engine trains on: one training split and the named splits that the trained model is evaluated on."""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

from regcls_jax.data.synthetic.generator import Dataset, Split
from regcls_jax.data.synthetic.spec import DataSpec


class Problem(NamedTuple):
    """A training split and evaluation splits by name; inputs [n, D], targets [n] in target units."""

    train: Split
    evals: dict[str, Split]


def synthetic_problem(spec: DataSpec, read: Callable[[DataSpec], Dataset]) -> Problem:
    """The 1-D problem of `spec`: trained on its training set, tested on the test set of the *uniform* sampling.

    `val` follows the sampling under study, `val_balanced` is the validation set of the uniform sampling of the same
    scenario, function and repetition: the two ways of choosing a hyperparameter.
    """
    own, uniform = read(spec), read(uniform_spec(spec))
    evals = {"train": own.train, "val": own.val, "val_balanced": uniform.val, "test": uniform.test}
    return Problem(own.train, evals)


def uniform_spec(spec: DataSpec) -> DataSpec:
    """The uniform sampling of the same scenario, function and repetition."""
    return dataclasses.replace(spec, sampling="uniform")
