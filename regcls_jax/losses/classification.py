"""Losses of a class head over a binned target, optax style: per-example values [...]; the caller reduces once."""

import jax
import jax.numpy as jnp
import numpy.typing as npt
from jax import Array

from regcls_jax.losses.regression import squared_error
from regcls_jax.row_loop import is_large, rows_at_a_time, rows_of, with_rows


def cross_entropy(
    logits: npt.ArrayLike, labels: npt.ArrayLike, *, classes: Array | int | None = None, axis: int = -1
) -> Array:
    """-log softmax(logits)[label]: logits [..., C], labels int [...] in [0, C) -> [...] in nats.

    `axis` is the axis of the classes in `logits`. `classes` (may be traced): only the first `classes` logits are
    real, the rest is padding that gets no probability and no gradient. A label outside [0, classes) has no loss: its
    value and gradient are NaN.
    """
    logits, labels, axis = check_labels(logits, labels, axis)
    if classes is not None:
        logits = jnp.where(jax.lax.broadcasted_iota(jnp.int32, logits.shape, axis) < classes, logits, -jnp.inf)
    maps = axis == logits.ndim - 1 and is_large(logits)
    losses = _log_loss_of_maps(logits, labels) if maps else _log_loss(logits, labels, axis)
    return losses * nan_unless_valid(labels, logits.shape[axis] if classes is None else classes, losses.dtype)


def check_labels(logits: npt.ArrayLike, labels: npt.ArrayLike, axis: int) -> tuple[Array, Array, int]:
    """Both as JAX arrays and the axis counted from the front: the one check of every loss of logits and labels.

    Raises ValueError for labels [...] that do not fit logits [..., C] with classes on `axis`, or are no integers.
    """
    logits, labels = jnp.asarray(logits), jnp.asarray(labels)
    if not logits.ndim:
        raise ValueError("logits need an axis of classes, got a single number")
    axis = axis % logits.ndim
    if logits.shape[:axis] + logits.shape[axis + 1 :] != jnp.shape(labels):
        raise ValueError(f"logits {logits.shape} with classes on axis {axis} do not fit labels {jnp.shape(labels)}")
    if not jnp.issubdtype(jnp.result_type(labels), jnp.integer):
        raise ValueError(f"labels must be integers, got {jnp.result_type(labels)}")
    return logits, labels, axis


def nan_unless_valid(labels: Array, classes: Array | int, dtype: jnp.dtype) -> Array:
    """1 [...] where a label is in [0, classes), NaN elsewhere.

    A factor, so that the gradient is NaN, too: training on such a label must not go on unnoticed.
    """
    return jnp.where((labels >= 0) & (labels < classes), 1.0, jnp.nan).astype(dtype)


def softmax(logits: npt.ArrayLike, *, classes: Array | int | None = None, axis: int = -1) -> Array:
    """Class probabilities, in the shape of `logits`; beyond the first `classes` (may be traced) they are 0."""
    logits = jnp.asarray(logits)
    if classes is not None:
        real = jax.lax.broadcasted_iota(jnp.int32, logits.shape, axis % logits.ndim) < classes
        logits = jnp.where(real, logits, -jnp.inf)
    return jax.nn.softmax(logits, axis)


def membership_probabilities(outputs: npt.ArrayLike, *, classes: Array | int | None = None, axis: int = -1) -> Array:
    """Class probabilities of a head trained with `membership_error`: its outputs above 0, made to sum to 1.

    Beyond the first `classes` (may be traced) they are 0; all classes are alike where no output is above 0.
    """
    outputs = jnp.asarray(outputs)
    count = outputs.shape[axis] if classes is None else classes
    real = jax.lax.broadcasted_iota(jnp.int32, outputs.shape, axis % outputs.ndim) < count
    positive = jnp.where(real, jnp.maximum(outputs, 0), 0)
    total = jnp.sum(positive, axis, keepdims=True)
    return jnp.where(total > 0, positive / jnp.where(total > 0, total, 1), jnp.where(real, 1 / count, 0))


def _log_loss(logits: Array, labels: Array, axis: int) -> Array:
    index = jax.lax.broadcasted_iota(jnp.int32, logits.shape, axis)
    # A masked sum reads the logits once more but vectorises; the gather's backward pass is a scatter, slow on CPU.
    chosen = jnp.sum(jnp.where(index == jnp.expand_dims(labels, axis), logits, 0), axis)
    return jax.nn.logsumexp(logits, axis) - chosen


@jax.custom_vjp
def _log_loss_of_maps(logits: Array, labels: Array) -> Array:
    """As `_log_loss` of logits [B, H, ..., C], a few rows at a time: maps of logits alone fill gigabytes."""
    rows, axis = _rows(logits), logits.ndim - 1

    def step(part: Array | int, losses: Array) -> Array:
        return with_rows(losses, part, _log_loss(rows_of(logits, part, rows), rows_of(labels, part, rows), axis))

    return jax.lax.fori_loop(0, logits.shape[1] // rows, step, jnp.zeros(labels.shape, logits.dtype))


def _maps_forward(logits: Array, labels: Array) -> tuple[Array, tuple[Array, Array, Array]]:
    losses = _log_loss_of_maps(logits, labels)
    return losses, (logits, labels, losses)


def _maps_backward(kept: tuple[Array, Array, Array], cotangent: Array) -> tuple[Array, None]:
    """The gradient takes the place of the logits, where nothing else needs those."""
    logits, labels, losses = kept
    # No more than a NaN loss has anyway, but this loop now waits for that of the losses: otherwise XLA, which does not
    # know that it comes last, lets it overwrite a copy of the logits.
    cotangent = jnp.where(jnp.isnan(losses), losses, cotangent)
    rows, axis = _rows(logits), logits.ndim - 1

    def step(part: Array | int, found: Array) -> Array:
        own = rows_of(labels, part, rows)
        _, pull_back = jax.vjp(lambda logits: _log_loss(logits, own, axis), rows_of(found, part, rows))
        return with_rows(found, part, *pull_back(rows_of(cotangent, part, rows)))

    return jax.lax.fori_loop(0, logits.shape[1] // rows, step, logits), None


def _rows(logits: Array) -> int:
    return rows_at_a_time(logits.shape[1], logits.size // logits.shape[1])


_log_loss_of_maps.defvjp(_maps_forward, _maps_backward)


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
