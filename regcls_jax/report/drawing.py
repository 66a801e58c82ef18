"""Figures: deterministic, in colours that survive colour blindness and grey print; test MSE over class counts."""

import functools
import io
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from regcls_jax.report.palette import STYLES
from regcls_jax.report.paper.published import CELL, SAMPLINGS, sort_cells
from regcls_jax.report.statistics import Interval, finite_mean, gap, shading
from regcls_jax.report.tables import label

TICKS = (4, 16, 64, 256, 1024)
PAPER = {"facecolor": "white", "alpha": 0.8, "edgecolor": "none", "pad": 1.5}
FONTS: dict[Any, Any] = {"font.size": 11, "axes.titlesize": 12, "axes.labelsize": 11, "svg.fonttype": "none"}
# A change by more than this (per cent) would hide all others.
WIDEST = 60.0
# What a legend says of the bands, by shading (`statistics.shading`).
BANDS = {
    "std": "band: ± 1 standard deviation over functions × repetitions",
    "paper": "band: ± standard deviation over functions of that over repetitions",
}
# Inches of a letter, and of what stands beside a name in a legend.
LETTER, HANDLE = 0.085, 0.65
# Pixels of a PNG: as many as a page shows.
WIDTH = 1300
METADATA = {"png": {"Software": None}, "svg": {"Date": None, "Creator": None}}


def render(figure: Figure, kinds: Sequence[str] = ("png", "svg")) -> dict[str, bytes]:
    """The figure as {"png": …, "svg": …}; equal figures give equal bytes (no date, no ids).

    A PNG has 150 dpi, or as many as make it WIDTH pixels wide.
    Render a figure once: its layout is solved anew by every drawing and may move by a fraction of a pixel.
    """
    files = {}
    with matplotlib.rc_context(FONTS | {"svg.hashsalt": "regcls_jax"}):
        for kind in kinds:
            buffer = io.BytesIO()
            figure.savefig(buffer, format=kind, dpi=min(150, WIDTH / figure.get_figwidth()), metadata=METADATA[kind])
            files[kind] = buffer.getvalue()
    return files


def band(axes: Axes, x: Sequence[float], means: np.ndarray, halves: np.ndarray, arm: str) -> None:
    """Draws an arm over x [n]: means [n] with a band of half-widths halves [n], cut off at 0."""
    low, high = np.maximum(means - halves, 0.0), means + halves  # an MSE below zero means nothing
    if len(x) == 1:
        axes.vlines(x, low, high, color=STYLES[arm]["color"], linewidth=0.8)  # a band of no width
    axes.fill_between(x, low, high, color=STYLES[arm]["color"], alpha=0.06, linewidth=0)
    # Where two bands overlap the fills mix to one grey; their edges keep them apart.
    for edge in (low, high):
        axes.plot(x, edge, color=STYLES[arm]["color"], linewidth=0.8, alpha=0.7)
    axes.plot(x, means, label=label(arm), zorder=3, **STYLES[arm])


def levels(axes: Axes, ends: Sequence[float], arms: Mapping[str, pd.DataFrame], kind: str) -> None:
    """Draws what does not change along the axis, from ends[0] to ends[1]: the controls as lines, reg with its band."""
    for arm in ("reg_x_lambda", "reg_no_decay"):
        if arm in arms:
            axes.plot(ends, [finite_mean(arms[arm]["mse"])] * 2, label=label(arm), **STYLES[arm])
    if "reg" in arms:
        half = shading(arms["reg"]["mse"], arms["reg"]["function"], kind)
        band(axes, ends, np.full(2, finite_mean(arms["reg"]["mse"])), np.full(2, half), "reg")


def over(part: pd.DataFrame, column: str, kind: str) -> tuple[list[float], np.ndarray, np.ndarray]:
    """The values of a column in order, with the mean MSE and the half-width of its band at each."""
    pieces = dict(list(part.groupby(column)))
    means = np.array([finite_mean(piece["mse"]) for piece in pieces.values()])
    halves = np.array([shading(piece["mse"], piece["function"], kind) for piece in pieces.values()])
    return list(pieces), means, halves


def effect_rows(
    axes: Axes, found: Mapping[str, tuple[float, Interval]], colors: Sequence[str], *, widest: float = np.inf
) -> None:
    """A row per arm, from top to bottom: its mean effect and interval, beside the line of no effect; none where NaN.

    Where an effect is larger than `widest` it would hide all others: it is drawn there, with its number.
    """
    axes.axvline(0, color="0.6", linewidth=1)
    for place, ((mean, ends), color) in enumerate(zip(found.values(), colors, strict=True)):
        if not np.isfinite(mean):
            continue
        if np.isfinite(ends.low):
            axes.plot(np.clip(ends, -widest, widest), [place, place], color=color, linewidth=1.6)
        if abs(mean) > widest:
            side = "right" if mean > 0 else "left"
            axes.annotate(f"{mean:+.0f} %", (np.copysign(widest, mean), place), ha=side, va="bottom", fontsize=8)
        axes.plot(np.clip(mean, -widest, widest), place, "o", color=color, markersize=5)
    axes.set_yticks(range(len(found)), [label(arm) for arm in found])
    axes.set_ylim(len(found) - 0.5, -0.5)
    axes.spines[["top", "right"]].set_visible(False)


def lost_runs(cell: pd.DataFrame) -> list[str]:
    """What to print in a panel about diverged runs: nothing where there is none."""
    lost = int((~np.isfinite(cell["mse"])).sum())
    return [f"{lost} diverged"] if lost else []


def finish_panel(axes: Axes, cell: pd.DataFrame, title: str, notes: list[str]) -> None:
    """Adds the constant predictor of a cell (a note where the axis does not reach it), notes and title."""
    value = finite_mean(cell.loc[cell["arm"] == "constant", "mse"])
    if value > axes.get_ylim()[1]:
        notes = [*notes, f"constant {value:.2f} ↑"]
    elif np.isfinite(value):
        axes.axhline(value, label=label("constant"), **STYLES["constant"])
    notes = notes if len(cell) else ["not run"]
    axes.text(0.97, 0.96, "\n".join(notes), transform=axes.transAxes, ha="right", va="top", bbox=PAPER)
    axes.set_title(title)
    axes.tick_params(which="minor", length=0)
    axes.grid(axis="y", alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)


def _columns(names: Sequence[str], width: float, most: int) -> int:
    """The columns of a legend that fits a figure `width` inches wide: what is wider would be cut off at both sides."""
    rows = -(-len(names) // most)
    while rows < len(names):
        widest = [max(map(len, names[start : start + rows])) for start in range(0, len(names), rows)]
        if sum(HANDLE + LETTER * letters for letters in widest) <= width:
            break
        rows += 1
    return max(1, -(-len(names) // max(rows, 1)))


def finish_figure(
    figure: Figure, grid: Iterable[Axes], order: Iterable[str], x: str, y: str, *, bands: str = ""
) -> None:
    """Adds one legend for all panels, its entries in order and last what `bands` are, and the names of the axes."""
    entries = {name: line for axes in grid for line, name in zip(*axes.get_legend_handles_labels(), strict=True)}
    shown = [name for name in order if name in entries]
    lines = [entries[name] for name in shown]
    if bands:
        lines.append(Patch(color="0.5", alpha=0.3, linewidth=0))
        shown.append(bands)
    columns = _columns(shown, figure.get_figwidth(), 4 if bands else 8)
    figure.legend(lines, shown, loc="outside upper center", ncols=columns, frameon=False)
    figure.supxlabel(_fitted(x, figure.get_figwidth()))
    figure.supylabel(_fitted(y, figure.get_figheight()))


def _fitted(name: str, inches: float) -> str:
    """The name of an axis in lines as long as it: longer ones would be cut off."""
    letters = int(inches / (1.25 * LETTER))
    return "\n".join(textwrap.fill(line, letters) for line in name.split("\n"))


def class_axis(axes: Axes, rows: pd.DataFrame) -> None:
    """An axis of the class counts that the rows have."""
    counts = sorted(rows.loc[rows["arm"].isin(("reg_cls", "reg_cls_bal")), "classes"].unique()) or TICKS
    axes.set_xscale("log", base=2)
    axes.set_xticks(counts, [str(count) for count in counts])


class Panel(NamedTuple):
    """One cell of a study with its axes; `value` is that of its row of panels."""

    axes: Axes
    value: Any
    sampling: str
    cell: pd.DataFrame


def cell_panels(rows: pd.DataFrame, down: str, tall: float) -> tuple[Figure, list[list[Panel]]]:
    """A figure with a panel per value of the column `down` (rows, `tall` inches each) and sampling (columns).

    Raises ValueError for a scenario or sampling that the paper does not have.
    """
    cells = sort_cells(rows[[*CELL, "noise"]].drop_duplicates())
    across = [name for name in SAMPLINGS if name in set(cells["sampling"])]
    values = list(cells[down].unique())
    size = (3.1 * len(across) + 0.8, tall * len(values) + 1.2)
    figure = Figure(figsize=size, layout="constrained")
    grid = figure.subplots(len(values), len(across), sharex=True, sharey="row", squeeze=False)
    panels = [
        [
            Panel(axes, value, sampling, rows[(rows[[down, "sampling"]] == [value, sampling]).all(axis=1)])
            for sampling, axes in zip(across, line, strict=True)
        ]
        for value, line in zip(values, grid, strict=True)
    ]
    return figure, panels


CLASSES = "number of classes\ngap: mean |reg − reg+cls| over class counts (in brackets the mean of reg+cls − reg)"


def _class_panel(axes: Axes, cell: pd.DataFrame, kind: str) -> list[str]:
    """Draws one cell over its class counts and returns what to print in its corner."""
    notes = []
    arms = dict(list(cell.groupby("arm")))
    classes = cell.loc[cell["arm"].isin(["reg_cls", "reg_cls_bal"]), "classes"]
    # One class count has no width for the level of reg.
    levels(axes, [classes.min(), classes.max()] if classes.nunique() > 1 else [TICKS[0], TICKS[-1]], arms, kind)
    for arm, name in (("reg_cls", "gap"), ("reg_cls_bal", "bal. gap")):
        if arm in arms:
            counts, means, halves = over(arms[arm], "classes", kind)
            band(axes, counts, means, halves, arm)
            if "reg" in arms:
                reg = finite_mean(arms["reg"]["mse"])
                notes.append(f"{name} {gap(np.full(len(means), reg), means):.3f} ({np.mean(means) - reg:+.3f})")
    return notes + lost_runs(cell)


def class_count_figure(rows: pd.DataFrame, kind: str = "std", *, down: str, title: str) -> Figure:
    """Test MSE against the number of classes, one panel per value of `down` (rows) and sampling (columns).

    The gap is printed as in the paper (mean absolute difference over class counts); the signed difference,
    reg+cls − reg, follows in brackets. Cells, class counts and arms that the rows do not hold are left out.

    Args:
      rows: test rows of the study.
      kind: the shading, see `statistics.shading`.
      down: the column that the rows of panels stand for.
      title: its value in the titles, a format.

    Raises:
      ValueError: a scenario or sampling that the paper does not have, or an unknown shading.
    """
    with matplotlib.rc_context(FONTS):
        figure, panels = cell_panels(rows, down, tall=2.5)
        for line in panels:
            notes = [_class_panel(panel.axes, panel.cell, kind) for panel in line]
            line[0].axes.set_ylim(0.0, 1.3 * line[0].axes.get_ylim()[1])  # the print stands above the bands
            for panel, text in zip(line, notes, strict=True):
                class_axis(panel.axes, rows)
                finish_panel(panel.axes, panel.cell, f"{title.format(panel.value)} · {panel.sampling}", text)
        finish_figure(figure, figure.axes, map(label, STYLES), CLASSES, "test MSE", bands=BANDS[kind])
    return figure


# The paper's Fig. 3, scenarios in rows, and Fig. 5, noise levels in rows.
fig3_figure = functools.partial(class_count_figure, down="scenario", title="{}")
fig5_figure = functools.partial(class_count_figure, down="noise", title="σ = {:g}")
