"""Correlations, signed errors and errors balanced over the bins of the target, of whole test sets. Needs no JAX.

Predictions and targets are [n], or [n, T] for vectors, whose dimensions are measured one by one.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from regcls_jax import binning


class BalancedErrors(NamedTuple):
    """Means over the bins that have rows, each bin counting the same; floats, or [T] for vectors.

    `mae` and `rmse` (the root of the mean of the bins' mean squared errors) and `signed` (prediction minus target) in
    target units; `bins`, how many have rows.
    """

    mae: float | np.ndarray
    rmse: float | np.ndarray
    signed: float | np.ndarray
    bins: int | np.ndarray


def check_rows(predictions: npt.ArrayLike, targets: npt.ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Both as float64 arrays [n] or [n, T]. Raises ValueError for another or a different shape, no rows, NaN or inf."""
    predictions, targets = np.asarray(predictions, np.float64), np.asarray(targets, np.float64)
    if predictions.shape != targets.shape or targets.ndim not in (1, 2):
        raise ValueError(
            f"predictions {predictions.shape} and targets {targets.shape} must have one shape, [n] or [n, T]"
        )
    return binning.check_targets(predictions, "predictions"), binning.check_targets(targets)


def _by_dimension(
    function: Callable[[np.ndarray, np.ndarray], float], predictions: npt.ArrayLike, targets: npt.ArrayLike
) -> float | np.ndarray:
    predictions, targets = check_rows(predictions, targets)
    if len(targets) < 2:
        raise ValueError("a correlation needs at least 2 rows, got 1")
    if targets.ndim == 1:
        return function(predictions, targets)
    return np.array([function(p, y) for p, y in zip(predictions.T, targets.T, strict=True)])


def _constant(values: np.ndarray) -> bool:
    # What only rounding tells apart is one value: its correlation would be one of rounding errors.
    return bool(np.ptp(values) <= 1e-13 * np.abs(values).max())


def _pearson(predictions: np.ndarray, targets: np.ndarray) -> float:
    from scipy import stats

    if _constant(predictions) or _constant(targets):
        return float("nan")
    return float(stats.pearsonr(predictions, targets).statistic)


def _spearman(predictions: np.ndarray, targets: np.ndarray) -> float:
    from scipy import stats

    return _pearson(stats.rankdata(predictions), stats.rankdata(targets))


def pearson(predictions: npt.ArrayLike, targets: npt.ArrayLike) -> float | np.ndarray:
    """Pearson's correlation of predictions and targets [n], or [T] of those of vectors [n, T].

    NaN where either is constant: a constant predictor has no correlation, and NaN can neither win a comparison nor
    enter a mean unnoticed. Raises ValueError for NaN in the input, shapes that differ, or fewer than 2 rows.
    """
    return _by_dimension(_pearson, predictions, targets)


def spearman(predictions: npt.ArrayLike, targets: npt.ArrayLike) -> float | np.ndarray:
    """Spearman's rank correlation, ties at their mean rank; otherwise as `pearson`."""
    return _by_dimension(_spearman, predictions, targets)


def signed_error(predictions: npt.ArrayLike, targets: npt.ArrayLike) -> float | np.ndarray:
    """The mean of prediction minus target: above 0 where predictions are too high; a float, or [T] for [n, T].

    Rare targets are pulled towards frequent ones: read it by bin or by shots (recipes 2.22). Raises ValueError for NaN
    or shapes that differ.
    """
    predictions, targets = check_rows(predictions, targets)
    mean = np.mean(predictions - targets, 0)
    return float(mean) if targets.ndim == 1 else mean


def _balanced(predictions: np.ndarray, targets: np.ndarray, edges: np.ndarray) -> BalancedErrors:
    labels = binning.assign(targets, edges)
    counts = np.bincount(labels)
    present = counts > 0
    error = predictions - targets
    means = [np.bincount(labels, term)[present] / counts[present] for term in (np.abs(error), error**2, error)]
    mae, mse, signed = (float(mean.mean()) for mean in means)
    return BalancedErrors(mae, mse**0.5, signed, int(present.sum()))


def balanced_errors(predictions: npt.ArrayLike, targets: npt.ArrayLike, edges: npt.ArrayLike) -> BalancedErrors:
    """Errors with the same weight for every bin of the target that has rows (bMAE; Yang et al. 2021, Ren et al. 2022).

    Args:
      predictions: [n], or [n, T].
      targets: as `predictions`; one beyond the edges counts in the outermost bin (`binning.assign`).
      edges: [C + 1], in target units; for vectors those of every dimension [T, C + 1], or [C + 1] for all.

    Raises:
      ValueError: NaN, shapes that differ, or edges that do not increase.
    """
    predictions, targets = check_rows(predictions, targets)
    edges = binning.check_edges(edges)
    if targets.ndim == 1:
        if edges.ndim != 1:
            raise ValueError(f"targets [n] need edges [C + 1], got shape {edges.shape}")
        return _balanced(predictions, targets, edges)
    if edges.ndim == 2 and len(edges) != targets.shape[1]:
        raise ValueError(f"targets of {targets.shape[1]} dimensions need as many edges, got {len(edges)}")
    each = np.broadcast_to(edges, (targets.shape[1], edges.shape[-1]))
    found = [_balanced(p, y, own) for p, y, own in zip(predictions.T, targets.T, each, strict=True)]
    return BalancedErrors(*(np.array(values) for values in zip(*found, strict=True)))
