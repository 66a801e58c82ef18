"""The gap between the imbalanced and the balanced likelihood (section 2.2, Eq. 5-11), after Ren et al. (2022).

Per-example values [...] in nats, pure and jit-able. y* is `mean`, sigma^2 is `variance` (scalar or [...], positive).
"""

import jax
import jax.numpy as jnp
import numpy.typing as npt
from jax import Array
from jax.typing import ArrayLike

from regcls_jax import losses
from regcls_jax.priors import Prior, log_density, log_evidence


def l_extra_gaussian(prior: Prior, targets: npt.ArrayLike, mean: npt.ArrayLike, variance: ArrayLike) -> Array:
    """log p~(y) - log integral of N(y'; mean, variance) p~(y') dy' (Eq. 8), [...] -> [...]; -inf where p~(y) = 0.

    It is negative where y is rarer than what the model expects, and 0 everywhere for a wide uniform p~: balanced data.
    """
    losses.check_pair(mean, targets)
    return log_density(prior, targets) - log_evidence(prior, mean, variance)


def balanced_nll(targets: npt.ArrayLike, mean: npt.ArrayLike, variance: ArrayLike) -> Array:
    """-log N(y; mean, variance) = -log p(y | x) (Eq. 2), [...] -> [...]: Eq. 3 with lambda = 1 / (2 variance)."""
    return losses.gaussian_nll(mean, targets, variance)


def imbalanced_nll(prior: Prior, targets: npt.ArrayLike, mean: npt.ArrayLike, variance: ArrayLike) -> Array:
    """-log p~(y | x) (Eq. 5), [...] -> [...]; +inf where p~(y) = 0. Adding Eq. 8 gives `balanced_nll` (Eq. 6).

    Beside p~(x | y) = p(x | y) it assumes that the balanced p(y) is constant wherever p~ > 0: Bayes' rule has p~ / p
    in place of p~. If p(y) ends at bounds, a p~ within them leaves Eq. 5 right (the normaliser Z(x) of the truncated
    Gaussian cancels), but Eq. 8 then lacks log Z(x) and `balanced_nll` -log Z(x), up to log 2 for a mean on a bound.
    """
    return balanced_nll(targets, mean, variance) - l_extra_gaussian(prior, targets, mean, variance)


def _adjust(class_log_prior: npt.ArrayLike, logits: Array) -> Array:
    return logits + jnp.broadcast_to(jnp.asarray(class_log_prior), logits.shape)


def l_extra_softmax(class_log_prior: npt.ArrayLike, logits: npt.ArrayLike, labels: npt.ArrayLike) -> Array:
    """log p~(y_c) - log sum_k p(y_k | x) p~(y_k) (Eq. 9): log p~ [C], logits [..., C], labels int [...] -> [...].

    Of either sign: negative where c is rarer than the classes that the model expects; 0 if p~ is uniform. A constant
    added to `class_log_prior` cancels. Where classes differ in width see `discretised_posterior`.
    """
    logits, labels = jnp.asarray(logits), jnp.asarray(labels)
    if labels.shape != logits.shape[:-1]:
        raise ValueError(f"logits {logits.shape} do not fit labels {labels.shape}")
    evidence = jax.nn.logsumexp(_adjust(class_log_prior, jax.nn.log_softmax(logits)), axis=-1)
    return jnp.asarray(class_log_prior)[labels] - evidence


def l_extra_cross_entropy(logits: npt.ArrayLike, labels: npt.ArrayLike) -> Array:
    """-log p(y_c | x) (Eq. 11), logits [..., C], labels int [...] -> [...]: what Eq. 9 becomes under Eq. 10.

    Equal to Eq. 9 only if every class k != c has p(y_k | x) p~(y_k) = 0; otherwise above it by `assumption_gap`.
    """
    return losses.cross_entropy(logits, labels)


def assumption_gap(class_log_prior: npt.ArrayLike, logits: npt.ArrayLike, labels: npt.ArrayLike) -> Array:
    """Eq. 11 - Eq. 9 = log(sum_k p_k p~_k / (p_c p~_c)) >= 0, [...]; exp(-gap) is the true class's share of the sum.

    This is -log p~(y_c | x), the imbalanced NLL of the classes, so that Eq. 11 = Eq. 9 + gap is Eq. 6 once more. With
    e = 1 - p_c and r the mean of p~_k / p~_c over the wrong classes (weights p_k), gap = log(1 + r e / (1 - e)): it
    vanishes with e, but Eq. 11 does as fast, and Eq. 9 / Eq. 11 tends to 1 - r, not to 1.
    """
    return losses.cross_entropy(_adjust(class_log_prior, jnp.asarray(logits)), labels)
