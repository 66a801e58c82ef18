"""The quantities of section 2.2 (Eq. 5-11) of a model in training: one run, every evaluation split, pure functions."""

from typing import Any, Generic, NamedTuple, TypeVar

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array

from regcls_jax import losses, priors, theory
from regcls_jax.objectives import masked_mean

# Which sigma^2 the Gaussian likelihood has: the model's own MSE on its training split, or Eq. 3's 1 / (2 lambda).
TRACES = ("none", "mse", "lambda")
# Of the arrays of a study: filled by NumPy, read by JAX.
ArrayT = TypeVar("ArrayT", np.ndarray, Array)


class Trace(NamedTuple):
    """Means over the samples of a split, each [..., S], in nats unless said otherwise; NaN without a class head.

    Eq. 5 and Eq. 8 add up to Eq. 2 (this is Eq. 6). In classes without any training target Eq. 9 is -inf, so its mean,
    that of the gap and the correlation of Eq. 8 with Eq. 9 leave such samples out.
    """

    mse: Array  # squared target units
    balanced_nll: Array  # Eq. 2
    imbalanced_nll: Array  # Eq. 5
    l_extra_gaussian: Array  # Eq. 8
    l_extra_softmax: Array  # Eq. 9
    cross_entropy: Array  # Eq. 11
    assumption_gap: Array  # Eq. 11 - Eq. 9
    true_class_share: Array  # share of the true class in sum_k p_k p~_k; 1 iff Eq. 10 holds
    correlation_softmax: Array  # Pearson's, of Eq. 8 with Eq. 9 over the samples; NaN where one is constant
    correlation_cross_entropy: Array  # likewise of Eq. 8 with Eq. 11
    unseen: Array  # share of samples in classes without any training target


class TraceArrays(NamedTuple, Generic[ArrayT]):
    """What runs share besides the evaluation splits: T training sets, S splits, m samples, C classes (with padding).

    The functions below take the arrays of one training set, without the axis T.
    """

    labels: ArrayT  # int32 [T, S, m]; [T, S, 0] without classes
    class_log_prior: ArrayT  # [T, C], log of the classes' shares of the training targets; -inf where empty or padded
    prior: priors.MixturePrior  # the mixture p~(y) of Eq. 8, three [T, K]
    train_split: ArrayT  # [T], index of the training split among the S


def watch(
    model: nn.Module,
    params: optax.Params,
    inputs: Array,
    targets: Array,
    sizes: Array,
    own: TraceArrays[Array],
    *,
    variance: Array | None,
    classes: Array | None = None,
    block: int,
) -> Trace:
    """The quantities of a model now, each [S].

    Args:
      model: features first, with as many classes as `own` (0: none).
      params: its parameters.
      inputs: [S, m, D] of every split; rows from sizes[s] on are padding.
      targets: [S, m].
      sizes: [S] real rows.
      own: the arrays of its training set, without their axis T.
      variance: sigma^2 of Eq. 2, 5 and 8; None is the MSE on the training split.
      classes: how many of the classes are real; None is all.
      block: samples whose logits are in memory at once.
    """
    real = jnp.arange(targets.shape[1])[None] < sizes[:, None]
    value, cross_entropy, gap = _predict(model, params, inputs, own, classes, block)
    mse = _mean(losses.squared_error(value, targets), real)
    if variance is None:
        variance = mse[own.train_split]
    balanced = theory.balanced_nll(targets, value, variance)
    extra = theory.l_extra_gaussian(own.prior, targets, value, variance)
    nothing = jnp.full(mse.shape, jnp.nan)
    trace = Trace(*[nothing] * len(Trace._fields))._replace(
        mse=mse,
        balanced_nll=_mean(balanced, real),
        imbalanced_nll=_mean(balanced - extra, real),
        l_extra_gaussian=_mean(extra, real),
    )
    if cross_entropy is None or gap is None:
        return trace
    seen = real & (jnp.take(own.class_log_prior, own.labels) > -jnp.inf)
    softmax = cross_entropy - gap
    return trace._replace(
        l_extra_softmax=_mean(softmax, seen),
        cross_entropy=_mean(cross_entropy, real),
        assumption_gap=_mean(gap, seen),
        true_class_share=_mean(jnp.exp(-gap), real),
        correlation_softmax=_correlation(extra, softmax, seen),
        correlation_cross_entropy=_correlation(extra, cross_entropy, real),
        unseen=_mean(jnp.where(seen, 0.0, 1.0), real),
    )


def _mean(values: Array, mask: Array) -> Array:
    """[S, m] -> [S], over the samples in the mask."""
    return jax.vmap(masked_mean)(values, mask)


def _correlation(a: Array, b: Array, mask: Array) -> Array:
    """Pearson's, [S, m] twice -> [S], over the samples in the mask."""
    a, b = (jnp.where(mask, values - _mean(values, mask)[:, None], 0) for values in (a, b))
    return jnp.sum(a * b, -1) / (jnp.sqrt(jnp.sum(a**2, -1)) * jnp.sqrt(jnp.sum(b**2, -1)))


def _predict(
    model: nn.Module, params: optax.Params, inputs: Array, own: TraceArrays[Array], classes: Array | None, block: int
) -> tuple[Array, Array | None, Array | None]:
    """Predicted value, Eq. 11 and assumption gap of every sample, each [S, m] (the last two None without classes).

    In blocks, because the logits of whole splits do not fit in the cache.
    """
    splits, samples, _ = inputs.shape

    def in_blocks(array: Array) -> Array:
        flat = array.reshape(splits * samples, *array.shape[2:])
        filled = jnp.pad(flat, ((0, -len(flat) % block), *[(0, 0)] * (flat.ndim - 1)))
        return filled.reshape(-1, block, *flat.shape[1:])

    def one(rows: tuple[Array, Array | None]) -> tuple[Array, Array | None, Array | None]:
        prediction: Any = model.apply({"params": params}, rows[0].T)
        if rows[1] is None:
            return prediction.value, None, None
        # As theory.l_extra_cross_entropy and theory.assumption_gap, but with the classes first: half the time.
        adjusted = prediction.logits + own.class_log_prior[:, None]
        return (
            prediction.value,
            losses.cross_entropy(prediction.logits, rows[1], classes=classes, axis=0),
            losses.cross_entropy(adjusted, rows[1], axis=0),
        )

    blocks = in_blocks(inputs), in_blocks(own.labels) if own.class_log_prior.size else None
    return jax.tree.map(lambda out: out.ravel()[: splits * samples].reshape(splits, samples), jax.lax.map(one, blocks))
