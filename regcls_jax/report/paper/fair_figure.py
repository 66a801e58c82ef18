"""The figures of fair tuning: test MSE of the pick over the budget, and the paired differences per cell."""

import itertools
from typing import Any

import matplotlib
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from regcls_jax.report.drawing import FONTS, finish_figure, finish_panel
from regcls_jax.report.effect_figure import effect_figure
from regcls_jax.report.effects import Effect
from regcls_jax.report.palette import STYLES
from regcls_jax.report.paper import fair
from regcls_jax.report.paper.fair import BASELINE, FINE, PICKED_ON, SELECTION
from regcls_jax.report.tables import label

ARMS = (BASELINE, FINE, "reg_cls", "reg_cls_bal")
BAND = "band: two-way 95 % interval of the difference"
# What the second figure draws, from top to bottom: (arm, baseline).
DIFFERENCES = ((FINE, BASELINE), ("reg_cls", BASELINE), ("reg_cls_bal", BASELINE), ("reg_cls", FINE))


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
        on: {
            names["sampling"]: part
            for names, part in fair.widest_groups(found.reset_index())
            if names["sampling"] != fair.POOLED
        }
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
        finish_figure(figure, grid.flat, map(label, STYLES), "budget: trainings per arm and data set", "", bands=BAND)
    return figure


def differences_figure(rows: pd.DataFrame, kind: str = "std") -> Figure:
    """Paired differences after fair tuning, one line per group of data sets, with two-way 95 % intervals.

    Args:
      rows: the study's rows of the splits val, val_balanced and test.
      kind: not used, see `budget_figure`.

    Raises:
      ValueError: as `fair.candidates`, or picks do not pair up.
    """
    panels = {f"picked on {PICKED_ON[on]}": fair.comparisons(fair.select(rows, on), DIFFERENCES) for on in SELECTION}

    def style(effect: Effect) -> dict[str, Any]:
        looks = {key: STYLES[effect.arm][key] for key in ("color", "marker")}
        return looks | ({"markerfacecolor": "white"} if effect.baseline == FINE else {})

    return effect_figure(
        panels,
        "test MSE",
        line=lambda effect: " · ".join(effect.names.values()),
        series=lambda effect: f"{label(effect.arm)} − {label(effect.baseline)}",
        style=style,
    )
