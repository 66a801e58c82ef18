"""Figures of depth: maps beside the truth on one scale, error by depth over the training histogram."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from regcls_jax.report.depth.study import Depths
from regcls_jax.report.drawing import FONTS
from regcls_jax.report.palette import SERIES, STYLES
from regcls_jax.report.tables import label

# Near is bright; grey is what was not measured.
MAP = "viridis_r"
UNMEASURED = "0.75"
WIDE = 2.1  # inches per map
PIXEL_MEAN: dict[str, Any] = {**STYLES["constant"], "linewidth": 1.6}


def map_figure(columns: Mapping[str, np.ndarray], pictures: np.ndarray | None = None) -> Figure:
    """Depth maps side by side, a row per image, all on one scale with a colour bar in m.

    Args:
      columns: by title, maps [m, h, w] in m; NaN where there is no depth.
      pictures: uint8 [m, H, W, 3], which go before the maps.
    """
    found = np.concatenate([maps[np.isfinite(maps)] for maps in columns.values()])
    low, high = (float(value) for value in (found.min(), found.max())) if len(found) else (0.0, 1.0)
    colours = matplotlib.colormaps[MAP].with_extremes(bad=UNMEASURED)
    down, height, width = next(iter(columns.values())).shape
    before = 0 if pictures is None else 1
    across, tall = before + len(columns), WIDE * height / width
    with matplotlib.rc_context(FONTS):
        figure = Figure(figsize=(WIDE * across + 1.0, (tall + 0.1) * down + 0.5), layout="constrained")
        grid = figure.subplots(down, across, squeeze=False)
        for axes in grid.flat:
            axes.axis("off")
        if pictures is not None:
            grid[0, 0].set_title("picture", fontsize=11)
            for row, picture in zip(grid, pictures, strict=True):
                row[0].imshow(picture)
        image = None
        for place, (title, maps) in enumerate(columns.items(), before):
            grid[0, place].set_title(label(title), fontsize=11)
            for row, depths in zip(grid, maps, strict=True):
                image = row[place].imshow(depths, cmap=colours, vmin=low, vmax=high)
        if image is not None:
            figure.colorbar(image, ax=grid, label="depth (m)", shrink=0.9, pad=0.01)
    return figure


def picture_of(picture: np.ndarray, depths: np.ndarray) -> Figure:
    """One picture uint8 [H, W, 3] beside its predicted depth [h, w] in m."""
    return map_figure({"predicted depth": depths[None]}, picture[None])


def error_figure(errors: Mapping[str, np.ndarray], trivial: np.ndarray | None, depths: Depths) -> Figure:
    """RMSE by true depth on the test set, above the training histogram.

    Args:
      errors: by arm, sums over seeds of squared error, absolute error and pixels, [K, 3] by bucket.
      trivial: likewise, of the mean of every pixel; None leaves it out.
      depths: the training histogram.
    """
    arms = list(errors)
    panels = [arms[start : start + len(SERIES)] for start in range(0, len(arms), len(SERIES))]
    centres = (depths.edges[:-1] + depths.edges[1:]) / 2

    def rmse(sums: np.ndarray) -> np.ndarray:
        return np.sqrt(np.divide(sums[:, 0], sums[:, 2], out=np.full(len(sums), np.nan), where=sums[:, 2] > 0))

    with matplotlib.rc_context(FONTS):
        figure = Figure(figsize=(9.0, 3.4 * len(panels) + 2.4), layout="constrained")
        ratios = [3] * len(panels) + [1.4]
        grid = figure.subplots(len(panels) + 1, 1, sharex=True, height_ratios=ratios, squeeze=False)[:, 0]
        for axes, shown in zip(grid, panels, strict=False):
            for color, arm in zip(SERIES, shown, strict=False):
                axes.plot(centres, rmse(errors[arm]), color=color, linewidth=1.6, label=label(arm))
            if trivial is not None:
                axes.plot(centres, rmse(trivial), label="mean of every pixel", **PIXEL_MEAN)
            axes.set_ylabel("test RMSE (m)")
            axes.set_ylim(bottom=0)
            axes.grid(axis="y", alpha=0.25)
            columns = math.ceil((len(shown) + 1) / 2)
            axes.legend(loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=columns, frameon=False, fontsize=10)
        present = depths.counts > 0
        widths = np.diff(depths.edges)
        grid[-1].bar(centres[present], depths.counts[present], widths[present], color="0.35", linewidth=0)
        grid[-1].set_yscale("log")
        grid[-1].set_ylabel("training pixels")
        grid[-1].set_xlabel("true depth (m)")
        for axes in grid:
            axes.spines[["top", "right"]].set_visible(False)
    return figure


def sum_of(parts: Sequence[np.ndarray]) -> np.ndarray:
    """Several arrays of sums added up in float64."""
    return np.asarray(np.sum(np.stack(parts), axis=0, dtype=np.float64))
