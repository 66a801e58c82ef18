"""BatchNorm against a float64 NumPy oracle: normalisation, running estimates, left-out rows, precision, sharding."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from regcls_jax.models.batch_norm import BatchNorm, batch_statistics

SCALE = np.array([0.5, 1.5, -2.0], np.float32)
BIAS = np.array([1.0, 0.0, -3.0], np.float32)
OLD_MEAN = np.array([0.1, -0.2, 4.0], np.float32)
OLD_VAR = np.array([2.0, 0.5, 1.0], np.float32)


def batch(rows=6, seed=0):
    """[rows, 4, 5, 3], each channel with another mean and spread."""
    z = np.random.RandomState(seed).standard_normal((rows, 4, 5, 3))
    return (z * [1.0, 10.0, 0.1] + [0.0, -3.0, 0.5]).astype(np.float32)


def variables():
    stats = {"mean": jnp.array(OLD_MEAN), "var": jnp.array(OLD_VAR)}
    return {"params": {"scale": jnp.array(SCALE), "bias": jnp.array(BIAS)}, "batch_stats": stats}


@jax.jit
def train(x, mask=None):
    y, changed = BatchNorm().apply(variables(), x, train=True, mask=mask, mutable=["batch_stats"])
    return y, changed["batch_stats"]


def slow(x):
    """(output, running mean, running variance) as torch.nn.BatchNorm2d defines them, channel by channel, float64."""
    x = np.asarray(x, np.float64)
    y, means, variances = np.empty_like(x), [], []
    for c in range(x.shape[-1]):
        values = x[..., c].ravel()
        y[..., c] = (x[..., c] - values.mean()) / np.sqrt(values.var() + 1e-5) * SCALE[c] + BIAS[c]
        means.append(0.9 * OLD_MEAN[c] + 0.1 * values.mean())
        variances.append(0.9 * OLD_VAR[c] + 0.1 * values.var(ddof=1))
    return y, means, variances


def assert_equals_slow(got, x):
    y, mean, var = slow(x)
    np.testing.assert_allclose(got[0], y, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(got[1]["mean"], mean, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(got[1]["var"], var, rtol=1e-5)


@pytest.mark.parametrize("shape", [(6, 4, 5, 3), (1, 1, 2, 3), (7, 3)])
def test_training_equals_the_oracle(shape):
    x = batch().reshape(-1)[: np.prod(shape)].reshape(shape)
    assert_equals_slow(train(jnp.array(x)), x)


def test_evaluation_uses_the_running_estimate_and_leaves_it():
    x = batch()
    y, changed = BatchNorm().apply(variables(), jnp.array(x), train=False, mutable=["batch_stats"])
    np.testing.assert_allclose(y, (x - OLD_MEAN) / np.sqrt(OLD_VAR + 1e-5) * SCALE + BIAS, rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(changed["batch_stats"]["mean"], OLD_MEAN)
    np.testing.assert_array_equal(changed["batch_stats"]["var"], OLD_VAR)


def test_initial_values():
    fresh = BatchNorm().init(jax.random.key(0), jnp.array(batch()), train=True)
    np.testing.assert_array_equal(fresh["params"]["scale"], np.ones(3))
    np.testing.assert_array_equal(fresh["params"]["bias"], np.zeros(3))
    np.testing.assert_array_equal(fresh["batch_stats"]["mean"], np.zeros(3))
    np.testing.assert_array_equal(fresh["batch_stats"]["var"], np.ones(3))


@pytest.mark.parametrize("padding", [0.0, 1e6, np.nan])
def test_masked_rows_count_for_nothing(padding):
    keep = np.array([True, False, True, True, False, True])
    x = np.where(keep[:, None, None, None], batch(), np.float32(padding))
    y, stats = train(jnp.array(x), jnp.array(keep))
    assert_equals_slow((np.asarray(y)[keep], stats), x[keep])


def test_gradients_of_a_masked_batch_are_those_of_the_subset():
    keep = np.array([True, True, False, True, False, False])
    x = np.where(keep[:, None, None, None], batch(), np.float32(1e6))
    target = batch(seed=1)

    def loss(x, target, mask=None):
        y, _ = train(x, mask)
        error = jnp.square(y - target)
        return error.sum() if mask is None else jnp.where(mask[:, None, None, None], error, 0).sum()

    gradient = jax.jit(jax.grad(loss))(jnp.array(x), jnp.array(target), jnp.array(keep))
    expected = jax.jit(jax.grad(loss))(jnp.array(x[keep]), jnp.array(target[keep]))
    np.testing.assert_allclose(gradient[keep], expected, rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(gradient[~keep], 0)


def test_a_batch_of_padding_alone_changes_no_estimate():
    _, stats = train(jnp.array(batch()), jnp.zeros(6, bool))
    np.testing.assert_array_equal(stats["mean"], OLD_MEAN)
    np.testing.assert_array_equal(stats["var"], OLD_VAR)


def test_the_variance_survives_a_large_mean():
    x = batch() + np.float32(1000)
    _, var, count = batch_statistics(jnp.array(x))
    np.testing.assert_allclose(var, np.asarray(x, np.float64).var((0, 1, 2)), rtol=1e-4)
    assert count == 6 * 4 * 5


@pytest.mark.parametrize("mask", [None, np.ones(2048, bool)])
def test_half_precision_inputs_have_float32_statistics(mask):
    # 2048 rows x 20 values: a sum kept in bfloat16 stops growing near 256 (8 significant bits).
    x = jnp.array(1 + batch(2048), jnp.bfloat16)
    y, stats = train(x, mask)
    assert y.dtype == jnp.bfloat16
    assert stats["mean"].dtype == stats["var"].dtype == jnp.float32
    expected, mean, var = slow(x)
    np.testing.assert_allclose(stats["mean"], mean, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(stats["var"], var, rtol=1e-5)
    # The output is rounded to bfloat16 once: half a unit in its last place, 2^-9 of the value.
    np.testing.assert_allclose(np.asarray(y, np.float64), expected, rtol=2**-8, atol=1e-5)


def test_a_sharded_batch_has_the_statistics_of_the_whole_batch():
    x = batch(8)
    mask = np.arange(8) < 5
    mesh = jax.make_mesh((4,), ("data",), axis_types=(AxisType.Auto,))
    rows = NamedSharding(mesh, PartitionSpec("data"))
    y, stats = train(jax.device_put(x, rows), jax.device_put(mask, rows))
    assert_equals_slow((np.asarray(y)[mask], stats), x[mask])


def test_bad_input():
    with pytest.raises(ValueError, match=r"mask must have shape \(6,\).*\(5,\)"):
        batch_statistics(jnp.array(batch()), jnp.ones(5, bool))
    with pytest.raises(ValueError, match=r"two or more values per channel.*\(1, 1, 1, 3\)"):
        batch_statistics(jnp.ones((1, 1, 1, 3)))
