"""The one place where losses meet: scale * (lambda * regression + cross-entropy) with masks (Eq. 4)."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array

from regcls_jax import losses

Loss = Callable[[Array, Array], Array]


def _check_shape(name: str, array: Array, shape: tuple[int, ...]) -> None:
    if jnp.shape(array) != shape:
        raise ValueError(f"{name} {jnp.shape(array)} and values {shape} differ in shape")


def masked_mean(values: Array, mask: Array | None = None) -> Array:
    """The mean of `values` [...] where the bool `mask` [...] is True: sum(mask * values) / max(sum(mask), 1).

    Without a mask the plain mean. With nothing kept the result is 0 with a zero gradient, not NaN.
    """
    if mask is None:
        return jnp.mean(values)
    _check_shape("mask", mask, jnp.shape(values))
    # where() rather than a product: an excluded value may be inf or NaN.
    return jnp.sum(jnp.where(mask, values, 0)) / jnp.maximum(jnp.sum(mask), 1)


def keep_mask(key: Array, labels: Array, keep: Array) -> Array:
    """A fresh draw of the class-keeping mask (Eq. 13): labels int [...], keep [C] -> bool [...], U(0, 1) < keep[label].

    Draw it anew at every step from `fold_in(key, step)`, as the published code draws at every read of a sample.
    """
    return jax.random.uniform(key, labels.shape) < keep[labels]


def objective(
    value: Array,
    targets: Array,
    logits: Array | None = None,
    labels: Array | None = None,
    *,
    lam: Array | float = 1.0,
    scale: Array | float = 1.0,
    regression: Loss = losses.squared_error,
    weights: Array | None = None,
    mask: Array | None = None,
    class_mask: Array | None = None,
    classes: Array | int | None = None,
    class_axis: int = -1,
    memberships: Array | None = None,
) -> tuple[Array, dict[str, Array]]:
    """scale * (lam * mean regression + mean cross-entropy), and its two terms before weighting (Eq. 3 and 4).

    value, targets [...]; logits [..., C] (classes on `class_axis`) and labels int [...], or neither for plain
    regression (then lam still multiplies the regression loss: the "reg x lambda" control). `regression` gives
    per-example losses; `weights` [...] multiplies them (re-weighting, LDS); `mask` [...] selects the examples of the
    regression mean, `class_mask` [...] those of the classification mean; `classes` as in `losses.cross_entropy`.
    `memberships` [..., C] in place of labels: the head regresses them (`losses.membership_error`), a control.
    lam, scale and classes may be traced. The published image code's "reg + cls / lambda" is scale = 1 / lambda.
    """
    if (logits is None) != (labels is None and memberships is None) or (labels is not None and memberships is not None):
        raise ValueError("logits go with either labels or memberships: give both or neither")
    if mask is not None:
        _check_shape("mask", mask, jnp.shape(value))
        # Before the loss as well as after it: an excluded inf or NaN would otherwise have the gradient 0 * inf.
        value, targets = jnp.where(mask, value, 0), jnp.where(mask, targets, 0)
    values = regression(value, targets)
    if weights is not None:
        _check_shape("weights", weights, jnp.shape(values))
        values = values * (weights if mask is None else jnp.where(mask, weights, 0))
    terms = {"regression": masked_mean(values, mask)}
    total = lam * terms["regression"]
    if logits is not None:
        if class_mask is not None:
            _check_shape("class_mask", class_mask, logits.shape[:class_axis] + logits.shape[class_axis:][1:])
            logits = jnp.where(jnp.expand_dims(class_mask, class_axis), logits, 0)
        if memberships is None:
            values = losses.cross_entropy(logits, labels, classes=classes, axis=class_axis)
        else:
            values = losses.membership_error(logits, memberships, axis=class_axis)
        terms["classification"] = masked_mean(values, class_mask)
        total = total + terms["classification"]
    return scale * total, terms
