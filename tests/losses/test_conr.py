"""ConR: a worked example, a NumPy oracle, finite differences, anchors without pairs, large exponents."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from regcls_jax import losses

conr = jax.jit(losses.conr)


def batch(seed=0, rows=15):
    rng = np.random.RandomState(seed)
    targets = rng.randint(20, 27, rows).astype(float)
    return rng.normal(size=(rows, 4)), targets, targets + rng.normal(0, 2, rows)


def slow(features, targets, predictions, *, distance, temperature, eta, weights):
    """recipes 2.6, one pair after the other."""
    u = features / np.linalg.norm(features, axis=1, keepdims=True)
    everyone, out = range(len(targets)), []
    for i in everyone:
        positive, negative = [], []
        for j in everyone:
            if abs(targets[i] - targets[j]) <= distance:
                positive += [j] if j != i else []
            elif abs(predictions[i] - predictions[j]) <= distance:
                negative.append(j)
        if not positive or not negative:
            out.append(0.0)
            continue
        c = u @ u[i] / temperature
        total = sum(np.exp(c[j]) if j in positive else 1 for j in everyone)
        total += sum(weights[i] * np.exp(eta * abs(targets[i] - targets[j])) * np.exp(c[j]) for j in negative)
        out.append(weights[i] * np.mean([-np.log(np.exp(c[j]) / total) for j in positive]))
    return np.array(out)


def test_a_worked_example():
    # Recipes 2.6 by hand: rows 0 and 1 are positive for each other, row 2 is their negative and has no positive.
    features = np.array([[1.0, 0.0], [2.0, 0.0], [0.0, 3.0]])
    targets, predictions, weights = np.array([0.0, 1.0, 5.0]), np.array([0.0, 0.5, 0.5]), np.array([2.0, 1.0, 1.0])
    values = conr(features, targets, predictions, temperature=0.5, eta=0.1, weights=weights)
    first = 2 * (np.log(2 + np.exp(2) + 2 * np.exp(0.5)) - 2)
    second = np.log(2 + np.exp(2) + np.exp(0.4)) - 2
    np.testing.assert_allclose(values, [first, second, 0], rtol=1e-6)


@pytest.mark.parametrize(
    ("distance", "temperature", "eta", "weighted"),
    [(1.0, 0.2, 0.01, False), (1.0, 0.07, 0.01, True), (0.5, 0.5, 0.2, True), (2.0, 1.0, 0.0, False)],
)
def test_the_slow_oracle(distance, temperature, eta, weighted):
    features, targets, predictions = batch()
    weights = np.random.RandomState(1).uniform(0, 3, len(targets)) if weighted else None
    given = {"distance": distance, "temperature": temperature, "eta": eta}
    expected = slow(features, targets, predictions, weights=np.ones(15) if weights is None else weights, **given)
    assert 3 < np.count_nonzero(expected)
    with jax.enable_x64(True):
        np.testing.assert_allclose(conr(features, targets, predictions, weights=weights, **given), expected, rtol=1e-10)
    values = conr(features, targets, predictions, weights=weights, **given)
    np.testing.assert_allclose(values, expected, rtol=1e-4, atol=1e-5)


def test_gradients_are_those_of_finite_differences():
    features, targets, predictions = batch(rows=8)
    weights = np.linspace(0.5, 2, 8)

    def loss(features, temperature, eta, weights):
        return jnp.mean(conr(features, targets, predictions, temperature=temperature, eta=eta, weights=weights))

    with jax.enable_x64(True):
        check_grads(loss, (features, 0.5, 0.1, weights), order=1, modes=("rev",), rtol=1e-6)


def test_predictions_get_no_gradient():
    features, targets, predictions = batch()
    slope = jax.grad(lambda p: jnp.sum(conr(features, targets, p)))(predictions)
    assert not np.any(slope)


def test_anchors_without_a_positive_or_without_a_negative_are_zero():
    features, targets, predictions = batch()

    def total(features, targets, predictions):
        return jnp.sum(conr(features, targets, predictions))

    apart = 10.0 * np.arange(15)  # no positives, all others negatives
    for given in ((apart, np.zeros(15)), (targets, 10.0 * np.arange(15))):  # the second has no negatives
        value, slope = jax.value_and_grad(total)(features, *given)
        assert value == 0
        assert not np.any(slope)


def test_a_zero_weight_silences_its_anchor_alone():
    features, targets, predictions = batch()
    weights = np.where(np.arange(15) == np.flatnonzero(conr(features, targets, predictions))[0], 0.0, 1.0)
    values, plain = (conr(features, targets, predictions, weights=w) for w in (weights, None))
    np.testing.assert_array_equal(values, np.where(weights > 0, plain, 0))
    slope = jax.grad(lambda f: jnp.sum(conr(f, targets, predictions, weights=weights)))(features)
    assert np.all(np.isfinite(slope))


def test_large_exponents_do_not_overflow():
    features, targets, predictions = batch()
    given = {"distance": 1.0, "temperature": 0.005, "eta": 40.0, "weights": np.ones(15)}
    assert 40 * np.ptp(targets) > 200
    values = conr(features, targets, predictions, **given)
    np.testing.assert_allclose(values, slow(features, targets, predictions, **given), rtol=1e-4)
    slope = jax.grad(lambda f: jnp.sum(conr(f, targets, predictions, **given)))(features)
    assert np.all(np.isfinite(slope))


def test_two_views_are_more_rows():
    features, targets, predictions = batch(rows=6)
    both = np.concatenate([features, features + 0.1]), np.tile(targets, 2), np.tile(predictions, 2)
    given = {"distance": 1.0, "temperature": 0.2, "eta": 0.01}
    np.testing.assert_allclose(conr(*both, **given), slow(*both, weights=np.ones(12), **given), rtol=1e-4)


def test_bad_input():
    good = (jnp.zeros((4, 2)), jnp.zeros(4), jnp.zeros(4))
    with pytest.raises(ValueError, match=r"predictions \(4, 1\) do not fit a batch of 4"):
        losses.conr(*good[:2], jnp.zeros((4, 1)))
    with pytest.raises(ValueError, match=r"weights \(3,\) do not fit a batch of 4"):
        losses.conr(*good, weights=jnp.ones(3))
    with pytest.raises(ValueError, match=r"targets \(4, 2\) do not fit a batch of 4"):
        losses.conr(good[0], jnp.zeros((4, 2)), good[2])
