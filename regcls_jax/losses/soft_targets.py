"""Soft class targets over binned targets, and their cross-entropy.

Each target is a function of `targets` [...] and the `edges` [C + 1] of the classes, both in target units, that gives
memberships [..., C] >= 0 with sum 1. Targets outside the edges are moved to the nearest edge; a NaN target gives NaN.
Edges may be traced, and padded by repeating the last one: a class of zero width is padding, with membership 0.
"""

import jax
import jax.numpy as jnp
import numpy.typing as npt
from jax import Array
from jax.typing import ArrayLike

from regcls_jax.losses.classification import memberships as gaussian_memberships
from regcls_jax.losses.regression import at_least_float32


def _checked(targets: npt.ArrayLike, edges: npt.ArrayLike) -> tuple[Array, Array]:
    """Both in at least float32, `targets` moved into the edges. Raises ValueError for edges other than [C + 1]."""
    targets, edges = at_least_float32(targets, edges)
    if edges.ndim != 1 or len(edges) < 2:
        raise ValueError(f"edges must be [C + 1] for at least one class, got shape {edges.shape}")
    return jnp.clip(targets, edges[0], edges[-1]), edges


def _distances(targets: Array, points: Array) -> Array:
    """Target minus point, [...] and [C] -> [..., C]."""
    return jnp.expand_dims(targets, -1) - _as_row(points, targets.ndim)


def _as_row(values: Array, dimensions: int) -> Array:
    """`values` [C] with so many dimensions of size 1 in front."""
    return jnp.expand_dims(values, tuple(range(dimensions)))


def hl_gauss(targets: npt.ArrayLike, edges: npt.ArrayLike, ratio: ArrayLike = 0.75) -> Array:
    """HL-Gauss: the mass of N(target, sigma^2) in each class, [...] -> [..., C] (recipes 2.23).

    sigma is `ratio` > 0 times the median width of a class: one sigma for all of them, because a sigma per class would
    bias the mean. Decoded by expectation this gives back a target some sigmas away from both ends; nearer to an end it
    is decoded inwards. `classification.memberships` takes sigma in target units instead.
    """
    targets, edges = _checked(targets, edges)
    widths = jnp.diff(edges)
    median = jnp.nanmedian(jnp.where(widths > 0, widths, jnp.nan))
    return gaussian_memberships(targets, edges, jnp.asarray(ratio) * median)


def two_hot(targets: npt.ArrayLike, edges: npt.ArrayLike) -> Array:
    """The two classes whose centres enclose the target, in linear proportion, [...] -> [..., C] (recipes 2.11).

    Decoded by expectation this is the target again. Beyond the outermost centres all mass is on one class. The
    published denominator, the gap plus 1e-5, only guards against a gap of 0, which real classes do not have.
    """
    targets, edges = _checked(targets, edges)
    real, centres = jnp.diff(edges) > 0, (edges[:-1] + edges[1:]) / 2
    gaps = jnp.diff(centres)
    rank = targets.ndim
    share = jnp.clip(_distances(targets, centres[:-1]) / _as_row(jnp.where(gaps > 0, gaps, 1), rank), 0, 1)
    share = jnp.where(_as_row(real[1:], rank), share, 0)
    # The mass on class k and above: all of it on class 0 and above, none beyond the last. NaN must not become 1.
    everything = jnp.where(jnp.isnan(targets), targets, 1)[..., None]
    return -jnp.diff(jnp.concatenate([everything, share, jnp.zeros_like(everything)], axis=-1), axis=-1)


def sord(targets: npt.ArrayLike, edges: npt.ArrayLike, alpha: ArrayLike = 1.0, *, power: float = 2) -> Array:
    """SORD: softmax_k(-alpha |y - c_k|^power) over the centres c_k, [...] -> [..., C] (recipes 2.24).

    `alpha` > 0 is per target unit to the `power`, and may be traced; `power` is not. With power 2 this is nearly
    `hl_gauss` of sigma 1 / sqrt(2 alpha). Each class counts by its width, so that unequal classes do not bend the
    density; the published form has equal ones, where that changes nothing.

    Raises ValueError for a power below 1, whose slope at a centre is infinite.
    """
    if power < 1:
        raise ValueError(f"power must be at least 1, got {power}")
    targets, edges = _checked(targets, edges)
    widths = jnp.diff(edges)
    distances = _distances(targets, (edges[:-1] + edges[1:]) / 2)
    far = jnp.square(distances) if power == 2 else jnp.abs(distances) ** power
    real = widths > 0
    logits = _as_row(jnp.log(jnp.where(real, widths, 1)), targets.ndim) - alpha * far
    return jax.nn.softmax(jnp.where(_as_row(real, targets.ndim), logits, -jnp.inf), axis=-1)


def soft_cross_entropy(
    logits: npt.ArrayLike, memberships: npt.ArrayLike, *, classes: Array | int | None = None, axis: int = -1
) -> Array:
    """-sum_k q_k log softmax(logits)_k of memberships q: [..., C] and [..., C] -> [...] in nats (recipes 2.23).

    In at least float32. Its minimum over the logits is the entropy of q, not 0. `axis` is the axis of the classes in
    both. `classes` (may be traced): only the first `classes` are real; the others get no probability and no gradient,
    and their memberships do not count. A NaN membership makes value and gradient NaN.

    Raises ValueError if the shapes differ.
    """
    logits, memberships = at_least_float32(logits, memberships)
    if logits.shape != memberships.shape or not logits.ndim:
        raise ValueError(f"logits {logits.shape} and memberships {memberships.shape} must have one shape [..., C]")
    axis = axis % logits.ndim
    if classes is not None:
        real = jax.lax.broadcasted_iota(jnp.int32, logits.shape, axis) < classes
        logits, memberships = jnp.where(real, logits, -jnp.inf), jnp.where(real, memberships, 0)
    log_probabilities = jax.nn.log_softmax(logits, axis)
    # A class without probability costs nothing where nothing belongs to it, but 0 * -inf is NaN.
    free = jnp.isneginf(log_probabilities) & (memberships == 0)
    return -jnp.sum(memberships * jnp.where(free, 0, log_probabilities), axis)
