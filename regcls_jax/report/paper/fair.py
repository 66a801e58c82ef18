"""What classification is worth when every arm is tuned alike: picked on a validation set, tested once."""

import functools
from collections.abc import Collection, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from regcls_jax.report import tables
from regcls_jax.report.paper.fig4 import VALIDATION
from regcls_jax.report.paper.lambda_figure import PANEL_NAMES
from regcls_jax.report.paper.published import CELL, SAMPLINGS, sort_cells
from regcls_jax.report.statistics import Comparison, Interval, compare, finite_mean, paired, two_way_bootstrap_mean

SELECTION = tuple(VALIDATION)
PICKED_ON = {**PANEL_NAMES, "test": "test (oracle, a bound)"}
DATA_SET = ["scenario", "sampling", "noise", "function", "repetition"]
BASELINE = "reg"
# reg with as many settings to draw from as reg+cls has: what more variety is worth without classes.
FINE = "reg_fine"
COMPARISONS = (
    *((arm, baseline) for baseline in (BASELINE, FINE) for arm in ("reg_cls", "reg_cls_bal")),
    (FINE, BASELINE),
    ("reg_cls_bal", "reg_cls"),
)
POOLED = "imbalanced"  # stands in the `sampling` column where the imbalanced samplings are pooled


class Pairing(NamedTuple):
    """The picks of two tuned arms on the data sets of a group, as `statistics.paired`; the names are as in the rows."""

    scenario: str
    sampling: str
    arm: str
    baseline: str
    pairs: pd.DataFrame


class Tuned(NamedTuple):
    """A `Pairing` and what `statistics.compare` makes of its pairs."""

    scenario: str
    sampling: str
    arm: str
    baseline: str
    pairs: pd.DataFrame
    result: Comparison


def candidates(rows: pd.DataFrame, on: str) -> pd.DataFrame:
    """Every training with the error that decides, `validation` (MSE on the split `on`), and that on test, `mse`.

    Args:
      rows: the study's rows of the splits `on` and test; the trivial predictors are left out.

    Returns:
      The columns of the test rows and `validation`, by data set, arm and run.

    Raises:
      ValueError: a split or the baseline is missing, a run is not there once in both splits, or the arms do not have
        the same number of runs on every data set: then they were not tuned alike.
    """
    trained = rows[rows["run"] >= 0]
    by_split = dict(list(trained.groupby("split")))
    for split in (on, "test"):
        if split not in by_split:
            raise ValueError(f"There is no trained run of the {split} split to tune with.")
        if (twice := by_split[split].duplicated("run")).any():
            raise ValueError(f"Run {by_split[split].loc[twice, 'run'].iloc[0]} appears twice in the {split} split.")
    if BASELINE not in set(trained["arm"]):
        raise ValueError(f"There is no run of {BASELINE} to compare tuned arms with.")
    if alone := sorted(set(by_split[on]["run"]) ^ set(by_split["test"]["run"])):
        raise ValueError(f"Run {alone[0]} lacks its error on {on} or on test.")
    decides = by_split[on].set_index("run")["mse"].rename("validation")
    runs = by_split["test"].join(decides, on="run")
    counts = runs.groupby([*DATA_SET, "arm"]).size().unstack(fill_value=0).stack()
    if counts.min() < counts.max():
        *where, arm = counts.idxmin()
        place = ", ".join(f"{name} {value}" for name, value in zip(DATA_SET, where, strict=True))
        raise ValueError(f"Budgets differ: {arm} has {counts.min()} runs at {place}; another has {counts.max()}.")
    return runs.sort_values([*DATA_SET, "arm", "run"], ignore_index=True)


def select(rows: pd.DataFrame, on: str) -> pd.DataFrame:
    """The run that the split `on` picks, per data set and arm: the lowest MSE, of equals the first that was drawn.

    Args:
      rows: as in `candidates`; `on` "test" gives the oracle.

    Returns:
      One line per data set and arm: the columns of `candidates`, `mse` being the test MSE of the pick. Where every run
      diverged on `on` there is no pick: `validation` is infinite and `mse` NaN.
    """
    runs = candidates(rows, on)
    runs["validation"] = runs["validation"].where(np.isfinite(runs["validation"]), np.inf)
    best = runs.sort_values(["validation", "run"]).drop_duplicates([*DATA_SET, "arm"])
    best["mse"] = best["mse"].where(np.isfinite(best["validation"]))
    return tables.in_order(best, [*DATA_SET, "arm"])


def pick_probabilities(runs: int, budget: int) -> np.ndarray:
    """P(the run of rank r is the best of `budget` drawn from `runs` without replacement) [runs], rank 0 the best.

    C(n - 1 - r, b - 1) / C(n, b), as a running product that no large binomial enters.
    """
    ranks = np.arange(runs - 1)
    return budget / runs * np.cumprod(np.r_[1.0, (runs - budget - ranks) / (runs - 1 - ranks)])


def best_of(validation: np.ndarray, test: np.ndarray) -> np.ndarray:
    """Expected test error of the pick out of b random runs, for b = 1 to n: exact, over all subsets of that size.

    Args:
      validation: what picks, [..., n]; of equals the first wins; NaN and infinity are never picked.
      test: error of the same runs [..., n].

    Returns:
      [..., n] for b = 1, ..., n; subsets without a pick, or with one that diverged on test, are left out. NaN where
      every subset is.
    """
    validation = np.where(np.isfinite(validation), validation, np.inf)
    order = np.argsort(validation, axis=-1, kind="stable")
    ranked = np.take_along_axis(np.where(np.isfinite(validation), test, np.nan), order, axis=-1)
    usable = np.isfinite(ranked)
    runs = validation.shape[-1]
    weights = np.stack([pick_probabilities(runs, budget) for budget in range(1, runs + 1)], axis=1)
    total, share = np.where(usable, ranked, 0.0) @ weights, usable @ weights
    return np.divide(total, share, out=np.full(total.shape, np.nan), where=share > 0)


def budget_curves(rows: pd.DataFrame, on: str) -> pd.DataFrame:
    """`best_of` per data set and arm: an index of DATA_SET and arm, a column per budget (1 to the study's own)."""
    runs = candidates(rows, on)
    keys = [*DATA_SET, "arm"]
    index = pd.MultiIndex.from_frame(runs[keys].drop_duplicates())
    errors = (runs[name].to_numpy(float).reshape(len(index), -1) for name in ("validation", "mse"))
    expected = best_of(*errors)
    return pd.DataFrame(expected, index, range(1, expected.shape[1] + 1))


def groups(frame: pd.DataFrame) -> list[tuple[str, str, pd.DataFrame]]:
    """(scenario, sampling, its lines): what is pooled over scenarios first, then per scenario, then every cell.

    The imbalanced samplings are pooled, too. `frame` has the columns scenario and sampling.
    """
    cells = sort_cells(frame[CELL].drop_duplicates())
    scenarios = list(dict.fromkeys(cells["scenario"]))
    present = [name for name in SAMPLINGS if name in set(cells["sampling"])]
    found = []
    for chosen in ([scenarios] if len(scenarios) > 1 else []) + [[name] for name in scenarios]:
        part = frame[frame["scenario"].isin(chosen)]
        split = [(POOLED, part[part["sampling"] != "uniform"])]
        split += [(name, part[part["sampling"] == name]) for name in present]
        found += [(", ".join(chosen), name, lines) for name, lines in split if len(lines)]
    return found


def widest_groups(frame: pd.DataFrame) -> list[tuple[str, str, pd.DataFrame]]:
    """Those of `groups` that pool all scenarios."""
    found = groups(frame)
    return [group for group in found if group[0] == found[0][0]]


def pairings(picks: pd.DataFrame, wanted: Collection[tuple[str, str]] = COMPARISONS) -> list[Pairing]:
    """The picks of one split as pairs, per group and (arm, baseline) of `wanted` that they allow.

    Raises:
      ValueError: picks do not pair up.
    """
    # The class count was picked, too: it does not tell which runs are a pair.
    alike, arms = picks.assign(classes=0), set(picks["arm"])
    # Paired once and then grouped: pairing is what costs. Every arm has every data set, so all have the same groups.
    by_arms = [
        [
            Pairing(scenario, sampling, arm, baseline, pairs)
            for scenario, sampling, pairs in groups(paired(alike, arm, baseline))
        ]
        for arm, baseline in wanted
        if {arm, baseline} <= arms
    ]
    return [each for of_a_group in zip(*by_arms, strict=True) for each in of_a_group]


def comparisons(picks: pd.DataFrame) -> list[Tuned]:
    """Every comparison of COMPARISONS that the picks of one split allow, per group; errors as `pairings`."""
    return [Tuned(*each, compare(each.pairs)) for each in pairings(picks)]


def finite_differences(pairs: pd.DataFrame) -> pd.DataFrame:
    """function, repetition and difference (arm − baseline) of the pairs in which neither diverged."""
    found = pairs[["function", "repetition"]].assign(difference=pairs["arm"] - pairs["baseline"])
    return found[np.isfinite(found["difference"])]


def mean_and_interval(differences: pd.DataFrame) -> tuple[float, Interval]:
    """Mean and two-way 95 % interval of what `finite_differences` returns."""
    values, functions, repetitions = (differences[name].to_numpy() for name in ("difference", *DATA_SET[-2:]))
    return finite_mean(differences["difference"]), two_way_bootstrap_mean(values, functions, repetitions)


def leave_one_out(differences: pd.DataFrame) -> list[tuple[float, Interval]]:
    """`mean_and_interval` without each of the functions in turn: what hangs on one of them shows."""
    return [
        mean_and_interval(differences[differences["function"] != left_out])
        for left_out in sorted(differences["function"].unique())
    ]


def verdict(ends: Interval) -> str:
    """What a 95 % interval of arm − baseline says; a dash where there is none."""
    if not np.isfinite(ends.low):
        return "–"
    if ends.high < 0:
        return "arm better"
    return "arm worse" if ends.low > 0 else "includes 0"


def _names(tuned: Tuned) -> str:
    return f"{tables.label(tuned.arm)} − {tables.label(tuned.baseline)}"


# The means of tuned arms hardly differ: a decimal more than elsewhere.
precise = functools.partial(tables.number, sign=True, decimals=4)
precise_interval = functools.partial(tables.interval, decimals=4)


def _line(tuned: Tuned) -> str:
    """One comparison as an item of a list: mean, median, wins, and how much of it hangs on one function."""
    result, differences = tuned.result, finite_differences(tuned.pairs)
    says = {"–": "no interval", "includes 0": "includes zero"}.get(verdict(result.two_way))
    says = says or f"excludes zero ({verdict(result.two_way).split()[1]})"
    text = (
        f"- **{_names(tuned)}** ({tuned.scenario} · {tuned.sampling}): "
        f"mean {precise(result.difference)} {precise_interval(result.two_way)}, {says}; "
        f"median {precise(differences['difference'].median())}; wins {tables.percent(result.rate)} % "
        f"[{tables.percent(result.rate_two_way.low)}, {tables.percent(result.rate_two_way.high)}]"
    )
    without = leave_one_out(differences)
    if not (known := [ends for _, ends in without if np.isfinite(ends.low)]):
        return f"{text}."
    means = [mean for mean, _ in without]
    clear = sum(verdict(ends) != "includes 0" for ends in known)
    return (
        f"{text}; without any one function: mean {precise(min(means))} to {precise(max(means))}, excludes zero in "
        f"{clear} of {len(known)} leave-one-function-out resamples."
    )


def answer(found: Sequence[Tuned], on: str) -> str:
    """The conclusions of the comparisons with reg and with its fine grid, as Markdown that follows the intervals."""
    with_reg = [tuned for tuned in found if tuned.baseline in (BASELINE, FINE)]
    if not with_reg:
        return ""
    widest = with_reg[0].scenario  # `groups` begins with what pools most
    pooled = [tuned for tuned in with_reg if tuned.scenario == widest and tuned.sampling in (POOLED, "uniform")]
    cells = [tuned for tuned in with_reg if "," not in tuned.scenario and tuned.sampling != POOLED]
    clear = [
        f"{tuned.scenario} · {tuned.sampling} ({_names(tuned)}: {says.split()[1]})"
        for tuned in cells
        if (says := verdict(tuned.result.two_way)).startswith("arm")
    ]
    items = [*map(_line, pooled)]
    items.append(
        f"- Of {len(cells)} comparisons in single cells, the interval excludes zero in {len(clear)} "
        f"(chance alone gives one in twenty){': ' if clear else ''}{', '.join(clear)}."
    )
    return "\n".join([f"**Picked on {PICKED_ON[on]}**, arm − baseline (scenarios · samplings):", "", *items])


def curve_means(curves: pd.DataFrame) -> pd.DataFrame:
    """The mean test MSE of every arm over the data sets of `curves` (as from `budget_curves`) that have one."""
    return curves.groupby("arm").agg(finite_mean)


def curve_differences(curves: pd.DataFrame, arm: str) -> pd.DataFrame:
    """Arm − reg over the budget: difference, low, high (two-way 95 %), one line per budget.

    Args:
      curves: as from `budget_curves`, over the data sets of a group.
    """
    difference = curves.xs(arm, level="arm") - curves.xs(BASELINE, level="arm")
    places = difference.index.to_frame(index=False)[DATA_SET[-2:]]
    lines = {}
    for budget, column in difference.items():
        values = places.assign(difference=column.to_numpy())
        mean, ends = mean_and_interval(values[np.isfinite(values["difference"])])
        lines[budget] = {"difference": mean, **ends._asdict()}
    return pd.DataFrame(lines).T
