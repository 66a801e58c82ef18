"""The report of a study that is none of the paper's, on any data: every arm in every setting, and what it is worth."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from regcls_jax.report import tables
from regcls_jax.report.effect_figure import effect_figure
from regcls_jax.report.effects import (
    Effect,
    Group,
    Question,
    effect_lines,
    effects,
    effects_table,
    first_lines,
    groups_by,
    mean_lines,
)
from regcls_jax.report.statistics import FOLD
from regcls_jax.report.tables import TRIVIAL, Table, label
from regcls_jax.report.verdicts import best_verdict, effects_verdict
from regcls_jax.store.rows import COLUMNS, MEASURED

# Of the columns of a source: draws of the data that a mean is taken over. Any other one tells data sets apart.
DRAWS = ("function", FOLD, "repetition")
# Columns of a row that are no setting of the training.
NOT_SETTINGS = ("run", "arm", "seed", "split", "classes_kept", *MEASURED)


class Design(NamedTuple):
    """What the columns of a study's rows mean, as far as they take more than one value.

    groups: of the data; means are never taken over them.
    draws: of the data and of the seed, over which they are.
    settings: of the training.
    """

    groups: list[str]
    draws: list[str]
    settings: list[str]


def design(rows: pd.DataFrame) -> Design:
    """Read off the rows: the columns of the data are those that the rows of the trivial predictors have, too."""
    trained = rows[rows["run"] >= 0]
    varying = [name for name in rows if trained[name].nunique(dropna=False) > 1]
    known = rows.loc[rows["arm"].isin(TRIVIAL)].notna().any()
    data = [name for name in rows if name not in (*COLUMNS, *MEASURED) and known[name]]
    settings = [name for name in varying if name not in (*data, *NOT_SETTINGS)]
    # A seed that follows from the fold, say, is no draw of its own.
    seeds = trained.groupby([*data, "arm", *settings], dropna=False)["seed"].nunique()
    return Design(
        groups=[name for name in data if name in varying and name not in DRAWS],
        draws=[name for name in DRAWS if name in varying] + ["seed"] * bool(seeds.max() > 1),
        settings=settings,
    )


def _reference(rows: pd.DataFrame) -> str:
    """reg, or the arm that was trained first."""
    trained = rows[rows["run"] >= 0].sort_values("run", kind="stable")
    return "reg" if (trained["arm"] == "reg").any() else str(trained["arm"].iloc[0])


def variants(rows: pd.DataFrame, settings: list[str], baseline: str) -> Iterator[tuple[str, pd.DataFrame]]:
    """Every arm in each of the settings that it was trained in, with the runs of the baseline to compare it with.

    Class counts are no variants: they are compared one by one. Where the baseline was trained in several settings, too,
    its runs are those of equal settings.

    Yields:
      What to call the arm, and rows of it (under that name), of the baseline and of the trivial predictors.
    """
    trained, beside = rows[rows["run"] >= 0], rows[rows["arm"].isin(TRIVIAL)]
    of_arm = dict(list(trained.groupby("arm", sort=False)))
    several = {
        arm: [name for name in settings if name != "classes" and part[name].nunique(dropna=False) > 1]
        for arm, part in of_arm.items()
    }
    for arm in tables.in_order(trained[["arm"]].drop_duplicates(), ["arm"])["arm"]:
        if arm == baseline:
            continue
        parts = of_arm[arm].groupby(several[arm], dropna=False) if several[arm] else [((), of_arm[arm])]
        for values, part in parts:
            name = ", ".join([arm, *(f"{key} {value}" for key, value in zip(several[arm], values, strict=True))])
            reference = of_arm[baseline]
            for key in several[baseline]:
                own = part[key].iloc[0]
                reference = reference[reference[key].isna() if pd.isna(own) else reference[key] == own]
            yield name, pd.concat([part.assign(arm=name), reference, beside])


def generic_effects(rows: pd.DataFrame) -> list[Effect]:
    """Every arm against `reg`, or else the first arm, in every group of the data."""
    found_design, baseline = design(rows), _reference(rows)
    keys = tuple(name for name in (*DRAWS, "seed") if name in rows)
    factors = tuple(found_design.draws[:2]) or keys[:1]
    question = Question(keys=keys, factors=factors, by_classes=True)
    groups = groups_by(rows, {name: name for name in found_design.groups})
    compared = [(names, pair) for names, part in groups for pair in variants(part, found_design.settings, baseline)]
    return [
        effect
        for names, (arm, part) in compared
        for effect in effects(question, [Group(names, part)], [(arm, baseline)])
    ]


def named(rows: pd.DataFrame) -> tuple[str, str]:
    """The target and its data set as a title says them, and the unit; each empty where the rows do not say it."""
    said = {name: rows[name].astype(str).unique() if name in rows else [] for name in ("target", "dataset", "unit")}
    of = ", ".join([*said["target"][:3], *said["dataset"][:3]])
    return f": {of}" if of else "", " and ".join(filter(None, said["unit"]))


def generic_tables(rows: pd.DataFrame) -> list[Table]:
    """Means of every arm in every group of the data and setting, then paired differences from reg (or the first arm).

    Args:
      rows: test rows of any study.

    Raises:
      ValueError: runs that should pair up do not.
    """
    of, unit = named(rows)
    groups, draws, settings = design(rows)
    over = f" over {' and '.join(draws)}" if draws else " (of one run: its error)"
    units = f"; MAE in {unit}, MSE in its square" if unit else ""
    frame = mean_lines(
        groups_by(rows, {name: name for name in groups}), {"mse": "test MSE", "mae": "test MAE"}, settings=settings
    )
    note = (
        f"Mean ± standard deviation{over}{units}. constant and median predict the mean and median of the training "
        "targets; no setting is theirs."
    )
    means = Table(f"Every arm in every setting{of}", note, frame, frame)
    found = generic_effects(rows)
    lines = effect_lines(found, classes=True)
    by = "training sets of folds overlap: Nadeau and Bengio's t" if FOLD in draws else "two-way"
    note = (
        f"Arm − {label(_reference(rows))} in test MSE, paired by {', '.join(draws) or 'data'}; intervals are "
        f"over {' and '.join(draws[:2]) or 'nothing'} ({by}) or take runs as independent, which is too narrow. "
        "Constant and median: their test MSE."
    )
    shown = first_lines(lines) if found else None
    return [means, *effects_table(f"Against {label(_reference(rows))}{of}", note, lines, shown)]


def generic_verdict(rows: pd.DataFrame) -> str:
    """The arm with the lowest test error against the baseline, where the data are of one kind; else `best_verdict`."""
    found = generic_effects(rows)
    pooled: dict[str, Effect] = {}
    for effect in found:
        pooled.setdefault(effect.arm, effect)  # the one that pools the class counts comes first
    known = [effect for effect in pooled.values() if np.isfinite(effect.difference[0])]
    if design(rows).groups or not known:
        return best_verdict(rows)
    best = min(known, key=lambda effect: effect.difference[0])
    of, unit = named(rows)
    note = "in brackets a 95 % interval"
    if len(pooled) > 1:
        note += f"; of {len(pooled)} arms the one with the lowest error, which the test set itself shows"
    where = f" on {of.removeprefix(': ')}" if of else ""
    return effects_verdict([best], error=f"test MSE{f' ({unit}²)' if unit else ''}", where=where, note=note)


def generic_figure(rows: pd.DataFrame) -> Figure:
    """The effects of `generic_tables`, at least one: class counts pooled, a panel per group of the data."""
    of, unit = named(rows)
    panels: dict[str, dict[str, Effect]] = {}
    for effect in generic_effects(rows):
        title = " · ".join(effect.names.values()) or f"against {label(effect.baseline)}{of}"
        # Of an arm with several class counts, the effect that pools them comes first.
        panels.setdefault(title, {}).setdefault(effect.arm, effect)
    squared = f" ({unit}²)" if unit else ""
    return effect_figure(
        {title: list(found.values()) for title, found in panels.items()}, f"test MSE{squared}", across=3
    )
