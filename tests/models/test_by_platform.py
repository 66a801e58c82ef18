"""Convolutions by platform: the parameters, numbers and gradients of flax's, whatever the program."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from regcls_jax.models import by_platform
from regcls_jax.models.by_platform import SquareConv

KEY = jax.random.key(0)
X = jax.random.normal(jax.random.key(1), (3, 7, 10, 6))


def value_and_gradients(layer, variables, x):
    def loss(variables, x):
        y = layer.apply(variables, x)
        return jnp.square(y).sum(dtype=jnp.float32), y

    return jax.value_and_grad(loss, (0, 1), has_aux=True)(variables, x)


def flax_conv(size, stride, dtype, features):
    return nn.Conv(features, (size, size), stride, padding=size // 2, use_bias=False, dtype=dtype)


# 4 features are few enough for XLA's own gradient, 64 are not.
@pytest.mark.parametrize(("size", "features"), [(1, 4), (3, 4), (3, 64), (5, 64), (7, 64)])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize(("dtype", "tolerance"), [(jnp.float32, 1e-5), (jnp.bfloat16, 2e-2)])
def test_equals_flax(size, features, stride, dtype, tolerance):
    layer, theirs = SquareConv(features, size, stride, dtype), flax_conv(size, stride, dtype, features)
    variables = layer.init(KEY, X)
    jax.tree.map(np.testing.assert_array_equal, variables, theirs.init(KEY, X))
    got, expected = value_and_gradients(layer, variables, X), value_and_gradients(theirs, variables, X)
    assert got[0][1].dtype == expected[0][1].dtype
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True):
        assert a.shape == b.shape
        scale = np.abs(np.asarray(b, np.float64)).max()
        np.testing.assert_allclose(np.asarray(a, np.float64) / scale, np.asarray(b, np.float64) / scale, atol=tolerance)


def products_and_convolutions(layer, platform):
    """How many of each the gradients of a layer have on a platform."""
    variables = layer.init(KEY, X)
    step = jax.jit(lambda variables, x: value_and_gradients(layer, variables, x)[1])
    text = step.trace(variables, X).lower(lowering_platforms=(platform,)).as_text()
    return text.count("stablehlo.dot_general"), text.count("stablehlo.convolution")


@pytest.mark.parametrize("platform", ["cpu", "cuda", "tpu"])
def test_program_follows_the_platform_it_is_compiled_for(platform, monkeypatch):
    """No program carries both: what the other platform would do is gone before XLA sees it."""
    on_cpu = platform == "cpu"
    # Forward and two gradients.
    assert products_and_convolutions(SquareConv(4, 1), platform) == ((3, 0) if on_cpu else (0, 3))
    # The gradient of a kernel is a product for each of its rows.
    assert products_and_convolutions(SquareConv(64, 3), platform) == ((3, 2) if on_cpu else (0, 3))
    assert products_and_convolutions(SquareConv(4, 3), platform) == (0, 3)
    monkeypatch.setattr(by_platform, "MOST_BYTES", 1000)
    assert products_and_convolutions(SquareConv(64, 3), platform) == (0, 3)
