"""The density p~(y) of imbalanced training targets, and its integral against a Gaussian (Eq. 5, 8), in closed form.

Per-example values [...] in nats, pure and jit-able; `mean` and `variance` (scalar or [...]) are the Gaussian's.
"""

import math
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
from jax import Array
from jax.scipy.special import erf, logsumexp
from jax.scipy.stats import norm
from jax.typing import ArrayLike

from regcls_jax import binning

# 20 nodes on [0, 1] integrate exp(-s), 0 <= s <= 37, to 3e-14; beyond 37 exp(-s) is negligible in double precision.
_NODES, _WEIGHTS = (np.polynomial.legendre.leggauss(20) + np.array([[1], [0]])) / 2
_REACH = 37.0
_ROOT_2 = math.sqrt(2)
# Stands for an infinite edge: its derivatives are then 0, not 0 * inf, and its square is finite in float32.
_FAR = 1e15


class HistogramPrior(NamedTuple):
    """A piecewise constant p~(y): mass `probabilities` [C] (sum 1, zeros allowed) spread evenly over `edges` [C + 1].

    As in `binning.assign`, `edges` may be padded at the end with +inf; the padded bins have probability 0.
    """

    edges: Array | np.ndarray
    probabilities: Array | np.ndarray


class MixturePrior(NamedTuple):
    """A Gaussian mixture p~(y): `means`, `variances` (positive), `weights` (sum 1; 0 where padded), each [K]."""

    means: Array | np.ndarray
    variances: Array | np.ndarray
    weights: Array | np.ndarray


class VectorMixture(NamedTuple):
    """A Gaussian mixture of vectors: `means` [K, D], `covariances` [K, D, D] (positive definite), `weights` [K]."""

    means: Array | np.ndarray
    covariances: Array | np.ndarray
    weights: Array | np.ndarray


Prior = HistogramPrior | MixturePrior


def histogram_prior(targets: npt.ArrayLike, edges: npt.ArrayLike) -> HistogramPrior:
    """The prior of training `targets` [n] over increasing `edges` [C + 1] (target units), which must hold them all.

    Raises ValueError for a target outside: `binning.assign` puts it into the outermost class, a density cannot.
    """
    targets, edges = binning.check_targets(targets), np.asarray(edges)
    real = edges[np.isfinite(edges)]
    if len(real) < 2 or np.any(np.diff(real) <= 0) or np.any(edges[len(real) :] != np.inf):
        raise ValueError(f"edges must increase, with nothing but +inf as padding, got {edges}")
    outside = (targets < real[0]) | (targets > real[-1])
    if np.any(outside):
        raise ValueError(f"target {targets[outside][0]} is outside the edges [{real[0]}, {real[-1]}]")
    counts = np.bincount(binning.assign(targets, edges, len(real) - 1).ravel(), minlength=len(edges) - 1)
    return HistogramPrior(edges, counts / targets.size)


def mixture_prior(means: npt.ArrayLike, variances: npt.ArrayLike, weights: npt.ArrayLike) -> MixturePrior:
    """A checked MixturePrior from fitted parameters, each [K]; raises ValueError, naming the values, if invalid."""
    means, variances, weights = (np.asarray(values, np.float64) for values in (means, variances, weights))
    if means.ndim != 1 or not means.shape == variances.shape == weights.shape:
        shapes = f"{means.shape}, {variances.shape} and {weights.shape}"
        raise ValueError(f"means, variances and weights must all be [K], got {shapes}")
    if not np.all(np.isfinite(means)):
        raise ValueError(f"mixture means must be finite, got {means}")
    if not np.all(np.isfinite(variances) & (variances > 0)):
        raise ValueError(f"mixture variances must be positive and finite, got {variances}")
    # 1e-6: weights that were fitted and stored in single precision pass; NaN does not.
    if not (np.all(weights >= 0) and abs(weights.sum() - 1) <= 1e-6):
        raise ValueError(f"mixture weights must be non-negative and sum to 1, got {weights}")
    return MixturePrior(means, variances, weights)


def fit_mixture(targets: npt.ArrayLike, components: int, seed: int = 0) -> MixturePrior:
    """The Gaussian mixture of training `targets` [...] with K = `components`, by scikit-learn's EM.

    Published for GAI (recipes 2.4): seed 0, K = 8 on the IMDB-WIKI ages; K = 16 on NYUD2, fitted to the
    bucket centres, each repeated count // 1e6 times.
    """
    from sklearn.mixture import GaussianMixture

    targets = binning.check_targets(targets)
    fitted = GaussianMixture(components, random_state=seed).fit(targets.reshape(-1, 1))
    return mixture_prior(fitted.means_[:, 0], fitted.covariances_[:, 0, 0], fitted.weights_)


def fit_vector_mixture(targets: npt.ArrayLike, components: int, seed: int = 0) -> VectorMixture:
    """The mixture of training `targets` [n, D] with K = `components` and full covariances, by scikit-learn's EM.

    Raises ValueError for targets that are no vectors or not finite.
    """
    from sklearn.mixture import GaussianMixture

    targets = np.asarray(binning.check_targets(targets), np.float64)  # in float32 EM converges elsewhere
    if targets.ndim != 2:
        raise ValueError(f"vector targets must be [n, D], got {targets.shape}")
    fitted = GaussianMixture(components, random_state=seed).fit(targets)
    return VectorMixture(fitted.means_, fitted.covariances_, fitted.weights_)


def vector_log_evidence(prior: VectorMixture, mean: npt.ArrayLike, variance: ArrayLike) -> Array:
    """log of the integral of p~(y) N(y; mean, variance I) over y, [..., D] -> [...] in nats (Eq. 5 of vectors).

    Raises ValueError where the prior is of another D.
    """
    mean = jnp.asarray(mean)
    dimensions = np.shape(prior.means)[-1]
    if not mean.ndim or mean.shape[-1] != dimensions:
        raise ValueError(f"means {mean.shape} and a prior of {dimensions} dimensions do not fit")

    def of_component(middle: Array, covariance: Array) -> Array:
        root = jnp.linalg.cholesky(covariance + variance * jnp.eye(dimensions, dtype=covariance.dtype))
        away = mean - jnp.broadcast_to(middle, mean.shape)
        away = jax.scipy.linalg.solve_triangular(root, away.reshape(-1, dimensions).T, lower=True)
        squared = jnp.sum(jnp.square(away), 0).reshape(mean.shape[:-1])
        return -squared / 2 - jnp.sum(jnp.log(jnp.diagonal(root))) - dimensions * math.log(2 * math.pi) / 2

    found = jax.vmap(of_component, out_axes=-1)(jnp.asarray(prior.means), jnp.asarray(prior.covariances))
    return logsumexp(found, -1, b=jnp.broadcast_to(jnp.asarray(prior.weights), found.shape))


def _scaled_tail(distance: Array, width: Array) -> Array:
    """Integral of exp(-distance t - t^2 / 2) over 0 <= t <= width, [C] -> [C]: the mass over the density at t = 0."""
    reach = jnp.minimum(width, 2 * _REACH / (distance + jnp.sqrt(jnp.square(distance) + 2 * _REACH)))
    t = jnp.outer(reach, jnp.asarray(_NODES, reach.dtype))
    return reach * jnp.sum(jnp.exp(-t * (distance[:, None] + t / 2)) * jnp.asarray(_WEIGHTS, t.dtype)[None], axis=1)


@jax.custom_jvp
def _log_tail(distance: Array, width: Array) -> Array:
    """log of the standard normal mass between `distance` >= 0 and `distance` + `width`, [C] -> [C].

    Why not log_ndtr: its differences cancel in narrow bins, and its float32 gradient is wrong beyond 3,000 sigma.
    """
    return norm.logpdf(distance) + jnp.log(_scaled_tail(distance, width))


@_log_tail.defjvp
def _log_tail_jvp(primals: tuple[Array, Array], tangents: tuple[Array, Array]) -> tuple[Array, Array]:
    """In closed form: differentiating the quadrature would keep every node."""
    distance, width = primals
    exponent = width * (distance + width / 2)
    slope = jnp.expm1(-exponent) * tangents[0] + jnp.exp(-exponent) * tangents[1]
    return _log_tail(distance, width), slope / _scaled_tail(distance, width)


def _log_masses(edges: Array, mean: Array, variance: Array) -> Array:
    """`discretised_posterior` of one example: scalar mean and variance."""
    edges = jnp.clip(edges, -_FAR, _FAR)
    position = (edges - mean) / jnp.sqrt(variance)
    low, high = position[:-1], position[1:]
    empty = edges[1:] <= edges[:-1]
    # Not high - low, which loses a narrow bin far from the mean.
    width = jnp.where(empty, 1, jnp.diff(edges)) / jnp.sqrt(variance)
    straddles = (low < 0) & (high > 0)
    # Every branch gets arguments that are harmless to it: the gradient of an unused inf would be NaN.
    below, above = jnp.where(straddles, low, -1), jnp.where(straddles, high, 1)
    middle = jnp.log((erf(above / _ROOT_2) - erf(below / _ROOT_2)) / 2)
    distance = jnp.where(straddles, 0, jnp.where(low >= 0, low, -high))
    return jnp.where(empty, -jnp.inf, jnp.where(straddles, middle, _log_tail(distance, width)))


def discretised_posterior(mean: npt.ArrayLike, variance: ArrayLike, edges: npt.ArrayLike) -> Array:
    """log P_k, the mass of N(y; mean, variance) in each bin: [...] and edges [C + 1] -> [..., C]; -inf in an empty bin.

    As the logits of Eq. 9 it shows what coarsening alone costs. Let bin k have width w_k, prior mass q_k, Z = sum P_k:
      Eq. 8 = log(q_c / w_c) - log sum_k P_k q_k / w_k, exactly where p~ is constant within bins;
      Eq. 9 = log q_c - log sum_k (P_k / Z) q_k = Eq. 8 + log(w_c / E[w]) + log Z, where E is over the imbalanced
      posterior, proportional to P_k q_k / w_k. Equal widths cancel: no offset. Unequal ones leave one that varies with
      x and c (q_k = 1 / C makes Eq. 9 zero whatever the imbalance), unless log(q_k / w_k) is the class log prior.
      A density for one p~ and a mass for the other would leave +-log w_c. Z < 1 where the outer edges cut the Gaussian
      off; with outer edges -inf and +inf, as `binning.assign` reads them, Z = 1.

    A smooth p~ with I = exp(log_evidence(mean)) and equal widths w adds w^2 (p~'' / 24 p~ - I'' / 12 I) + O(w^4) at a
    bin's centre; elsewhere in the bin the first-order term (log p~)' (centre - y) dominates.
    """
    masses = jnp.vectorize(partial(_log_masses, jnp.asarray(edges)), signature="(),()->(c)")
    return masses(mean, variance)


def _log_mixture(prior: MixturePrior, targets: npt.ArrayLike, noise: ArrayLike) -> Array:
    """log density of the mixture convolved with N(0, noise), [...] -> [...]."""
    means, variances, weights = map(jnp.asarray, prior)

    def one(target: Array, noise: Array) -> Array:
        return jax.nn.logsumexp(norm.logpdf(target, means, jnp.sqrt(variances + noise)), b=weights)

    return jnp.vectorize(one)(targets, noise)


def _bin_densities(prior: HistogramPrior) -> Array:
    """Probability over width [C]; 0 in an empty bin, whose width may be 0 or infinite."""
    edges, probabilities = map(jnp.asarray, prior)
    occupied = probabilities > 0
    return jnp.where(occupied, probabilities / jnp.where(occupied, jnp.diff(edges), 1), 0)


def log_density(prior: Prior, targets: npt.ArrayLike) -> Array:
    """log p~(y), [...] -> [...]; -inf where a histogram has no mass. Edges belong to bins as in `binning.assign`."""
    if isinstance(prior, MixturePrior):
        return _log_mixture(prior, targets, 0.0)
    targets, edges = jnp.asarray(targets), jnp.asarray(prior.edges)
    classes = jnp.sum(jnp.isfinite(edges)) - 1
    density = _bin_densities(prior)[binning.assign(targets, edges, classes)]
    return jnp.log(jnp.where((targets >= edges[0]) & (targets <= edges[classes]), density, 0))


def log_evidence(prior: Prior, mean: npt.ArrayLike, variance: ArrayLike) -> Array:
    """log of the integral of N(y'; mean, variance) p~(y') over y' (Eq. 5, 8), [...] -> [...], in closed form.

    Relative precision is kept, and the gradient is finite, until (mean - y')^2 / variance overflows (in float32 at
    1e19 sigma from every y' of the prior).
    """
    if isinstance(prior, MixturePrior):
        return _log_mixture(prior, mean, variance)
    log_masses = discretised_posterior(mean, variance, prior.edges)
    return jax.nn.logsumexp(log_masses, axis=-1, b=jnp.broadcast_to(_bin_densities(prior), log_masses.shape))
