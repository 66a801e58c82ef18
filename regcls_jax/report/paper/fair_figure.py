"""The figures of fair tuning: test MSE of the pick over the budget, and the paired differences per cell."""

import itertools

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from regcls_jax.report.drawing import FONTS, STYLES, finish_figure, finish_panel
from regcls_jax.report.paper import fair
from regcls_jax.report.paper.fair import BASELINE, FINE, PICKED_ON, SELECTION
from regcls_jax.report.tables import label

ARMS = (BASELINE, FINE, "reg_cls", "reg_cls_bal")
# What the second figure draws, from top to bottom: (arm, baseline), and how far from the line of the group.
DIFFERENCES = {(FINE, BASELINE): -0.27, ("reg_cls", BASELINE): -0.09, ("reg_cls_bal", BASELINE): 0.09}
DIFFERENCES |= {("reg_cls", FINE): 0.27}


def _means_panel(axes: Axes, curves: pd.DataFrame) -> None:
    """Draws the arms over the budget; no bands, because functions differ far more than arms do on one of them."""
    means = fair.curve_means(curves)
    for arm in (arm for arm in ARMS if arm in means.index):
        axes.plot(means.columns, means.loc[arm], label=label(arm), markevery=0.1, zorder=3, **STYLES[arm])


def _differences_panel(axes: Axes, curves: pd.DataFrame) -> None:
    axes.axhline(0.0, color=STYLES[BASELINE]["color"], linewidth=1.2)
    present = curves.index.get_level_values("arm")
    for arm in (arm for arm in ARMS if arm != BASELINE and arm in present):
        found = fair.curve_differences(curves, arm)
        style = {"color": STYLES[arm]["color"], "linewidth": 0}
        axes.fill_between(found.index, found["low"], found["high"], alpha=0.25, **style)
        axes.plot(found.index, found["difference"], label=label(arm), markevery=0.1, zorder=3, **STYLES[arm])


def budget_figure(rows: pd.DataFrame, kind: str = "std") -> Figure:
    """Expected test MSE of the pick over the budget of trainings, scenarios pooled, samplings in columns.

    Two rows of panels per validation set that picks: the arms, and their paired differences from reg with bands.

    Args:
      rows: the study's rows of the splits val, val_balanced and test.
      kind: not used: the bands are intervals of the mean, whatever the shading of the paper's figures is.

    Raises:
      ValueError: as `fair.candidates`.
    """
    test = rows[rows["split"] == "test"]
    curves = {on: fair.budget_curves(rows, on) for on in SELECTION}
    parts = {
        on: {sampling: part for _, sampling, part in fair.widest_groups(found.reset_index()) if sampling != fair.POOLED}
        for on, found in curves.items()
    }
    across = list(parts[SELECTION[0]])
    with matplotlib.rc_context(FONTS):
        figure = Figure(figsize=(3.1 * len(across) + 0.8, 2.3 * 2 * len(SELECTION) + 1.2), layout="constrained")
        grid = figure.subplots(2 * len(SELECTION), len(across), sharex=True, sharey="row", squeeze=False)
        drawn = itertools.product(SELECTION, (_means_panel, _differences_panel))
        for (on, draw), row in zip(drawn, grid, strict=True):
            for sampling, axes in zip(across, row, strict=True):
                draw(axes, parts[on][sampling].set_index(curves[on].index.names))
                axes.set_xscale("log", base=2)
                axes.xaxis.set_major_formatter("{x:g}")
            shown = test
            if draw is _means_panel:
                row[0].set_ylim(0.0, 1.15 * row[0].get_ylim()[1])  # of the whole row
                row[0].set_ylabel("test MSE of the pick")
            else:
                shown = test[test["run"] >= 0]  # the level of the constant predictor is no difference
                row[0].set_ylabel(f"arm − {label(BASELINE)}, two-way 95 %")
            for sampling, axes in zip(across, row, strict=True):
                finish_panel(axes, shown[shown["sampling"] == sampling], f"{sampling} · {PICKED_ON[on]}", [])
        finish_figure(figure, grid.flat, map(label, STYLES), "budget: trainings per arm and data set", "")
    return figure


def differences_figure(rows: pd.DataFrame, kind: str = "std") -> Figure:
    """Paired differences after fair tuning, one line per group of data sets, with two-way 95 % intervals.

    Args:
      rows: the study's rows of the splits val, val_balanced and test.
      kind: not used, see `budget_figure`.

    Raises:
      ValueError: as `fair.candidates`, or picks do not pair up.
    """
    # Only what is drawn is computed: the statistics of the tables cost several times as much.
    found = {on: fair.pairings(fair.select(rows, on), DIFFERENCES) for on in SELECTION}
    names = list(dict.fromkeys((t.scenario, t.sampling) for t in found[SELECTION[0]]))
    with matplotlib.rc_context(FONTS):
        size = (4.2 * len(SELECTION) + 2.0, 0.55 * len(names) + 1.8)
        figure = Figure(figsize=size, layout="constrained")
        grid = figure.subplots(1, len(SELECTION), sharex=True, sharey=True, squeeze=False)
        for on, axes in zip(SELECTION, grid.flat, strict=True):
            axes.axvline(0.0, color=STYLES[BASELINE]["color"], linewidth=1.2)
            for (arm, baseline), offset in DIFFERENCES.items():
                if not (mine := [t for t in found[on] if (t.arm, t.baseline) == (arm, baseline)]):
                    continue
                places = np.array([names.index((t.scenario, t.sampling)) for t in mine]) + offset
                means, ends = zip(
                    *(fair.mean_and_interval(fair.finite_differences(t.pairs)) for t in mine), strict=True
                )
                lows, highs = zip(*ends, strict=True)
                style = {**STYLES[arm], "linewidth": 0.0, "linestyle": "none"}
                if baseline == FINE:
                    style["markerfacecolor"] = "white"
                axes.hlines(places, lows, highs, color=style["color"], linewidth=1.6)
                name = f"{label(arm)} − {label(baseline)}"
                axes.plot(means, places, label=name, **style)
            axes.set_yticks(range(len(names)), [" · ".join(name) for name in names])
            axes.set_title(f"picked on {PICKED_ON[on]}")
            axes.grid(axis="x", alpha=0.25)
            axes.spines[["top", "right"]].set_visible(False)
        grid[0, 0].invert_yaxis()  # the first group on top; the axis is shared
        order = [f"{label(arm)} − {label(baseline)}" for arm, baseline in DIFFERENCES]
        finish_figure(figure, grid.flat, order, "difference in test MSE (two-way 95 % interval)", "")
    return figure
