"""Encoded images to RGB pixels, equal to Pillow's: what torchvision's PIL pipeline of recipe 5.1 sees."""

import io

import numpy as np
import simplejpeg
from PIL import ExifTags, Image

JPEG_MAGIC = b"\xff\xd8\xff"
# simplejpeg turns CMYK into other RGB values than Pillow does, without an error.
COLOR_SPACES = ("YCbCr", "Gray")
# Of 16-bit images: 65,535 = 257 * 255.
PER_LEVEL = 257


def decode_rgb(data: bytes, size: int | None = None, *, mirror: bool = False) -> np.ndarray:
    """Decodes an image and resizes it bilinearly to a square; the aspect ratio is not kept (recipe 5.1).

    Common JPEGs go through simplejpeg, which gives the same pixels (both wrap libjpeg-turbo with its exact DCT) at up
    to 3 times Pillow's rate; everything else, and whatever simplejpeg finds fault with, goes through Pillow.

    Args:
      data: content of a JPEG, PNG or other file that Pillow reads.
      size: height and width of the result; None keeps those of the image.
      mirror: whether to flip left to right, after resizing.

    Returns:
      uint8 [height, width, 3]; it may be read-only.

    Raises:
      ValueError: the data is no image, a damaged one, or one of numbers that have no meaning as 8 bits.
    """
    pixels = _simplejpeg_rgb(data) if data.startswith(JPEG_MAGIC) else None
    if pixels is None:
        pixels = _pillow_rgb(data)
    resize = size is not None and pixels.shape[:2] != (size, size)
    if not resize and not mirror:
        return pixels
    image = Image.fromarray(pixels)
    if size is not None and resize:
        image = image.resize((size, size), Image.Resampling.BILINEAR)
    if mirror:  # by Pillow: a reversed NumPy view is copied 3 bytes at a time, 10 times as slowly
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return np.asarray(image)


def is_rotated(data: bytes) -> bool:
    """Whether an image that can be decoded has EXIF data by which viewers, unlike `decode_rgb`, turn or mirror it."""
    try:
        with Image.open(io.BytesIO(data)) as image:
            # Pillow itself turns a TIFF. Asking other files without EXIF data would decode some of them.
            if image.format == "TIFF" or "exif" not in image.info:
                return False
            return image.getexif().get(ExifTags.Base.Orientation, 1) in range(2, 9)
    except Exception:  # a broken EXIF block can raise anything, and viewers ignore it
        return False


def _simplejpeg_rgb(data: bytes) -> np.ndarray | None:
    try:
        if simplejpeg.decode_jpeg_header(data)[2] not in COLOR_SPACES:
            return None
        return simplejpeg.decode_jpeg(data)
    except ValueError:  # it also refuses what Pillow mends silently, so Pillow decides
        return None


def _pillow_rgb(data: bytes) -> np.ndarray:
    try:
        with Image.open(io.BytesIO(data)) as image:
            return _from_numbers(image) if image.mode[0] in "IF" else np.asarray(image.convert("RGB"))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:  # what Pillow's decoders raise
        # The text of an unidentified image is the address of a buffer.
        text = "is no image" if isinstance(error, Image.UnidentifiedImageError) else str(error)
        raise ValueError(text) from error


def _from_numbers(image: Image.Image) -> np.ndarray:
    """Grey RGB of an image of 16 bits, which Pillow keeps in a mode of 16 or of 32 bits."""
    if image.mode == "F":
        raise ValueError("floating-point pixels have no defined brightness; save it with 8 or 16 bits")
    values = np.asarray(image).astype(np.int64)
    if values.min() < 0 or values.max() > 255 * PER_LEVEL:
        raise ValueError(f"pixels from {values.min()} to {values.max()} are no 16-bit ones; save it with 8 or 16 bits")
    grey = ((values + PER_LEVEL // 2) // PER_LEVEL).astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=-1)
