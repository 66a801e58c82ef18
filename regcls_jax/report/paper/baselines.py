"""The report of the baselines: methods made for imbalance, and reg+cls, against reg and against each other."""

import itertools
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from regcls_jax.report import tables
from regcls_jax.report.drawing import FONTS, STYLES
from regcls_jax.report.paper.published import CELL, SAMPLINGS, sort_cells
from regcls_jax.report.statistics import Comparison, finite_mean
from regcls_jax.report.tables import TRIVIAL, Table, label, number

REFERENCES = ("reg", "reg_x_lambda")
CLASS_ARMS = ("reg_cls", "reg_cls_bal")
# The cells that are pooled: name of the group and its samplings.
GROUPS = {"imbalanced": SAMPLINGS[1:], "uniform": SAMPLINGS[:1]}


class Pooled(NamedTuple):
    """One comparison over all cells of a group; classes: those of the arm, or `tables.ALL`, 0 where it has none."""

    group: str
    arm: str
    classes: int | str
    baseline: str
    result: Comparison


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


def pooled(rows: pd.DataFrame, pairs: Iterable[tuple[str, str]]) -> list[Pooled]:
    """Compares the pairs (arm, baseline) that the test rows hold, over the imbalanced cells and the uniform ones.

    Raises:
      ValueError: runs that should pair up do not.
    """
    found = []
    for (arm, baseline), (group, samplings) in itertools.product(pairs, GROUPS.items()):
        part = rows[rows["sampling"].isin(samplings)]
        for classes, result in tables.compare_classes(part, arm, baseline).items():
            found.append(Pooled(group, arm, classes, baseline, result))
    return found


def pooled_against_references(rows: pd.DataFrame) -> list[Pooled]:
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


def _pooled_tables(rows: pd.DataFrame, found: list[Pooled]) -> list[Table]:
    scenarios = " and ".join(sort_cells(rows[CELL].drop_duplicates())["scenario"].unique())
    note = (
        f"All {scenarios} cells, functions and repetitions of a group together; imbalanced: all samplings but uniform. "
        "Pairs share function, repetition and seed. Two-way: bootstrap over functions and repetitions, which runs "
        "share; the other intervals take runs as independent and are too narrow. Constant and median: their test MSE."
    )
    trivial = rows[rows["arm"].isin(TRIVIAL)]
    lines: dict[str, list[dict[str, str]]] = {}
    for group, arm, classes, baseline, result in found:
        title = f"against {label(baseline)}" if baseline in REFERENCES else f"{label(arm)} against every method"
        line = {"samplings": group, "arm": label(arm), "classes": str(classes or "–"), "baseline": label(baseline)}
        means = trivial[trivial["sampling"].isin(GROUPS[group])].groupby("arm")["mse"].agg(finite_mean)
        lines.setdefault(title, []).append(line | tables.comparison_cells(result) | means.map(number).to_dict())
    made = []
    for title, several in lines.items():
        frame = pd.DataFrame(several)
        first = (frame["samplings"] == "imbalanced") & ~frame.duplicated(["samplings", "arm", "baseline"])
        console = frame[first].drop(columns=["paired bootstrap 95 %", "Wilson 95 %"])
        made.append(Table(title[0].upper() + title[1:], note, frame, console))
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


def _panel(axes: Axes, found: Mapping[str, Comparison], title: str) -> None:
    """Draws the comparisons of some arms from top to bottom, named on the axis."""
    axes.axvline(0.0, color=STYLES["constant"]["color"], linewidth=1.0)
    for place, (arm, result) in enumerate(found.items()):
        color = STYLES["reg_cls" if arm in CLASS_ARMS else "reg_x_lambda"]["color"]
        axes.plot(result.two_way, [place] * 2, color=color, linewidth=1.6)
        axes.plot(result.difference, place, "o", color=color, markersize=5)
    axes.set_yticks(range(len(found)), map(label, found))
    axes.set_ylim(len(found) - 0.5, -0.5)
    axes.set_title(title)
    axes.grid(axis="x", alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)


def baseline_figure(rows: pd.DataFrame, kind: str = "std") -> Figure:
    """Difference of every method from reg and from reg×λ (columns), over the imbalanced and the uniform cells (rows).

    With two-way 95 % intervals, class counts pooled; the trivial predictors, far outside, stand in the titles.

    Args:
      rows: test rows of the study.
      kind: not used: the intervals are those of the mean, whatever the shading of the paper's figures is.

    Raises:
      ValueError: as `pooled_against_references`.
    """
    panels: dict[tuple[str, str], dict[str, Comparison]] = {}
    for group, arm, _, baseline, result in pooled_against_references(rows):
        # Of an arm with several class counts, the line that pools them comes first.
        panels.setdefault((group, baseline), {}).setdefault(arm, result)
    down = [group for group in GROUPS if group in {group for group, _ in panels}]
    across = [baseline for baseline in REFERENCES if baseline in {baseline for _, baseline in panels}]
    with matplotlib.rc_context(FONTS):
        tall = 0.26 * max(map(len, panels.values())) + 0.7
        figure = Figure(figsize=(4.6 * len(across) + 0.8, tall * len(down) + 0.5), layout="constrained")
        grid = figure.subplots(len(down), len(across), sharex="row", squeeze=False)
        for (group, baseline), found in panels.items():
            means = rows[rows["sampling"].isin(GROUPS[group])].groupby("arm")["mse"].agg(finite_mean)
            trivial = ", ".join(f"{label(arm)} {number(means[arm] - means[baseline], sign=True)}" for arm in TRIVIAL)
            axes = grid[down.index(group), across.index(baseline)]
            _panel(axes, found, f"{group}: against {label(baseline)}\n({trivial})")
        figure.supxlabel("difference in test MSE, negative is better")
    return figure
