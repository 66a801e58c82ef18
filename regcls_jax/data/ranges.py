"""Ranges of the target, and which of them have many, medium or few training rows: what errors are summed by."""

import numpy as np

from regcls_jax import binning
from regcls_jax.metrics.shots import SHOTS

# So many ranges, of equal width between these quantiles of the training targets; what lies beyond belongs to the
# outermost.
RANGES, QUANTILES = 20, (0.01, 0.99)
# A range with fewer training rows than this share of an equal part is "few", with more than the other "many".
FEW, MANY = 0.5, 1.5


def ranges(targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The edges [K + 1] of the ranges of training targets [n], and the shot group [K] of each, as places in SHOTS.

    Of at most RANGES different values every one has its range, else there are RANGES of equal width. An even share is
    that of the ranges which have any row. Raises ValueError where all targets are equal.
    """
    values = np.unique(np.asarray(targets, np.float64))
    if len(values) < 2:
        raise ValueError(f"all targets are {values[0]:g}")
    if len(values) <= RANGES:
        edges = np.concatenate([values[:1], (values[:-1] + values[1:]) / 2, values[-1:]])
    else:
        low, high = np.quantile(targets, QUANTILES)
        low, high = (low, high) if low < high else (values[0], values[-1])
        edges = binning.uniform_edges(float(low), float(high), RANGES)
    counts = np.bincount(binning.assign(targets, edges), minlength=len(edges) - 1)
    share = counts * np.count_nonzero(counts) / len(targets)
    few, many = share < FEW, share > MANY
    return edges, np.select([many, few], [SHOTS.index("many"), SHOTS.index("few")], SHOTS.index("medium"))


def range_names(groups: np.ndarray) -> tuple[str, ...]:
    """Names of ranges, such as "07 few", of their shot groups [K]."""
    return tuple(f"{place:02d} {SHOTS[group]}" for place, group in enumerate(groups))
