"""Published facts of NYUD2-DIR, its tables and its test mask."""

import io
import random

import numpy as np
import pytest
from depth_pairs import write_release

from regcls_jax.data import nyud2
from regcls_jax.data.images.files import ImageFiles


def test_published_counts():
    counts = nyud2.published_counts()
    assert counts.shape == (100,)
    assert counts.sum() == 3_513_286_656 == 50_688 * 228 * 304
    assert not counts[:7].any()
    assert (counts[7], counts[99]) == (25_848_691, 1_132_666)


def test_scenes_are_split_as_published():
    """Sorted names, shuffled by the generator of NumPy's old functions with seed 0; pictures in any order."""
    names = [f"nyu2_train/room_{scene}/{number}.jpg" for scene in range(284) for number in range(1 + scene % 3)]
    random.Random(1).shuffle(names)
    trained = nyud2.split_scenes(names)
    scenes = sorted({name.split("/")[1] for name in names})
    indices = np.arange(284)
    generator = np.random.RandomState(0)
    generator.shuffle(indices)
    expected = {scenes[index] for index in indices[:227]}  # (4 * 284) // 5
    assert {name.split("/")[1] for name, one in zip(names, trained, strict=True) if one} == expected
    assert {name.split("/")[1] for name, one in zip(names, trained, strict=True) if not one} == {*scenes} - expected


def test_rows_of_a_table_have_lost_their_first_folder(tmp_path):
    write_release(tmp_path, scenes=2, each=1)
    rows = nyud2.read_rows(ImageFiles(tmp_path), "nyu2_train.csv")
    assert rows == {f"nyu2_train/scene_{n:03}_out/1.jpg": f"nyu2_train/scene_{n:03}_out/1.png" for n in (1, 0)}
    assert [*rows] == sorted(rows, reverse=True), "in the order of the table"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("data/nyu2_train/a/1.jpg,data/nyu2_train/a/1.png\ndata/nyu2_train/a/2.jpg\n", "line 2: .* is no pair data/"),
        ("a/1.jpg,a/1.png\n", "line 1: 'a/1.jpg,a/1.png' is no pair"),
        ("data/t/a/1.jpg,data/t/a/1.png\n\ndata/t/a/1.jpg,data/t/a/1.png\n", "line 3: data/t/a/1.jpg was given"),
        ("data/t/a/1.jpg,data/../../1.png\n", "line 1: .* is no pair"),
    ],
)
def test_a_wrong_line_is_named(tmp_path, text, message):
    (tmp_path / "nyu2_train.csv").write_text(text)
    with pytest.raises(ValueError, match=rf"nyu2_train.csv, {message}"):
        nyud2.read_rows(ImageFiles(tmp_path), "nyu2_train.csv")


def test_a_missing_table_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="has no nyu2_test.csv"):
        nyud2.read_rows(ImageFiles(tmp_path), "nyu2_test.csv")


def test_a_balanced_mask_has_equally_many_pixels_of_every_bucket_that_has_some():
    generator = np.random.default_rng(0)
    depths = generator.gamma(3, 1, (5, 60, 80)).astype(np.float32)
    depths[0, :3] = 0  # not measured
    depths[0, 3] = 12  # counts as the last bucket
    depths[(depths >= 4) & (depths < 4.1)] = 0
    buckets = [min(int(depth * np.float32(10)), 99) for depth in depths.ravel()]
    counts = np.bincount(buckets, minlength=100)
    mask = nyud2.balanced_mask(depths)
    assert (mask.dtype, mask.shape) == (bool, depths.shape)
    kept = np.bincount(np.array(buckets)[mask.ravel()], minlength=100)
    least = counts[7:][counts[7:] > 0].min()
    expected = np.where(counts > 0, least, 0)
    expected[:7] = 0
    assert counts[40] == 0
    np.testing.assert_array_equal(kept, expected)
    np.testing.assert_array_equal(mask, nyud2.balanced_mask(depths))
    assert (mask != nyud2.balanced_mask(depths, seed=1)).any()


def test_a_test_set_without_far_pixels_is_an_error():
    with pytest.raises(ValueError, match=r"no test pixel is 0.7 m or more away; are the depths millimetres\?"):
        nyud2.balanced_mask(np.full((1, 4, 4), 0.002, np.float32))


def test_a_published_mask_is_read_and_one_of_another_shape_refused(tmp_path):
    assert nyud2.read_mask(ImageFiles(tmp_path), (2, 3, 4)) is None
    mask = np.random.default_rng(0).random((2, 3, 4)) < 0.5
    buffer = io.BytesIO()
    np.save(buffer, mask.astype(np.uint8))
    (tmp_path / nyud2.MASK).write_bytes(buffer.getvalue())
    np.testing.assert_array_equal(nyud2.read_mask(ImageFiles(tmp_path), (2, 3, 4)), mask)
    with pytest.raises(ValueError, match=r"test_balanced_mask.npy has shape \(2, 3, 4\); .* need \(3, 3, 4\)"):
        nyud2.read_mask(ImageFiles(tmp_path), (3, 3, 4))


def test_a_published_mask_that_cannot_be_read_is_not_replaced_by_a_drawn_one(tmp_path):
    (tmp_path / nyud2.MASK).mkdir()
    with pytest.raises(OSError, match=nyud2.MASK):
        nyud2.read_mask(ImageFiles(tmp_path), (2, 3, 4))
