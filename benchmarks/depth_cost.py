"""What training the depth network costs, on paper: operations of its step, hours on accelerators. Nothing is measured.

python benchmarks/depth_cost.py [--classes=0 --classes=100] [--devices=1 --devices=8]
"""

from collections.abc import Iterator
from typing import Any

import depth_memory
import flax.linen as nn
import pandas as pd
import resnet_cost
from absl import flags
from depth_memory import BATCH_SIZE, CHANNELS, CLASSES, HEIGHT, LAYERS, WIDTH
from resnet_cost import Layer

from regcls_jax import cli
from regcls_jax.models.depth import UpProjection, depth_network
from regcls_jax.models.pixel_classes import PixelClassHead
from regcls_jax.models.resize import mixes_first
from regcls_jax.report.tables import markdown

ACCELERATORS = flags.DEFINE_multi_string(
    "accelerators",
    ["A100, float32 as TF32=156", "A100, bfloat16=312"],
    "name=peak TFLOP/s, of data sheets.",
)
UTILISATION = flags.DEFINE_multi_float("utilisation", [0.15, 0.3], "Assumed shares of that peak.", lower_bound=1e-3)
DEVICES = flags.DEFINE_multi_integer("devices", [1, 8], "Numbers of accelerators.", lower_bound=1)

# The published training: 5 epochs of 50,688 images.
IMAGES, EPOCHS = 50_688, 5


def own_layers(module: nn.Module, inputs: Any, result: Any, *, published: bool) -> Iterator[Layer]:
    """The layers of modules that compute with their own arrays, for one image: as published, or as they run here."""
    name = "/".join(module.path)
    if isinstance(module, PixelClassHead):
        height, width, features = inputs[0].shape[1:]
        yield Layer(f"{name}/up", (height, width, features), (2 * height, 2 * width, 4 * module.hidden))
        yield Layer(f"{name}/logits", (2 * height, 2 * width, module.hidden), result[0].shape[1:])
    elif isinstance(module, UpProjection):
        (height, width, channels), size, outputs = inputs[0].shape[1:], inputs[1], 2 * module.features
        if published or not mixes_first(inputs[0].shape, (5, 5, channels, outputs), size):
            yield Layer(f"{name}/conv1, conv2", (*size, channels), (*size, outputs), (5, 5))
            return
        yield Layer(f"{name}/mixing", (height, width, channels), (height, width, 25 * outputs))
        # Matrix products: every row of 5 * outputs columns, then every column.
        yield Layer(f"{name}/columns", (height, 5 * outputs, 5 * width), (size[1],))
        yield Layer(f"{name}/rows", (size[1], outputs, 5 * height), (size[0],))


def layers(classes: int, *, published: bool) -> list[Layer]:
    """The layers of the network with a class head of so many `classes`."""
    model = depth_network(LAYERS.value, width=CHANNELS.value, classes=classes)

    def own(module: nn.Module, inputs: Any, result: Any) -> Iterator[Layer]:
        return own_layers(module, inputs, result, published=published)

    return resnet_cost.layers_of(model, (HEIGHT.value, WIDTH.value), own).layers


def main() -> None:
    accelerators = [resnet_cost.parse_accelerator(text) for text in ACCELERATORS.value]
    rows, hours = [], []
    for classes in CLASSES.value:
        published, ours = (resnet_cost.training_flop(layers(classes, published=form)) for form in (True, False))
        lowered = depth_memory.lowered_step(classes)
        flop = {
            "as published": published,
            "as it runs here": ours,
            "XLA, as lowered": lowered.cost_analysis()["flops"] / BATCH_SIZE.value,
            "XLA, as compiled for this CPU": lowered.compile().cost_analysis()["flops"] / BATCH_SIZE.value,
        }
        rows.append({"classes": str(classes)} | {name: f"{value / 1e9:.1f}" for name, value in flop.items()})
        frame = resnet_cost.times(ours, EPOCHS * IMAGES, accelerators, UTILISATION.value, DEVICES.value, 1)
        hours.append(frame.assign(classes=classes))
    print(f"GFLOP per image, forward and backward, at {HEIGHT.value} x {WIDTH.value}, width {CHANNELS.value}:\n")
    print(markdown(pd.DataFrame(rows)))
    print(
        "\nThe first two are counted from the layers' shapes, padding included; XLA leaves out products with the zeros"
        " of the padding, adds BatchNorm and all else, and counts one turn of the class head's loop over rows.\n"
        f"\n**Computed, not measured**: hours of {EPOCHS} epochs of {IMAGES:,} images = images x GFLOP as it runs here"
        " / (devices x peak x utilisation); peaks of data sheets, utilisation assumed, devices scale perfectly:\n"
    )
    shown = pd.concat(hours)[["classes", "accelerator", "devices", "utilisation", "images_per_second", "hours"]]
    print(markdown(shown.map(lambda cell: f"{cell:,.2f}" if isinstance(cell, float) else str(cell))))


if __name__ == "__main__":
    cli.run(main)
