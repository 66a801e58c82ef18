"""The paper's Fig. 4: validation MSE against lambda."""

import itertools
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from regcls_jax.report.drawing import BANDS, FONTS, finish_figure, finish_panel, levels, lost_runs, over
from regcls_jax.report.palette import STYLES
from regcls_jax.report.paper.published import CELL, SAMPLINGS, sort_cells
from regcls_jax.report.tables import label

PANEL_NAMES = {"val": "own val", "val_balanced": "uniform val"}
MARKERS = "osD^v"


def _name(classes: int) -> str:
    return f"reg+cls, {classes}"


def _colors(counts: list[int]) -> dict[int, tuple[float, ...]]:
    """Dark to light with the class count; the lightest stays readable on white."""
    shades = matplotlib.colormaps["viridis"](np.linspace(0.0, 0.85, len(counts)))
    return {count: tuple(shade) for count, shade in zip(counts, shades, strict=True)}


def _panel(axes: Axes, cell: pd.DataFrame, colors: dict[int, tuple[float, ...]], kind: str) -> None:
    arms = dict(list(cell.groupby("arm")))
    lambdas = cell.loc[cell["arm"].isin(["reg_cls", "reg_x_lambda"]), "lam"]
    ends = [lambdas.min(), lambdas.max()] if len(lambdas) else [1.0, 1.0]
    levels(axes, ends, {arm: part for arm, part in arms.items() if arm != "reg_x_lambda"}, kind)
    if "reg_x_lambda" in arms:
        x, means, _ = over(arms["reg_x_lambda"], "lam", kind)
        axes.plot(x, means, label=label("reg_x_lambda"), zorder=4, **STYLES["reg_x_lambda"])
    if "reg_cls" in arms:
        for marker, (classes, part) in zip(itertools.cycle(MARKERS), arms["reg_cls"].groupby("classes")):
            x, means, halves = over(part, "lam", kind)
            axes.fill_between(x, np.maximum(means - halves, 0.0), means + halves, color=colors[classes], alpha=0.08)
            style: dict[str, Any] = {"color": colors[classes], "marker": marker, "markersize": 4, "linewidth": 1.5}
            axes.plot(x, means, label=_name(classes), zorder=3, **style)


def fig4_figure(rows: pd.DataFrame, kind: str = "std") -> Figure:
    """Validation MSE against lambda: a row of panels per validation set and scenario, samplings in columns.

    One line per class count of reg+cls; reg has one lambda (1) and so is a level, with a band. Every panel has an axis
    of its own, because the MSE on the training's own sampling depends on how narrow that is.

    Args:
      rows: the study's rows of the splits val and val_balanced (others are ignored).
      kind: the shading, see `statistics.shading`.

    Raises:
      ValueError: a scenario or sampling that the paper does not have, or an unknown shading.
    """
    cells = sort_cells(rows[CELL].drop_duplicates())
    across = [name for name in SAMPLINGS if name in set(cells["sampling"])]
    down = list(itertools.product(PANEL_NAMES, cells["scenario"].unique()))
    counts = sorted(rows.loc[rows["arm"] == "reg_cls", "classes"].unique())
    with matplotlib.rc_context(FONTS):
        figure = Figure(figsize=(3.1 * len(across) + 0.8, 2.5 * len(down) + 1.2), layout="constrained")
        grid = figure.subplots(len(down), len(across), sharex=True, squeeze=False)
        for (split, scenario), row in zip(down, grid, strict=True):
            for sampling, axes in zip(across, row, strict=True):
                cell = rows[(rows[["split", *CELL]] == [split, scenario, sampling]).all(axis=1)]
                _panel(axes, cell, _colors(counts), kind)
                axes.set_ylim(0.0, 1.15 * axes.get_ylim()[1])
                axes.set_xscale("log")
                title = f"{scenario} · {sampling} · {PANEL_NAMES[split]}"
                finish_panel(axes, cell, title, lost_runs(cell))
        order = [label("reg"), *map(_name, counts), *map(label, STYLES)]
        finish_figure(figure, grid.flat, dict.fromkeys(order), "λ", "validation MSE", bands=BANDS[kind])
    return figure
