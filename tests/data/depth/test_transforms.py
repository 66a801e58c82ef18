"""The geometry of recipes 5.3 against Pillow's and SciPy's own functions on whole pictures."""

import numpy as np
import pytest
from depth_oracle import geometry
from PIL import Image

from regcls_jax.data.depth.transforms import View, nearest, see_depth, see_image

NEAREST = Image.Resampling.NEAREST
SHAPES = [(480, 640), (97, 131), (240, 320)]
VIEW = View(57, 76)  # a quarter of the published view, of pictures scaled to 60


def picture(shape, seed=0):
    """Blocks of noise: edges where splines overshoot, and fine structure."""
    generator = np.random.default_rng(seed)
    blocks = generator.integers(0, 256, (*(-(-side // 7) for side in shape[:2]), *shape[2:]))
    return blocks.repeat(7, 0).repeat(7, 1)[: shape[0], : shape[1]].astype(np.uint8)


def test_the_published_view():
    view = View()
    assert (view, view.shorter) == ((228, 304), 240)
    assert view.scaled((480, 640)) == (240, 320)
    assert view.scaled((640, 480, 3)) == (320, 240)
    assert view.scaled((427, 561)) == (240, 315)
    assert View(112, 152).shorter == 118
    assert VIEW.shorter == 60


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("flip", "angle"), [(False, 0.0), (True, 0.0), (False, 3.3), (True, -4.9)])
def test_pictures_are_seen_as_published(shape, flip, angle):
    pixels = picture((*shape, 3))
    expected = geometry(Image.fromarray(pixels), 60, (76, 57), flip, angle)
    np.testing.assert_array_equal(see_image(pixels, VIEW, flip=flip, angle=angle), expected)


def test_splines_that_overshoot_are_clipped():
    pixels = np.repeat(np.where(picture((60, 80)) > 127, 255, 0).astype(np.uint8)[..., None], 3, -1)
    seen = see_image(pixels, VIEW, angle=3.0)[..., 0].astype(float)
    wide = geometry(Image.fromarray(pixels[..., 0].astype(np.float32)), 60, (76, 57), False, 3.0)
    assert wide.max() > 265, "so that there is something to clip"
    assert wide.min() < -10
    assert np.abs(seen - wide.clip(0, 255)).max() <= 0.5 + 1e-3


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("flip", "angle"), [(False, 0.0), (True, 2.2), (False, -4.9)])
def test_published_maps_of_8_bits_are_rotated_by_splines_and_halved_by_pillow(shape, flip, angle):
    raw = picture(shape) // 2 + 20
    options = {"flip": flip, "angle": angle, "resample": NEAREST}
    seen, measured = see_depth(raw, VIEW, flip=flip, angle=angle, half=True, resampling="published")
    np.testing.assert_array_equal(seen, geometry(Image.fromarray(raw), 60, (76, 57), **options, result=(38, 29)))
    nearest_map = geometry(Image.fromarray(raw), 60, (76, 57), **options, order=0)
    np.testing.assert_array_equal(measured, np.asarray(Image.fromarray(nearest_map).resize((38, 29), NEAREST)) > 0)


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("half", [False, True])
def test_by_default_every_depth_is_a_measured_one_and_holes_stay_holes(kind, half):
    raw = picture((97, 131)).astype(kind)
    raw[raw % 5 == 0] = 0
    seen, measured = see_depth(raw, VIEW, flip=True, angle=4.0, half=half)
    assert seen.dtype == kind
    assert seen.shape == ((29, 38) if half else (57, 76))
    assert set(np.unique(seen)) <= {0, *np.unique(raw)}
    np.testing.assert_array_equal(measured, seen > 0)
    holes = (raw == 0).astype(np.uint8)
    outside = see_depth(np.ones_like(holes), VIEW, flip=True, angle=4.0, half=half)[0] == 0
    np.testing.assert_array_equal(~measured, outside | (see_depth(holes, VIEW, flip=True, angle=4.0, half=half)[0] > 0))


def test_a_rotation_leaves_corners_unmeasured():
    seen, measured = see_depth(np.full((240, 320), 9, np.uint8), View(), angle=5.0, half=True)
    assert not measured[0, 0] or not measured[0, -1]
    assert measured[57, 76]
    assert 0.97 < measured.mean() < 1
    np.testing.assert_array_equal(seen > 0, measured)


def test_picture_and_map_move_together():
    """A picture whose brightness is its depth, both seen at an angle."""
    y, x = np.mgrid[:240, :320]
    raw = (40 + x // 4 + y // 3).astype(np.uint8)
    for flip, angle in ((False, 4.0), (True, 4.0), (True, -3.0)):
        pixels = see_image(np.repeat(raw[..., None], 3, -1), View(), flip=flip, angle=angle)[..., 0]
        seen, measured = see_depth(raw, View(), flip=flip, angle=angle)
        inside = np.zeros_like(measured)
        inside[20:-20, 20:-20] = True
        assert np.abs(pixels[inside & measured].astype(int) - seen[inside & measured]).max() <= 2


def test_a_picture_that_is_too_small_is_framed_in_black_that_was_not_measured():
    pixels, raw = np.full((100, 60, 3), 200, np.uint8), np.full((100, 60), 7, np.uint8)
    seen, (depths, measured) = see_image(pixels, VIEW), see_depth(raw, VIEW)
    assert seen.shape == (57, 76, 3)
    np.testing.assert_array_equal(np.unique(np.flatnonzero(~measured.any(0))), [*range(8), *range(68, 76)])
    np.testing.assert_array_equal(seen[..., 0] == 200, measured)
    np.testing.assert_array_equal(depths, np.where(measured, 7, 0))


@pytest.mark.parametrize("size", [(240, 320), (118, 157), (7, 9), (487, 701)])
def test_nearest_pixels_are_pillows(size):
    array = picture((480, 640))
    np.testing.assert_array_equal(nearest(array, size), np.asarray(Image.fromarray(array).resize(size[::-1], NEAREST)))


def test_wide_depths_are_halved_without_wrapping():
    raw = np.zeros((240, 320), np.uint16)
    raw[:, 160:] = 60000
    seen, _ = see_depth(raw, View(), half=True, resampling="published")
    assert seen.min() == 0
    assert 60000 <= seen.max() < 70000, "bicubic interpolation overshoots"
