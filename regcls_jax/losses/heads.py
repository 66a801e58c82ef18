"""Losses of heads with several outputs per example, and the values read from them: a Laplace, UVOTE, VIR's evidence.

Per-example values [...], in at least float32; the outputs of an example stand on `axis`. A NaN target gives NaN.
"""

import math

import jax
import jax.numpy as jnp
import numpy.typing as npt
from jax import Array
from jax.typing import ArrayLike

from regcls_jax.losses.regression import absolute_error, at_least_float32, squared_error

LARGEST_LOG_SCALE = 5.0
SMALLEST_SCALE = 1e-10  # target units

EVIDENTIAL_OUTPUTS = 3
PRIOR_ALPHA = 0.3
PRIOR_NU = 2.0  # pseudo-observations that a head has at least
SOFTPLUS_SHARPNESS = 0.1  # per output unit


def _scale(s: Array) -> Array:
    """Scale of the Laplace, [...] -> [...] in target units; an output outside the clip has no gradient."""
    return jnp.exp(jnp.clip(s, -LARGEST_LOG_SCALE, LARGEST_LOG_SCALE)) + SMALLEST_SCALE


def laplace_nll(mu: npt.ArrayLike, s: npt.ArrayLike, targets: npt.ArrayLike) -> Array:
    """-log Laplace(y; mu, b) = log(2 b) + |y - mu| / b, [...] -> [...] in nats (recipes 2.33).

    `mu` in target units, b = exp(s) + 1e-10, with s clipped to [-5, 5]. Raises ValueError if the shapes differ.
    """
    mu, s, targets = at_least_float32(mu, s, targets)
    if s.shape != mu.shape:
        raise ValueError(f"mu {mu.shape} and s {s.shape} differ in shape")
    scale = _scale(s)
    # A factor, so that a NaN target has a NaN gradient, too: that of |NaN| is 1.
    known = jnp.where(jnp.isnan(targets), jnp.nan, 1.0).astype(mu.dtype)
    return (jnp.log(2 * scale) + absolute_error(mu, targets) / scale) * known


def _halves(outputs: npt.ArrayLike, axis: int) -> tuple[Array, Array, int]:
    """mu and s [..., M] of outputs [..., 2 M], and the axis counted from the front."""
    (outputs,) = at_least_float32(outputs)
    size = outputs.shape[axis] if outputs.ndim else 0
    if size < 2 or size % 2:
        raise ValueError(f"UVOTE needs outputs [..., 2 M] for M heads, got {outputs.shape} with heads on axis {axis}")
    mu, s = jnp.split(outputs, 2, axis)
    return mu, s, axis % outputs.ndim


def uvote(outputs: npt.ArrayLike, targets: npt.ArrayLike, weights: npt.ArrayLike, *, axis: int = -1) -> Array:
    """UVOTE: the sum over M heads of weight times Laplace NLL, [..., 2 M], [...] and [..., M] -> [...] (recipes 2.33).

    The first M outputs are the heads' mu (target units), the others their s: see `laplace_nll`. Published weights of
    head m = 0 ... M - 1 are n(y)^(-m / (M - 1)) with n(y) the training examples of the target, divided by their mean,
    and for m > 0 times a factor that grows from 0 to 1 over the epochs.

    Raises ValueError if targets or weights do not fit the outputs.
    """
    mu, s, axis = _halves(outputs, axis)
    targets, weights = at_least_float32(targets, weights)
    if weights.shape != mu.shape or targets.shape != mu.shape[:axis] + mu.shape[axis + 1 :]:
        raise ValueError(f"targets {targets.shape} and weights {weights.shape} do not fit heads {mu.shape}")
    of_heads = jnp.broadcast_to(jnp.expand_dims(targets, axis), mu.shape)
    return jnp.sum(weights * laplace_nll(mu, s, of_heads), axis)


def uvote_value(outputs: npt.ArrayLike, *, axis: int = -1) -> tuple[Array, Array]:
    """mu and standard deviation, both [...] in target units, of the surest head, [..., 2 M] (recipes 2.33).

    That of the smallest s before clipping, and the first of equals. The deviation is sqrt(2) times the clipped scale.
    """
    mu, s, axis = _halves(outputs, axis)
    sure = jnp.expand_dims(jnp.argmin(s, axis), axis)
    value, log_scale = (jnp.squeeze(jnp.take_along_axis(part, sure, axis), axis) for part in (mu, s))
    return value, math.sqrt(2) * _scale(log_scale)


def _evidence(raw: npt.ArrayLike, axis: int) -> tuple[Array, Array, Array]:
    """Mean (target units), pseudo-observations and beta (target units squared), all [...], of raw outputs [..., 3]."""
    (raw,) = at_least_float32(raw)
    if not raw.ndim or raw.shape[axis] != EVIDENTIAL_OUTPUTS:
        raise ValueError(f"an evidential head needs {EVIDENTIAL_OUTPUTS} outputs on axis {axis}, got {raw.shape}")
    mean, observations, beta = (jnp.squeeze(part, axis) for part in jnp.split(raw, EVIDENTIAL_OUTPUTS, axis))
    observations, beta = (
        jax.nn.softplus(SOFTPLUS_SHARPNESS * part) / SOFTPLUS_SHARPNESS for part in (observations, beta)
    )
    # softplus reaches 0 for very negative outputs, where the density would be infinite.
    return mean, observations + PRIOR_NU, jnp.maximum(beta, SMALLEST_SCALE)


def evidential_nll(
    raw: npt.ArrayLike,
    targets: npt.ArrayLike,
    weights: npt.ArrayLike | None = None,
    *,
    penalty: ArrayLike = 0.01,
    axis: int = -1,
) -> Array:
    """The loss of VIR's evidential head alone, [..., 3] and [...] -> [...] (recipes 2.34): NLL + `penalty` regulariser.

    The outputs are gamma, n and omega: a normal-inverse-gamma with mean gamma, n pseudo-observations and
    beta = omega, whose negative log-evidence of the target is that of a Student t. `weights` [...] > 0 multiply n:
    published in training, by LDS; None: 1. The regulariser |y - gamma| (2 nu + alpha) punishes sureness where it is
    wrong; published `penalty`: .01, per target unit.

    Raises ValueError if raw is not [..., 3], or targets or weights do not fit it.
    """
    mean, nu, beta = _evidence(raw, axis)
    (targets,) = at_least_float32(targets)
    if weights is not None:
        (weights,) = at_least_float32(weights)
        if weights.shape != nu.shape:
            raise ValueError(f"weights {weights.shape} do not fit targets {nu.shape}")
        nu = nu * weights
    alpha = PRIOR_ALPHA + nu / 2
    omega = 2 * beta * (1 + nu)
    # The published terms, collected: alpha log(omega) and the logarithms of Gamma are large and cancel in float32.
    nll = (
        jnp.log(omega / nu) / 2
        + (alpha + 0.5) * jnp.log1p(nu * squared_error(mean, targets) / omega)
        + jax.scipy.special.betaln(alpha, 0.5)
    )
    return nll + penalty * absolute_error(mean, targets) * (2 * nu + alpha)


def evidential_value(raw: npt.ArrayLike, *, axis: int = -1) -> tuple[Array, Array]:
    """Mean (target units) and variance of the mean (squared), both [...], of raw outputs [..., 3] (recipes 2.34).

    Of the test, where no weights multiply the pseudo-observations: beta / ((alpha - 1) nu).
    """
    mean, nu, beta = _evidence(raw, axis)
    return mean, beta / ((PRIOR_ALPHA + nu / 2 - 1) * nu)
