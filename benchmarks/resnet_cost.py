"""What training a network costs, by computation: operations and activations of its layers, time on accelerators."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import pandas as pd

from regcls_jax.loop.age import AgeRun
from regcls_jax.models.batch_norm import BatchNorm
from regcls_jax.models.by_platform import SquareConv
from regcls_jax.models.resnet import resnet


class Layer(NamedTuple):
    """A convolution or linear layer: shapes for one image, without its batch axis."""

    name: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    kernel: tuple[int, ...] = ()
    stride: int = 1


class Network(NamedTuple):
    """The layers in the order of their calls, the parameters, and the values that BatchNorm puts out for one image."""

    layers: list[Layer]
    parameters: int
    normalised: int


class Accelerator(NamedTuple):
    """A device and its peak rate in TFLOP/s."""

    name: str
    tflops: float


def image_run(content: Mapping[str, Any]) -> AgeRun:
    """The run that a request in JSON describes."""
    return AgeRun(**{**content, "boundaries": tuple(content["boundaries"])})


def network(run: AgeRun) -> Network:
    """The layers of a run's model, its class head with all `classes`."""
    return layers_of(resnet(run.depth, width=run.width, classes=run.classes), (run.image_size, run.image_size))


Layers = nn.Conv | nn.Dense | SquareConv


def window_of(layer: Layers) -> tuple[Any, ...]:
    """Kernel and stride of a convolution; nothing of a linear layer."""
    if isinstance(layer, nn.Conv):
        return layer.kernel_size, layer.strides
    if isinstance(layer, SquareConv):
        return (layer.size, layer.size), layer.stride
    return ()


def layers_of(model: nn.Module, size: tuple[int, int], own: Callable[..., Iterable[Layer]] | None = None) -> Network:
    """The layers of a model of images of a `size`; only shapes are followed, nothing is computed.

    `own` gives those of modules that compute with their own arrays: (module, its inputs, its result) -> layers.
    """
    layers, normalised = [], 0

    def record(call: Any, args: Any, kwargs: Any, context: nn.module.InterceptorContext) -> Any:
        nonlocal normalised
        module, result = context.module, call(*args, **kwargs)
        if isinstance(module, Layers):
            name, inputs, outputs = "/".join(module.path), args[0].shape[1:], result.shape[1:]
            layers.append(Layer(name, inputs, outputs, *window_of(module)))
        elif isinstance(module, BatchNorm):
            normalised += math.prod(result.shape[1:])
        elif own is not None:
            layers.extend(own(module, args, result))
        return result

    images = jax.ShapeDtypeStruct((1, *size, 3), jnp.float32)
    with nn.intercept_methods(record):
        variables = jax.eval_shape(lambda x: model.init(jax.random.key(0), x), images)
    parameters = sum(leaf.size for leaf in jax.tree.leaves(variables["params"]))
    return Network(layers, parameters, normalised)


def multiply_adds(layer: Layer, *, padding: bool = True) -> int:
    """Multiply-adds of a layer for one image, forward; `padding`: also those with the zeros around the image."""
    if not layer.kernel:
        return math.prod(layer.inputs) * layer.outputs[-1]
    taps = 1
    for kernel, size, out in zip(layer.kernel, layer.inputs, layer.outputs, strict=False):
        places = (o * layer.stride + tap - kernel // 2 for o in range(out) for tap in range(kernel))
        taps *= out * kernel if padding else sum(0 <= place < size for place in places)
    return taps * layer.inputs[-1] * layer.outputs[-1]


def forward_flop(layers: Iterable[Layer], *, padding: bool = True) -> int:
    """FLOP of the convolutions and linear layers for one image, forward: two per multiply-add."""
    return 2 * sum(multiply_adds(layer, padding=padding) for layer in layers)


def training_flop(layers: Sequence[Layer], *, padding: bool = True) -> int:
    """FLOP of one image, forward and backward.

    The gradient of the weights costs as much as the layer, and so does that of the inputs, which the first layer, whose
    inputs are the image, does not need. BatchNorm, activations, pooling, loss and optimiser count nothing.
    """
    return 3 * forward_flop(layers, padding=padding) - forward_flop(layers[:1], padding=padding)


def activation_values(net: Network) -> int:
    """Values of one image that the backward pass reads: what convolutions and BatchNorms put out."""
    return net.normalised + sum(math.prod(layer.outputs) for layer in net.layers if layer.kernel)


def parse_accelerator(text: str) -> Accelerator:
    """`name=TFLOP/s`, say "A100, bfloat16=312". Raises ValueError for anything else."""
    name, _, tflops = text.rpartition("=")
    try:
        accelerator = Accelerator(name.strip(), float(tflops))
    except ValueError:
        accelerator = Accelerator("", 0.0)
    if not accelerator.name or not 0 < accelerator.tflops < math.inf:
        raise ValueError(f"--accelerators: {text!r} is not name=TFLOP/s, say 'A100, bfloat16=312'")
    return accelerator


def times(
    flop: float,
    images: int,
    accelerators: Iterable[Accelerator],
    utilisations: Sequence[float],
    devices: Sequence[int],
    decoded: float,
) -> pd.DataFrame:
    """One line per accelerator, number of devices and utilisation: images_per_second, hours, decoders.

    Args:
      flop: FLOP of training on one image.
      images: how many images are trained on, all epochs together.
      accelerators: with their peak rates.
      utilisations: shares of that peak that `flop` is done at, in (0, 1].
      devices: how many work together, scaling perfectly.
      decoded: images/s that one process decodes; `decoders` is how many of them keep up.
    """
    lines = []
    for accelerator in accelerators:
        for count in devices:
            for utilisation in utilisations:
                rate = count * accelerator.tflops * 1e12 * utilisation / flop
                line = {"accelerator": accelerator.name, "peak_tflops": accelerator.tflops, "devices": count}
                line |= {"utilisation": utilisation, "images_per_second": rate, "hours": images / rate / 3600}
                lines.append(line | {"decoders": math.ceil(rate / decoded)})
    return pd.DataFrame(lines)
