"""Figures: deterministic, in colours that survive colour blindness and grey print; the paper's Fig. 3."""

import io
from collections.abc import Mapping
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from regcls_jax.report.published import CELL, SAMPLINGS, sort_cells
from regcls_jax.report.statistics import finite_mean, gap, shading
from regcls_jax.report.tables import label

# Red and green as in the paper, but a dark red against a light bluish green: they differ in lightness, for
# grey print and red-green blindness, and reg+cls has markers.
STYLES: Mapping[str, dict[str, Any]] = {
    "reg": {"color": "#a50f15", "linewidth": 2.0},
    "reg_cls": {"color": "#2ca07a", "linewidth": 2.0, "marker": "o", "markersize": 5},
    "reg_x_lambda": {"color": "#08519c", "linewidth": 1.2, "linestyle": (0, (5, 2))},
    "reg_no_decay": {"color": "#6a3d9a", "linewidth": 1.2, "linestyle": (0, (5, 2, 1, 2))},
    "constant": {"color": "#737373", "linewidth": 1.2, "linestyle": ":"},
}
TICKS = (4, 16, 64, 256, 1024)
PAPER = {"facecolor": "white", "alpha": 0.8, "edgecolor": "none", "pad": 1.5}
FONTS: dict[Any, Any] = {"font.size": 11, "axes.titlesize": 12, "axes.labelsize": 11, "svg.fonttype": "none"}


def render(figure: Figure) -> dict[str, bytes]:
    """The figure as {"png": …, "svg": …} (150 dpi); equal figures give equal bytes (no date, no ids).

    Render a figure once: its layout is solved anew by every drawing and may move by a fraction of a pixel.
    """
    files = {}
    with matplotlib.rc_context(FONTS | {"svg.hashsalt": "regcls_jax"}):
        for kind, metadata in (("png", {"Software": None}), ("svg", {"Date": None, "Creator": None})):
            buffer = io.BytesIO()
            figure.savefig(buffer, format=kind, dpi=150, metadata=metadata)
            files[kind] = buffer.getvalue()
    return files


def _band(axes: Axes, x: list[int], mean: np.ndarray, half: np.ndarray, arm: str) -> None:
    low, high = np.maximum(mean - half, 0.0), mean + half  # an MSE below zero means nothing
    if len(x) == 1:
        axes.vlines(x, low, high, color=STYLES[arm]["color"], linewidth=0.8)  # a band of no width
    axes.fill_between(x, low, high, color=STYLES[arm]["color"], alpha=0.12, linewidth=0)
    # Where two bands overlap the fills mix to one grey; their edges keep them apart.
    for edge in (low, high):
        axes.plot(x, edge, color=STYLES[arm]["color"], linewidth=0.8, alpha=0.7)
    axes.plot(x, mean, label=label(arm), zorder=3, **STYLES[arm])


def _panel(axes: Axes, cell: pd.DataFrame, kind: str) -> list[str]:
    """Draws one cell but for its constant predictor, and returns what to print in its corner."""
    notes = []
    arms = dict(list(cell.groupby("arm")))
    by_class = dict(list(arms["reg_cls"].groupby("classes"))) if "reg_cls" in arms else {}
    # One class count has no width for the level of reg.
    level = [min(by_class), max(by_class)] if len(by_class) > 1 else [TICKS[0], TICKS[-1]]
    for arm in ("reg_x_lambda", "reg_no_decay"):
        if arm in arms:
            axes.plot(level, [finite_mean(arms[arm]["mse"])] * 2, label=label(arm), **STYLES[arm])
    if "reg" in arms:
        reg = finite_mean(arms["reg"]["mse"])
        half = shading(arms["reg"]["mse"], arms["reg"]["function"], kind)
        _band(axes, level, np.full(2, reg), np.full(2, half), "reg")
    if by_class:
        means = np.array([finite_mean(part["mse"]) for part in by_class.values()])
        halves = np.array([shading(part["mse"], part["function"], kind) for part in by_class.values()])
        _band(axes, list(by_class), means, halves, "reg_cls")
        if "reg" in arms:
            notes.append(f"gap {gap(np.full(len(means), reg), means):.3f} ({np.mean(means) - reg:+.3f})")
    if lost := int((~np.isfinite(cell["mse"])).sum()):
        notes.append(f"{lost} diverged")
    return notes


def _constant(axes: Axes, cell: pd.DataFrame) -> list[str]:
    """Draws the constant predictor where the axis reaches it, else returns a note of where it is."""
    value = finite_mean(cell.loc[cell["arm"] == "constant", "mse"])
    if value > axes.get_ylim()[1]:
        return [f"constant {value:.2f} ↑"]
    if np.isfinite(value):
        axes.axhline(value, label=label("constant"), **STYLES["constant"])
    return []


def fig3_figure(rows: pd.DataFrame, kind: str = "std") -> Figure:
    """The paper's Fig. 3: test MSE against the number of classes, scenarios in rows and samplings in columns.

    The gap is printed as in the paper (mean absolute difference over class counts); the signed difference,
    reg+cls − reg, follows in brackets. Cells, class counts and arms that the rows do not hold are left out.

    Args:
      rows: test rows of the study.
      kind: the shading, see `statistics.shading`.

    Raises:
      ValueError: a scenario or sampling that Fig. 3 does not have, or an unknown shading.
    """
    cells = sort_cells(rows[CELL].drop_duplicates())
    across = [name for name in SAMPLINGS if name in set(cells["sampling"])]
    down = list(cells["scenario"].unique())
    with matplotlib.rc_context(FONTS):
        size = (3.1 * len(across) + 0.8, 2.5 * len(down) + 1.2)
        figure = Figure(figsize=size, layout="constrained")
        grid = figure.subplots(len(down), len(across), sharex=True, sharey="row", squeeze=False)
        for scenario, row in zip(down, grid, strict=True):
            parts = [rows[(rows[CELL] == [scenario, sampling]).all(axis=1)] for sampling in across]
            notes = [_panel(axes, part, kind) for axes, part in zip(row, parts, strict=True)]
            row[0].set_ylim(0.0, 1.3 * row[0].get_ylim()[1])  # the print stands above the bands
            for sampling, axes, part, lines in zip(across, row, parts, notes, strict=True):
                lines += _constant(axes, part) if len(part) else ["not run"]
                axes.text(0.97, 0.96, "\n".join(lines), transform=axes.transAxes, ha="right", va="top", bbox=PAPER)
                axes.set_title(f"{scenario} · {sampling}")
                axes.set_xscale("log", base=2)
                axes.set_xticks(TICKS, [str(tick) for tick in TICKS])
                axes.tick_params(which="minor", length=0)
                axes.grid(axis="y", alpha=0.25)
                axes.spines[["top", "right"]].set_visible(False)
        entries = {
            name: line for axes in grid.flat for line, name in zip(*axes.get_legend_handles_labels(), strict=True)
        }
        order = [label(arm) for arm in STYLES if label(arm) in entries]
        figure.legend(
            [entries[name] for name in order],
            order,
            loc="outside upper center",
            ncols=len(order),
            frameon=False,
        )
        figure.supxlabel("number of classes")
        figure.supylabel("test MSE")
    return figure
