"""How much a target matters, and errors weighted by it: relevance phi (Torgo and Ribeiro 2007) and SERA. Needs no JAX.

    fitted = relevance(train_targets)
    sera(predictions, targets, phi(fitted, targets))

Relevance is fitted on training targets (recipes 2.27): a test set has no say in what matters in it.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from regcls_jax import binning
from regcls_jax.metrics.scalar import check_rows

EXTREMES = ("both", "low", "high")
# Of a box plot: how many interquartile ranges its fences are away from the quartiles.
REACH = 1.5


class Relevance(NamedTuple):
    """Control points of phi: increasing `points` [2 or 3] in target units, their relevance `values` in [0, 1]."""

    points: np.ndarray
    values: np.ndarray


def relevance(train_targets: npt.ArrayLike, *, extremes: str = "both", fences: bool = False) -> Relevance:
    """The box-plot relevance of training targets [n] (recipes 2.27): 0 at the median, 1 for what lies far from it.

    Args:
      train_targets: [n].
      extremes: which end matters, "low", "high" or "both"; the other one has relevance 0.
      fences: where 1 is reached. False: at the whiskers, the most extreme targets within 1.5 interquartile ranges of
        the quartiles, and only at an end beyond whose whisker some target lies (Python's packages). True: at the
        fences themselves, outliers or not (IRon, though with the fences of a plain box plot).

    Raises:
      ValueError: NaN, unknown `extremes`, no target beyond the whiskers asked for (phi would be 0 everywhere), or so
        many equal targets that the median is an extreme.
    """
    if extremes not in EXTREMES:
        raise ValueError(f"unknown extremes {extremes!r}; one of {', '.join(EXTREMES)}")
    targets = np.asarray(train_targets, np.float64)
    if targets.ndim != 1:
        raise ValueError(f"train_targets must be [n], got shape {targets.shape}; fit the dimensions one by one")
    targets = binning.check_targets(targets, "train_targets")
    first, median, third = np.quantile(targets, (0.25, 0.5, 0.75), method="midpoint")
    if not third > first:
        raise ValueError(f"train_targets: the quartiles are both {first:g}: a box plot tells no extremes apart")
    lower, upper = first - REACH * (third - first), third + REACH * (third - first)
    within = targets[(targets >= lower) & (targets <= upper)]
    # Point, and whether its relevance is 1: an end that does not matter is the extreme target, with relevance 0.
    low, high = (targets.min(), False), (targets.max(), False)
    if extremes != "high" and (fences or targets.min() < lower):
        low = (lower if fences else within.min(), True)
    if extremes != "low" and (fences or targets.max() > upper):
        high = (upper if fences else within.max(), True)
    if not (low[1] or high[1]):
        side = {"both": f"outside [{lower:g}, {upper:g}]", "low": f"below {lower:g}", "high": f"above {upper:g}"}
        raise ValueError(f"train_targets: none lies {side[extremes]}, so that none is extreme and phi would be 0")
    for point, extreme in (low, high):
        if extreme and point == median:
            raise ValueError(f"train_targets: the median {median:g} is a whisker, so it would be extreme; try fences")
    # An end at the median adds nothing: both have relevance 0.
    ends = [end for end in (low, high) if end[0] != median]
    points, values = zip(*sorted([*ends, (median, False)]), strict=True)
    return Relevance(np.array(points), np.array(values, np.float64))


def phi(fitted: Relevance, targets: npt.ArrayLike) -> np.ndarray:
    """The relevance in [0, 1] of `targets` [...]: cubic Hermite with slope 0 at the control points, constant beyond.

    Not SciPy's `PchipInterpolator`, which chooses other slopes at the ends. Raises ValueError for NaN.
    """
    targets = binning.check_targets(np.asarray(targets, np.float64))
    points, values = fitted
    place = np.clip(np.searchsorted(points, targets, side="right") - 1, 0, len(points) - 2)
    share = np.clip((targets - points[place]) / np.diff(points)[place], 0, 1)
    return values[place] + np.diff(values)[place] * share**2 * (3 - 2 * share)


def _squared(predictions: npt.ArrayLike, targets: npt.ArrayLike, phi: npt.ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    predictions, targets = check_rows(predictions, targets)
    phi = binning.check_targets(np.asarray(phi, np.float64), "phi")
    if targets.ndim != 1 or phi.shape != targets.shape:
        raise ValueError(f"predictions, targets and phi must be [n], got {targets.shape} and phi {phi.shape}")
    if np.any((phi < 0) | (phi > 1)):
        raise ValueError(f"phi must lie in [0, 1], got {phi.min():g} to {phi.max():g}")
    return np.square(predictions - targets), phi


def sera(predictions: npt.ArrayLike, targets: npt.ArrayLike, phi: npt.ArrayLike) -> float:
    """Squared error-relevance area: sum of phi * (p - y)^2 over rows [n], in squared target units (recipes 2.28).

    That is the exact integral of `ser` over its threshold (Ribeiro and Moniz 2020); packages approximate it on a grid.
    A sum grows with n: `sera_per_row` and `phi_weighted_mse` do not. Where phi is 0 an error costs nothing, so give
    the MSE beside it. Raises ValueError for NaN, shapes that differ, or a phi outside [0, 1].
    """
    squared, phi = _squared(predictions, targets, phi)
    return float(phi @ squared)


def sera_per_row(predictions: npt.ArrayLike, targets: npt.ArrayLike, phi: npt.ArrayLike) -> float:
    """`sera` / n, in squared target units."""
    return sera(predictions, targets, phi) / len(np.asarray(targets))


def phi_weighted_mse(predictions: npt.ArrayLike, targets: npt.ArrayLike, phi: npt.ArrayLike) -> float:
    """`sera` / sum of phi, in squared target units. Raises ValueError also where every phi is 0."""
    squared, phi = _squared(predictions, targets, phi)
    if not np.any(phi):
        raise ValueError("phi is 0 for every row: there is no error to weigh")
    return float(phi @ squared / phi.sum())


def ser(predictions: npt.ArrayLike, targets: npt.ArrayLike, phi: npt.ArrayLike, threshold: float) -> float:
    """SER(t): the sum of squared errors of the rows with phi >= `threshold`, in squared target units (recipes 2.28).

    Raises ValueError as `sera` does, and for a threshold outside [0, 1].
    """
    if not 0 <= threshold <= 1:
        raise ValueError(f"threshold must lie in [0, 1], got {threshold}")
    squared, phi = _squared(predictions, targets, phi)
    return float(squared[phi >= threshold].sum())
