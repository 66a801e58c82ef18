"""STS-B-DIR: mean squared error and Pearson's correlation over all, many-, medium- and few-shot pairs (published)."""

from typing import NamedTuple

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from scipy import stats

from regcls_jax.metrics.shots import SHOTS
from regcls_jax.report.drawing import FONTS, effect_rows
from regcls_jax.report.palette import BLUE
from regcls_jax.report.statistics import Interval, interval
from regcls_jax.report.tables import TRIVIAL, Table, arm_place, label
from regcls_jax.report.tables import interval as said
from regcls_jax.report.verdicts import Against, best_verdict, verdict
from regcls_jax.store.groups import GroupResults
from regcls_jax.trivial import TRIVIAL_PREDICTORS

SIGNS = "Differences are arm − baseline in mean squared error: negative means that the arm is better."
GROUPS = ("all", *SHOTS)
# Most arms predict standard deviations, as the second one does.
BASELINES = ("reg", "reg_std")
# Test MSE, all / many / medium / few, of a BiLSTM on GloVe, as DIR's authors print it with their code.
PUBLISHED = {
    "LDS (published, BiLSTM on GloVe)": (0.914, 0.819, 1.319, 0.955),
    "FDS (published)": (0.916, 0.875, 1.027, 1.086),
    "LDS+FDS (published)": (0.907, 0.802, 1.363, 0.942),
}
NOTE = "RRT+RankSim (published): MSE .865 over all and .670 over few-shot pairs, Pearson .771."


class Tested(NamedTuple):
    """`errors`: a line per arm, repetition and group of GROUPS with `mse`, `mae`; `pairs`: a line per tested pair of
    every chosen run with arm, repetition, `pair` (its number), `shot`, `truth`, `prediction`; `squared`: their squared
    errors, a line per shot, repetition and pair and a column per arm.
    """

    errors: pd.DataFrame
    pairs: pd.DataFrame
    squared: pd.DataFrame


def chosen_runs(rows: pd.DataFrame, groups: GroupResults) -> Tested:
    """Of every arm and repetition the run with the lowest MSE on the dev set, and how it does on the test set."""
    keys = ["arm", "repetition"]
    dev = rows[(rows["split"] == "val") & np.isfinite(rows["mse"])]
    chosen = dev.loc[dev.groupby(keys)["mse"].idxmin(), [*keys, "run"]]
    errors = groups.errors[groups.errors["split"] == "test"].merge(chosen, on=[*keys, "run"])
    errors = errors.assign(shot=errors["group"].str.split().str[1])
    parts = []
    for name in GROUPS:
        part = errors if name == "all" else errors[errors["shot"] == name]
        sums = part.assign(mse=part["mse"] * part["n"], mae=part["mae"] * part["n"]).groupby(keys)
        total = sums[["mse", "mae", "n"]].sum()
        parts.append(total[["mse", "mae"]].div(total["n"], axis=0).assign(group=name, n=total["n"]).reset_index())
    pairs = groups.predictions.merge(chosen, on=["arm", "run"])
    pairs = pairs.assign(shot=pairs["group"].str.split().str[1], pair=pairs.groupby("run").cumcount())
    squared = pairs.assign(squared=(pairs["prediction"] - pairs["truth"]) ** 2)
    wide = squared.pivot(index=["shot", "repetition", "pair"], columns="arm", values="squared")
    return Tested(pd.concat(parts, ignore_index=True), pairs, wide)


def difference(found: Tested, arm: str, group: str, baseline: str = BASELINES[0]) -> tuple[float, Interval]:
    """Mean of the squared error of an arm less the baseline's, and its 95 % interval over seeds and pairs, crossed."""
    values = (found.squared[arm] - found.squared[baseline]).dropna()
    values = values if group == "all" else values[values.index.get_level_values("shot") == group]
    if not len(values):
        return float("nan"), Interval(float("nan"), float("nan"))
    labels = [values.index.get_level_values(name).to_numpy() for name in ("repetition", "pair")]
    labels = labels if len(set(labels[0])) > 1 else labels[1:]
    return float(values.mean()), interval(values.to_numpy(), labels)


def _arms(found: Tested) -> list[str]:
    arms = sorted(found.errors["arm"].unique(), key=arm_place)
    return sorted(arms, key=lambda arm: arm in TRIVIAL_PREDICTORS)


def _spread(values: pd.Series, seeds: int, decimals: int = 3) -> str:
    """Mean ± standard deviation; a dash where a seed has no number."""
    if len(values) < seeds or not np.isfinite(values).all():
        return "–"
    known = len(values) > 1 and round(float(values.std()), decimals) > 0
    spread = f" ± {values.std():.{decimals}f}" if known else ""
    return f"{values.mean():.{decimals}f}{spread}"


def sts_tables(rows: pd.DataFrame, groups: GroupResults) -> list[Table]:
    """Errors, correlations, and differences to reg, of the runs that the dev set chose."""
    found = chosen_runs(rows, groups)
    against = [_differences(found, baseline) for baseline in BASELINES if baseline in set(found.errors["arm"])]
    return [_errors(found), _correlations(found), *against]


def sts_verdict(rows: pd.DataFrame, groups: GroupResults) -> str:
    """What reg+cls is worth against reg as it is and with standardised targets; beside it the lowest error there is."""
    found = chosen_runs(rows, groups)
    means = found.errors[found.errors["group"] == "all"].groupby("arm")["mse"].mean().sort_values()
    baselines = [name for name in BASELINES if name in means]
    if "reg_cls" not in means or not baselines:
        return best_verdict(rows[rows["split"] == "test"])
    against = [Against(label(name), *difference(found, "reg_cls", "all", name), means[name]) for name in baselines]
    lowest = next(arm for arm in means.index if arm not in TRIVIAL)
    beside = {label(arm): float(means[arm]) for arm in dict.fromkeys([lowest, "reg_cls", "constant"]) if arm in means}
    note = "settings picked on the dev set; in brackets 95 % intervals over seeds and pairs"
    return verdict(label("reg_cls"), against, error="test MSE", note=note, beside=beside)


def _errors(found: Tested) -> Table:
    lines, seeds = [], found.errors["repetition"].nunique()
    for arm in _arms(found):
        own = found.errors[found.errors["arm"] == arm]
        cells = {"arm": label(arm)}
        for name in GROUPS:
            cells[f"MSE {name}"] = _spread(own.loc[own["group"] == name, "mse"], seeds)
        cells["MAE all"] = _spread(own.loc[own["group"] == "all", "mae"], seeds)
        lines.append(cells)
    for name, values in PUBLISHED.items():
        lines.append({"arm": name, **{f"MSE {group}": f"{v:.3f}" for group, v in zip(GROUPS, values, strict=True)}})
    counts = found.errors[found.errors["arm"] == "constant"].drop_duplicates("group").set_index("group")["n"]
    note = (
        f"Test set ({', '.join(f'{counts.get(name, 0):.0f} {name}' for name in GROUPS)}), mean ± standard deviation "
        f"over {seeds} seeds; of every arm and seed the setting with the lowest MSE on the dev set. {NOTE}"
    )
    frame = pd.DataFrame(lines)
    return Table("Mean squared error", note, frame, frame)


def _correlations(found: Tested) -> Table:
    lines, seeds = [], found.errors["repetition"].nunique()
    for arm in (arm for arm in _arms(found) if arm not in TRIVIAL_PREDICTORS):
        own = found.pairs[found.pairs["arm"] == arm]
        cells = {"arm": label(arm)}
        for name in GROUPS:
            part = own if name == "all" else own[own["shot"] == name]
            by_seed = part.groupby("repetition")[["truth", "prediction"]]
            cells[f"Pearson {name}"] = _spread(by_seed.apply(lambda one: one["truth"].corr(one["prediction"])), seeds)
        by_seed = own.groupby("repetition")[["truth", "prediction"]]
        rank = by_seed.apply(lambda one: stats.spearmanr(one["truth"], one["prediction"]).statistic)
        cells["Spearman all"] = _spread(rank, seeds)
        lines.append(cells)
    frame = pd.DataFrame(lines)
    note = "Of score and prediction on the test set, mean ± standard deviation over seeds."
    return Table("Correlation", note, frame, frame)


def _compared(found: Tested, baseline: str) -> list[str]:
    return [arm for arm in _arms(found) if arm not in (*TRIVIAL_PREDICTORS, baseline)]


def _differences(found: Tested, baseline: str) -> Table:
    lines = []
    for arm in _compared(found, baseline):
        cells = {"arm": label(arm)}
        for name in GROUPS:
            mean, ends = difference(found, arm, name, baseline)
            cells[name] = f"{mean:+.3f} {said(ends)}"
        lines.append(cells)
    frame = pd.DataFrame(lines)
    note = (
        f"Squared error less that of {label(baseline)} on the same pairs, with its 95 % interval over seeds and pairs "
        "(crossed variance components), not corrected for the number of arms."
    )
    return Table(f"Against {label(baseline)}", note, frame, frame)


def sts_figure(rows: pd.DataFrame, groups: GroupResults) -> Figure:
    """Per group of pairs: every arm's difference to reg with its interval."""
    found = chosen_runs(rows, groups)
    arms = _compared(found, BASELINES[0])
    with matplotlib.rc_context(FONTS):
        figure = Figure(figsize=(13, 0.32 * len(arms) + 1.4), layout="constrained")
        grid = figure.subplots(1, len(GROUPS), sharey=True)
        for axes, name in zip(grid, GROUPS, strict=True):
            effect_rows(axes, {arm: difference(found, arm, name) for arm in arms}, [BLUE] * len(arms))
            axes.set_title(f"{name} pairs" if name == "all" else f"{name}-shot pairs", fontsize=11)
        figure.supxlabel("test squared error less that of reg, with 95 % interval (left of 0: better)", fontsize=11)
    return figure
