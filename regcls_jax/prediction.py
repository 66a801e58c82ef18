"""What every model of the project returns."""

from typing import NamedTuple

from jax import Array


class Prediction(NamedTuple):
    """value [...] or [..., t] in target units, logits [..., classes], features [..., F]; None where there is none."""

    value: Array
    logits: Array | None = None
    features: Array | None = None
