"""Priors and Eq. 5-8 against quadrature, SciPy's tail functions and Bayes' rule on a grid."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads
from scipy import integrate, special, stats

from regcls_jax import losses, priors, theory

EDGES = np.array([-2.0, -1.0, -0.5, 0.25, 1.0, 3.0])
HISTOGRAM = priors.HistogramPrior(EDGES, np.array([0.1, 0.0, 0.6, 0.25, 0.05]))
MIXTURE = priors.mixture_prior([-1.0, 0.5, 2.0], [0.04, 0.3, 1.0], [0.7, 0.2, 0.1])
PADDED = {
    "histogram": priors.HistogramPrior(np.append(EDGES, [np.inf] * 2), np.append(HISTOGRAM.probabilities, [0.0] * 2)),
    "mixture": priors.MixturePrior(*(np.append(v, p) for v, p in zip(MIXTURE, (9.0, 1.0, 0.0), strict=True))),
}
PRIORS = {"histogram": HISTOGRAM, "mixture": MIXTURE}
MEANS = np.array([-6.0, -2.0, -1.3, -1.0, 0.0, 0.25, 0.9, 2.5, 7.0])


@pytest.fixture(autouse=True)
def double():
    """Double precision for arrays made as such; single precision is tested with float32 arrays."""
    with jax.enable_x64(True):
        yield


def density(prior, y):
    """p~(y) [n], written out."""
    if isinstance(prior, priors.MixturePrior):
        return sum(w * stats.norm.pdf(y, m, np.sqrt(v)) for m, v, w in zip(*prior, strict=True))
    return sum(
        p / (high - low) * ((low <= y) & (y < high))
        for low, high, p in zip(prior.edges[:-1], prior.edges[1:], prior.probabilities, strict=True)
    )


def quadrature(function):
    """The integral over [-12, 12], beyond which nothing is left of these priors, in pieces that meet at the edges."""
    knots = np.union1d(np.linspace(-12, 12, 97), EDGES)
    return sum(integrate.fixed_quad(function, a, b, n=30)[0] for a, b in itertools.pairwise(knots))


def log_mass(low, width):
    """log of the standard normal mass over [low, low + width], low >= 0, from SciPy's scaled complementary erf."""
    x, w = np.float64(low), np.float64(width)
    exponent = w * (x + w / 2)
    if exponent < 1:  # the difference below would cancel
        scaled = integrate.quad(lambda t: np.exp(-t * (x + t / 2)), 0, w, epsabs=0, epsrel=1e-13)[0]
        return stats.norm.logpdf(x) + np.log(scaled)
    mills = special.erfcx(x / np.sqrt(2)) - np.exp(-exponent) * special.erfcx((x + w) / np.sqrt(2))
    return -(x**2) / 2 + np.log(mills / 2)


@pytest.mark.parametrize("name", PRIORS)
@pytest.mark.parametrize("variance", [0.01, 0.5, 4.0])
def test_evidence_against_quadrature(name, variance):
    prior = PRIORS[name]
    means = MEANS if variance > 0.1 else MEANS[1:-2]  # where quadrature itself still has digits
    got = jax.jit(priors.log_evidence)(prior, jnp.asarray(means), variance)
    deviation = np.sqrt(variance)
    expected = [np.log(quadrature(lambda y, m=m: stats.norm.pdf(y, m, deviation) * density(prior, y))) for m in means]
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("width", [1e-5, 1e-3, 0.1, 1.0, 30.0, 1e6])
@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_bin_masses_in_the_tails(width, precision):
    low = np.array([0.0, 1e-3, 0.5, 3.0, 11.0, 40.0, 1e3, 3e4, 1e7], precision)
    low = low[low < 1e6 * width]  # beyond, float32 has no such bin
    edges = np.stack([low, low + np.array(width, precision)], -1)
    masses = jax.jit(jax.vmap(priors.discretised_posterior, in_axes=(None, None, 0)))
    got = masses(np.zeros((), precision), np.ones((), precision), edges)[:, 0]
    mirrored = masses(np.zeros((), precision), np.ones((), precision), -edges[:, ::-1])[:, 0]
    assert got.dtype == precision
    expected = [log_mass(a, np.float64(b) - np.float64(a)) for a, b in edges]
    rtol, atol = {"float32": (5e-7, 5e-7), "float64": (1e-13, 1e-11)}[precision]
    np.testing.assert_allclose(got, expected, rtol=rtol, atol=atol)
    np.testing.assert_array_equal(got, mirrored)


def test_narrow_bin_away_from_the_mean_in_single_precision():
    # Positions 11.3 and 11.3001 have the width 1e-4 to three digits only; the edges themselves have it to eight.
    mean, edges = np.float32(-10.3), np.float32([1, 1.0001])
    got = priors.discretised_posterior(mean, np.float32(1), edges)
    low, high = np.float64(edges) - np.float64(mean)
    np.testing.assert_allclose(got, [log_mass(low, high - low)], rtol=5e-7)


@pytest.mark.parametrize("name", PRIORS)
def test_evidence_in_single_precision(name):
    @jax.jit
    def evidence(prior, means, variance):
        function = jax.vmap(jax.value_and_grad(priors.log_evidence, argnums=1), in_axes=(None, 0, None))
        return function(prior, means, variance)

    means, variance = np.float32([-300, -6, -2, -1.3, 0, 0.25, 0.9, 7, 1e4, 1e6]), np.float32(0.0625)
    got, slope = evidence(jax.tree.map(np.float32, PRIORS[name]), means, variance)
    assert got.dtype == slope.dtype == np.float32
    expected, exact = evidence(PRIORS[name], np.float64(means), np.float64(variance))
    np.testing.assert_allclose(got, expected, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(slope, exact, rtol=1e-5, atol=1e-5)


def test_far_gradients_point_at_the_nearest_mass():
    # Mills: the slope of log Phi(-z) is -z - 1 / z + O(z^-3), with z the distance to the nearest edge that holds mass.
    prior = jax.tree.map(np.float32, HISTOGRAM)
    for mean, distance in ((1e5, 1e5 - 3), (-1e5, 1e5 - 2)):
        slope = jax.jit(jax.grad(priors.log_evidence, argnums=1))(prior, np.float32(mean), np.float32(1))
        np.testing.assert_allclose(slope, -np.sign(mean) * distance, rtol=1e-6)


@pytest.mark.parametrize("prior", [*PRIORS.values(), *PADDED.values()])
def test_gradients(prior):
    @jax.jit
    def total(mean, variance):
        return jnp.sum(priors.log_evidence(prior, mean, variance))

    # Three means lie on an edge; from 0, edges are at -1 and 1 exactly, where the stand-ins of unused branches are.
    means = jnp.asarray(np.append(MEANS, [-40.0, 60.0]))
    check_grads(total, (means, jnp.full(means.shape, 1.0)), order=1, rtol=1e-5, eps=1e-5)


def test_gradients_under_infinite_outer_edges():
    edges = np.array([-np.inf, -1.0, -1.0, 0.0, 2.0, np.inf, np.inf])

    @jax.jit
    def occupied(mean, variance):
        return jnp.sum(priors.discretised_posterior(mean, variance, edges)[..., np.array([0, 2, 3, 4])])

    check_grads(occupied, (jnp.asarray(MEANS), jnp.float64(0.7)), order=2, rtol=1e-5, eps=1e-5)


@pytest.mark.parametrize("name", PRIORS)
def test_padding_changes_nothing(name):
    means = jnp.asarray(MEANS)
    for prior in (PADDED[name], jax.tree.map(jnp.asarray, PADDED[name])):
        np.testing.assert_allclose(
            jax.jit(priors.log_evidence)(prior, means, 0.3), priors.log_evidence(PRIORS[name], means, 0.3), rtol=1e-14
        )
        y = jnp.asarray([*EDGES, -2.1, 3.1, 0.4])
        np.testing.assert_allclose(
            jax.jit(priors.log_density)(prior, y), priors.log_density(PRIORS[name], y), rtol=1e-14
        )


def test_stacked_priors_and_leading_dimensions():
    stacked = jax.tree.map(lambda a, b: jnp.stack([a, b]), HISTOGRAM, priors.HistogramPrior(EDGES + 1, np.full(5, 0.2)))
    means, variances = jnp.linspace(-3, 3, 6).reshape(2, 3), jnp.linspace(0.1, 2, 6).reshape(2, 3)
    got = jax.jit(jax.vmap(priors.log_evidence))(stacked, means, variances)
    evidence = jax.jit(priors.log_evidence)
    for i, j in np.ndindex(2, 3):
        one = evidence(jax.tree.map(lambda a, i=i: a[i], stacked), means[i, j], variances[i, j])
        np.testing.assert_allclose(got[i, j], one, rtol=1e-13)
    assert priors.discretised_posterior(means, variances, EDGES).shape == (2, 3, 5)


def test_log_density():
    y = np.array([-2.0, -1.0, -0.75, -0.5, 0.3, 1.0, 3.0, 3.1, -2.1])
    expected = [0.1, 0, 0, 0.8, 1 / 3, 0.025, 0.025, 0, 0]  # the upper edge of the last bin is inside
    np.testing.assert_allclose(np.exp(priors.log_density(HISTOGRAM, jnp.asarray(y))), expected, rtol=1e-12)
    np.testing.assert_allclose(np.exp(priors.log_density(MIXTURE, jnp.asarray(y))), density(MIXTURE, y), rtol=1e-12)


def test_histogram_prior():
    targets = np.random.default_rng(0).normal(size=(40, 5)).clip(-2, 3)
    targets[0, :2] = EDGES[0], EDGES[-1]
    prior = priors.histogram_prior(targets, np.append(EDGES, np.inf))
    expected, _ = np.histogram(targets, EDGES)
    np.testing.assert_array_equal(prior.probabilities, [*expected / 200, 0])
    with pytest.raises(ValueError, match=r"target 3\.5 is outside the edges \[-2\.0, 3\.0\]"):
        priors.histogram_prior(np.array([0.0, 3.5]), EDGES)
    with pytest.raises(ValueError, match="not finite, the first at row 1"):
        priors.histogram_prior(np.array([0.0, np.nan]), EDGES)
    for edges in ([0.0, 1.0, 1.0], [1.0, 0.0], [0.0, np.inf], [-np.inf, 0.0, 1.0], [0.0, np.inf, 1.0]):
        with pytest.raises(ValueError, match="edges must increase"):
            priors.histogram_prior(np.array([0.5]), np.array(edges))


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        (([0.0], [1.0], [[1.0]]), r"must all be \[K\]"),
        (([0.0, 1.0], [1.0], [1.0]), r"must all be \[K\]"),
        (([np.nan], [1.0], [1.0]), "means must be finite"),
        (([0.0], [0.0], [1.0]), "variances must be positive"),
        (([0.0, 0.0], [1.0, 1.0], [1.5, -0.5]), "weights must be non-negative"),
        (([0.0, 0.0], [1.0, 1.0], [0.5, 0.4]), "sum to 1"),
        (([0.0], [1.0], [np.nan]), "sum to 1"),
    ],
)
def test_mixture_prior_rejects(parameters, message):
    with pytest.raises(ValueError, match=message):
        priors.mixture_prior(*parameters)


def test_eq6_where_the_posterior_is_known():
    # One Gaussian as p~: the imbalanced posterior is the precision-weighted Gaussian (Bishop 2006, Eq. 2.116).
    prior, variance = priors.mixture_prior([1.0], [0.5], [1.0]), 0.2
    y, mean = jnp.asarray([-1.0, 0.3, 2.0]), jnp.asarray([0.5, -2.0, 1.9])
    known = stats.norm((mean * 0.5 + 1.0 * variance) / (0.5 + variance), np.sqrt(0.5 * variance / (0.5 + variance)))
    imbalanced = theory.imbalanced_nll(prior, y, mean, variance)
    np.testing.assert_allclose(imbalanced, -known.logpdf(y), rtol=1e-12)
    balanced = theory.balanced_nll(y, mean, variance)
    np.testing.assert_allclose(balanced, -stats.norm.logpdf(y, mean, np.sqrt(variance)), rtol=1e-13)
    extra = theory.l_extra_gaussian(prior, y, mean, variance)
    np.testing.assert_allclose(extra, known.logpdf(y) - stats.norm.logpdf(y, mean, np.sqrt(variance)), rtol=1e-12)
    np.testing.assert_allclose(imbalanced + extra, balanced, rtol=1e-13)


@pytest.mark.parametrize("variance", [0.05, 0.8])
def test_imbalanced_likelihood_is_a_density(variance):
    imbalanced_nll = jax.jit(theory.imbalanced_nll)
    for mean in (-2.0, 0.1, 3.5):

        def likelihood(y, mean=mean):
            return np.exp(-imbalanced_nll(HISTOGRAM, jnp.asarray(y), jnp.full(y.shape, mean), variance))

        np.testing.assert_allclose(quadrature(likelihood), 1, rtol=1e-9)


def test_eq5_against_bayes_rule_on_a_grid():
    """f(x) uniform over a wide range, Gaussian noise, p~(x | y) = p(x | y): everything else follows by counting."""
    deviation, prior = 0.3, priors.mixture_prior([-1.0, 0.5], [0.04, 0.3], [0.7, 0.3])
    f, y = np.linspace(-6, 6, 601), np.linspace(-8, 8, 1601)
    joint = stats.norm.pdf(y, f[:, None], deviation) / len(f)  # p(x, y), balanced
    x_given_y = joint / joint.sum(0)
    imbalanced = x_given_y * density(prior, y)
    y_given_x = imbalanced / (imbalanced.sum(1, keepdims=True) * (y[1] - y[0]))

    rows, columns = np.abs(f) <= 3, np.abs(y) <= 3  # where the balanced p(y) is constant
    mean, target = np.meshgrid(f[rows], y[columns], indexing="ij")
    got = jax.jit(theory.imbalanced_nll)(prior, jnp.asarray(target), jnp.asarray(mean), deviation**2)
    np.testing.assert_allclose(got, -np.log(y_given_x[np.ix_(rows, columns)]), rtol=0, atol=1e-8)

    # At the end of the range p(y) falls off: with p~ = p nothing is imbalanced, but Eq. 8 reports up to log 2.
    uniform = priors.HistogramPrior(np.array([-6.0, 6.0]), np.ones(1))
    mean = jnp.asarray([0.0, 6.0])
    np.testing.assert_allclose(theory.l_extra_gaussian(uniform, mean, mean, deviation**2), [0, np.log(2)], atol=1e-12)


def test_eq5_and_eq6_for_bounded_targets():
    """x = y + noise with y uniform in [-2, 3]: p(y | x) is a Gaussian cut off at the bounds, of mass Z."""
    variance, y = 0.5, jnp.asarray([-1.9, 0.3, 2.9])
    for mean in (-2.0, 0.4, 3.0, 4.0):
        x_given_y = stats.norm.pdf(mean, y, np.sqrt(variance))
        imbalanced = x_given_y * density(HISTOGRAM, y)
        total = quadrature(lambda t, m=mean: stats.norm.pdf(m, t, np.sqrt(variance)) * density(HISTOGRAM, t))
        got = jax.jit(theory.imbalanced_nll)(HISTOGRAM, y, jnp.full(3, mean), variance)
        np.testing.assert_allclose(got, -np.log(imbalanced / total), rtol=1e-9)
        log_z = np.log(np.diff(stats.norm.cdf(EDGES[[0, -1]], mean, np.sqrt(variance))))
        # balanced = p(x | y) / integral of p(x | y) dy; Eq. 8 with this p(y | x) has log Z more
        balanced = -np.log(x_given_y) + log_z
        extra = theory.l_extra_gaussian(HISTOGRAM, y, jnp.full(3, mean), variance) + log_z
        np.testing.assert_allclose(got + extra, balanced, rtol=1e-9)


def test_impossible_targets_and_shapes():
    y, mean = jnp.asarray([-0.75, 5.0]), jnp.zeros(2)
    assert np.all(np.isneginf(theory.l_extra_gaussian(HISTOGRAM, y, mean, 1.0)))
    assert np.all(np.isposinf(theory.imbalanced_nll(HISTOGRAM, y, mean, 1.0)))
    with pytest.raises(ValueError, match="differ in shape"):
        theory.l_extra_gaussian(HISTOGRAM, y[:, None], mean, 1.0)


def test_balanced_nll_is_the_squared_error():
    y, mean = jnp.asarray([0.0, 1.0]), jnp.asarray([0.5, -3.0])
    slope = jax.grad(lambda m: jnp.sum(theory.balanced_nll(y, m, 0.25)))(mean)
    np.testing.assert_allclose(slope, jax.grad(lambda m: 2 * jnp.sum(losses.squared_error(m, y)))(mean), rtol=1e-14)
