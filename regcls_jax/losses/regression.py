"""Losses of a predicted value, optax style: per-example values [...]; the caller reduces once (objectives.py)."""

import jax.numpy as jnp
import numpy.typing as npt
from jax import Array
from jax.typing import ArrayLike

FOCAL_ACTIVATIONS = ("sigmoid", "tanh")


def check_pair(predictions: npt.ArrayLike, targets: npt.ArrayLike) -> tuple[Array, Array]:
    """Both as JAX arrays: the one check of every loss of a prediction and a target.

    Raises ValueError for different shapes (nothing is broadcast) or predictions that are not floating point.
    """
    predictions, targets = jnp.asarray(predictions), jnp.asarray(targets)
    if predictions.shape != targets.shape:
        raise ValueError(f"predictions {predictions.shape} and targets {targets.shape} differ in shape")
    if not jnp.issubdtype(predictions.dtype, jnp.floating):
        raise ValueError(f"predictions must be floating point, got {predictions.dtype}")
    return predictions, targets


def at_least_float32(*arrays: npt.ArrayLike) -> tuple[Array, ...]:
    """All as JAX arrays of one floating point type, float32 or wider: sums over many bfloat16 values lose too much."""
    kind = jnp.result_type(*(jnp.asarray(array) for array in arrays), jnp.float32)
    return tuple(jnp.asarray(array, kind) for array in arrays)


def squared_error(predictions: npt.ArrayLike, targets: npt.ArrayLike) -> Array:
    """(p - y)^2, [...] -> [...] (Eq. 3), in squared target units."""
    predictions, targets = check_pair(predictions, targets)
    return jnp.square(predictions - targets)


def absolute_error(predictions: npt.ArrayLike, targets: npt.ArrayLike) -> Array:
    """|p - y|, [...] -> [...], in target units. The gradient at p = y is 0."""
    predictions, targets = check_pair(predictions, targets)
    error = predictions - targets
    # jnp.abs alone has gradient 1 at 0.
    return jnp.where(error == 0, 0, jnp.abs(error))


def huber(predictions: npt.ArrayLike, targets: npt.ArrayLike, *, beta: ArrayLike = 1.0) -> Array:
    """Smooth L1, [...] -> [...]: a^2 / (2 beta) for a = |p - y| < beta, else a - beta / 2 (recipes 2.1).

    `beta` in target units. This is optax.huber_loss(delta=beta) / beta, so that it tends to |p - y| for small beta.
    """
    predictions, targets = check_pair(predictions, targets)
    error = jnp.abs(predictions - targets)
    # min() keeps the unused quadratic branch from overflowing, whose gradient would be inf * 0.
    return jnp.where(error < beta, jnp.square(jnp.minimum(error, beta)) / (2 * beta), error - beta / 2)


def gaussian_nll(predictions: npt.ArrayLike, targets: npt.ArrayLike, variance: ArrayLike) -> Array:
    """-log N(y; p, variance) (Eq. 2), [...] -> [...] in nats; `variance` (scalar or [...]) in squared target units."""
    return (squared_error(predictions, targets) / variance + jnp.log(2 * jnp.pi * variance)) / 2


def _focal_factor(predictions: Array, targets: Array, beta: ArrayLike, gamma: ArrayLike, activation: str) -> Array:
    """The factor of Focal-R, [...] in [0, 1]."""
    if activation not in FOCAL_ACTIVATIONS:
        raise ValueError(f"unknown activation {activation!r}; one of {', '.join(FOCAL_ACTIVATIONS)}")
    # 2 sigmoid(x) - 1 = tanh(x / 2), which does not cancel near 0.
    hardness = jnp.tanh(jnp.abs(predictions - targets) * (beta / 2 if activation == "sigmoid" else beta))
    # For gamma < 1 the power has an infinite slope at 0, but is multiplied by 0 there: keep it out of the gradient.
    easy = hardness == 0
    return jnp.where(easy, gamma == 0, jnp.power(jnp.where(easy, 1, hardness), gamma))


def focal_squared_error(
    predictions: npt.ArrayLike,
    targets: npt.ArrayLike,
    *,
    beta: ArrayLike = 0.2,
    gamma: ArrayLike = 1.0,
    activation: str = "sigmoid",
) -> Array:
    """Focal-R on the squared error, (p - y)^2 f(beta |p - y|)^gamma, [...] -> [...].

    From Yang et al. (2021), recipes 2.1. f(x) is 2 sigmoid(x) - 1 or, for `activation` "tanh", tanh(x); the
    gradient goes through it. `beta` > 0 is per target unit (published: 0.2 per year, 20 on STS-B scores divided
    by 5), `gamma` >= 0; both may be traced. Value and gradient at p = y are 0 for every gamma, even below 1.
    """
    predictions, targets = check_pair(predictions, targets)
    return squared_error(predictions, targets) * _focal_factor(predictions, targets, beta, gamma, activation)


def focal_absolute_error(
    predictions: npt.ArrayLike,
    targets: npt.ArrayLike,
    *,
    beta: ArrayLike = 0.2,
    gamma: ArrayLike = 1.0,
    activation: str = "sigmoid",
) -> Array:
    """|p - y| f(beta |p - y|)^gamma, [...] -> [...]: Focal-R on the absolute error; see `focal_squared_error`."""
    predictions, targets = check_pair(predictions, targets)
    return absolute_error(predictions, targets) * _focal_factor(predictions, targets, beta, gamma, activation)
