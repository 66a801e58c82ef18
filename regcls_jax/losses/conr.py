"""ConR (Keramati et al. 2024, recipes 2.6): a contrastive loss against features that mix up distant targets."""

import jax
import jax.numpy as jnp
import numpy.typing as npt
from jax import Array
from jax.typing import ArrayLike

from regcls_jax.losses.pairs import compared_rows, kept_pairs, normalised, products, row_values, target_distances


def conr(
    features: npt.ArrayLike,
    targets: npt.ArrayLike,
    predictions: npt.ArrayLike,
    *,
    distance: ArrayLike = 1.0,
    temperature: ArrayLike = 0.2,
    eta: ArrayLike = 0.01,
    weights: npt.ArrayLike | None = None,
    mask: npt.ArrayLike | None = None,
) -> Array:
    """ConR of features [B, F], targets [B] and predictions [B], [B] in nats; its mean is the published loss.

    For an anchor i, another row j is positive (in P) if |y_i - y_j| <= `distance`, and negative (in N) if it is not,
    but the predictions are as close as that. With the cosine similarity c_ij over `temperature`, the value is

      w_i * mean_{j in P} [log D_i - c_ij],
      D_i = (kept rows that are not in P, i among them) + sum_P exp(c_ij) + w_i sum_N exp(eta |y_i - y_j| + c_ij).

    It is 0 for an anchor without a negative, and for one without a positive, where the published code has NaN.

    Args:
      features: floating point; two views of every example are simply twice as many rows, as published.
      targets: in target units.
      predictions: in target units. They only choose the negatives, so no gradient goes through them.
      distance: in target units; published: 1 year, 0.2 for depth.
      temperature: > 0; the published default is 0.07, its instructions say 0.2.
      eta: per target unit.
      weights: [B], w_i >= 0 of each example; None: 1.
      mask: [B], False for rows that only pad the batch: they are in no sum or count, and their value is 0.

    The published training adds the loss twice: its coefficient of 4 acts as 8. The values are in float32 (float64 for
    such features). Memory grows with B * B. The numbers may be traced. Raises ValueError for shapes that do not fit,
    features that are not floating point, or a batch of one.
    """
    rows = compared_rows(features, targets, mask)
    predictions = row_values("predictions", predictions, rows.kept)
    weights = rows.kept.astype(rows.features.dtype) if weights is None else row_values("weights", weights, rows.kept)

    pairs, apart = kept_pairs(rows.kept), target_distances(rows.targets)
    near = apart <= distance
    positive = pairs & near
    negative = pairs & ~near & (target_distances(predictions) <= distance)
    counts = jnp.sum(positive, axis=1)
    similarities = products(normalised(rows.features)) / temperature

    # Everything stays in logarithms: exp(eta |y_i - y_j|) overflows where target units are small. A row always counts
    # itself, so that there is something to add up in padding, too.
    counted = rows.kept[None] | jnp.eye(len(rows.kept), dtype=bool)
    attracted = jnp.where(counted, jnp.where(positive, similarities, 0), -jnp.inf)
    weighted = weights > 0
    log_weights = jnp.log(jnp.where(weighted, weights, 1))[:, None]
    repelled = jnp.where(negative & weighted[:, None], similarities + eta * apart + log_weights, -jnp.inf)
    log_sums = jax.nn.logsumexp(jnp.concatenate([attracted, repelled], axis=1), axis=1)

    means = jnp.sum(jnp.where(positive, similarities, 0), axis=1) / jnp.maximum(counts, 1)
    return weights * jnp.where((counts > 0) & jnp.any(negative, axis=1), log_sums - means, 0)
