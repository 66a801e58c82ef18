"""Ordinal entropy (Zhang et al. 2023, recipes 2.13): features of distant targets are driven apart."""

import jax.numpy as jnp
import numpy.typing as npt
from jax import Array

from regcls_jax.losses.pairs import (
    compared_rows,
    kept_pairs,
    normalised,
    safe_root,
    squared_distances,
    target_distances,
)


def ordinal_entropy(features: npt.ArrayLike, targets: npt.ArrayLike, *, mask: npt.ArrayLike | None = None) -> Array:
    """The diversity term of ordinal entropy for features [B, F] and targets [B], [B]; its mean is the published loss.

    L = -mean over pairs i < j of w_ij |p_i - p_j|, with p the features divided by their norm (the gradient goes
    through it) and w_ij = (|y_i - y_j| - least) / greatest, least and greatest over the pairs: from 0 to 1, without
    units. The released training loop compares 10 random examples of a batch; this compares all kept rows. The value
    of row i is half of what its pairs contribute, times the number of kept rows, and so L is the mean over these. It is
    0 if all targets are equal, and for two rows, whose only pair is also the least distant.

    `mask` [B] is False for rows that only pad the batch: they are in no pair, and their value is 0. The values are in
    float32 (float64 for such features). Memory grows with B * B. Raises ValueError for shapes that do not fit, features
    that are not floating point, or a batch of one.
    """
    rows = compared_rows(features, targets, mask)
    pairs, apart = kept_pairs(rows.kept), target_distances(rows.targets)
    greatest = jnp.max(jnp.where(pairs, apart, 0))
    least = jnp.min(jnp.where(pairs, apart, jnp.inf))
    # Where there is no pair, least is infinite: keep it out of the difference.
    weights = jnp.where(pairs & (greatest > 0), apart - jnp.where(greatest > 0, least, 0), 0)
    weights = weights / jnp.where(greatest > 0, greatest, 1)
    distances = safe_root(squared_distances(normalised(rows.features), rows.kept))
    return -jnp.sum(weights * distances, axis=1) / jnp.maximum(rows.number - 1, 1)
