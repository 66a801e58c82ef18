"""One step by hand: any loss in NumPy, its gradient by finite differences, pulled back through the network."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from small_network import WIDTH


@functools.partial(jax.jit, static_argnames="model")
def network(model, weights, batch_stats, batch, scale, shift, cotangents):
    """Value, logits and features of the network in training mode, new statistics, and the cotangents pulled back."""

    def outputs(weights):
        prediction, updates = model.apply(
            {"params": weights, "batch_stats": batch_stats},
            (batch["input"] / 255 - 0.5) / 0.5,
            train=True,
            mask=batch["mask"],
            transform=lambda features: features * scale + shift,
            mutable=["batch_stats"],
        )
        return (prediction.value, prediction.logits), (prediction.features, updates["batch_stats"])

    (value, logits), pull, (features, statistics) = jax.vjp(outputs, weights, has_aux=True)
    cotangents = cotangents if logits is not None else (cotangents[0], None)
    return (value, logits, features), statistics, pull(cotangents)[0]


def differences(function, at):
    """The gradient of a function of float64 arrays by central differences."""
    gradient = np.empty(at.shape)
    for index in np.ndindex(at.shape):
        above, below = at.copy(), at.copy()
        above[index] += 1e-5
        below[index] -= 1e-5
        gradient[index] = (function(above) - function(below)) / 2e-5
    return gradient


def by_hand(engine, state, batch, loss, affine=(1.0, 0.0)):
    """Loss, gradient and new statistics: `loss` (value [B], logits [B, C]) in NumPy, features through `affine`."""
    rows = len(batch["target"])
    affine = [jnp.broadcast_to(jnp.float32(part), (rows, WIDTH)) for part in affine]
    run = functools.partial(network, engine.model, state.params["model"], state.batch_stats, batch, *affine)
    zeros = jnp.zeros(rows), jnp.zeros((rows, engine.model.classes))
    (value, logits, _), statistics, _ = run(zeros)
    value = np.asarray(value, np.float64)
    logits = np.zeros((rows, 0)) if logits is None else np.asarray(logits, np.float64)
    slopes = differences(lambda v: loss(v, logits), value), differences(lambda z: loss(value, z), logits)
    return loss(value, logits), run(jax.tree.map(jnp.float32, slopes))[2], statistics


def gradient_of(before, after):
    return jax.tree.map(lambda old, new: np.asarray(old - new), before.params["model"], after.params["model"])


def assert_close(got, expected, tolerance=1e-5):
    """Equal to float32 precision of each array's largest number: sums over many terms cancel in the small ones."""
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=0, atol=tolerance * (np.abs(b).max() + 0.1)), got, expected
    )


def assert_same(got, expected):
    jax.tree.map(np.testing.assert_array_equal, got, expected)


def moved(before, after):
    """Names of the layers in which something differs."""
    differ = {name: jax.tree.map(lambda a, b: bool(np.any(a != b)), before[name], after[name]) for name in before}
    return {name for name, leaves in differ.items() if any(jax.tree.leaves(leaves))}
