"""Depth maps as numbers and as metres."""

import io

import numpy as np
import pytest
from depth_pairs import levels, millimetres, npy
from face_images import encode
from PIL import Image

from regcls_jax.data.depth.decoding import decode_depth, metres

DEPTH = np.array([[0, 1.0, 2.0], [9.9, 4.2, 0.7]])


def test_pngs_of_8_and_16_bits_are_read_as_they_are():
    raw = decode_depth(levels(DEPTH))
    assert (raw.dtype, raw.tolist()) == (np.uint8, [[0, 26, 51], [252, 107, 18]])
    raw = decode_depth(millimetres(DEPTH * 6))
    assert (raw.dtype, raw.tolist()) == (np.uint16, [[0, 6000, 12000], [59400, 25200, 4200]])


def test_numbers_that_are_no_measurement_are_0_in_a_npy_file():
    raw = decode_depth(npy(np.array([[np.nan, np.inf, -np.inf], [-1, 0, 2.5]])))
    assert raw.dtype == np.float32
    np.testing.assert_array_equal(raw, [[0, 0, 0], [0, 0, 2.5]])


def test_metres_are_rounded_once_so_that_whole_ones_are_whole():
    every = np.arange(256, dtype=np.uint8)[None]
    np.testing.assert_array_equal(metres(every, 10 / 255), np.float32(np.arange(256) / 25.5)[None])
    assert metres(every, 10 / 255)[0, 51::51].tolist() == [2, 4, 6, 8, 10]
    assert metres(np.uint16([[65535]]), 1 / 1000).tolist() == [[np.float32(65.535)]]
    result = metres(np.float32([[1.5, 0]]), 0.5)
    assert (result.dtype, result.tolist()) == (np.float32, [[0.75, 0]])


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is no image"),
        (levels(DEPTH)[:50], "truncated|broken|not enough"),
        (encode(np.zeros((4, 4, 3), np.uint8), "PNG"), "mode RGB; a depth map is a grey PNG"),
        (npy(np.zeros((2, 2, 3))), r"has shape \(2, 2, 3\)"),
        (npy(DEPTH)[:-4], "is no .npy file|."),
    ],
)
def test_anything_else_is_refused(data, message):
    with pytest.raises(ValueError, match=message):
        decode_depth(data)


def test_objects_and_floating_point_pictures_are_refused():
    buffer = io.BytesIO()
    np.save(buffer, np.array([["far"]]))
    with pytest.raises(ValueError, match="a depth map holds real numbers"):
        decode_depth(buffer.getvalue())
    buffer = io.BytesIO()
    Image.fromarray(np.ones((2, 2), np.float32)).save(buffer, "TIFF")
    with pytest.raises(ValueError, match="mode F; a depth map"):
        decode_depth(buffer.getvalue())
