"""Soft targets and their cross-entropy: golden values, NumPy oracles, padding, NaN, gradients, bad input.

Golden numbers were computed from the formulas in float64, apart from this library.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads
from scipy import special, stats

from regcls_jax import binning, losses

UNEQUAL = np.array([0.0, 1.0, 3.0, 4.0, 9.0, 10.0])
# Compiled: operation by operation they are slow to start.
TARGETS = {
    "hl_gauss": jax.jit(losses.hl_gauss),
    "two_hot": jax.jit(losses.two_hot),
    "sord": jax.jit(functools.partial(losses.sord, alpha=0.3)),
    "sord_absolute": jax.jit(functools.partial(losses.sord, alpha=0.3, power=1)),
    "sord_between": jax.jit(functools.partial(losses.sord, alpha=0.3, power=1.5)),
}
EACH_TARGET = pytest.mark.parametrize("name", TARGETS)
sord = jax.jit(losses.sord, static_argnames="power")
soft_cross_entropy = jax.jit(losses.soft_cross_entropy, static_argnames="axis")


def slow_targets(name, targets, edges):
    """recipes 2.11, 2.23 and 2.24, one target after the other in float64."""
    widths, centres = np.diff(edges), (edges[1:] + edges[:-1]) / 2
    rows = []
    for y in np.clip(np.float64(targets), edges[0], edges[-1]):
        if name == "hl_gauss":
            below = stats.norm.cdf(edges, y, 0.75 * np.median(widths))
            row = np.diff(below)
        elif name == "two_hot":
            # Linear interpolation of the unit vectors between the centres.
            row = np.array([np.interp(y, centres, unit) for unit in np.eye(len(centres))])
        else:
            power = {"sord": 2, "sord_absolute": 1, "sord_between": 1.5}[name]
            row = widths * np.exp(-0.3 * np.abs(y - centres) ** power)
        rows.append(row / row.sum())
    return np.array(rows)


def some_targets():
    return np.concatenate([np.random.default_rng(0).uniform(0, 10, 30), [-4, 0, 0.5, 3, 10, 25]])


def total_and_gradient(logits, memberships, classes=None, axis=-1):
    """Sum of the losses and its gradient by the logits."""

    def total(logits):
        return jnp.sum(losses.soft_cross_entropy(logits, memberships, classes=classes, axis=axis))

    return jax.jit(jax.value_and_grad(total))(logits)


def classified(rows=12, classes=7):
    rng = np.random.default_rng(0)
    logits, memberships = rng.normal(scale=3, size=(rows, classes)), rng.dirichlet(np.ones(classes), rows)
    return jnp.float32(logits), jnp.float32(memberships)


@pytest.mark.parametrize(
    ("target", "expected", "decoded"),
    [
        (2.3, [0.0404861791, 0.3034367278, 0.4806945353, 0.1638220169, 0.0115605409], 2.3025340126),
        (0.2, [0.763588789, 0.2228646345, 0.0133904448, 0.0001557973, 0.0000003344], 0.7501142534),
    ],
)
def test_golden_hl_gauss(target, expected, decoded):
    # Recipes 2.23.
    with jax.enable_x64(True):
        soft = losses.hl_gauss(target, np.arange(6.0))
        np.testing.assert_allclose(soft, expected, rtol=0, atol=6e-11)
        np.testing.assert_allclose(binning.decode(soft, np.arange(6.0)), decoded, rtol=0, atol=6e-11)


def test_golden_soft_cross_entropy_of_hl_gauss():
    # Recipes 2.23.
    logits = np.array([0.1, 0.2, 1, 0.3, -0.5])
    with jax.enable_x64(True):
        soft = losses.hl_gauss(2.3, np.arange(6.0))
        value = losses.soft_cross_entropy(logits, soft)
        np.testing.assert_allclose(value, 1.3572911529, rtol=0, atol=6e-11)
        np.testing.assert_allclose(value - stats.entropy(soft), 0.1655554088, rtol=0, atol=1.2e-10)


@pytest.mark.parametrize(
    ("target", "power", "expected"),
    [
        (2, 1, [0.0674508059, 0.1833502999, 0.4983977885, 0.1833502999, 0.0674508059]),
        (1, 2, [0.2097137584, 0.5700610988, 0.2097137584, 0.0104410332, 0.0000703511]),
        (1.3, 2, [0.1044054787, 0.5171237214, 0.3466383967, 0.0314463259, 0.0003860772]),
    ],
)
def test_golden_sord(target, power, expected):
    # Recipes 2.24: centres 0 to 4, alpha 1.
    with jax.enable_x64(True):
        soft = losses.sord(target, np.arange(6) - 0.5, power=power)
    np.testing.assert_allclose(soft, expected, rtol=0, atol=6e-11)


def test_golden_sord_of_logarithms():
    # Recipes 2.24: y 2, centres 1, 2, 4, 8; their logarithms are equally far apart.
    with jax.enable_x64(True):
        soft = losses.sord(np.log(2), np.log(2) * (np.arange(5) - 0.5))
    np.testing.assert_allclose(soft, [0.2595102289, 0.4195778695, 0.2595102289, 0.0614016727], rtol=0, atol=6e-11)


@pytest.mark.parametrize(("power", "expected"), [(2, 1.1301861377), (1, 1.3164299817)])
def test_golden_soft_cross_entropy_of_sord(power, expected):
    # Recipes 2.24, y 1.
    with jax.enable_x64(True):
        soft = losses.sord(1, np.arange(6) - 0.5, power=power)
        value = losses.soft_cross_entropy(np.array([1, 2, 0.5, -1, 0]), soft)
    np.testing.assert_allclose(value, expected, rtol=0, atol=6e-11)


@EACH_TARGET
@pytest.mark.parametrize("edges", [UNEQUAL, np.linspace(0, 10, 6), np.array([0.0, 10.0])])
def test_targets_equal_the_slow_oracle(name, edges):
    targets = some_targets()
    soft = TARGETS[name](targets, edges)
    assert soft.shape == (len(targets), len(edges) - 1)
    np.testing.assert_allclose(soft, slow_targets(name, targets, edges), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(jnp.sum(soft, -1), 1, rtol=1e-6)
    assert (soft >= 0).all()


@EACH_TARGET
@pytest.mark.parametrize("shape", [(), (6, 6), (2, 3, 6)])
def test_targets_of_any_shape(name, shape):
    targets = some_targets()[: int(np.prod(shape))].reshape(shape)
    soft = TARGETS[name](targets, UNEQUAL)
    assert soft.shape == (*shape, 5)
    np.testing.assert_allclose(soft.reshape(-1, 5), slow_targets(name, targets.ravel(), UNEQUAL), rtol=1e-5, atol=1e-6)


@EACH_TARGET
def test_edges_may_differ_under_vmap_and_be_padded(name):
    # As the study engine pads: its data sets have their own edges and numbers of classes.
    targets, equal = some_targets(), np.linspace(0, 10, 4)
    edges = np.stack([UNEQUAL, np.pad(equal, (0, 2), mode="edge")])
    soft = jax.jit(jax.vmap(TARGETS[name], in_axes=(None, 0)))(targets, edges)
    np.testing.assert_allclose(soft[0], TARGETS[name](targets, UNEQUAL), rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(soft[1, :, :3], TARGETS[name](targets, equal), rtol=1e-5, atol=1e-7)
    assert not soft[1, :, 3:].any()


@EACH_TARGET
def test_a_nan_target_has_nan_memberships_of_its_own_only(name):
    for edges in (UNEQUAL, np.array([0.0, 10.0])):
        soft = TARGETS[name](jnp.array([2.0, jnp.nan]), edges)
        assert np.isfinite(soft[0]).all()
        assert np.isnan(soft[1]).all()


@EACH_TARGET
def test_targets_of_bfloat16_are_computed_in_float32(name):
    targets = jnp.bfloat16(some_targets())
    soft = TARGETS[name](targets, jnp.bfloat16(UNEQUAL))
    assert soft.dtype == jnp.float32
    np.testing.assert_allclose(soft, slow_targets(name, targets, UNEQUAL), rtol=1e-5, atol=1e-6)


@EACH_TARGET
def test_eager_targets_are_the_compiled_ones(name):
    targets = some_targets()
    np.testing.assert_allclose(
        TARGETS[name].__wrapped__(targets, UNEQUAL), TARGETS[name](targets, UNEQUAL), rtol=1e-6, atol=1e-7
    )


@EACH_TARGET
def test_gradients_by_the_targets_are_those_of_finite_differences(name):
    # Away from the kinks at centres and edges.
    with jax.enable_x64(True):
        check_grads(lambda y: TARGETS[name](y, UNEQUAL), (jnp.array([0.7, 2.2, 3.3, 8.1]),), order=1, rtol=1e-6)


def test_alpha_may_be_traced_and_has_a_gradient():
    with jax.enable_x64(True):
        check_grads(lambda a: sord(jnp.array([0.7, 8.1]), UNEQUAL, a), (jnp.float64(0.4),), order=1, rtol=1e-6)


def test_two_hot_is_decoded_to_the_target():
    targets = np.linspace(0.5, 9.5, 50)  # between the outermost centres
    soft = TARGETS["two_hot"](targets, UNEQUAL)
    np.testing.assert_allclose(binning.decode(soft, jnp.array(UNEQUAL)), targets, rtol=1e-6)
    assert ((soft > 0).sum(-1) <= 2).all()


def test_squared_sord_is_nearly_hl_gauss():
    # Recipes 2.24: a Gaussian sampled at the centres instead of integrated over the classes.
    edges, sigma = np.linspace(0, 50, 51), 3.0
    targets = np.linspace(10, 40, 17)
    sampled = sord(targets, edges, 1 / (2 * sigma**2))
    np.testing.assert_allclose(sampled, losses.hl_gauss(targets, edges, sigma), atol=3e-3)


def test_soft_cross_entropy_equals_the_slow_oracle():
    logits, memberships = classified()
    expected = -np.sum(np.float64(memberships) * special.log_softmax(np.float64(logits), axis=1), axis=1)
    np.testing.assert_allclose(soft_cross_entropy(logits, memberships), expected, rtol=1e-6)
    np.testing.assert_allclose(losses.soft_cross_entropy(logits, memberships), expected, rtol=1e-6)


def test_soft_cross_entropy_of_one_class_is_the_cross_entropy():
    logits, _ = classified()
    labels = np.arange(12) % 7
    np.testing.assert_allclose(
        soft_cross_entropy(logits, np.eye(7)[labels]), losses.cross_entropy(logits, labels), rtol=1e-6
    )


def test_soft_cross_entropy_gradients_are_those_of_finite_differences():
    with jax.enable_x64(True):
        logits, memberships = (jnp.asarray(array, jnp.float64) for array in classified())
        check_grads(soft_cross_entropy, (logits, memberships), order=1, rtol=1e-6)
        padded = jax.jit(lambda logits: losses.soft_cross_entropy(logits, memberships, classes=5))
        check_grads(padded, (logits,), order=1, rtol=1e-6)


@pytest.mark.parametrize("axis", [-1, 0])
@pytest.mark.parametrize("padding", [0.0, 1e4, np.inf, -np.inf, np.nan])
def test_padded_logits_change_neither_value_nor_gradient(axis, padding):
    logits, memberships = classified()
    value, gradient = total_and_gradient(logits, memberships)
    width = [(0, 0), (0, 5)]
    padded = jnp.pad(logits, width, constant_values=padding)
    soft = jnp.pad(memberships, width, constant_values=0.5)
    if axis == 0:
        padded, soft = padded.T, soft.T
    padded_value, padded_gradient = total_and_gradient(padded, soft, jnp.int32(7), axis)
    np.testing.assert_allclose(padded_value, value, rtol=1e-6)
    padded_gradient = padded_gradient if axis == -1 else padded_gradient.T
    np.testing.assert_allclose(padded_gradient, jnp.pad(gradient, width), rtol=1e-5, atol=1e-7)
    assert not padded_gradient[:, 7:].any()


def test_impossible_classes_without_membership_cost_nothing():
    # Padded by the caller: without `classes`, 0 * -inf is NaN.
    logits, memberships = classified()
    value, gradient = total_and_gradient(logits, memberships)
    width = [(0, 0), (0, 5)]
    impossible = jnp.pad(logits, width, constant_values=-jnp.inf)
    padded_value, padded_gradient = total_and_gradient(impossible, jnp.pad(memberships, width))
    np.testing.assert_allclose(padded_value, value, rtol=1e-6)
    np.testing.assert_allclose(padded_gradient, jnp.pad(gradient, width), rtol=1e-5, atol=1e-7)
    # But they cost everything where something belongs to them.
    assert soft_cross_entropy(jnp.array([0, -jnp.inf]), jnp.array([0.5, 0.5])) == np.inf


@pytest.mark.parametrize("name", ["hl_gauss", "two_hot", "sord"])
def test_a_nan_target_has_a_nan_loss_and_gradient(name):
    logits, _ = classified(2, 7)
    edges = np.pad(UNEQUAL, (0, 2), mode="edge")

    def values(logits):
        return losses.soft_cross_entropy(logits, TARGETS[name](jnp.array([2.0, jnp.nan]), edges), classes=5)

    np.testing.assert_array_equal(np.isnan(values(logits)), [False, True])
    gradient = jax.grad(lambda logits: values(logits).sum())(logits)
    assert np.isfinite(gradient[0]).all()
    assert np.isnan(gradient[1, :5]).all()
    assert not gradient[:, 5:].any()


def test_soft_cross_entropy_of_extreme_logits_and_of_bfloat16():
    logits, memberships = jnp.array([[1e4, -1e4, 0.0]]), jnp.array([[0.5, 0.25, 0.25]])
    np.testing.assert_allclose(soft_cross_entropy(logits, memberships), [7500], rtol=1e-6)
    logits, memberships = classified(classes=300)
    coarse = jnp.bfloat16(logits)
    value, gradient = total_and_gradient(coarse, jnp.bfloat16(memberships))
    expected = soft_cross_entropy(jnp.float32(coarse), jnp.float32(jnp.bfloat16(memberships))).sum()
    assert (value.dtype, gradient.dtype) == (jnp.float32, jnp.bfloat16)
    np.testing.assert_allclose(value, expected, rtol=1e-6)
    assert np.isfinite(np.float32(gradient)).all()


@EACH_TARGET
@pytest.mark.parametrize("edges", [np.zeros((2, 3)), np.zeros(1), np.float64(3)])
def test_edges_that_are_no_list_of_classes_are_refused(name, edges):
    with pytest.raises(ValueError, match=r"edges must be \[C \+ 1\] for at least one class"):
        TARGETS[name](jnp.zeros(3), edges)


def test_a_power_below_one_is_refused():
    with pytest.raises(ValueError, match=r"power must be at least 1, got 0\.5"):
        losses.sord(1.0, UNEQUAL, power=0.5)


@pytest.mark.parametrize("shapes", [((5, 3), (5, 4)), ((5, 3), (3,)), ((5, 3), (1, 3)), ((), ())])
def test_memberships_of_another_shape_are_refused(shapes):
    with pytest.raises(ValueError, match="must have one shape"):
        losses.soft_cross_entropy(*(jnp.zeros(shape) for shape in shapes))
