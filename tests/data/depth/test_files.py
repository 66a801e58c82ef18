"""Pictures that were not prepared: to predict, and to be evaluated on."""

import numpy as np
import pytest
from depth_pairs import write_pairs

from regcls_jax.data.depth.files import read_labelled_pictures, read_unlabelled_pictures
from regcls_jax.data.depth.pipeline import eval_batches

EVAL = {"batch_size": 3, "height": 36, "width": 47}


def test_pictures_without_depth(tmp_path):
    write_pairs(tmp_path, 4)
    (tmp_path / "images/002.jpg").write_bytes(b"")
    split, faults = read_unlabelled_pictures(tmp_path / "images")
    assert split.names.tolist() == ["000.jpg", "001.jpg", "003.jpg"]
    assert faults == {"002.jpg": "corrupt: is no image"}
    (batch,) = eval_batches(split, **EVAL)
    assert batch["mask"].all()
    assert not batch["valid"].any()
    assert not batch["target"].any()
    labelled, _ = read_labelled_pictures(tmp_path, 1 / 25.5)
    (expected,) = eval_batches(labelled, **EVAL)
    np.testing.assert_array_equal(batch["input"], expected["input"])


def test_pictures_with_depth(tmp_path):
    write_pairs(tmp_path, 4)
    (tmp_path / "depths/001.png").unlink()
    split, faults = read_labelled_pictures(tmp_path, 1 / 25.5)
    assert split.names.tolist() == ["images/000.jpg", "images/002.jpg", "images/003.jpg"]
    assert faults == {"images/001.jpg": "has no partner in depths/"}
    (batch,) = eval_batches(split, **EVAL)
    assert batch["valid"].all()
    assert 0.7 < batch["target"].min() < batch["target"].max() < 9.9


def test_nothing_of_use(tmp_path):
    write_pairs(tmp_path, 1)
    (tmp_path / "depths/000.png").write_bytes(b"")
    with pytest.raises(ValueError, match=r"holds no pair that can be used; the first, images/000.jpg: its depth map"):
        read_labelled_pictures(tmp_path, 1.0)
