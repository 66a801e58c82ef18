"""What all losses that compare the features of a batch have in common: masks, jit, vmap, devices, bad input."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from regcls_jax import losses
from regcls_jax.losses import pairs
from regcls_jax.objectives import masked_mean


def conr(features, targets, mask=None):
    # Predictions that are off by up to 3 make negatives; they come with the targets, NaN and all.
    return losses.conr(features, targets, 0.4 * targets, mask=mask)


LOSSES = {
    "ranksim": losses.ranksim,
    "conr": conr,
    "rank_n_contrast": losses.rank_n_contrast,
    "ordinal_entropy": losses.ordinal_entropy,
}
EACH_LOSS = pytest.mark.parametrize("name", LOSSES)


@functools.partial(jax.jit, static_argnums=0)
def graded(name, features, targets, mask=None):
    """The values, their masked mean, and its gradient for the features."""

    def mean(features):
        values = LOSSES[name](features, targets, mask=mask)
        return masked_mean(values, mask), values

    (total, values), slope = jax.value_and_grad(mean, has_aux=True)(features)
    return values, total, slope


def batch(seed=0, rows=12):
    rng = np.random.RandomState(seed)
    features = rng.normal(size=(rows, 5)) + 0.5
    return jnp.float32(features), jnp.float32(rng.randint(0, 6, rows))


@EACH_LOSS
@pytest.mark.parametrize("padding", [0.0, 1e30, np.nan, np.inf])
def test_a_masked_loss_is_that_of_the_kept_rows(name, padding):
    features, targets = batch()
    mask = np.arange(12) % 4 != 1
    values, total, slope = graded(name, features[mask], targets[mask])
    assert total != 0
    assert np.any(slope)
    dirty = features.at[~mask].set(padding), targets.at[~mask].set(padding)
    got, got_total, got_slope = graded(name, *dirty, mask)
    np.testing.assert_allclose(got[mask], values, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(got_total, total, rtol=1e-5)
    np.testing.assert_allclose(got_slope[mask], slope, rtol=1e-4, atol=1e-6)
    assert not np.any(got[~mask])
    assert not np.any(got_slope[~mask])


@EACH_LOSS
@pytest.mark.parametrize("count", [0, 1])
def test_fewer_than_two_kept_rows_cost_nothing(name, count):
    features, targets = batch()
    mask = np.arange(12) < count
    dirty = features.at[count:].set(np.nan), targets.at[count:].set(np.nan)
    for found in graded(name, *dirty, mask):
        assert not np.any(found)


@EACH_LOSS
def test_the_order_of_the_rows_does_not_matter(name):
    features, _ = batch()
    # Without ties, which RankSim breaks by the order: all distances differ.
    targets = jnp.float32(2) ** jnp.arange(12) / 40
    order = np.random.RandomState(1).permutation(12)
    (values, _, slope), (got, _, got_slope) = (graded(name, features[o], targets[o]) for o in (np.arange(12), order))
    np.testing.assert_allclose(got, values[order], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(got_slope, slope[order], rtol=1e-4, atol=1e-5)


@EACH_LOSS
def test_equal_features_equal_targets_and_zeros_are_finite(name):
    features, targets = batch()
    for z, y in (
        (features.at[3].set(features[1]).at[7].set(features[1]), targets),
        (jnp.tile(features[:1], (12, 1)), targets),
        (jnp.zeros_like(features), targets),
        (features.at[2].set(0), targets),
        (features, jnp.full(12, 3.0)),
        (jnp.zeros_like(features), jnp.full(12, 3.0)),
    ):
        for found in graded(name, z, y):
            assert np.all(np.isfinite(found))


@EACH_LOSS
def test_equal_targets_without_a_ranking_cost_nothing(name):
    features, _ = batch()
    values, _, slope = graded(name, features, jnp.full(12, 3.0))
    # Rank-N-Contrast then evens out distances (its own test).
    assert np.any(values) == np.any(slope) == (name == "rank_n_contrast")


@EACH_LOSS
def test_a_batch_of_two(name):
    features, _ = batch(rows=2)
    for targets in ([1.0, 1.0], [1.0, 2.0], [1.0, 5.0]):
        # One other row leaves nothing to compare: it is the nearest as well as the farthest.
        for found in graded(name, features, jnp.array(targets)):
            np.testing.assert_allclose(found, 0, atol=1e-7)


@EACH_LOSS
def test_half_precision_is_computed_in_full(name):
    features, targets = batch()
    half = features.astype(jnp.bfloat16)
    values, _, slope = graded(name, half, targets.astype(jnp.bfloat16))
    expected, _, expected_slope = graded(name, half.astype(jnp.float32), targets)
    assert (values.dtype, slope.dtype) == (jnp.float32, jnp.bfloat16)
    np.testing.assert_allclose(values, expected, rtol=1e-6)
    np.testing.assert_allclose(np.float32(slope), expected_slope, rtol=1e-2, atol=1e-6)
    # Integers are targets, too.
    np.testing.assert_array_equal(graded(name, features, np.int32(targets))[0], graded(name, features, targets)[0])


@EACH_LOSS
def test_compiled_and_mapped_it_is_the_same(name):
    batches = [batch(seed) for seed in range(3)]
    masks = np.arange(36).reshape(3, 12) % 5 != 2
    single = [graded(name, *rows, mask) for rows, mask in zip(batches, masks, strict=True)]
    stacked = [jnp.stack(parts) for parts in zip(*batches, strict=True)]
    mapped = jax.vmap(functools.partial(graded, name))(*stacked, masks)
    expected = [jnp.stack(parts) for parts in zip(*single, strict=True)]
    for got, wanted in zip(mapped, expected, strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-6)
    with jax.disable_jit():
        for got, wanted in zip(graded(name, *batches[0], masks[0]), single[0], strict=True):
            np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-6)


@EACH_LOSS
def test_four_devices_find_what_one_finds(name):
    features, targets = batch(rows=16)
    mask = np.arange(16) != 5
    expected = graded(name, features, targets, mask)
    mesh = jax.make_mesh((4,), ("data",), axis_types=(AxisType.Auto,))
    rows = jax.device_put((features, targets, mask), NamedSharding(mesh, PartitionSpec("data")))
    assert len(rows[0].sharding.device_set) == 4
    for got, wanted in zip(graded(name, *rows), expected, strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-6)


@EACH_LOSS
def test_bad_input(name):
    loss = LOSSES[name]
    with pytest.raises(ValueError, match=r"features must be \[B, F\], got \(4,\)"):
        loss(jnp.zeros(4), jnp.zeros(4))
    with pytest.raises(ValueError, match="features must be floating point, got int32"):
        loss(jnp.zeros((4, 2), jnp.int32), jnp.zeros(4))
    with pytest.raises(ValueError, match=r"targets \(3,\) do not fit a batch of 4"):
        loss(jnp.zeros((4, 2)), jnp.zeros(3))
    with pytest.raises(ValueError, match=r"mask \(4, 1\) does not fit a batch of 4"):
        loss(jnp.zeros((4, 2)), jnp.zeros(4), mask=np.ones((4, 1), bool))
    with pytest.raises(ValueError, match="needs at least 2, got 1"):
        loss(jnp.zeros((1, 2)), jnp.zeros(1))


@pytest.mark.parametrize("size", [1e-36, 1e-25, 1.0, 1e25, 1e37])
def test_normalised_rows_of_any_size(size):
    direction = np.array([[0.6, -0.8, 0.0]])
    rows = jnp.float32(size * direction)
    np.testing.assert_allclose(pairs.normalised(rows), direction, rtol=1e-6)
    # Perpendicular to the row and, where that can be written down, as large as 1 / its length.
    slope = jax.grad(lambda rows: jnp.sum(pairs.normalised(rows)[:, 0]))(rows)
    if 1e-30 < size < 1e30:
        np.testing.assert_allclose(slope * size, [[0.64, 0.48, 0.0]], rtol=1e-5, atol=1e-6)
    assert not np.any(jnp.isnan(slope))


def test_distances_of_close_rows():
    rng = np.random.RandomState(0)
    features = rng.normal(size=(20, 64)) + 100
    features[7] = features[3]
    found = pairs.squared_distances(jnp.float32(features), jnp.ones(20, bool))
    expected = np.sum((features[:, None] - features[None]) ** 2, axis=-1)
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    assert found[3, 7] == 0
    assert not np.any(np.diag(found))
