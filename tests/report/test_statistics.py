"""Win rates, bootstraps and pairing against naive Python loops."""

import itertools
import math

import numpy as np
import pandas as pd
import pytest

from regcls_jax.report.statistics import (
    KEYS,
    bootstrap_mean,
    compare,
    gap,
    paired,
    shading,
    two_way_bootstrap_mean,
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


def test_bootstrap_against_every_possible_resample():
    differences = np.array([-3.0, -1.0, 0.5, 2.0, 7.0])
    means = [np.mean(pick) for pick in itertools.product(differences, repeat=5)]  # all 3,125
    # 10,000 resamples put the 2.5 % quantile between the exact 2.2 % and 2.8 % ones (± 2 standard errors).
    low, high = bootstrap_mean(differences)
    assert np.quantile(means, 0.020) <= low <= np.quantile(means, 0.030)
    assert np.quantile(means, 0.970) <= high <= np.quantile(means, 0.980)


def test_bootstrap_is_seeded():
    differences = np.random.default_rng(0).normal(size=20)
    assert bootstrap_mean(differences) == bootstrap_mean(differences, seed=0)
    assert bootstrap_mean(differences) != bootstrap_mean(differences, seed=1)


def unbalanced():
    """Three functions, two repetitions, one to three pairs in each cell."""
    functions = np.array([0, 0, 0, 1, 1, 2, 2, 2, 2])
    repetitions = np.array([0, 1, 1, 0, 1, 0, 0, 0, 1])
    return np.random.default_rng(3).normal(size=9), functions, repetitions


def test_two_way_bootstrap_against_every_possible_resample():
    differences, functions, repetitions = unbalanced()
    means = []
    for rows in itertools.product(range(3), repeat=3):
        for columns in itertools.product(range(2), repeat=2):
            picked = [
                d
                for row in rows
                for column in columns
                for d, f, r in zip(differences, functions, repetitions, strict=True)
                if (f, r) == (row, column)
            ]
            means.append(np.mean(picked))  # all 27 × 4 equally likely draws
    low, high = two_way_bootstrap_mean(differences, functions, repetitions)
    assert np.quantile(means, 0.015) <= low <= np.quantile(means, 0.035)
    assert np.quantile(means, 0.965) <= high <= np.quantile(means, 0.985)


def test_two_way_is_wider_when_runs_share_their_function():
    functions, repetitions = (a.ravel() for a in np.mgrid[:10, :5])
    differences = np.random.default_rng(0).normal(size=10)[functions]
    narrow, wide = bootstrap_mean(differences), two_way_bootstrap_mean(differences, functions, repetitions)
    assert wide.high - wide.low > 1.8 * (narrow.high - narrow.low)  # sqrt(5) = 2.2 in the limit


def test_two_way_leaves_out_resamples_of_holes():
    # Only the diagonal ran: half of the draws of one function and one repetition hit nothing.
    ends = two_way_bootstrap_mean(np.array([1.0, 2.0]), np.array([0, 1]), np.array([0, 1]))
    assert ends == (1.0, 2.0)


def test_too_few_runs_have_no_interval():
    assert np.isnan(bootstrap_mean(np.ones(1))).all()
    assert np.isnan(two_way_bootstrap_mean(np.ones(3), np.arange(3), np.zeros(3))).all()
    assert np.isnan(two_way_bootstrap_mean(np.ones(3), np.zeros(3), np.arange(3))).all()
    assert np.isnan(two_way_bootstrap_mean(np.ones(0), np.ones(0), np.ones(0))).all()


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
    assert result.bootstrap == pytest.approx((-0.5, -0.5), rel=1e-12)


def test_compare_when_everything_diverged():
    frame = pd.concat([runs("reg", 0, np.nan), runs("reg_cls", 4, np.nan)])
    result = compare(paired(frame, "reg_cls", "reg"))
    assert (result.diverged, result.wins) == (6, 0)
    assert np.isnan([result.difference, *result.bootstrap, *result.two_way]).all()


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
