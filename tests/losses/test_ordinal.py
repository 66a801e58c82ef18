"""Ordinal losses and probabilities: golden values, NumPy oracles, padding, masks, gradients, bad input.

Golden numbers were computed from the formulas in float64, apart from this library.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads
from scipy import special

from regcls_jax import binning, losses
from regcls_jax.objectives import masked_mean

L5 = np.array([1, 2, 0.5, -1, 0])
CORN_LOGITS = np.array([[1, -0.5, 0.2], [0.3, 0.8, -1], [-0.7, 0.1, 0.4]])
CORN_LABELS = np.array([0, 3, 1])
# Compiled: operation by operation they are slow to start.
LOSSES = {name: jax.jit(getattr(losses, name), static_argnames="axis") for name in ("squared_emd", "corn", "coral")}
EACH_LOSS = pytest.mark.parametrize("name", LOSSES)
PROBABILITIES = {
    "corn": jax.jit(losses.corn_probabilities, static_argnames="axis"),
    "coral": jax.jit(losses.coral_probabilities, static_argnames="axis"),
}
EACH_HEAD = pytest.mark.parametrize("name", PROBABILITIES)


def with_unused(logits):
    """`logits` [B, C - 1] of tasks with the last output of a head of C classes, which must not count."""
    return np.pad(logits, ((0, 0), (0, 1)), constant_values=np.nan)


def slow_loss(name, logits, labels):
    """recipes 2.12, 2.25 and 2.26 in loops over examples and tasks, in float64."""
    rows, pairs = [], 0
    classes = logits.shape[1]
    for row, label in zip(np.float64(logits), labels, strict=True):
        if name == "squared_emd":
            probabilities = np.exp(row) / np.exp(row).sum()
            rows.append(sum((probabilities[: k + 1].sum() - (k >= label)) ** 2 for k in range(classes)))
            continue
        value = 0.0
        for task in range(classes - 1):
            if name == "coral" or label >= task:
                yes = 1 / (1 + np.exp(-row[task]))
                value -= np.log(yes if label > task else 1 - yes)
                pairs += 1
        rows.append(value)
    return np.array(rows) * (len(rows) / pairs if name == "corn" else 1)


def slow_probabilities(name, logits):
    rows = []
    for row in np.float64(logits):
        above, kept = [1.0], []
        for task in range(len(row) - 1):
            yes = 1 / (1 + np.exp(-row[task]))
            kept.append(yes)
            above.append(np.prod(kept) if name == "corn" else min(kept))
        rows.append(-np.diff([*above, 0.0]))
    return np.array(rows)


def classified(rows=12, classes=7):
    rng = np.random.default_rng(0)
    labels = np.append(np.arange(classes), rng.integers(0, classes, rows))[:rows]  # all of them, if they fit
    return jnp.float32(rng.normal(scale=2, size=(rows, classes))), jnp.array(labels)


def total_and_gradient(name, logits, labels, axis=-1, **keywords):
    def total(logits):
        return jnp.sum(LOSSES[name](logits, labels, axis=axis, **keywords))

    return jax.jit(jax.value_and_grad(total))(logits)


def test_golden_squared_emd():
    # Recipes 2.25, class 1.
    edges = np.array([0, 10, 20, 40, 60, 100.0])
    with jax.enable_x64(True):
        np.testing.assert_allclose(losses.squared_emd(L5, 1), 0.1124029337, rtol=0, atol=6e-11)
        soft = losses.sord(1, np.arange(6) - 0.5)
        np.testing.assert_allclose(losses.soft_squared_emd(L5, soft), 0.0146774189, rtol=0, atol=6e-11)
        gaps = np.diff((edges[1:] + edges[:-1]) / 2)
        np.testing.assert_allclose(losses.squared_emd(L5, 1, gaps=gaps), 1.6129484812, rtol=0, atol=6e-11)


def test_golden_corn():
    # Recipes 2.26.
    with jax.enable_x64(True):
        values = losses.corn(with_unused(CORN_LOGITS), CORN_LABELS)
        probabilities = losses.corn_probabilities(with_unused(CORN_LOGITS))
        centred = np.arange(5) - 0.5
        np.testing.assert_allclose(jnp.mean(values), 0.8999269991, rtol=0, atol=6e-11)
        expected = [1.1588194955, 1.0773883088, 0.6102948474]
        np.testing.assert_allclose(binning.decode(probabilities, centred), expected, rtol=0, atol=6e-11)
        # The published label, a number of products above one half, is the class that holds the median.
        labels = np.round(binning.decode(probabilities, centred, "median"))
        np.testing.assert_array_equal(labels, [1, 1, 0])


def test_golden_coral():
    # Recipes 2.26: the labels of the levels are 2, 1 and 4.
    logits = np.array([[2.1, 1.8, -2.1, -1.8], [1.9, -1, -1.5, -1.3], [1.9, 1.8, 1.7, 1.6]])
    with jax.enable_x64(True):
        values = losses.coral(with_unused(logits), np.array([2, 1, 4]))
        np.testing.assert_allclose(jnp.mean(values), 0.6920385280, rtol=0, atol=6e-11)


@EACH_LOSS
@pytest.mark.parametrize("classes", [1, 2, 7, 100])
def test_losses_equal_the_slow_oracle(name, classes):
    logits, labels = classified(12, classes)
    if name == "corn" and classes == 1:
        expected = np.zeros(12)  # no tasks, no pairs
    else:
        expected = slow_loss(name, logits, labels)
    values = LOSSES[name](logits, labels)
    np.testing.assert_allclose(values, expected, rtol=2e-5, atol=1e-6)
    np.testing.assert_allclose(getattr(losses, name)(logits, labels), values, rtol=1e-5, atol=1e-6)


@EACH_LOSS
def test_losses_of_maps_on_any_axis(name):
    logits, labels = classified(12, 7)
    flat = LOSSES[name](logits, labels)
    maps, map_labels = logits.reshape(3, 4, 7), labels.reshape(3, 4)
    for axis in (-1, 0, 1):
        values = LOSSES[name](jnp.moveaxis(maps, -1, axis), map_labels, axis=axis)
        np.testing.assert_allclose(values, flat.reshape(3, 4), rtol=1e-5)


@EACH_LOSS
def test_losses_of_a_single_example(name):
    logits, labels = classified()
    value = LOSSES[name](logits[5], labels[5])
    assert value.shape == ()
    np.testing.assert_allclose(value, slow_loss(name, logits[5:6], labels[5:6])[0], rtol=1e-5)


@EACH_LOSS
def test_gradients_are_those_of_finite_differences(name):
    with jax.enable_x64(True):
        logits, labels = classified()
        logits = jnp.asarray(logits, jnp.float64)
        check_grads(lambda logits: LOSSES[name](logits, labels), (logits,), order=1, rtol=1e-6)
        check_grads(lambda logits: LOSSES[name](logits, labels % 5, classes=5), (logits,), order=1, rtol=1e-6)


def test_soft_squared_emd_gradients_are_those_of_finite_differences():
    with jax.enable_x64(True):
        rng = np.random.default_rng(0)
        logits, memberships = jnp.array(rng.normal(size=(4, 6))), jnp.array(rng.dirichlet(np.ones(6), 4))
        gaps = jnp.array(rng.uniform(1, 3, 5))
        check_grads(
            lambda *given: losses.soft_squared_emd(given[0], given[1], gaps=given[2]),
            (logits, memberships, gaps),
            order=1,
            rtol=1e-6,
        )


@EACH_LOSS
@pytest.mark.parametrize("axis", [-1, 0])
@pytest.mark.parametrize("padding", [0.0, 1e4, -np.inf, np.nan])
def test_padded_outputs_change_neither_value_nor_gradient(name, axis, padding):
    logits, labels = classified()
    value, gradient = total_and_gradient(name, logits, labels)
    padded = jnp.pad(logits, ((0, 0), (0, 5)), constant_values=padding)
    keywords = {"gaps": jnp.append(jnp.ones(6), jnp.zeros(5))} if name == "squared_emd" else {}
    moved = padded if axis == -1 else padded.T
    padded_value, padded_gradient = total_and_gradient(name, moved, labels, axis, classes=jnp.int32(7), **keywords)
    padded_gradient = padded_gradient if axis == -1 else padded_gradient.T
    np.testing.assert_allclose(padded_value, value, rtol=1e-6)
    np.testing.assert_allclose(padded_gradient[:, :7], gradient, rtol=1e-5, atol=1e-7)
    assert not padded_gradient[:, 7:].any()


@pytest.mark.parametrize("name", ["corn", "coral"])
def test_the_last_real_output_is_unused(name):
    logits, labels = classified()
    for place, keywords in ((6, {}), (4, {"classes": 5})):
        changed = logits.at[:, place].set(jnp.nan)
        own = jnp.minimum(labels, place)
        value, gradient = total_and_gradient(name, changed, own, **keywords)
        assert value == total_and_gradient(name, logits, own, **keywords)[0]
        assert not gradient[:, place:].any()
        np.testing.assert_array_equal(PROBABILITIES[name](changed, **keywords), PROBABILITIES[name](logits, **keywords))


def test_the_gaps_are_those_of_a_discrete_crps():
    # sum over k of gap_k (P_k - Q_k)^2 is E|X - y| - E|X - X'| / 2 for X on the centres.
    logits, labels = classified(12, 6)
    centres = np.array([0.0, 1, 4, 5, 9, 20])
    p = special.softmax(np.float64(logits), axis=1)
    apart = np.abs(centres[:, None] - centres)
    expected = (p * apart[labels]).sum(1) - np.einsum("bi,ij,bj->b", p, apart, p) / 2
    for axis in (-1, 0):
        values = LOSSES["squared_emd"](
            jnp.moveaxis(logits, -1, axis), labels, gaps=jnp.array(np.diff(centres)), axis=axis
        )
        np.testing.assert_allclose(values, expected, rtol=1e-5)


@pytest.mark.parametrize("padding", [0.0, np.nan, np.inf])
def test_masked_examples_are_as_if_corn_had_never_seen_them(padding):
    logits, labels = classified()
    kept = np.arange(12) % 3 > 0
    value, gradient = total_and_gradient("corn", logits[kept], labels[kept])
    given = jnp.where(kept[:, None], logits, padding), jnp.where(kept, labels, -1)
    masked_value, masked_gradient = total_and_gradient("corn", *given, mask=kept)
    np.testing.assert_allclose(masked_value, value, rtol=1e-6)
    np.testing.assert_allclose(masked_gradient[kept], gradient, rtol=1e-5)
    assert not masked_gradient[~kept].any()
    values = LOSSES["corn"](*given, mask=kept)
    assert not values[~kept].any()
    np.testing.assert_allclose(masked_mean(values, kept), LOSSES["corn"](logits[kept], labels[kept]).mean(), rtol=1e-6)


def test_weights_of_classes_and_tasks_are_those_of_pairs():
    logits, labels = classified(12, 5)
    of_classes, of_tasks = np.array([0.5, 1, 2, 3, 4]), np.array([1.0, 0, 2, 3])
    pairs = [(i, k) for i, label in enumerate(labels) for k in range(4) if k <= label]
    weights = np.array([of_classes[labels[i]] * of_tasks[k] for i, k in pairs])
    terms = np.array([np.logaddexp(0, -logits[i, k] if k < labels[i] else logits[i, k]) for i, k in pairs])
    given = {"class_weights": of_classes, "task_weights": of_tasks}
    np.testing.assert_allclose(jnp.mean(losses.corn(logits, labels, **given)), np.average(terms, weights=weights), 1e-5)
    several = losses.coral(logits, labels, task_weights=of_tasks)
    every = np.logaddexp(0, np.where(np.arange(4) < np.asarray(labels)[:, None], -1, 1) * logits[:, :4])
    np.testing.assert_allclose(several, every @ of_tasks, rtol=1e-5)
    with pytest.raises(ValueError, match=r"class_weights \(4,\) do not fit 5 classes"):
        losses.corn(logits, labels, class_weights=of_tasks)
    with pytest.raises(ValueError, match=r"5 classes have 4 task_weights, got \(5,\)"):
        losses.coral(logits, labels, task_weights=of_classes)


def test_corn_of_an_empty_batch_is_zero():
    logits, labels = classified()
    value, gradient = total_and_gradient("corn", logits, labels, mask=np.zeros(12, bool))
    assert value == 0
    assert not gradient.any()


@EACH_LOSS
@pytest.mark.parametrize("label", [-1, 5])
def test_a_label_that_is_none_has_a_nan_loss_and_gradient(name, label):
    # -1 is what `binning.assign` makes of a NaN target.
    logits, _ = classified(2)
    labels = jnp.array([2, label])
    values = LOSSES[name](logits, labels, classes=5)
    np.testing.assert_array_equal(np.isnan(values), [False, True])
    _, gradient = total_and_gradient(name, logits, labels, classes=5)
    tasks = 5 if name == "squared_emd" else 4
    assert np.isfinite(gradient[0]).all()
    assert np.isnan(gradient[1, :tasks]).all()
    assert not gradient[:, tasks:].any()


@EACH_LOSS
def test_losses_of_bfloat16_and_of_extreme_logits(name):
    logits, labels = classified(12, 300)
    coarse = jnp.bfloat16(logits)
    value, gradient = total_and_gradient(name, coarse, labels)
    assert (value.dtype, gradient.dtype) == (jnp.float32, jnp.bfloat16)
    np.testing.assert_allclose(value, LOSSES[name](jnp.float32(coarse), labels).sum(), rtol=1e-5)
    for given in (coarse, 1e4 * logits):
        value, gradient = total_and_gradient(name, given, labels)
        assert np.isfinite(value)
        assert np.isfinite(np.float32(gradient)).all()


@EACH_HEAD
@pytest.mark.parametrize("classes", [1, 2, 7, 100])
def test_probabilities_equal_the_slow_oracle(name, classes):
    logits, _ = classified(12, classes)
    found = PROBABILITIES[name](logits)
    np.testing.assert_allclose(found, slow_probabilities(name, logits), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found.sum(-1), 1, rtol=1e-5)
    assert (found >= 0).all()
    np.testing.assert_allclose(PROBABILITIES[name].__wrapped__(logits), found, rtol=1e-6, atol=1e-7)


@EACH_HEAD
@pytest.mark.parametrize("axis", [-1, 0])
@pytest.mark.parametrize("padding", [0.0, 1e4, -np.inf, np.nan])
def test_padded_classes_have_no_probability_and_no_gradient(name, axis, padding):
    logits, _ = classified()
    padded = jnp.pad(logits, ((0, 0), (0, 5)), constant_values=padding)
    moved = padded if axis == -1 else padded.T
    found = PROBABILITIES[name](moved, classes=jnp.int32(7), axis=axis)
    np.testing.assert_allclose((found if axis == -1 else found.T)[:, :7], PROBABILITIES[name](logits), rtol=1e-6)
    assert not (found if axis == -1 else found.T)[:, 7:].any()
    gradient = jax.grad(lambda logits: PROBABILITIES[name](logits, classes=7, axis=axis).max())(moved)
    assert np.isfinite(gradient).all()
    assert not (gradient if axis == -1 else gradient.T)[:, 7:].any()


@EACH_HEAD
def test_probability_gradients_are_those_of_finite_differences(name):
    with jax.enable_x64(True):
        logits = jnp.asarray(classified()[0], jnp.float64)
        check_grads(lambda logits: PROBABILITIES[name](logits, classes=5), (logits,), order=1, rtol=1e-6)


@EACH_HEAD
def test_probabilities_of_bfloat16_and_of_extreme_logits(name):
    logits, _ = classified(12, 300)
    for given in (jnp.bfloat16(logits), 1e4 * logits):
        found = PROBABILITIES[name](given)
        assert found.dtype == jnp.float32
        np.testing.assert_allclose(found.sum(-1), 1, rtol=1e-5)
        assert (found >= 0).all()


@EACH_LOSS
@pytest.mark.parametrize(("logits", "labels", "axis"), [((5, 3), (5, 1), -1), ((5, 3), (5,), 0), ((5, 3), (), -1)])
def test_labels_of_another_shape_are_refused(name, logits, labels, axis):
    with pytest.raises(ValueError, match="do not fit labels"):
        LOSSES[name](jnp.zeros(logits), jnp.zeros(labels, int), axis=axis)


@EACH_LOSS
def test_labels_must_be_integers_and_logits_have_classes(name):
    with pytest.raises(ValueError, match="labels must be integers, got float32"):
        LOSSES[name](jnp.zeros((5, 3)), jnp.zeros(5))
    with pytest.raises(ValueError, match="logits need an axis of classes"):
        LOSSES[name](jnp.float32(0), jnp.int32(0))


@EACH_HEAD
def test_probabilities_need_classes(name):
    with pytest.raises(ValueError, match="logits need an axis of classes"):
        PROBABILITIES[name](jnp.float32(0))


def test_gaps_masks_and_memberships_of_another_shape_are_refused():
    with pytest.raises(ValueError, match=r"3 classes have 2 gaps, got \(3,\)"):
        losses.squared_emd(jnp.zeros((5, 3)), jnp.zeros(5, int), gaps=jnp.ones(3))
    with pytest.raises(ValueError, match=r"mask \(3,\) does not fit labels \(5,\)"):
        losses.corn(jnp.zeros((5, 3)), jnp.zeros(5, int), mask=jnp.ones(3, bool))
    with pytest.raises(ValueError, match="must have one shape"):
        losses.soft_squared_emd(jnp.zeros((5, 3)), jnp.zeros((5, 4)))
