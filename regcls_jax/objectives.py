"""The training objective: scale * (lambda * regression + auxiliary loss), with masks (Eq. 4)."""

import jax
import jax.numpy as jnp
import numpy.typing as npt
from jax import Array

from regcls_jax import losses
from regcls_jax.losses.auxiliary import Auxiliary, Given, classification
from regcls_jax.losses.registry import Loss
from regcls_jax.prediction import Prediction
from regcls_jax.row_loop import is_large, kept_or_zero

REDUCTIONS = ("mean", "sum")


def _fitted(name: str, array: npt.ArrayLike, shape: tuple[int, ...]) -> Array:
    """`array` in the given `shape`: as it is, or [B] repeated over the components of vector targets [B, t]."""
    array = jnp.asarray(array)
    if array.shape == shape:
        return array
    if array.shape == shape[:-1]:
        return jnp.broadcast_to(array[..., None], shape)
    raise ValueError(f"{name} {array.shape} and values {shape} differ in shape")


def _mask(name: str, mask: npt.ArrayLike, shape: tuple[int, ...]) -> Array:
    mask = _fitted(name, mask, shape)
    if mask.dtype != bool:
        raise ValueError(f"{name} must be bool (True: the example counts), got {mask.dtype}; pass numbers as weights")
    return mask


def masked_mean(values: npt.ArrayLike, mask: npt.ArrayLike | None = None) -> Array:
    """The mean of `values` [...] where the bool `mask` [...] is True: sum(mask * values) / max(sum(mask), 1).

    Without a mask the plain mean. If nothing is kept, the result is 0 with a zero gradient, not NaN. A mask [B] fits
    values [B, t].
    """
    values = jnp.asarray(values)
    if mask is None:
        return jnp.mean(values)
    mask = _mask("mask", mask, values.shape)
    # where() rather than a product: an excluded value may be inf or NaN.
    return jnp.sum(jnp.where(mask, values, 0)) / jnp.maximum(jnp.sum(mask), 1)


def reduced(values: npt.ArrayLike, mask: Array | None, reduction: str) -> Array:
    """The mean of `values` where `mask` is True (`masked_mean`), or with `reduction` "sum" their sum."""
    if reduction not in REDUCTIONS:
        raise ValueError(f"unknown reduction {reduction!r}; one of {', '.join(REDUCTIONS)}")
    if reduction == "mean":
        return masked_mean(values, mask)
    values = jnp.asarray(values)
    return jnp.sum(values if mask is None else jnp.where(mask, values, 0))


def keep_mask(key: Array, labels: npt.ArrayLike, keep: npt.ArrayLike) -> Array:
    """Draws which samples count in the class loss (Eq. 13): labels int [...], keep [C] -> bool [...].

    True where U(0, 1) < keep[label]. Draw a new mask in every step, from `fold_in(key, step)`: the published code draws
    whenever it reads a sample. A label outside [0, C) is kept, so that its loss, which is NaN, shows.
    """
    labels, keep = jnp.asarray(labels), jnp.asarray(keep)
    outside = (labels < 0) | (labels >= len(keep))
    return (jax.random.uniform(key, labels.shape) < keep[jnp.where(outside, 0, labels)]) | outside


def objective(
    prediction: Prediction,
    targets: npt.ArrayLike,
    labels: npt.ArrayLike | None = None,
    *,
    given: Given | None = None,
    lam: Array | float = 1.0,
    scale: Array | float = 1.0,
    reduction: str = "mean",
    regression: Loss = losses.squared_error,
    auxiliary: Auxiliary = classification,
    weights: npt.ArrayLike | None = None,
    class_weights: npt.ArrayLike | None = None,
    mask: npt.ArrayLike | None = None,
    class_mask: npt.ArrayLike | None = None,
) -> tuple[Array, dict[str, Array]]:
    """scale * (lam * mean regression loss + mean auxiliary loss), and its two terms before weighting (Eq. 3 and 4).

    Args:
      prediction: value [...] of the shape of `targets`; logits and features as the auxiliary loss needs them.
      targets: [...], or vectors [B, t].
      labels: int [...], the classes of the targets; None for plain regression, whose loss lam still multiplies (the
        "reg x lambda" control).
      given: instead of labels, everything an auxiliary loss may need. Its targets may have another shape than
        `targets` (another resolution).
      lam: weight of the regression loss; may be traced.
      scale: of the whole loss; may be traced. The published image code's "reg + cls / lambda" is scale = 1 / lambda.
      reduction: of the regression loss over the examples: "mean", or "sum" as the published video code has it
        (recipes 4.6-6), where lam means as much as lam times the batch size with the mean.
      regression: per-example loss of value and targets.
      auxiliary: per-example loss of the whole prediction and `given`.
      weights: [...] or [B], factors of the regression loss (re-weighting, LDS).
      class_weights: in the shape of `given.targets`, factors of the auxiliary loss.
      mask: bool [...] or [B], which examples count in both means. A loss that compares the examples of a batch (BMC)
        needs it itself, too: `functools.partial(bmc, mask=mask, ...)`.
      class_mask: bool in the shape of `given.targets`, which of these count in the auxiliary mean. If `mask` does not
        fit that shape (two resolutions), it masks that mean alone, and must be given.

    Returns:
      The loss, and its terms "regression" and, with classes, "auxiliary".

    Raises:
      ValueError: shapes that do not fit, a mask that is not bool, logits without labels, or both labels and `given`.
    """
    value, targets = prediction.value, jnp.asarray(targets)
    if jnp.shape(value) != targets.shape:
        raise ValueError(f"predicted values {jnp.shape(value)} and targets {targets.shape} differ in shape")
    own = None if mask is None else _mask("mask", mask, targets.shape)
    if own is not None:
        # Before the loss as well as after it: an excluded inf or NaN would otherwise have the gradient 0 * inf.
        value, targets = jnp.where(own, value, 0), jnp.where(own, targets, 0)
    values = regression(value, targets)
    # A loss that compares the examples of a batch gives one value [B] for a vector target.
    bounds = own if own is None or own.shape == values.shape else own.any(-1)
    if weights is not None:
        weights = _fitted("weights", weights, values.shape)
        values = values * (weights if bounds is None else jnp.where(bounds, weights, 0))
    terms = {"regression": reduced(values, bounds, reduction)}
    total = lam * terms["regression"]
    if labels is not None:
        if given is not None:
            raise ValueError("pass either labels or given, not both")
        given = Given(targets, jnp.asarray(labels))
    if given is not None:
        kept = _kept(jnp.shape(given.targets), mask, class_mask)
        seen = _masked(prediction._replace(value=value), kept, given.axis)
        if kept is not None:
            # Labels, too: a target without a class is allowed where it does not count.
            given = given._replace(
                targets=jnp.where(kept, given.targets, 0),
                labels=None if given.labels is None else jnp.where(kept, given.labels, 0),
                weights=None if given.weights is None else jnp.where(kept, given.weights, 0),
                mask=kept,
            )
        of_classes = auxiliary(seen, given)
        if class_weights is not None:
            class_weights = _fitted("class_weights", class_weights, of_classes.shape)
            of_classes = of_classes * (class_weights if kept is None else jnp.where(kept, class_weights, 0))
        terms["auxiliary"] = masked_mean(of_classes, kept)
        total = total + terms["auxiliary"]
    elif prediction.logits is not None:
        raise ValueError("the prediction has logits: pass labels (or given) for them, or leave them out")
    return scale * total, terms


def _kept(shape: tuple[int, ...], mask: npt.ArrayLike | None, class_mask: npt.ArrayLike | None) -> Array | None:
    """Which examples count in the auxiliary mean, in the `shape` of its targets; None: all."""
    kept = None if class_mask is None else _mask("class_mask", class_mask, shape)
    if mask is None:
        return kept
    mask = jnp.asarray(mask)
    if mask.shape != shape[: mask.ndim]:
        if kept is None:
            raise ValueError(f"mask {mask.shape} does not fit the targets of the classes {shape}: pass class_mask")
        return kept
    mask = jnp.broadcast_to(mask.reshape(mask.shape + (1,) * (len(shape) - mask.ndim)), shape)
    return mask if kept is None else kept & mask


def _masked(prediction: Prediction, kept: Array | None, axis: int) -> Prediction:
    """Sets to 0 what does not count: it may hold inf or NaN."""

    def masked(array: Array | None) -> Array | None:
        # Features of another resolution than the classes are left as they are.
        if array is None or kept is None or array.size // array.shape[axis] != kept.size:
            return array
        if is_large(array) and axis in (-1, array.ndim - 1):
            return kept_or_zero(array, kept)
        return jnp.where(jnp.expand_dims(kept, axis), array, 0)

    return prediction._replace(logits=masked(prediction.logits), features=masked(prediction.features))
