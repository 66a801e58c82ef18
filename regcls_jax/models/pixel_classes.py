"""The class head of maps: logits at twice the resolution of the features, as in Mask R-CNN, a few rows at a time."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array

from regcls_jax.models.initializers import HE_NORMAL, torch_bias
from regcls_jax.row_loop import rows_at_a_time, rows_of, with_rows

# up: kernel [2, 2, hidden, F] (a transposed convolution, laid out as flax and PyTorch do) and bias [hidden];
# logits: kernel [1, 1, hidden, classes] and bias [classes].
Weights = dict[str, tuple[Array, Array]]


def _logits(weights: Weights, features: Array) -> Array:
    """features [B, h, w, F] -> logits [B, 2h, 2w, classes]: every pixel by itself."""
    (up, up_bias), (kernel, bias) = weights["up"], weights["logits"]
    # The windows of a 2x2 convolution of stride 2 do not overlap: it is a linear layer to each of four pixels.
    hidden = nn.relu(jnp.einsum("bhwf,pqcf->bhwpqc", features, up) + up_bias[None, None, None, None, None])
    logits = jnp.einsum("bhwpqc,cl->bhpwql", hidden, kernel[0, 0]) + bias[None, None, None, None, None]
    batch, height, width = features.shape[:3]
    return logits.reshape(batch, 2 * height, 2 * width, -1)


def _rows_at_a_time(weights: Weights, features: Array) -> int:
    batch, height, width, _ = features.shape
    return rows_at_a_time(height, 4 * batch * width * weights["up"][0].shape[2])


@jax.custom_vjp
def pixel_logits(weights: Weights, features: Array) -> tuple[Array, Array]:
    """As `_logits`, but the hidden layer, 8 times `features` as published, is never held, nor kept for the gradient.

    A few rows of all images are computed at a time. `features` are given back, for other layers to use: their gradient
    then arrives here, and that of the logits is added in place.
    """
    rows = _rows_at_a_time(weights, features)
    batch, height, width, _ = features.shape
    shape = batch, 2 * height, 2 * width, weights["logits"][1].shape[0]

    def step(part: Array | int, out: Array) -> Array:
        return with_rows(out, part, _logits(weights, rows_of(features, part, rows)))

    return jax.lax.fori_loop(0, height // rows, step, jnp.zeros(shape, features.dtype)), features


def _forward(weights: Weights, features: Array) -> tuple[tuple[Array, Array], tuple[Weights, Array]]:
    return pixel_logits(weights, features), (weights, features)


def _backward(kept: tuple[Weights, Array], cotangents: tuple[Array, Array]) -> tuple[Weights, Array]:
    weights, features = kept
    of_logits, of_features = cotangents
    rows = _rows_at_a_time(weights, features)

    def step(part: Array | int, found: Any) -> Any:
        gradients, out = found
        _, pull_back = jax.vjp(_logits, weights, rows_of(features, part, rows))
        more, gradient = pull_back(rows_of(of_logits, part, 2 * rows))
        gradient = gradient + rows_of(out, part, rows)
        return jax.tree.map(jnp.add, gradients, more), with_rows(out, part, gradient)

    start = jax.tree.map(jnp.zeros_like, weights), of_features
    return jax.lax.fori_loop(0, features.shape[1] // rows, step, start)


pixel_logits.defvjp(_forward, _backward)


class Affine(nn.Module):
    """Kernel and bias of a layer, weights N(0, sqrt(2 / fan_out)), biases U(+-1 / sqrt(fan_in))."""

    shape: tuple[int, ...]
    bias: int
    fan_in: int

    @nn.compact
    def __call__(self) -> tuple[Array, Array]:
        kernel = self.param("kernel", HE_NORMAL, self.shape, jnp.float32)
        return kernel, self.param("bias", torch_bias(self.fan_in), (self.bias,), jnp.float32)


class PixelClassHead(nn.Module):
    """features [B, h, w, F] -> logits [B, 2h, 2w, classes]: transposed 2x2 convolution of stride 2 to `hidden`
    channels, ReLU, 1x1 convolution. Starts as published (Kaiming normal by fan out, PyTorch's own biases).

    Gives the features back, too: what other layers take from there costs no second gradient of their size.
    """

    classes: int
    hidden: int

    @nn.compact
    def __call__(self, features: Array) -> tuple[Array, Array]:
        # PyTorch takes the fan in of a transposed convolution from its outputs.
        up = Affine((2, 2, self.hidden, features.shape[-1]), self.hidden, 4 * self.hidden, name="up")
        logits = Affine((1, 1, self.hidden, self.classes), self.classes, self.hidden, name="logits")
        return pixel_logits({"up": up(), "logits": logits()}, features)
