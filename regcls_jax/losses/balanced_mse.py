"""Balanced MSE (Ren et al. 2022): the NLL of imbalanced data under a Gaussian, with three forms of p~(y).

All three are `theory.imbalanced_nll` (Eq. 5) without the constant -log p~(y):
(p - y)^2 / (2 s^2) + log(2 pi s^2) / 2 + log_evidence(p~, p, s^2), where s is `noise_sigma`, a positive
scalar in target units that may be traced and learned. The published code (recipes 2.4) multiplies every value
by stop_gradient(2 s^2): the first term is (p - y)^2 whatever s. `scaled=False` leaves the value in nats.

They model balanced targets: the loss may fall while the MSE on data distributed like the training set rises.
"""

import jax
import jax.numpy as jnp
import numpy.typing as npt
from jax import Array
from jax.typing import ArrayLike

from regcls_jax import priors
from regcls_jax.losses.classification import cross_entropy
from regcls_jax.losses.regression import check_pair, gaussian_nll


def _scale(values: Array, variance: Array, scaled: bool) -> Array:
    return values * jax.lax.stop_gradient(2 * variance) if scaled else values


def _points(prior: priors.HistogramPrior) -> priors.MixturePrior:
    """All mass of a bucket at its centre; an empty bucket, which may be padding up to infinity, has none."""
    edges, probabilities = jnp.asarray(prior.edges), jnp.asarray(prior.probabilities)
    centres = jnp.where(probabilities > 0, (edges[:-1] + edges[1:]) / 2, 0)
    return priors.MixturePrior(centres, jnp.zeros_like(centres), probabilities)


def gai(
    predictions: npt.ArrayLike,
    targets: npt.ArrayLike,
    *,
    prior: priors.Prior,
    noise_sigma: ArrayLike,
    scaled: bool = True,
    true_nll: bool = False,
) -> Array:
    """Balanced MSE with the integral in closed form (GAI), [...] -> [...]; published with a MixturePrior.

    `true_nll` adds -log p~(y), which the published code leaves out and which changes no gradient: with
    `scaled=False` the value is then -log of a density that integrates to 1 over y (+inf where p~(y) = 0).
    """
    variance = jnp.square(noise_sigma)
    values = gaussian_nll(predictions, targets, variance) + priors.log_evidence(prior, predictions, variance)
    if true_nll:
        values = values - priors.log_density(prior, targets)
    return _scale(values, variance, scaled)


def gai_vectors(
    predictions: npt.ArrayLike,
    targets: npt.ArrayLike,
    *,
    prior: priors.VectorMixture,
    noise_sigma: ArrayLike,
    scaled: bool = True,
) -> Array:
    """GAI of vector targets under N(p, s^2 I) and a mixture p~(y) with full covariances, [..., D] -> [...].

    |p - y|^2 / (2 s^2) + D log(2 pi s^2) / 2 + log sum_k pi_k N(p; m_k, V_k + s^2 I) (recipes 2.4). With D = 1 it is
    `gai`. Raises ValueError for shapes that differ or a prior of another D.
    """
    predictions, targets = check_pair(predictions, targets)
    variance = jnp.square(noise_sigma)
    evidence = priors.vector_log_evidence(prior, predictions, variance)
    return _scale(jnp.sum(gaussian_nll(predictions, targets, variance), -1) + evidence, variance, scaled)


def bni(
    predictions: npt.ArrayLike,
    targets: npt.ArrayLike,
    *,
    prior: priors.HistogramPrior,
    noise_sigma: ArrayLike,
    scaled: bool = True,
    true_nll: bool = False,
) -> Array:
    """Balanced MSE with the integral as a sum over bucket centres c_k (BNI), [...] -> [...]: GAI of point masses.

    (p - y)^2 / (2 s^2) + logsumexp_k[log q_k - (p - c_k)^2 / (2 s^2)]. The log s^2 of the Gaussian and of the
    evidence cancel. -log p~(y) is left out, so the value can be negative. Empty buckets do not count. The
    centres approximate the histogram only while s is not much smaller than a bucket; `true_nll` integrates over
    the buckets exactly instead and adds the constant: `gai` of the histogram.
    """
    return gai(
        predictions,
        targets,
        prior=prior if true_nll else _points(prior),
        noise_sigma=noise_sigma,
        scaled=scaled,
        true_nll=true_nll,
    )


def bmc(
    predictions: npt.ArrayLike,
    targets: npt.ArrayLike,
    *,
    noise_sigma: ArrayLike,
    mask: npt.ArrayLike | None = None,
    scaled: bool = True,
) -> Array:
    """Balanced MSE by Monte Carlo over the batch (BMC): [B], or vectors [B, D] under N(p, s^2 I), -> [B].

    -log softmax_j(-|p_i - y_j|^2 / (2 s^2)) at j = i: a true NLL among the targets of the batch, never
    negative. Equal targets are not merged: they share their probability. `mask` [B] is False for rows that
    only pad the batch: they are not part of the softmax, and their loss is 0. Memory grows with B * B (* D).
    Raises ValueError for a batch of one, whose loss is 0 whatever the prediction (a batch of which `mask` keeps
    one row has loss 0, without an error): use GAI or BNI, which need no batch.
    """
    predictions, targets = check_pair(predictions, targets)
    if not 1 <= jnp.ndim(predictions) <= 2:
        raise ValueError(f"BMC needs predictions [B] or [B, D], got {jnp.shape(predictions)}")
    batch = len(predictions)
    if batch < 2:
        raise ValueError(f"BMC compares the examples of a batch and needs at least 2, got {batch}")
    kept = jnp.ones(batch, bool) if mask is None else jnp.asarray(mask, bool)
    if kept.shape != (batch,):
        raise ValueError(f"mask {kept.shape} does not fit a batch of {batch}")
    # Padding may hold NaN, whose gradient would survive the mask of the logits.
    predictions, targets = (
        jnp.where(kept[:, None], jnp.reshape(values, (batch, -1)), 0) for values in (predictions, targets)
    )
    variance = jnp.square(noise_sigma)
    logits = -jnp.sum(jnp.square(predictions[:, None] - targets[None]), axis=-1) / (2 * variance)
    logits = jnp.where(kept[None], logits, -jnp.inf)
    return jnp.where(kept, _scale(cross_entropy(logits, jnp.arange(batch)), variance, scaled), 0)
