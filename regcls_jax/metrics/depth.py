"""Evaluation of depth maps (recipes 5.3): sums per image and shot group, which add up over any number of pixels.

Sums of one image are made on the device in float32, in products that add in blocks; those of many images are added on
the host in float64. A single float32 could not even count the 45 million pixels of NYUD2's test set.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from regcls_jax.metrics.shots import SHOTS

# What is summed over pixels: errors in m² and m, |error| / depth, |log10 ratio|, ratios within 1.25, 1.25², 1.25³.
SUMS = ("squared", "absolute", "relative", "log10", "delta1", "delta2", "delta3", "count")
# The buckets of .1 m with many and medium training pixels of NYUD2, a fixed list; all others have few.
PUBLISHED_MANY = (*range(9, 46), 47, 49)
PUBLISHED_MEDIUM = (7, 8, 46, 48, *range(50, 57), 58, 60, 61, 63)
PUBLISHED_BUCKETS = 100
# Shares of the training pixels, in those of a bucket if all were equally full, that give the published list back.
MANY, FEW = 0.77, 0.3
# Ratios and logarithms take no depth below it (m): a network may predict less than nothing.
LEAST = 1e-3


def published_groups() -> np.ndarray:
    """The shot group [100] of each bucket of .1 m, as an index into `SHOTS`."""
    buckets = np.arange(PUBLISHED_BUCKETS)
    return np.where(np.isin(buckets, PUBLISHED_MANY), 0, np.where(np.isin(buckets, PUBLISHED_MEDIUM), 1, 2))


def count_groups(counts: np.ndarray) -> np.ndarray:
    """The shot group [K] of each bucket from its training pixels [K], by the shares that give the published list."""
    share = np.asarray(counts) * len(counts) / np.sum(counts)
    return np.where(share > MANY, 0, np.where(share < FEW, 2, 1))


def depth_sums(predictions: Array, depths: Array, valid: Array, groups: Array) -> Array:
    """Sums per image over its valid pixels, float32 [B, 3 of `SHOTS`, 8 of `SUMS`].

    Args:
      predictions: m, [B, ...]; where not valid they may hold anything.
      depths: m, [B, ...], positive where valid.
      valid: bool [B, ...].
      groups: the shot group of each pixel, int [B, ...], as an index into `SHOTS`.
    """
    images = len(valid)
    predictions, depths, valid, groups = (x.reshape(images, -1) for x in (predictions, depths, valid, groups))
    predictions, depths = (jnp.where(valid, x, 1).astype(jnp.float32) for x in (predictions, depths))
    error = jnp.abs(predictions - depths)
    seen = jnp.maximum(predictions, LEAST)
    ratio = jnp.maximum(seen / depths, depths / seen)
    within = [(ratio <= 1.25**power).astype(jnp.float32) for power in (1, 2, 3)]
    logarithm = jnp.abs(jnp.log10(seen) - jnp.log10(depths))
    terms = jnp.stack([error**2, error, error / depths, logarithm, *within, jnp.ones_like(error)], axis=-1)
    member = jax.nn.one_hot(jnp.where(valid, groups, -1), len(SHOTS))
    # Accelerators multiply float32 in bfloat16 unless told not to.
    return jnp.einsum("bpg,bpm->bgm", member, terms, precision=lax.Precision.HIGHEST)


def _of_group(sums: np.ndarray) -> dict[str, float]:
    *totals, count = map(float, sums)
    names = ("mse", "mae", "abs_rel", "log10", "delta1", "delta2", "delta3")
    means = [total / count if count else float("nan") for total in totals]
    return {"rmse": means[0] ** 0.5, **dict(zip(names, means, strict=True)), "count": round(count)}


def depth_metrics(sums: np.ndarray) -> dict[str, dict[str, float]]:
    """Metrics of "all", "many", "medium" and "few" over all pixels of all images, from their sums [n, 3, 8].

    Returns:
      Per group rmse and mae (m), mse (m²), abs_rel, log10, delta1 to delta3 (shares), and count, its pixels; NaN for a
      group without any.

    Raises:
      ValueError: an error is not finite.
    """
    total = np.asarray(np.sum(sums, axis=0, dtype=np.float64))
    if not np.all(np.isfinite(total)):
        image = int(np.flatnonzero(~np.isfinite(sums).all((1, 2)))[0])
        raise ValueError(f"the errors of image {image} do not sum to a finite number")
    return {"all": _of_group(total.sum(0)), **{name: _of_group(total[i]) for i, name in enumerate(SHOTS)}}
