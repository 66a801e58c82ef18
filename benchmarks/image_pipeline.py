"""The rate of the input pipeline beside that of a bare loop that decodes and resizes the same JPEGs.

python benchmarks/image_pipeline.py [--data_dir=... --dataset=utkface] [--output=image_pipeline.md]
"""

import concurrent.futures
import contextlib
import io
import multiprocessing
import statistics
import time
from pathlib import Path

import pandas as pd
from absl import flags
from generated import generated_split, pipeline_rate
from measure import cpu_times, others_share
from PIL import Image

from regcls_jax import cli
from regcls_jax.data.batches import READY
from regcls_jax.data.images import decoding as image_decoding
from regcls_jax.data.images import pipeline as image_pipeline
from regcls_jax.data.images.splits import ImageSplit, load_images
from regcls_jax.report.tables import markdown
from regcls_jax.store.files import write_atomic

DATASET = flags.DEFINE_string("dataset", None, "A prepared data set; images are generated without it.")
DATA_DIR = flags.DEFINE_string("data_dir", str(Path(cli.CACHE_DIR) / "tfds"), "Where that data set is.")
IMAGES = flags.DEFINE_integer("images", 600, "How many images are generated.", lower_bound=30)
PIXELS = flags.DEFINE_integer("pixels", 256, "Height and width of the generated images.", lower_bound=8)
IMAGE_SIZE = flags.DEFINE_integer("image_size", 224, "Height and width of the batches.", lower_bound=8)
WORKERS = flags.DEFINE_multi_integer("workers", [0, 2], "Worker processes.", lower_bound=0)
BATCH_SIZE = flags.DEFINE_integer("batch_size", 64, "Images per batch.", lower_bound=1)
BATCHES = flags.DEFINE_integer("batches", 16, "Batches per turn.", lower_bound=1)
TURNS = flags.DEFINE_integer("turns", 7, "Turns of each of the two that are compared.", lower_bound=1)
OUTPUT = flags.DEFINE_string("output", None, "Markdown file to write.")

SETTLE_SECONDS = 1.5
_encoded: list[bytes] = []


def remember(encoded: list[bytes]) -> None:
    """Gives the images to a process of the bare loop."""
    _encoded[:] = encoded


def bare_loop(count: int, size: int) -> None:
    """Decodes and resizes `count` images, one after another, and forgets them."""
    for number in range(count):
        image_decoding.decode_rgb(_encoded[number % len(_encoded)], size)


def bare_seconds(pool: concurrent.futures.Executor | None, processes: int, count: int, size: int) -> float:
    """Seconds for `count` images, shared by the processes of the pool; in this process without one."""
    clock = time.perf_counter()
    if pool is None:
        bare_loop(count, size)
    else:
        list(pool.map(bare_loop, [count // processes] * processes, [size] * processes))
    return time.perf_counter() - clock


def compare(split: ImageSplit, workers: int) -> dict[str, float]:
    """Images per second of both and the median of their ratio, measured in turns; as many processes decode in both."""
    size, images = IMAGE_SIZE.value, BATCHES.value * BATCH_SIZE.value
    encoded = split.images.read(range(min(len(split.targets), images)))
    remember(encoded)
    pool = None
    if workers:
        context = multiprocessing.get_context("spawn")
        pool = concurrent.futures.ProcessPoolExecutor(workers, context, remember, (encoded,))
    batches = image_pipeline.train_batches(split, image_size=size, batch_size=BATCH_SIZE.value, seed=0, workers=workers)
    warm = 3 * READY * max(workers, 1)
    rates = []
    try:
        for turn in range(TURNS.value + 1):
            made = pipeline_rate(batches, warm, BATCHES.value)
            time.sleep(SETTLE_SECONDS)  # the pipeline fills its queues again, then rests
            bare = images / bare_seconds(pool, workers, images, size)
            if turn:  # the first starts processes
                rates.append((bare, made, made / bare))
    finally:
        batches.close()
        if pool:
            pool.shutdown()
    bare, made, ratio = (statistics.median(values) for values in zip(*rates, strict=True))
    ratios = [ratio for *_, ratio in rates]
    return {"workers": workers, "bare": bare, "pipeline": made, "ratio": ratio, "low": min(ratios), "high": max(ratios)}


def main() -> None:
    before = cpu_times()
    with contextlib.ExitStack() as stack:
        if DATASET.value is None:
            split = stack.enter_context(generated_split(IMAGES.value, PIXELS.value))
        else:
            split = load_images(DATASET.value, DATA_DIR.value).splits["train"]
        with Image.open(io.BytesIO(split.images[0])) as first:
            source = f"{first.width} x {first.height}"
        frame = pd.DataFrame([compare(split, workers) for workers in WORKERS.value])
    others = others_share(before, cpu_times())
    frame[["bare", "pipeline"]] = frame[["bare", "pipeline"]].map("{:,.0f}".format)
    frame["ratio"] = frame["ratio"].map("{:.2f}".format)
    frame["range"] = [f"{low:.2f}-{high:.2f}" for low, high in zip(frame.pop("low"), frame.pop("high"), strict=True)]
    text = "\n\n".join(
        [
            "# Rate of the input pipeline",
            f"Images/s, medians of {TURNS.value} turns: JPEGs of {source} pixels to {IMAGE_SIZE.value} x "
            f"{IMAGE_SIZE.value}; `bare` only decodes and resizes, in as many processes (0 workers: one thread).",
            markdown(frame),
            f"Other programs used {100 * others:.0f} % of the cores.\n",
        ]
    )
    print(text, end="")
    if OUTPUT.value:
        write_atomic(OUTPUT.value, text)


if __name__ == "__main__":
    cli.run(main)
