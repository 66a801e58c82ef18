"""The multilayer perceptron: golden parameter counts, a NumPy forward pass, the two layouts, initial weights."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from regcls_jax.models.dense import Dense
from regcls_jax.models.mlp import MLP

KEY = jax.random.key(0)


def inputs(*shape, dtype=np.float32):
    return jnp.array(np.random.RandomState(0).normal(size=shape), dtype)


@functools.partial(jax.jit, static_argnums=0)
def initial(model, example, key=KEY):
    return model.init(key, example)["params"]


def random_params(model, example):
    """Parameters of the shapes that `model` initialises, all normal: biases too, which start at zero."""
    rng = np.random.RandomState(0)
    shapes = jax.eval_shape(model.init, KEY, example)["params"]
    return jax.tree.map(lambda leaf: jnp.array(rng.normal(size=leaf.shape), leaf.dtype), shapes)


def assert_close(got, expected):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), got, expected)


def slow_forward(params, rows, layers):
    """(value [n], logits [n, C], features [n, F]) of rows [n, D] in float64."""
    params = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), params)

    def dense(name, x):
        return x @ params[name]["kernel"] + params[name]["bias"]

    features = np.asarray(rows, np.float64)
    for layer in range(layers):
        features = np.maximum(dense(f"hidden_{layer}", features), 0)
    return dense("value_head", features)[:, 0], dense("class_head", features), features


@pytest.mark.parametrize(
    ("hidden", "classes", "counts"),
    [
        # recipes 4.1, item 7: 1-6-15-1; with 16 hidden units as the paper's text says; Linear(15, C).
        ((6, 15), 0, {"hidden_0": 12, "hidden_1": 105, "value_head": 16}),
        ((6, 15), 4, {"hidden_0": 12, "hidden_1": 105, "value_head": 16, "class_head": 64}),
        ((6, 15), 1024, {"hidden_0": 12, "hidden_1": 105, "value_head": 16, "class_head": 16384}),
        ((6, 16), 4, {"hidden_0": 12, "hidden_1": 112, "value_head": 17, "class_head": 68}),
        ((), 4, {"value_head": 2, "class_head": 8}),
    ],
)
@pytest.mark.parametrize("axis", [0, -1])
def test_golden_parameter_counts(hidden, classes, counts, axis):
    params = jax.eval_shape(MLP(hidden, classes, feature_axis=axis).init, KEY, jnp.zeros((1, 1)))["params"]
    assert {name: sum(leaf.size for leaf in layer.values()) for name, layer in params.items()} == counts


def test_forward_pass_equals_numpy():
    rows = inputs(20, 3)
    model = MLP((6, 15), classes=5)
    params = random_params(model, rows)
    prediction = model.apply({"params": params}, rows)
    for got, expected in zip(prediction, slow_forward(params, rows, 2), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("axis", [0, -1])
def test_a_class_head_of_one_direction_has_one_weight_vector_and_falling_biases(axis):
    rows = inputs(20, 3)
    given = rows if axis == -1 else rows.T
    model = MLP((6, 15), classes=5, one_direction=True, feature_axis=axis)
    params = random_params(model, given)
    assert params["class_head"]["kernel"].shape == (15, 1)
    value, logits, features = model.apply({"params": params}, given)
    found = (value, logits, features) if axis == -1 else (value, logits.T, features.T)
    for got, expected in zip(found, slow_forward(params, rows, 2), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(initial(model, given)["class_head"]["bias"], [1, 0.75, 0.5, 0.25, 0])


def test_activation_is_an_option():
    rows = inputs(20, 3)
    linear, tanh = MLP((4,), activation=lambda x: x), MLP((4,), activation=jnp.tanh)
    params = {"params": random_params(linear, rows)}
    features = tanh.apply(params, rows).features
    np.testing.assert_allclose(features, np.tanh(linear.apply(params, rows).features), rtol=1e-5)


@pytest.mark.parametrize("batch", [(), (5,), (2, 5)])
def test_shapes_and_types(batch):
    def outputs(model, *shape):
        return jax.eval_shape(model.init_with_output, KEY, jnp.zeros(shape))[0]

    prediction = outputs(MLP(classes=7), *batch, 3)
    assert [part.shape for part in prediction] == [batch, (*batch, 7), (*batch, 15)]
    prediction = outputs(MLP(classes=7, feature_axis=0), 3, *batch)
    assert [part.shape for part in prediction] == [batch, (7, *batch), (15, *batch)]
    assert {part.dtype for part in prediction} == {jnp.dtype(jnp.float32)}
    assert outputs(MLP(), *batch, 3).logits is None


def test_both_feature_axes_are_one_function_of_the_same_weights():
    rows = inputs(3, 4, 2)
    last, first = MLP(classes=7), MLP(classes=7, feature_axis=0)
    columns = jnp.moveaxis(rows, -1, 0)
    params = random_params(last, rows)

    def outputs_and_gradient(model, x):
        def total(params):
            value, logits, features = model.apply({"params": params}, x)
            last = [value, *(jnp.moveaxis(part, model.feature_axis, -1) for part in (logits, features))]
            return sum(jnp.sum(jnp.sin(part)) for part in last), last

        gradient, last = jax.jit(jax.grad(total, has_aux=True))(params)
        return last, gradient

    assert_close(outputs_and_gradient(first, columns), outputs_and_gradient(last, rows))


@pytest.mark.parametrize("axis", [0, -1])
@pytest.mark.parametrize("batch", [(), (9,), (3, 4)])
def test_a_folded_bias_is_a_bias(axis, batch):
    x = jnp.moveaxis(inputs(*batch, 3), -1, axis)
    folded, separate = (Dense(5, axis, fold) for fold in (True, False))
    params = random_params(separate, x)

    def outputs_and_gradient(layer):
        def total(params):
            y = layer.apply({"params": params}, x)
            return jnp.sum(jnp.sin(y)), y

        gradient, y = jax.jit(jax.grad(total, has_aux=True))(params)
        return y, gradient

    assert_close(outputs_and_gradient(folded), outputs_and_gradient(separate))


def test_trunk_and_value_head_start_alike_with_and_without_a_class_head_in_both_layouts():
    rows = inputs(1, 1)
    plain = initial(MLP(), rows)
    for axis in (0, -1):
        classified = initial(MLP(classes=4, feature_axis=axis), rows)
        assert classified.pop("class_head")["kernel"].shape == (15, 4)
        jax.tree.map(np.testing.assert_array_equal, classified, plain)


def test_initial_weights_are_xavier_uniform_and_biases_zero():
    params = initial(MLP((60, 150), classes=100), inputs(1, 30))
    for layer in params.values():
        kernel = np.asarray(layer["kernel"])
        bound = np.sqrt(6 / sum(kernel.shape))
        assert np.abs(kernel).max() <= bound
        assert not layer["bias"].any()
        # Uniform on [-b, b]: deviation b / sqrt(3), whose estimate has a relative deviation of sqrt(1 / (5 n)).
        assert kernel.std() == pytest.approx(bound / np.sqrt(3), rel=5 * np.sqrt(1 / (5 * kernel.size)))


def test_initial_weights_depend_on_the_key():
    rows = inputs(1, 1)
    one, other = (initial(MLP(classes=4), rows, jax.random.key(seed)) for seed in (0, 1))
    for name in one:
        assert not np.array_equal(one[name]["kernel"], other[name]["kernel"])


def test_float64():
    with jax.enable_x64(True):
        rows = inputs(20, 3, dtype=np.float64)
        model = MLP(classes=5, param_dtype=jnp.float64)
        params = random_params(model, rows)
        assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {jnp.dtype(jnp.float64)}
        prediction = model.apply({"params": params}, rows)
        for got, expected in zip(prediction, slow_forward(params, rows, 2), strict=True):
            assert got.dtype == jnp.float64
            np.testing.assert_allclose(got, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("axis", [1, -2])
def test_other_feature_axes_are_refused(axis):
    with pytest.raises(ValueError, match=f"feature_axis must be 0 or -1, got {axis}"):
        MLP(feature_axis=axis).init(KEY, inputs(2, 2))
