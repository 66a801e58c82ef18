"""The multilayer perceptron of the 1-D study: a value head, and a class head on the last hidden layer."""

from collections.abc import Callable

import flax.linen as nn
import jax.numpy as jnp
from jax import Array

from regcls_jax.models.dense import Dense, Initializer
from regcls_jax.models.initializers import TORCH_UNIFORM
from regcls_jax.prediction import Prediction

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


class MLP(nn.Module):
    """inputs [..., D] -> Prediction(value [...], logits [..., classes] or None, features [..., hidden[-1]]).

    With `outputs` > 0 the targets are vectors: value [..., outputs], the last axis whatever `feature_axis` is.

    Fig. 3 uses hidden = (6, 15) (the paper's text says 16: recipes 4.1-7), ReLU, Xavier-uniform weights, zero biases.
    `classes` = 0 leaves the class head out; with `one_direction` its logits differ by their biases alone. With
    `feature_axis` = 0 inputs, logits and features have their feature axis first instead of last. Trunk and value head
    draw the same initial weights with and without class head.
    """

    hidden: tuple[int, ...] = (6, 15)
    classes: int = 0
    outputs: int = 0
    one_direction: bool = False
    activation: Callable[[Array], Array] = nn.relu
    kernel_init: Initializer = nn.initializers.xavier_uniform()
    feature_axis: int = -1
    param_dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, inputs: Array) -> Prediction:
        if self.feature_axis not in (0, -1):
            raise ValueError(f"feature_axis must be 0 or -1, got {self.feature_axis}")

        def dense(features: int, name: str, fold_bias: bool = False, one_direction: bool = False) -> Dense:
            return Dense(
                features,
                self.feature_axis,
                fold_bias=fold_bias,
                one_direction=one_direction,
                kernel_init=self.kernel_init,
                param_dtype=self.param_dtype,
                name=name,
            )

        features = inputs
        for layer, width in enumerate(self.hidden):
            features = self.activation(dense(width, f"hidden_{layer}")(features))
        value = dense(max(self.outputs, 1), "value_head")(features)
        value = jnp.moveaxis(value, self.feature_axis, -1) if self.outputs else jnp.squeeze(value, self.feature_axis)
        logits = None
        if self.classes:
            # A separate bias of a single product is cheap.
            head = dense(self.classes, "class_head", not self.one_direction, self.one_direction)
            logits = head(features)
        return Prediction(value, logits, features)
