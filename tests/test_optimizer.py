"""Optimisers and the training step: torch's update rules by hand, and 200 steps of the published 1-D training."""

import functools
import zlib

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from regcls_jax import binning
from regcls_jax import optimizer as optimizers
from regcls_jax.data import synthetic as synthetic_1d
from regcls_jax.losses.auxiliary import Given
from regcls_jax.models.mlp import MLP
from regcls_jax.objectives import objective
from regcls_jax.study.step import init_state, train_step

RATE, DECAY, MOMENTUM = 0.05, 0.3, 0.8
BETA_1, BETA_2, EPSILON = 0.9, 0.999, 1e-8


def gradients_of(steps=6):
    """Starting parameters, biases among them, and a gradient of each for every step."""
    rng = np.random.RandomState(0)
    shapes = {"kernel": (3, 2), "bias": (2,)}
    start = {name: rng.normal(size=shape) for name, shape in shapes.items()}
    return start, [{name: rng.normal(size=shape) for name, shape in shapes.items()} for _ in range(steps)]


def by_hand(name, decay, weight_decay, param, gradients, rates):
    """torch.optim.Adam, AdamW and SGD of one parameter in NumPy, as their documentation states them."""
    first, second = np.zeros_like(param), np.zeros_like(param)
    for step, (gradient, rate) in enumerate(zip(gradients, rates, strict=True), 1):
        if decay == "coupled":
            gradient = gradient + weight_decay * param
        else:
            param = param * (1 - rate * weight_decay)
        if name == "adam":
            first = BETA_1 * first + (1 - BETA_1) * gradient
            second = BETA_2 * second + (1 - BETA_2) * gradient**2
            deviation = np.sqrt(second) / np.sqrt(1 - BETA_2**step) + EPSILON
            param = param - rate / (1 - BETA_1**step) * first / deviation
        else:
            first = MOMENTUM * first + gradient
            param = param - rate * first
    return param


def run(optimizer, start, gradients):
    params = jax.tree.map(jnp.asarray, start)
    state = optimizer.init(params)
    for gradient in gradients:
        updates, state = optimizer.update(gradient, state, params)
        params = optax.apply_updates(params, updates)
    return params


def assert_by_hand(params, name, decay, weight_decay, start, gradients, rates):
    for leaf in start:
        expected = by_hand(name, decay, weight_decay, start[leaf], [step[leaf] for step in gradients], rates)
        np.testing.assert_allclose(params[leaf], expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("name", optimizers.NAMES)
@pytest.mark.parametrize("decay", optimizers.DECAYS)
@pytest.mark.parametrize("weight_decay", [0.0, DECAY])
def test_updates_equal_those_of_torch_by_hand(name, decay, weight_decay):
    start, gradients = gradients_of()
    rates = [RATE] * len(gradients)
    with jax.enable_x64(True):

        @jax.jit
        def traced(rate, weight_decay, momentum):
            optimizer = optimizers.make(
                name, learning_rate=rate, weight_decay=weight_decay, decay=decay, momentum=momentum
            )
            return run(optimizer, start, gradients)

        params = traced(RATE, weight_decay, MOMENTUM)
        assert_by_hand(params, name, decay, weight_decay, start, gradients, rates)


def test_a_learning_rate_may_be_a_schedule():
    start, gradients = gradients_of()
    with jax.enable_x64(True):
        schedule = optax.piecewise_constant_schedule(RATE, {3: 0.1})
        optimizer = optimizers.make(learning_rate=schedule, weight_decay=DECAY)
        rates = [RATE] * 3 + [RATE / 10] * 3
        assert_by_hand(run(optimizer, start, gradients), "adam", "coupled", DECAY, start, gradients, rates)


def test_defaults_are_adam_without_decay_and_sgd_with_momentum():
    start, gradients = gradients_of()
    with jax.enable_x64(True):
        params = run(optimizers.make(learning_rate=RATE), start, gradients)
        jax.tree.map(np.testing.assert_array_equal, params, run(optax.adam(RATE), start, gradients))
        params = run(optimizers.make("sgd", learning_rate=RATE), start, gradients)
        jax.tree.map(np.testing.assert_array_equal, params, run(optax.sgd(RATE, 0.9), start, gradients))


@pytest.mark.parametrize("decay", optimizers.DECAYS)
def test_only_decoupled_decay_does_not_depend_on_the_scale_of_the_loss(decay):
    start, gradients = gradients_of()
    optimizer = optimizers.make(learning_rate=RATE, weight_decay=DECAY, decay=decay)
    with jax.enable_x64(True):
        plain = run(optimizer, start, gradients)["kernel"]
        scaled = run(optimizer, start, jax.tree.map(lambda gradient: 100 * gradient, gradients))["kernel"]
        moved = float(jnp.abs(scaled - plain).max())
    # Without decay Adam divides the scale out, up to its epsilon of 1e-8.
    assert (moved < 1e-6) == (decay == "decoupled")


@pytest.mark.parametrize("option", ["name", "decay"])
def test_unknown_names_are_refused(option):
    with pytest.raises(ValueError, match=r"unknown (optimizer|weight decay) 'adamw'; one of \w+, \w+"):
        optimizers.make(**{option: "adamw"}, learning_rate=RATE)


def test_a_step_reports_the_loss_before_it_and_its_terms_and_leaves_its_argument_alone():
    optimizer = optimizers.make("sgd", learning_rate=0.25, momentum=0.0)
    before = init_state({"w": jnp.array(3.0)}, optimizer)

    def loss(params):
        return params["w"] ** 2, {"half": params["w"] ** 2 / 2}

    after, terms = train_step(before, loss, optimizer)
    assert {name: float(term) for name, term in terms.items()} == {"loss": 9, "half": 4.5}
    assert after.params["w"] == 3 - 0.25 * 6
    assert before.params["w"] == 3
    assert train_step(after, loss, optimizer)[1]["loss"] == 2.25


# Golden training: 200 steps of the published code on clean/severe data (tests/golden/README.md). Our names for its
# layers; its model with a class head holds the plain one under "reg.".
LAYERS = {"mlist.0": "hidden_0", "mlist.2": "hidden_1", "final_reg": "value_head", "final_cls": "class_head"}
CLASSES, LAMBDA, BATCH = 16, 100.0, 256


def torch_names(classified):
    """Name in the PyTorch state dict -> our layer."""
    prefix = "reg." if classified else ""
    layers = {prefix + name: layer for name, layer in LAYERS.items() if name != "final_cls"}
    return layers | ({"final_cls": LAYERS["final_cls"]} if classified else {})


def published_start(name, shape):
    """The initial weights of the golden run (PyTorch layout), from the name alone."""
    z = np.random.RandomState(zlib.crc32(name.encode())).standard_normal(shape)
    return z * np.sqrt(2 / shape[1]) if len(shape) == 2 else 0.1 * z


def published_params(classified, values):
    """Our parameters from `values(name)` of PyTorch's: kernels are [in, out], PyTorch's weights [out, in]."""
    return {
        layer: {"kernel": values(f"{name}.weight").T, "bias": values(f"{name}.bias")}
        for name, layer in torch_names(classified).items()
    }


@functools.cache
def training_data():
    """Rows [84, 256, 1], targets and labels [84, 256] in the order of the golden run."""
    x, y = synthetic_1d.make(synthetic_1d.DataSpec("clean", "severe", 0, 0)).train
    labels = binning.assign(y, binning.fit(y, CLASSES).edges)
    batches = len(x) // BATCH
    assert batches == 84
    return tuple(rows[: batches * BATCH].reshape(batches, BATCH, *rows.shape[1:]) for rows in (x, y, labels))


def train(params, axis):
    """Parameters and losses [200] after 200 steps, in the precision of `params`."""
    classified = "class_head" in params
    model = MLP((6, 15), CLASSES if classified else 0, feature_axis=axis)
    optimizer = optimizers.make("adam", learning_rate=1e-3, weight_decay=1e-3)
    inputs, targets, labels = training_data()
    dtype = params["hidden_0"]["bias"].dtype
    data = jnp.asarray(inputs, dtype), jnp.asarray(targets, dtype), jnp.asarray(labels)

    def step(state, number):
        x, y, label = (rows[number % len(rows)] for rows in data)

        def loss(params):
            prediction = model.apply({"params": params}, x if axis == -1 else x.T)
            if not classified:
                return objective(prediction, y)
            return objective(prediction, y, given=Given(y, label, axis=axis), lam=LAMBDA)

        state, terms = train_step(state, loss, optimizer)
        return state, terms["loss"]

    scan = jax.jit(lambda state: jax.lax.scan(step, state, jnp.arange(200)))
    state, history = scan(init_state(params, optimizer))
    # NumPy arrays: outside of jax.enable_x64, JAX would round them to float32 before any arithmetic.
    return jax.tree.map(np.asarray, (dict(state.params), history))


@pytest.mark.parametrize(("model", "axis"), [("reg", 0), ("regcls", 0), ("regcls", -1)])
def test_golden_training_in_float64(golden, model, axis):
    data = np.load(golden / "train1d.npz")
    classified = model == "regcls"
    start = published_params(classified, lambda name: published_start(name, data[f"{model}_final.{name}"].shape))
    with jax.enable_x64(True):
        params, history = train(jax.tree.map(jnp.asarray, start), axis)
    assert history.dtype == np.float64
    np.testing.assert_allclose(history, data[f"{model}_losses"], rtol=0, atol=1e-9)
    expected = published_params(classified, lambda name: data[f"{model}_final.{name}"])
    assert expected.keys() == params.keys()
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=0, atol=1e-9), params, expected)


@pytest.mark.parametrize("model", ["reg", "regcls"])
def test_golden_training_in_float32(golden, model):
    data = np.load(golden / "train1d.npz")
    classified = model == "regcls"
    start = published_params(classified, lambda name: published_start(name, data[f"{model}_final.{name}"].shape))
    _, history = train(jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), start), axis=0)
    assert history.dtype == np.float32
    np.testing.assert_allclose(history, data[f"{model}_losses"], rtol=1e-4)
