"""PyTorch weights: names, layouts, what does not fit."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict
from torch_rule import torch_entry

from regcls_jax.models.resnet import BasicBlock, ResNet
from regcls_jax.models.torch_weights import (
    encoder_from_state_dict,
    flax_path,
    from_state_dict,
    is_of_encoder,
    without_class_head,
)


@pytest.mark.parametrize(
    ("key", "ndim", "path"),
    [
        ("conv1.weight", 4, "params/conv1/kernel"),
        ("layer1.0.downsample.1.running_var", 1, "batch_stats/layer1_0/downsample_1/var"),
        ("layer3.22.bn2.weight", 1, "params/layer3_22/bn2/scale"),
        ("fc.bias", 1, "params/value_head/bias"),
        ("linear.weight", 2, "params/value_head/kernel"),
        ("linear_cls.weight", 2, "params/class_head/kernel"),
        ("D.up1.conv1_2.weight", 4, "params/D/up1/conv1_2/kernel"),
        ("R.conv0.weight", 4, "params/R/conv0/kernel"),
        ("R.conv2.weight", 4, "params/value_head/kernel"),
        ("R.reg.bias", 1, "params/value_head/bias"),
        ("R.cls.0.weight", 4, "params/class_head/up/kernel"),
        ("R.cls.2.bias", 1, "params/class_head/logits/bias"),
        ("FDS.epoch", 1, ""),
    ],
)
def test_names(key, ndim, path):
    assert "/".join(flax_path(key, ndim)) == path


MODEL = ResNet((1, 1), BasicBlock, 8, classes=3)
TORCH_SHAPES = {
    "conv1.weight": (8, 3, 7, 7),
    "layer1.0.conv1.weight": (8, 8, 3, 3),
    "layer1.0.conv2.weight": (8, 8, 3, 3),
    "layer2.0.conv1.weight": (16, 8, 3, 3),
    "layer2.0.conv2.weight": (16, 16, 3, 3),
    "layer2.0.downsample.0.weight": (16, 8, 1, 1),
    **{
        f"{norm}.{leaf}": (channels,)
        for norm, channels in [("bn1", 8), ("layer1.0.bn1", 8), ("layer1.0.bn2", 8)]
        + [("layer2.0.bn1", 16), ("layer2.0.bn2", 16), ("layer2.0.downsample.1", 16)]
        for leaf in ("weight", "bias", "running_mean", "running_var")
    },
    "linear.weight": (1, 16),
    "linear.bias": (1,),
    "linear_cls.weight": (3, 16),
    "linear_cls.bias": (3,),
}


def state(**shapes):
    """The whole state dict of MODEL; `shapes` with other shapes, or without what has shape None."""
    shapes = {**TORCH_SHAPES, **shapes}
    return {name: torch_entry(name, shape) for name, shape in shapes.items() if shape is not None}


@pytest.fixture(scope="module")
def variables():
    shapes = jax.eval_shape(MODEL.init, jax.random.key(0), jnp.zeros((1, 32, 32, 3)))
    return jax.tree.map(lambda leaf: jnp.full(leaf.shape, 9, leaf.dtype), shapes)


def test_every_entry_finds_its_place(variables):
    counters = {"bn1.num_batches_tracked": np.array(3)}
    loaded = from_state_dict({**state(), **counters}, variables)
    assert jax.tree.map(jnp.shape, loaded) == jax.tree.map(jnp.shape, variables)
    given = state()
    kernel = loaded["params"]["layer2_0"]["downsample_0"]["kernel"]
    assert kernel[0, 0, 5, 11] == given["layer2.0.downsample.0.weight"][11, 5, 0, 0]
    assert loaded["params"]["conv1"]["kernel"][6, 2, 1, 4] == given["conv1.weight"][4, 1, 6, 2]
    assert loaded["params"]["class_head"]["kernel"][7, 2] == given["linear_cls.weight"][2, 7]
    assert loaded["batch_stats"]["bn1"]["var"][3] == given["bn1.running_var"][3]
    total = sum(float(np.sum(values, dtype=np.float64)) for values in given.values())
    assert sum(np.asarray(leaf, np.float64).sum() for leaf in jax.tree.leaves(loaded)) == pytest.approx(total)


def test_prefixes_and_precisions(variables):
    expected = flatten_dict(from_state_dict(state(), variables))
    other = {f"module.{name}": values.astype(np.float64) for name, values in state().items()}
    for path, leaf in flatten_dict(from_state_dict(other, variables)).items():
        assert leaf.dtype == jnp.float32
        np.testing.assert_array_equal(leaf, expected[path])


@pytest.mark.parametrize(
    "prefix", ["_orig_mod.", "model.", "_orig_mod.module.", "module._orig_mod.", "model._orig_mod."]
)
def test_whatever_wraps_a_model(variables, prefix):
    got = from_state_dict({f"{prefix}{name}": values for name, values in state().items()}, variables)
    jax.tree.map(np.testing.assert_array_equal, got, from_state_dict(state(), variables))


# All buffers of the published module.
SMOOTHING = ["epoch", "running_mean", "running_var", "running_mean_last_epoch", "running_var_last_epoch"]
SMOOTHING += ["smoothed_mean_last_epoch", "smoothed_var_last_epoch", "num_samples_tracked"]


@pytest.mark.parametrize("prefix", ["", "module."])
def test_weights_of_an_encoder_alone(variables, prefix):
    """Into a network that has it as a submodule; the thousand classes of ImageNet are left out."""
    network = {name: {"E": tree, "value_head": {"kernel": jnp.zeros(3)}} for name, tree in variables.items()}
    given = {name.replace("linear_cls.", "fc."): entry for name, entry in state().items() if "linear." not in name}
    given = {f"{prefix}{name}": entry for name, entry in given.items()}
    assert is_of_encoder(given, "E")
    assert not is_of_encoder(given, "")
    assert not is_of_encoder({f"module.E.{name}": entry for name, entry in given.items()}, "E")
    loaded = encoder_from_state_dict(given, network, "E")
    expected = from_state_dict(state(), variables)
    for name, tree in expected.items():
        assert jax.tree.map(jnp.shape, loaded[name]) == jax.tree.map(jnp.shape, network[name])
        np.testing.assert_array_equal(loaded[name]["value_head"]["kernel"], 0)
        for module in tree.keys() - {"value_head", "class_head"}:
            jax.tree.map(np.testing.assert_array_equal, loaded[name]["E"][module], tree[module])
    with pytest.raises(ValueError, match=r"layer2.0.conv1.weight has shape \(8, 8, 3, 3\), not"):
        encoder_from_state_dict(state(**{"layer2.0.conv1.weight": (8, 8, 3, 3)}), network, "E")


def test_without_the_class_head():
    names = {"module.linear_cls.weight", "module.linear_cls.bias", "module.linear.bias"}
    given = {name: np.zeros((2, 2) if "weight" in name else 2, np.float32) for name in names}
    assert set(without_class_head(given)) == {"module.linear.bias"}
    given = {f"R.{name}": np.zeros((2, 2, 1, 1), np.float32) for name in ("cls.0.weight", "cls.2.weight", "reg.weight")}
    assert set(without_class_head(given)) == {"R.reg.weight"}


@pytest.mark.parametrize(("prefix", "module"), [("", ""), ("module.", ""), ("module.", "R.")])
def test_statistics_of_feature_smoothing_are_ignored_with_a_warning(variables, prefix, module):
    given = {**state(), **{f"{module}FDS.{name}": np.ones((97, 16), np.float32) for name in SMOOTHING}}
    with pytest.warns(
        UserWarning, match=rf"^8 statistics of feature smoothing \({prefix}{module}FDS.epoch, ...\) are ignored$"
    ):
        got = from_state_dict({f"{prefix}{name}": values for name, values in given.items()}, variables)
    jax.tree.map(np.testing.assert_array_equal, got, from_state_dict(state(), variables))


@pytest.mark.parametrize("heads", ["require", "keep"])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"conv1.weight": None}, r"params/conv1/kernel of shape \(7, 7, 3, 8\) is missing"),
        ({"bn1.running_var": None}, r"batch_stats/bn1/var of shape \(8,\) is missing"),
        ({"conv1.weight": (8, 1, 7, 7)}, r"conv1.weight has shape \(8, 1, 7, 7\), not \(8, 3, 7, 7\)"),
        ({"layer3.0.conv1.weight": (32, 16, 3, 3)}, r"layer3.0.conv1.weight of shape \(32, 16, 3, 3\) is unexpected"),
        ({"EMA.epoch": (1,)}, r"EMA.epoch of shape \(1,\) is unexpected"),
        ({"fc.bias": (1,)}, "fc.bias and linear.bias both map to params/value_head/bias"),
        ({name: None for name in TORCH_SHAPES if "layer" in name}, "and 20 more"),
    ],
)
def test_what_does_not_fit_the_trunk(variables, heads, change, message):
    with pytest.raises(ValueError, match=f"does not fit the model: .*{message}"):
        from_state_dict(state(**change), variables, heads=heads)


@pytest.mark.parametrize(
    ("change", "kept", "message"),
    [
        ({"linear_cls.weight": None, "linear_cls.bias": None}, "class_head", "params/class_head/bias"),
        ({"linear.weight": (1000, 16), "linear.bias": (1000,)}, "value_head", r"linear.bias has shape \(1000,\), not"),
        ({"linear.weight": (1, 12)}, "value_head", r"linear.weight has shape \(1, 12\), not \(1, 16\)"),
    ],
)
def test_a_head_that_does_not_fit_is_kept_whole_on_request(variables, change, kept, message):
    with pytest.raises(ValueError, match=message):
        from_state_dict(state(**change), variables)
    expected = from_state_dict(state(), variables)
    expected["params"][kept] = variables["params"][kept]
    got = from_state_dict(state(**change), variables, heads="keep")
    jax.tree.map(np.testing.assert_array_equal, got, expected)


def test_other_bad_input(variables):
    with pytest.raises(ValueError, match="bn1.bias holds int64"):
        from_state_dict({**state(), "bn1.bias": np.zeros(8, np.int64)}, variables)
    with pytest.raises(ValueError, match='"require" or "keep", got \'drop\''):
        from_state_dict(state(), variables, heads="drop")
