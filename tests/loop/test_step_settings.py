"""What surrounds the gradient of a step: rates, feature smoothing, initial weights, precision, devices, evaluation."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from image_oracle import assert_close, assert_same, by_hand, gradient_of, moved, network
from jax.sharding import AxisType
from naive_fds import NaiveFds
from small_network import AGES, BATCH, TRAIN_AGES, WIDTH, ages_only, build, make_batch, start, variables

from regcls_jax import binning, feature_smoothing, losses
from regcls_jax.loop.age import AgeRun
from regcls_jax.loop.mesh import check_batch_size, data_mesh, replicated, to_devices
from regcls_jax.loop.steps import (
    eval_step,
    fds_config,
    init_variables,
    make_engine,
    statistics_step,
    train_step,
)
from regcls_jax.losses.registry import AUXILIARY
from regcls_jax.models.resnet import resnet

CLASSES = {"classes": 5, "lam": 0.1, "scale": 10.0}
MASK = np.array([1, 0, 0, 1, 1, 0, 0, 1], bool)
MEAN, STD = TRAIN_AGES.astype(float).mean(), TRAIN_AGES.astype(float).std()


def rates(engine, steps):
    """What every step subtracts where the gradient is 1: of the model, and of the noise scale."""
    params = {"model": {"value_head": jnp.float32(0)}, "noise_sigma": jnp.float32(0)}
    update = jax.jit(engine.optimizer.update)
    state, ones, taken = engine.optimizer.init(params), jax.tree.map(jnp.ones_like, params), []
    for _ in range(steps):
        updates, state = update(ones, state, params)
        taken.append((-float(updates["model"]["value_head"]), -float(updates["noise_sigma"])))
    return np.transpose(taken)


def test_the_rate_falls_tenfold_at_the_first_step_of_each_boundary():
    engine = build(regression="bmc", learning_rate=0.5, steps_per_epoch=3, noise_learning_rate=0.02)
    model, noise = rates(engine, 3 * 90)
    np.testing.assert_allclose(model, np.repeat([0.5, 0.05, 0.005], [180, 60, 30]), rtol=1e-5)
    np.testing.assert_allclose(noise, 0.02, rtol=1e-4)  # Adam's own, which does not fall
    constant, _ = rates(build(boundaries=(), learning_rate=0.5, regression="bmc"), 5)
    np.testing.assert_allclose(constant, 0.5, rtol=1e-6)


def test_momentum_and_decay_reach_the_optimizer():
    engine = build(momentum=0.5, weight_decay=0.25, decay="decoupled", learning_rate=0.1)
    plain = build()
    batch, first = make_batch(), start(engine)
    second, _ = train_step(engine, first, batch)
    third, _ = train_step(engine, second, batch)
    velocity = gradient_of(first, train_step(plain, start(plain), batch)[0])
    step = jax.tree.map(lambda v, p: 0.1 * (v + 0.25 * p), velocity, first.params["model"])
    assert_close(gradient_of(first, second), step)
    moved_on = plain.optimizer.init(second.params)
    gradient = gradient_of(second, train_step(plain, second._replace(optimizer=moved_on), batch)[0])
    step = jax.tree.map(lambda v, g, p: 0.1 * (0.5 * v + g + 0.25 * p), velocity, gradient, second.params["model"])
    assert_close(gradient_of(second, third), step, 1e-4)


def published_buckets(ages, known):
    """recipes 2.3: whole years to 99; older ones in the last bucket only where 99 itself is known."""
    return np.array([int(age) if age < 99 else 99 if 99 in known else -1 for age in ages])


@pytest.mark.parametrize("mode", feature_smoothing.MODES)
def test_features_are_smoothed_and_collected_as_their_mode_says(mode):
    engine = build(fds=mode, fds_buckets=100, steps_per_epoch=2)
    slow = NaiveFds(fds_config(engine.run), 100, WIDTH)
    state, batches = start(engine), [make_batch(seed) for seed in range(2)]
    buckets, known = published_buckets(AGES, AGES), published_buckets(AGES, TRAIN_AGES)
    assert buckets[-1] == -1
    assert known[-1] == 99
    plain = float(train_step(build(), start(build()), batches[0])[1]["loss"])
    changed = []
    for epoch in range(4):
        state = state._replace(step=jnp.int32(2 * epoch))

        def affine(epoch=epoch):
            shift = slow.smooth(np.zeros((BATCH, WIDTH)), buckets, epoch)
            return slow.smooth(np.ones((BATCH, WIDTH)), buckets, epoch) - shift, shift

        after, terms = train_step(engine, state, batches[0])
        total, gradient, _ = by_hand(engine, state, batches[0], lambda v, z: np.abs(v - AGES).mean(), affine())
        np.testing.assert_allclose(terms["loss"], total, rtol=1e-5)
        assert_close(gradient_of(state, after), gradient, 3e-5)
        changed.append(abs(float(terms["loss"]) - plain) > 1e-3)

        statistics = feature_smoothing.empty_statistics(100, WIDTH)
        collected, zeros = [], (jnp.zeros(BATCH), jnp.zeros((BATCH, 0)))
        for batch in batches:
            through = affine() if mode == "published" else (np.ones((BATCH, WIDTH)), np.zeros((BATCH, WIDTH)))
            (_, _, features), moving, _ = network(
                engine.model, state.params["model"], state.batch_stats, batch, *map(jnp.float32, through), zeros
            )
            new, statistics = statistics_step(engine, state, statistics, batch, jnp.int32(epoch))
            collected.append(np.asarray(features))
            assert_same(new._replace(batch_stats=state.batch_stats), state)
            if mode != "corrected":
                assert_close(new.batch_stats, moving)
                assert moved(state.batch_stats, new.batch_stats) == set(state.batch_stats)
            else:
                assert_same(new.batch_stats, state.batch_stats)
            state = new
        state = state._replace(fds=feature_smoothing.update(state.fds, statistics, epoch, fds_config(engine.run)))
        slow.update(np.concatenate(collected), np.tile(known, 2), epoch)
        assert_close((state.fds.last_mean, state.fds.last_var), tuple(slow.last))
        assert_close((state.fds.smoothed_mean, state.fds.smoothed_var), tuple(slow.smoothed))
    # Published, the first smoothing is the identity (quirk 3).
    assert changed == [False, mode == "corrected", True, True]


def test_a_run_starts_from_the_same_features_and_value_head_in_every_arm():
    settings = ({}, {**CLASSES}, {"seed": 4})
    reg, both, other = (init_variables(build(**arm)) for arm in settings)
    assert set(both["params"]) == {*reg["params"], "class_head"}
    assert_same({name: both["params"][name] for name in reg["params"]}, reg["params"])
    # Scales and biases of BatchNorm start as constants.
    assert moved(reg["params"], other["params"]) == {"conv1", "layer1_0", "value_head"}


def test_the_network_is_the_one_that_the_run_asks_for():
    run = AgeRun(arm="test", seed=0, depth=18, width=4, dtype="bfloat16", classes=5, balanced=True)
    engine = make_engine(run, ages_only())
    equalised = len(engine.fitted.keep)
    assert equalised < 5
    assert engine.model == resnet(18, width=4, classes=equalised, dtype=jnp.bfloat16)


def test_bfloat16_is_near_float32_and_keeps_float32_parameters():
    settings = {**CLASSES, "learning_rate": 1e-3}
    steps = [build(**settings, dtype=dtype) for dtype in ("float32", "bfloat16")]
    before = [start(engine) for engine in steps]
    (full, terms), (half, half_terms) = (
        train_step(engine, state, make_batch()) for engine, state in zip(steps, before, strict=True)
    )
    assert {leaf.dtype for leaf in jax.tree.leaves((half.params, half.batch_stats))} == {jnp.dtype("float32")}
    assert float(terms["loss"]) != float(half_terms["loss"])
    # bfloat16 has 8 bits.
    assert float(half_terms["loss"]) == pytest.approx(float(terms["loss"]), rel=2e-2)
    for name, gradient in gradient_of(before[0], full).items():
        other = gradient_of(before[1], half)[name]
        for a, b in zip(jax.tree.leaves(gradient), jax.tree.leaves(other), strict=True):
            assert np.vdot(a, b) > 0.95 * np.linalg.norm(a) * np.linalg.norm(b)


DEVICES = {**CLASSES, "balanced": True, "reweight": "sqrt_inv", "learning_rate": 1e-3, "fds": "corrected"}


def trained(mesh, accumulate, steps):
    """The jitted step on a mesh, the state after some steps, and the terms of each."""
    engine = build(**DEVICES, accumulate=accumulate, steps_per_epoch=2)
    step = jax.jit(functools.partial(train_step, engine), donate_argnums=0, out_shardings=replicated(mesh))
    state, terms = jax.device_put(start(engine), replicated(mesh)), []
    for number in range(steps):
        rows = {name: np.asarray(values) for name, values in make_batch(number, mask=[1] * 7 + [0]).items()}
        given = jax.tree.leaves(state)
        state, found = step(state, to_devices(mesh, rows))
        assert all(leaf.is_deleted() for leaf in given)
        terms.append(found)
    return step, state, terms


@pytest.mark.parametrize("accumulate", [1, 2])
def test_four_devices_train_as_one_without_compiling_twice(accumulate):
    four, one = data_mesh(), jax.make_mesh((1,), ("data",), devices=jax.devices()[:1], axis_types=(AxisType.Auto,))
    assert four.shape["data"] == jax.device_count() == 4
    (step, got, got_terms), (_, expected, terms) = (trained(mesh, accumulate, 5) for mesh in (four, one))
    assert step._cache_size() == 1
    assert_close((got.params, got.batch_stats, got_terms), (expected.params, expected.batch_stats, terms), 1e-4)
    assert all(leaf.sharding.is_fully_replicated for leaf in jax.tree.leaves(got))
    assert got.step == 5


def test_a_batch_must_fit_the_devices_and_parts():
    check_batch_size(8, 2)
    with pytest.raises(
        ValueError, match=r"batch_size 12 cannot be split into 2 part\(s\) over 4 devices; take .* of 8"
    ):
        check_batch_size(12, 2)


@pytest.mark.parametrize("output", ["target", "standardised"])
def test_evaluation_sums_equal_numpy_and_need_no_class_head(output):
    engine = build(output=output, **CLASSES)
    weights = variables(engine)
    batch = make_batch(mask=MASK)
    batch["target"] = jnp.where(MASK, batch["target"], jnp.nan)
    trunk = {name: layer for name, layer in weights["params"].items() if name != "class_head"}
    value = eval_step(engine, {"model": trunk}, weights["batch_stats"], batch)
    sums = engine.task.measure(engine.run, ages_only()).add(batch, value)
    raw = engine.model.apply({"params": trunk, "batch_stats": weights["batch_stats"]}, batch["input"] / 127.5 - 1)
    assert raw.logits is None
    years = np.asarray(raw.value, float) * (STD if output == "standardised" else 1)
    years += MEAN if output == "standardised" else 0
    np.testing.assert_allclose(value, years, rtol=1e-5, atol=1e-4)
    error = np.abs(years - AGES)[MASK]
    for found, term in zip(sums, (error**2, error, np.log(error), np.ones(4)), strict=True):
        expected = np.zeros(131)
        np.add.at(expected, AGES[MASK].astype(int), term)
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)
    assert_same(eval_step(engine, {"model": weights["params"]}, weights["batch_stats"], batch), value)


@pytest.mark.parametrize(
    ("auxiliary", "output", "reweight"),
    [
        ("uvote", "target", "sqrt_inv"),
        ("uvote", "standardised", "inverse"),
        ("evidential", "target", "sqrt_inv"),
        ("evidential", "standardised", "none"),
    ],
)
def test_a_head_of_its_own_is_trained_with_the_weights_and_read(auxiliary, output, reweight):
    engine = build(auxiliary=auxiliary, reweight=reweight, output=output, decoded="head", lam=0.25)
    first, batch = start(engine), make_batch(mask=MASK)
    state = first._replace(step=jnp.int32(4 * 45))  # half of the epochs are over
    weights = jnp.ones(BATCH)
    if reweight != "none":
        weights = jnp.asarray(engine.fitted.bucket_weights)[binning.assign(batch["target"], engine.fitted.bucket_edges)]
    mean, std = (MEAN, STD) if output == "standardised" else (0.0, 1.0)

    def total(params):
        stats = {"params": params, "batch_stats": first.batch_stats}
        inputs, mask = engine.task.inputs(batch), batch["mask"]
        made, _ = engine.model.apply(stats, inputs, train=True, mask=mask, mutable=["batch_stats"])
        z = (batch["target"] - mean) / std
        if auxiliary == "uvote":
            rows = losses.uvote(made.logits, z, jnp.stack([jnp.ones_like(weights), weights * 0.25], -1))
        else:
            rows = losses.evidential_nll(made.logits, z, weights)
        rows = rows + 0.25 * jnp.abs(mean + std * made.value - batch["target"])
        return jnp.sum(jnp.where(mask, rows, 0)) / jnp.sum(mask)

    after, _ = train_step(engine, state, batch)
    assert_close(gradient_of(state, after), jax.grad(total)(state.params["model"]), 1e-4)
    read = {"uvote": losses.uvote_value, "evidential": losses.evidential_value}[auxiliary]
    variables = {"params": state.params["model"], "batch_stats": state.batch_stats}
    outputs = engine.model.apply(variables, engine.task.inputs(batch), read_classes=True).logits
    expected = mean + std * read(outputs)[0]
    np.testing.assert_allclose(eval_step(engine, state.params, state.batch_stats, batch), expected, rtol=1e-4)


@pytest.mark.parametrize("auxiliary", ["classification", "corn", "coral", "hl_gauss"])
@pytest.mark.parametrize("rule", binning.DECODINGS)
def test_a_run_may_be_read_from_its_class_head(auxiliary, rule):
    engine = build(classes=5, auxiliary=auxiliary, decoded=rule)
    state, batch = start(engine), make_batch()
    state_variables = {"params": state.params["model"], "batch_stats": state.batch_stats}
    logits = engine.model.apply(state_variables, engine.task.inputs(batch), read_classes=True).logits
    expected = binning.decode(AUXILIARY[auxiliary].probabilities(logits), engine.fitted.edges, rule)
    np.testing.assert_allclose(eval_step(engine, state.params, state.batch_stats, batch), expected, rtol=1e-5)
    by_value = engine._replace(run=dataclasses.replace(engine.run, decoded="value"))
    assert np.abs(eval_step(by_value, state.params, state.batch_stats, batch) - expected).max() > 1
