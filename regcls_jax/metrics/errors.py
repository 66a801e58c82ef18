"""Evaluation as masked sums: add them over batches, divide last."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
from jax import Array


class ErrorSums(NamedTuple):
    """Sums over evaluated samples: squared error, absolute error (target units), number of samples."""

    squared: Array | np.ndarray
    absolute: Array | np.ndarray
    count: Array | np.ndarray  # type: ignore[assignment]  # hides tuple.count


def error_sums(predictions: npt.ArrayLike, targets: npt.ArrayLike, mask: npt.ArrayLike) -> ErrorSums:
    """Sums over the samples where `mask` [n] is True; predictions and targets [n] or [n, t].

    Errors of vectors are averaged over their components. Masked-out entries may hold anything.
    """
    predictions, targets, mask = map(jnp.asarray, (predictions, targets, mask))
    real = mask if targets.ndim == mask.ndim else mask[..., None]
    error = jnp.where(real, predictions - targets, 0)
    squared, absolute = jnp.square(error), jnp.abs(error)
    if targets.ndim > mask.ndim:
        squared, absolute = squared.mean(-1), absolute.mean(-1)
    return ErrorSums(jnp.sum(squared, -1), jnp.sum(absolute, -1), jnp.sum(mask, -1))
