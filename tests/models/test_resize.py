"""Bilinear resizing: an oracle in NumPy, SciPy's, hand-computed values, gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.ndimage
from jax.test_util import check_grads

from regcls_jax.models.resize import resize, resized_conv


def oracle(x, size):
    """Axis after axis by np.interp, the corners of both grids on top of each other."""
    for axis, out in ((1, size[0]), (2, size[1])):
        points = np.linspace(0, x.shape[axis] - 1, out)
        x = np.apply_along_axis(lambda line, p=points: np.interp(p, np.arange(len(line)), line), axis, x)
    return x


SIZES = [(5, 7), (9, 13), (114, 152), (3, 4), (5, 20), (1, 1), (2, 1)]


@pytest.mark.parametrize("size", SIZES)
def test_equals_two_oracles(size):
    x = np.random.default_rng(0).standard_normal((2, 5, 7, 3))
    with jax.enable_x64(True):
        got = resize(x, size)
    np.testing.assert_allclose(got, oracle(x, size), rtol=1e-12, atol=1e-12)
    if min(size) > 1:
        grid = np.meshgrid(np.linspace(0, 4, size[0]), np.linspace(0, 6, size[1]), indexing="ij")
        expected = scipy.ndimage.map_coordinates(x[1, ..., 2], grid, order=1, mode="nearest")
        np.testing.assert_allclose(got[1, ..., 2], expected, rtol=1e-12, atol=1e-12)


def test_hand_computed():
    x = jnp.array([[[0.0, 3.0], [6.0, 9.0]]])
    np.testing.assert_allclose(resize(x, (2, 4))[0], [[0, 1, 2, 3], [6, 7, 8, 9]], rtol=1e-6)
    np.testing.assert_allclose(resize(x, (3, 3))[0, 1], [3, 4.5, 6], rtol=1e-6)


def test_identity_and_single_points():
    x = jnp.array(np.random.default_rng(0).standard_normal((2, 5, 7, 3)), jnp.float32)
    np.testing.assert_array_equal(resize(x, (5, 7)), x)
    np.testing.assert_array_equal(resize(x, (1, 1)), x[:, :1, :1])
    np.testing.assert_array_equal(resize(x[:, :1, :1], (4, 3)), jnp.broadcast_to(x[:, :1, :1], (2, 4, 3, 3)))


@pytest.mark.parametrize("size", SIZES)
def test_gradient_is_the_transpose(size):
    x = np.random.default_rng(0).standard_normal((1, 5, 7, 2))
    with jax.enable_x64(True):
        check_grads(lambda x: resize(x, size), (x,), order=1, modes=["rev"], rtol=1e-6)


def test_types():
    assert resize(jnp.ones((1, 2, 2), jnp.bfloat16), (3, 3)).dtype == jnp.bfloat16
    assert resize(jnp.array([[[0, 1]]], jnp.uint8), (1, 3)).tolist() == [[[0, 0.5, 1]]]


@pytest.mark.parametrize(("shape", "size"), [((2, 2), (3, 3)), ((1, 2, 2), (0, 3))])
def test_bad_input(shape, size):
    with pytest.raises(ValueError, match=r"resize takes \[batch, height, width, ...\] and a positive size, got"):
        resize(jnp.ones(shape), size)


@pytest.mark.parametrize(("channels", "size"), [(2, (6, 5)), (600, (9, 13)), (600, (5, 20)), (600, (4, 1))])
def test_a_convolution_of_the_resized_equals_its_plain_form(channels, size):
    """However it is computed: on the resized map, or before it is resized."""
    generator = np.random.default_rng(0)
    arrays = generator.standard_normal((2, 3, 4, channels)), generator.standard_normal((5, 5, channels, 2))

    def plain(x, kernel):
        numbers = ("NHWC", "HWIO", "NHWC")
        return jax.lax.conv_general_dilated(resize(x, size), kernel, (1, 1), "SAME", dimension_numbers=numbers)

    cotangent = generator.standard_normal((2, *size, 2))
    with jax.enable_x64(True):
        got, pull = jax.vjp(lambda x, kernel: resized_conv(x, kernel, size), *arrays)
        expected, pull_plain = jax.vjp(plain, *arrays)
        np.testing.assert_allclose(got, expected, rtol=1e-10, atol=1e-10)
        for found, gradient in zip(pull(cotangent), pull_plain(cotangent), strict=True):
            np.testing.assert_allclose(found, gradient, rtol=1e-10, atol=1e-10)
