"""PointwiseConv: the parameters, numbers and gradients of flax's 1x1 convolution; its program by platform."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from regcls_jax.models.by_platform import PointwiseConv

KEY = jax.random.key(0)
X = jax.random.normal(jax.random.key(1), (3, 7, 5, 6))


def value_and_gradients(layer, variables, x):
    def loss(variables, x):
        y = layer.apply(variables, x)
        return jnp.square(y).sum(dtype=jnp.float32), y

    return jax.value_and_grad(loss, (0, 1), has_aux=True)(variables, x)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize(("dtype", "tolerance"), [(jnp.float32, 1e-5), (jnp.bfloat16, 2e-2)])
def test_equals_flax(stride, dtype, tolerance):
    layer = PointwiseConv(4, stride, dtype)
    theirs = nn.Conv(4, (1, 1), stride, use_bias=False, dtype=dtype)
    variables = layer.init(KEY, X)
    jax.tree.map(np.testing.assert_array_equal, variables, theirs.init(KEY, X))
    got, expected = value_and_gradients(layer, variables, X), value_and_gradients(theirs, variables, X)
    assert got[0][1].dtype == expected[0][1].dtype
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True):
        assert a.shape == b.shape
        scale = np.abs(np.asarray(b, np.float64)).max()
        np.testing.assert_allclose(np.asarray(a, np.float64) / scale, np.asarray(b, np.float64) / scale, atol=tolerance)


@pytest.mark.parametrize(("platform", "convolves"), [("cpu", False), ("cuda", True), ("tpu", True)])
def test_program_follows_the_platform_it_is_compiled_for(platform, convolves):
    layer = PointwiseConv(4)
    variables = layer.init(KEY, X)
    step = jax.jit(lambda variables, x: value_and_gradients(layer, variables, x)[1])
    text = step.trace(variables, X).lower(lowering_platforms=(platform,)).as_text()
    # No program carries both: what the other platform would do is gone before XLA sees it.
    assert ("stablehlo.convolution" in text) == convolves
    assert ("stablehlo.dot_general" in text) != convolves
