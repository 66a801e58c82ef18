"""The public face: every name is there, arrays of any kind fit, importing bins and weights starts no JAX."""

import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

import regcls_jax as rc


def test_every_public_name_is_there_and_no_other():
    for name in rc.__all__:
        assert getattr(rc, name) is not None
    assert set(rc.__all__) <= set(dir(rc))
    with pytest.raises(AttributeError, match="has no attribute 'loss'; it has ImbalanceWeights, Prediction"):
        _ = rc.loss


@pytest.mark.parametrize(
    "statement", ["import regcls_jax as rc", "rc.bins.fit([1.0, 2.0, 3.0], 2)", "rc.weights.LdsKernel()"]
)
def test_bins_and_weights_start_no_jax(statement):
    code = f"import sys; import regcls_jax as rc; {statement}; sys.exit('jax' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("kind", [list, np.asarray, pd.Series, jnp.asarray])
def test_lists_numpy_pandas_and_jax_alike(kind):
    targets, predictions = [0.0, 1.0, 2.0, 9.0], [0.5, 1.0, 1.0, 9.5]
    found = rc.bins.fit(kind(targets), 3)
    labels = rc.bins.assign(kind(targets), found.edges)
    assert np.asarray(labels).tolist() == [0, 0, 0, 2]
    np.testing.assert_allclose(rc.losses.squared_error(kind(predictions), kind(targets)), [0.25, 0, 1, 0.25])
    np.testing.assert_allclose(rc.losses.huber(kind(predictions), kind(targets)), [0.125, 0, 0.5, 0.125])
    logits = np.eye(4, 3)
    np.testing.assert_allclose(
        rc.losses.cross_entropy(logits, labels), rc.losses.cross_entropy(logits, jnp.asarray(labels))
    )


@pytest.mark.parametrize("kind", [list, np.asarray, jnp.asarray])
def test_what_has_classes_takes_lists_numpy_and_jax_alike(kind):
    prior, logits, labels = kind([0.0, -1.0]), kind([[1.0, 2.0], [3.0, 0.0]]), kind([0, 1])
    given = (jnp.array([0.0, -1.0]), jnp.array([[1.0, 2.0], [3.0, 0.0]]), jnp.array([0, 1]))
    for function in (rc.theory.l_extra_softmax, rc.theory.assumption_gap):
        np.testing.assert_array_equal(function(prior, logits, labels), function(*given))
    soft = rc.losses.memberships(kind([0.5, 1.5]), kind([0.0, 1.0, 2.0]), 1.0)
    np.testing.assert_allclose(soft, soft[::-1, ::-1], rtol=1e-6)
    sums = rc.metrics.class_error_sums(kind([1.0, 2.0]), kind([0.0, 4.0]), labels, kind([True, True]), 2)
    assert np.asarray(sums.absolute).tolist() == [1, 2]


def listed(values: list[float]) -> rc.bins.Bins:
    """What a type checker has to accept, and know the result of."""
    edges: np.ndarray = rc.bins.fit(values, 2).edges
    labels: np.ndarray = rc.bins.assign(values, [0.0, 1.0, 2.0])
    on_device: jax.Array = rc.bins.assign(jnp.asarray(values), edges)
    errors: jax.Array = rc.losses.huber(values, np.asarray(values)) + rc.losses.cross_entropy([[0.0, 1.0]] * 2, labels)
    total, _ = rc.objective(rc.Prediction(errors), values, mask=np.asarray(on_device) >= 0, weights=[1.0, 2.0])
    assert total.dtype == jnp.float32
    return rc.bins.from_edges(values, edges)


def test_types_are_those_that_are_annotated():
    assert listed([0.5, 1.5]).counts.tolist() == [1, 1]


@pytest.mark.parametrize("namespace", [np, jnp])
@pytest.mark.parametrize(
    ("rule", "expected"),
    [("expectation", [2.75, 6.0]), ("argmax", [1.0, 6.0]), ("median", [2.0, 6.0])],
)
def test_decoding_by_hand(namespace, rule, expected):
    probabilities = namespace.asarray([[0.5, 0.25, 0.25], [0.0, 0.0, 1.0]])
    found = rc.bins.decode(probabilities, namespace.asarray([0.0, 2.0, 4.0, 8.0]), rule)
    np.testing.assert_allclose(found, expected)


def test_decoding_inverts_assigning_up_to_the_width_of_a_class():
    targets = np.random.default_rng(0).uniform(-3, 5, 300)
    found = rc.bins.fit(targets, 40, balanced=True)
    certain = np.eye(found.classes)[rc.bins.assign(targets, found.edges)]
    for rule in rc.bins.DECODINGS:
        values = rc.bins.decode(certain, found.edges, rule)
        widths = np.diff(found.edges)[rc.bins.assign(targets, found.edges)]
        assert np.all(np.abs(values - targets) <= widths)


def test_decoding_works_in_jit_and_refuses_what_does_not_fit():
    probabilities = jax.nn.softmax(jax.random.normal(jax.random.key(0), (2, 5, 4)))
    edges = jnp.array([0.0, 1.0, 3.0, 4.0, 10.0])
    for rule in rc.bins.DECODINGS:
        got = jax.jit(lambda p, rule=rule: rc.bins.decode(p, edges, rule))(probabilities)
        np.testing.assert_allclose(got, rc.bins.decode(np.asarray(probabilities), np.asarray(edges), rule), rtol=1e-5)
    with pytest.raises(ValueError, match="4 classes need 5 edges, got 4"):
        rc.bins.decode(probabilities, edges[1:])
    with pytest.raises(ValueError, match="unknown rule 'mode'"):
        rc.bins.decode(probabilities, edges, "mode")


def test_certain_classes_may_be_whole_numbers_or_bools():
    for certain in ([[0, 1, 0]], [[False, True, False]]):
        assert rc.bins.decode(certain, [0, 0.5, 1, 1.5]).tolist() == [0.75]
