"""Decoding and resizing, against Pillow."""

import io

import numpy as np
import pytest
from face_images import encode, face
from PIL import ExifTags, Image

from regcls_jax.data.images.decoding import decode_rgb, is_rotated


def pillow(data, size):
    image = Image.open(io.BytesIO(data)).convert("RGB")
    return np.asarray(image if size is None else image.resize((size, size), Image.Resampling.BILINEAR))


def picture(height, width):
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    pixels[: height // 2] = face(60, width, np.random.default_rng(1))[: height // 2]
    return pixels


@pytest.mark.parametrize("size", [None, 24, 61])
@pytest.mark.parametrize(
    ("kind", "mode"),
    [("JPEG", "RGB"), ("JPEG", "L"), ("JPEG", "CMYK"), ("PNG", "RGB"), ("PNG", "L"), ("PNG", "RGBA"), ("PNG", "P")],
)
def test_equals_pillow_in_every_mode(kind, mode, size):
    data = encode(picture(37, 43), kind, mode)
    pixels = decode_rgb(data, size)
    assert pixels.dtype == np.uint8
    np.testing.assert_array_equal(pixels, pillow(data, size))


@pytest.mark.parametrize("options", [{"subsampling": 0}, {"subsampling": 1}, {"subsampling": 2}, {"progressive": True}])
@pytest.mark.parametrize("quality", [30, 95])
def test_equals_pillow_for_every_kind_of_jpeg(quality, options):
    buffer = io.BytesIO()
    Image.fromarray(picture(37, 43)).save(buffer, "JPEG", quality=quality, **options)
    np.testing.assert_array_equal(decode_rgb(buffer.getvalue()), pillow(buffer.getvalue(), None))


def test_the_aspect_ratio_is_not_kept_and_an_image_of_the_right_size_is_not_resampled():
    assert decode_rgb(encode(picture(30, 50)), 20).shape == (20, 20, 3)
    np.testing.assert_array_equal(decode_rgb(encode(picture(32, 32), "PNG"), 32), picture(32, 32))


@pytest.mark.parametrize("size", [None, 24])
def test_mirrors_left_to_right(size):
    data = encode(picture(37, 43))
    np.testing.assert_array_equal(decode_rgb(data, size, mirror=True), np.fliplr(pillow(data, size)))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is no image"),
        (b"<html>not found</html>", "is no image"),
        (encode(picture(64, 64))[:-400], "truncated"),
        (encode(picture(64, 64))[:600], "Truncated"),
        (encode(picture(64, 64), "PNG")[:600], "truncated"),
        (b"\xff\xd8\xff" + bytes(100), "is no image"),
    ],
)
def test_damaged_data_is_an_error(data, message):
    with pytest.raises(ValueError, match=message):
        decode_rgb(data)


def saved(array, kind):
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, kind)
    return buffer.getvalue()


@pytest.mark.parametrize(("dtype", "kind"), [("<u2", "PNG"), ("<u2", "TIFF"), (">u2", "TIFF"), ("<i4", "TIFF")])
def test_sixteen_bits_become_eight_over_their_whole_range(dtype, kind):
    ramp = np.arange(65_536).reshape(256, 256).astype(dtype)
    pixels = decode_rgb(saved(ramp, kind))
    assert pixels.dtype == np.uint8
    assert pixels.shape == (256, 256, 3)
    np.testing.assert_array_equal(pixels, np.round(ramp[..., None] / 257).repeat(3, -1))
    assert decode_rgb(saved(ramp, kind), 24).shape == (24, 24, 3)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.float32([[0, 0.5, 1]]), "floating-point pixels"),
        (np.int32([[0, 65_536]]), "from 0 to 65536 are no 16-bit ones"),
        (np.int32([[-1, 7]]), "from -1 to 7 are no 16-bit ones"),
    ],
)
def test_numbers_without_a_meaning_as_brightness_are_refused(values, message):
    with pytest.raises(ValueError, match=message):
        decode_rgb(saved(values, "TIFF"))


def rotated(kind, orientation):
    buffer, exif = io.BytesIO(), Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    Image.fromarray(picture(20, 30)).save(buffer, kind, exif=exif)
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF"])
def test_a_rotation_in_exif_data_is_told_but_not_followed(kind):
    for orientation in range(1, 9):
        data = rotated(kind, orientation)
        # Pillow follows it in a TIFF by itself, so nothing is left to tell.
        assert is_rotated(data) == (orientation > 1 and kind != "TIFF")
        if kind != "TIFF":
            assert decode_rgb(data).shape == (20, 30, 3)


def test_broken_exif_data_rotates_nothing():
    data = bytearray(rotated("JPEG", 6))
    start = data.index(b"Exif\0\0") + 6
    data[start : start + 12] = b"\xff" * 12
    assert not is_rotated(bytes(data))
    assert not is_rotated(encode(picture(20, 30)))
