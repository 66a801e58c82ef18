"""Small prepared depth data, and trainings of a network of one block on them."""

import contextlib

import pytest
from depth_pairs import write_pairs

from regcls_jax.data.depth.prepare import prepare_depths
from regcls_jax.data.depth.splits import load_depths
from regcls_jax.loop.depth import DepthRun
from regcls_jax.models import depth, resnet

NAME = "rooms"
SETTINGS = {
    **{"dataset": NAME, "image_height": 64, "image_width": 64, "layers": 18, "width": 4, "augment": False},
    **{"batch_size": 8, "accumulate": 1, "epochs": 2, "learning_rate": 0.01, "weight_decay": 0.0},
}


def depth_run(arm="reg", seed=0, **changes):
    return DepthRun(arm=arm, seed=seed, **{**SETTINGS, **changes})


def prepare_rooms(folder, count=30):
    """Prepares `count` pairs in `folder`; returns the data set: 3 of 10 are not trained on."""
    write_pairs(folder / "pairs", count)
    prepare_depths(NAME, folder / "pairs", folder / "data", scale=1 / 25.5, seed=0)
    return load_depths(NAME, folder / "data")


@contextlib.contextmanager
def one_block():
    """In place of ResNet-18 one block: compiling that takes a tenth of the time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(resnet.DEPTHS, 18, ((1,), resnet.BasicBlock))
        patch.setitem(depth.DEPTHS, 18, ((1,), resnet.BasicBlock))
        yield
