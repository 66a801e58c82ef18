"""Losses of a class head over a binned target, optax style: per-example values [...]; the caller reduces once."""

import jax
import jax.numpy as jnp
import numpy.typing as npt
from jax import Array

from regcls_jax.losses.regression import squared_error


def cross_entropy(
    logits: npt.ArrayLike, labels: npt.ArrayLike, *, classes: Array | int | None = None, axis: int = -1
) -> Array:
    """-log softmax(logits)[label]: logits [..., C], labels int [...] in [0, C) -> [...] in nats.

    `axis` is the axis of the classes in `logits`. `classes` (may be traced): only the first `classes` logits are
    real, the rest is padding that gets no probability and no gradient. A label outside [0, classes) has no loss: its
    value and gradient are NaN.
    """
    logits, labels = jnp.asarray(logits), jnp.asarray(labels)
    axis = axis % logits.ndim
    if logits.shape[:axis] + logits.shape[axis + 1 :] != jnp.shape(labels):
        raise ValueError(f"logits {logits.shape} with classes on axis {axis} do not fit labels {jnp.shape(labels)}")
    if not jnp.issubdtype(jnp.result_type(labels), jnp.integer):
        raise ValueError(f"labels must be integers, got {jnp.result_type(labels)}")
    index = jax.lax.broadcasted_iota(jnp.int32, logits.shape, axis)
    if classes is not None:
        logits = jnp.where(index < classes, logits, -jnp.inf)
    # A masked sum reads the logits once more but vectorises; the gather's backward pass is a scatter, slow on CPU.
    chosen = jnp.sum(jnp.where(index == jnp.expand_dims(labels, axis), logits, 0), axis)
    valid = (labels >= 0) & (labels < (logits.shape[axis] if classes is None else classes))
    # A factor, so that the gradient is NaN, too: training on such a label must not go on unnoticed.
    return (jax.nn.logsumexp(logits, axis) - chosen) * jnp.where(valid, 1.0, jnp.nan).astype(logits.dtype)


def memberships(targets: npt.ArrayLike, edges: npt.ArrayLike, sigma: Array | float) -> Array:
    """Soft class memberships [..., C] of `targets` [...], summing to 1: the mass of N(target, sigma^2) in each class.

    As in HL-Gauss (recipes 2.11): mass beyond the `edges` [C + 1] is dropped and the rest normalised; a target outside
    is moved to the nearest edge. `sigma` > 0 in target units, published: twice the width of a class.
    """
    targets, edges = jnp.asarray(targets), jnp.asarray(edges)
    targets = jnp.clip(targets, edges[0], edges[-1])
    distances = jnp.expand_dims(edges, tuple(range(targets.ndim))) - jnp.expand_dims(targets, -1)
    below = jax.scipy.special.ndtr(distances / sigma)
    return jnp.diff(below, axis=-1) / (below[..., -1:] - below[..., :1])


def membership_error(outputs: npt.ArrayLike, memberships: npt.ArrayLike, *, axis: int = -1) -> Array:
    """Sum over classes (on `axis`) of (output - membership)^2, [..., C] and [..., C] -> [...].

    Trains a class head to *regress* `memberships` instead of classifying: a control (see `auxiliary.membership`).
    """
    return jnp.sum(squared_error(outputs, memberships), axis=axis)
