"""Peak memory of the depth network's training step by number of classes: compiled here, never run.

python benchmarks/depth_memory.py [--classes=0 --classes=100] [--batch_size=16]
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import pandas as pd
from absl import flags
from jax import Array

from regcls_jax import binning, cli
from regcls_jax.losses.auxiliary import Given
from regcls_jax.models.depth import DepthNetwork, depth_network
from regcls_jax.models.resize import resize
from regcls_jax.objectives import keep_mask, objective
from regcls_jax.report.tables import markdown

CLASSES = flags.DEFINE_multi_integer("classes", [0, 10, 100], "Numbers of classes.", lower_bound=0)
BATCH_SIZE = flags.DEFINE_integer("batch_size", 16, "Images.", lower_bound=1)
HEIGHT = flags.DEFINE_integer("height", 228, "Rows of an image.", lower_bound=64)
WIDTH = flags.DEFINE_integer("width", 304, "Columns of an image.", lower_bound=64)
CHANNELS = flags.DEFINE_integer("channels", 64, "Channels of the first stage; 64 as published.", lower_bound=1)
LAYERS = flags.DEFINE_integer("layers", 50, "Layers of the encoder.")

FARTHEST = 10.0  # metres


def loss(
    model: DepthNetwork, classes: int, params: Any, statistics: Any, images: Array, depth: Array, valid: Array
) -> tuple[Array, Any]:
    """The objective of a batch with balanced classes and its holes, and the new statistics."""
    prediction, changed = model.apply(
        {"params": params, "batch_stats": statistics}, images, train=True, mutable=["batch_stats"]
    )
    given, class_valid = None, None
    if prediction.logits is not None:
        target = resize(depth, prediction.logits.shape[1:3])
        edges, keep = jnp.linspace(0, FARTHEST, classes + 1), jnp.linspace(0.5, 1, classes)
        labels = binning.assign(target, edges)
        class_valid = resize(valid.astype(jnp.float32), target.shape[1:]) == 1
        class_valid = class_valid & keep_mask(jax.random.key(0), labels, keep)
        given = Given(target, labels)
    total, _ = objective(prediction, depth, given=given, mask=valid, class_mask=class_valid)
    return total, changed


def lowered_step(classes: int) -> jax.stages.Lowered:
    """The loss and its gradient."""
    model = depth_network(LAYERS.value, width=CHANNELS.value, classes=classes)
    images = jax.ShapeDtypeStruct((BATCH_SIZE.value, HEIGHT.value, WIDTH.value, 3), jnp.float32)
    prediction, variables = jax.eval_shape(model.init_with_output, jax.random.key(0), images)
    depth = prediction.value
    valid = jax.ShapeDtypeStruct(depth.shape, bool)
    step = jax.jit(jax.value_and_grad(functools.partial(loss, model, classes), has_aux=True))
    return step.lower(variables["params"], variables["batch_stats"], images, depth, valid)


def main() -> None:
    rows = []
    for classes in CLASSES.value:
        memory = lowered_step(classes).compile().memory_analysis()
        pixels = BATCH_SIZE.value * HEIGHT.value * WIDTH.value
        row = {"classes": classes, "temporary bytes": memory.temp_size_in_bytes}
        row |= {"arguments": memory.argument_size_in_bytes, "one array of logits": 4 * pixels * classes}
        rows.append(row)
        print(row, flush=True)
    print(markdown(pd.DataFrame([{name: f"{value:,}" for name, value in row.items()} for row in rows])))


if __name__ == "__main__":
    cli.run(main)
