"""Balanced MSE and re-weighting in the study engine against a plain loop over the same batches."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from study_config import small

from regcls_jax import imbalance, priors
from regcls_jax.data.synthetic import problems
from regcls_jax.losses import balanced_mse
from regcls_jax.models.mlp import MLP
from regcls_jax.store.rows import read_rows
from regcls_jax.study import arrays
from regcls_jax.study import train as training
from regcls_jax.study.engine import run_study
from regcls_jax.study.runs import expand

ARMS = {
    "gai": {"regression": "gai", "components": 3},
    "bni": {"regression": "bni", "buckets": 20},
    "bmc": {"regression": "bmc"},
    "inverse": {"reweight": "inverse", "buckets": 50},
    "lds": {"reweight": "sqrt_inv", "lds": True},
}
CONFIG = small(
    data={"samplings": ("severe",), "repetitions": 1}, run={"lam": 2.0, "noise_sigma": 0.3}, scenario={}, arms=ARMS
)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    workdir, cache_dir = tmp_path_factory.mktemp("study"), tmp_path_factory.mktemp("cache")
    run_study(CONFIG, workdir, cache_dir, progress=False)
    return workdir, cache_dir


def per_example(run, targets):
    """(loss of (predictions, targets, sigma), weights [n]) of a run, from the library's functions alone."""
    edges = np.linspace(targets.min(), targets.max(), run.buckets + 1)
    if run.regression == "gai":
        prior = priors.fit_mixture(targets, run.components)
        return lambda p, y, sigma: balanced_mse.gai(p, y, prior=prior, noise_sigma=sigma), None
    if run.regression == "bni":
        prior = priors.histogram_prior(targets, edges)
        return lambda p, y, sigma: balanced_mse.bni(p, y, prior=prior, noise_sigma=sigma), None
    if run.regression == "bmc":
        return lambda p, y, sigma: balanced_mse.bmc(p, y, noise_sigma=sigma), None
    lds = imbalance.LdsKernel() if run.lds else None
    return lambda p, y, sigma: (p - y) ** 2, imbalance.label_weights(targets, edges, run.reweight, lds=lds)


@pytest.mark.parametrize("arm", ARMS)
def test_the_engine_trains_as_a_plain_loop_does(folders, arm):
    workdir, cache_dir = folders
    runs = expand(CONFIG)
    number = next(n for n, run in enumerate(runs) if run.arm == arm)
    run = runs[number]
    problem = problems.read(run.data, cache_dir)
    x, y = problem.inputs[problem.splits["train"]].astype(np.float32), problem.train_targets.astype(np.float32)
    values, weights = per_example(run, problem.train_targets)
    weights = np.ones_like(y) if weights is None else weights.astype(np.float32)
    key = jax.random.fold_in(arrays.run_keys([run])[0], training.INITIAL_WEIGHTS)
    model = MLP(run.hidden)
    params = model.init(key, x[:1])["params"], jnp.float32(run.noise_sigma)
    labels = ("model", "noise")
    coupled = optax.chain(optax.add_decayed_weights(run.weight_decay), optax.adam(run.learning_rate))
    optimizer = optax.partition({"model": coupled, "noise": optax.adam(run.noise_learning_rate)}, labels)

    @jax.jit
    def step(params, state, x, y, weights):
        def loss(params):
            model_params, sigma = params
            return run.lam * jnp.mean(weights * values(model.apply({"params": model_params}, x).value, y, sigma))

        updates, state = optimizer.update(jax.grad(loss)(params), state, params)
        return optax.apply_updates(params, updates), state

    state = optimizer.init(params)
    orders = arrays.sample_orders(run.seed, len(y), run.epochs)
    for order, batch in itertools.product(orders, range(len(y) // run.batch_size)):
        rows = order[batch * run.batch_size : (batch + 1) * run.batch_size]
        params, state = step(params, state, x[rows], y[rows], weights[rows])
    test = problem.splits["test"]
    value = model.apply({"params": params[0]}, problem.inputs[test].astype(np.float32)).value
    expected = np.mean((np.asarray(value, np.float64) - problem.targets[test]) ** 2)
    rows = read_rows(workdir)
    mine = rows[(rows["run"] == number) & (rows["split"] == "test")]["mse"].item()
    assert mine == pytest.approx(expected, rel=5e-4)


def test_the_arms_differ(folders):
    rows = read_rows(folders[0])
    errors = rows[(rows["run"] >= 0) & (rows["split"] == "test")]["mse"]
    assert errors.nunique() == len(errors) > len(ARMS)


@pytest.mark.parametrize(
    ("arm", "message"),
    [
        ({"lds": True}, "lds has no effect without re-weighting"),
        ({"reweight": "log"}, "unknown reweight 'log'; one of none, inverse, sqrt_inv"),
        ({"regression": "gai", "components": 0}, "components must be an integer of at least 1"),
        ({"regression": "bmc", "noise_sigma": 0.0}, "noise_sigma must be positive"),
        ({"regression": "bmc", "noise_learning_rate": -1.0}, "noise_learning_rate must not be negative"),
    ],
)
def test_bad_settings_are_one_clear_error(arm, message):
    with pytest.raises(ValueError, match=message):
        expand(small(arms={"reg": arm}))
