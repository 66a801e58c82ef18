"""Comparing two arms run by run: win rates, mean differences, and how sure we can be of them.

A difference is arm − baseline, so negative means that the arm is better. A diverged run (NaN or infinite
error) loses against every finite one, is left out of the mean difference, and is always counted.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

KEYS = ("scenario", "sampling", "noise", "function", "repetition", "seed")
FACTORS = ("function", "repetition")  # what runs share that are not independent
FOLD = "fold"  # the factor of cross-validation, whose training sets overlap
LEVEL = 0.95


class Interval(NamedTuple):
    """A 95 % interval; both ends NaN where there is too little to tell."""

    low: float
    high: float


UNKNOWN = Interval(np.nan, np.nan)


class Comparison(NamedTuple):
    """One arm against its baseline over `n` pairs of runs; `rate` is a share, differences are in MSE.

    `wilson` and `independent` take the pairs as independent, which they seldom are; the two-way ones do not.
    """

    n: int
    diverged: int
    wins: int
    rate: float
    wilson: Interval
    rate_two_way: Interval
    difference: float
    independent: Interval
    two_way: Interval


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
    return wins, wins / arm.size, wilson(wins, arm.size)


def wilson(wins: int, trials: int) -> Interval:
    """Wilson's 95 % interval of a share."""
    ends = stats.binomtest(wins, trials).proportion_ci(confidence_level=LEVEL, method="wilson")
    return Interval(float(ends.low), float(ends.high))


class _Mean(NamedTuple):
    """A mean, its variance, and the degrees of freedom that this variance is known with; all NaN if unknown."""

    value: float
    variance: float
    df: float

    def t(self, level: float = LEVEL) -> float:
        """The quantile of Student's t for a two-sided interval."""
        return float(stats.t.ppf((1 + level) / 2, self.df))

    def interval(self, level: float = LEVEL) -> Interval:
        half = self.t(level) * self.variance**0.5
        return Interval(self.value - half, self.value + half)


_UNKNOWN = _Mean(np.nan, np.nan, np.nan)


def _independent(values: np.ndarray) -> _Mean:
    if values.size < 2:
        return _UNKNOWN
    return _Mean(float(values.mean()), float(values.var(ddof=1)) / values.size, values.size - 1)


def mean_interval(values: np.ndarray) -> Interval:
    """95 % t interval of the mean of independent values `[n]`; unknown for n < 2."""
    return _independent(values).interval()


def of_log_ratios(mean: float, ends: Interval) -> tuple[float, Interval]:
    """A mean of log ratios of errors and its interval as changes in per cent: of the geometric mean, less 1."""
    low, high = (100 * float(np.expm1(end)) for end in ends)
    return 100 * float(np.expm1(mean)), Interval(low, high)


class _Crossed(NamedTuple):
    """Means `[I, J]` of the cells of two crossed factors, those of empty cells filled in; how many were empty."""

    cells: np.ndarray
    empty: int


def _crossed(values: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> _Crossed:
    """Empty cells (diverged runs) get what rows and columns add up to in the others (least squares; Yates 1933)."""
    shape = int(rows.max()) + 1, int(columns.max()) + 1
    index = rows * shape[1] + columns
    counts = np.bincount(index, minlength=shape[0] * shape[1])
    cells = np.bincount(index, values, len(counts)) / np.maximum(counts, 1)
    if (empty := counts == 0).any():
        row, column = np.divmod(np.arange(len(counts)), shape[1])
        design = np.concatenate([np.eye(shape[0])[row], np.eye(shape[1])[column]], axis=1)
        fitted = np.linalg.lstsq(design[~empty], cells[~empty], rcond=None)[0]
        cells[empty] = design[empty] @ fitted
    return _Crossed(cells.reshape(shape), int(empty.sum()))


def _two_way(values: np.ndarray, functions: np.ndarray, repetitions: np.ndarray) -> _Mean:
    _, rows = np.unique(functions, return_inverse=True)
    _, columns = np.unique(repetitions, return_inverse=True)
    if values.size == 0 or min(rows.max(), columns.max()) < 1:
        return _UNKNOWN
    cells, empty = _crossed(np.asarray(values, float), rows, columns)
    (i, j), mean = cells.shape, cells.mean()
    df = np.array([i - 1, j - 1, (i - 1) * (j - 1) - empty])
    if df[2] < 1:
        return _UNKNOWN
    of_rows, of_columns = cells.mean(axis=1, keepdims=True) - mean, cells.mean(axis=0, keepdims=True) - mean
    rest = cells - mean - of_rows - of_columns
    squares = np.array([j * (of_rows**2).sum(), i * (of_columns**2).sum(), (rest**2).sum()]) / df
    variance = squares[0] + squares[1] - squares[2]
    if variance > squares.max():
        degrees = variance**2 / (squares**2 / df).sum()
    else:
        variance, degrees = squares.max(), df[squares.argmax()]
    return _Mean(float(np.mean(values)), float(variance) / (i * j), max(float(degrees), min(i, j) - 1))


def two_way_interval(values: np.ndarray, functions: np.ndarray, repetitions: np.ndarray) -> Interval:
    """95 % interval of the mean of values that share two crossed factors: variance components, Satterthwaite's t.

    All runs of a function share it, and all runs of a repetition share the relative position of the peak
    (recipes 4.1-5), so they are not independent. With the mean squares A of functions, B of repetitions and E of the
    rest, each with its degrees of freedom, the variance of the mean is (A + B - E) / IJ, but never less than the
    largest of the three gives alone; its degrees of freedom are Satterthwaite's, at least min(I, J) - 1. It covers .94
    to .99 with 3 to 10 levels of a factor, where a bootstrap over both covers .79 (benchmarks/intervals.py).

    Args:
      values: `[n]`; several per (function, repetition) may be there (class counts), and are averaged.
      functions: label of each value's function `[n]`.
      repetitions: label of each value's repetition `[n]`.

    Returns:
      The interval; unknown with fewer than two functions or repetitions, or too many empty cells.
    """
    return _two_way(values, functions, repetitions).interval()


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


def _resampled(values: np.ndarray, labels: Sequence[np.ndarray]) -> _Mean:
    cells = pd.Series(values).groupby(list(labels)).mean().to_numpy()
    folds = len(np.unique(labels[0]))
    if folds < 2:
        return _UNKNOWN
    return _Mean(float(cells.mean()), float(cells.var(ddof=1)) * (1 / cells.size + 1 / (folds - 1)), cells.size - 1)


def _mean(values: np.ndarray, labels: Sequence[np.ndarray], folds: bool) -> _Mean:
    if folds:
        return _resampled(values, labels)
    if len(labels) == 1:
        return _independent(pd.Series(values).groupby(labels[0]).mean().to_numpy())
    return _two_way(values, *labels)


def interval(
    values: np.ndarray, labels: Sequence[np.ndarray], *, folds: bool = False, level: float = LEVEL
) -> Interval:
    """Interval of the mean of values `[n]` that share one or two factors, the `labels` `[n]` of each; 95 % by default.

    The one place where this is decided: `two_way_interval` of two factors, `mean_interval` of the levels of one. With
    `folds`, the first factor are those of a cross-validation and the second, if any, its repetitions, each with folds
    of its own: Nadeau and Bengio's (2003) t interval, whose variance s^2 (1 / J + 1 / (K - 1)) of J test folds, K a
    repetition, allows for training sets that overlap.
    """
    return _mean(values, labels, folds).interval(level)


def rate_interval(wins: np.ndarray, labels: Sequence[np.ndarray], *, folds: bool = False) -> Interval:
    """95 % interval of the share of `wins` (bool `[n]`): Wilson's, for as many trials as its variance is worth.

    The variance and its degrees of freedom are those of `interval`; p (1 - p) over the variance is the number of
    independent trials. Where all agree there is none to go by, and the trials are the levels of the smaller factor.
    """
    share, variance, _ = mean = _mean(np.asarray(wins, float), labels, folds)
    if not np.isfinite(share):
        return UNKNOWN
    if variance == 0:
        levels = min(len(np.unique(of_factor)) for of_factor in labels)
        return wilson(round(share * levels), levels)
    square = mean.t() ** 2 * variance / (share * (1 - share))
    centre, half = share + square / 2, (square * share * (1 - share) + square**2 / 4) ** 0.5
    return Interval((centre - half) / (1 + square), (centre + half) / (1 + square))


def mean_difference(pairs: pd.DataFrame, factors: Sequence[str] = FACTORS) -> tuple[float, Interval]:
    """The mean of arm − baseline over the pairs in which neither diverged, and its 95 % interval.

    Args:
      pairs: what `paired` returns.
      factors: one or two columns; pairs with an equal value of one are not independent. `FOLD` comes first.
    """
    differences = (pairs["arm"] - pairs["baseline"]).to_numpy(float)
    finite = np.isfinite(differences)
    if not finite.any():
        return float("nan"), UNKNOWN
    labels = [pairs[name].to_numpy()[finite] for name in factors]
    return float(differences[finite].mean()), interval(differences[finite], labels, folds=FOLD in factors)


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
        rate_two_way=rate_interval(won(arm, baseline), labels, folds=FOLD in factors),
        difference=difference,
        independent=mean_interval((arm - baseline)[finite]),
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
