"""Evaluation as masked sums (add them over batches, divide last) and the trivial predictors."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array

TRIVIAL_PREDICTORS = ("constant", "median")


class ErrorSums(NamedTuple):
    """Sums over evaluated samples: squared error, absolute error (target units), number of samples."""

    squared: Array
    absolute: Array
    count: Array


def error_sums(predictions: Array, targets: Array, mask: Array) -> ErrorSums:
    """Sums over the last axis, [..., n] -> [...], of the samples where `mask` is True; the rest may hold anything."""
    error = jnp.where(mask, predictions - targets, 0)
    return ErrorSums(
        jnp.sum(jnp.square(error), -1),
        jnp.sum(jnp.abs(error), -1),
        jnp.sum(mask, -1),
    )


def trivial_predictors(train_targets: np.ndarray) -> dict[str, float]:
    """What every model has to beat: mean (best constant for MSE) and median (for MAE) of training targets [n]."""
    return dict(zip(TRIVIAL_PREDICTORS, (float(np.mean(train_targets)), float(np.median(train_targets))), strict=True))
