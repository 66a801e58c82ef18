"""Trainings of the study engine in memory on toy data, and the same as a plain loop."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
from toy import ToySpec, read_toy

from regcls_jax import losses
from regcls_jax.models.mlp import MLP
from regcls_jax.study.arrays import run_keys, sample_orders
from regcls_jax.study.runs import Run
from regcls_jax.study.train import INITIAL_WEIGHTS

BASE = {
    "inputs": "standardised",
    "output": "standardised",
    "hidden": (8,),
    "batch_size": 40,
    "epochs": 3,
    "learning_rate": 1e-2,
    "weight_decay": 0.0,
}


def run(spec=None, arm="a", **settings):
    spec = spec or ToySpec()
    return Run(arm=arm, data=spec, seed=spec.seed, **{**BASE, **settings})


def plain_loop(
    mine, loss, *, model=None, schedule=None, optimizer=None, mix=lambda x, y, number: (x, y), with_epoch=False
):
    """Parameters after every epoch: one step after the other, batch first, of `loss(prediction, targets[, epoch])`."""
    problem = read_toy(mine.data)
    x, y = (values[problem.splits["train"]] for values in (problem.inputs, problem.targets))
    x = ((x - x.mean(0)) / x.std(0)).astype(np.float32)
    mean, std = float(y.mean()), float(y.std())
    model = model or MLP(mine.hidden, mine.classes)
    params = model.init(jax.random.fold_in(run_keys([mine])[0], INITIAL_WEIGHTS), x[:1])["params"]
    optimizer = optimizer or optax.adam(schedule or mine.learning_rate)
    state = optimizer.init(params)
    batches, history = len(x) // mine.batch_size, []

    @jax.jit
    def step(params, state, x, y, *epoch):
        def total(params):
            prediction = model.apply({"params": params}, x)
            return loss(prediction._replace(value=mean + std * prediction.value), y, *epoch)

        gradient = jax.grad(total)
        update = optax.with_extra_args_support(optimizer).update
        updates, state = update(gradient(params), state, params, grad_fn=lambda params, _: gradient(params))
        return optax.apply_updates(params, updates), state

    for epoch, order in enumerate(sample_orders(mine.seed, len(x), mine.epochs)):
        for batch in range(batches):
            rows = order[batch * mine.batch_size : (batch + 1) * mine.batch_size]
            mixed = mix(x[rows], jnp.asarray(y[rows], jnp.float32), epoch * batches + batch)
            params, state = step(params, state, *mixed, *([epoch] if with_epoch else []))
        history.append(params)
    return history


def assert_same(params, expected, rtol=2e-3):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=rtol, atol=2e-4), dict(params), dict(expected))


def mse(prediction, y):
    return jnp.mean(losses.squared_error(prediction.value, y))
