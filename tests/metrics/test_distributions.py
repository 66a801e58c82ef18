"""Scores of distributions: numerical integrals, quantiles, plain loops, recipes 2.33's golden number, bad input."""

import numpy as np
import pytest
from scipy import integrate, stats

from regcls_jax.estimator import Distribution
from regcls_jax.losses import gaussian_nll
from regcls_jax.metrics import distributions as scores

EDGES = np.array([-1, 0, 0.5, 2, 5, 5.5])
TARGETS = np.array([-3, -1, -0.2, 0, 0.3, 1.7, 4.99, 5.5, 9])


@pytest.fixture
def probabilities():
    rng = np.random.default_rng(0)
    found = rng.dirichlet(np.full(5, 0.7), len(TARGETS))
    found[2] = [0, 1, 0, 0, 0]
    found[3] = [0.5, 0, 0, 0.5, 0]
    return found


def distribution_function(probabilities, z):
    return np.interp(z, EDGES, np.concatenate([[0], np.cumsum(probabilities)]))


def test_crps_is_its_integral(probabilities):
    got = scores.crps(probabilities, EDGES, TARGETS)
    for row, (p, y) in enumerate(zip(probabilities, TARGETS, strict=True)):
        # Between edges and target the integrand is a polynomial, which quad integrates exactly.
        places = np.unique(np.concatenate([EDGES, [y, -4, 10]]))
        parts = [
            integrate.quad(lambda z, p=p, y=y: (distribution_function(p, z) - (z >= y)) ** 2, a, b)[0]
            for a, b in zip(places[:-1], places[1:], strict=True)
        ]
        assert got[row] == pytest.approx(sum(parts), abs=1e-9)


def test_crps_is_the_energy_form(probabilities):
    # Gneiting and Raftery 2007: E|X - y| - E|X - X'| / 2, by samples.
    rng = np.random.default_rng(1)
    p, y = probabilities[4], TARGETS[4]
    draw = np.interp(rng.random((2, 400_000)), np.concatenate([[0], np.cumsum(p)]), EDGES)
    expected = np.abs(draw[0] - y).mean() - np.abs(draw[0] - draw[1]).mean() / 2
    assert scores.crps(p[None], EDGES, [y])[0] == pytest.approx(expected, abs=5e-3)


def test_crps_of_narrow_classes_tends_to_the_absolute_error_and_to_the_normal_score():
    narrow = scores.crps([[0, 1, 0]], [0, 2 - 1e-6, 2 + 1e-6, 9], [6.5])
    assert narrow[0] == pytest.approx(4.5, abs=1e-5)
    edges = np.linspace(-8, 8, 3201)
    normal = np.diff(stats.norm.cdf(edges, 0.5, 1.2))
    got = scores.crps([normal / normal.sum()] * 2, edges, [1.7, -0.4])
    np.testing.assert_allclose(got, scores.crps_gaussian([0.5, 0.5], [1.2, 1.2], [1.7, -0.4]), atol=1e-5)


def test_the_cdf_and_the_likelihood(probabilities):
    expected = [distribution_function(p, y) for p, y in zip(probabilities, TARGETS, strict=True)]
    np.testing.assert_allclose(scores.cdf(probabilities, EDGES, TARGETS), expected, atol=1e-15)
    got = scores.nll(probabilities, EDGES, TARGETS)
    assert got[[0, 2, 3, 8]].tolist() == [np.inf] * 4, "beyond the edges, or in a class of probability 0"
    inside = [(1, 0), (4, 1), (5, 2), (6, 3), (7, 4)]
    for row, place in inside:
        assert got[row] == pytest.approx(-np.log(probabilities[row, place] / (EDGES[place + 1] - EDGES[place])))


def test_no_score_depends_on_how_a_class_is_cut():
    for score in (scores.nll, scores.crps, scores.cdf):
        whole, cut = score([[0.2, 0.8]], [0, 1, 4], [3.2]), score([[0.2, 0.2, 0.6]], [0, 1, 1.75, 4], [3.2])
        np.testing.assert_allclose(whole, cut)


def test_the_largest_target_in_float32_lies_on_the_last_edge():
    largest = 0.1
    assert float(np.float32(largest)) > largest
    assert np.isfinite(scores.nll([[0.5, 0.5]], [0, 0.05, largest], [np.float32(largest)]))


@pytest.mark.parametrize("level", [0.05, 0.5, 0.9])
def test_coverage_is_that_of_the_interval_between_two_quantiles(level):
    rng = np.random.default_rng(2)
    probabilities = rng.dirichlet(np.ones(5), 500)
    targets = rng.uniform(-2, 6, 500)
    found = Distribution(probabilities, EDGES)
    inside = (targets >= found.quantile((1 - level) / 2)) & (targets <= found.quantile((1 + level) / 2))
    assert scores.coverage(probabilities, EDGES, targets, level) == inside.mean()
    order = rng.permutation(500)
    assert scores.coverage(probabilities[order], EDGES, targets[order], level) == inside.mean()


def test_calibration_error():
    rng = np.random.default_rng(3)
    probabilities = rng.dirichlet(np.ones(5), 20_000)
    below = np.pad(np.cumsum(probabilities, 1), ((0, 0), (1, 0)))
    drawn = np.array([np.interp(u, b, EDGES) for u, b in zip(rng.random(20_000), below, strict=True)])
    assert scores.calibration_error(probabilities, EDGES, drawn) < 0.01
    levels = (0.2, 0.6)
    wide = scores.calibration_error(probabilities, EDGES, np.full(20_000, 99.0), levels)
    assert wide == pytest.approx(0.4), "nothing is covered"
    each = [abs(scores.coverage(probabilities, EDGES, drawn + 1, level) - level) for level in levels]
    assert scores.calibration_error(probabilities, EDGES, drawn + 1, levels) == pytest.approx(np.mean(each))


@pytest.mark.parametrize(
    ("score", "family"), [(scores.crps_gaussian, stats.norm), (scores.crps_laplace, stats.laplace)]
)
@pytest.mark.parametrize(("mean", "std", "target"), [(0, 1, 0), (28, 2.3, 30), (-1, 0.2, -2)])
def test_scores_of_densities_are_their_integrals(score, family, mean, std, target):
    scale = std if family is stats.norm else std / 2**0.5
    below = integrate.quad(lambda z: family.cdf(z, mean, scale) ** 2, mean - 40 * std, target, points=[mean], limit=200)
    above = integrate.quad(lambda z: family.sf(z, mean, scale) ** 2, target, mean + 40 * std, points=[mean], limit=200)
    assert score([mean], [std], [target])[0] == pytest.approx(below[0] + above[0], rel=1e-6)


def test_golden_laplace():
    # recipes 2.33: mu 28, s .5, y 30, where the std is sqrt 2 exp(s).
    std = 2.3316439816
    assert 2**0.5 * np.exp(0.5) == pytest.approx(std, abs=5e-11)
    assert scores.laplace_nll([28], [std], [30])[0] == pytest.approx(2.4062085000, abs=5e-10)


def test_the_normal_likelihood_of_the_losses_takes_the_variance():
    expected = -stats.norm.logpdf(30, 28, 2.5)
    assert float(gaussian_nll(np.array([28.0]), np.array([30.0]), 2.5**2)[0]) == pytest.approx(expected, rel=1e-6)


def slow_uce(errors, std, bins):
    """recipes 2.33, bin by bin."""
    width = (std.max() - std.min()) / bins
    places = [min(int((s - std.min()) / width), bins - 1) for s in std]
    total = 0
    for place in set(places):
        member = np.array(places) == place
        total += member.mean() * abs(np.abs(errors[member]).mean() - std[member].mean())
    return total


def test_uce_by_a_plain_loop():
    rng = np.random.default_rng(4)
    std = rng.uniform(1, 3, 300)
    errors = rng.normal(0, std)
    for bins in (1, 10):
        assert scores.uce(errors, std, bins) == pytest.approx(slow_uce(errors, std, bins))
    order = rng.permutation(300)
    assert scores.uce(-errors[order], std[order]) == pytest.approx(scores.uce(errors, std))
    assert scores.uce([3, -1], [0.5, 0.5]) == 1.5


def test_uce_of_a_perfect_laplace_is_not_0():
    # recipes 2.33: the mean |error| is b, the std sqrt 2 b.
    errors = np.random.default_rng(5).laplace(0, 2, 200_000)
    assert scores.uce(errors, np.full(200_000, 2 * 2**0.5)) == pytest.approx(2 * (2**0.5 - 1), abs=0.02)


def slow_curve(errors, order):
    left, curve = list(order), []
    while len(left) > 1:
        left.pop(0)
        curve.append(np.mean([errors[row] for row in left]))
    return np.array(curve)


@pytest.mark.parametrize("scale", scores.AUSE_SCALES)
def test_ause_by_removing_rows_one_by_one(scale):
    # recipes 2.34: |curve by variance - curve by error| / its maximum, area over the removed share.
    rng = np.random.default_rng(6)
    errors, uncertainty = rng.exponential(size=60), rng.random(60)
    by_error = slow_curve(errors, sorted(range(60), key=lambda row: -errors[row]))
    by_uncertainty = slow_curve(errors, sorted(range(60), key=lambda row: -uncertainty[row]))
    gap = np.abs(by_uncertainty - by_error)
    gap /= gap.max() if scale == "gap" else errors.mean()
    share = np.linspace(0, 1, 59)
    expected = sum((share[i + 1] - share[i]) * (gap[i] + gap[i + 1]) / 2 for i in range(58))
    assert scores.ause(errors, uncertainty, scale) == pytest.approx(expected)


def test_ause_is_about_order():
    rng = np.random.default_rng(7)
    errors = rng.exponential(size=400)
    assert scores.ause(errors, errors**2) == scores.ause(-errors, errors, "error") == 0
    noisy, worse = errors + rng.normal(0, 0.3, 400), errors + rng.normal(0, 3, 400)
    found = [scores.ause(errors, uncertainty, "error") for uncertainty in (noisy, worse, -errors)]
    assert 0 < found[0] < found[1] < found[2]
    assert scores.ause(errors, np.exp(worse)) == pytest.approx(scores.ause(errors, worse))


def test_ause_of_ties_is_that_of_a_random_order():
    errors = np.array([4.0, 1, 3, 2, 0.5, 7])
    order = np.array([3, 1, 5, 0, 2, 4])
    tied = np.array([1, 1, 1, 2, 2, 2])
    assert scores.ause(errors[order], tied[order]) == pytest.approx(scores.ause(errors, tied))
    # All equal: the curve stays at the mean error.
    by_error = slow_curve(errors, np.argsort(-errors))
    expected = np.trapezoid((errors.mean() - by_error) / errors.mean(), dx=1 / 4)
    assert scores.ause(errors, np.ones(6), "error") == pytest.approx(expected)


GOOD = ([[0.5, 0.5]], [0, 1, 2], [0.5])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (([[0.5, np.nan]], *GOOD[1:]), "probabilities: 1 of 2 values are not finite, the first at row 0, 1"),
        ((*GOOD[:2], [np.nan]), "targets: 1 of 1 values are not finite, the first at row 0"),
        (([[0.5, 0.4]], *GOOD[1:]), "probabilities: row 0 is no distribution: sum 0.9, least 0.4"),
        (([[1.5, -0.5]], *GOOD[1:]), "row 0 is no distribution: sum 1, least -0.5"),
        ((GOOD[0], [0, 1], GOOD[2]), r"probabilities \(1, 2\), edges \(2,\) and targets \(1,\) must be"),
        ((GOOD[0], [0, 2, 1], GOOD[2]), "edges must be at least two increasing finite numbers"),
    ],
)
def test_bad_distributions(given, message):
    coverage, calibration = (lambda *given: scores.coverage(*given, 0.5)), scores.calibration_error
    for score in (scores.cdf, scores.crps, scores.nll, coverage, calibration):
        with pytest.raises(ValueError, match=message):
            score(*given)


def test_bad_levels():
    for level in (0, 1, 90):
        with pytest.raises(ValueError, match="level must be a share between 0 and 1"):
            scores.coverage(*GOOD, level)
        with pytest.raises(ValueError, match="level must be a share between 0 and 1"):
            scores.calibration_error(*GOOD, [level])
    with pytest.raises(ValueError, match="at least one level"):
        scores.calibration_error(*GOOD, [])


@pytest.mark.parametrize("score", [scores.crps_gaussian, scores.crps_laplace, scores.laplace_nll])
def test_bad_means_and_deviations(score):
    with pytest.raises(ValueError, match="mean: 1 of 1 values are not finite"):
        score([np.nan], [1.0], [1.0])
    with pytest.raises(ValueError, match="std must be positive, got 0 at row 1"):
        score([1.0, 1.0], [1.0, 0.0], [1.0, 1.0])
    with pytest.raises(ValueError, match=r"must have one shape, got \(1,\), \(2,\)"):
        score([1.0], [1.0, 2.0], [1.0])


def test_bad_errors_and_uncertainties():
    for metric in (scores.uce, scores.ause):
        with pytest.raises(ValueError, match="errors: 1 of 3 values are not finite, the first at row 2"):
            metric([1, 1, np.nan], [1, 1, 1])
        with pytest.raises(ValueError, match=r"errors \(3,\) and .* \(2,\) must both be \[n\]"):
            metric([1, 1, 1], [1, 1])
    with pytest.raises(ValueError, match="std must be positive, got -1 at row 0"):
        scores.uce([1, 1], [-1, 1])
    with pytest.raises(ValueError, match="bins must be an integer of at least 1, not 0"):
        scores.uce([1, 1], [1, 1], 0)
    with pytest.raises(ValueError, match="unknown scale 'max'; one of gap, error"):
        scores.ause([1, 1, 1], [1, 1, 1], "max")
    with pytest.raises(ValueError, match="at least 3 rows, got 2"):
        scores.ause([1, 1], [1, 1])
