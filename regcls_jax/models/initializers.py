"""How the layers of several networks start."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import DTypeLike

# N(0, sqrt(2 / fan_out)): how a ResNet starts. And U(+-1 / sqrt(fan_in)): how PyTorch starts a layer by itself.
HE_NORMAL = nn.initializers.variance_scaling(2.0, "fan_out", "normal")
TORCH_UNIFORM = nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform")


def torch_bias(fan_in: int) -> nn.initializers.Initializer:
    """U(+-1 / sqrt(fan_in)): how PyTorch starts the bias of a layer of `fan_in` inputs."""

    def init(key: Array, shape: tuple[int, ...], dtype: DTypeLike = jnp.float32) -> Array:
        bound = fan_in**-0.5
        return jax.random.uniform(key, shape, dtype, -bound, bound)

    return init
