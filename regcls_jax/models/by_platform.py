"""Layers whose arithmetic is the same everywhere and whose program follows the platform it is compiled for."""

import flax.linen as nn
import jax.numpy as jnp
from jax import Array, lax
from jax.typing import DTypeLike


def _as_product(x: Array, kernel: Array) -> Array:
    return lax.dot_general(x, kernel[0, 0], (((3,), (0,)), ((), ())))


def _as_convolution(x: Array, kernel: Array) -> Array:
    return lax.conv_general_dilated(x, kernel, (1, 1), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC"))


class PointwiseConv(nn.Module):
    """A 1x1 convolution without bias: x [B, H, W, C] -> [B, ceil(H / stride), ceil(W / stride), features].

    The same parameter and numbers as `nn.Conv(features, (1, 1), stride, use_bias=False)`. XLA:CPU runs convolutions
    far below the speed of its matrix products, so there this is one product; elsewhere it stays a convolution.
    """

    features: int
    stride: int = 1
    dtype: DTypeLike = jnp.float32
    kernel_init: nn.initializers.Initializer = nn.initializers.lecun_normal()

    @nn.compact
    def __call__(self, x: Array) -> Array:
        kernel = self.param("kernel", self.kernel_init, (1, 1, x.shape[-1], self.features), jnp.float32)
        # Rows and columns a stride skips are dropped first: of the product they would be computed for nothing.
        x, kernel = x[:, :: self.stride, :: self.stride].astype(self.dtype), kernel.astype(self.dtype)
        return lax.platform_dependent(x, kernel, cpu=_as_product, default=_as_convolution)
