"""The geometry of recipes 5.3, of a picture uint8 [H, W, 3] and of its depth map [H, W].

Pixels of a depth map that are 0 were not measured, as those that a transformation finds outside.
"""

from typing import NamedTuple

import numpy as np
from PIL import Image
from scipy import ndimage

# As published: pictures of 480 x 640 are scaled to 240 x 320, of which the central 228 x 304 are seen.
SHORTER, HEIGHT, WIDTH = 240, 228, 304
# How depth maps are rotated and halved; see `see_depth`.
RESAMPLINGS = ("nearest", "published")


class View(NamedTuple):
    """What is seen of a picture: the central `height` x `width` pixels once it is scaled."""

    height: int = HEIGHT
    width: int = WIDTH

    @property
    def shorter(self) -> int:
        """The shorter side of the scaled picture, in the published ratio to the height."""
        return round(self.height * SHORTER / HEIGHT)

    def scaled(self, shape: tuple[int, ...]) -> tuple[int, int]:
        """Height and width of a scaled picture of this shape."""
        height, width = shape[:2]
        if width < height:
            return int(self.shorter * height / width), self.shorter
        return self.shorter, int(self.shorter * width / height)


def scale_image(pixels: np.ndarray, view: View) -> np.ndarray:
    """A picture uint8 [H, W, 3] at the size that a view scales it to, bilinearly; itself where it has that size."""
    height, width = view.scaled(pixels.shape)
    if pixels.shape[:2] == (height, width):
        return pixels
    return np.asarray(Image.fromarray(pixels).resize((width, height), Image.Resampling.BILINEAR))


def scale_depth(raw: np.ndarray, view: View) -> np.ndarray:
    """A depth map [H, W] at that size, by nearest pixels; itself where it has it."""
    return nearest(raw, view.scaled(raw.shape))


def see_image(pixels: np.ndarray, view: View, *, flip: bool = False, angle: float = 0.0) -> np.ndarray:
    """A picture as the network sees it, uint8 [height, width, 3]: scaled bilinearly, flipped, rotated, cropped.

    Args:
      pixels: uint8 [H, W, 3].
      view: what of it is seen; where the picture is too small for it, black is.
      flip: left to right.
      angle: in degrees, around the centre, by splines of order 2. Where they leave [0, 255] the end is taken, as SciPy
        does today; the SciPy of the published code wrapped around (recipes 4.4-14).
    """
    pixels = scale_image(pixels, view)
    return _turn(pixels[:, ::-1] if flip else pixels, view, angle, 2)


def see_depth(
    raw: np.ndarray,
    view: View,
    *,
    flip: bool = False,
    angle: float = 0.0,
    half: bool = False,
    resampling: str = "nearest",
) -> tuple[np.ndarray, np.ndarray]:
    """A depth map as `see_image` shows its picture, in its own units.

    Args:
      raw: uint8, uint16 or float32 [H, W]; 0 where nothing was measured. Scaled to the nearest pixel.
      view: as of the picture.
      flip: likewise.
      angle: likewise.
      half: whether the result has half the height and width, rounded up: the resolution that is trained on.
      resampling: "nearest" takes the nearest pixel in rotation and halving, so that every depth is a measured one;
        "published" rotates by splines of order 2 and halves by Pillow's default filter for 8 bits, bicubic from
        Pillow 7 on, which mix depths across edges and with 0.

    Returns:
      The map, of its type, and bool of its shape: whether the nearest pixel was measured.
    """
    raw = scale_depth(raw, view)
    if flip:
        raw = raw[:, ::-1]
    seen = _turn(raw, view, angle, 0)
    size = (-(-view.height // 2), -(-view.width // 2)) if half else (view.height, view.width)
    measured = nearest(seen, size) > 0
    if resampling == "nearest":
        return nearest(seen, size), measured
    return _halve(_turn(raw, view, angle, 2), size), measured


def nearest(array: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """`array` [H, W, ...] at another size (height, width): of every pixel the one around its centre."""
    if array.shape[:2] == size:
        return array
    rows, columns = (
        (2 * np.arange(new) + 1) * old // (2 * new) for new, old in zip(size, array.shape[:2], strict=True)
    )
    return array[rows[:, None], columns]


def _turn(array: np.ndarray, view: View, angle: float, order: int) -> np.ndarray:
    """The central `view` of an array [h, w] or [h, w, 3] turned as by `ndimage.rotate`, which would turn all of it."""
    size = view.height, view.width
    # Rounded as published; negative where the array is smaller.
    start = [round((old - new) / 2) for old, new in zip(array.shape[:2], size, strict=True)]
    if angle == 0:
        return _crop(array, start, size)
    turn = np.deg2rad(angle)
    matrix = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    centre = (np.array(array.shape[:2]) - 1) / 2
    offset = centre - matrix @ centre + matrix @ start
    result = np.empty((*size, *array.shape[2:]), array.dtype)
    for channel in np.ndindex(array.shape[2:]):
        plane = array[(..., *channel)]
        result[(..., *channel)] = ndimage.affine_transform(plane, matrix, offset, size, order=order)
    return result


def _crop(array: np.ndarray, start: list[int], size: tuple[int, int]) -> np.ndarray:
    result = np.zeros((*size, *array.shape[2:]), array.dtype)
    into, of = [], []
    for first, new, old in zip(start, size, array.shape[:2], strict=True):
        low, high = max(first, 0), min(first + new, old)
        into.append(slice(low - first, high - first))
        of.append(slice(low, high))
    result[tuple(into)] = array[tuple(of)]
    return result


def _halve(raw: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    if raw.shape == size:
        return raw
    # Pillow interpolates 8 bits and floats.
    image = Image.fromarray(raw if raw.dtype == np.uint8 else raw.astype(np.float32))
    halved = np.asarray(image.resize(size[::-1], Image.Resampling.BICUBIC))
    return halved if raw.dtype == np.uint8 else np.maximum(halved, 0)
