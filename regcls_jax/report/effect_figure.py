"""The plot of effects: differences with their intervals, line by line."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from regcls_jax.report.drawing import FONTS
from regcls_jax.report.effects import Effect
from regcls_jax.report.palette import STYLES
from regcls_jax.report.tables import label

BETWEEN = 0.18  # lines of one place


def _style(effect: Effect) -> dict[str, Any]:
    return {"color": STYLES.get(effect.arm, STYLES["reg"])["color"], "marker": "o"}


def effect_figure(
    panels: Mapping[str, Sequence[Effect]],
    x: str,
    *,
    across: int = 2,
    line: Callable[[Effect], str] = lambda effect: label(effect.arm),
    series: Callable[[Effect], str] = lambda effect: "",
    style: Callable[[Effect], dict[str, Any]] = _style,
) -> Figure:
    """Mean differences with 95 % intervals, a panel per entry and a line per name, from top to bottom.

    Args:
      panels: by title.
      x: the name of what differs, with its unit.
      across: panels side by side; those of a row share their axis.
      line: the name of a line, at the axis.
      series: what tells the effects on one line apart, for the legend.
      style: color and marker of an effect.
    """
    every = [effect for found in panels.values() for effect in found]
    names = list(dict.fromkeys(map(series, every)))
    across = min(across, len(panels))
    down = -(-len(panels) // across)
    most = max(len(set(map(line, found))) for found in panels.values())
    with matplotlib.rc_context(FONTS):
        tall = (0.16 + 0.1 * len(names)) * most + 0.8
        figure = Figure(figsize=(4.6 * across + 0.8, tall * down + 0.7), layout="constrained")
        grid = figure.subplots(down, across, sharex="row", squeeze=False)
        for unused in grid.flat[len(panels) :]:
            unused.set_axis_off()
        drawn = zip(np.ndindex(grid.shape), grid.flat, panels.items(), strict=False)
        for (row, column), axes, (title, found) in drawn:
            places = {name: place for place, name in enumerate(dict.fromkeys(map(line, found)))}
            axes.axvline(0.0, color=STYLES["constant"]["color"], linewidth=1.0)
            for effect in found:
                at = places[line(effect)] + BETWEEN * (names.index(series(effect)) - (len(names) - 1) / 2)
                (mean, ends), looks = effect.difference, {"markersize": 5, **style(effect)}
                axes.plot(ends, [at] * 2, color=looks["color"], linewidth=1.6)
                axes.plot(mean, at, linestyle="none", label=series(effect), **looks)
            same = list(places) == [text.get_text() for text in grid[row, 0].get_yticklabels()]
            axes.set_yticks(range(len(places)), list(places))
            axes.tick_params(labelleft=column == 0 or not same)
            axes.xaxis.set_major_locator(MaxNLocator(6))
            axes.set_ylim(len(places) - 0.5, -0.5)
            axes.set_title(title)
            axes.grid(axis="x", alpha=0.25)
            axes.spines[["top", "right"]].set_visible(False)
        if len(names) > 1:
            dots = {
                text: dot for axes in grid.flat for dot, text in zip(*axes.get_legend_handles_labels(), strict=True)
            }
            shown = [name for name in names if name in dots]
            columns = min(4, len(shown))
            figure.legend(
                [dots[name] for name in shown], shown, loc="outside upper center", ncols=columns, frameon=False
            )
        figure.supxlabel(f"difference in {x} (95 % interval), negative is better")
    return figure
