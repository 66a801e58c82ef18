"""Relevance and SERA: golden numbers of recipes 2.27 and 2.28, the integral that SERA is, bad input."""

import csv

import numpy as np
import pytest
from paths import SHARED

from regcls_jax.metrics.relevance import (
    Relevance,
    phi,
    phi_weighted_mse,
    relevance,
    ser,
    sera,
    sera_per_row,
)

# recipes 2.27 and 2.28, computed there in float64 to 10 digits.
TRAIN = np.array([1.0, 8, 9, 10, 10, 11, 11, 12, 12, 13, 13, 14, 15, 25, 30])
TARGETS = np.array([1, 8, 9, 10.5, 12, 13, 14, 15, 25])
PREDICTIONS = np.array([5, 9, 9.5, 10, 12, 12.5, 13, 13, 18])
WHISKERS = [1, 1, 0.84375, 0.31640625, 0, 0.2592592593, 0.7407407407, 1, 1]
FENCES = [1, 0.5773094428, 0.3719709705, 0.110705646, 0, 0.0593405477, 0.2113498958, 0.4170096022, 1]
AGEDB = [0.0599385493, 0.2978434451, 0.6108762028, 0.8834554964, 1]


def test_golden_relevance():
    fitted = relevance(TRAIN)
    np.testing.assert_array_equal(fitted.points, [8, 12, 15])
    np.testing.assert_array_equal(fitted.values, [1, 0, 1])
    np.testing.assert_allclose(phi(fitted, TARGETS), WHISKERS, atol=5e-11)
    fitted = relevance(TRAIN, fences=True)
    np.testing.assert_array_equal(fitted.points, [4.75, 12, 18.75])
    np.testing.assert_allclose(phi(fitted, TARGETS), FENCES, atol=5e-11)


def test_golden_relevance_of_agedb():
    np.testing.assert_allclose(
        phi(Relevance(np.array([43, 90]), np.array([0, 1])), range(50, 91, 10)), AGEDB, atol=5e-11
    )
    path = SHARED / "data" / "agedb.csv"
    if not path.exists():
        pytest.skip("needs ../shared")
    with path.open() as lines:
        ages = [float(row["age"]) for row in csv.DictReader(lines) if row["split"] == "train"]
    fitted = relevance(ages)
    assert fitted.points[1:].tolist() == [43, 90]
    assert fitted.values.tolist() == [0, 0, 1], "no age lies below the lower whisker"
    np.testing.assert_allclose(phi(fitted, range(50, 91, 10)), AGEDB, atol=5e-11)
    assert not phi(fitted, [0, 3, 30, 43]).any()


def test_golden_sera():
    weights = phi(relevance(TRAIN), TARGETS)
    given = (PREDICTIONS, TARGETS, weights)
    assert sera(*given) == pytest.approx(71.0955946181, abs=5e-11)
    assert sera_per_row(*given) == pytest.approx(71.0955946181 / 9, abs=5e-11)
    assert phi_weighted_mse(*given) == pytest.approx(11.5411998873, abs=5e-11)
    assert [ser(*given, t) for t in (0, 0.5, 1)] == [71.75, 71.25, 70]
    high = phi(relevance(TRAIN, extremes="high"), TARGETS)
    assert sera(PREDICTIONS, TARGETS, high) == pytest.approx(53.8055555556, abs=5e-11)
    fences = phi(relevance(TRAIN, fences=True), TARGETS)
    assert sera(PREDICTIONS, TARGETS, fences) == pytest.approx(67.5922020385, abs=5e-11)


@pytest.mark.parametrize(("steps", "expected"), [(1000, 71.095375), (100, 71.09875)])
def test_golden_trapezoids_of_the_packages(steps, expected):
    given = (PREDICTIONS, TARGETS, phi(relevance(TRAIN), TARGETS))
    grid = np.arange(steps + 1) / steps
    assert np.trapezoid([ser(*given, t) for t in grid], grid) == pytest.approx(expected, abs=5e-11)


def test_sera_is_the_integral_of_ser():
    rng = np.random.default_rng(0)
    targets = rng.standard_t(3, 200)
    given = (targets + rng.normal(size=200), targets, phi(relevance(targets), targets))
    # A step function: exact as a sum over the places between its steps.
    steps = np.unique(np.concatenate([[0, 1], given[2]]))
    middles = (steps[1:] + steps[:-1]) / 2
    assert sera(*given) == pytest.approx(np.diff(steps) @ [ser(*given, t) for t in middles])


def test_one_sided_relevance_is_0_at_the_other_end_and_beyond():
    low, high = (phi(relevance(TRAIN, extremes=side), [-99, 8, 10.5, 12, 13, 99]) for side in ("low", "high"))
    both = phi(relevance(TRAIN), [-99, 8, 10.5, 12, 13, 99])
    np.testing.assert_array_equal(low, np.where([1, 1, 1, 0, 0, 0], both, 0))
    np.testing.assert_array_equal(high, np.where([0, 0, 0, 1, 1, 1], both, 0))


def test_slopes_are_0_at_the_control_points_and_scale_and_order_do_not_matter():
    fitted = relevance(TRAIN)
    near = phi(fitted, np.array([8, 12, 15])[:, None] + np.array([-1e-6, 0, 1e-6]))
    np.testing.assert_allclose(near, near[:, 1:2] * np.ones(3), atol=1e-11)
    other = relevance(3 * TRAIN[::-1] - 7)
    np.testing.assert_allclose(phi(other, 3 * TARGETS - 7), phi(fitted, TARGETS), atol=1e-12)
    order = np.random.default_rng(0).permutation(9)
    weights = phi(fitted, TARGETS)
    shuffled = sera(PREDICTIONS[order], TARGETS[order], weights[order])
    assert shuffled == pytest.approx(sera(PREDICTIONS, TARGETS, weights))


def test_zeros_that_are_half_of_the_targets_have_relevance_0():
    fitted = relevance([0] * 6 + [1, 2, 3, 4, 20])
    assert fitted.points.tolist() == [0, 4]
    assert phi(fitted, [-1, 0, 2, 4, 20]).tolist() == [0, 0, 0.5, 1, 1]


@pytest.mark.parametrize(
    ("targets", "options", "message"),
    [
        ([1.0, np.nan], {}, "train_targets: 1 of 2 values are not finite, the first at row 1"),
        (TRAIN, {"extremes": "up"}, "unknown extremes 'up'; one of both, low, high"),
        (np.arange(9.0), {}, r"none lies outside \[-4, 12\]"),
        (np.append(np.arange(9.0), 99), {"extremes": "low"}, r"none lies below -3\.5"),
        ([5, 5, 5, 5, 9], {"fences": True}, "the quartiles are both 5"),
        ([0, 0, 0, 0, 1, 1, 1, 1, 1, 50], {}, "the median 1 is a whisker"),
        (np.zeros((3, 2)), {}, r"must be \[n\], got shape \(3, 2\)"),
    ],
)
def test_relevance_that_cannot_be_fitted(targets, options, message):
    with pytest.raises(ValueError, match=message):
        relevance(targets, **options)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (([1.0], [np.nan], [1.0]), "targets: 1 of 1 values are not finite"),
        (([np.inf], [1.0], [1.0]), "predictions: 1 of 1 values are not finite"),
        (([1.0], [1.0], [np.nan]), "phi: 1 of 1 values are not finite"),
        (([1.0], [1.0], [1.5]), r"phi must lie in \[0, 1\], got 1.5 to 1.5"),
        (([1.0], [1.0, 2.0], [1.0]), r"predictions \(1,\) and targets \(2,\) must have one shape"),
        (([1.0, 2.0], [1.0, 2.0], [1.0]), r"must be \[n\], got \(2,\) and phi \(1,\)"),
    ],
)
def test_bad_input(given, message):
    for metric in (sera, sera_per_row, phi_weighted_mse, lambda *given: ser(*given, 0.5)):
        with pytest.raises(ValueError, match=message):
            metric(*given)


def test_bad_thresholds_targets_and_no_relevance_at_all():
    with pytest.raises(ValueError, match=r"threshold must lie in \[0, 1\], got 2"):
        ser([1.0], [1.0], [1.0], 2)
    with pytest.raises(ValueError, match="phi is 0 for every row"):
        phi_weighted_mse([1.0], [2.0], [0.0])
    with pytest.raises(ValueError, match="targets: 1 of 2 values are not finite, the first at row 1"):
        phi(relevance(TRAIN), [1, np.nan])
