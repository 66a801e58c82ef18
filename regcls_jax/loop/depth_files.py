"""Predicted depth maps on disk: 16-bit PNG in millimetres, or one NumPy array in metres."""

import io
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from regcls_jax.data.depth.splits import DepthSplit
from regcls_jax.data.prepared import Prepared
from regcls_jax.store.files import write_atomic

MILLIMETRES = 1000


def depth_png(depths: np.ndarray) -> bytes:
    """A 16-bit PNG of a map [h, w] in m: millimetres, limited to what 16 bits hold, 0 to 65.535 m."""
    buffer = io.BytesIO()
    top = np.iinfo(np.uint16).max
    Image.fromarray(np.rint(depths * MILLIMETRES).clip(0, top).astype(np.uint16)).save(buffer, "PNG")
    return buffer.getvalue()


def write_depths(
    path: str | os.PathLike, data: Prepared, split: DepthSplit, found: Iterator[tuple[np.ndarray, np.ndarray]]
) -> None:
    """Writes the predicted maps of a split, in the resolution of the network, of what it sees of each picture.

    Args:
      path: a file that ends in .npy gets all maps, float32 [n, h, w] in m, in the order of the sorted names; any other
        path is a folder, which gets NAME.png per picture NAME.jpg, in millimetres.
      data: what the network was trained on.
      split: the pictures.
      found: rows [b] and maps [b, h, w], batch by batch.

    Raises ValueError where two pictures differ in their suffix alone.
    """
    path = Path(path)
    stems = [str(Path(name).with_suffix("")) for name in split.names]
    if path.suffix != ".npy" and (twice := {stem for stem in stems if stems.count(stem) > 1}):
        raise ValueError(f"several pictures are called {min(twice)}, and so would their depths; give --out=depths.npy")
    if path.suffix == ".npy":
        buffer = io.BytesIO()
        np.save(buffer, np.concatenate([values for _, values in found]))
        write_atomic(path, buffer.getvalue())
        return
    for rows, values in found:
        for row, depths in zip(rows, values, strict=True):
            file = (path / str(split.names[row])).with_suffix(".png")
            file.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(file, depth_png(depths))
