"""Win rates, intervals and pairing against naive Python loops."""

import math

import numpy as np
import pandas as pd
import pytest
from paths import ROOT
from scipy import stats

from regcls_jax.report.statistics import (
    KEYS,
    compare,
    gap,
    interval,
    mean_interval,
    paired,
    rate_interval,
    shading,
    two_way_interval,
    win_rate,
)


def wilson(wins, n, z=1.959963984540054):
    """Wilson (1927), written out; z is the 97.5 % quantile of the standard normal."""
    p = wins / n
    middle = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return middle - half, middle + half


def test_win_rate_against_a_loop():
    rng = np.random.default_rng(1)
    arm, baseline = rng.integers(0, 5, (2, 60)).astype(float)  # small integers: many ties
    wins = sum(1 for a, b in zip(arm, baseline, strict=True) if a < b)
    ties = sum(1 for a, b in zip(arm, baseline, strict=True) if a == b)
    assert ties > 5
    got, rate, interval = win_rate(arm, baseline)
    assert (got, rate) == (wins, wins / 60)
    np.testing.assert_allclose(interval, wilson(wins, 60), rtol=1e-12)


def test_diverged_runs_lose_and_two_diverged_runs_are_no_win():
    bad = np.array([np.nan, np.inf, 1.0, 1.0, np.nan])
    good = np.array([9.0, 9.0, np.nan, np.inf, np.inf])
    assert win_rate(bad, good)[0] == 2
    assert win_rate(good, bad)[0] == 2


def test_win_rate_rejects_unpaired_errors():
    with pytest.raises(ValueError, match="paired, non-empty"):
        win_rate(np.ones(3), np.ones(2))
    with pytest.raises(ValueError, match="paired, non-empty"):
        win_rate(np.ones(0), np.ones(0))


def test_mean_interval_is_that_of_the_t_test():
    values = np.array([-3.0, -1.0, 0.5, 2.0, 7.0])
    expected = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    np.testing.assert_allclose(mean_interval(values), expected, rtol=1e-12)
    labels = np.array(["b", "a", "b", "c", "c"])
    levels = np.array([-1.0, -1.25, 4.5])
    np.testing.assert_allclose(interval(values, [labels]), mean_interval(levels), rtol=1e-12)


def crossed_by_hand(table):
    """The formula of `two_way_interval`, written out: variance and degrees of freedom of the mean of a table."""
    i, j = len(table), len(table[0])
    mean = sum(map(sum, table)) / (i * j)
    rows = [sum(row) / j for row in table]
    columns = [sum(row[k] for row in table) / i for k in range(j)]
    a = j * sum((row - mean) ** 2 for row in rows) / (i - 1)
    b = i * sum((column - mean) ** 2 for column in columns) / (j - 1)
    left = sum((table[r][c] - rows[r] - columns[c] + mean) ** 2 for r in range(i) for c in range(j))
    e = left / ((i - 1) * (j - 1))
    v = a + b - e
    if v > max(a, b, e):
        df = v**2 / (a**2 / (i - 1) + b**2 / (j - 1) + e**2 / ((i - 1) * (j - 1)))
    else:
        v, df = max((a, i - 1), (b, j - 1), (e, (i - 1) * (j - 1)))
    return v / (i * j), max(df, min(i, j) - 1)


@pytest.mark.parametrize("deviations", [(1, 0.1, 0.3), (0.1, 1, 0.3), (1, 1, 1), (0, 0, 1)])
@pytest.mark.parametrize("shape", [(10, 5), (10, 3), (3, 3), (2, 7)])
def test_two_way_against_loops(shape, deviations):
    rng = np.random.default_rng(5)
    parts = ((shape[0], 1), (1, shape[1]), shape)
    table = sum(s * rng.normal(size=part) for s, part in zip(deviations, parts, strict=True))
    functions, repetitions = (labels.ravel() for labels in np.indices(shape))
    variance, df = crossed_by_hand(table.tolist())
    half = stats.t.ppf(0.975, df) * variance**0.5
    expected = table.mean() - half, table.mean() + half
    np.testing.assert_allclose(two_way_interval(table.ravel(), functions, repetitions), expected, rtol=1e-9)
    # Several values of a cell are averaged; the order of lines and the names of labels say nothing.
    order = rng.permutation(2 * table.size)
    values = np.concatenate([table.ravel() + 0.5, table.ravel() - 0.5])[order]
    names = np.array([f"f{k}" for k in np.tile(functions, 2)])[order]
    both = two_way_interval(values, names, np.tile(repetitions, 2)[order])
    np.testing.assert_allclose(both, expected, rtol=1e-9)


def test_two_way_of_rows_alone_is_that_of_their_means():
    functions, repetitions = (a.ravel() for a in np.mgrid[:10, :5])
    effects = np.random.default_rng(0).normal(size=10)
    wide = two_way_interval(effects[functions], functions, repetitions)
    np.testing.assert_allclose(wide, mean_interval(effects), rtol=1e-9)


def test_an_empty_cell_is_filled_with_what_rows_and_columns_add_up_to():
    functions, repetitions = (a.ravel() for a in np.mgrid[:4, :3])
    values = np.random.default_rng(2).normal(size=12)
    rows, columns = np.array([0.0, 1.0, 3.0, -2.0]), np.array([0.5, 0.0, -1.0])
    additive = rows[functions] + columns[repetitions]
    there = np.arange(12) != 7
    whole, part = (two_way_interval(additive[k], functions[k], repetitions[k]) for k in (there | True, there))
    assert np.diff(part) == pytest.approx(np.diff(whole), rel=1e-9)  # nothing is left over: only the mean moves
    part = two_way_interval(values[there], functions[there], repetitions[there])
    assert np.mean(part) == pytest.approx(values[there].mean(), rel=1e-9)


def test_too_few_runs_have_no_interval():
    assert np.isnan(mean_interval(np.ones(1))).all()
    assert np.isnan(two_way_interval(np.ones(3), np.arange(3), np.zeros(3))).all()
    assert np.isnan(two_way_interval(np.ones(3), np.zeros(3), np.arange(3))).all()
    assert np.isnan(two_way_interval(np.ones(0), np.ones(0), np.ones(0))).all()
    diagonal = np.arange(2)
    assert np.isnan(two_way_interval(np.array([1.0, 2.0]), diagonal, diagonal)).all()
    assert np.isnan(rate_interval(np.ones(3, bool), [np.arange(3), np.zeros(3)])).all()


@pytest.mark.parametrize("wins", [np.zeros(30, bool), np.ones(30, bool)])
def test_all_wins_leave_some_doubt(wins):
    functions, repetitions = (a.ravel() for a in np.mgrid[:10, :3])
    low, high = rate_interval(wins, [functions, repetitions])
    assert 0 <= low < high <= 1
    assert high - low > np.diff(wilson(3, 3))[0] - 1e-9  # no better than three independent wins


def test_independent_wins_have_about_the_interval_of_wilson():
    functions, repetitions = (a.ravel() for a in np.mgrid[:40, :40])
    wins = np.random.default_rng(0).random(1600) < 0.8
    ends = rate_interval(wins, [functions, repetitions])
    np.testing.assert_allclose(ends, wilson(int(wins.sum()), 1600), atol=0.012)


@pytest.mark.parametrize("name", ["functions dominate", "repetitions dominate", "even", "only noise"])
def test_they_hold_their_level(name, monkeypatch):
    """The simulation of benchmarks/intervals.py, small: 600 draws of a level of .95 stay above .92."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import intervals

    for shape in ((10, 5), (10, 3)):
        covered = intervals.coverage(shape, intervals.COMPONENTS[name], draws=600)
        assert min(covered["means"], covered["rates"]) > 0.92, shape


def runs(arm, classes, offset, count=(3, 2)):
    function, repetition = (a.ravel() for a in np.mgrid[: count[0], : count[1]])
    frame = pd.DataFrame({"function": function, "repetition": repetition, "seed": 7 * repetition})
    frame = frame.assign(arm=arm, scenario="clean", sampling="mild", noise=0.0, classes=classes)
    return frame.assign(mse=offset + 0.1 * frame["function"] + 0.01 * frame["repetition"])


def test_pairs_match_whatever_the_order_of_rows():
    frame = pd.concat([runs("reg", 0, 1.0), runs("reg_cls", 4, 0.5), runs("reg_cls", 16, 2.0)])
    pairs = paired(frame.sample(frac=1.0, random_state=0), "reg_cls", "reg")
    assert len(pairs) == 12
    expected = np.where(pairs["classes"] == 4, -0.5, 1.0)
    np.testing.assert_allclose(pairs["arm"] - pairs["baseline"], expected, rtol=1e-12)
    assert set(pairs.columns) == {*KEYS, "classes", "arm", "baseline"}


def test_a_baseline_with_classes_is_paired_at_equal_classes():
    pieces = [runs("reg_cls", 4, 1.0), runs("reg_cls", 16, 2.0), runs("bal", 4, 0.5), runs("bal", 16, 1.7)]
    pairs = paired(pd.concat(pieces), "bal", "reg_cls")
    expected = np.where(pairs["classes"] == 4, -0.5, -0.3)
    np.testing.assert_allclose(pairs["arm"] - pairs["baseline"], expected, rtol=1e-12)


def test_missing_and_duplicated_partners_are_errors():
    reg, cls = runs("reg", 0, 1.0), runs("reg_cls", 4, 0.5)
    with pytest.raises(ValueError, match=r"1 run\(s\) lack a partner; first: no reg, classes 4.*'function': 2"):
        paired(pd.concat([reg.iloc[:-1], cls]), "reg_cls", "reg")
    with pytest.raises(ValueError, match=r"2 run\(s\) lack a partner; first: no reg_cls, classes 4"):
        paired(pd.concat([reg, cls.iloc[2:]]), "reg_cls", "reg")
    with pytest.raises(ValueError, match=r"reg appears twice for .*'function': 0"):
        paired(pd.concat([reg, reg.iloc[:1], cls]), "reg_cls", "reg")
    with pytest.raises(ValueError, match=r"reg_cls appears twice"):
        paired(pd.concat([reg, cls, cls]), "reg_cls", "reg")
    with pytest.raises(ValueError, match="There is no run of reg to pair"):
        paired(cls, "reg_cls", "reg")


def test_compare_counts_diverged_runs():
    frame = pd.concat([runs("reg", 0, 1.0), runs("reg_cls", 4, 0.5)], ignore_index=True)
    frame.loc[(frame["arm"] == "reg_cls") & (frame["function"] == 0) & (frame["repetition"] == 0), "mse"] = np.nan
    result = compare(paired(frame, "reg_cls", "reg"))
    assert (result.n, result.diverged, result.wins) == (6, 1, 5)
    assert result.difference == pytest.approx(-0.5, rel=1e-12)
    assert result.independent == pytest.approx((-0.5, -0.5), rel=1e-12)


def test_compare_when_everything_diverged():
    frame = pd.concat([runs("reg", 0, np.nan), runs("reg_cls", 4, np.nan)])
    result = compare(paired(frame, "reg_cls", "reg"))
    assert (result.diverged, result.wins) == (6, 0)
    assert np.isnan([result.difference, *result.independent, *result.two_way]).all()


def test_shadings_against_loops():
    rng = np.random.default_rng(0)
    table = rng.normal(size=(10, 5))
    functions = pd.Series(np.repeat(np.arange(10), 5))
    values = pd.Series(table.ravel())

    def std(numbers):
        mean = sum(numbers) / len(numbers)
        return math.sqrt(sum((x - mean) ** 2 for x in numbers) / len(numbers))

    assert shading(values, functions, "paper") == pytest.approx(std([std(list(row)) for row in table]), rel=1e-12)
    assert shading(values, functions, "std") == pytest.approx(std(list(values)) * math.sqrt(50 / 49), rel=1e-12)
    lost = pd.concat([values, pd.Series([np.inf])], ignore_index=True)
    labels = pd.concat([functions, pd.Series([3])], ignore_index=True)
    assert shading(lost, labels, "std") == shading(values, functions, "std")
    with pytest.raises(ValueError, match="'std' or 'paper', not 'sem'"):
        shading(values, functions, "sem")


def test_the_gap_hides_the_sign():
    assert gap(np.array([1.0, 1.0]), np.array([1.5, 0.5])) == 0.5


@pytest.mark.parametrize("repetitions", [1, 4])
def test_folds_get_the_corrected_resampled_interval(repetitions):
    """Nadeau and Bengio (2003), Eq. 9: the variance of the mean of J folds, n_test / n_train = 1 / (K - 1)."""
    folds = 5
    rng = np.random.default_rng(repetitions)
    values = rng.normal(1.0, 2.0, (repetitions, folds))
    fold, repetition = np.tile(np.arange(folds), repetitions), np.repeat(np.arange(repetitions), folds)
    labels = [fold, repetition] if repetitions > 1 else [fold]
    several = np.repeat(values.ravel(), 3)  # class counts are averaged
    found = interval(several, [np.repeat(each, 3) for each in labels], folds=True)
    half = stats.t.ppf(0.975, values.size - 1) * (values.var(ddof=1) * (1 / values.size + 1 / (folds - 1))) ** 0.5
    np.testing.assert_allclose(found, (values.mean() - half, values.mean() + half), rtol=1e-12)
    frame = pd.DataFrame({"fold": fold, "repetition": repetition, "arm": values.ravel(), "baseline": 0.0})
    factors = ("fold", "repetition")[: len(labels)]
    np.testing.assert_allclose(compare(frame, factors).two_way, found, rtol=1e-12)
    # It is wider than that of independent folds, and does not vanish with many repetitions.
    assert found.high - found.low > 1.4 * np.ptp(mean_interval(values.ravel()))
