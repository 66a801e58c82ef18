"""Evaluation as masked sums (add them over batches, divide last) and the trivial predictors."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array

from regcls_jax import binning

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


def oracle_bin(targets: np.ndarray, edges: np.ndarray, train_targets: np.ndarray) -> np.ndarray:
    """What perfect classification over `edges` [C + 1] leaves: the value of the bin of each target, [...] -> [...].

    That value is the mean of the `train_targets` [n] in the bin, the best constant for MSE, or the centre of a bin
    that holds none. Targets outside the edges belong to the outermost bin (`binning.assign`).
    """
    edges = np.asarray(edges, np.float64)
    train_targets = binning.check_targets(train_targets, "train_targets")
    labels = binning.assign(train_targets.ravel(), edges)
    sums, counts = (np.bincount(labels, weights, len(edges) - 1) for weights in (train_targets.ravel(), None))
    centres = (edges[:-1] + edges[1:]) / 2
    values = np.divide(sums, counts, out=centres, where=counts > 0)
    return values[binning.assign(binning.check_targets(targets), edges)]
