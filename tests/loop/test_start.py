"""The weights that a run starts from."""

import dataclasses
import shutil
from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from image_training import checkpoint, save_torch, small_run, train

from regcls_jax.loop.mesh import data_mesh
from regcls_jax.loop.start import load_checkpoint, starting_state, untrained_start
from regcls_jax.loop.steps import init_state, init_variables, make_engine
from regcls_jax.models.depth import Encoder
from regcls_jax.models.resnet import BasicBlock
from regcls_jax.prediction import Prediction

pytestmark = pytest.mark.usefixtures("small_network")


@pytest.fixture(scope="module")
def finished(faces, tmp_path_factory):
    """A workdir with a finished `reg`."""
    workdir = tmp_path_factory.mktemp("finished")
    train(small_run(epochs=1), faces, workdir)
    return workdir


def start(run, faces, workdir):
    return starting_state(make_engine(run, faces), faces, workdir)


def assert_trees_equal(left, right):
    jax.tree.map(np.testing.assert_array_equal, jax.device_get(left), jax.device_get(right))


def test_starts_from_the_best_weights_of_another_arm(faces, finished):
    reg, _ = checkpoint(small_run(epochs=1), faces, finished / "reg" / "seed0")
    heads = ("value_head", "class_head")
    trunk = {name: values for name, values in reg.params["model"].items() if name not in heads}
    for changes, kept in (
        ({"trainable": "value_head"}, False),  # RRT: a fresh head on frozen features
        ({"regression": "gai", "components": 2}, True),
        ({"classes": 4}, True),
    ):
        run = small_run("second", init_from="reg", **changes)
        state = start(run, faces, finished)
        model = state.params["model"]
        assert_trees_equal({name: model[name] for name in trunk}, trunk)
        assert_trees_equal(state.batch_stats, reg.batch_stats)
        assert int(state.step) == 0
        fresh = start(dataclasses.replace(run, init_from="", trainable="all"), faces, finished).params["model"]
        assert_trees_equal(model["value_head"], reg.params["model"]["value_head"] if kept else fresh["value_head"])
        assert ("class_head" in model) == bool(run.classes)
        if run.classes:
            assert_trees_equal(model["class_head"], fresh["class_head"])
    assert np.any(np.asarray(fresh["value_head"]["kernel"]) != reg.params["model"]["value_head"]["kernel"])


def test_starts_from_a_file_of_torch_weights(faces, finished, tmp_path):
    reg, _ = checkpoint(small_run(epochs=1), faces, finished / "reg" / "seed0")
    path = tmp_path / "reg.safetensors"
    save_torch(path, reg)
    state = start(small_run("from_file", init_from=str(path), classes=4), faces, tmp_path)
    model = dict(state.params["model"])
    model.pop("class_head")
    assert_trees_equal(model, reg.params["model"])
    assert_trees_equal(state.batch_stats, reg.batch_stats)


class Wrapped(nn.Module):
    """A network with a ResNet as its submodule, as that of depth has one."""

    encoder: ClassVar[str] = "E"

    @nn.compact
    def __call__(self, images, *, train=False, mask=None, transform=None):
        stages = Encoder((1,), BasicBlock, 4, jnp.float32, name=self.encoder)(images, train=train, mask=mask)
        return Prediction(nn.Dense(1, name="value_head")(stages[-1].mean((1, 2)))[:, 0])


def test_a_file_of_an_encoder_alone_starts_the_encoder_and_says_so(faces, tmp_path, capsys):
    path = tmp_path / "imagenet.safetensors"
    engine = make_engine(small_run("from_file", init_from=str(path)), faces)._replace(model=Wrapped())
    fresh = init_variables(engine)
    changed = jax.tree.map(lambda leaf: np.asarray(leaf) + 1, {name: tree["E"] for name, tree in fresh.items()})
    save_torch(
        path,
        init_state(engine, fresh)._replace(params={"model": changed["params"]}, batch_stats=changed["batch_stats"]),
    )
    state = starting_state(engine, faces, tmp_path)
    assert_trees_equal(state.params["model"], {**fresh["params"], "E": changed["params"]})
    assert_trees_equal(state.batch_stats["E"], changed["batch_stats"])
    assert f"Note: arm 'from_file', seed 0: {path} starts the encoder alone; all other" in capsys.readouterr().err


def test_rrt_trains_nothing_but_the_value_head(faces, finished, tmp_path):
    shutil.copytree(finished / "reg", tmp_path / "reg")
    run = small_run("rrt", init_from="reg", trainable="value_head", epochs=1)
    folder = train(run, faces, tmp_path)
    before, after = start(run, faces, tmp_path), checkpoint(run, faces, folder)[0]
    for name, values in after.params["model"].items():
        if name == "value_head":
            assert np.any(values["kernel"] != np.asarray(before.params["model"][name]["kernel"]))
        else:
            assert_trees_equal(values, before.params["model"][name])


def test_a_start_that_cannot_be_is_told(faces, finished, tmp_path):
    assert untrained_start(small_run("rrt", seed=1, init_from="reg"), finished) == finished / "reg" / "seed1"
    assert untrained_start(small_run("rrt", init_from="reg"), finished) is None
    with pytest.raises(ValueError, match=r"arm 'wide': the network of init_from 'reg' has another depth or width"):
        start(small_run("wide", init_from="reg", width=8), faces, finished)
    with pytest.raises(OSError, match=r"none\.safetensors"):
        start(small_run("file", init_from=str(tmp_path / "none.safetensors")), faces, finished)
    with pytest.raises(OSError, match=r"there is no checkpoint; train the run first"):
        load_checkpoint(tmp_path, make_engine(small_run(), faces), data_mesh())
