"""Figures 3 and 5 as differences: what classes change, run by run, with intervals and the published means."""

import functools
import itertools
import textwrap
from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from regcls_jax.report.drawing import FONTS, PAPER, cell_panels, class_axis, finish_figure
from regcls_jax.report.effects import Effect, Group, Question, effects
from regcls_jax.report.palette import BLACK, BLUE, GREY, ORANGE, VERMILION
from regcls_jax.report.paper.published import CELL, SAMPLINGS, published_fig3, sort_cells
from regcls_jax.report.tables import ALL, label, number
from regcls_jax.report.verdicts import balance_of, headline, judged_rows, of_effect, widest

# What is drawn: (arm, baseline), and how.
SERIES: dict[tuple[str, str], dict[str, Any]] = {
    ("reg_cls", "reg"): {"color": BLUE, "marker": "o"},
    ("reg_cls", "reg_x_lambda"): {"color": VERMILION, "marker": "s", "markerfacecolor": "white"},
    ("reg_cls_bal", "reg"): {"color": ORANGE, "marker": "^"},
}
PUBLISHED = "published mean of reg+cls − reg"
# The noise of the published runs of Fig. 3, whose scenario "noisy" is this level of Fig. 5.
PUBLISHED_NOISE = {"clean": 0.0, "noisy": 0.1, "ood": 0.0}
# Of neighbours on an axis of powers of two.
APART = 1.09
Y = "difference in test MSE, two-way 95 % interval"
NAMES = {"reg": "plain regression", "reg_x_lambda": "the same λ without classes"}


def _name(pair: tuple[str, str]) -> str:
    return f"{label(pair[0])} − {label(pair[1])}"


def _published(cell: pd.DataFrame) -> pd.DataFrame:
    """The published lines of one cell at the class counts of its rows; none at another noise than the published."""
    theirs = published_fig3()
    scenario, sampling, noise = cell[[*CELL, "noise"]].iloc[0]
    here = (theirs[CELL] == [scenario, sampling]).all(axis=1) & theirs["classes"].isin(cell["classes"])
    return theirs[here & (noise == PUBLISHED_NOISE[scenario])]


def _panel(axes: Axes, cell: pd.DataFrame, pairs: Sequence[tuple[str, str]]) -> None:
    axes.axhline(0.0, color=GREY, linewidth=1.0)
    found = effects(Question(by_classes=True), [Group({}, cell)], pairs)
    for place, pair in enumerate(pairs):
        own = [each for each in found if (each.arm, each.baseline) == pair and each.classes != ALL]
        if not own:
            continue
        x = np.array([float(each.classes) for each in own]) * APART ** (place - (len(pairs) - 1) / 2)
        looks = SERIES[pair]
        for at, (_, ends) in zip(x, (each.difference for each in own), strict=True):
            axes.plot([at, at], ends, color=looks["color"], linewidth=1.4)
        means = [each.difference[0] for each in own]
        axes.plot(x, means, linestyle="none", markersize=4.5, label=_name(pair), **looks)
    theirs = _published(cell)
    if len(theirs):
        gaps = theirs["reg_cls_mean"] - theirs["reg_mean"]
        style: dict[str, Any] = {
            "marker": "D",
            "markerfacecolor": "none",
            "color": BLACK,
            "markersize": 6,
            "linestyle": "none",
        }
        axes.plot(theirs["classes"], gaps, label=PUBLISHED, zorder=4, **style)


def differences_figure(rows: pd.DataFrame, *, down: str, title: str, pairs: Sequence[tuple[str, str]]) -> Figure:
    """Paired differences in test MSE over class counts, with two-way 95 % intervals; published means as diamonds.

    Args:
      rows: test rows of the study.
      down: the column that the rows of panels stand for; samplings are across.
      title: its value in the titles, a format.
      pairs: of `SERIES`, as far as the rows hold them.

    Raises:
      ValueError: runs that should pair up do not, or a scenario or sampling is not one of the paper's.
    """
    with matplotlib.rc_context(FONTS):
        figure, panels = cell_panels(rows, down, tall=2.4)
        for axes, value, sampling, cell in itertools.chain.from_iterable(panels):
            if len(cell):
                _panel(axes, cell, pairs)
            class_axis(axes, rows)
            axes.tick_params(which="minor", length=0)
            axes.set_title(f"{title.format(value)} · {sampling}" + ("" if len(cell) else ": not run"))
            axes.grid(axis="y", alpha=0.25)
            axes.spines[["top", "right"]].set_visible(False)
        order = [*map(_name, pairs), PUBLISHED]
        finish_figure(figure, figure.axes, order, "number of classes (below 0: the first is better)", Y)
    return figure


fig3_differences = functools.partial(
    differences_figure, down="scenario", title="{}", pairs=(("reg_cls", "reg"), ("reg_cls", "reg_x_lambda"))
)
fig5_differences = functools.partial(
    differences_figure, down="noise", title="σ = {:g}", pairs=(("reg_cls", "reg"), ("reg_cls_bal", "reg"))
)


def _answer_line(axes: Axes, at: float, effect: Effect, named: bool) -> None:
    """One difference with its interval and its number; the first of its kind says against what."""
    mean, ends = effect.difference
    looks = SERIES[effect.arm, effect.baseline]
    axes.plot(ends, [at, at], color=looks["color"], linewidth=2.4, solid_capstyle="butt")
    axes.plot(mean, at, linestyle="none", markersize=8, **looks)
    level = of_effect(effect).level
    text = number(mean, sign=True) + (f" ({100 * mean / level:+.0f} %)" if level > 0 else "")
    if named:
        text = f"against {NAMES[effect.baseline]}: {text}"
    axes.annotate(
        text,
        (mean, at),
        (0, 6),
        textcoords="offset points",
        ha="center",
        va="bottom",
        color=looks["color"],
        bbox=PAPER | {"pad": 0.5},
    )


def answer_figure(rows: pd.DataFrame) -> Figure:
    """The answer of Fig. 3 in one picture: what classes change per sampling, beside regression with the same λ.

    The title is the verdict of the imbalanced samplings (`verdicts.headline`), so it follows the rows.

    Args:
      rows: test rows of the study; of scenarios, clean and noisy count, or what there is.

    Raises:
      ValueError: as `differences_figure`.
    """
    judged = judged_rows(rows)
    samplings = [name for name in SAMPLINGS if name in set(judged["sampling"])]
    pairs = [pair for pair in SERIES if pair[0] == "reg_cls"]
    by_sampling = [
        effects(Question(), [Group({}, judged[judged["sampling"] == sampling])], pairs) for sampling in samplings
    ]
    group = widest(rows)
    every = effects(Question(), [group], pairs)
    scenarios = " and ".join(dict.fromkeys(sort_cells(judged[CELL].drop_duplicates())["scenario"]))
    with matplotlib.rc_context(FONTS | {"font.size": 12}):
        figure = Figure(figsize=(9.0, 1.15 * len(samplings) + 2.0), layout="constrained")
        axes = figure.subplots()
        axes.axvline(0.0, color=GREY, linewidth=1.4)
        named: set[str] = set()
        for place, found in enumerate(by_sampling):
            for each in found:
                at = place + (0.24 if each.baseline != "reg" else -0.14)
                if np.isfinite(each.difference[0]):
                    _answer_line(axes, at, each, each.baseline not in named)
                    named.add(each.baseline)
        axes.set_yticks(range(len(samplings)), [f"{name} sampling" for name in samplings])
        axes.set_ylim(len(samplings) - 0.4, -0.75)
        low, high = axes.get_xlim()
        axes.set_xlim(min(low, -0.02), max(high, 0.02))
        axes.set_xlabel(f"← classes help · change of the test MSE by classes ({scenarios} data) · classes harm →")
        if every:
            against = [of_effect(each)._replace(baseline=NAMES[each.baseline]) for each in every]
            said = headline("Regression with classes", against, f" on {balance_of(group)} data")
            figure.suptitle(textwrap.fill(said, 72), x=0.01, ha="left", fontweight="bold", fontsize=12)
        axes.grid(axis="x", alpha=0.25)
        axes.spines[["top", "right", "left"]].set_visible(False)
        axes.tick_params(left=False)
        figure.supxlabel("mean over functions, repetitions and class counts, with two-way 95 % intervals", fontsize=10)
    return figure
