"""Batch normalisation as in PyTorch's BatchNorm2d, with an optional mask over the rows."""

import math

import flax.linen as nn
import jax.numpy as jnp
from jax import Array, lax

EPSILON = 1e-5
# PyTorch calls the weight of the new batch "momentum" (.1); here, as in flax, it is the weight of the old estimate.
MOMENTUM = 0.9


class BatchNorm(nn.Module):
    """x [B, ..., C] -> same shape and dtype, normalised per channel over all other axes (recipes 4.3, torch facts).

    The batch is normalised with its biased variance; the running estimate ("batch_stats": mean, var, both [C]) moves
    by a tenth towards the batch's mean and *unbiased* variance. Statistics are float32 (float64 if x is) for any x.
    `mask` bool [B] marks the rows that count in the statistics; the others are normalised, too, and may hold any finite
    values. A batch in which no row counts leaves the running estimate alone.
    Plain jit over a sharded batch gives the statistics of the whole batch, so there is no axis name.
    Raises ValueError, when training, for fewer than two values per channel: they have no variance.
    """

    @nn.compact
    def __call__(self, x: Array, *, train: bool, mask: Array | None = None) -> Array:
        channels = x.shape[-1]
        scale = self.param("scale", nn.initializers.ones, (channels,), jnp.float32)
        bias = self.param("bias", nn.initializers.zeros, (channels,), jnp.float32)
        running_mean = self.variable("batch_stats", "mean", jnp.zeros, (channels,), jnp.float32)
        running_var = self.variable("batch_stats", "var", jnp.ones, (channels,), jnp.float32)

        if train and not self.is_initializing():
            mean, var, count = batch_statistics(x, mask)
            unbiased = var * (count / jnp.maximum(count - 1, 1))
            step = jnp.where(count > 0, 1 - MOMENTUM, 0.0)
            running_mean.value += step * (lax.stop_gradient(mean) - running_mean.value)
            running_var.value += step * (lax.stop_gradient(unbiased) - running_var.value)
        else:
            mean, var = running_mean.value, running_var.value
        factor = lax.rsqrt(var + EPSILON) * scale
        shape = (1,) * (x.ndim - 1) + (channels,)
        y = (x.astype(statistics_dtype(x)) - mean.reshape(shape)) * factor.reshape(shape) + bias.reshape(shape)
        return y.astype(x.dtype)


def statistics_dtype(x: Array) -> jnp.dtype:
    """float32, or float64 where x is: half precision cannot hold sums over a batch."""
    return jnp.promote_types(jnp.float32, x.dtype)


def batch_statistics(x: Array, mask: Array | None = None) -> tuple[Array, Array, Array]:
    """Mean [C], biased variance [C] and number of values per channel [] of x [B, ..., C] in statistics_dtype(x).

    Only rows with mask bool [B] count (None: all); without any, mean and variance are 0.
    Raises ValueError for a mask of another shape or fewer than two values per channel.
    """
    batch, channels = x.shape[0], x.shape[-1]
    per_row = math.prod(x.shape[1:-1])
    if mask is not None and mask.shape != (batch,):
        raise ValueError(f"mask must have shape {(batch,)}, one entry per row, got {mask.shape}")
    if batch * per_row < 2:
        raise ValueError(f"training needs two or more values per channel, got an input of shape {x.shape}")
    values = x.astype(statistics_dtype(x)).reshape(batch, per_row, channels)
    if mask is None:
        count = jnp.asarray(batch * per_row, values.dtype)
        mean = values.mean((0, 1))
        # Two passes: E[x^2] - mean^2 loses all digits where the mean is large beside the spread.
        return mean, jnp.square(values - mean[None, None]).mean((0, 1)), count
    keep = mask[:, None, None]
    count = mask.sum(dtype=values.dtype) * per_row
    divisor = jnp.maximum(count, 1)
    mean = jnp.where(keep, values, 0).sum((0, 1)) / divisor
    # where, not a product: the square of a large padding value overflows, and 0 * inf is NaN.
    deviation = jnp.where(keep, values - mean[None, None], 0)
    return mean, jnp.square(deviation).sum((0, 1)) / divisor, count
