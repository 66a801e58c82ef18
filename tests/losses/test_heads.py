"""Heads of several outputs: golden values, densities against SciPy, axes, NaN, gradients, bad input.

Golden numbers were computed from the formulas in float64, apart from this library.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads
from scipy import integrate, special, stats

from regcls_jax import losses

# Compiled: operation by operation they are slow to start.
laplace_nll = jax.jit(losses.laplace_nll)
uvote = jax.jit(losses.uvote, static_argnames="axis")
uvote_value = jax.jit(losses.uvote_value, static_argnames="axis")
evidential_nll = jax.jit(losses.evidential_nll, static_argnames="axis")
evidential_value = jax.jit(losses.evidential_value, static_argnames="axis")


def heads(rows=12, number=3):
    """Outputs [B, 2 M], targets [B] and weights [B, M]; some s lie outside the clip."""
    rng = np.random.default_rng(0)
    mu, s = rng.normal(30, 10, (rows, number)), rng.normal(0, 4, (rows, number))
    given = np.concatenate([mu, s], 1), rng.normal(30, 10, rows), rng.uniform(0.2, 3, (rows, number))
    return tuple(jnp.float32(array) for array in given)


def evidence(rows=12):
    """Raw outputs [B, 3], targets [B] and weights [B]."""
    rng = np.random.default_rng(0)
    raw = rng.normal([30, 0, 0], [10, 15, 15], (rows, 3))
    return tuple(jnp.float32(array) for array in (raw, rng.normal(30, 10, rows), rng.uniform(0.2, 3, rows)))


def published_evidential(raw, targets, weights):
    """recipes 2.34 as printed, in float64: NLL and regulariser."""
    raw, y, w = (np.float64(array) for array in (raw, targets, weights))
    nu, beta = (np.log(1 + np.exp(0.1 * raw[:, 1])) / 0.1 + 2) * w, np.log(1 + np.exp(0.1 * raw[:, 2])) / 0.1
    alpha, gamma = 0.3 + nu / 2, raw[:, 0]
    omega = 2 * beta * (1 + nu)
    nll = 0.5 * np.log(np.pi / nu) - alpha * np.log(omega) + (alpha + 0.5) * np.log(nu * (y - gamma) ** 2 + omega)
    nll += special.gammaln(alpha) - special.gammaln(alpha + 0.5)
    return nll, np.abs(y - gamma) * (2 * nu + alpha)


def test_golden_laplace():
    # Recipes 2.33.
    with jax.enable_x64(True):
        np.testing.assert_allclose(losses.laplace_nll(*np.float64([28, 0.5, 30])), 2.4062085, rtol=0, atol=6e-11)
        value, deviation = losses.uvote_value(np.array([28, 0.5]))
        assert value == 28
        # The scale has 1e-10 more than e^s, which the printed deviation lacks.
        np.testing.assert_allclose(deviation, 2.3316439816, rtol=0, atol=2e-10)


def test_golden_evidence():
    # Recipes 2.34.
    raw = np.array([28.0, 0, 0])
    with jax.enable_x64(True):
        np.testing.assert_allclose(losses.evidential_nll(raw, 30, 1.5, penalty=0), 2.7513764170, rtol=0, atol=6e-11)
        np.testing.assert_allclose(losses.evidential_nll(raw, 30, 1.5), 3.4272368024, rtol=0, atol=6e-11)
        regulariser = losses.evidential_nll(raw, 30, 1.5, penalty=1) - losses.evidential_nll(raw, 30, 1.5, penalty=0)
        np.testing.assert_allclose(regulariser, 67.5860385420, rtol=0, atol=6e-11)
        np.testing.assert_allclose(losses.evidential_nll(raw, 30, penalty=0), 2.4003185908, rtol=0, atol=6e-11)
        np.testing.assert_allclose(losses.evidential_nll(raw, 30), 2.8528921811, rtol=0, atol=6e-11)
        mean, variance = losses.evidential_value(raw)
        assert mean == 28
        np.testing.assert_allclose(variance, 0.2060879363, rtol=0, atol=6e-11)


def test_laplace_is_the_density_of_scipy():
    outputs, _, _ = heads()
    mu, s = outputs[:, 0], outputs[:, 3]
    scale = np.exp(np.clip(np.float64(s), -5, 5))
    # Within a few scales: SciPy's density underflows far away.
    targets = jnp.float32(mu + scale * np.random.default_rng(1).normal(size=12))
    expected = -stats.laplace.logpdf(np.float64(targets), np.float64(mu), scale)
    np.testing.assert_allclose(laplace_nll(mu, s, targets), expected, rtol=1e-5)
    np.testing.assert_allclose(losses.laplace_nll(mu, s, targets), expected, rtol=1e-5)


def test_laplace_gradients_are_those_of_finite_differences_and_end_at_the_clip():
    with jax.enable_x64(True):
        mu, s, targets = (jnp.array(array) for array in ([1.0, 2.0, 5.0], [-4.0, 0.3, 4.5], [3.0, 2.5, 0.1]))
        check_grads(laplace_nll, (mu, s, targets), order=1, rtol=1e-6)
    slope = jax.grad(lambda s: laplace_nll(jnp.zeros(2), s, jnp.ones(2)).sum())(jnp.array([-6.0, 6.0]))
    np.testing.assert_array_equal(slope, 0)


def test_uvote_sums_weighted_losses_of_its_heads():
    outputs, targets, weights = heads()
    expected = np.zeros(12)
    for head in range(3):
        scale = np.exp(np.clip(np.float64(outputs[:, 3 + head]), -5, 5))
        apart = np.abs(np.float64(targets) - np.float64(outputs[:, head])) / scale
        expected += np.float64(weights[:, head]) * (np.log(2 * scale) + apart)
    np.testing.assert_allclose(uvote(outputs, targets, weights), expected, rtol=1e-5)
    np.testing.assert_allclose(uvote(outputs.T, targets, weights.T, axis=0), expected, rtol=1e-5)
    np.testing.assert_allclose(losses.uvote(outputs, targets, weights), expected, rtol=1e-5)
    np.testing.assert_allclose(uvote(outputs[0], targets[0], weights[0]), expected[0], rtol=1e-5)


def test_uvote_gradients_are_those_of_finite_differences():
    with jax.enable_x64(True):
        given = tuple(jnp.asarray(array, jnp.float64) for array in heads(4))
        check_grads(uvote, given, order=1, rtol=1e-5)


def test_uvote_takes_the_surest_head():
    # The smallest s before clipping (row 0), the first of equals (row 1).
    mu, s = np.array([[1.0, 2, 3], [4, 5, 6], [7, 8, 9]]), np.array([[-6.0, -7, 0], [2, 1, 1], [0.5, 3, 9]])
    outputs = jnp.float32(np.concatenate([mu, s], 1))
    scale = np.sqrt(2) * np.exp([-5, 1, 0.5])
    for found in (uvote_value(outputs), uvote_value(outputs.T, axis=0), losses.uvote_value(outputs)):
        np.testing.assert_array_equal(found[0], [2, 5, 7])
        np.testing.assert_allclose(found[1], scale, rtol=1e-6)


def test_the_deviation_is_that_of_the_laplace_density():
    value, deviation = uvote_value(jnp.array([3.0, 1.2]))
    density = stats.laplace(3, np.exp(1.2))
    np.testing.assert_allclose((value, deviation), (density.mean(), density.std()), rtol=1e-6)


@pytest.mark.parametrize("penalty", [0, 0.01, 0.5])
def test_evidence_equals_the_published_formula(penalty):
    raw, targets, weights = evidence()
    nll, regulariser = published_evidential(raw, targets, weights)
    expected = nll + penalty * regulariser
    np.testing.assert_allclose(evidential_nll(raw, targets, weights, penalty=penalty), expected, rtol=1e-5, atol=1e-5)
    moved = evidential_nll(raw.T, targets, weights, penalty=penalty, axis=0)
    np.testing.assert_allclose(moved, expected, rtol=1e-5, atol=1e-5)
    eager = losses.evidential_nll(raw, targets, weights, penalty=penalty)
    np.testing.assert_allclose(eager, expected, rtol=1e-5, atol=1e-5)
    single = evidential_nll(raw[0], targets[0], weights[0], penalty=penalty)
    np.testing.assert_allclose(single, expected[0], rtol=1e-5, atol=1e-5)


def test_evidence_is_a_density_of_the_target():
    raw = jnp.array([3.0, -5.0, -10.0])
    grid = np.linspace(-400, 406, 200_001)
    values = jax.vmap(lambda y: evidential_nll(raw, y, penalty=0))(jnp.float32(grid))
    assert integrate.trapezoid(np.exp(-np.float64(values)), grid) == pytest.approx(1, abs=1e-3)


def test_no_weights_are_weights_of_one():
    raw, targets, _ = evidence()
    np.testing.assert_array_equal(evidential_nll(raw, targets), evidential_nll(raw, targets, jnp.ones(12)))


def test_much_evidence_keeps_its_precision():
    # About 10,000 pseudo-observations: the published form loses three digits in float32.
    raw, targets, weights = jnp.array([[30.0, 1000, 20]]), jnp.array([30.5]), jnp.array([10.0])
    nll, _ = published_evidential(raw, targets, weights)
    np.testing.assert_allclose(evidential_nll(raw, targets, weights, penalty=0), nll, rtol=1e-5)


def test_evidence_gradients_are_those_of_finite_differences():
    with jax.enable_x64(True):
        given = tuple(jnp.asarray(array, jnp.float64) for array in evidence())
        check_grads(evidential_nll, given, order=1, rtol=1e-5)
        check_grads(evidential_value, given[:1], order=1, rtol=1e-5)


def test_evidential_value_on_any_axis():
    raw, _, _ = evidence()
    mean, variance = evidential_value(raw)
    np.testing.assert_array_equal(mean, raw[:, 0])
    nu, beta = (np.log(1 + np.exp(0.1 * np.float64(raw[:, 1:]))) / 0.1).T + np.array([[2], [0]])
    # Of the mean of a normal-inverse-gamma: E[sigma^2] / nu.
    expected = stats.invgamma.mean(0.3 + nu / 2, scale=beta) / nu
    for found in (variance, evidential_value(raw.T, axis=0)[1], losses.evidential_value(raw)[1]):
        np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize("name", ["uvote", "evidential"])
def test_a_nan_target_has_a_nan_loss_and_gradient_of_its_own_only(name):
    function, (outputs, targets, weights) = (uvote, heads()) if name == "uvote" else (evidential_nll, evidence())
    if name == "uvote":
        outputs = outputs.at[:, 3:].set(0.5)  # inside the clip, where s has a gradient
    targets = targets.at[4].set(jnp.nan)
    values = function(outputs, targets, weights)
    np.testing.assert_array_equal(np.isnan(values), np.arange(12) == 4)
    gradient = jax.grad(lambda outputs: function(outputs, targets, weights).sum())(outputs)
    assert np.isnan(gradient[4]).all()
    assert np.isfinite(np.delete(gradient, 4, 0)).all()


@pytest.mark.parametrize("name", ["uvote", "evidential"])
def test_bfloat16_and_extreme_outputs_are_finite(name):
    function, (outputs, targets, weights) = (uvote, heads()) if name == "uvote" else (evidential_nll, evidence())
    coarse = jnp.bfloat16(outputs), jnp.bfloat16(targets), jnp.bfloat16(weights)
    values = function(*coarse)
    assert values.dtype == jnp.float32
    np.testing.assert_allclose(values, function(*(jnp.float32(array) for array in coarse)), rtol=1e-6)
    for given in (coarse[0], 1e3 * outputs, -1e3 * outputs):
        values, gradient = jax.value_and_grad(lambda given: function(given, targets, weights).sum())(given)
        assert np.isfinite(values)
        assert np.isfinite(np.float32(gradient)).all()


def test_laplace_of_another_shape_is_refused():
    with pytest.raises(ValueError, match=r"mu \(5,\) and s \(4,\) differ in shape"):
        losses.laplace_nll(jnp.zeros(5), jnp.zeros(4), jnp.zeros(5))
    with pytest.raises(ValueError, match="differ in shape"):
        losses.laplace_nll(jnp.zeros(5), jnp.zeros(5), jnp.zeros((5, 1)))


@pytest.mark.parametrize("shape", [(5, 3), (5, 0), ()])
def test_uvote_needs_pairs_of_outputs(shape):
    with pytest.raises(ValueError, match=r"UVOTE needs outputs \[..., 2 M\]"):
        losses.uvote_value(jnp.zeros(shape))


@pytest.mark.parametrize(("targets", "weights"), [((5, 1), (5, 2)), ((4,), (5, 2)), ((5,), (2,)), ((5,), (5, 4))])
def test_uvote_refuses_targets_and_weights_that_do_not_fit(targets, weights):
    with pytest.raises(ValueError, match=r"do not fit heads \(5, 2\)"):
        losses.uvote(jnp.zeros((5, 4)), jnp.zeros(targets), jnp.zeros(weights))


def test_evidence_refuses_shapes_that_do_not_fit():
    with pytest.raises(ValueError, match="an evidential head needs 3 outputs on axis 0"):
        losses.evidential_value(jnp.zeros((5, 3)), axis=0)
    with pytest.raises(ValueError, match="differ in shape"):
        losses.evidential_nll(jnp.zeros((5, 3)), jnp.zeros(4))
    with pytest.raises(ValueError, match=r"weights \(5, 1\) do not fit targets \(5,\)"):
        losses.evidential_nll(jnp.zeros((5, 3)), jnp.zeros(5), jnp.zeros((5, 1)))
