"""Losses of a class head that know the order of the classes, and class probabilities of the heads that need their own.

Per-example values [...], in at least float32, of logits [..., C] (classes on `axis`) and integer labels [...]. With
`classes` (may be traced) only the first `classes` classes are real; the outputs of the rest get no gradient and no
probability. As in `cross_entropy`, value and gradient of a label outside [0, classes) are NaN.

CORN and CORAL have C - 1 binary tasks, "is the class above k?" for k = 0 ... classes - 2, whose logits are the first
outputs. The last real output is unused, so that a head of C outputs fits every loss.
"""

import jax
import jax.numpy as jnp
import numpy.typing as npt
from jax import Array

from regcls_jax.losses.classification import check_labels, nan_unless_valid
from regcls_jax.losses.regression import at_least_float32


def _index(logits: Array, axis: int) -> Array:
    return jax.lax.broadcasted_iota(jnp.int32, logits.shape, axis)


def _count(logits: Array, classes: Array | int | None, axis: int) -> Array | int:
    return logits.shape[axis] if classes is None else classes


def _between(weights: npt.ArrayLike | None, logits: Array, axis: int, name: str) -> Array:
    """Weights [C - 1], one between neighbouring classes, as factors of terms [..., C]; the last has none. None: 1."""
    if weights is None:
        return jnp.ones((), logits.dtype)
    (weights,) = at_least_float32(weights)
    if weights.shape != (logits.shape[axis] - 1,):
        raise ValueError(f"{logits.shape[axis]} classes have {logits.shape[axis] - 1} {name}, got {weights.shape}")
    return jnp.expand_dims(jnp.append(weights, 0), [place for place in range(logits.ndim) if place != axis])


def squared_emd(
    logits: npt.ArrayLike,
    labels: npt.ArrayLike,
    *,
    classes: Array | int | None = None,
    gaps: npt.ArrayLike | None = None,
    axis: int = -1,
) -> Array:
    """Squared earth mover's distance of softmax(logits) and the label, [...]: `soft_squared_emd` of a single class.

    Also the ranked probability score. From Hou et al. (2016), recipes 2.25.
    """
    logits, labels, axis = check_labels(logits, labels, axis)
    one_hot = _index(logits, axis) == jnp.expand_dims(labels, axis)
    values = soft_squared_emd(logits, one_hot, classes=classes, gaps=gaps, axis=axis)
    return values * nan_unless_valid(labels, _count(logits, classes, axis), values.dtype)


def soft_squared_emd(
    logits: npt.ArrayLike,
    memberships: npt.ArrayLike,
    *,
    classes: Array | int | None = None,
    gaps: npt.ArrayLike | None = None,
    axis: int = -1,
) -> Array:
    """sum_k (P_k - Q_k)^2 of the cumulative softmax P and memberships Q, [..., C] and [..., C] -> [...] (recipes 2.25).

    A sum over classes, not their mean. `gaps` [C - 1] weights term k, published: 1. With the distances between the
    centres of the classes the loss is a discrete CRPS in target units. There is no logarithm, so the gradient vanishes
    where the softmax is sure of a wrong class: start with the cross-entropy, or add it.

    Raises ValueError if logits and memberships differ in shape or `gaps` does not fit.
    """
    logits, memberships = at_least_float32(logits, memberships)
    if logits.shape != memberships.shape or not logits.ndim:
        raise ValueError(f"logits {logits.shape} and memberships {memberships.shape} must have one shape [..., C]")
    axis = axis % logits.ndim
    index, count = _index(logits, axis), _count(logits, classes, axis)
    probabilities = jax.nn.softmax(jnp.where(index < count, logits, -jnp.inf), axis)
    apart = jnp.cumsum(probabilities - jnp.where(index < count, memberships, 0), axis)
    terms = jnp.square(apart) * _between(gaps, logits, axis, "gaps")
    # Both sums are 1 from the last class on; what is left there is rounding.
    return jnp.sum(jnp.where(index < count - 1, terms, 0), axis)


def _task_losses(logits: Array, labels: Array, counted: Array, axis: int) -> Array:
    """The binary cross-entropies of "is the label above k?", 0 where not `counted`; all but `labels` [..., C]."""
    # Outputs that do not count may be NaN or infinite, which a later factor of 0 would not remove.
    logits = jnp.where(counted, logits, 0)
    above = _index(logits, axis) < jnp.expand_dims(labels, axis)
    return jnp.where(counted, jax.nn.softplus(jnp.where(above, -logits, logits)), 0)


def corn(
    logits: npt.ArrayLike,
    labels: npt.ArrayLike,
    *,
    classes: Array | int | None = None,
    mask: npt.ArrayLike | None = None,
    class_weights: npt.ArrayLike | None = None,
    task_weights: npt.ArrayLike | None = None,
    axis: int = -1,
) -> Array:
    """CORN: binary tasks on ever fewer examples, [...] in nats per task (Shi et al. 2021, recipes 2.12 and 2.26).

    Task k sees only the labels of at least k. The published loss of a batch is the mean over its pairs of an example
    and a task that sees it. The *mean* of the values here is that loss: each is the sum over the tasks of an example,
    times the number of examples over the number of pairs in the batch. `mask` [...] is False for examples that only
    pad the batch: they are in neither number, and their value is 0. `class_weights` [C] > 0 weigh the pairs of an
    example by its label and `task_weights` [C - 1] >= 0 those of a task: the mean over pairs is then a weighted one.
    Neither is published for CORN.

    Raises ValueError if labels, mask or weights do not fit the logits.
    """
    logits, labels, axis = check_labels(logits, labels, axis)
    (logits,) = at_least_float32(logits)
    kept = jnp.ones(labels.shape, bool) if mask is None else jnp.asarray(mask, bool)
    if kept.shape != labels.shape:
        raise ValueError(f"mask {kept.shape} does not fit labels {labels.shape}")
    index, count = _index(logits, axis), _count(logits, classes, axis)
    factor = nan_unless_valid(jnp.where(kept, labels, 0), count, logits.dtype)
    # Every task sees a label that is none: all of them shall get its NaN gradient.
    seen = (index <= jnp.expand_dims(labels, axis)) | jnp.expand_dims(jnp.isnan(factor), axis)
    counted = (index < count - 1) & seen & jnp.expand_dims(kept, axis)
    weights = jnp.where(counted, _between(task_weights, logits, axis, "task_weights"), 0)
    if class_weights is not None:
        (class_weights,) = at_least_float32(class_weights)
        if class_weights.shape != (logits.shape[axis],):
            raise ValueError(f"class_weights {class_weights.shape} do not fit {logits.shape[axis]} classes")
        weights = weights * jnp.expand_dims(class_weights[jnp.clip(labels, 0, len(class_weights) - 1)], axis)
    # Without a single pair (one class, an empty batch) the values are 0.
    pairs = jnp.sum(weights)
    pairs = jnp.where(pairs > 0, pairs, 1)
    losses = jnp.sum(weights * _task_losses(logits, labels, counted, axis), axis)
    return losses * factor * (jnp.sum(kept).astype(logits.dtype) / pairs)


def coral(
    logits: npt.ArrayLike,
    labels: npt.ArrayLike,
    *,
    classes: Array | int | None = None,
    task_weights: npt.ArrayLike | None = None,
    axis: int = -1,
) -> Array:
    """CORAL: the sum of all tasks' binary cross-entropies, [...] in nats (Cao et al. 2020, recipes 2.12).

    The published head has one weight vector and a bias per task, so that its logits never increase over the tasks once
    trained (`models.dense.Dense` with one_direction). Any logits will do here; `coral_probabilities` puts them in
    order. `task_weights` [C - 1] >= 0, published as importance weights, multiply the terms of the tasks; None: 1.
    Raises ValueError if labels or weights do not fit the logits.
    """
    logits, labels, axis = check_labels(logits, labels, axis)
    (logits,) = at_least_float32(logits)
    count = _count(logits, classes, axis)
    terms = _task_losses(logits, labels, _index(logits, axis) < count - 1, axis)
    losses = jnp.sum(terms * _between(task_weights, logits, axis, "task_weights"), axis)
    return losses * nan_unless_valid(labels, count, logits.dtype)


def _with_tasks(logits: npt.ArrayLike, classes: Array | int | None, axis: int) -> tuple[Array, Array, int]:
    """Logits in at least float32, 0 where `tasks` [..., C] says that they are unused, and the axis from the front."""
    (logits,) = at_least_float32(logits)
    if not logits.ndim:
        raise ValueError("logits need an axis of classes, got a single number")
    axis = axis % logits.ndim
    tasks = _index(logits, axis) < _count(logits, classes, axis) - 1
    return jnp.where(tasks, logits, 0), tasks, axis


def _at_least(above: Array, axis: int) -> Array:
    """P(class >= k) from P(class > k), both [..., C]: one place further, beginning with 1."""
    first = jax.lax.slice_in_dim(above, 0, 1, axis=axis)
    return jnp.concatenate([jnp.ones_like(first), jax.lax.slice_in_dim(above, 0, -1, axis=axis)], axis)


def corn_probabilities(logits: npt.ArrayLike, *, classes: Array | int | None = None, axis: int = -1) -> Array:
    """Class probabilities [..., C] of a head trained with `corn`, whose tasks are conditional on those before.

    P(class > k) is the running product of the sigmoids (recipes 2.26). The published label, the number of them above
    one half, is the class of the median.
    """
    logits, tasks, axis = _with_tasks(logits, classes, axis)
    # The last class has no task: who gets there stays there, and nobody gets beyond.
    go_on = jnp.where(tasks, jax.nn.sigmoid(logits), 0)
    stay = jnp.where(tasks, jax.nn.sigmoid(-logits), 1)
    return _at_least(jnp.cumprod(go_on, axis), axis) * stay


def coral_probabilities(logits: npt.ArrayLike, *, classes: Array | int | None = None, axis: int = -1) -> Array:
    """Class probabilities [..., C] of a head trained with `coral`.

    P(class > k) is the sigmoid of the smallest logit up to k: separate outputs need not be in order, and a probability
    must not be negative.
    """
    logits, tasks, axis = _with_tasks(logits, classes, axis)
    above = jnp.where(tasks, jax.nn.sigmoid(jax.lax.cummin(jnp.where(tasks, logits, jnp.inf), axis)), 0)
    return _at_least(above, axis) - above
