"""Figures of a comparison over several tables: mean ranks with what does not differ, and effects over the imbalance."""

from collections.abc import Sequence

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from regcls_jax.report.drawing import FONTS
from regcls_jax.report.own.across import Problem, means, overall, ranks
from regcls_jax.report.own.across_tables import MEASURES, changes, kinds
from regcls_jax.report.own.figure import COLORS, kinds_legend
from regcls_jax.report.own.scores import OF_SHOTS
from regcls_jax.report.own.tables import shown_arms
from regcls_jax.report.shots_figure import shots_figure
from regcls_jax.report.tables import TRIVIAL, label


def ranks_figure(problems: Sequence[Problem]) -> Figure:
    """A critical-difference plot per measure: mean ranks, best on top; bars join arms that do not differ."""
    families = problems[0].scores.families
    with matplotlib.rc_context(FONTS):
        figure = Figure(figsize=(13, 0.3 * len(families) + 1.6), layout="constrained")
        for axes, (measure, where) in zip(figure.subplots(1, 2), MEASURES.items(), strict=True):
            found = ranks(problems, measure)
            if not found.problems:
                axes.set_axis_off()
                axes.set_title(f"{where}: no target has any", fontsize=11)
                continue
            places = np.arange(len(found.mean))
            colors = [COLORS[families[arm]] for arm in found.mean.index]
            axes.hlines(places, 1, found.mean, color=colors, linewidth=1.2, alpha=0.5)
            axes.scatter(found.mean, places, color=colors, s=36, zorder=3)
            groups = found.alike()
            step = 0.02 * len(found.mean)
            right = float(found.mean.max()) + 2 * step
            for column, (first, last) in enumerate(groups):
                axes.plot([right + column * 2 * step] * 2, [first - 0.25, last + 0.25], color="0.25", linewidth=3)
            axes.set_yticks(places, [label(str(arm)) for arm in found.mean.index])
            axes.set_ylim(len(places) - 0.5, -0.5)
            axes.set_xlim(1, right + 2 * step * max(1, len(groups)))
            critical = f"critical difference {found.critical:.1f}" if np.isfinite(found.critical) else "too few"
            axes.set_title(f"{where}: {found.problems} targets, {critical}", fontsize=11)
            axes.spines[["top", "right"]].set_visible(False)
        figure.supxlabel("mean rank of the test MAE (1: best); a bar joins arms that do not differ", fontsize=11)
        kinds_legend(figure, axes, families.values())
    return figure


def effects_figure(problems: Sequence[Problem]) -> Figure:
    """The change by every arm over all problems, of all rows and of those of many, medium and few training rows."""
    families = problems[0].scores.families
    arms = [arm for arm in shown_arms(problems[0].scores) if arm not in TRIVIAL]
    panels = {}
    for measure, where in {"mae": "all rows", **OF_SHOTS}.items():
        errors = means(problems, measure)
        found = {arm: overall(errors, arm) for arm in arms}
        if max(one.problems for one in found.values()):
            panels[where] = {arm: (one.mean, one.interval) for arm, one in found.items()}
    return shots_figure(panels, families, "test MAE against plain regression")


def imbalance_figure(problems: Sequence[Problem]) -> Figure:
    """The change by every kind of networks on every target, over how uneven it is."""
    with matplotlib.rc_context(FONTS):
        figure = Figure(figsize=(12, 4.6), layout="constrained")
        grid = figure.subplots(1, 2, sharex=True)
        for axes, (measure, where) in zip(grid, MEASURES.items(), strict=True):
            _effects(axes, problems, measure)
            axes.set_title(f"{where}, against plain regression", fontsize=11)
        grid[0].set_ylabel("change of the test MAE (%)")
        figure.supxlabel("imbalance of the target (0: even, 1: all in one place)", fontsize=11)
        handles = grid[0].get_legend_handles_labels()
        figure.legend(*handles, loc="outside upper center", ncols=min(3, max(1, len(handles[0]))), frameon=False)
    return figure


def _effects(axes: Axes, problems: Sequence[Problem], measure: str) -> None:
    axes.axhline(0, color="0.6", linewidth=1)
    # Side by side where two tables are as uneven.
    width = 0.008
    shown = kinds(problems)
    for place, kind in enumerate(shown):
        side = 2 * place - len(shown) + 1
        found = changes(problems, kind, measure)
        x = np.array([each.imbalance for each in problems]) + side * width / 2
        middle = np.array([each.mean for each in found])
        ends = np.array([each.interval for each in found])
        axes.vlines(x, ends[:, 0], ends[:, 1], color=COLORS[kind], linewidth=1.6)
        axes.plot(x, middle, "o", color=COLORS[kind], label=f"{kind}, as validation chose")
    low, high = axes.get_ylim()
    for place, each in enumerate(problems):
        # In two rows, so that neighbours do not cover each other.
        axes.annotate(
            each.name.split(":")[0],
            (each.imbalance, high + (0.02 + 0.06 * (place % 2)) * (high - low)),
            ha="center",
            va="bottom",
            fontsize=9,
        )
    axes.set_ylim(low, high + 0.16 * (high - low))
    axes.spines[["top", "right"]].set_visible(False)
