"""Rank-N-Contrast: golden values, a NumPy oracle, finite differences, ties, underflow, the lower bound."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads
from scipy import special

from regcls_jax import losses

rank_n_contrast = jax.jit(losses.rank_n_contrast)
bound = jax.jit(losses.rank_n_contrast_bound)

# Recipes 2.18, "Gold".
Z = np.array([[0.0, 0], [1, 0], [0, 2], [3, 1]])
Y = np.array([20.0, 30, 30, 55])
SHIFT = np.array([[0.1, 0], [0, 0.1], [-0.1, 0], [0, -0.2]])


def batch(seed=0, rows=13, dimensions=None):
    rng = np.random.RandomState(seed)
    shape = (rows,) if dimensions is None else (rows, dimensions)
    return 3 * rng.normal(size=(rows, 4)) + 5, rng.randint(0, 5, shape).astype(float)


def distance(a, b):
    return np.sum(np.abs(a - b))


def slow(features, targets, temperature=2.0):
    """Recipes 2.18, one positive after the other."""
    n, out = len(targets), []
    for i in range(n):
        others = [j for j in range(n) if j != i]
        s = {j: -np.linalg.norm(features[i] - features[j]) / temperature for j in others}
        d = {j: distance(targets[i], targets[j]) for j in others}
        out.append(np.mean([special.logsumexp([s[k] for k in others if d[k] >= d[j]]) - s[j] for j in others]))
    return np.array(out)


def test_golden():
    views = np.concatenate([Z, Z + SHIFT]), np.tile(Y, 2)
    vectors = np.array([[0.0, 1], [1, 1], [2, 0], [0, 3]])
    with jax.enable_x64(True):
        for features, targets, temperature, expected in (
            (Z, Y, 2.0, 0.5968326671),
            (Z, Y, 1.0, 0.5901323547),
            (*views, 2.0, 1.3257873512),
            (Z, vectors, 2.0, 0.5282564258),
        ):
            values = rank_n_contrast(features, targets, temperature=temperature)
            np.testing.assert_allclose(jnp.mean(values), expected, rtol=0, atol=1e-10)
        np.testing.assert_allclose(bound(Y), 0.2310490602, rtol=0, atol=1e-10)
        np.testing.assert_allclose(bound(views[1]), 0.9285640996, rtol=0, atol=1e-10)
    np.testing.assert_allclose(jnp.mean(rank_n_contrast(Z, Y)), 0.5968326671, rtol=1e-6)


@pytest.mark.parametrize("dimensions", [None, 1, 3])
@pytest.mark.parametrize("seed", [0, 1])
def test_the_slow_oracle(seed, dimensions):
    features, targets = batch(seed, dimensions=dimensions)
    expected = slow(features, targets, 0.7)
    with jax.enable_x64(True):
        np.testing.assert_allclose(rank_n_contrast(features, targets, temperature=0.7), expected, rtol=1e-12)
    np.testing.assert_allclose(rank_n_contrast(features, targets, temperature=0.7), expected, rtol=1e-5)
    sizes = [
        sum(distance(targets[i], targets[k]) == distance(targets[i], targets[j]) for k in range(13) if k != i)
        for i in range(13)
        for j in range(13)
        if j != i
    ]
    np.testing.assert_allclose(bound(targets), np.mean(np.log(sizes)), rtol=1e-5)


def test_gradients_are_those_of_finite_differences():
    features, targets = batch(rows=8)
    with jax.enable_x64(True):

        def loss(features, temperature):
            return jnp.mean(rank_n_contrast(features, targets, temperature=temperature))

        check_grads(loss, (features, 2.0), order=1, modes=("rev",), rtol=1e-6)


def test_equal_features_have_no_gradient_through_their_distance():
    features, targets = batch(rows=8)
    features[3], features[5] = features[1], features[1]
    moved = features.copy()
    moved[[1, 3, 5]] += 1e-3
    value, slope = jax.value_and_grad(lambda f: jnp.mean(rank_n_contrast(f, targets)))(features)
    assert np.all(np.isfinite(slope))
    np.testing.assert_allclose(value, np.mean(slow(features, targets)), rtol=1e-5)
    # Moving the three together changes none of their distances: there the gradient is that of finite differences.
    with jax.enable_x64(True):
        change = np.mean(slow(moved, targets)) - np.mean(slow(features, targets))
    np.testing.assert_allclose(np.sum(slope[np.array([1, 3, 5])]) * 1e-3, change, rtol=2e-3)


def test_similarities_that_are_far_apart_do_not_underflow():
    features, targets = batch()
    # In float32 exp(-87) is about the smallest number; here similarities differ by thousands.
    value, slope = jax.value_and_grad(lambda f: jnp.mean(rank_n_contrast(f, targets, temperature=1e-3)))(features)
    np.testing.assert_allclose(value, np.mean(slow(features, targets, 1e-3)), rtol=1e-5)
    assert np.all(np.isfinite(slope))


def test_a_large_common_mean_does_not_blur_distances():
    features, targets = batch()
    np.testing.assert_allclose(rank_n_contrast(features + 4096, targets), slow(features, targets), rtol=2e-3)


@pytest.mark.parametrize("scale", [0.1, 1 / 3, 0.7])
@pytest.mark.parametrize("dimensions", [None, 2])
def test_ties_that_differ_in_the_last_bit_are_ties(scale, dimensions):
    features, targets = batch(rows=30, dimensions=dimensions)
    fractions = np.float32(targets) * np.float32(scale) + np.float32(0.9)
    apart = np.abs(fractions[:, None] - fractions[None])
    assert len(np.unique(apart)) > len(np.unique(np.abs(targets[:, None] - targets[None])))
    np.testing.assert_allclose(rank_n_contrast(features, fractions), rank_n_contrast(features, targets), rtol=1e-6)
    np.testing.assert_allclose(bound(fractions), bound(targets), rtol=1e-6)


def test_small_distances_beside_a_large_target_are_no_ties():
    features, targets = batch()
    far = np.append(targets / 128, 1e6)
    features = np.append(features, [[0, 0, 0, 9.0]], axis=0)
    np.testing.assert_allclose(rank_n_contrast(features, far)[:-1], slow(features, far)[:-1], rtol=1e-5)


def test_the_bound_is_reached_by_ordered_features_far_apart():
    _, targets = batch()
    least = float(bound(targets))
    losses_of = [float(jnp.mean(rank_n_contrast(s * targets[:, None], targets))) for s in (0.1, 1.0, 10.0, 100.0)]
    assert losses_of == sorted(losses_of, reverse=True)
    assert losses_of[0] > least + 0.1
    assert losses_of[-1] == pytest.approx(least, rel=1e-5)
    for seed in range(3):
        features, targets = batch(seed)
        assert float(jnp.mean(rank_n_contrast(features, targets))) > float(bound(targets))


def test_equal_targets_even_out_the_distances():
    features, _ = batch()
    same = np.full(13, 30.0)
    assert float(bound(same)) == pytest.approx(np.log(12))
    assert float(jnp.mean(rank_n_contrast(features, same))) > np.log(12) + 0.1
    corners = np.eye(13)
    assert float(jnp.mean(rank_n_contrast(corners, same))) == pytest.approx(np.log(12), rel=1e-6)


def test_a_masked_bound_is_that_of_the_kept_rows():
    _, targets = batch()
    mask = np.arange(13) % 3 != 1
    dirty = np.where(mask, targets, np.nan)
    np.testing.assert_allclose(bound(dirty, mask), bound(targets[mask]), rtol=1e-6)
    for kept in (np.arange(13) == 3, np.zeros(13, bool)):
        assert float(bound(dirty, kept)) == 0


def test_bad_input():
    with pytest.raises(ValueError, match=r"targets \(4, 2, 1\) do not fit a batch of 4"):
        losses.rank_n_contrast(jnp.zeros((4, 2)), jnp.zeros((4, 2, 1)))
    with pytest.raises(ValueError, match=r"targets must be \[B\] or \[B, T\], got \(\)"):
        losses.rank_n_contrast_bound(3.0)
    with pytest.raises(ValueError, match=r"mask \(3,\) does not fit a batch of 4"):
        losses.rank_n_contrast_bound(jnp.zeros(4), np.ones(3, bool))
