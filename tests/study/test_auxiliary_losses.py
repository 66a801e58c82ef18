"""Auxiliary losses in the study engine, against plain loops: on classes, with heads of their own, on features."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest
from fit_runs import assert_same, mse, plain_loop, run
from toy import ToySpec, read_toy

from regcls_jax import binning, losses, targets
from regcls_jax.losses.auxiliary import Given
from regcls_jax.losses.registry import AUXILIARY, AuxiliaryLoss
from regcls_jax.models.mlp import MLP
from regcls_jax.study.fit import fit, predict
from regcls_jax.study.plan import measure, shape_of


def test_an_auxiliary_loss_without_classes_goes_with_plain_regression(monkeypatch):
    def small_features(prediction, given):
        return jnp.mean(prediction.features**2, axis=given.axis)

    # In place of a registered loss: the names are read when the package is imported.
    monkeypatch.setitem(AUXILIARY, "membership", AuxiliaryLoss(small_features, classes=False))
    mine = run(auxiliary="membership", lam=0.01)
    expected = plain_loop(mine, lambda p, y: 0.01 * mse(p, y) + jnp.mean(p.features**2))
    assert_same(fit([mine], read_toy)[0].params, expected[-1])
    with pytest.raises(ValueError, match="auxiliary 'membership' reads no classes; set classes to 0"):
        run(auxiliary="membership", classes=4)


@pytest.mark.parametrize("name", ["hl_gauss", "two_hot", "sord", "squared_emd", "corn", "coral"])
def test_an_auxiliary_loss_of_the_class_head_reaches_the_engine(name):
    settings = {"hl_ratio": 1.1, "sord_alpha": 0.7}
    mine = run(auxiliary=name, classes=6, lam=0.5, **settings)
    bins = binning.fit(read_toy(mine.data).train_targets, 6)
    auxiliary = AUXILIARY[name].bind(settings)

    def loss(prediction, y):
        given = Given(y, binning.assign(y, bins.edges), jnp.asarray(bins.edges, jnp.float32))
        return 0.5 * mse(prediction, y) + jnp.mean(auxiliary(prediction, given))

    model = MLP(mine.hidden, mine.classes, one_direction=name == "coral")
    assert_same(fit([mine], read_toy)[0].params, plain_loop(mine, loss, model=model)[-1])


@pytest.mark.parametrize("name", ["uvote", "evidential"])
def test_a_head_of_its_own_reaches_the_engine_with_the_weights_of_the_samples(name):
    mine = run(auxiliary=name, lam=0.5, reweight="inverse", buckets=5, decoded="head", evidential_penalty=0.2)
    problem, outputs = read_toy(mine.data), 4 if name == "uvote" else 3
    mean, std = float(problem.train_targets.mean()), float(problem.train_targets.std())
    weights = jnp.float32(targets.sample_weights(mine, problem.train_targets))
    order_of_weights = jnp.argsort(jnp.float32(problem.train_targets))

    def loss(prediction, y, epoch):
        # The weight of a sample by its target: the plain loop knows no rows.
        place = jnp.searchsorted(jnp.float32(problem.train_targets)[order_of_weights], y)
        of_samples, z = weights[order_of_weights[place]], (y - mean) / std
        if name == "uvote":
            second = of_samples * (epoch / mine.epochs) ** 2
            rows = losses.uvote(prediction.logits, z, jnp.stack([jnp.ones_like(second), second], -1))
        else:
            rows = losses.evidential_nll(prediction.logits, z, of_samples, penalty=0.2)
        return 0.5 * mse(prediction, y) + jnp.mean(rows)

    found = fit([mine], read_toy)[0]
    assert_same(found.params, plain_loop(mine, loss, model=MLP(mine.hidden, outputs), with_epoch=True)[-1], rtol=5e-3)
    read = losses.uvote_value if name == "uvote" else losses.evidential_value
    values = mean + std * np.asarray(read(predict(found, problem.inputs).logits)[0])
    rows = problem.splits["test"]
    np.testing.assert_allclose(found.errors["test"]["mse"], np.mean((values - problem.targets)[rows] ** 2), rtol=1e-3)


def test_the_biases_of_coral_are_those_of_the_real_classes():
    """10 of them: a shared program has a head of 12."""
    found = [
        fit([run(auxiliary="coral", classes=10, epochs=0, program=program)], read_toy)[0].params["class_head"]["bias"]
        for program in ("own", "shared")
    ]
    for biases in found:
        np.testing.assert_allclose(biases[:10], np.arange(9, -1, -1) / 9, atol=1e-6)


@pytest.mark.parametrize("name", ["uvote", "evidential"])
def test_a_head_of_its_own_refuses_vectors_and_weighted_samples(name):
    mine, problem = run(auxiliary=name, reweight="inverse"), read_toy(ToySpec())
    sized = measure(mine.trained_on, problem)
    with pytest.raises(ValueError, match=f"auxiliary '{name}' needs one target, not vectors of 2"):
        shape_of(mine, dataclasses.replace(sized, outputs=2))
    with pytest.raises(ValueError, match=f"auxiliary '{name}' weighs samples by density, not as "):
        shape_of(mine, dataclasses.replace(sized, weighted=True))


@pytest.mark.parametrize("name", ["ordinal_entropy", "ranksim", "conr", "rank_n_contrast"])
def test_a_loss_that_shapes_the_features_reaches_the_engine(name):
    settings = {"ranksim_gamma": 3.0, "ranksim_strength": 1.5, "conr_distance": 0.4, "conr_temperature": 0.5}
    settings |= {"conr_eta": 0.1, "rnc_temperature": 1.5}
    mine = run(auxiliary=name, lam=0.5, loss_in="std", **settings)
    std = float(read_toy(mine.data).train_targets.std())
    auxiliary = AUXILIARY[name].bind(settings)

    def loss(prediction, y):
        return 0.5 * mse(prediction, y) / std**2 + jnp.mean(auxiliary(prediction, Given(y, unit=std)))

    # Ranks jump where rounding decides.
    assert_same(fit([mine], read_toy)[0].params, plain_loop(mine, loss)[-1], rtol=1e-2)


@pytest.mark.parametrize("name", ["classification", "corn", "coral", "hl_gauss", "membership"])
def test_a_class_head_is_read_as_its_loss_means_it(name):
    # One program for all rules; `test_a_shared_program...` compares it with a program of its own.
    settings = {"classes": 6, "balanced": True, "epochs": 40, "lam": 0.01, "program": "shared"}
    for found in fit([run(auxiliary=name, decoded=rule, **settings) for rule in binning.DECODINGS], read_toy):
        problem = read_toy(found.run.data)
        logits = predict(found, problem.inputs).logits
        values = binning.decode(AUXILIARY[name].probabilities(logits), found.bins.edges, found.run.decoded)
        for split, rows in problem.splits.items():
            error = np.mean((np.asarray(values)[rows] - problem.targets[rows]) ** 2)
            np.testing.assert_allclose(found.errors[split]["mse"], error, rtol=1e-3)
        assert found.errors["train"]["mse"] < 0.9 * np.var(problem.train_targets), "and it has learnt something"
