"""Pictures that are generated, prepared as a data set, and the rate at which a pipeline makes batches of them."""

import contextlib
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from regcls_jax.data.batches import Batch
from regcls_jax.data.images.prepare import prepare
from regcls_jax.data.images.splits import ImageSplit, load_images


def picture(generator: np.random.Generator, height: int, width: int) -> np.ndarray:
    """A picture uint8 [height, width, 3] with coarse structure and some noise."""
    coarse = Image.fromarray(generator.integers(0, 256, (8, 8, 3), dtype=np.uint8))
    smooth = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC))
    return (smooth + generator.normal(0, 4, smooth.shape)).clip(0, 255).astype(np.uint8)


def generate(folder: Path, images: int, pixels: int) -> None:
    """Writes JPEGs of quality 90, named as UTKFace's images are."""
    folder.mkdir()
    generator = np.random.default_rng(0)
    for number in range(images):
        Image.fromarray(picture(generator, pixels, pixels)).save(folder / f"30_0_0_{number:06}.jpg", quality=90)


@contextlib.contextmanager
def generated_split(images: int, pixels: int) -> Iterator[ImageSplit]:
    """The training split of a data set of generated JPEGs; its files are removed afterwards."""
    with tempfile.TemporaryDirectory() as folder:
        generate(Path(folder) / "images", images, pixels)
        with contextlib.redirect_stdout(sys.stderr):  # TFDS prints where it writes
            prepare("utkface", f"{folder}/images", f"{folder}/tfds")
        yield load_images("utkface", f"{folder}/tfds").splits["train"]


def pipeline_rate(batches: Iterator[Batch], warm: int, count: int) -> float:
    """Images per second of `count` batches, after `warm` that empty the queues; padding does not count."""
    for _ in range(warm):
        next(batches)
    clock = time.perf_counter()
    images = sum(next(batches)["mask"].sum() for _ in range(count))
    return images / (time.perf_counter() - clock)
