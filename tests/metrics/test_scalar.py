"""Correlations and balanced errors: plain loops, permutations, dimensions one by one, bad input."""

import subprocess
import sys

import numpy as np
import pytest

from regcls_jax.metrics.scalar import balanced_errors, pearson, signed_error, spearman

EDGES = np.array([0, 1, 2, 3.5, 8])


@pytest.fixture
def rows():
    rng = np.random.default_rng(0)
    targets = np.round(rng.exponential(size=(120, 2)), 2)
    return np.round(targets + rng.normal(0.3, 1, (120, 2)), 1), targets


def ranks(values):
    """The mean rank of every value, by counting."""
    return np.array([np.sum(values < v) + (np.sum(values == v) - 1) / 2 for v in values])


def correlation(a, b):
    a, b = a - a.mean(), b - b.mean()
    return (a * b).sum() / np.sqrt((a**2).sum() * (b**2).sum())


def slow_balanced(predictions, targets, edges):
    per_bin = {}
    for p, y in zip(predictions, targets, strict=True):
        place = min(max(sum(y >= edge for edge in edges) - 1, 0), len(edges) - 2)
        per_bin.setdefault(place, []).append(p - y)
    means = np.array([[np.abs(e).mean(), np.square(e).mean(), np.mean(e)] for e in map(np.array, per_bin.values())])
    mae, mse, signed = means.mean(0)
    return mae, mse**0.5, signed, len(per_bin)


def test_correlations_by_their_definitions(rows):
    predictions, targets = rows
    for d in range(2):
        p, y = predictions[:, d], targets[:, d]
        assert pearson(p, y) == pytest.approx(correlation(p, y))
        assert spearman(p, y) == pytest.approx(correlation(ranks(p), ranks(y)))
    np.testing.assert_array_equal(pearson(*rows), [pearson(predictions[:, d], targets[:, d]) for d in range(2)])
    np.testing.assert_array_equal(spearman(*rows), [spearman(predictions[:, d], targets[:, d]) for d in range(2)])


def test_correlations_see_no_scale_and_ranks_no_monotone_change(rows):
    p, y = rows[0][:, 0], rows[1][:, 0]
    assert pearson(5 - 2 * p, y) == pytest.approx(-pearson(p, y))
    assert spearman(np.exp(p), y**3) == pytest.approx(spearman(p, y))


def test_a_constant_predictor_has_no_correlation():
    targets = np.arange(5.0)
    for constant in (np.full(5, 0.1), np.full(5, 1e9) + 1e-6 * (targets == 2)):
        assert np.isnan(pearson(constant, targets))
        assert np.isnan(pearson(targets, constant))
    assert np.isnan(spearman(np.full(5, 0.1), targets))
    both = np.stack([targets, np.zeros(5)], 1)
    np.testing.assert_array_equal(spearman(both, np.stack([targets, targets], 1)), [1, np.nan])


@pytest.mark.parametrize("shift", [0.0, -3.0])  # some targets lie beyond the edges then
def test_balanced_errors_by_a_plain_loop(rows, shift):
    predictions, targets = (values[:, 0] + shift for values in rows)
    np.testing.assert_allclose(balanced_errors(predictions, targets, EDGES), slow_balanced(predictions, targets, EDGES))
    order = np.random.default_rng(1).permutation(len(targets))
    shuffled = balanced_errors(predictions[order], targets[order], EDGES)
    np.testing.assert_allclose(shuffled, balanced_errors(predictions, targets, EDGES))


def test_balanced_errors_count_bins_not_rows():
    got = balanced_errors([1, 1, 1, 1 + 3], [0, 0, 0, 1], [0, 1, 2, 3])
    assert got == (2, 5**0.5, 2, 2)
    twice = balanced_errors([1, 1, 1, 1, 1, 1, -2], [0, 0, 0, 0, 0, 0, 1], [0, 1, 2, 3])
    assert twice == (2, 5**0.5, -1, 2)


def test_vectors_dimension_by_dimension(rows):
    edges = np.stack([EDGES, 2 * EDGES])
    got = balanced_errors(*rows, edges)
    for d in range(2):
        one = balanced_errors(rows[0][:, d], rows[1][:, d], edges[d])
        assert [values[d] for values in got] == list(one)
    np.testing.assert_array_equal(balanced_errors(*rows, EDGES).mae, balanced_errors(*rows, [EDGES, EDGES]).mae)
    np.testing.assert_allclose(signed_error(*rows), (rows[0] - rows[1]).mean(0))
    assert signed_error([3.0, 4.0], [2.0, 7.0]) == -1


@pytest.mark.parametrize("metric", [pearson, spearman, signed_error, lambda *given: balanced_errors(*given, EDGES)])
@pytest.mark.parametrize(
    ("given", "message"),
    [
        (([1.0, np.nan], [1.0, 2.0]), "predictions: 1 of 2 values are not finite, the first at row 1"),
        (([1.0, 2.0], [np.nan, 2.0]), "targets: 1 of 2 values are not finite, the first at row 0"),
        (([1.0, 2.0], [1.0]), r"predictions \(2,\) and targets \(1,\) must have one shape"),
        (([], []), "no samples"),
    ],
)
def test_bad_rows(metric, given, message):
    with pytest.raises(ValueError, match=message):
        metric(*given)


def test_bad_edges_and_too_few_rows():
    with pytest.raises(ValueError, match="edges must be at least two increasing finite numbers"):
        balanced_errors([1.0], [1.0], [0, 2, 1])
    with pytest.raises(ValueError, match="2 dimensions need as many edges, got 3"):
        balanced_errors(np.ones((4, 2)), np.ones((4, 2)), np.tile(EDGES, (3, 1)))
    with pytest.raises(ValueError, match=r"targets \[n\] need edges \[C \+ 1\]"):
        balanced_errors([1.0], [1.0], [EDGES])
    with pytest.raises(ValueError, match="at least 2 rows, got 1"):
        pearson([1.0], [1.0])


def test_metrics_of_numpy_start_no_jax():
    code = "import sys; from regcls_jax import metrics; metrics.sera; metrics.crps; metrics.pearson([1, 2], [1, 3])"
    subprocess.run([sys.executable, "-c", f"{code}; sys.exit('jax' in sys.modules)"], check=True)


def test_every_public_metric_is_there_and_no_other():
    from regcls_jax import metrics

    assert all(callable(getattr(metrics, name)) for name in metrics.__all__)
    assert dir(metrics) == metrics.__all__
    with pytest.raises(AttributeError, match="'regcls_jax.metrics' has no attribute 'serra'"):
        _ = metrics.serra
