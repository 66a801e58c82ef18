"""The depth network: published numbers, shapes, initial weights, masks, PyTorch's names."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict
from torch_rule import torch_entry, torch_paths, torch_state

from regcls_jax.models.depth import depth_network
from regcls_jax.models.pixel_classes import pixel_logits
from regcls_jax.models.torch_weights import flax_layout, from_state_dict

KEY = jax.random.key(0, impl="rbg")


@functools.partial(jax.jit, static_argnums=(0, 3))
def applied(model, variables, x, train=False, mask=None, factor=None):
    """(Prediction, new statistics); `factor`: what the features are multiplied by before the heads."""
    transform = None if factor is None else lambda features: factor * features
    return model.apply(variables, x, train=train, mask=mask, transform=transform, mutable=["batch_stats"])


def logits_of(variables, features):
    head = variables["params"]["class_head"]
    return pixel_logits({name: (head[name]["kernel"], head[name]["bias"]) for name in head}, features)[0]


def deviation(got, expected):
    """Largest difference, in units of the largest expected value."""
    expected = np.asarray(expected, np.float64)
    assert np.shape(got) == expected.shape
    return np.abs(np.asarray(got, np.float64) - expected).max() / np.abs(expected).max()


def test_equals_the_published_network(golden):
    # nyud2_*.npz: golden numbers of the published code (PyTorch, float32), reg and reg+cls. By the rule the weights
    # of both are the same but those of the value heads, so the trunk runs once for both.
    files = {classes: np.load(golden / f"nyud2_{name}.npz") for classes, name in ((10, "regcls"), (0, "reg"))}
    model = depth_network(classes=10)
    shapes = jax.eval_shape(model.init, KEY, jnp.zeros((1, 64, 64, 3)))
    variables = from_state_dict(torch_state(files[10]["names"], shapes), shapes)
    entries = {
        leaf: torch_entry(f"R.conv2.{leaf}", shape) for leaf, shape in (("weight", (1, 128, 5, 5)), ("bias", (1,)))
    }
    plain_head = {"kernel": flax_layout(entries["weight"]), "bias": entries["bias"]}
    x = np.random.RandomState(1).standard_normal((1, 3, 228, 304)).transpose(0, 2, 3, 1)
    for train in (False, True):
        prediction, _ = applied(model, variables, jnp.array(x, jnp.float32), train)
        plain = nn.Conv(1, (5, 5), padding=2).apply({"params": plain_head}, prediction.features)
        for classes, value in ((10, prediction.value), (0, plain[..., 0])):
            if train:
                value = np.asarray(value, np.float64)
                # The published float32 is itself 2e-5 off float64, over the batch statistics of one image.
                expected = files[classes]["train_reg_mean_std"]
                np.testing.assert_allclose([value.mean(), value.std(ddof=1)], expected, rtol=1e-4)
            else:
                assert deviation(value, files[classes]["eval_reg"][:, 0]) < 1e-4
        if not train:
            assert prediction.logits is None
            logits = np.asarray(logits_of(variables, prediction.features), np.float64).reshape(-1, 10)
            assert logits.shape == tuple(files[10]["eval_cls_shape"])
            assert deviation(logits[:100], files[10]["eval_cls_first100"]) < 1e-4
            assert deviation(logits.sum(0), files[10]["eval_cls_sum"]) < 1e-4
    assert prediction.logits.shape == (1, 228, 304, 10)


@pytest.mark.parametrize(("name", "classes"), [("reg", 0), ("regcls", 10)])
def test_every_published_name_has_its_place(golden, name, classes):
    names = np.load(golden / f"nyud2_{name}.npz")["names"]
    shapes = jax.eval_shape(depth_network(classes=classes).init, KEY, jnp.zeros((1, 64, 64, 3)))
    places = {path for path in flatten_dict(shapes) if path[0] == "params"}
    assert set(torch_paths(names, shapes)) == set(names)
    assert set(torch_paths(names, shapes).values()) == places


def small(classes=3, dtype=jnp.float32):
    """(The network on ResNet-18 at an eighth of its width, its initial variables)."""
    model = depth_network(18, width=8, classes=classes, dtype=dtype)
    return model, initial(model)


@functools.cache
def initial(model):
    return jax.jit(model.init)(KEY, jnp.zeros((1, 64, 64, 3)))


def images(batch, height=64, width=64):
    return jnp.array(np.random.RandomState(1).standard_normal((batch, height, width, 3)), jnp.float32)


@pytest.mark.parametrize(
    ("layers", "width", "image", "value", "features"),
    [
        (50, 64, (228, 304), (114, 152), 128),
        (50, 16, (64, 64), (32, 32), 32),
        (101, 8, (65, 90), (34, 46), 16),
        (18, 64, (64, 96), (32, 48), 80),
        (34, 3, (64, 64), (32, 32), 1),
    ],
)
def test_shapes(layers, width, image, value, features):
    model = depth_network(layers, width=width, classes=7)
    x = jnp.zeros((2, *image, 3))
    prediction, variables = jax.eval_shape(functools.partial(model.init_with_output, train=True), KEY, x)
    assert prediction.value.shape == (2, *value)
    assert prediction.logits.shape == (2, 2 * value[0], 2 * value[1], 7)
    assert prediction.features.shape[:3] == (2, *value)
    kernels = {path: leaf.shape for path, leaf in flatten_dict(variables["params"]).items() if path[-1] == "kernel"}
    assert kernels["value_head", "kernel"] == (5, 5, prediction.features.shape[-1], 1)
    if layers != 34:
        assert prediction.features.shape[-1] == features


def test_initial_weights():
    _, variables = small()
    params = flatten_dict(variables["params"])
    for path, leaf in params.items():
        if path[0] == "class_head" or path[-1] != "kernel":
            continue
        # The encoder starts as a ResNet, all else as PyTorch starts convolutions: U(+-1 / sqrt(fan_in)).
        fan_in = np.prod(leaf.shape[:3])
        expected = (
            np.sqrt(2 / (leaf.shape[0] * leaf.shape[1] * leaf.shape[3])) if path[0] == "E" else (3 * fan_in) ** -0.5
        )
        assert np.asarray(leaf).std() == pytest.approx(expected, rel=6 / np.sqrt(2 * leaf.size)), path
        if path[0] != "E":
            assert np.abs(leaf).max() <= fan_in**-0.5, path
    assert params["value_head", "bias"] != 0


def test_a_class_head_leaves_the_other_initial_weights_alone():
    with_head, without = (flatten_dict(small(classes)[1]) for classes in (3, 0))
    assert {path[:2] for path in set(with_head) - set(without)} == {("params", "class_head")}
    for path, leaf in without.items():
        np.testing.assert_array_equal(leaf, with_head[path], err_msg=str(path))


def test_logits_exist_in_training_alone_and_belong_to_the_features():
    model, variables = small()
    prediction, _ = applied(model, variables, images(2), True)
    assert prediction.logits.shape == (2, 64, 64, 3)
    np.testing.assert_allclose(prediction.logits, logits_of(variables, prediction.features), rtol=1e-5, atol=1e-6)
    assert applied(model, variables, images(2))[0].logits is None
    changed, _ = applied(model, variables, images(2), True, None, jnp.float32(2))
    np.testing.assert_allclose(changed.features, 2 * prediction.features, rtol=1e-5)
    bias = variables["params"]["value_head"]["bias"][0]
    np.testing.assert_allclose(changed.value - bias, 2 * (prediction.value - bias), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(changed.logits, logits_of(variables, changed.features), rtol=1e-5, atol=1e-6)


def test_a_mask_equals_the_subset():
    model, variables = small()
    keep = np.array([True, False, True, True])
    x = jnp.where(keep[:, None, None, None], images(4), 1e3)
    prediction, stats = applied(model, variables, x, True, jnp.array(keep))
    expected, expected_stats = applied(model, variables, x[keep], True)
    np.testing.assert_allclose(prediction.value[keep], expected.value, rtol=1e-3, atol=1e-4)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4), stats, expected_stats)


def test_half_precision():
    half, variables = small(dtype=jnp.bfloat16)
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype(jnp.float32)}
    trained = jax.eval_shape(lambda: applied(half, variables, images(2), True))
    assert {leaf.dtype for leaf in jax.tree.leaves(trained)} == {jnp.dtype(jnp.float32)}
    # bfloat16 has 8 significant bits, 0.4 %; thirty layers may lose a few of them, not all.
    expected = applied(*small(), images(2))[0].features
    assert 0 < deviation(applied(half, variables, images(2))[0].features, expected) < 0.1


def test_bad_input():
    with pytest.raises(ValueError, match="layers must be one of 18, 34, 50, 101, got 42"):
        depth_network(42)
    with pytest.raises(ValueError, match=r"images must be .* got shape \(64, 64, 3\)"):
        small()[0].apply(small()[1], jnp.zeros((64, 64, 3)))
