"""The class head of maps: equal to its plain form, values and gradients, however many rows are computed at a time."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from regcls_jax import row_loop
from regcls_jax.models.pixel_classes import PixelClassHead, pixel_logits

F, HIDDEN, CLASSES = 5, 8, 3


def arrays(batch=2, height=6, width=4):
    generator = np.random.default_rng(0)
    normal = generator.standard_normal
    weights = {
        "up": (normal((2, 2, HIDDEN, F)), normal(HIDDEN)),
        "logits": (normal((1, 1, HIDDEN, CLASSES)), normal(CLASSES)),
    }
    cotangent = normal((batch, 2 * height, 2 * width, CLASSES))
    return weights, normal((batch, height, width, F)), cotangent


def plain(weights, features):
    """A transposed convolution and a convolution of XLA."""
    up, bias = weights["up"]
    numbers = ("NHWC", "HWIO", "NHWC")
    # As lax understands it, the gradient of a convolution correlates: PyTorch's layout is turned by transpose_kernel.
    hidden = jax.lax.conv_transpose(features, up, (2, 2), "VALID", dimension_numbers=numbers, transpose_kernel=True)
    hidden = jax.nn.relu(hidden + bias)
    kernel, bias = weights["logits"]
    return jax.lax.conv_general_dilated(hidden, kernel, (1, 1), "VALID", dimension_numbers=numbers) + bias


@pytest.mark.parametrize("rows", [0, 1, 2, 5, 6])
def test_equals_the_plain_form(monkeypatch, rows):
    monkeypatch.setattr(row_loop, "HELD", rows * 2 * 4 * HIDDEN * 4)
    weights, features, cotangent = arrays()
    with jax.enable_x64(True), jax.numpy_rank_promotion("allow"):
        (got, same), pull = jax.vjp(pixel_logits, weights, features)
        expected, pull_plain = jax.vjp(lambda weights, x: (plain(weights, x), x), weights, features)
        np.testing.assert_allclose(got, expected[0], rtol=1e-12, atol=1e-12)
        np.testing.assert_array_equal(same, features)
        cotangent = cotangent, np.random.default_rng(1).standard_normal(features.shape)
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12),
            pull(cotangent),
            pull_plain(cotangent),
        )


def test_a_pixel_of_pytorchs_transposed_convolution():
    # out[2y + p, 2x + q] = sum_f x[y, x, f] weight[f, :, p, q] in PyTorch's layout.
    weights, features, _ = arrays()
    with jax.enable_x64(True):
        got, _ = pixel_logits(weights, features)
    up, bias = weights["up"]
    hidden = np.maximum(up[1, 0] @ features[1, 4, 2] + bias, 0)
    np.testing.assert_allclose(got[1, 9, 4], hidden @ weights["logits"][0][0, 0] + weights["logits"][1], rtol=1e-12)


def test_initial_weights_are_the_published():
    head = PixelClassHead(40, 64)
    params = head.init(jax.random.key(0), jnp.zeros((1, 2, 2, 32)))["params"]
    # Kaiming normal by fan out: 4 * 32 of the transposed convolution, in PyTorch's reckoning, and 40 of the other.
    for name, fan_out, fan_in in (("up", 4 * 32, 4 * 64), ("logits", 40, 64)):
        assert params[name]["kernel"].std() == pytest.approx(np.sqrt(2 / fan_out), rel=0.06)
        assert 0.8 * fan_in**-0.5 < np.abs(params[name]["bias"]).max() <= fan_in**-0.5
