"""DenseWeight and joint densities: golden numbers of recipes 2.31, plain loops, invariances, bad input."""

import numpy as np
import pytest

from regcls_jax.density_weights import dense_weights, joint_density, joint_density_weights

# recipes 2.31, computed there in float64 to 10 digits.
VECTORS = np.array([[0, 0], [0, 1], [1, 0], [4, 4]])
DENSITY = [0.0668801453, 0.0549530554, 0.0549530554, 0.0443453885]
LEFT_OUT = [0.0333740839, 0.0174712973, 0.0174712973, 0.0033277415]
WEIGHTS = {
    1.0: [0.8093483827, 0.9850105163, 0.9850105163, 1.2206305846],
    0.5: [0.9020252729, 0.995110681, 0.995110681, 1.107753365],
}
DENSE = [0.0000019431, 1.0284421233, 1.0284421233, 1.9431138104]


def slow_density(targets, leave_one_out):
    """recipes 2.31, kernel by kernel."""
    n, t = targets.shape
    covariance = np.atleast_2d(np.cov(targets.T)) * n ** (-2 / (t + 4))
    inverse, norm = np.linalg.inv(covariance), np.sqrt(np.linalg.det(2 * np.pi * covariance))
    found = []
    for i in range(n):
        others = [j for j in range(n) if not (leave_one_out and i == j)]
        kernels = [np.exp(-(targets[i] - targets[j]) @ inverse @ (targets[i] - targets[j]) / 2) / norm for j in others]
        found.append(np.mean(kernels))
    return np.array(found)


def slow_dense_weights(targets, alpha):
    """recipes 2.10, on a grid, target by target."""
    width = 1.06 * np.std(targets) * len(targets) ** -0.2
    margin = max(4 * width, 0.05 * (max(targets) - min(targets)))
    grid = np.linspace(min(targets) - margin, max(targets) + margin, 4096)
    density = np.array([np.sum(np.exp(-(((x - targets) / width) ** 2) / 2)) for x in grid])
    scaled = (density - density.min()) / (density.max() - density.min())
    weights = np.array([max(1 - alpha * scaled[max(i for i in range(4096) if grid[i] <= y)], 1e-6) for y in targets])
    return weights / weights.mean()


def test_golden_joint_densities_and_weights():
    np.testing.assert_allclose(joint_density(VECTORS), DENSITY, atol=5e-11)
    np.testing.assert_allclose(joint_density(VECTORS, leave_one_out=True), LEFT_OUT, atol=5e-11)
    for gamma, expected in WEIGHTS.items():
        np.testing.assert_allclose(joint_density_weights(VECTORS, gamma), expected, atol=5e-11)
    np.testing.assert_allclose(dense_weights(VECTORS), DENSE, atol=5e-11)


@pytest.mark.parametrize("dimensions", [1, 2, 4])
@pytest.mark.parametrize("leave_one_out", [False, True])
def test_joint_densities_by_a_plain_loop(dimensions, leave_one_out):
    targets = np.random.default_rng(0).exponential(size=(40, dimensions))
    expected = slow_density(targets, leave_one_out)
    got = joint_density(targets, leave_one_out=leave_one_out)
    np.testing.assert_allclose(got, expected, rtol=1e-9, atol=1e-15)
    inverse = 1 / np.maximum(expected, 1e-3 * expected.mean())
    weights = joint_density_weights(targets, leave_one_out=leave_one_out)
    np.testing.assert_allclose(weights, inverse / inverse.mean(), rtol=1e-9)


@pytest.mark.parametrize("alpha", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("decimals", [1, 9])  # many equal targets, or none
def test_dense_weights_by_a_plain_loop(alpha, decimals):
    targets = np.round(np.random.default_rng(1).gamma(2, 10, 80), decimals)
    np.testing.assert_allclose(dense_weights(targets, alpha), slow_dense_weights(targets, alpha), rtol=1e-7)


@pytest.mark.parametrize(
    "weigh", [dense_weights, joint_density_weights, lambda y: joint_density_weights(y, 0.5, leave_one_out=True)]
)
@pytest.mark.parametrize("dimensions", [1, 2])
def test_mean_one_rare_targets_first_whatever_scale_and_order(weigh, dimensions):
    targets = np.random.default_rng(2).normal(size=(200, dimensions))
    targets[0] = 4
    weights = weigh(targets)
    assert weights.shape == (200,)
    assert weights.mean() == pytest.approx(1)
    assert np.argmax(weights) == 0
    assert np.all(weights > 0)
    order = np.random.default_rng(3).permutation(200)
    np.testing.assert_allclose(weigh(targets[order]), weights[order], rtol=1e-9)
    # Off by a point of the grid at most, where rounding decides which one is to the left.
    np.testing.assert_allclose(weigh(8 * targets - 4), weights, rtol=0.02, atol=0.02)


def test_correlated_targets_are_not_taken_for_independent_ones():
    rng = np.random.default_rng(4)
    first = rng.normal(size=300)
    targets = np.stack([first, first + 0.2 * rng.normal(size=300)], 1)
    # Each value by itself is a frequent one; together they never occur.
    targets[0] = [1, -1]
    weights = joint_density_weights(targets)
    product = joint_density_weights(targets[:, 0]) * joint_density_weights(targets[:, 1])
    assert np.argmax(weights) == 0
    assert np.sum(product > product[0]) > 50


def test_what_alpha_gamma_and_floor_do():
    targets = np.append(np.random.default_rng(5).normal(size=100), 50)
    np.testing.assert_array_equal(dense_weights(targets, 0), np.ones(101))
    np.testing.assert_array_equal(joint_density_weights(targets, 0), np.ones(101))
    largest = [joint_density_weights(targets, leave_one_out=True, floor=floor).max() for floor in (1e-3, 1e-2, 1)]
    assert 101 >= largest[0] > largest[1] > largest[2]
    steep = dense_weights(targets, 3)
    np.testing.assert_array_equal(steep[:100], steep.min(), "all that are frequent have the least weight")


@pytest.mark.parametrize("weigh", [dense_weights, joint_density_weights])
@pytest.mark.parametrize(
    ("targets", "message"),
    [
        ([1.0, np.nan], "targets: 1 of 2 values are not finite, the first at row 1"),
        ([2.0, 2.0], "all targets of dimension 0 are equal"),
        ([[1.0, 2], [3, 2], [4, 2]], "all targets of dimension 1 are equal"),
        ([[1.0, 2], [3, 4]], "needs more than 2 targets, got 2"),
        ([[1.0, 1], [2, 2], [3, 3], [5, 5]], "a dimension is a linear function of others"),
        (np.random.default_rng(0).normal(size=(20, 5)), "at most 4 dimensions, got 5"),
        (np.zeros((2, 2, 2)), r"targets must be \[n\] or \[n, T\], got shape \(2, 2, 2\)"),
    ],
)
def test_bad_targets(weigh, targets, message):
    with pytest.raises(ValueError, match=message):
        weigh(targets)


def test_bad_settings_and_equal_densities():
    with pytest.raises(ValueError, match="alpha must be a number of at least 0, got -1"):
        dense_weights([1.0, 2], -1)
    with pytest.raises(ValueError, match="gamma must be a number of at least 0, got nan"):
        joint_density_weights([1.0, 2], float("nan"))
    for floor in (0, 2):
        with pytest.raises(ValueError, match=f"floor must be above 0 and at most 1, got {floor}"):
            joint_density_weights([1.0, 2], floor=floor)
    with pytest.raises(ValueError, match="all targets have the same density"):
        dense_weights([[0, 0], [0, 0.1], [0.1, 0], [0.1, 0.1]])
