"""Eq. 9-11 and what coarsening does to Eq. 8, against naive NumPy sums, SciPy's cdf and Taylor coefficients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads
from scipy import stats

from regcls_jax import priors, theory

EDGES = np.array([-2.0, -1.0, -0.5, 0.25, 1.0, 3.0])
MIXTURE = priors.mixture_prior([-1.0, 0.5, 2.0], [0.04, 0.3, 1.0], [0.7, 0.2, 0.1])


@pytest.fixture(autouse=True)
def double():
    """Double precision for arrays made as such; single precision is tested with float32 arrays."""
    with jax.enable_x64(True):
        yield


def random_classifier(shape=(7, 3), classes=6):
    rng = np.random.default_rng(3)
    logits = jnp.asarray(rng.normal(scale=3, size=(*shape, classes)))
    prior = rng.dirichlet(np.ones(classes))
    return np.log(prior), logits, jnp.asarray(rng.integers(0, classes, shape, np.int32))


def test_eq9_and_eq11_against_sums():
    log_prior, logits, labels = random_classifier()
    extra = jax.jit(theory.l_extra_softmax)(log_prior, logits, labels)
    cross_entropy = jax.jit(theory.l_extra_cross_entropy)(logits, labels)
    gap = jax.jit(theory.assumption_gap)(log_prior, logits, labels)
    for i in np.ndindex(labels.shape):
        weights = np.exp(np.array(logits[i]))
        p, c, prior = weights / weights.sum(), int(labels[i]), np.exp(log_prior)
        np.testing.assert_allclose(extra[i], np.log(prior[c] / (p * prior).sum()), rtol=1e-11)
        np.testing.assert_allclose(cross_entropy[i], -np.log(p[c]), rtol=1e-11)
        np.testing.assert_allclose(np.exp(-gap[i]), p[c] * prior[c] / (p * prior).sum(), rtol=1e-11)
    np.testing.assert_allclose(extra + gap, cross_entropy, rtol=1e-12)
    assert np.all(gap > 0)
    assert np.any(extra < -0.5)
    # the same posterior and prior up to their constants
    np.testing.assert_allclose(theory.l_extra_softmax(log_prior + 50, logits - 9, labels), extra, atol=1e-12)
    np.testing.assert_allclose(theory.l_extra_softmax(np.full(6, -np.log(6)), logits, labels), 0, atol=1e-14)


def test_eq9_keeps_its_precision_for_hopeless_labels():
    # p(y_c | x) = e^-5000: Eq. 11 and the gap are huge, Eq. 9 is log(0.2 / 0.8).
    log_prior, logits = np.log(np.float32([0.2, 0.8])), jnp.asarray([-5000, 0], jnp.float32)
    got = theory.l_extra_softmax(log_prior, logits, jnp.int32(0))
    assert got.dtype == jnp.float32
    np.testing.assert_allclose(got, np.log(0.25), rtol=1e-6)


def test_softmax_gradients_with_padded_classes():
    log_prior, logits, labels = random_classifier(classes=4)
    padded_prior = np.append(log_prior, [-np.inf] * 2)

    def pad(logits):
        return jnp.concatenate([logits, jnp.full((*labels.shape, 2), -jnp.inf)], axis=-1)

    for function in (theory.l_extra_softmax, theory.assumption_gap):

        def total(logits, function=function):
            return jnp.sum(function(padded_prior, pad(logits), labels))

        np.testing.assert_allclose(total(logits), jnp.sum(function(log_prior, logits, labels)), rtol=1e-12)
        check_grads(jax.jit(total), (logits,), order=1, rtol=1e-6, eps=1e-5)


@pytest.mark.parametrize("true_prior", [0.9, 0.5, 0.01])
def test_eq11_is_not_eq9_to_first_order(true_prior):
    """A nearly perfect classifier, p_c = 1 - e: both vanish with e, but their ratio tends to 1 - r."""
    log_prior = np.log([true_prior, 1 - true_prior])
    r = (1 - true_prior) / true_prior
    for error in (1e-3, 1e-5):
        logits, label = jnp.log(jnp.asarray([1 - error, error])), jnp.int32(0)
        cross_entropy = theory.l_extra_cross_entropy(logits, label)
        ratio = theory.l_extra_softmax(log_prior, logits, label) / cross_entropy
        np.testing.assert_allclose(ratio, 1 - r, rtol=0, atol=2 * error * (1 + r) ** 2)
        gap = theory.assumption_gap(log_prior, logits, label)
        np.testing.assert_allclose(gap, np.log1p(r * error / (1 - error)), rtol=1e-9)


@jax.jit
def eq9_and_eq8(prior, class_log_prior, edges, labels, mean, variance):
    """Both at the centres of the bins `labels` [n]: [n], [n]."""
    centres = ((edges[1:] + edges[:-1]) / 2)[labels]
    means = jnp.full(centres.shape, mean)
    log_masses = priors.discretised_posterior(means, variance, edges)
    discrete = theory.l_extra_softmax(class_log_prior, log_masses, labels)
    return discrete, theory.l_extra_gaussian(prior, centres, means, variance)


def test_discretised_posterior_against_cdfs():
    means = np.array([-6.0, -2.0, 0.0, 0.9, 7.0])
    edges = np.concatenate([[-np.inf], EDGES, [np.inf]])
    got = np.exp(priors.discretised_posterior(jnp.asarray(means), 0.3, edges))
    expected = np.diff(stats.norm.cdf(edges, means[:, None], np.sqrt(0.3)))
    np.testing.assert_allclose(got, expected, atol=1e-15)
    np.testing.assert_allclose(got.sum(-1), 1, rtol=3e-14)  # the quadrature's own precision


def test_coarsening_offsets():
    probabilities, variance, mean = np.array([0.1, 0.02, 0.5, 0.3, 0.08]), 0.4, 0.3
    labels = np.arange(5)
    for edges, equal in ((np.linspace(-2, 3, 6), True), (EDGES, False)):
        prior, widths = priors.HistogramPrior(edges, probabilities), np.diff(edges)
        masses = np.diff(stats.norm.cdf(edges, mean, np.sqrt(variance)))
        offset = np.log(masses.sum())
        posterior = masses * probabilities / widths
        discrete, continuous = eq9_and_eq8(prior, np.log(probabilities), edges, labels, mean, variance)
        by_width = np.log(widths / ((posterior * widths).sum() / posterior.sum()))
        np.testing.assert_allclose(discrete - continuous, by_width + offset, atol=1e-12)
        assert np.allclose(by_width, 0) == equal
        discrete, _ = eq9_and_eq8(prior, np.log(probabilities / widths), edges, labels, mean, variance)
        np.testing.assert_allclose(discrete - continuous, offset, atol=1e-12)
    # Classes balanced by their edges: Eq. 9 sees nothing of an imbalance that Eq. 8 does see.
    balanced = priors.HistogramPrior(EDGES, np.full(5, 0.2))
    discrete, continuous = eq9_and_eq8(balanced, np.log(balanced.probabilities), EDGES, labels, mean, variance)
    np.testing.assert_allclose(discrete, 0, atol=1e-14)
    assert np.ptp(continuous) > 1


def test_coarsening_of_a_smooth_prior_is_second_order():
    target, mean, variance = 0.7, 0.2, 0.5

    def curvature(log_function, at):
        value = jnp.exp(log_function(at))
        return jax.grad(jax.grad(lambda v: jnp.exp(log_function(v))))(at) / value

    at_target = curvature(lambda y: priors.log_density(MIXTURE, y), jnp.asarray(target))
    at_mean = curvature(lambda m: priors.log_evidence(MIXTURE, m, variance), jnp.asarray(mean))
    coefficient = at_target / 24 - at_mean / 12
    errors = []
    for width in (0.04, 0.02):
        bins = round(9 / width)
        edges = target + width * (np.arange(-bins, bins + 2) - 0.5)  # `target` is the centre of bin `bins`
        parts = jax.jit(priors.discretised_posterior)(jnp.asarray(MIXTURE.means), MIXTURE.variances, edges)
        class_log_prior = jax.nn.logsumexp(parts + np.log(MIXTURE.weights)[:, None], axis=0)
        discrete, continuous = eq9_and_eq8(MIXTURE, class_log_prior, edges, np.array([bins]), mean, variance)
        errors.append(float((discrete - continuous)[0]) / width**2 - float(coefficient))
    assert abs(errors[0]) < 0.01 * abs(coefficient)
    np.testing.assert_allclose(errors[0] / errors[1], 4, rtol=0.02)  # the rest is O(w^4)


def test_shapes_must_fit():
    logits, labels = jnp.zeros((2, 4)), jnp.zeros(3, jnp.int32)
    for function in (theory.l_extra_softmax, theory.assumption_gap):
        with pytest.raises(ValueError, match="do not fit labels"):
            function(np.zeros(4), logits, labels)
    with pytest.raises(ValueError, match="do not fit labels"):
        theory.l_extra_cross_entropy(logits, labels)
    with pytest.raises(ValueError, match="broadcast"):
        theory.l_extra_softmax(np.zeros(3), logits, labels[:2])
