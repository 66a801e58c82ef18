"""Encoded depth maps to numbers, and numbers to metres."""

import functools
import io

import numpy as np
from PIL import Image

NPY_MAGIC = b"\x93NUMPY"
# Types of a decoded map that have a table of metres, and the mode that Pillow has for them.
LEVELS = {"uint8": 256, "uint16": 65536}


def decode_depth(data: bytes) -> np.ndarray:
    """The numbers of a depth map: uint8 or uint16 [H, W] of a PNG, float32 [H, W] of a .npy file.

    0 stands for what was not measured; negative, infinite and NaN numbers of a .npy file are made 0.

    Raises:
      ValueError: the data is neither, damaged, or has several channels.
    """
    raw = _npy(data) if data.startswith(NPY_MAGIC) else _picture(data)
    if raw.ndim != 2:
        raise ValueError(f"has shape {raw.shape}; a depth map has one number per pixel")
    return raw


def metres(raw: np.ndarray, scale: float) -> np.ndarray:
    """`raw` (`decode_depth`, or float32) times `scale`, metres per unit; float32, rounded once."""
    if raw.dtype.name in LEVELS:
        return _table(raw.dtype.name, scale)[raw]
    return (raw.astype(np.float64) * scale).astype(np.float32)


@functools.lru_cache(maxsize=4)
def _table(kind: str, scale: float) -> np.ndarray:
    return (np.arange(LEVELS[kind]) * scale).astype(np.float32)


def _npy(data: bytes) -> np.ndarray:
    try:
        raw = np.load(io.BytesIO(data), allow_pickle=False)
    except (OSError, EOFError) as error:
        raise ValueError(f"is no .npy file: {error}") from error
    if raw.dtype.kind not in "fiu":
        raise ValueError(f"holds {raw.dtype}; a depth map holds real numbers")
    raw = raw.astype(np.float32)
    return np.where(np.isfinite(raw) & (raw > 0), raw, np.float32(0))


def _picture(data: bytes) -> np.ndarray:
    try:
        with Image.open(io.BytesIO(data)) as image:
            mode, raw = image.mode, np.asarray(image)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:  # what Pillow's decoders raise
        # The text of an unidentified image is the address of a buffer.
        raise ValueError("is no image" if isinstance(error, Image.UnidentifiedImageError) else str(error)) from error
    if mode == "L":
        return raw
    if mode[0] == "I" and raw.ndim == 2 and 0 <= raw.min() and raw.max() < LEVELS["uint16"]:
        return raw.astype(np.uint16)
    raise ValueError(f"has Pillow's mode {mode}; a depth map is a grey PNG of 8 or 16 bits, or a .npy file")
