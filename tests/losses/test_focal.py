"""Focal-R: golden values and gradients, a float64 oracle, the point of zero error, bad input."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from regcls_jax import losses

FOCAL = {"squared": losses.focal_squared_error, "absolute": losses.focal_absolute_error}
BASE = {"squared": losses.squared_error, "absolute": losses.absolute_error}
EACH_LOSS = pytest.mark.parametrize("name", FOCAL)
EACH_ACTIVATION = pytest.mark.parametrize("activation", ["sigmoid", "tanh"])


def slow_focal(name, predictions, targets, beta, gamma, activation):
    """recipes 2.1 one example after the other in float64."""
    out = np.empty(np.shape(predictions))
    for i in np.ndindex(out.shape):
        a = abs(float(predictions[i]) - float(targets[i]))
        factor = math.tanh(beta * a) if activation == "tanh" else 2 / (1 + math.exp(-beta * a)) - 1
        out[i] = {"squared": a * a, "absolute": a}[name] * factor**gamma
    return out


def pair(shape=(40,)):
    rng = np.random.RandomState(0)
    return tuple(jnp.array(rng.normal(scale=10, size=shape), jnp.float32) for _ in range(2))


@pytest.mark.parametrize(
    ("golden_name", "loss", "weighted"),
    [
        ("focal_mse", losses.focal_squared_error, False),
        (
            "focal_mse_tanh",
            functools.partial(losses.focal_squared_error, beta=0.1, gamma=2, activation="tanh"),
            False,
        ),
        ("focal_l1", losses.focal_absolute_error, False),
        ("focal_l1_w", functools.partial(losses.focal_absolute_error, beta=0.05, gamma=1.5), True),
    ],
)
def test_golden(golden, golden_name, loss, weighted):
    data = np.load(golden / "losses.npz")
    weights = data["weights"] if weighted else 1

    def mean(predictions):
        return jnp.mean(weights * loss(predictions, data["target"]))

    value, gradient = jax.jit(jax.value_and_grad(mean))(data["pred"])
    np.testing.assert_allclose(value, data[f"{golden_name}_value"], rtol=1e-6)
    np.testing.assert_allclose(gradient, data[f"{golden_name}_grad"], rtol=1e-5, atol=1e-8)


@EACH_LOSS
@EACH_ACTIVATION
@pytest.mark.parametrize("gamma", [0.5, 1, 1.5, 2])
def test_the_slow_oracle(name, activation, gamma):
    predictions, targets = pair((5, 8))
    loss = functools.partial(FOCAL[name], beta=0.07, gamma=gamma, activation=activation)
    values = loss(predictions, targets)
    assert values.shape == (5, 8)
    np.testing.assert_allclose(values, slow_focal(name, predictions, targets, 0.07, gamma, activation), rtol=2e-6)
    np.testing.assert_allclose(jax.jit(loss)(predictions, targets), values, rtol=1e-6)
    scalar = loss(predictions[0, 0], targets[0, 0])
    assert scalar.shape == ()
    np.testing.assert_allclose(scalar, values[0, 0], rtol=1e-6)


@EACH_LOSS
@EACH_ACTIVATION
def test_gradients_are_those_of_finite_differences(name, activation):
    # By beta and gamma as well, which the study may trace; nothing is stop-gradiented.
    with jax.enable_x64(True):
        predictions, targets = (jnp.asarray(a, jnp.float64) for a in pair())

        def loss(predictions, targets, beta, gamma):
            return FOCAL[name](predictions, targets, beta=beta, gamma=gamma, activation=activation)

        check_grads(jax.jit(loss), (predictions, targets, 0.1, 1.5), order=1, rtol=1e-6, eps=1e-5)


@EACH_LOSS
def test_limits(name):
    predictions, targets = pair()
    base = BASE[name](predictions, targets)
    np.testing.assert_allclose(FOCAL[name](predictions, targets, gamma=0), base, rtol=1e-6)
    np.testing.assert_allclose(FOCAL[name](predictions, targets, beta=1e6), base, rtol=1e-6)
    assert np.all(FOCAL[name](predictions, targets) < base)


@EACH_LOSS
@EACH_ACTIVATION
@pytest.mark.parametrize("gamma", [0.0, 0.3, 0.5, 1.0, 2.0])
@pytest.mark.parametrize("error", [0.0, 1e-30, 2e-38])
def test_no_error_has_no_loss_and_no_gradient(name, activation, gamma, error):
    # The smallest error underflows in beta * error though it is not 0 itself.
    loss = functools.partial(FOCAL[name], beta=0.1, gamma=gamma, activation=activation)
    value, gradient = jax.value_and_grad(loss)(jnp.float32(error), jnp.float32(0))
    assert value == pytest.approx(0, abs=1e-29)
    # |p - y| alone has slope 1 as soon as there is an error.
    assert gradient == pytest.approx(float(name == "absolute" and gamma == 0 and error > 0), abs=1e-8)


def test_outliers_stay_finite():
    value, gradient = jax.value_and_grad(losses.focal_absolute_error)(jnp.float32(1e30), jnp.float32(0))
    assert value == pytest.approx(1e30)
    assert gradient == 1


@EACH_LOSS
def test_bad_input(name):
    with pytest.raises(ValueError, match="unknown activation 'relu'; one of sigmoid, tanh"):
        FOCAL[name](jnp.zeros(3), jnp.zeros(3), activation="relu")
    with pytest.raises(ValueError, match="differ in shape"):
        FOCAL[name](jnp.zeros((3, 1)), jnp.zeros(3))
    with pytest.raises(ValueError, match="must be floating point"):
        FOCAL[name](jnp.arange(3), jnp.zeros(3))
