"""The multilayer perceptron of the 1-D study: a value head, and a class head on the last hidden layer."""

from collections.abc import Callable

import flax.linen as nn
import jax.numpy as jnp
from jax import Array

from regcls_jax.models.initializers import TORCH_UNIFORM
from regcls_jax.prediction import Prediction

Initializer = nn.initializers.Initializer
ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "relu": nn.relu,
    "gelu": nn.gelu,
    "sigmoid": nn.sigmoid,
    "silu": nn.silu,
    "tanh": nn.tanh,
}
INITIALIZERS: dict[str, Initializer] = {
    "xavier_uniform": nn.initializers.xavier_uniform(),
    "xavier_normal": nn.initializers.xavier_normal(),
    "he_uniform": nn.initializers.he_uniform(),
    "he_normal": nn.initializers.he_normal(),
    "lecun_normal": nn.initializers.lecun_normal(),
    "torch_uniform": TORCH_UNIFORM,
    "normal_0.01": nn.initializers.normal(0.01),  # of Kukleva et al. (recipes 5.4)
}


class Dense(nn.Module):
    """y = kernel^T x + bias over the feature axis: [..., in] -> [..., features], or [in, ...] -> [features, ...].

    `feature_axis` 0 (features first) keeps a batch contiguous per unit: with 6 and 15 units, a vector instruction then
    processes 8 or 16 examples, which makes the study engine several times faster on CPU.
    `fold_bias` makes the bias the weight of a constant input, so that its gradient comes out of the same matrix
    product: worth it for wide outputs (a class head), where a separate sum over the batch reads everything again.
    """

    features: int
    feature_axis: int = -1
    fold_bias: bool = False
    kernel_init: Initializer = nn.initializers.xavier_uniform()
    param_dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: Array) -> Array:
        axis = self.feature_axis
        kernel = self.param("kernel", self.kernel_init, (x.shape[axis], self.features), self.param_dtype)
        bias = self.param("bias", nn.initializers.zeros, (self.features,), self.param_dtype)
        if self.fold_bias:
            kernel = jnp.concatenate([kernel, bias[None]])
            ones = jnp.ones_like(x, shape=x.shape[:-1] + (1,) if axis == -1 else (1,) + x.shape[1:])
            x = jnp.concatenate([x, ones], axis)
        y = jnp.einsum("io,...i->...o" if axis == -1 else "io,i...->o...", kernel, x)
        if self.fold_bias:
            return y
        return y + jnp.expand_dims(bias, tuple(range(y.ndim - 1) if axis == -1 else range(1, y.ndim)))


class MLP(nn.Module):
    """inputs [..., D] -> Prediction(value [...], logits [..., classes] or None, features [..., hidden[-1]]).

    With `outputs` > 0 the targets are vectors: value [..., outputs], the last axis whatever `feature_axis` is.

    Fig. 3 uses hidden = (6, 15) (the paper's text says 16: recipes 4.1-7), ReLU, Xavier-uniform weights, zero biases.
    `classes` = 0 leaves the class head out. With `feature_axis` = 0 inputs, logits and features have their feature
    axis first instead of last. Trunk and value head draw the same initial weights with and without a class head.
    """

    hidden: tuple[int, ...] = (6, 15)
    classes: int = 0
    outputs: int = 0
    activation: Callable[[Array], Array] = nn.relu
    kernel_init: Initializer = nn.initializers.xavier_uniform()
    feature_axis: int = -1
    param_dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, inputs: Array) -> Prediction:
        if self.feature_axis not in (0, -1):
            raise ValueError(f"feature_axis must be 0 or -1, got {self.feature_axis}")

        def dense(features: int, name: str, fold_bias: bool = False) -> Dense:
            return Dense(features, self.feature_axis, fold_bias, self.kernel_init, self.param_dtype, name=name)

        features = inputs
        for layer, width in enumerate(self.hidden):
            features = self.activation(dense(width, f"hidden_{layer}")(features))
        value = dense(max(self.outputs, 1), "value_head")(features)
        value = jnp.moveaxis(value, self.feature_axis, -1) if self.outputs else jnp.squeeze(value, self.feature_axis)
        logits = dense(self.classes, "class_head", fold_bias=True)(features) if self.classes else None
        return Prediction(value, logits, features)
