"""Balanced MSE: golden values and gradients, NumPy oracles, quadrature, masks, bad input."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads
from scipy import special, stats

from regcls_jax import priors, theory
from regcls_jax.losses import balanced_mse
from regcls_jax.objectives import masked_mean

MIXTURE = priors.mixture_prior([20.0, 45.0, 70.0], [30.0, 80.0, 60.0], [0.3, 0.5, 0.2])
HISTOGRAM = priors.HistogramPrior(np.array([0.0, 10.0, 25.0, 40.0, 90.0]), np.array([0.2, 0.0, 0.7, 0.1]))
# Compiled: operation by operation they are slow to start.
gai = jax.jit(balanced_mse.gai, static_argnames=("scaled", "true_nll"))
bni = jax.jit(balanced_mse.bni, static_argnames=("scaled", "true_nll"))
bmc = jax.jit(balanced_mse.bmc, static_argnames="scaled")
LOSSES = {
    "gai": functools.partial(gai, prior=MIXTURE),
    "bni": functools.partial(bni, prior=HISTOGRAM),
    "bmc": bmc,
}
EACH_LOSS = pytest.mark.parametrize("name", LOSSES)


def slow(name, predictions, targets, sigma):
    """recipes 2.4 one example after the other in float64, without the scale 2 sigma^2."""
    out, s2 = [], sigma**2
    for i, (p, y) in enumerate(zip(np.float64(predictions), np.float64(targets), strict=True)):
        if name == "bmc":
            logits = [-np.sum((p - other) ** 2) / (2 * s2) for other in np.float64(targets)]
            out.append(special.logsumexp(logits) - logits[i])
        elif name == "gai":
            m, v, pi = MIXTURE
            terms = -0.5 * np.log(v + s2) - 0.5 * (p - m) ** 2 / (v + s2) + np.log(pi)
            out.append((p - y) ** 2 / (2 * s2) + 0.5 * np.log(s2) + special.logsumexp(terms))
        else:
            centres, q = np.array([5, 32.5, 65]), np.array([0.2, 0.7, 0.1])  # the empty bucket is dropped
            out.append((p - y) ** 2 / (2 * s2) + special.logsumexp(np.log(q) - (p - centres) ** 2 / (2 * s2)))
    return np.array(out)


def pair(shape=(30,)):
    rng = np.random.RandomState(0)
    targets = rng.uniform(0, 90, shape)
    return tuple(jnp.array(a, jnp.float32) for a in (targets + rng.normal(0, 8, shape), targets))


@EACH_LOSS
def test_golden(golden, name):
    data = np.load(golden / "losses.npz")
    edges = np.arange(101.0)
    np.testing.assert_array_equal(data["bni_centers"], (edges[:-1] + edges[1:]) / 2)
    made = {
        "gai": priors.mixture_prior(data["gmm_means"], data["gmm_variances"], data["gmm_weights"]),
        "bni": priors.HistogramPrior(edges, data["bni_weights"]),
    }
    prior = {"prior": made[name]} if name in made else {}

    def mean(predictions, sigma):
        loss = {"gai": gai, "bni": bni, "bmc": bmc}[name]
        return jnp.mean(loss(predictions, data["target"], noise_sigma=sigma, **prior))

    value, gradients = jax.value_and_grad(mean, argnums=(0, 1))(data["pred"], data["noise_sigma"])
    np.testing.assert_allclose(value, data[f"{name}_value"], rtol=1e-6)
    np.testing.assert_allclose(gradients[0], data[f"{name}_grad_pred"], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(gradients[1], data[f"{name}_grad_sigma"], rtol=1e-5)


@EACH_LOSS
@pytest.mark.parametrize("sigma", [2.0, 10.0])
def test_the_slow_oracle(name, sigma):
    predictions, targets = pair()
    expected = slow(name, predictions, targets, sigma)
    loss = functools.partial(LOSSES[name], predictions, targets, noise_sigma=sigma)
    np.testing.assert_allclose(loss(scaled=False), expected, rtol=1e-5, atol=1e-5)
    values = loss()
    assert values.shape == targets.shape
    np.testing.assert_allclose(values, 2 * sigma**2 * expected, rtol=1e-5, atol=2e-5 * sigma**2)
    with jax.disable_jit():
        np.testing.assert_allclose(loss(), values, rtol=1e-5, atol=2e-5 * sigma**2)


@EACH_LOSS
@pytest.mark.parametrize("true_nll", [False, True])
def test_gradients_are_those_of_finite_differences(name, true_nll):
    options = {"true_nll": true_nll} if name != "bmc" else {}
    with jax.enable_x64(True):
        predictions, targets = (jnp.asarray(a, jnp.float64) for a in pair((6,)))

        def loss(predictions, sigma):
            return LOSSES[name](predictions, targets, noise_sigma=sigma, scaled=False, **options)

        check_grads(loss, (predictions, 4.0), order=1, rtol=1e-6)


@EACH_LOSS
def test_no_gradient_goes_through_the_scale(name):
    predictions, targets = pair()

    def slope(sigma, scaled):
        return jax.grad(lambda s: jnp.sum(LOSSES[name](predictions, targets, noise_sigma=s, scaled=scaled)))(sigma)

    np.testing.assert_allclose(slope(5.0, True), 50 * slope(5.0, False), rtol=1e-5)


@pytest.mark.parametrize(("name", "prior"), [("gai", MIXTURE), ("bni", HISTOGRAM)])
@pytest.mark.parametrize("mean", [10.0, 38.0, 70.0])
def test_the_true_nll_is_that_of_a_density_and_of_the_theory(name, prior, mean):
    def nll(y):
        return LOSSES[name](jnp.full_like(y, mean), y, noise_sigma=6.0, scaled=False, true_nll=True)

    with jax.enable_x64(True):
        step = 0.02
        y = jnp.arange(-60 + step / 2, 160, step)  # midpoints: a histogram jumps between them
        assert step * np.sum(np.exp(-nll(y))) == pytest.approx(1, abs=1e-6)
        expected = jax.jit(theory.imbalanced_nll)(prior, y, jnp.full_like(y, mean), 36.0)
        np.testing.assert_allclose(nll(y), expected, rtol=1e-12)


def test_the_constant_of_gai_is_the_density_of_the_target():
    predictions, targets = pair()
    loss = functools.partial(LOSSES["gai"], predictions, targets, noise_sigma=6.0, scaled=False)
    density = sum(w * stats.norm.pdf(targets, m, np.sqrt(v)) for m, v, w in zip(*MIXTURE, strict=True))
    np.testing.assert_allclose(loss(true_nll=True), loss() - np.log(density), rtol=1e-5, atol=1e-5)


def test_centres_stand_for_a_histogram_whose_buckets_are_narrow():
    predictions, targets = pair()
    counts = np.bincount(np.int64(targets), minlength=90)
    prior = priors.HistogramPrior(np.arange(91.0), counts / counts.sum())
    loss = functools.partial(bni, predictions, targets, prior=prior, noise_sigma=6.0, scaled=False)
    constant = np.log(prior.probabilities[np.int64(targets)])
    # The midpoint rule on a bucket of width 1 is off by about 1 / (24 sigma^2) times the curvature's size, of
    # order 1.
    np.testing.assert_allclose(loss(true_nll=True), loss() - constant, atol=5e-3)


def test_bni_can_be_negative_and_its_true_nll_is_not_on_wide_buckets():
    y = jnp.array([32.5, 35.0])
    loss = functools.partial(bni, y, y, prior=HISTOGRAM, noise_sigma=6.0, scaled=False)
    assert np.all(loss() < 0)
    assert np.all(loss(true_nll=True) > 0)


@pytest.mark.parametrize("padding", [0.0, np.inf])
def test_empty_buckets_count_for_nothing(padding):
    predictions, targets = pair()
    # Without its empty bucket this histogram has other edges, hence the centres as such.
    points = priors.MixturePrior(np.array([5, 32.5, 65]), np.zeros(3), np.array([0.2, 0.7, 0.1]))
    padded = priors.HistogramPrior(
        np.append(HISTOGRAM.edges, [90 + padding] * 2), np.append(HISTOGRAM.probabilities, [0, 0])
    )

    def total(predictions, loss, prior):
        return jnp.sum(loss(predictions, targets, prior=prior, noise_sigma=3.0))

    with jax.enable_x64(True):
        expected = jax.value_and_grad(total)(predictions, gai, points)
        for prior in (HISTOGRAM, padded):
            got = jax.value_and_grad(total)(predictions, bni, prior)
            jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-6), got, expected)


@pytest.mark.parametrize("padding", [0.0, 1e30, np.nan])
@pytest.mark.parametrize("shape", [(12,), (12, 3)])
def test_a_masked_bmc_is_that_of_the_kept_rows(padding, shape):
    predictions, targets = pair(shape)
    mask = np.arange(12) % 4 != 1

    def mean(predictions, targets, sigma, mask=None):
        return masked_mean(bmc(predictions, targets, noise_sigma=sigma, mask=mask), mask)

    expected, (slope, slope_sigma) = jax.value_and_grad(mean, argnums=(0, 2))(predictions[mask], targets[mask], 4.0)
    dirty = [a.at[~mask].set(padding) for a in (predictions, targets)]
    got, (got_slope, got_sigma) = jax.value_and_grad(mean, argnums=(0, 2))(*dirty, 4.0, mask)
    np.testing.assert_allclose(got, expected, rtol=1e-6)
    np.testing.assert_allclose(got_slope[mask], slope, rtol=1e-5, atol=1e-6)
    assert not np.any(got_slope[~mask])
    np.testing.assert_allclose(got_sigma, slope_sigma, rtol=1e-5)
    nothing, slopes = jax.value_and_grad(mean, argnums=(0, 2))(*dirty, 4.0, np.zeros(12, bool))
    assert nothing == slopes[1] == 0
    assert not np.any(slopes[0])


def test_bmc_of_vectors():
    predictions, targets = pair((12, 3))
    got = bmc(predictions, targets, noise_sigma=8.0, scaled=False)
    np.testing.assert_allclose(got, slow("bmc", predictions, targets, 8.0), rtol=1e-5, atol=1e-5)
    # One dimension is a scalar.
    np.testing.assert_array_equal(
        bmc(predictions[:, :1], targets[:, :1], noise_sigma=8.0),
        bmc(predictions[:, 0], targets[:, 0], noise_sigma=8.0),
    )


def test_bmc_is_never_negative_and_shares_among_equal_targets():
    predictions, targets = pair()
    assert np.all(bmc(predictions, targets, noise_sigma=0.1) >= 0)
    same = jnp.full(5, 30.0)
    np.testing.assert_allclose(bmc(same, same, noise_sigma=1.0, scaled=False), np.log(5), rtol=1e-6)


def test_bad_input():
    with pytest.raises(ValueError, match="needs at least 2, got 1"):
        bmc(jnp.zeros(1), jnp.zeros(1), noise_sigma=1.0)
    with pytest.raises(ValueError, match=r"predictions \[B\] or \[B, D\], got \(\)"):
        bmc(jnp.float32(0), jnp.float32(0), noise_sigma=1.0)
    with pytest.raises(ValueError, match=r"mask \(3,\) does not fit a batch of 4"):
        bmc(jnp.zeros(4), jnp.zeros(4), noise_sigma=1.0, mask=np.ones(3, bool))


@EACH_LOSS
def test_shapes_that_would_broadcast_and_integers_are_refused(name):
    with pytest.raises(ValueError, match="differ in shape"):
        LOSSES[name](jnp.zeros((5, 1)), jnp.zeros(5), noise_sigma=1.0)
    with pytest.raises(ValueError, match="must be floating point"):
        LOSSES[name](jnp.arange(5), jnp.zeros(5), noise_sigma=1.0)


VECTORS = priors.VectorMixture(
    np.array([[0.0, 1.0], [2.0, -1.0]]), np.array([[[1.0, 0.3], [0.3, 0.5]], [[0.4, 0.0], [0.0, 2.0]]]), [0.3, 0.7]
)


def test_gai_of_vectors_equals_scipy_and_a_quadrature():
    rng = np.random.default_rng(0)
    predictions, targets = rng.normal(size=(2, 5, 2))
    with jax.enable_x64(True):
        values = balanced_mse.gai_vectors(predictions, targets, prior=VECTORS, noise_sigma=0.7, scaled=False)
    for value, p, y in zip(values, predictions, targets, strict=True):
        terms = [
            weight * stats.multivariate_normal.pdf(p, mean, covariance + 0.49 * np.eye(2))
            for mean, covariance, weight in zip(*VECTORS, strict=True)
        ]
        expected = -stats.multivariate_normal.logpdf(y, p, 0.49 * np.eye(2)) + np.log(sum(terms))
        np.testing.assert_allclose(value, expected, rtol=1e-10)
    grid = np.stack(np.meshgrid(*[np.linspace(-9, 9, 181)] * 2), -1)
    density = sum(w * stats.multivariate_normal.pdf(grid, m, v) for m, v, w in zip(*VECTORS, strict=True))
    noise = stats.multivariate_normal.pdf(grid, predictions[0], 0.49 * np.eye(2))
    found = priors.vector_log_evidence(VECTORS, predictions[0], 0.49)
    np.testing.assert_allclose(found, np.log(np.sum(density * noise) * 0.01), rtol=1e-5)


def test_gai_of_vectors_of_one_component_is_gai_and_its_mixture_is_fitted():
    one = priors.VectorMixture(
        np.reshape(MIXTURE.means, (-1, 1)), np.reshape(MIXTURE.variances, (-1, 1, 1)), MIXTURE.weights
    )
    predictions, targets = pair()
    values = balanced_mse.gai_vectors(predictions[:, None], targets[:, None], prior=one, noise_sigma=4.0)
    np.testing.assert_allclose(values, gai(predictions, targets, prior=MIXTURE, noise_sigma=4.0), rtol=2e-4)
    check_grads(
        lambda p, s: balanced_mse.gai_vectors(p, np.ones((2, 2)), prior=VECTORS, noise_sigma=s, scaled=False),
        (np.float32([[0.2, 0.5], [1, -1]]), 0.8),
        1,
        modes=["rev"],
        rtol=0.02,
    )
    rng = np.random.default_rng(0)
    drawn = np.concatenate([rng.normal(-3, 1, (400, 2)), rng.normal(3, 0.5, (600, 2))])
    fitted = priors.fit_vector_mixture(drawn, 2)
    first = np.argmin(fitted.means[:, 0])
    np.testing.assert_allclose(fitted.means[first], [-3, -3], atol=0.2)
    np.testing.assert_allclose(fitted.covariances[1 - first], 0.25 * np.eye(2), atol=0.05)
    np.testing.assert_allclose(fitted.weights[first], 0.4, atol=0.01)


def test_gai_of_vectors_refuses_what_does_not_fit():
    with pytest.raises(ValueError, match=r"a prior of 2 dimensions do not fit"):
        balanced_mse.gai_vectors(np.ones((3, 3)), np.ones((3, 3)), prior=VECTORS, noise_sigma=1.0)
    with pytest.raises(ValueError, match=r"vector targets must be \[n, D\]"):
        priors.fit_vector_mixture(np.arange(9.0), 2)
