"""What a training picture with its depth map costs a core, and whether its colours change on the workers or the device.

python benchmarks/depth_pipeline.py [--workers=0 --workers=2] [--output=depth_pipeline.md]

Pictures are generated, 480 x 640, or those of a prepared data set: --data_dir=... --dataset=nyu_small.
"""

import io
import statistics
import time
from collections.abc import Callable

import image_pipeline
import jax
import numpy as np
import pandas as pd
from absl import flags
from generated import picture, pipeline_rate
from measure import cpu_times, others_share
from PIL import Image

from regcls_jax import cli
from regcls_jax.data.batches import READY
from regcls_jax.data.depth.decoding import decode_depth
from regcls_jax.data.depth.draws import ORDERS, colour_map, draw_epoch
from regcls_jax.data.depth.inputs import MEAN, STD, network_input
from regcls_jax.data.depth.pipeline import train_batches
from regcls_jax.data.depth.splits import DepthSplit, load_depths
from regcls_jax.data.depth.transforms import View, see_depth, see_image
from regcls_jax.data.images.decoding import decode_rgb
from regcls_jax.report.tables import markdown
from regcls_jax.store.files import write_atomic

HEIGHT = flags.DEFINE_integer("height", 228, "Height of the input; the width is 4/3 of it.", lower_bound=8)
GFLOP = flags.DEFINE_float("gflop", 363, "GFLOP of a training step per picture, 100 classes (depth_cost.py).")
TFLOPS = flags.DEFINE_float("tflops", 125, "TFLOP/s that the accelerator reaches: an A100 with bfloat16, at 40 %.")
CORES = flags.DEFINE_integer("input_cores", 16, "Cores that feed one accelerator.", lower_bound=1)
SOURCE, PICTURES = (480, 640), 32


class Generated(list):
    """Encoded pairs, read as those of a prepared data set are."""

    def read(self, indices: list[int]) -> list[tuple[bytes, bytes]]:
        """Several of them."""
        return [self[index] for index in indices]


def generated() -> DepthSplit:
    """JPEGs of quality 90 and PNGs of 8 bits."""
    generator, pairs = np.random.default_rng(0), Generated()
    for _ in range(PICTURES):
        files = io.BytesIO(), io.BytesIO()
        pixels = picture(generator, *SOURCE)
        Image.fromarray(pixels).save(files[0], "JPEG", quality=90)
        depth = Image.fromarray(pixels[::8, ::8, 0]).resize(SOURCE[::-1], Image.Resampling.BILINEAR)
        depth.point(lambda level: max(level, 18)).save(files[1], "PNG")
        pairs.append(tuple(file.getvalue() for file in files))
    return DepthSplit(pairs, np.array([f"{row}" for row in range(PICTURES)]), 10 / 255)


def colours_by_steps(pixels: np.ndarray, row: int) -> np.ndarray:
    """Lighting, jitters and normalisation one after another in float32, as published, with NumPy."""
    draws = draw_epoch(PICTURES, 0, 0)
    image = pixels.astype(np.float32) / 255 + np.float32(draws.lighting[row])
    grey = np.float32([0.299, 0.587, 0.114])
    for kind in ORDERS[draws.orders[row]]:
        share = np.float32(draws.jitters[row][kind])
        if kind == 0:
            image = image * (1 - share)
        else:
            reference = (image @ grey)[..., None]
            image = image + share * ((reference.mean() if kind == 1 else reference) - image)
    return (image - np.float32(MEAN)) / np.float32(STD)


def colours_by_map(pixels: np.ndarray, colour: np.ndarray) -> np.ndarray:
    """The same as one affine map, with NumPy."""
    matrix, offset = colour[:, :3], colour[:, 3]
    matrix = matrix / np.float32(STD)[:, None]
    return pixels @ (matrix.T / np.float32(255)) + (offset - np.float32(MEAN)) / np.float32(STD)


def cost(work: Callable[[int], object], count: int) -> float:
    """Median over turns of the milliseconds of CPU time that `work` takes per picture."""
    turns = []
    for turn in range(image_pipeline.TURNS.value + 1):
        clock = time.process_time()
        for row in range(count):
            work(row)
        if turn:  # the first fills caches and compiles
            turns.append(1000 * (time.process_time() - clock) / count)
    return statistics.median(turns)


def costs(split: DepthSplit, view: View) -> dict[str, float]:
    """Milliseconds of a core per picture, by step."""
    count = min(PICTURES, len(split.names))
    draws, pairs = draw_epoch(PICTURES, 0, 0), split.pairs.read([*range(count)])
    pictures, maps = [decode_rgb(image) for image, _ in pairs], [decode_depth(depth) for _, depth in pairs]
    seen = [see_image(pixels, view) for pixels in pictures]
    turn = {"flip": True, "angle": 3.3}

    def colour(row: int) -> np.ndarray:
        return colour_map(seen[row], draws.lighting[row], draws.jitters[row], ORDERS[draws.orders[row]])

    colours = np.stack([colour(row) for row in range(count)])
    batch = jax.device_put({"input": np.stack(seen), "colour": colours})
    device = jax.jit(network_input)
    steps = {
        "decode the picture": lambda row: decode_rgb(pairs[row][0]),
        "decode the map": lambda row: decode_depth(pairs[row][1]),
        "scale, flip, rotate, crop the picture": lambda row: see_image(pictures[row], view, **turn),
        "the same of the map, halved": lambda row: see_depth(maps[row], view, **turn, half=True),
        "its colours as 12 numbers": colour,
    }
    found = {f"worker: {name}": cost(work, count) for name, work in steps.items()}
    found["worker, all of these"] = sum(found.values())
    other = {
        "colours on the worker, one affine map": lambda row: colours_by_map(seen[row], colours[row]),
        "colours on the worker, step by step": lambda row: colours_by_steps(seen[row], row),
    }
    on_device = cost(lambda _: device(batch).block_until_ready(), 1) / count
    found["colours on the device (here: XLA on the CPU)"] = on_device
    return found | {name: cost(work, count) for name, work in other.items()}


def rates(split: DepthSplit, view: View, workers: int) -> dict[str, float]:
    """Pictures per second of the pipeline, by the clock."""
    options = {"height": view.height, "width": view.width, "batch_size": 16, "seed": 0}
    batches = train_batches(split, **options, workers=workers)
    warm = 3 * READY * max(workers, 1)
    try:
        turns = [pipeline_rate(batches, warm, 4) for _ in range(3)]
    finally:
        batches.close()
    return {"workers": workers, "pictures/s": statistics.median(turns)}


def main() -> None:
    before, dataset = cpu_times(), image_pipeline.DATASET.value
    split = load_depths(dataset, image_pipeline.DATA_DIR.value).splits["train"] if dataset else generated()
    view = View(HEIGHT.value, HEIGHT.value * 4 // 3)
    found = costs(split, view)
    frame = pd.DataFrame([rates(split, view, workers) for workers in image_pipeline.WORKERS.value]).round(1)
    others = others_share(before, cpu_times())
    fed, needed = CORES.value * 1000 / found["worker, all of these"], 1000 * TFLOPS.value / GFLOP.value
    source = dataset or "480 x 640 pixels, generated,"
    table = pd.DataFrame({"step": [*found], "ms": [round(value, 2) for value in found.values()]})
    text = "\n\n".join(
        [
            "# Rate of the input pipeline of depth",
            f"Pictures of {source} to {view.height} x {view.width}; milliseconds of CPU time per picture, medians of "
            f"{image_pipeline.TURNS.value} turns.",
            markdown(table),
            "By the clock, batches of 16:",
            markdown(frame),
            f"{CORES.value} cores make {fed:,.0f} pictures/s; an accelerator of {TFLOPS.value:g} TFLOP/s at "
            f"{GFLOP.value:g} GFLOP per picture takes {needed:,.0f} (computed, not measured), so they make "
            f"{fed / needed:.1f} times what it takes. Other programs used {100 * others:.0f} % of the cores.\n",
        ]
    )
    print(text, end="")
    if image_pipeline.OUTPUT.value:
        write_atomic(image_pipeline.OUTPUT.value, text)


if __name__ == "__main__":
    cli.run(main)
