"""Maps a few rows at a time: equal to the plain forms, values and gradients, whatever fits."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from regcls_jax import row_loop
from regcls_jax.losses import cross_entropy
from regcls_jax.losses.auxiliary import Given
from regcls_jax.objectives import objective
from regcls_jax.prediction import Prediction
from regcls_jax.row_loop import kept_or_zero, rows_at_a_time

BATCH, HEIGHT, WIDTH, CLASSES = 3, 6, 4, 5


def test_rows_at_a_time(monkeypatch):
    monkeypatch.setattr(row_loop, "HELD", 100)
    assert [rows_at_a_time(114, per_row) for per_row in (1, 2, 16, 40, 1000)] == [57, 38, 6, 2, 1]


@pytest.fixture(params=[1, 40, 70, 10_000])
def held(monkeypatch, request):
    """So many values at a time; for less than the logits have, the maps go in parts."""
    monkeypatch.setattr(row_loop, "HELD", request.param)


@pytest.fixture
def maps():
    generator = np.random.default_rng(0)
    shape = (BATCH, HEIGHT, WIDTH)
    logits = generator.normal(0, 3, (*shape, CLASSES))
    return logits, generator.integers(0, CLASSES, shape), generator.random(shape) < 0.7


@pytest.mark.usefixtures("held")
def test_excluded_values_are_zero_and_have_no_gradient(maps):
    logits, _, kept = maps
    logits = np.where(kept[..., None], logits, np.nan)
    got, pull_back = jax.vjp(lambda x: kept_or_zero(x, kept), jnp.asarray(logits))
    np.testing.assert_array_equal(got, jnp.where(kept[..., None], logits, 0))
    np.testing.assert_array_equal(pull_back(jnp.ones_like(got))[0], np.broadcast_to(kept[..., None], logits.shape))


@pytest.mark.usefixtures("held")
@pytest.mark.parametrize("bad", [None, -1, CLASSES])
def test_cross_entropy_of_maps(maps, bad):
    logits, labels, _ = maps
    if bad is not None:
        labels = labels.copy()
        labels[1, 2, 3] = bad
    cotangent = np.random.default_rng(1).normal(size=labels.shape)
    with jax.enable_x64(True):
        got, pull_back = jax.vjp(lambda logits: cross_entropy(logits, labels), logits)
        (gradient,) = pull_back(cotangent)
    softmax = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    chosen = np.arange(CLASSES) == labels[..., None]
    expected = -np.log((softmax * chosen).sum(-1), where=chosen.any(-1), out=np.full(labels.shape, np.nan))
    slope = np.where(chosen.any(-1, keepdims=True), (softmax - chosen) * cotangent[..., None], np.nan)
    np.testing.assert_allclose(got, expected, rtol=1e-12)
    np.testing.assert_allclose(gradient, slope, rtol=1e-10, atol=1e-14)


@pytest.mark.usefixtures("held")
@pytest.mark.parametrize("mapped", [False, True])
def test_the_objective_of_maps(maps, mapped):
    """Excluded pixels may hold anything; under vmap, too."""
    logits, labels, kept = maps
    logits = np.where(kept[..., None], logits, np.inf)
    value = target = np.zeros((BATCH, HEIGHT, WIDTH))

    def loss(logits):
        given = Given(jnp.asarray(target), jnp.asarray(labels))
        return objective(Prediction(value, logits), target, given=given, mask=kept, class_mask=kept)[0]

    with jax.enable_x64(True):
        step = jax.value_and_grad(loss)
        if mapped:
            got, gradient = (result[1] for result in jax.vmap(step)(jnp.stack([jnp.zeros_like(logits), logits])))
        else:
            got, gradient = step(jnp.asarray(logits))
    finite = logits[kept]
    softmax = np.exp(finite) / np.exp(finite).sum(-1, keepdims=True)
    chosen = np.arange(CLASSES) == labels[kept][:, None]
    np.testing.assert_allclose(got, -np.log(softmax[chosen]).mean(), rtol=1e-12)
    np.testing.assert_allclose(gradient[kept], (softmax - chosen) / len(finite), rtol=1e-10, atol=1e-14)
    assert not np.asarray(gradient)[~kept].any()


def test_the_step_holds_the_logits_once(monkeypatch):
    """Loss, mask and gradient of large maps need one array of their size beside the gradient, which is a result."""
    monkeypatch.setattr(row_loop, "HELD", 2**14)
    logits = jax.ShapeDtypeStruct((4, 64, 64, 32), jnp.float32)
    weights, depth = jax.ShapeDtypeStruct((32,), jnp.float32), jax.ShapeDtypeStruct((4, 64, 64), jnp.float32)
    labels, kept = (jax.ShapeDtypeStruct((4, 64, 64), kind) for kind in (jnp.int32, bool))

    def loss(weights, logits, depth, labels, kept):
        # The gradient of `weights` is a sum over that of the logits.
        prediction = Prediction(depth, logits * weights[None, None, None])
        return objective(prediction, depth, given=Given(depth, labels), mask=kept, class_mask=kept)[0]

    compiled = jax.jit(jax.grad(loss)).lower(weights, logits, depth, labels, kept).compile()
    assert compiled.memory_analysis().temp_size_in_bytes < 1.3 * 4 * np.prod(logits.shape)
