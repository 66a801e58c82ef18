"""The report of the baselines: methods made for imbalance, and reg+cls, against reg and against each other."""

import itertools
from collections.abc import Iterable

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from regcls_jax.report import tables
from regcls_jax.report.effect_figure import effect_figure
from regcls_jax.report.effects import (
    TOO_NARROW,
    TWO_WAY,
    Effect,
    Question,
    effect_lines,
    effects,
    effects_table,
    first_lines,
)
from regcls_jax.report.paper.groups import IMBALANCED, by_balance
from regcls_jax.report.paper.published import CELL, sort_cells
from regcls_jax.report.statistics import finite_mean
from regcls_jax.report.tables import Table, label, number

REFERENCES = ("reg", "reg_x_lambda")
CLASS_ARMS = ("reg_cls", "reg_cls_bal")


def methods(rows: pd.DataFrame) -> list[str]:
    """The trained arms of the rows, in the order of the labels."""
    return list(tables.in_order(rows.loc[rows["run"] >= 0, ["arm"]].drop_duplicates(), ["arm"])["arm"])


def against_references(arms: list[str]) -> list[tuple[str, str]]:
    """(arm, baseline): every arm against reg and against reg×λ."""
    pairs = itertools.product(arms, REFERENCES)
    return [(arm, baseline) for arm, baseline in pairs if arm != baseline and (arm, baseline) != REFERENCES]


def against_methods(arms: list[str]) -> list[tuple[str, str]]:
    """(arm, baseline): reg+cls against every method made for imbalance."""
    return list(itertools.product(CLASS_ARMS, (arm for arm in arms if arm not in (*REFERENCES, *CLASS_ARMS))))


def pooled(rows: pd.DataFrame, pairs: Iterable[tuple[str, str]]) -> list[Effect]:
    """Compares the pairs (arm, baseline) that the test rows hold, over the imbalanced cells and the uniform ones.

    Raises:
      ValueError: runs that should pair up do not.
    """
    pairs = list(pairs)
    found = effects(Question(by_classes=True), by_balance(rows, {}, "samplings"), pairs)
    return sorted(found, key=lambda effect: pairs.index((effect.arm, effect.baseline)))


def pooled_against_references(rows: pd.DataFrame) -> list[Effect]:
    """`pooled` of every arm against reg and against reg×λ.

    Raises:
      ValueError: runs that should pair up do not, or there is nothing to compare with.
    """
    arms = methods(rows)
    if not (found := pooled(rows, against_references(arms))):
        references, present = " or ".join(map(label, REFERENCES)), ", ".join(map(label, arms)) or "none"
        raise ValueError(f"Nothing can be compared with {references}: the trained arms are {present}.")
    return found


def _means_table(rows: pd.DataFrame) -> Table:
    groups = rows.groupby(["arm", "classes", *CELL])["mse"]
    spread = groups.agg(mean=finite_mean, std=lambda mse: mse[np.isfinite(mse)].std())
    text = spread["mean"].map(number) + " ± " + spread["std"].map(number)
    cells = list(sort_cells(rows[CELL].drop_duplicates()).itertuples(index=False, name=None))
    wide = text.unstack(CELL)[cells].fillna("–")
    wide.columns = [" ".join(cell) for cell in cells]
    frame = tables.in_order(wide.reset_index(), ["arm", "classes"])
    lost = (~np.isfinite(rows["mse"])).groupby([rows["arm"], rows["classes"]]).sum()
    frame["diverged"] = [str(lost[line.arm, line.classes]) for line in frame.itertuples()]
    frame.insert(0, "method", frame.pop("arm").map(label))
    frame["classes"] = [str(classes or "–") for classes in frame["classes"]]
    note = (
        "Mean ± standard deviation over functions and repetitions, diverged runs left out. ×λ: the loss times the λ of "
        "reg+cls in that scenario, which outweighs the coupled weight decay; without it the loss as it is. Constant "
        "and median predict the mean and median of the training targets."
    )
    return Table("Test MSE of every method", note, frame, frame)


def _pooled_tables(rows: pd.DataFrame, found: list[Effect]) -> list[Table]:
    scenarios = " and ".join(sort_cells(rows[CELL].drop_duplicates())["scenario"].unique())
    note = (
        f"All {scenarios} cells, functions and repetitions of a group together; imbalanced: all samplings but uniform. "
        f"Pairs share function, repetition and seed. {TWO_WAY}; {TOO_NARROW}. Constant and median: their test MSE."
    )
    titled: dict[str, list[Effect]] = {}
    for effect in found:
        title = f"Against {label(effect.baseline)}"
        if effect.baseline not in REFERENCES:
            title = f"{label(effect.arm)} against every method"
        titled.setdefault(title[0].upper() + title[1:], []).append(effect)
    made = []
    for title, several in titled.items():
        frame = effect_lines(several, classes=True)
        made += effects_table(title, note, frame, first_lines(frame) & (frame["samplings"] == IMBALANCED))
    return made


def baseline_tables(rows: pd.DataFrame) -> list[Table]:
    """Test MSE of every method per cell, then the comparisons over the imbalanced and over the uniform cells.

    Args:
      rows: test rows of the study.

    Raises:
      ValueError: as `pooled_against_references`, or a cell is not one of the paper's.
    """
    found = pooled_against_references(rows) + pooled(rows, against_methods(methods(rows)))
    return [_means_table(rows), *_pooled_tables(rows, found)]


def baseline_figure(rows: pd.DataFrame, kind: str = "std") -> Figure:
    """Difference of every method from reg and from reg×λ (columns), over the imbalanced and the uniform cells (rows).

    With two-way 95 % intervals, class counts pooled; the trivial predictors, far outside, stand in the titles.

    Args:
      rows: test rows of the study.
      kind: not used: the intervals are those of the mean, whatever the shading of the paper's figures is.

    Raises:
      ValueError: as `pooled_against_references`.
    """
    found: dict[tuple[str, str], dict[str, Effect]] = {}
    for effect in pooled_against_references(rows):
        # Of an arm with several class counts, the line that pools them comes first.
        found.setdefault((effect.names["samplings"], effect.baseline), {}).setdefault(effect.arm, effect)
    panels = {}
    for (group, baseline), of_arms in sorted(found.items(), key=lambda item: item[0][0]):
        effect = next(iter(of_arms.values()))
        level = effect.pairs["baseline"].mean()
        trivial = ", ".join(f"{label(arm)} {number(mean - level, sign=True)}" for arm, mean in effect.trivial.items())
        panels[f"{group}: against {label(baseline)}\n({trivial})"] = list(of_arms.values())
    return effect_figure(panels, "test MSE", across=len({baseline for _, baseline in found}))
