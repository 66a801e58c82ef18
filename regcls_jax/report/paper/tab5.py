"""Table 5: progress of videos, beside the constants and a clock, as pooled RMSE and as published code averages it."""

from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from regcls_jax.report import statistics
from regcls_jax.report.paper.published import published_table5
from regcls_jax.report.statistics import LEVEL, Interval
from regcls_jax.report.tables import Table, in_order, interval, label, number
from regcls_jax.report.verdicts import Against, best_verdict, verdict
from regcls_jax.store.groups import GroupResults
from regcls_jax.store.rows import diverged
from regcls_jax.trivial import TRIVIAL_PREDICTORS

SIGNS = "Differences are arm − baseline in RMSE, so negative means that the arm is better."
# One problem and seed.
PROBLEM = ["task", "fold", "repetition"]
# More folds than this (every person one) share a column.
COLUMNS = 4
# What a table calls its arms, beyond `tables.label`, and its predictors without a model.
NAMES = {
    "random": "untrained",
    "sigmoid": "Kukleva et al. (sigmoid)",
    "reg_published": "reg, released code",
    "reg_cls_published": "reg+cls, released code",
    "reg_mean": "reg, mean of squares",
    "reg_cls_mean": "reg+cls, mean of squares",
    "zero": "0",
    "half": "0.5",
    "constant": "mean",
    "clock": "clock (sees the time)",
}


class Units(NamedTuple):
    """Pooled RMSEs of every arm, problem and seed [lines]: the columns arm, PROBLEM, `percent` and `frames`."""

    frame: pd.DataFrame
    own: str  # the unit of the targets


def in_units(errors: pd.DataFrame) -> Units:
    """RMSEs over all test frames of a task and fold, in per cent of a video and in frames.

    An error in one unit is one in the other by the length of its video, whose frames are all in the test set.
    """
    own = "frames" if (errors["unit"] == "frames").any() else "percent"
    length, squared = errors["n"], errors["mse"]
    of_video = {"percent": 1e4 * squared / length**2, "frames": squared}
    if own == "percent":
        of_video = {"percent": 1e4 * squared, "frames": squared * length**2}
    keys = ["arm", *PROBLEM]
    sums = errors.assign(**{name: values * length for name, values in of_video.items()}).groupby(keys)
    totals = sums[["percent", "frames"]].sum().div(sums["n"].sum(), axis=0)
    return Units(np.sqrt(totals).reset_index(), own)


def _spread(frame: pd.DataFrame, column: str, decimals: int) -> str:
    """Mean ± standard deviation over tasks (or, of one task, over folds) of means over repetitions."""
    by = "task" if frame["task"].nunique() > 1 else "fold"
    values = frame.groupby(by)[column].mean()
    spread = f" ± {number(values.std(), decimals=decimals)}" if len(values) > 1 else ""
    return number(values.mean(), decimals=decimals) + spread


def name_of(arm: str) -> str:
    """What a reader sees for an arm or a predictor without a model."""
    return NAMES.get(arm, label(arm))


def _in_order(frame: pd.DataFrame) -> list[str]:
    arms = in_order(frame[["arm"]].drop_duplicates(), ["arm"])["arm"]
    return sorted(arms, key=lambda arm: arm in TRIVIAL_PREDICTORS)


def _decimals(own: str) -> int:
    return 2 if own == "percent" else 1


def tab5_tables(rows: pd.DataFrame, groups: GroupResults) -> list[Table]:
    """Table 5 by fold and the paper's numbers; the same in all units and reductions; paired differences over persons.

    Runs that diverged are left out, as the report says of them.

    Args:
      rows: test rows.
      groups: their errors by video.
    """
    errors = _finished(rows, groups)
    rows = rows[~rows["run"].isin(set(diverged(rows)["run"]))]
    units = in_units(errors)
    return [_by_fold(rows, units), _all_measures(rows, units), _differences(errors, units.own)]


def tab5_verdict(rows: pd.DataFrame, groups: GroupResults) -> str:
    """What reg+cls is worth against reg, and whether it beats the mean of the training targets."""
    errors = _finished(rows, groups)
    units = in_units(errors)
    factor, decimals = (100.0, 2) if units.own == "percent" else (1.0, 1)
    means = units.frame.groupby("arm")[units.own].mean()
    if "reg_cls" not in means:
        return best_verdict(rows)
    against = []
    for name in (name for name in ("reg", "constant") if name in means):
        found = difference(errors, "reg_cls", name, factor)
        against.append(Against(name_of(name), found.value, found.interval, means[name]))
    beside = {name_of(arm): float(means[arm]) for arm in ("reg_cls", "reg", "constant", "clock") if arm in means}
    unit = "% of a video" if units.own == "percent" else "frames"
    note = "in brackets 95 % intervals over persons"
    return verdict(
        name_of("reg_cls"), against, error=f"test RMSE ({unit})", note=note, beside=beside, decimals=decimals
    )


def _finished(rows: pd.DataFrame, groups: GroupResults) -> pd.DataFrame:
    """The test errors by video of the runs that did not diverge."""
    lost = set(diverged(rows)["run"])
    return groups.errors[~groups.errors["run"].isin(lost) & (groups.errors["split"] == "test")]


def _by_fold(rows: pd.DataFrame, units: Units) -> Table:
    frame, own = units
    folds = sorted(frame["fold"].unique())
    parts = {fold: frame[frame["fold"] == fold] for fold in folds} if len(folds) <= COLUMNS else {"all videos": frame}
    lines = []
    for arm in _in_order(frame):
        cells = {fold: _spread(part[part["arm"] == arm], own, _decimals(own)) for fold, part in parts.items()}
        lines.append({"arm": name_of(arm), **cells})
    published = published_table5()
    published = published[(published["target"] == rows["target"].iloc[0]) & published["fold"].isin(parts)]
    for arm, part in published.groupby("arm", sort=False):
        cells = {one.fold: f"{one.mean:.2f} ± {one.std:.2f}" for one in part.itertuples()}
        lines.append({"arm": f"paper: {name_of(str(arm))}", **cells})
    what = "%" if own == "percent" else "frames"
    constant = " Predicting 0.5 everywhere has 28.87 %, as good as the paper's best." if own == "percent" else ""
    note = (
        f"RMSE in {what} over all test frames of a task: mean ± standard deviation over {_over(frame)} of the mean "
        f"over {frame['repetition'].max() + 1} seed(s). Nothing was tuned here: lambda is the paper's, or that of the "
        f"released code.{constant} The clock sees how long a video has been running, which no model does."
    )
    table = pd.DataFrame(lines).fillna("–")
    return Table("Table 5", note, table, table)


def _over(frame: pd.DataFrame) -> str:
    tasks = frame["task"].nunique()
    return f"{tasks} tasks" if tasks > 1 else f"{frame['fold'].nunique()} test sets"


def _all_measures(rows: pd.DataFrame, units: Units) -> Table:
    frame, own = units
    factor = 100 if own == "percent" else 1
    batches = rows.assign(batch=factor * rows["batch_rmse"])
    lines = []
    for arm in _in_order(frame):
        part, batch = frame[frame["arm"] == arm], batches[batches["arm"] == arm]
        seeds = part.groupby("repetition")[own].mean()
        lines.append(
            {
                "arm": name_of(arm),
                "RMSE %": _spread(part, "percent", 2),
                "RMSE frames": _spread(part, "frames", 1),
                f"batches of 40, {'%' if own == 'percent' else 'frames'}": _spread(batch, "batch", _decimals(own)),
                "over seeds": f"± {number(seeds.std(), decimals=_decimals(own))}" if len(seeds) > 1 else "–",
            }
        )
    note = (
        f"Over all folds; mean ± standard deviation over {_over(frame)}. Batches of 40: the mean of the RMSEs of "
        "sequential batches of 40 frames, which the released code reports; within a video such a batch has nearly one "
        "target, so this is close to a mean absolute error (0.5 everywhere has 25.0 %). Over seeds: the standard "
        "deviation of the mean over tasks and folds."
    )
    table = pd.DataFrame(lines)
    return Table("Pooled and as published", note, table, None)


def person(video: str) -> str:
    """The person of a video: cameras that saw one act are one observation."""
    return video.split("_", 1)[0]


class Difference(NamedTuple):
    """A difference of two RMSEs and its 95 % interval."""

    value: float
    interval: Interval


def difference(errors: pd.DataFrame, arm: str, baseline: str, factor: float) -> Difference:
    """The difference of the RMSEs of two arms, mean over tasks and folds, with an interval over persons.

    An RMSE is the root of a ratio of sums over persons, so the difference of two varies, to first order, with the sum
    over persons of (S_a - a^2 n) / 2a - (S_b - b^2 n) / 2b, over the frames of all; S are squared errors, n frames, a
    and b the RMSEs (Cochran 1977, ratio estimators). A person does most tasks, so that these are added over tasks; the
    persons of folds are different ones. Seeds are averaged first: the interval tells nothing of other seeds. Where a
    fold has one person, folds are the observations (`statistics.interval`).

    Args:
      errors: errors by video.
      arm: to compare.
      baseline: to compare it with.
      factor: of the errors.

    Raises:
      ValueError: an arm has several lines for one video and seed.
    """
    both = errors[errors["arm"].isin((arm, baseline))]
    if both.duplicated(["arm", *PROBLEM, "group"]).any():
        raise ValueError(f"{arm} or {baseline} was trained several times on one problem with one seed")
    both = both.assign(squared=factor**2 * both["mse"] * both["n"], person=both["group"].map(person))
    keys = ["task", "fold", "arm", "person"]
    of_person = both.groupby([*keys, "repetition"])[["squared", "n"]].sum().groupby(keys).mean()
    values, residuals = [], []
    for (_, fold), part in of_person.groupby(["task", "fold"]):
        sides = {name: part.xs(name, level="arm").droplevel(["task", "fold"]) for name in set(both["arm"])}
        if len(sides) < 2:
            continue  # diverged
        total = sides[arm]["n"].sum()
        roots = {name: float(np.sqrt(side["squared"].sum() / total)) for name, side in sides.items()}
        parts = {name: (side["squared"] - roots[name] ** 2 * side["n"]) / roots[name] for name, side in sides.items()}
        values.append((fold, roots[arm] - roots[baseline]))
        change = (parts[arm] - parts[baseline]) / (2 * total)
        residuals.append(change.rename("change").reset_index().assign(fold=fold))
    differences, folds = np.array([value for _, value in values]), np.array([fold for fold, _ in values])
    by_person = pd.concat(residuals).groupby(["fold", "person"])["change"].sum() / len(values)
    persons = by_person.groupby("fold").size()
    if (persons == 1).any():
        return Difference(differences.mean(), statistics.interval(differences, [folds], folds=True))
    squares = by_person.pow(2).groupby("fold").sum() * persons / (persons - 1)
    half = float(stats.t.ppf((1 + LEVEL) / 2, (persons - 1).sum())) * squares.sum() ** 0.5
    return Difference(differences.mean(), Interval(differences.mean() - half, differences.mean() + half))


def _differences(errors: pd.DataFrame, own: str) -> Table:
    factor, decimals = (100.0, 2) if own == "percent" else (1.0, 1)
    arms = set(errors["arm"])
    baselines = [name for name in ("half", "constant", "reg") if name in arms]
    lines = []
    for arm in _in_order(errors):
        if arm in TRIVIAL_PREDICTORS:
            continue
        line = {"arm": name_of(arm)}
        for baseline in baselines:
            found = difference(errors, arm, baseline, factor) if arm != baseline else None
            line[f"− {name_of(baseline)}"] = "–" if found is None else _text(found, decimals)
        lines.append(line)
    frame = pd.DataFrame(lines)
    unit = "%" if own == "percent" else "frames"
    note = (
        f"Difference in RMSE ({unit}), mean over tasks and folds, with a 95 % interval over persons: frames of a "
        "video, and videos of one act from several cameras, are not independent. Intervals are not corrected for the "
        "number of arms."
    )
    return Table("Against the constants, and against reg", note, frame, frame)


def _text(found: Difference, decimals: int) -> str:
    return f"{number(found.value, True, decimals)} {interval(found.interval, decimals)}"
