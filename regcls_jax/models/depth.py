"""The depth network of Hu et al. (2019) on a ResNet, with value head and the class head of the paper (recipes 5.3)."""

from collections.abc import Callable, Sequence
from typing import ClassVar

import flax.linen as nn
import jax.numpy as jnp
from jax import Array
from jax.typing import DTypeLike

from regcls_jax.models.batch_norm import BatchNorm, statistics_dtype
from regcls_jax.models.initializers import TORCH_UNIFORM, torch_bias
from regcls_jax.models.pixel_classes import PixelClassHead
from regcls_jax.models.resize import resized_conv
from regcls_jax.models.resnet import DEPTHS, Block, conv, trunk
from regcls_jax.prediction import Prediction

Size = tuple[int, int]


def normalised(
    x: Array, features: int, kernel: int, names: tuple[str, str], *, dtype: DTypeLike, train: bool, mask: Array | None
) -> Array:
    """A convolution without bias and its BatchNorm, of the two `names`, both of the module that calls.

    The weights start as PyTorch's own: only those of the encoder start as a ResNet's.
    """
    x = conv(features, kernel, 1, dtype, names[0], TORCH_UNIFORM)(x)
    return BatchNorm(name=names[1])(x, train=train, mask=mask)


class Kernel(nn.Module):
    """The weights of a convolution, float32 of a `shape`, which start as PyTorch's own."""

    shape: tuple[int, ...]

    @nn.compact
    def __call__(self) -> Array:
        return self.param("kernel", TORCH_UNIFORM, self.shape, jnp.float32)


class UpProjection(nn.Module):
    """x [B, h, w, C] -> [B, *size, features]: resized, then a residual block whose shortcut is a 5x5 convolution."""

    features: int
    dtype: DTypeLike

    @nn.compact
    def __call__(self, x: Array, size: Size, *, train: bool, mask: Array | None) -> Array:
        shape = (5, 5, x.shape[-1], self.features)
        kernels = [Kernel(shape, name=name)() for name in ("conv1", "conv2")]
        both = resized_conv(x.astype(self.dtype), jnp.concatenate(kernels, -1).astype(self.dtype), size)
        branch, shortcut = jnp.split(both, 2, -1)
        branch = nn.relu(BatchNorm(name="bn1")(branch, train=train, mask=mask))
        names = ("conv1_2", "bn1_2")
        branch = normalised(branch, self.features, 3, names, dtype=self.dtype, train=train, mask=mask)
        return nn.relu(branch + BatchNorm(name="bn2")(shortcut, train=train, mask=mask))


class Encoder(nn.Module):
    """images -> what the four stages of a ResNet put out."""

    stage_sizes: tuple[int, ...]
    block: type[Block]
    width: int
    dtype: DTypeLike

    @nn.compact
    def __call__(self, images: Array, *, train: bool, mask: Array | None) -> list[Array]:
        return trunk(images, self.stage_sizes, self.block, self.width, self.dtype, train=train, mask=mask)


class Decoder(nn.Module):
    """The last stage, [B, h, w, C], step by step in the sizes of the earlier ones -> [B, *size, C / 32]."""

    dtype: DTypeLike

    @nn.compact
    def __call__(self, stages: Sequence[Array], size: Size, *, train: bool, mask: Array | None) -> Array:
        features = stages[-1].shape[-1] // 2
        x = normalised(stages[-1], features, 1, ("conv", "bn"), dtype=self.dtype, train=train, mask=mask)
        x = nn.relu(x)
        sizes = [(stage.shape[1], stage.shape[2]) for stage in reversed(stages[:-1])] + [size]
        for index, step in enumerate(sizes, start=1):
            up = UpProjection(max(features >> index, 1), self.dtype, name=f"up{index}")
            x = up(x, step, train=train, mask=mask)
        return x


class Fusion(nn.Module):
    """Every stage projected to `features` channels of `size`, then mixed -> [B, *size, 4 features]."""

    features: int
    dtype: DTypeLike

    @nn.compact
    def __call__(self, stages: Sequence[Array], size: Size, *, train: bool, mask: Array | None) -> Array:
        projected = [
            UpProjection(self.features, self.dtype, name=f"up{index}")(stage, size, train=train, mask=mask)
            for index, stage in enumerate(stages, start=1)
        ]
        x = jnp.concatenate(projected, -1)
        return nn.relu(normalised(x, x.shape[-1], 5, ("conv", "bn"), dtype=self.dtype, train=train, mask=mask))


class Refinement(nn.Module):
    """Two convolutions that keep shape and channels."""

    dtype: DTypeLike

    @nn.compact
    def __call__(self, x: Array, *, train: bool, mask: Array | None) -> Array:
        for index in range(2):
            names = (f"conv{index}", f"bn{index}")
            x = nn.relu(normalised(x, x.shape[-1], 5, names, dtype=self.dtype, train=train, mask=mask))
        return x


class DepthNetwork(nn.Module):
    """images [B, H, W, 3] float -> Prediction(value [B, h, w], logits [B, 2h, 2w, classes] or None, features
    [B, h, w, F]), all float32; h and w are twice the size of the first stage: H / 2 and W / 2 where 4 divides both.

    F = 2 * width for a ResNet of bottlenecks (128 as published). `features` are what the heads see, changed by
    `transform` where one is given (FDS smoothing). The class head serves training only: with train=False its logits are
    None; `init` makes its parameters either way, and everything else draws the same initial weights with and without
    it. With train=True "batch_stats" changes, so make that collection mutable.
    `mask` bool [B]: rows that count in the batch statistics (BatchNorm). `dtype` is that of the arithmetic before
    `features`; parameters, statistics and heads stay float32. All channel counts scale with `width`. Any H and W from
    64 up make sense. Submodules have the published names, with _ for the dot before a number (see torch_weights).
    Raises ValueError for images without four axes.
    """

    stage_sizes: tuple[int, ...]
    block: type[Block]
    width: int = 64
    classes: int = 0
    dtype: DTypeLike = jnp.float32

    # The submodule that weights of a ResNet alone, such as ImageNet's, start (see loop.start).
    encoder: ClassVar[str] = "E"

    @nn.compact
    def __call__(
        self,
        images: Array,
        *,
        train: bool = False,
        mask: Array | None = None,
        transform: Callable[[Array], Array] | None = None,
    ) -> Prediction:
        encode = Encoder(self.stage_sizes, self.block, self.width, self.dtype, name=self.encoder)
        stages = encode(images, train=train, mask=mask)
        size = (2 * stages[0].shape[1], 2 * stages[0].shape[2])
        decoded = Decoder(self.dtype, name="D")(stages, size, train=train, mask=mask)
        fused = Fusion(max(self.width // 4, 1), self.dtype, name="MFF")(stages, size, train=train, mask=mask)
        x = Refinement(self.dtype, name="R")(jnp.concatenate([decoded, fused], -1), train=train, mask=mask)
        features = x.astype(statistics_dtype(x))
        if transform is not None:
            features = transform(features)
        fan_in = 25 * features.shape[-1]
        value_head = nn.Conv(
            1, (5, 5), padding=2, kernel_init=TORCH_UNIFORM, bias_init=torch_bias(fan_in), name="value_head"
        )
        logits = None
        if self.classes and (train or self.is_initializing()):
            logits, features = PixelClassHead(self.classes, 4 * self.width, name="class_head")(features)
        return Prediction(value_head(features)[..., 0], logits, features)


def depth_network(
    layers: int = 50, *, width: int = 64, classes: int = 0, dtype: DTypeLike = jnp.float32
) -> DepthNetwork:
    """The depth network on a ResNet of 18, 34, 50 or 101 `layers`; `width` channels in the first stage (64: published).

    Raises ValueError for another number of layers.
    """
    if layers not in DEPTHS:
        raise ValueError(f"layers must be one of {', '.join(map(str, DEPTHS))}, got {layers}")
    stage_sizes, block = DEPTHS[layers]
    return DepthNetwork(stage_sizes, block, width, classes, dtype)
