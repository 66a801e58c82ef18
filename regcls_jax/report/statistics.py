"""Comparing two arms run by run: win rates, mean differences, and how sure we can be of them.

A difference is arm − baseline, so negative means that the arm is better. A diverged run (NaN or infinite
error) loses against every finite one, is left out of the mean difference, and is always counted.
"""

import functools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

KEYS = ("scenario", "sampling", "noise", "function", "repetition", "seed")
FACTORS = ("function", "repetition")  # what runs share that are not independent
RESAMPLES = 10_000
LEVEL = 0.95
BLOCK = 1 << 22  # numbers drawn at once


class Interval(NamedTuple):
    """A 95 % interval; both ends NaN where there is too little to resample."""

    low: float
    high: float


UNKNOWN = Interval(np.nan, np.nan)


class Comparison(NamedTuple):
    """One arm against its baseline over `n` pairs of runs; `rate` is a share, differences are in MSE."""

    n: int
    diverged: int
    wins: int
    rate: float
    wilson: Interval
    rate_two_way: Interval
    difference: float
    bootstrap: Interval
    two_way: Interval


def _percentile(means: np.ndarray) -> Interval:
    tail = (1 - LEVEL) / 2
    low, high = np.nanquantile(means, [tail, 1 - tail])
    return Interval(float(low), float(high))


def won(arm: np.ndarray, baseline: np.ndarray) -> np.ndarray:
    """Which of the paired errors `[n]` are wins: strictly lower than the baseline's; non-finite errors lose."""
    arm, baseline = (np.where(np.isfinite(x), x, np.inf) for x in (arm, baseline))
    return arm < baseline


def win_rate(arm: np.ndarray, baseline: np.ndarray) -> tuple[int, float, Interval]:
    """Wins, their share and its 95 % Wilson interval over paired errors `[n]`.

    A win is a strictly lower error, as in the published count; a tie is not a win. Non-finite errors lose.
    Wilson takes the pairs as independent, which runs sharing a function or a repetition are not.

    Raises:
      ValueError: the arrays are empty or differ in shape.
    """
    if arm.shape != baseline.shape or arm.size == 0:
        raise ValueError(f"Win rate needs paired, non-empty errors, got {arm.shape} and {baseline.shape}.")
    wins = int(np.sum(won(arm, baseline)))
    ends = stats.binomtest(wins, arm.size).proportion_ci(confidence_level=LEVEL, method="wilson")
    return wins, wins / arm.size, Interval(float(ends.low), float(ends.high))


def bootstrap_mean(differences: np.ndarray, seed: int = 0) -> Interval:
    """95 % percentile bootstrap of the mean of paired differences `[n]` over pairs; unknown for n < 2."""
    if differences.size < 2:
        return UNKNOWN
    # In blocks, so that memory does not grow with the pairs.
    rng = np.random.default_rng(seed)
    n, block = differences.size, max(1, BLOCK // differences.size)
    sizes = [min(block, RESAMPLES - start) for start in range(0, RESAMPLES, block)]
    return _percentile(np.concatenate([differences[rng.integers(0, n, (size, n))].mean(axis=1) for size in sizes]))


@functools.lru_cache(maxsize=8)
def _resampled(shape: tuple[int, int], seed: int) -> tuple[np.ndarray, np.ndarray]:
    """How often each row and each column is drawn, [RESAMPLES, shape[0]] and [RESAMPLES, shape[1]].

    Resampling with replacement is a multinomial count. Kept, because a report asks for the same draws a thousand times.
    """
    rng = np.random.default_rng(seed)
    rows, columns = (rng.multinomial(k, np.full(k, 1 / k), RESAMPLES).astype(float) for k in shape)
    return rows, columns


def two_way_bootstrap_mean(
    differences: np.ndarray, functions: np.ndarray, repetitions: np.ndarray, seed: int = 0
) -> Interval:
    """95 % pigeonhole bootstrap (Owen 2007) of the mean: resamples functions and repetitions independently.

    All runs of a function share it, and all runs of a repetition share the relative position of the peak
    (recipes 4.1-5), so they are not independent: `bootstrap_mean` is too narrow, this one conservative.

    Args:
      differences: paired differences `[n]`; several per (function, repetition) may be there (class counts).
      functions: label of each pair's function `[n]`.
      repetitions: label of each pair's repetition `[n]`.
      seed: of the resampling.

    Returns:
      The interval; unknown with fewer than two functions or repetitions.
    """
    _, rows = np.unique(functions, return_inverse=True)
    _, columns = np.unique(repetitions, return_inverse=True)
    if differences.size == 0 or min(rows.max(), columns.max()) < 1:
        return UNKNOWN
    shape = (int(rows.max()) + 1, int(columns.max()) + 1)
    sums, counts = np.zeros(shape), np.zeros(shape)
    np.add.at(sums, (rows, columns), differences)
    np.add.at(counts, (rows, columns), 1.0)
    by_row, by_column = _resampled(shape, seed)
    total = ((by_row @ sums) * by_column).sum(axis=1)
    weight = ((by_row @ counts) * by_column).sum(axis=1)
    # An incomplete grid can resample nothing but holes; such a resample has no mean and is left out.
    return _percentile(np.divide(total, weight, out=np.full(RESAMPLES, np.nan), where=weight > 0))


def paired(
    frame: pd.DataFrame, arm: str, baseline: str, keys: Sequence[str] = KEYS, metric: str = "mse"
) -> pd.DataFrame:
    """Pairs the runs of `arm` with those of `baseline` on `keys`.

    Every class count of the arm is paired with all baseline runs: those of the same class count where the
    baseline has classes, the one pure regression otherwise (which then serves every class count).

    Args:
      frame: result rows of one split; without a column `classes`, no run has any.
      arm: name of the arm.
      baseline: name of the arm it is compared with.
      keys: the columns that make two runs comparable.
      metric: the column that is compared.

    Returns:
      One line per pair, by `classes` and `keys`: `keys`, `classes` (of the arm), and the errors `arm` and `baseline`.

    Raises:
      ValueError: an arm is absent, a run has no partner, or one appears twice (the message names the first).
    """
    keys = list(keys)
    frame = frame if "classes" in frame else frame.assign(classes=0)
    left, right = (frame.loc[frame["arm"] == name, [*keys, "classes", metric]] for name in (arm, baseline))
    for name, part in ((arm, left), (baseline, right)):
        if part.empty:
            raise ValueError(f"There is no run of {name} to pair ({arm} against {baseline}).")
        if (twice := part.duplicated([*keys, "classes"])).any():
            raise ValueError(f"{name} appears twice for {part[twice].iloc[0].drop(metric).to_dict()}.")
    both = pd.concat([left, right])
    codes = both.groupby(keys, dropna=False).ngroup().to_numpy()  # equal keys have equal codes, in the order of keys
    mine, theirs = codes[: len(left)], codes[len(left) :]
    of_mine, of_theirs = left["classes"].to_numpy(), right["classes"].to_numpy()
    with_classes = (of_theirs > 0).any()
    pieces = []
    for classes in np.unique(of_mine):
        partners = np.flatnonzero((of_theirs == classes) | (not with_classes))
        runs = np.flatnonzero(of_mine == classes)
        runs, partners = runs[np.argsort(mine[runs])], partners[np.argsort(theirs[partners])]
        if len(alone := np.setxor1d(mine[runs], theirs[partners])):
            absent = baseline if alone[0] in mine[runs] else arm
            where = both.iloc[np.argmax(codes == alone[0])][keys].to_dict()
            raise ValueError(f"{len(alone)} run(s) lack a partner; first: no {absent}, classes {classes}, at {where}.")
        pieces.append((runs, partners))
    runs, partners = map(np.concatenate, zip(*pieces, strict=True))
    pairs = left.iloc[runs].reset_index(drop=True).rename(columns={metric: "arm"})
    return pairs.assign(baseline=right[metric].to_numpy()[partners])


def interval(values: np.ndarray, labels: Sequence[np.ndarray]) -> Interval:
    """95 % interval of the mean of values `[n]` that share one or two factors, the `labels` `[n]` of each.

    The one place where this is decided: two factors are resampled as `two_way_bootstrap_mean` does, one by its levels.
    """
    if len(labels) == 1:
        return bootstrap_mean(pd.Series(values).groupby(labels[0]).mean().to_numpy())
    return two_way_bootstrap_mean(values, *labels)


def mean_difference(pairs: pd.DataFrame, factors: Sequence[str] = FACTORS) -> tuple[float, Interval]:
    """The mean of arm − baseline over the pairs in which neither diverged, and its 95 % interval.

    Args:
      pairs: what `paired` returns.
      factors: one or two columns that are resampled; pairs with an equal value of one are not independent.
    """
    differences = (pairs["arm"] - pairs["baseline"]).to_numpy(float)
    finite = np.isfinite(differences)
    if not finite.any():
        return float("nan"), UNKNOWN
    labels = [pairs[name].to_numpy()[finite] for name in factors]
    return float(differences[finite].mean()), interval(differences[finite], labels)


def compare(pairs: pd.DataFrame, factors: Sequence[str] = FACTORS) -> Comparison:
    """All statistics of one comparison; arguments as `mean_difference`."""
    arm, baseline = pairs["arm"].to_numpy(float), pairs["baseline"].to_numpy(float)
    finite = np.isfinite(arm) & np.isfinite(baseline)
    wins, rate, wilson = win_rate(arm, baseline)
    difference, two_way = mean_difference(pairs, factors)
    labels = [pairs[name].to_numpy() for name in factors]
    return Comparison(
        n=len(pairs),
        diverged=int(np.sum(~finite)),
        wins=wins,
        rate=rate,
        wilson=wilson,
        rate_two_way=interval(won(arm, baseline).astype(float), labels),
        difference=difference,
        bootstrap=bootstrap_mean((arm - baseline)[finite]),
        two_way=two_way,
    )


def finite_mean(values: pd.Series) -> float:
    """Mean over the runs that did not diverge; NaN where there is none."""
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if len(finite) else float("nan")


def shading(values: pd.Series, functions: pd.Series, kind: str) -> float:
    """Half-width of the band around a mean MSE in Fig. 3, over the runs that did not diverge.

    Args:
      values: test MSE of each run `[n]`.
      functions: the function of each run `[n]`.
      kind: "std" is the standard deviation over all runs (ddof 1). "paper" is what the published plot shows:
        the standard deviation over functions of that over repetitions (ddof 0; recipes 4.1-15).

    Raises:
      ValueError: `kind` is neither.
    """
    finite = np.isfinite(values)
    values, functions = values[finite], functions[finite]
    if kind == "std":
        return float(values.std())
    if kind == "paper":
        return float(values.groupby(functions).std(ddof=0).std(ddof=0))
    raise ValueError(f"Shading is 'std' or 'paper', not {kind!r}.")


def gap(reg: np.ndarray, reg_cls: np.ndarray) -> float:
    """The gap printed in each panel of Fig. 3: mean |reg − reg+cls| of the mean MSE per class count `[C]`.

    It is absolute and so hides which of the two is better (recipes 4.1-15).
    """
    return float(np.mean(np.abs(np.asarray(reg) - np.asarray(reg_cls))))
