"""Feature distribution smoothing (FDS, Yang et al. 2021; recipes 2.3) as explicit state and pure functions.

A trainer keeps a `State` and, once per epoch, collects `Statistics` of the features per target bucket:

    z' = smooth(state, z, buckets, epoch, config)                     every training step, between features and heads
    statistics = merge(statistics, batch_statistics(z, buckets, mask, K))     over one pass of the training set
    state = update(state, statistics, epoch, config)                  at the end of the epoch

Buckets are int32 indices, -1 for samples to leave alone: `age_buckets` is the published rule, `binning.assign` any
other. Under jit with a sharded batch, every device gets the statistics of the whole batch.

Which features to collect in the statistics pass (batches, BatchNorm mode and augmentation are up to the trainer):
- "published": features that went through `smooth` of the same epoch, in training mode, augmented and shuffled,
  with the running statistics of BatchNorm still moving: the published code calibrates in place (quirk 2).
- "corrected": the features before `smooth`. Calibrated features would drift, being smoothed again every epoch.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.typing import ArrayLike
from scipy import ndimage

from regcls_jax.imbalance import lds_kernel

MODES = ("published", "corrected")


class FdsConfig(NamedTuple):
    """How FDS smooths; the defaults are those of the published runs on ages. Hashable, so static under jit."""

    kernel: str = "gaussian"  # smoothing window over the buckets, as in `imbalance.lds_kernel`
    size: int = 5  # of the window, in buckets
    sigma: float = 2.0  # of the window, in buckets
    momentum: float = 0.9  # weight of the old running statistics
    clip: tuple[float, float] = (0.1, 10.0)  # limits of the variance ratio (NYUD2 (0.2, 5), STS-B (0.5, 2))
    start_update: int = 0  # first epoch to collect statistics
    start_smooth: int = 1  # first epoch to smooth features
    mode: str = "published"  # or "corrected"; see `update`


class Statistics(NamedTuple):
    """Count [K], mean [K, F] and sum of squared deviations from it, `squares` [K, F], per bucket; float32."""

    count: Array  # type: ignore[assignment]  # hides tuple.count
    mean: Array
    squares: Array


class State(NamedTuple):
    """The buffers of FDS (a pytree of arrays): means and variances [K, F], samples seen [K], epoch int32 [].

    `smooth` maps features from `last_*` to `smoothed_*`. The published names of these two end in `_last_epoch`.
    """

    running_mean: Array
    running_var: Array
    last_mean: Array
    last_var: Array
    smoothed_mean: Array
    smoothed_var: Array
    count: Array  # type: ignore[assignment]  # hides tuple.count
    epoch: Array


def init(buckets: int, features: int, config: FdsConfig) -> State:
    """The state of K = `buckets` and F = `features` before the first epoch: mean 0, variance 1, so no smoothing.

    Raises ValueError for an unknown mode or kernel, a kernel too wide for the buckets, a momentum or clip out of range.
    """
    window = lds_kernel(config.kernel, config.size, config.sigma, "sum")
    if config.mode not in MODES:
        raise ValueError(f"unknown FDS mode {config.mode!r}; one of {', '.join(MODES)}")
    if buckets <= len(window) // 2:
        raise ValueError(f"a kernel of size {config.size} needs more than {config.size // 2} buckets, got {buckets}")
    if not 0 <= config.momentum < 1:
        raise ValueError(f"FDS momentum must be in [0, 1), got {config.momentum}")
    if not 0 < config.clip[0] <= config.clip[1]:
        raise ValueError(f"FDS clip must be 0 < low <= high, got {config.clip}")
    # One array per buffer: a donated state may not hold the same one twice.
    moments = [make((buckets, features)) for _ in range(3) for make in (jnp.zeros, jnp.ones)]
    return State._make([*moments, jnp.zeros(buckets), jnp.int32(config.start_update)])


def age_buckets(
    ages: Array,
    mask: Array | None = None,
    *,
    buckets: int = 100,
    start: int = 0,
    present: Array | None = None,
) -> Array:
    """Buckets int32 [...] of `ages` [...] (years) by the published rule: bucket k is the age start + k.

    The first bucket also takes ages below `start`, and the last one ages above `buckets` - 1, but each only if its
    own age occurs among the ages `present` [m]; other ages outside get -1. The published code searches the labels
    it is handed: those of the batch while smoothing, the default here; those of the epoch for the statistics, so pass
    all training ages as `present` there. Rows where `mask` [...] is False get -1 and do not count as present.
    K = buckets - start. NYUD2 (start 7) and STS-B follow another rule: use `binning.assign`, which puts everything
    outside into the outermost buckets.
    """
    mask = jnp.ones(ages.shape, bool) if mask is None else mask
    last = buckets - 1
    # A padded row may hold anything; NaN equals no age.
    known = jnp.where(mask, ages, jnp.nan) if present is None else present
    inside = (ages > start) & (ages < last)
    low = (ages <= start) & jnp.any(known == start)
    high = (ages >= last) & jnp.any(known == last)
    index = jnp.clip(jnp.floor(ages), start, last) - start
    return jnp.where(mask & (inside | low | high), index, -1).astype(jnp.int32)


def empty_statistics(buckets: int, features: int) -> Statistics:
    """The statistics of no sample, K = `buckets` and F = `features`: the neutral element of `merge`."""
    mean, squares = jnp.zeros((buckets, features)), jnp.zeros((buckets, features))
    return Statistics(jnp.zeros(buckets), mean, squares)


def _times(matrix: ArrayLike, values: Array) -> Array:
    # Accelerators multiply float32 in bfloat16 unless told not to.
    return jnp.matmul(matrix, values, precision=lax.Precision.HIGHEST)


def batch_statistics(features: Array, buckets: Array, mask: Array, bucket_count: int) -> Statistics:
    """Statistics of `features` [..., F] by `buckets` int [...] in [-1, K) where `mask` [...] is True.

    K = `bucket_count`; rows of bucket -1 are left out. Two passes, as sums of squares cancel in float32; products
    with one-hot rows rather than scatters, because products can be sharded over devices.
    """
    rows = features.reshape(-1, features.shape[-1]).astype(jnp.float32)
    index = jnp.where(mask, buckets, -1).reshape(-1)
    rows = jnp.where((index >= 0)[:, None], rows, 0)
    member = jax.nn.one_hot(index, bucket_count)
    number = member.sum(0)
    mean = _times(member.T, rows) / jnp.maximum(number, 1)[:, None]
    # Rows of index -1 take the mean of the last bucket here, but their row of `member` is 0, so they add nothing.
    return Statistics(number, mean, _times(member.T, jnp.square(rows - mean[index])))


def merge(first: Statistics, second: Statistics) -> Statistics:
    """Statistics of two disjoint sets of samples together (Chan, Golub & LeVeque 1979)."""
    count = first.count + second.count
    share = (second.count / jnp.maximum(count, 1))[:, None]
    difference = second.mean - first.mean
    return Statistics(
        count,
        first.mean + share * difference,
        first.squares + second.squares + jnp.square(difference) * share * first.count[:, None],
    )


def _kernel_matrix(buckets: int, config: FdsConfig) -> np.ndarray:
    """The matrix [K, K] that smooths values [K, F] over the buckets.

    Values are mirrored at the ends without repeating the end itself (PyTorch's "reflect", SciPy's "mirror").
    """
    window = lds_kernel(config.kernel, config.size, config.sigma, "sum")
    return ndimage.convolve1d(np.eye(buckets), window, axis=0, mode="mirror").astype(np.float32)


def update(state: State, statistics: Statistics, epoch: ArrayLike, config: FdsConfig) -> State:
    """The state after `epoch` (int, counted from 0, may be traced), from the statistics of its whole pass.

    Per observed bucket: running <- (1 - momentum) * current + momentum * running, of mean and unbiased variance (of a
    single sample: 0). Epochs before `start_update`, or before the last one seen, change nothing.

    "published" reproduces the released age code:
    - smoothed <- kernel over the running statistics *before* this epoch's update, once per epoch from
      `start_update` + 1 on (a skipped epoch stops it for good);
    - last = the *newest* running statistics from then on, because the code keeps a reference, not a copy: `smooth`
      maps from the newest statistics to smoothed older ones (quirk 1), and does nothing in epoch 1 (quirk 3);
    - only the very first epoch takes the current statistics alone: a bucket first seen later starts from mean 0 and
      variance 1, with weight `momentum`;
    - buckets never seen enter the kernel with mean 0 and variance 1.

    "corrected" changes these four, and nothing else:
    - last and smoothed are copies computed from the running statistics after their update, so `smooth` maps between
      statistics of the same epoch, and does so from epoch `start_smooth` = 1 on, as the paper describes;
    - a bucket takes the current statistics alone when it is first seen;
    - buckets never seen have weight 0 in the kernel (the others' weights are scaled to sum to 1) and are not smoothed.
    """
    epoch = jnp.asarray(epoch, jnp.int32)
    corrected = config.mode == "corrected"
    first = (state.count == 0) if corrected else jnp.full(state.count.shape, epoch == config.start_update)
    momentum = jnp.where(statistics.count > 0, jnp.where(first, 0.0, config.momentum), 1.0)[:, None]
    variance = statistics.squares / jnp.maximum(statistics.count - 1, 1)[:, None]
    mean = (1 - momentum) * statistics.mean + momentum * state.running_mean
    var = (1 - momentum) * variance + momentum * state.running_var
    count = state.count + statistics.count
    kernel: Array | np.ndarray = _kernel_matrix(len(count), config)

    if corrected:
        seen = count > 0
        # Row k is the identity if bucket k was never seen, else the kernel over the buckets that were.
        kernel = jnp.where(seen, kernel, 0)
        kernel = kernel / jnp.where(seen, kernel.sum(1), 1)[:, None]
        kernel = jnp.where(seen[:, None], kernel, np.eye(len(kernel)))
        new = State(mean, var, mean, var, _times(kernel, mean), _times(kernel, var), count, epoch)
    else:
        step = epoch == state.epoch + 1
        stored = state.epoch + step
        aliased = stored > config.start_update
        new = State(
            mean,
            var,
            jnp.where(aliased, mean, state.last_mean),
            jnp.where(aliased, var, state.last_var),
            jnp.where(step, _times(kernel, state.running_mean), state.smoothed_mean),
            jnp.where(step, _times(kernel, state.running_var), state.smoothed_var),
            count,
            stored,
        )
    return jax.tree.map(lambda a, b: jnp.where(epoch >= state.epoch, a, b), new, state)


def smooth(state: State, features: Array, buckets: Array, epoch: ArrayLike, config: FdsConfig) -> Array:
    """Calibrated `features` [..., F] of `buckets` int [...] in [-1, K); for training only, in either mode.

    z' = (z - m1) sqrt(clip(v2 / v1)) + m2 with (m1, v1) = last and (m2, v2) = smoothed of the bucket. Unchanged are
    everything before epoch `start_smooth`, rows of bucket -1, buckets whose v1 sums to less than 1e-10, dimensions
    with v1 = 0. Gradients flow to the features, not to the state.

    Raises ValueError if the shapes of features, buckets and state do not agree.
    """
    if features.shape != (*buckets.shape, state.last_mean.shape[-1]):
        raise ValueError(
            f"features {features.shape} do not fit buckets {buckets.shape} and a state of "
            f"{state.last_mean.shape[-1]} features"
        )
    state = jax.tree.map(lax.stop_gradient, state)
    active = (state.last_var != 0) & (state.last_var.sum(-1, keepdims=True) >= 1e-10)
    ratio = jnp.clip(state.smoothed_var / jnp.where(active, state.last_var, 1), *config.clip)
    # With scale 1 and both means 0, a feature is returned bit for bit.
    scale = jnp.where(active, jnp.sqrt(ratio), 1)
    before, after = (jnp.where(active, mean, 0) for mean in (state.last_mean, state.smoothed_mean))
    calibrated = (features - before[buckets]) * scale[buckets] + after[buckets]
    use = (buckets >= 0) & (jnp.asarray(epoch) >= config.start_smooth)
    return jnp.where(use[..., None], calibrated.astype(features.dtype), features)
