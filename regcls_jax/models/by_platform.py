"""Layers whose arithmetic is the same everywhere and whose program follows the platform it is compiled for.

XLA:CPU runs convolutions, and above all the gradients of their weights, far below the speed of its matrix products; so
there they are products, elsewhere they stay convolutions (benchmarks/README.md has the speeds).
"""

import functools
import math

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.typing import DTypeLike

# From so many output channels on, products are faster on CPU than the gradient of the weights as a convolution ...
WIDE = 64
# ... where the inputs of one of them take at most this much memory: XLA holds those of several layers at once.
MOST_BYTES = 1 << 25


def _as_product(x: Array, kernel: Array) -> Array:
    # In two dimensions, for the sake of the gradient of the kernel: summed over three axes it takes 2.5 times as long.
    return (x.reshape(-1, x.shape[-1]) @ kernel[0, 0]).reshape(*x.shape[:-1], -1)


def _as_convolution(x: Array, kernel: Array, stride: int = 1, padding: int = 0) -> Array:
    around = ((padding, padding),) * 2
    return lax.conv_general_dilated(x, kernel, (stride, stride), around, dimension_numbers=("NHWC", "HWIO", "NHWC"))


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _wide(x: Array, kernel: Array, stride: int, padding: int) -> Array:
    return _as_convolution(x, kernel, stride, padding)


def _forward(x: Array, kernel: Array, stride: int, padding: int) -> tuple[Array, tuple[Array, Array]]:
    return _wide(x, kernel, stride, padding), (x, kernel)


def _backward(stride: int, padding: int, kept: tuple[Array, Array], cotangent: Array) -> tuple[Array, Array]:
    x, kernel = kept

    def by_convolution(x: Array, kernel: Array, cotangent: Array) -> Array:
        return jax.vjp(lambda kernel: _as_convolution(x, kernel, stride, padding), kernel)[1](cotangent)[0]

    def by_products(x: Array, kernel: Array, cotangent: Array) -> Array:
        return _kernel_gradient(x, kernel.shape, cotangent, stride, padding)

    of_kernel = lax.platform_dependent(x, kernel, cotangent, cpu=by_products, default=by_convolution)
    of_x = jax.vjp(lambda x: _as_convolution(x, kernel, stride, padding), x)[1](cotangent)[0]
    return of_x, of_kernel


_wide.defvjp(_forward, _backward)


def _kernel_gradient(x: Array, kernel: tuple[int, ...], cotangent: Array, stride: int, padding: int) -> Array:
    """The gradient of a kernel [h, w, C, D], one product for each of its rows: w C inputs times D outputs."""
    height, width, channels, features = kernel
    batch, down, across, _ = cotangent.shape
    padded = jnp.pad(x, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    flat = cotangent.reshape(-1, features)

    def seen(row: int, column: int) -> Array:
        end = batch, row + stride * (down - 1) + 1, column + stride * (across - 1) + 1, channels
        return lax.slice(padded, (0, row, column, 0), end, (1, stride, stride, 1))

    def of_row(row: int) -> Array:
        inputs = jnp.concatenate([seen(row, column) for column in range(width)], -1)
        # Kept apart: fused into the product, the inputs would be gathered anew for every block of it.
        inputs = lax.optimization_barrier(inputs.reshape(-1, width * channels))
        product = lax.dot_general(inputs, flat, (((0,), (0,)), ((), ())), preferred_element_type=jnp.float32)
        return product.reshape(width, channels, features)

    return jnp.stack([of_row(row) for row in range(height)]).astype(x.dtype)


class SquareConv(nn.Module):
    """A convolution without bias, [B, H, W, C] -> [B, h, w, features], padded by half of its size on every side.

    The same parameter and numbers as `nn.Conv(features, (size, size), stride, padding=size // 2, use_bias=False)`.
    """

    features: int
    size: int
    stride: int = 1
    dtype: DTypeLike = jnp.float32
    kernel_init: nn.initializers.Initializer = nn.initializers.lecun_normal()

    @nn.compact
    def __call__(self, x: Array) -> Array:
        shape = (self.size, self.size, x.shape[-1], self.features)
        kernel = self.param("kernel", self.kernel_init, shape, jnp.float32).astype(self.dtype)
        x = x.astype(self.dtype)
        if self.size == 1:
            # Rows and columns a stride skips are dropped first: of the product they would be computed for nothing.
            x = x[:, :: self.stride, :: self.stride]
            return lax.platform_dependent(x, kernel, cpu=_as_product, default=_as_convolution)
        copied = math.prod(x.shape) // self.stride**2 * self.size * kernel.dtype.itemsize
        convolve = _wide if self.features >= WIDE and copied <= MOST_BYTES else _as_convolution
        return convolve(x, kernel, self.stride, self.size // 2)
