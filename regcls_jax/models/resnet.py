"""ResNet-18 to -101 for images (He et al. 2016), equal to PyTorch's, with a value head and a class head."""

from collections.abc import Callable

import flax.linen as nn
import jax.numpy as jnp
from jax import Array
from jax.typing import DTypeLike

from regcls_jax.models.batch_norm import BatchNorm, statistics_dtype
from regcls_jax.models.by_platform import SquareConv
from regcls_jax.models.dense import Dense
from regcls_jax.models.initializers import HE_NORMAL, TORCH_UNIFORM, torch_bias
from regcls_jax.prediction import Prediction


def conv(
    features: int,
    kernel: int,
    stride: int,
    dtype: DTypeLike,
    name: str,
    kernel_init: nn.initializers.Initializer = HE_NORMAL,
) -> SquareConv:
    """A convolution without bias, padded by kernel // 2 on every side.

    Not "SAME": with stride 2 that pads one side only, and the output moves by a pixel against PyTorch's.
    """
    return SquareConv(features, kernel, stride, dtype, kernel_init, name=name)


def dense(features: int, fan_in: int, name: str) -> nn.Dense:
    """A linear layer of `fan_in` inputs that starts as PyTorch's: float32 weights and biases U(+-1/sqrt(fan_in))."""
    return nn.Dense(features, kernel_init=TORCH_UNIFORM, bias_init=torch_bias(fan_in), name=name)


class Block(nn.Module):
    """Residual block: x [B, H, W, C] -> [B, ceil(H/stride), ceil(W/stride), expansion * width].

    Subclasses give `expansion` and `convolutions`: (output channels, kernel, stride) of conv1, conv2, ...
    """

    width: int
    stride: int
    dtype: DTypeLike

    expansion = 1

    def convolutions(self) -> list[tuple[int, int, int]]:
        raise NotImplementedError

    @nn.compact
    def __call__(self, x: Array, *, train: bool, mask: Array | None) -> Array:
        shortcut = x
        if self.stride != 1 or x.shape[-1] != self.expansion * self.width:
            shortcut = conv(self.expansion * self.width, 1, self.stride, self.dtype, "downsample_0")(x)
            shortcut = BatchNorm(name="downsample_1")(shortcut, train=train, mask=mask)
        for index, (features, kernel, stride) in enumerate(self.convolutions(), start=1):
            if index > 1:
                x = nn.relu(x)
            x = conv(features, kernel, stride, self.dtype, f"conv{index}")(x)
            x = BatchNorm(name=f"bn{index}")(x, train=train, mask=mask)
        return nn.relu(x + shortcut)


class BasicBlock(Block):
    """Two 3x3 convolutions (ResNet-18, -34)."""

    def convolutions(self) -> list[tuple[int, int, int]]:
        return [(self.width, 3, self.stride), (self.width, 3, 1)]


class Bottleneck(Block):
    """1x1, 3x3, 1x1 to four times the width; the stride is in the 3x3 (ResNet-50, -101; recipes 5.1)."""

    expansion = 4

    def convolutions(self) -> list[tuple[int, int, int]]:
        return [(self.width, 1, 1), (self.width, 3, self.stride), (self.expansion * self.width, 1, 1)]


def trunk(
    images: Array,
    stage_sizes: tuple[int, ...],
    block: type[Block],
    width: int,
    dtype: DTypeLike,
    *,
    train: bool,
    mask: Array | None,
) -> list[Array]:
    """What the stages of a ResNet put out, of images [B, H, W, 3]: for stage s [B, ceil(H / 2^(s+2)), ..., channels].

    Its layers belong to the module that calls it in a compact method, under PyTorch's names. Raises ValueError for
    images without four axes.
    """
    if images.ndim != 4:
        raise ValueError(f"images must be [batch, height, width, channels], got shape {images.shape}")
    x = conv(width, 7, 2, dtype, "conv1")(images)
    x = nn.relu(BatchNorm(name="bn1")(x, train=train, mask=mask))
    x = nn.max_pool(x, (3, 3), (2, 2), ((1, 1), (1, 1)))
    stages = []
    for stage, size in enumerate(stage_sizes):
        for index in range(size):
            stride = 2 if stage > 0 and index == 0 else 1
            x = block(width * 2**stage, stride, dtype, name=f"layer{stage + 1}_{index}")(x, train=train, mask=mask)
        stages.append(x)
    return stages


class ResNet(nn.Module):
    """images [B, H, W, 3] float -> Prediction(value [B], logits [B, classes] or None, features [B, F]), all float32.

    F = 8 * width * expansion of the block (2048 for ResNet-50). `features` are what the heads see: pooled, then
    changed by `transform` where one is given (FDS smoothing). The class head serves training only (recipes 5.1): with
    train=False its logits are None unless `read_classes` asks for them; `init` makes its parameters either way, and
    trunk and value head draw the same initial weights with and without it. With `one_direction` its logits differ by
    their biases alone (`Dense`). With train=True "batch_stats" changes, so make that collection mutable.
    `mask` bool [B]: rows that count in the batch statistics (BatchNorm). `dtype` is that of the trunk's arithmetic
    (bfloat16 halves its memory); parameters, statistics and heads stay float32. Any H and W from 32 up make sense.
    Submodules have PyTorch's names with _ for the dot before a number: layer1_0/downsample_1 (see torch_weights).
    Raises ValueError for images without four axes.
    """

    stage_sizes: tuple[int, ...]
    block: type[Block]
    width: int = 64
    classes: int = 0
    dtype: DTypeLike = jnp.float32
    one_direction: bool = False

    @nn.compact
    def __call__(
        self,
        images: Array,
        *,
        train: bool = False,
        read_classes: bool = False,
        mask: Array | None = None,
        transform: Callable[[Array], Array] | None = None,
    ) -> Prediction:
        *_, x = trunk(images, self.stage_sizes, self.block, self.width, self.dtype, train=train, mask=mask)
        features = x.astype(statistics_dtype(x)).mean((1, 2))
        if transform is not None:
            features = transform(features)
        fan_in = features.shape[-1]
        value = dense(1, fan_in, "value_head")(features)[:, 0]
        logits = None
        if self.classes and (train or read_classes or self.is_initializing()):
            head: nn.Module
            if self.one_direction:
                head = Dense(self.classes, one_direction=True, kernel_init=TORCH_UNIFORM, name="class_head")
            else:
                head = dense(self.classes, fan_in, "class_head")
            logits = head(features)
        return Prediction(value, logits, features)


DEPTHS: dict[int, tuple[tuple[int, ...], type[Block]]] = {
    18: ((2, 2, 2, 2), BasicBlock),
    34: ((3, 4, 6, 3), BasicBlock),
    50: ((3, 4, 6, 3), Bottleneck),
    101: ((3, 4, 23, 3), Bottleneck),
}


def resnet(
    depth: int, *, width: int = 64, classes: int = 0, one_direction: bool = False, dtype: DTypeLike = jnp.float32
) -> ResNet:
    """ResNet of 18, 34, 50 or 101 layers; `width` channels in the first stage (64 as published).

    Raises ValueError for another depth.
    """
    if depth not in DEPTHS:
        raise ValueError(f"depth must be one of {', '.join(map(str, DEPTHS))}, got {depth}")
    stage_sizes, block = DEPTHS[depth]
    return ResNet(stage_sizes, block, width, classes, dtype, one_direction)
