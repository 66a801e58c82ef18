"""Losses added to the regression loss; they see the whole prediction: value, logits and features."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from regcls_jax.losses import heads, ordinal, soft_targets
from regcls_jax.losses.classification import cross_entropy, membership_error, memberships
from regcls_jax.losses.conr import conr as _conr
from regcls_jax.losses.ordinal_entropy import ordinal_entropy as _ordinal_entropy
from regcls_jax.losses.rank_n_contrast import rank_n_contrast as _rank_n_contrast
from regcls_jax.losses.ranksim import ranksim as _ranksim
from regcls_jax.prediction import Prediction


class Given(NamedTuple):
    """What an auxiliary loss is given besides the prediction."""

    targets: Array  # [...] in target units
    labels: Array | None = None  # int [...], the classes of the targets
    edges: Array | None = None  # [C + 1], of the classes, in target units
    classes: Array | int | None = None  # how many of the logits are real (may be traced); None: all
    axis: int = -1  # of the classes in the logits, and of the features
    mask: Array | None = None  # bool [...], the examples that count, for losses that compare examples; None: all
    unit: Array | float = 1.0  # of distances between targets, for losses that have a scale of their own
    # Mean and deviation (target units): an output z of a head that is no class stands for mean + deviation * z.
    output_scale: tuple[Array | float, Array | float] = (0.0, 1.0)
    weights: Array | None = None  # [...], of the examples, for losses that take them themselves; None: 1
    progress: Array | float = 1.0  # share of the epochs that are over, 0 in the first


Auxiliary = Callable[[Prediction, Given], Array]


def _logits(prediction: Prediction) -> Array:
    if prediction.logits is None:
        raise ValueError("this auxiliary loss needs a prediction with logits")
    return prediction.logits


def _labels(given: Given) -> Array:
    if given.labels is None:
        raise ValueError("this auxiliary loss needs the labels of the classes")
    return given.labels


def _edges(given: Given) -> Array:
    if given.edges is None:
        raise ValueError("this auxiliary loss needs the edges of the classes")
    return jnp.asarray(given.edges)


def classification(prediction: Prediction, given: Given) -> Array:
    """The cross-entropy of the class head (Eq. 4), [...] in nats: `losses.cross_entropy`."""
    return cross_entropy(_logits(prediction), _labels(given), classes=given.classes, axis=given.axis)


def membership(prediction: Prediction, given: Given, *, sigma: Array | float) -> Array:
    """The class head *regresses* soft memberships of width `sigma` (target units), [...]: `losses.membership_error`.

    A control: does reg+cls gain from a second task on the same features, or from classification?
    """
    logits = _logits(prediction)
    soft = memberships(given.targets, _edges(given), sigma)
    soft = jnp.moveaxis(soft, -1, given.axis)
    if given.classes is not None:
        real = jax.lax.broadcasted_iota(jnp.int32, logits.shape, given.axis % logits.ndim) < given.classes
        logits, soft = jnp.where(real, logits, 0), jnp.where(real, soft, 0)
    return membership_error(logits, soft, axis=given.axis)


def _soft(prediction: Prediction, given: Given, soft: Array) -> Array:
    """The cross-entropy of the class head and memberships [..., C]."""
    soft = jnp.moveaxis(soft, -1, given.axis)
    return soft_targets.soft_cross_entropy(_logits(prediction), soft, classes=given.classes, axis=given.axis)


def hl_gauss(prediction: Prediction, given: Given, *, ratio: Array | float) -> Array:
    """The cross-entropy with HL-Gauss memberships, [...] in nats; sigma is `ratio` class widths (recipes 2.23)."""
    return _soft(prediction, given, soft_targets.hl_gauss(given.targets, _edges(given), ratio))


def two_hot(prediction: Prediction, given: Given) -> Array:
    """The cross-entropy with the two nearest class centres, [...] in nats (recipes 2.11)."""
    return _soft(prediction, given, soft_targets.two_hot(given.targets, _edges(given)))


def sord(prediction: Prediction, given: Given, *, alpha: Array | float) -> Array:
    """The cross-entropy with SORD's memberships, [...] in nats; `alpha` is per squared class width (recipes 2.24)."""
    widths = jnp.diff(_edges(given))
    width = jnp.nanmedian(jnp.where(widths > 0, widths, jnp.nan))
    return _soft(prediction, given, soft_targets.sord(given.targets, _edges(given), alpha / jnp.square(width)))


def squared_emd(prediction: Prediction, given: Given) -> Array:
    """The squared earth mover's distance of the class head, [...]: `losses.squared_emd`."""
    return ordinal.squared_emd(_logits(prediction), _labels(given), classes=given.classes, axis=given.axis)


def corn(prediction: Prediction, given: Given) -> Array:
    """The class head as CORN's tasks, [...] in nats: `losses.corn`."""
    logits, labels = _logits(prediction), _labels(given)
    return ordinal.corn(logits, labels, classes=given.classes, mask=given.mask, axis=given.axis)


def coral(prediction: Prediction, given: Given) -> Array:
    """The class head as CORAL's tasks, [...] in nats: `losses.coral`."""
    return ordinal.coral(_logits(prediction), _labels(given), classes=given.classes, axis=given.axis)


def _features(prediction: Prediction, given: Given) -> Array:
    """Features [B, F]. Raises ValueError for a prediction without them, or with several per example."""
    if prediction.features is None or prediction.features.ndim != 2:
        raise ValueError("this auxiliary loss needs one vector of features per example")
    return jnp.moveaxis(prediction.features, given.axis, -1)


def ordinal_entropy(prediction: Prediction, given: Given) -> Array:
    """Spreads the features as their targets are spread, [B]: `losses.ordinal_entropy`."""
    return _ordinal_entropy(_features(prediction, given), given.targets, mask=given.mask)


def ranksim(prediction: Prediction, given: Given, *, gamma: Array | float, strength: Array | float) -> Array:
    """Ranks neighbours among features as among targets, [B], times `gamma`: `losses.ranksim`."""
    return gamma * _ranksim(_features(prediction, given), given.targets, strength=strength, mask=given.mask)


def conr(
    prediction: Prediction,
    given: Given,
    *,
    distance: Array | float,
    temperature: Array | float,
    eta: Array | float,
) -> Array:
    """Contrasts examples whose predictions are closer than their targets, [B]: `losses.conr`."""
    targets, values = given.targets / given.unit, prediction.value / given.unit
    settings = {"distance": distance, "temperature": temperature, "eta": eta}
    return _conr(_features(prediction, given), targets, values, **settings, mask=given.mask)


def rank_n_contrast(prediction: Prediction, given: Given, *, temperature: Array | float) -> Array:
    """Orders the distances of features as those of targets, [B]: `losses.rank_n_contrast`."""
    return _rank_n_contrast(_features(prediction, given), given.targets, temperature=temperature, mask=given.mask)


def _of_head(given: Given) -> Array:
    """The targets as the outputs of the head are scaled."""
    mean, deviation = given.output_scale
    return (given.targets - mean) / deviation


def uvote(prediction: Prediction, given: Given) -> Array:
    """UVOTE with two voters, [...]: `losses.uvote` of mu, mu, s, s, in the unit of the head's outputs.

    The second voter has the weights of the examples, times the squared share of the epochs that are over: recipes 2.33.
    """
    if given.weights is None:
        raise ValueError("uvote's voters differ by the weights of the examples: pass weights")
    weights = jnp.stack([jnp.ones_like(given.weights), given.weights * jnp.square(given.progress)], given.axis)
    return heads.uvote(_logits(prediction), _of_head(given), weights, axis=given.axis)


def evidential(prediction: Prediction, given: Given, *, penalty: Array | float) -> Array:
    """VIR's evidential head, [...], in the unit of its outputs: `losses.evidential_nll`; weights multiply evidence."""
    outputs, targets = _logits(prediction), _of_head(given)
    return heads.evidential_nll(outputs, targets, given.weights, penalty=penalty, axis=given.axis)
