"""Ordinal entropy: a worked example, a NumPy oracle, finite differences."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.test_util import check_grads

from regcls_jax import losses

ordinal_entropy = jax.jit(losses.ordinal_entropy)


def batch(seed=0, rows=12):
    rng = np.random.RandomState(seed)
    return rng.normal(size=(rows, 4)) + 1, rng.randint(0, 9, rows).astype(float)


def pairs_of(features, targets):
    """The weights and distances of recipes 2.13 by pair (i, j) with i < j."""
    p = [z / np.sqrt(np.sum(z**2)) for z in features]
    pairs = [(i, j) for j in range(len(targets)) for i in range(j)]
    apart = {(i, j): abs(targets[i] - targets[j]) for i, j in pairs}
    least, greatest = min(apart.values()), max(apart.values())
    return {(i, j): ((apart[i, j] - least) / greatest, np.sqrt(np.sum((p[i] - p[j]) ** 2))) for i, j in pairs}


def test_a_worked_example():
    # Recipes 2.13 by hand: the distances of the targets are 1, 3 and 2, so the weights are 0, 2/3 and 1/3.
    features, targets = np.array([[2.0, 0], [0, 3], [-1, 0]]), np.array([0.0, 1, 3])
    values = ordinal_entropy(features, targets)
    np.testing.assert_allclose(jnp.mean(values), -(2 / 3 * 2 + np.sqrt(2) / 3) / 3, rtol=1e-6)
    # Half of each pair goes to either of its rows.
    np.testing.assert_allclose(values, [-2 / 3, -np.sqrt(2) / 6, -2 / 3 - np.sqrt(2) / 6], rtol=1e-6)


def test_the_slow_oracle():
    for seed in range(3):
        features, targets = batch(seed)
        pairs = pairs_of(features, targets)
        with jax.enable_x64(True):
            values = np.asarray(ordinal_entropy(features, targets))
        np.testing.assert_allclose(np.mean(values), -np.mean([w * d for w, d in pairs.values()]), rtol=1e-12)
        for i, value in enumerate(values):
            own = sum(w * d for pair, (w, d) in pairs.items() if i in pair)
            np.testing.assert_allclose(value, -12 * own / 2 / len(pairs), rtol=1e-12)
        np.testing.assert_allclose(ordinal_entropy(features, targets), values, rtol=1e-5)


def test_gradients_are_those_of_finite_differences():
    features, targets = batch(rows=7)
    with jax.enable_x64(True):

        def loss(features):
            return jnp.mean(ordinal_entropy(features, targets))

        check_grads(loss, (features,), order=1, modes=("rev",), rtol=1e-6)


def test_neither_the_length_of_features_nor_the_unit_of_targets_matters():
    features, targets = batch()
    np.testing.assert_allclose(
        ordinal_entropy(3 * features, 1000 * targets + 7), ordinal_entropy(features, targets), rtol=1e-5
    )


def test_close_features_are_told_apart():
    # Directions a thousandth of a radian apart, as after a ReLU with a large mean.
    features, targets = batch()
    features = 1 + 1e-3 * features
    expected = -np.mean([w * d for w, d in pairs_of(features, targets).values()])
    np.testing.assert_allclose(jnp.mean(ordinal_entropy(features, targets)), expected, rtol=1e-3)
