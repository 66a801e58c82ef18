"""Losses added to the regression loss; they see the whole prediction: value, logits and features."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from regcls_jax.losses.classification import cross_entropy, membership_error, memberships
from regcls_jax.prediction import Prediction


class Given(NamedTuple):
    """What an auxiliary loss is given besides the prediction."""

    targets: Array  # [...] in target units
    labels: Array | None = None  # int [...], the classes of the targets
    edges: Array | None = None  # [C + 1], of the classes, in target units
    classes: Array | int | None = None  # how many of the logits are real (may be traced); None: all
    axis: int = -1  # of the classes in the logits, and of the features
    mask: Array | None = None  # bool [...], the examples that count, for losses that compare examples; None: all


Auxiliary = Callable[[Prediction, Given], Array]


def _logits(prediction: Prediction) -> Array:
    if prediction.logits is None:
        raise ValueError("this auxiliary loss needs a prediction with logits")
    return prediction.logits


def classification(prediction: Prediction, given: Given) -> Array:
    """The cross-entropy of the class head (Eq. 4), [...] in nats: `losses.cross_entropy`."""
    if given.labels is None:
        raise ValueError("the classification loss needs labels")
    return cross_entropy(_logits(prediction), given.labels, classes=given.classes, axis=given.axis)


def membership(prediction: Prediction, given: Given, *, sigma: Array | float) -> Array:
    """The class head *regresses* soft memberships of width `sigma` (target units), [...]: `losses.membership_error`.

    A control: does reg+cls gain from a second task on the same features, or from classification?
    """
    if given.edges is None:
        raise ValueError("the membership loss needs the edges of the classes")
    logits = _logits(prediction)
    soft = memberships(given.targets, jnp.asarray(given.edges), sigma)
    soft = jnp.moveaxis(soft, -1, given.axis)
    if given.classes is not None:
        real = jax.lax.broadcasted_iota(jnp.int32, logits.shape, given.axis % logits.ndim) < given.classes
        logits, soft = jnp.where(real, logits, 0), jnp.where(real, soft, 0)
    return membership_error(logits, soft, axis=given.axis)
