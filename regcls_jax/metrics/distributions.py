"""How good predicted distributions are: CRPS, likelihood, coverage, calibration, sparsification. Needs no JAX.

Two kinds: class probabilities [n, C] over edges [C + 1], whose density is even within a class (as in
`estimator.Distribution`), and a mean and a standard deviation [n]. The negative log-likelihood of a normal one is
`losses.gaussian_nll`.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from regcls_jax import binning
from regcls_jax.checks import check_integer, check_share

LEVELS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
AUSE_SCALES = ("gap", "error")
# How far probabilities may be from a sum of 1: those of a float32 softmax, or their mean over networks, are closer.
SLACK = 1e-4


def _check(
    probabilities: npt.ArrayLike, edges: npt.ArrayLike, targets: npt.ArrayLike
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """All as float64, probabilities [n, C] with a sum of exactly 1, edges [C + 1], targets [n]."""
    probabilities, targets = np.asarray(probabilities, np.float64), np.asarray(targets, np.float64)
    edges = binning.check_edges(edges)
    if targets.ndim != 1 or edges.ndim != 1 or probabilities.shape != (len(targets), len(edges) - 1):
        raise ValueError(
            f"probabilities {probabilities.shape}, edges {edges.shape} and targets {targets.shape} must be "
            "[n, C], [C + 1] and [n]"
        )
    binning.check_targets(probabilities, "probabilities")
    binning.check_targets(targets)
    sums = probabilities.sum(1)
    wrong = np.flatnonzero((np.abs(sums - 1) > SLACK) | np.any(probabilities < 0, 1))
    if len(wrong):
        raise ValueError(
            f"probabilities: row {wrong[0]} is no distribution: sum {sums[wrong[0]]:g}, least "
            f"{probabilities[wrong[0]].min():g}"
        )
    return probabilities / sums[:, None], edges, targets


def _below(probabilities: np.ndarray) -> np.ndarray:
    """The distribution function at the edges, [n, C] -> [n, C + 1]; at most 1 in spite of rounding."""
    below = np.minimum(np.cumsum(probabilities, 1), 1)
    below[:, -1] = 1
    return np.pad(below, ((0, 0), (1, 0)))


def cdf(probabilities: npt.ArrayLike, edges: npt.ArrayLike, targets: npt.ArrayLike) -> np.ndarray:
    """The probability [n] below each target (its PIT), from class probabilities [n, C] over edges [C + 1].

    0 below the edges and 1 above them. Raises ValueError for NaN, rows that are no distribution, or wrong shapes.
    """
    probabilities, edges, targets = _check(probabilities, edges, targets)
    place = np.clip(np.searchsorted(edges, targets, side="right") - 1, 0, len(edges) - 2)
    share = np.clip((targets - edges[place]) / np.diff(edges)[place], 0, 1)
    rows = np.arange(len(targets))
    below = _below(probabilities)
    return below[rows, place] * (1 - share) + below[rows, place + 1] * share


def crps(probabilities: npt.ArrayLike, edges: npt.ArrayLike, targets: npt.ArrayLike) -> np.ndarray:
    """The continuous ranked probability score [n] of class probabilities [n, C] over edges [C + 1], in target units.

    The exact integral of (F(z) - 1[z >= y])^2, whose F is linear within a class: where it goes from u to v on a
    length L, F^2 has the integral L (u^2 + u v + v^2) / 3. A target beyond the edges adds its distance from them.
    The score of a point is the absolute error. Raises as `cdf` does.
    """
    probabilities, edges, targets = _check(probabilities, edges, targets)
    below = _below(probabilities)
    left, right = below[:, :-1], below[:, 1:]
    # Where the target splits each class: at one of its ends, except in the target's own.
    split = np.clip(targets[:, None], edges[:-1], edges[1:])
    share = (split - edges[:-1]) / np.diff(edges)
    middle = left * (1 - share) + right * share

    def area(start: np.ndarray, stop: np.ndarray, length: np.ndarray) -> np.ndarray:
        return (length * (start**2 + start * stop + stop**2) / 3).sum(1)

    inside = area(left, middle, split - edges[:-1]) + area(1 - middle, 1 - right, edges[1:] - split)
    return inside + np.maximum(edges[0] - targets, 0) + np.maximum(targets - edges[-1], 0)


def nll(probabilities: npt.ArrayLike, edges: npt.ArrayLike, targets: npt.ArrayLike) -> np.ndarray:
    """-log density [n] of class probabilities [n, C] over edges [C + 1]: -log(p_k / width_k), k the target's class.

    In nats, for densities per target unit: it compares classes of any number and width. inf beyond the edges and in
    classes of probability 0. A target's class is that of `binning.assign`. Raises as `cdf` does.
    """
    probabilities, edges, targets = _check(probabilities, edges, targets)
    labels = binning.assign(targets, edges)
    # In float32, as classes are assigned: the largest training target is on the last edge, not beyond it.
    rounded, ends = targets.astype(np.float32), edges[[0, -1]].astype(np.float32)
    density = probabilities[np.arange(len(targets)), labels] / np.diff(edges)[labels]
    density = np.where((rounded < ends[0]) | (rounded > ends[1]), 0, density)
    with np.errstate(divide="ignore"):
        return -np.log(density)


def coverage(probabilities: npt.ArrayLike, edges: npt.ArrayLike, targets: npt.ArrayLike, level: float) -> float:
    """The share of targets [n] in the central interval of probability `level`, from quantile (1 - level) / 2 on.

    Raises ValueError as `cdf` does, and for a level that is not between 0 and 1.
    """
    check_share("level", level)
    return float(_covered(cdf(probabilities, edges, targets), level))


def _covered(reached: np.ndarray, level: float) -> np.floating:
    # Between the two quantiles where the distribution function is between their shares.
    return np.mean(np.abs(reached - 0.5) <= level / 2)


def calibration_error(
    probabilities: npt.ArrayLike, edges: npt.ArrayLike, targets: npt.ArrayLike, levels: Sequence[float] = LEVELS
) -> float:
    """The mean over `levels` of |coverage - level|, in [0, 1]; 0 where every interval holds what it promises.

    Raises ValueError as `coverage` does, and for no levels.
    """
    if not len(levels):
        raise ValueError("calibration_error needs at least one level")
    for level in levels:
        check_share("level", level)
    reached = cdf(probabilities, edges, targets)
    return float(np.mean([abs(_covered(reached, level) - level) for level in levels]))


def _check_std(mean: npt.ArrayLike, std: npt.ArrayLike, targets: npt.ArrayLike) -> tuple[np.ndarray, ...]:
    named = {"mean": mean, "std": std, "targets": targets}
    arrays = {name: binning.check_targets(np.asarray(values, np.float64), name) for name, values in named.items()}
    shapes = {values.shape for values in arrays.values()}
    if len(shapes) > 1:
        raise ValueError(f"mean, std and targets must have one shape, got {', '.join(map(str, sorted(shapes)))}")
    _check_positive("std", arrays["std"])
    return arrays["mean"], arrays["std"], arrays["targets"]


def _check_positive(name: str, values: np.ndarray) -> None:
    if not np.all(values > 0):
        raise ValueError(f"{name} must be positive, got {values.min():g} at row {int(np.argmin(values))}")


def crps_gaussian(mean: npt.ArrayLike, std: npt.ArrayLike, targets: npt.ArrayLike) -> np.ndarray:
    """The CRPS [...] of normal distributions with `mean` and `std` [...], in target units (Gneiting and Raftery 2007).

    std (z (2 Phi(z) - 1) + 2 phi(z) - 1 / sqrt(pi)) with z = (y - mean) / std. Raises ValueError for NaN, shapes that
    differ, or a std that is not positive.
    """
    from scipy.special import ndtr

    mean, std, targets = _check_std(mean, std, targets)
    z = (targets - mean) / std
    density = np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi)
    return std * (z * (2 * ndtr(z) - 1) + 2 * density - 1 / np.sqrt(np.pi))


def crps_laplace(mean: npt.ArrayLike, std: npt.ArrayLike, targets: npt.ArrayLike) -> np.ndarray:
    """The CRPS [...] of Laplace distributions, |e| + b exp(-|e| / b) - 3 b / 4 with b = std / sqrt 2.

    Otherwise as `crps_gaussian`.
    """
    mean, std, targets = _check_std(mean, std, targets)
    scale, error = std / np.sqrt(2), np.abs(targets - mean)
    return error + scale * np.exp(-error / scale) - 0.75 * scale


def laplace_nll(mean: npt.ArrayLike, std: npt.ArrayLike, targets: npt.ArrayLike) -> np.ndarray:
    """-log density [...] of Laplace distributions, log(2 b) + |e| / b with b = std / sqrt 2 (recipes 2.33), in nats.

    Raises as `crps_gaussian` does.
    """
    mean, std, targets = _check_std(mean, std, targets)
    scale = std / np.sqrt(2)
    return np.log(2 * scale) + np.abs(targets - mean) / scale


def _check_errors(errors: npt.ArrayLike, other: npt.ArrayLike, name: str) -> tuple[np.ndarray, np.ndarray]:
    sizes = np.abs(binning.check_targets(np.asarray(errors, np.float64), "errors"))
    beside = binning.check_targets(np.asarray(other, np.float64), name)
    if sizes.ndim != 1 or sizes.shape != beside.shape:
        raise ValueError(f"errors {sizes.shape} and {name} {beside.shape} must both be [n]")
    return sizes, beside


def uce(errors: npt.ArrayLike, std: npt.ArrayLike, bins: int = 10) -> float:
    """Uncertainty calibration error (recipes 2.33): sum over bins of std of n/N |mean |error| - mean std|.

    `errors` [n] of either sign and `std` [n] in target units, `bins` equally wide ones over the range of std. It is
    not 0 for a perfect model: the mean |error| is std / sqrt 2 of a Laplace, std sqrt(2 / pi) of a normal one.
    Raises ValueError for NaN, shapes that differ, a std that is not positive, or no bins.
    """
    check_integer("bins", bins, 1)
    errors, std = _check_errors(errors, std, "std")
    _check_positive("std", std)
    edges = np.linspace(std.min(), std.max(), bins + 1)
    labels = np.clip(np.searchsorted(edges, std, side="right") - 1, 0, bins - 1)
    # n/N |mean error - mean std| of a bin is |sum of the differences| / N.
    return float(np.abs(np.bincount(labels, errors - std)).sum() / len(std))


def _sparsified(errors: np.ndarray, uncertainty: np.ndarray) -> np.ndarray:
    """The mean error [n - 1] of what is left after the 1, 2, ..., n - 1 most uncertain of n rows are gone."""
    _, level, counts = np.unique(uncertainty, return_inverse=True, return_counts=True)
    # Rows of equal uncertainty leave in any order: each counts as their mean, what one expects of a random order.
    expected = (np.bincount(level, errors) / counts)[level]
    rising = np.cumsum(expected[np.argsort(uncertainty, kind="stable")])
    return (rising / np.arange(1, len(errors) + 1))[-2::-1]


def ause(errors: npt.ArrayLike, uncertainty: npt.ArrayLike, scale: str = "gap") -> float:
    """Area under the sparsification error (recipes 2.34): how much worse than the errors the uncertainty sorts rows.

    The mean |error| of the rest falls as the most uncertain rows are removed one by one; the curve of removal by the
    error itself is the best one. The area between the two over the removed share, [0, 1].

    Args:
      errors: [n], n >= 3, of either sign.
      uncertainty: [n], such as std or variance: only its order counts.
      scale: by what the gap between the curves is divided: "gap", its maximum, as in the published code of VIR, or
        "error", the mean |error|. The former has the same area for a small gap as for a large one of the same form:
        compare models by the latter.

    Returns:
      0 where the uncertainty has the order of the errors.

    Raises:
      ValueError: NaN, shapes that differ, an unknown scale, or fewer than 3 rows.
    """
    if scale not in AUSE_SCALES:
        raise ValueError(f"unknown scale {scale!r}; one of {', '.join(AUSE_SCALES)}")
    errors, uncertainty = _check_errors(errors, uncertainty, "uncertainty")
    if len(errors) < 3:
        raise ValueError(f"a sparsification curve needs at least 3 rows, got {len(errors)}")
    gap = np.abs(_sparsified(errors, uncertainty) - _sparsified(errors, errors))
    # Sums in another order differ by rounding, which the division by the largest gap would blow up.
    if gap.max() <= 1e-12 * errors.max():
        return 0.0
    area = np.trapezoid(gap, dx=1 / (len(gap) - 1))
    return float(area / (gap.max() if scale == "gap" else errors.mean()))
