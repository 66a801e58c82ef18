"""New images to predict: those that can be decoded, in order, and what is wrong with the others."""

import zipfile

import numpy as np
import pytest
from own_images import picture

from regcls_jax.data.images.pipeline import eval_batches
from regcls_jax.data.images.unlabelled import read_unlabelled


@pytest.fixture
def folder(tmp_path):
    generator = np.random.default_rng(0)
    for name in ("b.png", "a.png", "sub/c.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(picture(3.0, generator))
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff")
    (tmp_path / "notes.txt").write_text("no image")
    return tmp_path


def test_usable_images_in_order_and_the_faults_of_the_others(folder):
    split, faults = read_unlabelled(folder)
    assert split.names.tolist() == ["a.png", "b.png", "sub/c.png"]
    assert np.isnan(split.targets).all()
    assert list(faults) == ["broken.jpg"]
    assert faults["broken.jpg"].startswith("corrupt: ")
    assert split.images.read([2, 0]) == [(folder / name).read_bytes() for name in ("sub/c.png", "a.png")]
    batches = list(eval_batches(split, image_size=16, batch_size=2))
    assert [batch["mask"].sum() for batch in batches] == [2, 1]


def test_an_archive_serves_as_well(folder):
    with zipfile.ZipFile(folder / "new.zip", "w") as archive:
        archive.write(folder / "a.png", "inside/x.png")
    split, faults = read_unlabelled(folder)
    assert (split.names.tolist(), faults) == (["inside/x.png"], {})


def test_nothing_to_predict_is_told(tmp_path):
    with pytest.raises(OSError, match="there is no image folder"):
        read_unlabelled(tmp_path / "none")
    with pytest.raises(ValueError, match=r"holds no image that can be used \(0 cannot be\)"):
        read_unlabelled(tmp_path)
