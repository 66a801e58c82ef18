"""RankSim (Gong et al. 2022, recipes 2.5): neighbours in feature space are ranked as the targets rank them."""

import jax
import jax.numpy as jnp
import numpy.typing as npt
from jax import Array, lax
from jax.typing import ArrayLike

from regcls_jax.losses.pairs import compared_rows, first_of_each, normalised, products, target_distances


def ranksim(
    features: npt.ArrayLike,
    targets: npt.ArrayLike,
    *,
    strength: ArrayLike = 2.0,
    key: Array | None = None,
    mask: npt.ArrayLike | None = None,
) -> Array:
    """RankSim of features [B, F] and targets [B], [B]: how differently features and targets rank the other examples.

    Of each distinct target one row is used, M in all. For each of these rows i, the M rows are ranked by their cosine
    similarity with i and by -|y_i - y_j|, both largest first and divided by M; the loss of i is the mean over j of the
    squared difference. The published loss is the *sum* over the rows i, so the values here are those of the rows times
    the number of kept rows: their mean over the kept rows is that sum. A row that is not used has value 0.

    The used row of a target is its first; with a `key` one drawn at random, as in the published code. Equal
    similarities (or distances) are ranked as by the sort there: the later row comes first.

    Ranks have no useful derivative; as published, their backward pass moves the similarities S by `strength` > 0 (may
    be traced) times the incoming gradient g and gives -(rank(S) - rank(S + strength g)) / (strength + 1e-8). This is
    not linear in g: a coefficient of the loss (published: 100 for ages, 3e-4 for STS-B scores) changes the direction
    of the gradient, not only its size.

    `mask` [B] is False for rows that only pad the batch: they are in no rank, and their value is 0. The values are in
    float32 (float64 for such features). Memory grows with B * B. Raises ValueError for shapes that do not fit, features
    that are not floating point, or a batch of one.
    """
    rows = compared_rows(features, targets, mask)
    chosen = first_of_each(rows.targets, rows.kept, key)
    strength = jnp.asarray(strength, rows.features.dtype)
    found = _ranks(products(normalised(rows.features)), strength, chosen)
    wanted = _descending(-target_distances(rows.targets), chosen).astype(found.dtype)
    # Divided by M after the difference, so that equal ranks cost exactly 0 and have no gradient.
    losses = jnp.sum(jnp.square(found - wanted), axis=1) / _number(chosen, found) ** 3
    return jnp.where(chosen, losses * rows.number, 0)


def _number(chosen: Array, like: Array) -> Array:
    """M, or 1 if nothing is chosen, in the dtype of `like`."""
    return jnp.maximum(jnp.sum(chosen, dtype=like.dtype), 1)


def _descending(scores: Array, chosen: Array) -> Array:
    """The rank of each chosen column within its row of `scores` [B, B], 1 for the largest; elsewhere 0."""
    # Counting takes as much memory as sorting twice and less time on a CPU: in training eight runs side by side, a
    # 33rd of it at B = 64, a fifth at 256. Not measured on an accelerator, where it is B small steps.
    scores = jnp.where(chosen[None], scores, -jnp.inf)
    places = jnp.arange(len(chosen))

    def count(column: Array | int, larger: Array) -> Array:
        other = lax.dynamic_slice_in_dim(scores, column, 1, axis=1)
        before = jnp.where((column > places)[None], other >= scores, other > scores)
        return larger + before.astype(scores.dtype)

    larger = lax.fori_loop(0, len(chosen), count, jnp.zeros_like(scores))
    return jnp.where(chosen[None], 1 + larger, 0)


@jax.custom_vjp
def _ranks(scores: Array, strength: Array, chosen: Array) -> Array:
    """`_descending`, with the backward pass of Vlastelica et al. (2020) that ranks divided by M have."""
    return _descending(scores, chosen)


def _ranks_forward(scores: Array, strength: Array, chosen: Array) -> tuple[Array, tuple[Array, Array, Array, Array]]:
    ranks = _descending(scores, chosen)
    return ranks, (scores, strength, chosen, ranks)


def _ranks_backward(kept: tuple[Array, Array, Array, Array], cotangent: Array) -> tuple[Array, Array, None]:
    scores, strength, chosen, ranks = kept
    number = _number(chosen, scores)
    moved = _descending(scores + strength * (number * cotangent), chosen)
    return (moved - ranks) / (number * (strength + 1e-8)), jnp.zeros_like(strength), None


_ranks.defvjp(_ranks_forward, _ranks_backward)
