"""Small pictures of rooms with depth maps: what is farther is darker, so that networks can learn from them."""

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from face_images import encode

from regcls_jax.data.depth.splits import DepthSplit

SIZE = (48, 64)


def room(generator: np.random.Generator, size: tuple[int, int] = SIZE) -> tuple[np.ndarray, np.ndarray]:
    """A picture uint8 [*size, 3] and its depth in metres, float64 `size` from .8 to 9.8: planes and a box."""
    y, x = np.mgrid[: size[0], : size[1]] / np.array(size)[:, None, None]
    depth = 2 + 5 * generator.random() + generator.uniform(-1, 1) * x + generator.uniform(-1, 1) * y
    top, left = generator.random(2) * 0.6
    depth[(y > top) & (y < top + 0.3) & (x > left) & (x < left + 0.3)] -= 1 + generator.random()
    depth = np.clip(depth, 0.8, 9.8)
    picture = (250 - 20 * depth)[..., None] * np.array([1, 0.9, 0.8]) + generator.normal(0, 4, (*size, 3))
    return picture.clip(0, 255).astype(np.uint8), depth


def levels(depth: np.ndarray) -> bytes:
    """A PNG of 8 bits, 255 for 10 m."""
    return encode(np.rint(depth * 25.5).astype(np.uint8), "PNG", "L")


def millimetres(depth: np.ndarray) -> bytes:
    """A PNG of 16 bits."""
    return encode(np.rint(depth * 1000).astype(np.uint16), "PNG", "I;16")


def npy(depth: np.ndarray) -> bytes:
    """A .npy file of metres, float32."""
    buffer = io.BytesIO()
    np.save(buffer, depth.astype(np.float32))
    return buffer.getvalue()


def write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def write_pairs(folder: Path, count: int, *, size: tuple[int, int] = SIZE, seed: int = 0) -> list[str]:
    """Writes images/NUMBER.jpg and depths/NUMBER.png, of 8 bits; returns the names of the pictures."""
    generator = np.random.default_rng(seed)
    names = [f"images/{number:03}.jpg" for number in range(count)]
    for name in names:
        picture, depth = room(generator, size)
        write(folder / name, encode(picture))
        write(folder / name.replace("images", "depths").replace("jpg", "png"), levels(depth))
    return names


def write_release(folder: Path, scenes: int = 10, each: int = 2, tests: int = 3) -> None:
    """Writes what looks like the release of Hu et al., except that its pictures are small."""
    generator = np.random.default_rng(1)
    train, test = [], []
    for number in reversed(range(scenes * each)):
        place = f"nyu2_train/scene_{number // each:03}_out/{number % each + 1}"
        picture, depth = room(generator)
        write(folder / f"{place}.jpg", encode(picture))
        write(folder / f"{place}.png", levels(depth))
        train.append(f"data/{place}.jpg,data/{place}.png")
    for number in range(tests):
        place = f"nyu2_test/{number:05}"
        picture, depth = room(generator)
        write(folder / f"{place}_colors.png", encode(picture, "PNG"))
        write(folder / f"{place}_depth.png", millimetres(depth))
        test.append(f"data/{place}_colors.png,data/{place}_depth.png")
    (folder / "nyu2_train.csv").write_text("\n".join(train) + "\n")
    (folder / "nyu2_test.csv").write_text("\n".join(test) + "\n")


class MemoryPairs(list):
    """Encoded pairs in memory, read as those of a prepared data set are."""

    def read(self, indices: Sequence[int]) -> list[tuple[bytes, bytes]]:
        return [self[index] for index in indices]


def depth_split(count: int, *, size: tuple[int, int] = SIZE, holes: float = 0.0, seed: int = 0) -> DepthSplit:
    """A split of 8-bit maps without files; a share `holes` of the pixels was not measured."""
    generator, pairs = np.random.default_rng(seed), MemoryPairs()
    for _ in range(count):
        picture, depth = room(generator, size)
        depth[generator.random(size) < holes] = 0
        pairs.append((encode(picture, "PNG"), levels(depth)))
    return DepthSplit(pairs, np.array([f"room {row}" for row in range(count)]), 10 / 255)
