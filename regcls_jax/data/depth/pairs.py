"""Pictures and depth maps as they arrive, in pairs: in a folder, in an archive, or in both."""

import os
import re
from collections.abc import Hashable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import tqdm

from regcls_jax.data.depth.decoding import decode_depth, metres
from regcls_jax.data.depth.transforms import View, see_depth
from regcls_jax.data.images.check import decodable
from regcls_jax.data.images.decoding import decode_rgb
from regcls_jax.data.images.files import SUFFIXES, ImageFiles
from regcls_jax.devices import cores

# The folders of a plain source, and the files in the second.
IMAGES, DEPTHS = "images", "depths"
DEPTH_SUFFIXES = (".png", ".npy")
PLACED = re.compile(rf"(?P<top>(?:.*?/)?)(?P<kind>{IMAGES}|{DEPTHS})/(?P<stem>.+)\.\w+$")
# Depths of .npy files are counted to the millimetre.
PER_METRE = 1000


class PairFiles:
    """Reads pairs by the name of the picture. Reading is safe from several threads."""

    def __init__(self, files: ImageFiles, depths: Mapping[str, str | None]) -> None:
        """`depths`: picture -> depth map, or None where there is none."""
        self._files, self._depths = files, depths

    def stamp(self, name: str) -> Hashable:
        """What changes when one of the two files does."""
        depth = self._depths[name]
        return self._files.stamp(name), depth, depth and self._files.stamp(depth)

    def read(self, name: str) -> tuple[bytes, bytes]:
        """The content of both files. Raises OSError where one is missing or damaged."""
        return self._files.read(name), self.read_depth(name)

    def read_depth(self, name: str) -> bytes:
        """The content of the depth map alone."""
        return self._files.read(self._depths[name] or "")

    def usable(self, name: str) -> bytes:
        """The content of a pair that can be decoded. Raises ValueError, saying what is wrong, if it cannot be."""
        depth = self._depths[name]
        if depth is None:
            raise ValueError(f"has no partner in {DEPTHS if _kind(name) == IMAGES else IMAGES}/")
        picture, pixels = decodable(self._files, name, decode_rgb)
        try:
            depths, raw = decodable(self._files, depth, decode_depth)
        except ValueError as error:
            raise ValueError(f"its depth map {depth} is {error}") from error
        if pixels.shape[:2] != raw.shape:
            sizes = [f"{width} x {height}" for height, width in (pixels.shape[:2], raw.shape)]
            raise ValueError(f"has {sizes[0]} pixels, and its depth map {depth} {sizes[1]}")
        if not raw.any():
            raise ValueError(f"its depth map {depth} has no measured pixel")
        return picture + depths


def usable_pair(pairs: PairFiles, name: str) -> bytes:
    """`PairFiles.usable`, as `check_images` asks for it."""
    return pairs.usable(name)


def find_pairs(files: ImageFiles, source: str | os.PathLike) -> dict[str, str | None]:
    """Picture -> depth map of `images/ID.jpg` (.png) and `depths/ID.png` (.npy); ID may have folders of its own.

    A picture without a depth map has None; so has a depth map without a picture, under its own name.

    Raises ValueError, naming `source`, where it has no pictures, or two files of one ID.
    """
    found: dict[str, dict[str, str]] = {IMAGES: {}, DEPTHS: {}}
    for name in files.names((*SUFFIXES, *DEPTH_SUFFIXES)):
        placed = PLACED.match(name)
        if placed is None or not name.lower().endswith(SUFFIXES if placed["kind"] == IMAGES else DEPTH_SUFFIXES):
            continue
        place = f"{placed['top']}{placed['stem']}"
        if place in found[placed["kind"]]:
            raise ValueError(f"{source}: {name} and {found[placed['kind']][place]} are of one picture; keep one")
        found[placed["kind"]][place] = name
    if not found[IMAGES]:
        raise ValueError(f"{source} has no pictures {IMAGES}/*.jpg, with {DEPTHS}/*.png or .npy")
    pairs = {name: found[DEPTHS].get(place) for place, name in found[IMAGES].items()}
    return pairs | {name: None for place, name in found[DEPTHS].items() if place not in found[IMAGES]}


def seen_depths(
    pairs: PairFiles, names: Sequence[str], scale: float, view: View, progress: str
) -> Iterator[np.ndarray]:
    """The view of each depth map in metres, float32, not augmented; 0 where nothing was measured.

    Of a .npy file to the millimetre. `progress` is what the progress bar is called.
    """

    def see(name: str) -> np.ndarray:
        raw = decode_depth(pairs.read_depth(name))
        depths = metres(see_depth(raw, view)[0], scale)
        return np.rint(depths * PER_METRE) / np.float32(PER_METRE) if raw.dtype == np.float32 else depths

    # Threads: the decoders release the interpreter lock.
    with ThreadPoolExecutor(cores()) as executor:
        yield from tqdm.tqdm(executor.map(see, names), progress, len(names), unit=" maps")


def _kind(name: str) -> str:
    placed = PLACED.match(name)
    return placed["kind"] if placed else IMAGES
