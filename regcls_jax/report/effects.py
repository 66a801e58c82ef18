"""One way to ask: on these rows, in these groups, what are these arms worth against that baseline?

A report declares a `Question`, the `Group`s of rows it is asked of and the pairs of arms; from these follow the table
of means, the table of paired differences with their intervals, and the plot of effects (effect_figure.py).
"""

import dataclasses
import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from regcls_jax.report import tables
from regcls_jax.report.statistics import FACTORS, KEYS, Comparison, Interval, compare, mean_difference, paired
from regcls_jax.report.tables import ALL, TRIVIAL, Table, interval, label, number

Pairs = Iterable[tuple[str, str]]
# The intervals that take runs as independent: too narrow, and left out where there is little room.
INDEPENDENT = ["difference, paired t 95 %", "Wilson 95 %"]
# What the note of a table says of its intervals.
TWO_WAY = "Two-way: variance components of functions and repetitions, which runs share, with Satterthwaite's t"
TOO_NARROW = "the other intervals take runs as independent and are too narrow"


class Group(NamedTuple):
    """Rows that are pooled, trivial predictors among them; `names` are the columns that tell groups apart, as text."""

    names: dict[str, str]
    rows: pd.DataFrame


class Question(NamedTuple):
    """What is compared and how.

    metric: the column of errors; smaller is better.
    keys: the columns that make two runs comparable.
    factors: one or two columns; runs that share a value of one are not independent.
    shared: a column of whose values only those count that both arms have (seeds, say); None: all must pair up.
    by_classes: whether every class count of an arm is compared on its own, after all of them together.
    """

    metric: str = "mse"
    keys: tuple[str, ...] = KEYS
    factors: tuple[str, ...] = FACTORS
    shared: str | None = None
    by_classes: bool = False


@dataclasses.dataclass(frozen=True)
class Effect:
    """One arm against its baseline in one group; `classes`: those of the arm, `tables.ALL`, or 0 where it has none.

    `pairs` are as from `statistics.paired`, `trivial` is the mean error of the predictors that look at targets alone.
    """

    names: dict[str, str]
    arm: str
    baseline: str
    classes: int | str
    pairs: pd.DataFrame
    trivial: dict[str, float]
    factors: tuple[str, ...] = FACTORS

    @functools.cached_property
    def result(self) -> Comparison:
        """All statistics."""
        return compare(self.pairs, self.factors)

    @functools.cached_property
    def difference(self) -> tuple[float, Interval]:
        """The mean difference and its 95 % interval."""
        return mean_difference(self.pairs, self.factors)


def groups_by(rows: pd.DataFrame, columns: Mapping[str, str], form: Mapping[str, str] | None = None) -> list[Group]:
    """A group for every combination of values that the rows have, in the order of `tables.in_order`.

    Args:
      rows: of any number of arms.
      columns: which, and what they are called in a table. None: one group of all rows, without a name.
      form: how their values are written, a format; as they are by default.
    """
    if not columns:
        return [Group({}, rows)]
    found = []
    places = rows.groupby(list(columns), sort=False, dropna=False).indices
    for values in tables.in_order(rows[list(columns)].drop_duplicates(), list(columns)).itertuples(index=False):
        key = values[0] if len(columns) == 1 else tuple(values)
        text = ((form or {}).get(name, "{}").format(value) for name, value in zip(columns, values, strict=True))
        found.append(Group(dict(zip(columns.values(), text, strict=True)), rows.iloc[places[key]]))
    return found


def effects(question: Question, groups: Sequence[Group], pairs: Pairs) -> list[Effect]:
    """Every pair (arm, baseline) that a group has both arms of, group by group.

    Raises:
      ValueError: runs that should pair up do not.
    """
    pairs, found = list(pairs), []
    keys = list(dict.fromkeys((*question.keys, *question.factors)))
    for names, rows in groups:
        by_arm = rows.groupby("arm")[question.metric]
        trivial = {arm: tables.finite_mean(by_arm.get_group(arm)) for arm in TRIVIAL if arm in by_arm.groups}
        for arm, baseline in pairs:
            part = rows[rows["arm"].isin((arm, baseline))]
            if question.shared:
                seen = (set(part.loc[part["arm"] == name, question.shared]) for name in (arm, baseline))
                part = part[part[question.shared].isin(set.intersection(*seen))]
            if part["arm"].nunique() < 2:
                continue
            every = paired(part, arm, baseline, keys, question.metric)
            pieces: dict[int | str, pd.DataFrame] = {0: every}
            if question.by_classes:
                pieces = {int(classes): piece for classes, piece in every.groupby("classes")}
                pieces = pieces if len(pieces) == 1 else {ALL: every, **pieces}
            for classes, piece in pieces.items():
                found.append(Effect(names, arm, baseline, classes, piece, trivial, question.factors))
    return found


def effect_lines(
    found: Sequence[Effect],
    *,
    classes: bool = False,
    trivial: bool = True,
    more: Callable[[Effect], Mapping[str, str]] = lambda effect: {},
) -> pd.DataFrame:
    """A line of text per effect: group, arm, class count, baseline, the statistics, `more`, and trivial predictors."""
    lines = []
    for each in found:
        line = {**each.names, "arm": label(each.arm)}
        if classes:
            line["classes"] = str(each.classes or "–")
        line |= {"baseline": label(each.baseline), **tables.comparison_cells(each.result), **more(each)}
        lines.append(line | ({arm: number(mean) for arm, mean in each.trivial.items()} if trivial else {}))
    return pd.DataFrame(lines)


def effects_table(title: str, note: str, frame: pd.DataFrame, shown: pd.Series | None = None) -> list[Table]:
    """The table of `effect_lines`, of which a console gets the lines `shown`; none where there is no line."""
    if frame.empty:
        return []
    return [Table(title, note, frame, (frame if shown is None else frame[shown]).drop(columns=INDEPENDENT))]


def first_lines(frame: pd.DataFrame) -> pd.Series:
    """Which of `effect_lines` come first in their group: those that pool the class counts where there are several."""
    columns = frame.columns[: list(frame.columns).index("pairs")].drop("classes")
    return ~frame.duplicated(list(columns))


def difference_text(effect: Effect, decimals: int = 3) -> str:
    """The difference and its interval in one cell."""
    mean, ends = effect.difference
    return (
        f"{number(mean, sign=True, decimals=decimals)} {interval(ends, decimals=decimals)}"
        if np.isfinite(mean)
        else "–"
    )


def spread(values: pd.Series, decimals: int = 3) -> str:
    """Mean ± standard deviation (ddof 1) of the runs that did not diverge; the mean alone of one run."""
    values = values[np.isfinite(values)]
    text = number(values.mean(), decimals=decimals)
    return f"{text} ± {number(values.std(), decimals=decimals)}" if len(values) > 1 else text


def mean_lines(
    groups: Sequence[Group],
    metrics: Mapping[str, str],
    *,
    settings: Sequence[str] = (),
    decimals: int = 3,
    published: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """A line of text per group, arm and setting: runs, and `spread` of each metric; trivial predictors have lines, too.

    Args:
      groups: of rows with the columns arm, `settings` and the metrics.
      metrics: column -> title.
      settings: columns in which runs of one arm differ.
      decimals: of every metric.
      published: what others found, beside ours as "<title> (publ.)": the columns that name groups, `arm`, and metrics.
    """
    lines = []
    for names, rows in groups:
        arms = dict(list(rows.groupby(["arm", *settings], sort=True, dropna=False)))
        for (arm, *values), part in sorted(arms.items(), key=lambda item: tables.arm_place(item[0][0])):
            line = {**names, "arm": arm}
            line |= {name: "–" if pd.isna(value) else str(value) for name, value in zip(settings, values, strict=True)}
            line["runs"] = str(len(part))
            for metric, title in metrics.items():
                line[title] = spread(part[metric], decimals)
            lines.append(line)
    frame = pd.DataFrame(lines)
    if published is not None:
        keys = [*groups[0].names, "arm"]
        theirs = published.set_index(keys)[list(metrics)].map(number, decimals=decimals)
        theirs = frame[keys].join(theirs, on=keys).fillna("–")
        for metric, title in metrics.items():
            frame.insert(frame.columns.get_loc(title) + 1, f"{title} (publ.)", theirs[metric])
    frame["arm"] = frame["arm"].map(label)
    return frame
