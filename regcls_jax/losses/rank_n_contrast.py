"""Rank-N-Contrast (Zha et al. 2023, recipes 2.18): features are as far from each other as the targets rank them."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy.typing as npt
from jax import Array, lax
from jax.typing import ArrayLike

from regcls_jax.losses.pairs import (
    compared_rows,
    kept_pairs,
    kept_rows,
    safe_root,
    squared_distances,
    target_distances,
    target_rows,
)


def rank_n_contrast(
    features: npt.ArrayLike,
    targets: npt.ArrayLike,
    *,
    temperature: ArrayLike = 2.0,
    mask: npt.ArrayLike | None = None,
) -> Array:
    """Rank-N-Contrast of features [B, F] and targets [B] or [B, T], [B] in nats; its mean is the published loss.

    The value of row i is the mean over the other rows j of log(sum_k exp(s_ik)) - s_ij, where k are the rows at least
    as far from i as j is (j and all rows tied with it among them), by the distance of the targets, summed over their
    dimensions (scale them first). s = -|z_i - z_j| / `temperature` (> 0, may be traced), of features as they are, not
    normalised. Equal features have no gradient through their distance. Two views of every example, as published, are
    simply twice as many rows.

    Distances that differ by no more than the rounding of the targets are ties. Values of batches with different ties
    do not compare: subtract `rank_n_contrast_bound`.

    `mask` [B] is False for rows that only pad the batch: they are in no sum, and their value is 0. The values are in
    float32 (float64 for such features). Time grows with B^2 log B and memory with a few B^2: each row is sorted by
    distance, and a running log-sum-exp read where its ties end. Raises ValueError for shapes that do not fit, features
    that are not floating point, or a batch of one.
    """
    rows = compared_rows(features, targets, mask, vectors=True)
    levels = _levels(rows.targets, rows.kept)
    similarities = -safe_root(squared_distances(rows.features, rows.kept)) / temperature
    sums = _sums(jnp.take_along_axis(similarities, levels.order, axis=1), levels.sizes)
    own = jnp.sum(jnp.where(kept_pairs(rows.kept), similarities, 0), axis=1)
    return jnp.where(rows.kept, (sums - own) / jnp.maximum(rows.number - 1, 1), 0)


def rank_n_contrast_bound(targets: npt.ArrayLike, mask: npt.ArrayLike | None = None) -> Array:
    """The lower bound L* of the mean of `rank_n_contrast` for targets [B] or [B, T], [] in nats.

    The mean over the rows i and the other rows j of log c, where c rows have the distance of j from i. Features that
    are ordered and well separated reach it; if all targets are equal, it is log(B - 1), and the loss only makes the
    features equidistant. `mask` as in `rank_n_contrast`; 0 if fewer than two rows are kept. Raises ValueError for
    shapes that do not fit.
    """
    targets = jnp.asarray(targets)
    if targets.ndim == 0:
        raise ValueError("targets must be [B] or [B, T], got ()")
    kept = kept_rows(mask, len(targets))
    targets = target_rows(targets, kept, vectors=True)
    sizes, count = _levels(targets, kept).sizes, jnp.sum(kept, dtype=targets.dtype)
    return jnp.sum(jax.scipy.special.xlogy(sizes, sizes)) / jnp.maximum(count * (count - 1), 1)


class _Levels(NamedTuple):
    """The other rows of each row, by their distance."""

    order: Array  # int [B, B], the rows by descending distance; those that do not count, and the row itself, are last
    sizes: Array  # float [B, B], in that order: at the last row of a level how many rows it has, elsewhere 0


def _levels(targets: Array, kept: Array) -> _Levels:
    keys = jnp.where(kept_pairs(kept), -target_distances(targets), jnp.inf)
    order = jnp.argsort(keys, axis=1)
    keys = jnp.take_along_axis(keys, order, axis=1)
    # Neighbours in the order are compared, not rounded distances, because two almost equal numbers may be rounded
    # apart. |y_i| + |y_j| is at most 2 |y_i| + d_ij, and each rounding error is a fraction of that.
    lengths = jnp.abs(targets) if targets.ndim == 1 else jnp.sum(jnp.abs(targets), axis=1)
    real = jnp.isfinite(keys)
    rounding = 4 * jnp.finfo(targets.dtype).eps * (2 * lengths[:, None] - jnp.where(real, keys, 0))
    following = jnp.pad(keys[:, 1:], ((0, 0), (0, 1)), constant_values=jnp.inf)
    ends = real & (following - keys > rounding)
    places = lax.broadcasted_iota(jnp.int32, keys.shape, 1)
    last = lax.cummax(jnp.where(ends, places, -1), axis=1)
    previous = jnp.pad(last[:, :-1], ((0, 0), (1, 0)), constant_values=-1)
    return _Levels(order, jnp.where(ends, places - previous, 0).astype(targets.dtype))


def _running(scores: Array, *, reverse: bool = False) -> Array:
    """log(sum(exp)) of all scores [B, C] of a row up to each one (`reverse`: from it on), [B, C].

    Unlike a cumulative sum of exponentials it does not underflow, however far apart the scores are.
    """
    columns = scores.shape[1]
    if reverse:
        return jnp.flip(_running(jnp.flip(scores, axis=1)), axis=1)

    def double(step: Array | int, sums: Array) -> Array:
        # From sums of 2^step scores to sums of twice as many. A loop compiles in a fraction of associative_scan's time.
        padded = jnp.pad(sums, ((0, 0), (columns, 0)), constant_values=-jnp.inf)
        return jnp.logaddexp(sums, lax.dynamic_slice_in_dim(padded, columns - (1 << step), columns, axis=1))

    return lax.fori_loop(0, (columns - 1).bit_length(), double, scores)


@jax.custom_vjp
def _sums(scores: Array, sizes: Array) -> Array:
    """The sum over the others of a row of the log-sum-exp at the end of their level, from `_Levels`, [B, B] -> [B].

    All rows of a level have that of its end, so none needs to look it up. The backward pass needs one more running
    log-sum-exp, and no intermediate results of the first.
    """
    return jnp.sum(sizes * _running(scores), axis=1)


def _sums_forward(scores: Array, sizes: Array) -> tuple[Array, tuple[Array, Array, Array]]:
    running = _running(scores)
    return jnp.sum(sizes * running, axis=1), (scores, sizes, running)


def _sums_backward(kept: tuple[Array, Array, Array], cotangent: Array) -> tuple[Array, Array]:
    """The sum over the levels that contain score k of size * exp(score k - log-sum-exp of the level)."""
    scores, sizes, running = kept
    logs = jnp.where(sizes > 0, jnp.log(jnp.maximum(sizes, 1)) - running, -jnp.inf)
    return cotangent[:, None] * jnp.exp(scores + _running(logs, reverse=True)), jnp.zeros_like(sizes)


_sums.defvjp(_sums_forward, _sums_backward)
