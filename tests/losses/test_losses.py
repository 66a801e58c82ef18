"""Per-example losses: golden values and gradients, a float64 oracle, optax, extreme numbers, bad input."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.test_util import check_grads

from regcls_jax import losses
from regcls_jax.losses.classification import membership_probabilities
from regcls_jax.objectives import masked_mean

BETA = 5.0
REGRESSION = {
    "mse": losses.squared_error,
    "l1": losses.absolute_error,
    "huber": functools.partial(losses.huber, beta=BETA),
}
EACH_LOSS = pytest.mark.parametrize("name", REGRESSION)

cross_entropy = jax.jit(losses.cross_entropy, static_argnames="axis")


@functools.partial(jax.jit, static_argnames="axis")
def total_and_gradient(logits, labels, classes=None, axis=-1):
    """Sum of the cross-entropies and its gradient by the logits."""
    return jax.value_and_grad(lambda logits: jnp.sum(losses.cross_entropy(logits, labels, classes=classes, axis=axis)))(
        logits
    )


def slow_loss(name, predictions, targets):
    """recipes 2.1 one example after the other in float64."""
    out = np.empty(predictions.shape)
    for i in np.ndindex(out.shape):
        a = abs(float(predictions[i]) - float(targets[i]))
        out[i] = {"mse": a * a, "l1": a, "huber": a * a / (2 * BETA) if a < BETA else a - BETA / 2}[name]
    return out


def slow_cross_entropy(logits, labels):
    """Minus the logarithm of the label's softmax, row by row in float64: logits [n, C], labels [n]."""
    rows = []
    for row, label in zip(np.asarray(logits, np.float64), labels, strict=True):
        weights = np.exp(row - row.max())
        rows.append(-(row[label] - row.max() - np.log(weights.sum())))
    return np.array(rows)


def pair(shape=(40,), spread=10):
    rng = np.random.RandomState(0)
    predictions, targets = (jnp.array(rng.normal(scale=spread, size=shape), jnp.float32) for _ in range(2))
    return predictions, targets


def classified(shape=(12,), classes=7, axis=-1):
    rng = np.random.RandomState(0)
    logits = jnp.array(rng.normal(scale=3, size=(*shape, classes)), jnp.float32)
    return jnp.moveaxis(logits, -1, axis), jnp.array(rng.randint(0, classes, shape))


@EACH_LOSS
def test_golden_regression_losses(golden, name):
    data = np.load(golden / "losses.npz")

    def mean(predictions):
        return jnp.mean(REGRESSION[name](predictions, data["target"]))

    value, gradient = jax.value_and_grad(mean)(data["pred"])
    np.testing.assert_allclose(value, data[f"{name}_value"], rtol=1e-6)
    np.testing.assert_allclose(gradient, data[f"{name}_grad"], rtol=1e-6)


def test_golden_cross_entropy(golden):
    # The published code marks an ignored sample by the label -1; here it is a mask (and its label is not looked at).
    data = np.load(golden / "losses.npz")
    labels, kept = np.maximum(data["ce_labels"], 0), data["ce_labels"] >= 0
    assert 0 < kept.sum() < len(kept)

    def mean(logits):
        return masked_mean(losses.cross_entropy(logits, labels), kept)

    value, gradient = jax.jit(jax.value_and_grad(mean))(data["ce_logits"])
    np.testing.assert_allclose(value, data["ce_value"], rtol=1e-6)
    np.testing.assert_allclose(gradient, data["ce_grad"], rtol=2e-5, atol=1e-9)


@EACH_LOSS
@pytest.mark.parametrize("shape", [(), (40,), (5, 8), (3, 4, 2)])
def test_regression_losses_equal_the_slow_oracle(name, shape):
    predictions, targets = pair(shape)
    values = REGRESSION[name](predictions, targets)
    assert values.shape == shape
    np.testing.assert_allclose(values, slow_loss(name, predictions, targets), rtol=1e-6)
    np.testing.assert_allclose(jax.jit(REGRESSION[name])(predictions, targets), values, rtol=1e-6)


def test_regression_losses_are_those_of_optax():
    predictions, targets = pair((5, 8))
    np.testing.assert_allclose(
        losses.squared_error(predictions, targets), optax.squared_error(predictions, targets), rtol=1e-6
    )
    for beta in (0.3, 1.0, 20.0):
        np.testing.assert_allclose(
            losses.huber(predictions, targets, beta=beta),
            optax.huber_loss(predictions, targets, delta=beta) / beta,
            rtol=1e-5,
        )


def test_huber_with_a_small_beta_is_the_absolute_error():
    predictions, targets = pair()
    np.testing.assert_allclose(
        losses.huber(predictions, targets, beta=1e-6), losses.absolute_error(predictions, targets), atol=1e-6
    )


@EACH_LOSS
def test_regression_gradients_are_those_of_finite_differences(name):
    with jax.enable_x64(True):
        predictions, targets = (jnp.asarray(a, jnp.float64) for a in pair())
        check_grads(jax.jit(REGRESSION[name]), (predictions, targets), order=1, rtol=1e-6)


@EACH_LOSS
def test_a_perfect_prediction_has_no_loss_and_no_gradient(name):
    value, gradient = jax.value_and_grad(REGRESSION[name])(jnp.float32(3), jnp.float32(3))
    assert value == gradient == 0


@pytest.mark.parametrize("name", ["l1", "huber"])
@pytest.mark.parametrize("error", [1e30, np.inf])
def test_gradients_of_outliers_stay_finite(name, error):
    # 1e30 squared is infinite in float32.
    value, gradient = jax.value_and_grad(REGRESSION[name])(jnp.float32(error), jnp.float32(0))
    assert value == pytest.approx(error)
    assert gradient == 1


@EACH_LOSS
@pytest.mark.parametrize("shapes", [((5, 1), (5,)), ((5,), (1,)), ((5,), ()), ((2, 3), (3, 2))])
def test_shapes_that_would_broadcast_are_refused(name, shapes):
    predictions, targets = (jnp.zeros(shape) for shape in shapes)
    with pytest.raises(ValueError, match="predictions .* and targets .* differ in shape"):
        REGRESSION[name](predictions, targets)


@EACH_LOSS
def test_integer_predictions_are_refused_and_integer_targets_are_not(name):
    with pytest.raises(ValueError, match="predictions must be floating point, got int32"):
        REGRESSION[name](jnp.arange(3), jnp.zeros(3))
    np.testing.assert_array_equal(
        REGRESSION[name](jnp.ones(3), jnp.arange(3)), REGRESSION[name](jnp.ones(3), jnp.arange(3.0))
    )


@pytest.mark.parametrize("classes", [1, 7, 100])
def test_cross_entropy_equals_the_slow_oracle_and_optax(classes):
    logits, labels = classified((30,), classes)
    values = cross_entropy(logits, labels)
    np.testing.assert_allclose(values, slow_cross_entropy(logits, labels), rtol=2e-6, atol=1e-6)
    expected = jax.jit(optax.softmax_cross_entropy_with_integer_labels)(logits, labels)
    np.testing.assert_allclose(values, expected, rtol=2e-6, atol=1e-6)
    np.testing.assert_allclose(losses.cross_entropy(logits, labels), values, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(("shape", "axis"), [((), 0), ((12,), 0), ((12,), -2), ((4, 3), 0), ((4, 3), 1)])
def test_classes_may_stand_on_any_axis(shape, axis):
    logits, labels = classified(shape)
    moved, _ = classified(shape, axis=axis)
    np.testing.assert_allclose(
        cross_entropy(moved, labels, axis=axis), cross_entropy(logits, labels), rtol=1e-6, atol=1e-6
    )


def test_cross_entropy_gradient_is_softmax_minus_one_hot_and_that_of_finite_differences():
    with jax.enable_x64(True):
        logits, labels = classified()
        logits = jnp.asarray(logits, jnp.float64)
        _, gradient = total_and_gradient(logits, labels)
        expected = np.exp(logits) / np.exp(logits).sum(1, keepdims=True) - np.eye(7)[labels]
        np.testing.assert_allclose(gradient, expected, rtol=1e-12, atol=1e-15)
        padded = jax.jit(lambda logits: losses.cross_entropy(logits, labels % 5, classes=5))
        check_grads(padded, (logits,), order=1, rtol=1e-6)


@pytest.mark.parametrize("axis", [-1, 0])
@pytest.mark.parametrize("padding", [0.0, 1e4, np.inf, np.nan])
def test_padded_logits_change_neither_value_nor_gradient(axis, padding):
    logits, labels = classified(axis=axis)
    width = [(0, 0), (0, 0)]
    width[axis] = (0, 5)
    padded = jnp.pad(logits, width, constant_values=padding)
    value, gradient = total_and_gradient(logits, labels, axis=axis)
    padded_value, padded_gradient = total_and_gradient(padded, labels, 7, axis)
    np.testing.assert_allclose(padded_value, value, rtol=1e-6)
    np.testing.assert_allclose(padded_gradient, jnp.pad(gradient, width), rtol=1e-6, atol=1e-7)
    assert not np.take(padded_gradient, range(7, 12), axis).any()


def test_cross_entropy_of_extreme_logits():
    logits = jnp.array([[1e4, -1e4, 0], [1e4, -1e4, 0], [-1e4, -1e4, -1e4], [1e4, 1e4, -1e4]])
    labels = jnp.array([0, 1, 2, 1])
    values = cross_entropy(logits, labels)
    # One unit in the last place of 1e4 is 1e-3.
    np.testing.assert_allclose(values, [0, 2e4, np.log(3), np.log(2)], rtol=0, atol=1e-3)
    _, gradient = total_and_gradient(logits, labels)
    third = 1 / 3
    expected = [[0, 0, 0], [1, -1, 0], [third, third, third - 1], [0.5, -0.5, 0]]
    np.testing.assert_allclose(gradient, expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("logits", "labels", "axis"),
    [((5, 3), (5, 1), -1), ((5, 3), (3,), -1), ((5, 3), (5,), 0), ((5, 3), (), -1)],
)
def test_labels_of_another_shape_are_refused(logits, labels, axis):
    with pytest.raises(ValueError, match="do not fit labels"):
        losses.cross_entropy(jnp.zeros(logits), jnp.zeros(labels, int), axis=axis)


def test_labels_must_be_integers():
    with pytest.raises(ValueError, match="labels must be integers, got float32"):
        losses.cross_entropy(jnp.zeros((5, 3)), jnp.zeros(5))


@pytest.mark.parametrize("axis", [-1, 0])
def test_membership_error_sums_squares_over_classes(axis):
    rng = np.random.default_rng(0)
    outputs, memberships = rng.normal(size=(2, 5, 3))
    expected = [
        sum((o - m) ** 2 for o, m in zip(*rows, strict=True)) for rows in zip(outputs, memberships, strict=True)
    ]
    given = [jnp.float32(array if axis == -1 else array.T) for array in (outputs, memberships)]
    np.testing.assert_allclose(losses.membership_error(*given, axis=axis), expected, rtol=1e-5)
    gradient = jax.grad(lambda o: losses.membership_error(o, given[1], axis=axis).sum())(given[0])
    np.testing.assert_allclose(gradient, 2 * (given[0] - given[1]), rtol=1e-5, atol=1e-6)


def test_membership_error_needs_a_membership_of_every_class():
    with pytest.raises(ValueError, match="differ in shape"):
        losses.membership_error(jnp.zeros((5, 3)), jnp.zeros((5, 4)))


def test_membership_probabilities_are_the_outputs_above_0():
    outputs = jnp.array([[0.2, -0.1, 0.6], [-1.0, -2.0, -3.0]])
    found = membership_probabilities(outputs)
    np.testing.assert_allclose(found, [[0.25, 0, 0.75], [1 / 3] * 3], rtol=1e-6)
    np.testing.assert_allclose(membership_probabilities(outputs, classes=2), [[1, 0, 0], [0.5, 0.5, 0]], rtol=1e-6)
    np.testing.assert_allclose(membership_probabilities(outputs.T, classes=2, axis=0).T, [[1, 0, 0], [0.5, 0.5, 0]])
