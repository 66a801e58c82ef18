"""Training in memory on any data: what each setting of a run means, against plain loops; models that predict."""

import dataclasses
import itertools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import optax.contrib
import pytest
from fit_runs import assert_same, mse, plain_loop, run
from toy import ToySpec, read_toy

from regcls_jax import binning, losses
from regcls_jax.losses.registry import REGRESSION
from regcls_jax.models.mlp import MLP
from regcls_jax.study.arrays import run_keys
from regcls_jax.study.fit import fit, predict
from regcls_jax.study.plan import measure, shape_of
from regcls_jax.study.train import MIXUP


@pytest.mark.parametrize("name", ["absolute_error", "huber", "log_cosh", "focal_squared_error"])
def test_every_registered_loss_reaches_the_engine_with_its_hyperparameters(name):
    settings = {"huber_beta": 7.0, "focal_beta": 0.05, "focal_gamma": 2.0}
    mine = run(regression=name, **settings)
    bound = REGRESSION[name].bind(settings)
    assert_same(fit([mine], read_toy)[0].params, plain_loop(mine, lambda p, y: jnp.mean(bound(p.value, y)))[-1])


def test_a_hyperparameter_of_a_loss_compiles_nothing():
    from regcls_jax.study.train import train_runs

    fit([run(regression="huber", huber_beta=1.0)], read_toy)
    before = train_runs._cache_size()
    fit([run(regression="huber", huber_beta=3.0)], read_toy)
    assert train_runs._cache_size() == before


@pytest.mark.parametrize("decay", ["coupled", "decoupled"])
def test_decay_of_kernels_alone(decay):
    mine = run(weight_decay=0.3, decay=decay, decayed="kernels")
    mask = {"hidden_0": {"kernel": True, "bias": False}, "value_head": {"kernel": True, "bias": False}}
    optimizer = optax.adamw(mine.learning_rate, weight_decay=0.3, mask=mask)
    if decay == "coupled":
        optimizer = optax.chain(optax.add_decayed_weights(0.3, mask), optax.adam(mine.learning_rate))
    found = fit([mine, dataclasses.replace(mine, decayed="all")], read_toy)
    assert_same(found[0].params, plain_loop(mine, mse, optimizer=optimizer)[-1])
    if decay == "decoupled":  # Adam hides what is added to a gradient for so few steps
        assert np.abs(found[0].params["value_head"]["bias"] - found[1].params["value_head"]["bias"]).max() > 5e-4


def test_sharpness_aware_steps_go_down_the_gradient_uphill():
    mine = run(sam_rho=0.5)

    def uphill(gradient, params):
        return jax.tree.map(lambda part: -0.5 * part / optax.tree.norm(gradient), gradient)

    optimizer = optax.contrib.sam(optax.adam(mine.learning_rate), optax.stateless(uphill), opaque_mode=True)
    trained = fit([mine, run()], read_toy)
    assert_same(trained[0].params, plain_loop(mine, mse, optimizer=optimizer)[-1])
    assert trained[0].errors["train"]["mse"] != trained[1].errors["train"]["mse"]


def test_mixup_mixes_inputs_and_targets_of_near_targets():
    mine = run(mixup=0.7, mixup_alpha=1.5)
    std = np.std(read_toy(mine.data).train_targets)
    key = jax.random.fold_in(run_keys([mine])[0], MIXUP)
    shares = []

    def mix(x, y, number):
        partners, share = jax.random.split(jax.random.fold_in(key, number))
        logits = -(((y[:, None] - y[None]) / std) ** 2) / (2 * 0.7**2)
        other = jax.random.categorical(partners, logits)
        mine_share = jax.random.beta(share, 1.5, 1.5)
        shares.append(float(mine_share))
        assert np.abs(y - y[other]).mean() < np.abs(y[:, None] - y[None]).mean()
        return tuple(mine_share * part + (1 - mine_share) * part[other] for part in (x, y))

    assert_same(fit([mine], read_toy)[0].params, plain_loop(mine, mse, mix=mix)[-1])
    assert len(set(shares)) == len(shares)
    assert np.ptp(shares) > 0.1


def test_mixup_of_no_width_mixes_nothing():
    narrow, none = fit([run(mixup=1e-6), run()], read_toy)
    assert_same(narrow.params, none.params)


@pytest.mark.parametrize(
    "settings", [{"output": "standardised"}, {"classes": 4, "auxiliary": "corn", "output": "target"}]
)
def test_a_trace_is_of_the_cross_entropy_and_of_target_units(settings):
    with pytest.raises(ValueError, match="a trace is of the cross-entropy, and of values in target units"):
        run(trace="mse", **settings)


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"sam_rho": 0.5, "regression": "bmc"}, "sam_rho is a radius"),
        ({"mixup": 0.5, "classes": 4}, "mixup makes new targets, which have no class"),
        ({"mixup": 0.5, "reweight": "inverse"}, "mixup makes new targets"),
        ({"mixup": 0.5, "output": "target"}, "mixup is in standard deviations"),
    ],
)
def test_what_mixup_does_not_go_with(settings, match):
    with pytest.raises(ValueError, match=match):
        run(**settings)


def test_a_cosine_and_a_stepped_schedule():
    steps = 9
    mine = run(schedule="cosine")
    schedule = optax.cosine_decay_schedule(mine.learning_rate, steps)
    assert_same(fit([mine], read_toy)[0].params, plain_loop(mine, mse, schedule=schedule)[-1])
    mine = run(boundaries=(1, 2))
    schedule = optax.piecewise_constant_schedule(mine.learning_rate, {3: 0.1, 6: 0.1})
    assert_same(fit([mine], read_toy)[0].params, plain_loop(mine, mse, schedule=schedule)[-1])


def test_activation_and_initialiser():
    mine = run(activation="sigmoid", initializer="he_normal")
    model = MLP(mine.hidden, activation=nn.sigmoid, kernel_init=nn.initializers.he_normal())
    assert_same(fit([mine], read_toy)[0].params, plain_loop(mine, mse, model=model)[-1])


def test_the_best_epoch_on_a_split_is_the_one_that_counts():
    # So large a rate that the best epoch is not the last one.
    mine = run(best_on="val", learning_rate=0.3, epochs=12)
    fitted = fit([mine, dataclasses.replace(mine, best_on="", arm="last")], read_toy)
    rows, problem = read_toy(mine.data).splits["val"], read_toy(mine.data)
    errors = []
    for params in plain_loop(mine, mse):
        value = predict(fitted[1]._replace(params=params), problem.inputs[rows]).value
        errors.append(np.mean((np.asarray(value) - problem.targets[rows]) ** 2))
    assert np.argmin(errors) < 11
    assert fitted[0].errors["val"]["mse"] == pytest.approx(min(errors), rel=1e-2)
    assert fitted[1].errors["val"]["mse"] == pytest.approx(errors[-1], rel=1e-2)


def test_classes_between_quantiles_or_given_ends():
    y = read_toy(ToySpec()).train_targets
    by_quantile, given = fit(
        [
            run(classes=8, low_quantile=0.1, high_quantile=0.9),
            run(arm="b", classes=8, low=150.0, high=250.0),
        ],
        read_toy,
    )
    ends = np.quantile(y, [0.1, 0.9], method="inverted_cdf")
    np.testing.assert_allclose(by_quantile.bins.edges[[0, -1]], ends)
    np.testing.assert_array_equal(given.bins.edges, np.linspace(150, 250, 9))
    np.testing.assert_array_equal(given.bins.counts, np.bincount(binning.assign(y, given.bins.edges), minlength=8))


def test_memberships_in_the_engine():
    mine = run(classes=6, auxiliary="membership", membership_sigma=12.0, lam=0.01)
    edges = np.linspace(*(getattr(read_toy(mine.data).train_targets, end)() for end in ("min", "max")), 7)

    def loss(prediction, y):
        soft = losses.memberships(y, jnp.float32(edges), 12.0)
        return 0.01 * mse(prediction, y) + jnp.mean(losses.membership_error(prediction.logits, soft))

    assert_same(fit([mine], read_toy)[0].params, plain_loop(mine, loss)[-1])


def test_vector_targets_of_any_width():
    spec = ToySpec(width=5, outputs=2)
    fitted, *_ = fit([run(spec, learning_rate=0.1)], read_toy)
    problem = read_toy(spec)
    value = np.asarray(predict(fitted, problem.inputs).value)
    assert value.shape == problem.targets.shape == (200, 2)
    for name, rows in problem.splits.items():
        error = value[rows] - problem.targets[rows]
        assert fitted.errors[name]["mse"] == pytest.approx(np.mean(error**2), rel=1e-4)
        assert fitted.errors[name]["mae"] == pytest.approx(np.mean(np.abs(error)), rel=1e-4)


@pytest.mark.parametrize("settings", [{}, {"classes": 12, "balanced": True}, {"inputs": "given", "output": "target"}])
def test_a_model_predicts_what_it_was_evaluated_with(settings):
    fitted, *_ = fit([run(**settings)], read_toy)
    problem = read_toy(ToySpec())
    prediction = predict(fitted, problem.inputs)
    for name, rows in problem.splits.items():
        error = np.asarray(prediction.value)[rows] - problem.targets[rows]
        assert fitted.errors[name]["mse"] == pytest.approx(np.mean(error**2), rel=1e-4)
    if settings.get("classes"):
        assert prediction.logits.shape == (200, fitted.bins.classes)
    with pytest.raises(ValueError, match=r"inputs must be \[n, 3\], got \(200, 2\)"):
        predict(fitted, problem.inputs[:, :2])


def test_runs_of_different_data_side_by_side_equal_runs_alone():
    runs = [run(ToySpec(fold, width), arm=f"{fold}") for fold, width in itertools.product((0, 1), (2, 3))]
    for same in (runs[::2], runs[1::2]):
        together = fit(same, read_toy)
        for mine, fitted in zip(same, together, strict=True):
            assert_same(fit([mine], read_toy)[0].params, fitted.params, rtol=1e-3)
            assert fitted.run == mine


def test_a_run_that_diverges_at_once_has_no_best_epoch():
    fitted, *_ = fit([run(best_on="val", learning_rate=1e30)], read_toy)
    assert np.isnan(fitted.errors["test"]["mse"])


def test_a_trace_does_not_change_which_epoch_counts():
    mine = run(best_on="val", output="target", learning_rate=1.0, components=2)
    plain, traced = (fit([dataclasses.replace(mine, trace=trace)], read_toy)[0] for trace in ("none", "mse"))
    assert plain.errors["val"]["mse"] == pytest.approx(traced.errors["val"]["mse"], rel=1e-5)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"output": "target"},
        {"output": "target", "regression": "bni", "noise_sigma": 2.0},
        {"reweight": "sqrt_inv", "loss_in": "std"},
        {"classes": 8},
        {"classes": 8, "decoded": "median"},
        {"classes": 8, "decoded": "expectation", "balanced": True},
        {"classes": 8, "auxiliary": "corn", "decoded": "median"},
        {"output": "target", "regression": "huber", "huber_beta": 7.0},
    ],
)
def test_a_shared_program_trains_and_predicts_what_its_own_does(settings):
    own, shared = (run(program=program, best_on="val", **settings) for program in ("own", "shared"))
    by_itself, beside = (
        fit([own], read_toy)[0],
        fit([shared, run(program="shared", classes=6, best_on="val")], read_toy)[0],
    )
    for split, errors in by_itself.errors.items():
        np.testing.assert_allclose(beside.errors[split]["mse"], errors["mse"], rtol=1e-4)


def test_runs_of_a_shared_program_compile_as_one():
    by_class = [{"classes": 8}, {"classes": 8, "decoded": "argmax"}, {"classes": 8, "balanced": True}]
    plain = [{}, {"output": "target"}, {"reweight": "sqrt_inv"}]

    def shapes(settings):
        runs = [run(program="shared", loss_in="std" if "output" not in each else "target", **each) for each in settings]
        return {shape_of(each, measure(each.trained_on, read_toy(each.data))) for each in runs}

    assert len(shapes(plain)) == 1
    assert len(shapes(by_class)) == 1
