"""What every model of the project returns."""

from typing import NamedTuple

from jax import Array


class Prediction(NamedTuple):
    """value [...] in target units, logits [..., classes] (None without a class head), features [..., F]."""

    value: Array
    logits: Array | None
    features: Array
