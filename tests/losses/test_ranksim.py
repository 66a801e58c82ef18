"""RankSim: a worked example, a NumPy oracle of value and published backward pass, random choice of rows."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from regcls_jax import losses
from regcls_jax.losses.pairs import first_of_each

ranksim = jax.jit(losses.ranksim)


def batch(seed=0, rows=14):
    rng = np.random.RandomState(seed)
    return rng.normal(size=(rows, 5)), rng.randint(20, 29, rows).astype(float)


def rank(scores):
    """1 / M for the largest; of equal numbers the later one comes first (recipes 2.5)."""
    order = sorted(range(len(scores)), key=lambda j: (scores[j], j), reverse=True)
    ranks = np.empty(len(scores))
    for place, j in enumerate(order):
        ranks[j] = (place + 1) / len(scores)
    return ranks


def slow(features, targets, rows, strength, coefficient):
    """recipes 2.5 on the given rows: the loss of each, and the gradient of coefficient * sum for their features."""
    z, y = features[rows], targets[rows]
    norms = np.linalg.norm(z, axis=1, keepdims=True)
    u = z / norms
    similarities = u @ u.T
    out, slopes = [], []
    for i in range(len(rows)):
        found, wanted = rank(similarities[i]), rank(-np.abs(y[i] - y))
        out.append(np.mean((found - wanted) ** 2))
        g = coefficient * 2 * (found - wanted) / len(rows)
        slopes.append(-(found - rank(similarities[i] + strength * g)) / (strength + 1e-8))
    slopes = np.array(slopes)
    of_u = (slopes + slopes.T) @ u
    return np.array(out), (of_u - np.sum(of_u * u, axis=1, keepdims=True) * u) / norms


def first_rows(targets):
    return [i for i in range(len(targets)) if targets[i] not in list(targets[:i])]


def test_a_worked_example():
    # Recipes 2.5 by hand. Directions 0, 10 and 90 degrees: the ranks of the similarities are 123, 213 and 321, those of
    # the targets 132, 312 and, where rows 0 and 1 are equally far from row 2 and the later comes first, 321.
    angles = np.deg2rad([0, 10, 90])
    features = np.array([1.0, 3.0, 0.5])[:, None] * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    values = ranksim(features, np.array([1.0, 3.0, 2.0]))
    np.testing.assert_allclose(values, [3 * 2 / 27, 3 * 2 / 27, 0], rtol=1e-6)
    # A second example of a target is not used, but counts in the mean.
    values = ranksim(np.append(features, [[0.0, 1.0]], axis=0), np.array([1.0, 3.0, 2.0, 1.0]))
    np.testing.assert_allclose(values, [4 * 2 / 27, 4 * 2 / 27, 0, 0], rtol=1e-6)
    assert float(jnp.mean(values)) == pytest.approx(4 / 27)


@pytest.mark.parametrize(("strength", "coefficient"), [(2.0, 1.0), (2.0, 100.0), (0.5, 3.0)])
@pytest.mark.parametrize("seed", [0, 1])
def test_value_and_backward_pass_are_the_published_ones(seed, strength, coefficient):
    features, targets = batch(seed)
    rows = first_rows(targets)
    assert len(rows) < len(targets)

    def loss(features):
        values = ranksim(features, targets, strength=strength)
        return coefficient * jnp.mean(values), values

    with jax.enable_x64(True):
        (total, values), slope = jax.value_and_grad(loss, has_aux=True)(features)
    expected, expected_slope = slow(features, targets, rows, strength, coefficient)
    assert np.any(expected_slope)
    np.testing.assert_allclose(total, coefficient * np.sum(expected), rtol=1e-12)
    np.testing.assert_allclose(values[np.array(rows)], len(targets) * expected, rtol=1e-12)
    np.testing.assert_allclose(slope[np.array(rows)], expected_slope, rtol=1e-9, atol=1e-12)
    assert not np.any(np.delete(slope, rows, axis=0))


def test_features_ranked_as_the_targets_cost_nothing():
    targets = np.array([0.0, 1.0, 3.0, 7.0, 15.0])
    angles = np.deg2rad(targets * 5)
    features = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    value, slope = jax.value_and_grad(lambda f: jnp.mean(ranksim(f, targets)))(features)
    assert value == 0
    assert not np.any(slope)


def test_strength_and_targets_get_no_gradient():
    features, targets = batch()

    def loss(targets, strength):
        return jnp.sum(ranksim(features, targets, strength=strength))

    slopes = jax.grad(loss, argnums=(0, 1))(targets, 2.0)
    assert not any(np.any(slope) for slope in slopes)


def test_a_key_draws_the_row_of_each_target():
    features, targets = batch()
    mask = np.arange(14) != 3
    choose = jax.jit(functools.partial(first_of_each, jnp.asarray(targets), jnp.asarray(mask)))
    drawn = np.zeros(14, int)
    for key in jax.random.split(jax.random.key(0), 60):
        chosen = np.flatnonzero(choose(key))
        assert sorted(targets[chosen]) == sorted(set(targets[mask]))
        drawn[chosen] += 1
    assert drawn[3] == 0
    for target in set(targets[mask]):
        counts = drawn[mask & (targets == target)]
        # 60 draws among up to five rows: each of them is drawn about as often.
        assert counts.min() > 0.3 * 60 / len(counts)
    expected, _ = slow(features, targets, chosen, 2.0, 1.0)
    values = ranksim(features, targets, key=key, mask=mask)
    np.testing.assert_allclose(values[chosen], 13 * expected, rtol=1e-5)
    assert not np.any(np.delete(values, chosen))
