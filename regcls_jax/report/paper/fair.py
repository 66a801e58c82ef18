"""What classification is worth when every arm is tuned alike: picked on a validation set, tested once."""

import functools
from collections.abc import Collection, Sequence

import numpy as np
import pandas as pd

from regcls_jax.report import tables
from regcls_jax.report.effects import Effect, Group, Question, effects
from regcls_jax.report.paper.fig4 import VALIDATION
from regcls_jax.report.paper.groups import IMBALANCED, UNIFORM
from regcls_jax.report.paper.lambda_figure import PANEL_NAMES
from regcls_jax.report.paper.published import CELL, SAMPLINGS, sort_cells
from regcls_jax.report.statistics import Interval, finite_mean, mean_difference

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
# Stands in the `sampling` column where the imbalanced samplings are pooled.
POOLED = IMBALANCED
TWO = (POOLED, UNIFORM)


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


def groups(frame: pd.DataFrame) -> list[Group]:
    """What is pooled over scenarios first, then per scenario; of each the imbalanced samplings, then every sampling.

    `frame` has the columns scenario and sampling, as the names of the groups.
    """
    cells = sort_cells(frame[CELL].drop_duplicates())
    scenarios = list(dict.fromkeys(cells["scenario"]))
    present = [name for name in SAMPLINGS if name in set(cells["sampling"])]
    found = []
    for chosen in ([scenarios] if len(scenarios) > 1 else []) + [[name] for name in scenarios]:
        part = frame[frame["scenario"].isin(chosen)]
        split = {POOLED: part["sampling"] != "uniform"} | {name: part["sampling"] == name for name in present}
        names = {"scenario": ", ".join(chosen)}
        found += [Group({**names, "sampling": name}, part[lines]) for name, lines in split.items() if lines.any()]
    return found


def widest_groups(frame: pd.DataFrame) -> list[Group]:
    """Those of `groups` that pool all scenarios."""
    found = groups(frame)
    return [group for group in found if group.names["scenario"] == found[0].names["scenario"]]


def comparisons(picks: pd.DataFrame, wanted: Collection[tuple[str, str]] = COMPARISONS) -> list[Effect]:
    """Every comparison of `wanted` that the picks of one split allow, per group.

    Raises:
      ValueError: picks do not pair up.
    """
    # The class count was picked, too: it does not tell which runs are a pair.
    return effects(Question(), groups(picks.assign(classes=0)), wanted)


def _finite(pairs: pd.DataFrame) -> pd.DataFrame:
    return pairs[np.isfinite(pairs["arm"] - pairs["baseline"])]


def median_difference(pairs: pd.DataFrame) -> float:
    """The median of arm − baseline over the pairs in which neither diverged."""
    return float((pairs["arm"] - pairs["baseline"])[_finite(pairs).index].median())


def leave_one_out(pairs: pd.DataFrame) -> list[tuple[float, Interval]]:
    """`statistics.mean_difference` without each of the functions in turn: what hangs on one of them shows."""
    functions = np.unique(_finite(pairs)["function"])
    return [mean_difference(pairs[pairs["function"] != left_out]) for left_out in functions]


def verdict(ends: Interval) -> str:
    """What a 95 % interval of arm − baseline says; a dash where there is none."""
    if not np.isfinite(ends.low):
        return "–"
    if ends.high < 0:
        return "arm better"
    return "arm worse" if ends.low > 0 else "includes 0"


def _names(tuned: Effect) -> str:
    return f"{tables.label(tuned.arm)} − {tables.label(tuned.baseline)}"


# The means of tuned arms hardly differ: a decimal more than elsewhere.
precise = functools.partial(tables.number, sign=True, decimals=4)
precise_interval = functools.partial(tables.interval, decimals=4)


def _cell(tuned: Effect) -> str:
    return " · ".join(tuned.names.values())


def _line(tuned: Effect) -> str:
    """One comparison as an item of a list: mean, median, wins, and how much of it hangs on one function."""
    result = tuned.result
    says = {"–": "no interval", "includes 0": "includes zero"}.get(verdict(result.two_way))
    says = says or f"excludes zero ({verdict(result.two_way).split()[1]})"
    text = (
        f"- **{_names(tuned)}** ({_cell(tuned)}): "
        f"mean {precise(result.difference)} {precise_interval(result.two_way)}, {says}; "
        f"median {precise(median_difference(tuned.pairs))}; wins {tables.percent(result.rate)} % "
        f"{tables.share_interval(result.rate_two_way)}"
    )
    without = leave_one_out(tuned.pairs)
    if not (known := [ends for _, ends in without if np.isfinite(ends.low)]):
        return f"{text}."
    means = [mean for mean, _ in without]
    clear = sum(verdict(ends) != "includes 0" for ends in known)
    return (
        f"{text}; without any one function: mean {precise(min(means))} to {precise(max(means))}, excludes zero in "
        f"{clear} of {len(known)} leave-one-function-out resamples."
    )


def answer(found: Sequence[Effect], on: str) -> str:
    """The conclusions of the comparisons with reg and with its fine grid, as Markdown that follows the intervals."""
    with_reg = [tuned for tuned in found if tuned.baseline in (BASELINE, FINE)]
    if not with_reg:
        return ""
    widest = with_reg[0].names["scenario"]  # `groups` begins with what pools most
    pooled = [each for each in with_reg if each.names in ({"scenario": widest, "sampling": s} for s in TWO)]
    cells = [each for each in with_reg if "," not in each.names["scenario"] and each.names["sampling"] != POOLED]
    clear = [
        f"{_cell(tuned)} ({_names(tuned)}: {says.split()[1]})"
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
    mine, reg = (curves.xs(name, level="arm") for name in (arm, BASELINE))
    places = mine.index.to_frame(index=False)
    lines = {}
    for budget in curves:
        errors = {"arm": mine[budget].to_numpy(), "baseline": reg[budget].reindex(mine.index).to_numpy()}
        mean, ends = mean_difference(places.assign(**errors))
        lines[budget] = {"difference": mean, **ends._asdict()}
    return pd.DataFrame(lines).T
