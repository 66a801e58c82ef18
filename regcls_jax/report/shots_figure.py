"""One figure: what every arm changes against plain regression, by how many training rows there are of a target."""

from collections.abc import Mapping

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from regcls_jax.report.drawing import FONTS, WIDEST, effect_rows
from regcls_jax.report.own.figure import COLORS, kinds_legend
from regcls_jax.report.statistics import Interval

Effects = Mapping[str, tuple[float, Interval]]  # of arms


def shots_figure(panels: Mapping[str, Effects], families: Mapping[str, str], what: str) -> Figure:
    """A panel of changes in per cent with intervals per title; arms from the best to the worst of the first panel.

    Args:
      panels: by title, all of the same arms.
      families: arm -> its kind, a key of `own.figure.COLORS`.
      what: of which error, for the axis.
    """
    first = next(iter(panels.values()))
    arms = sorted(first, key=lambda arm: np.nan_to_num(first[arm][0], nan=np.inf))
    colors = [COLORS[families[arm]] for arm in arms]
    with matplotlib.rc_context(FONTS):
        figure = Figure(figsize=(2.9 * len(panels) + 2.4, 0.27 * len(arms) + 1.9), layout="constrained")
        grid = figure.subplots(1, len(panels), sharey=True, sharex=True, squeeze=False)[0]
        for axes, (title, effects) in zip(grid, panels.items(), strict=True):
            effect_rows(axes, {arm: effects[arm] for arm in arms}, colors, widest=WIDEST)
            axes.set_title(title, fontsize=11)
        kinds_legend(figure, grid[0], {families[arm] for arm in arms}, columns=4)
        figure.supxlabel(f"change of the {what} (%), 95 % interval; left of the line is better", fontsize=11)
    return figure
