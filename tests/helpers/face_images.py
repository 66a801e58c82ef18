"""Small images that look faintly like faces and grow brighter with age, so that models can learn from them."""

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from regcls_jax.data.images.splits import ImageSplit


def face(age: float, size: int, generator: np.random.Generator) -> np.ndarray:
    """A bright oval before a dark background, uint8 [size, size, 3]; its brightness is 50 + 1.5 * age, with noise."""
    y, x = (np.mgrid[:size, :size] + 0.5) / size - 0.5
    oval = (x / 0.35) ** 2 + (y / 0.45) ** 2 < 1
    brightness = np.where(oval, 50 + 1.5 * age, 25)[..., None] * np.array([1, 0.85, 0.75])
    return (brightness + generator.normal(0, 5, (size, size, 3))).clip(0, 255).astype(np.uint8)


def encode(pixels: np.ndarray, kind: str = "JPEG", mode: str = "RGB") -> bytes:
    """The bytes of an image file."""
    buffer = io.BytesIO()
    options = {"quality": 90} if kind == "JPEG" else {}
    Image.fromarray(pixels).convert(mode).save(buffer, kind, **options)
    return buffer.getvalue()


def write_faces(folder: Path, ages: Sequence[int], size: int, seed: int = 0) -> list[str]:
    """Writes one JPEG per age, named as UTKFace names its images; returns the names, which sort in this order."""
    folder.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(seed)
    names = [f"{age}_0_0_{number:08}.jpg" for number, age in enumerate(ages)]
    for name, age in zip(names, ages, strict=True):
        (folder / name).write_bytes(encode(face(age, size, generator)))
    return names


class MemoryImages(list):
    """Encoded images in memory, read as those of a prepared data set are."""

    def read(self, indices: Sequence[int]) -> list[bytes]:
        return [self[index] for index in indices]


def face_split(ages: Sequence[int], size: int, seed: int = 0) -> ImageSplit:
    """A split of faces, one per age, without files."""
    generator = np.random.default_rng(seed)
    images = MemoryImages(encode(face(age, size, generator)) for age in ages)
    return ImageSplit(images, np.array(ages, np.float32), np.array([f"{row}.jpg" for row in range(len(ages))]))
