"""Figures 1 and 2 of the paper: the scenarios and the samplings, from the data sets that the studies train on."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, LogNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from regcls_jax.binning import assign, uniform_edges
from regcls_jax.data.synthetic import cache
from regcls_jax.data.synthetic.generator import Dataset, Function, functions
from regcls_jax.data.synthetic.spec import SAMPLINGS, SCENARIOS, DataSpec
from regcls_jax.report.drawing import FONTS, render
from regcls_jax.report.palette import BLUE, VERMILION
from regcls_jax.store.files import write_atomic

BANDS = 4  # classes, as in the paper's figures
DENSITY_BINS = 100
TITLES = {"clean": "clean data", "noisy": "noisy data", "ood": "out of distribution"}
# Size tells them apart in grey print.
COLORS = {"training": BLUE, "test": VERMILION}
SIZES = {"training": 20, "test": 5}
NOISY_SIZE = 1.0  # a cloud, not a line
CURVE: dict[str, Any] = {"color": "black", "linewidth": 0.9, "label": "f(x)"}


def densities(targets: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """How many of the targets [n] share each target's bin, edges [B + 1] -> counts [n].

    Raises:
      ValueError: a target lies outside the edges.
    """
    if targets.min() < edges[0] or targets.max() > edges[-1]:
        raise ValueError(f"targets in [{targets.min()}, {targets.max()}] leave the edges [{edges[0]}, {edges[-1]}]")
    labels = assign(targets, edges)
    return np.bincount(labels, minlength=len(edges) - 1)[labels]


def _bands(axes: Axes, targets: np.ndarray) -> None:
    """The classes over the range of the training targets, as bands of two greys in turn."""
    edges = uniform_edges(targets.min(), targets.max(), BANDS)
    for place, (low, high) in enumerate(zip(edges[:-1], edges[1:], strict=True)):
        axes.axhspan(low, high, color="0.84" if place % 2 else "0.93", linewidth=0, zorder=0)
        where: dict[str, Any] = {"xycoords": ("axes fraction", "data"), "ha": "left", "va": "center"}
        axes.annotate(f"class {place + 1}", (1.01, (low + high) / 2), fontsize=8, color="0.3", **where)


def _finish(axes: Axes, title: str) -> None:
    axes.set_title(title)
    axes.spines[["top", "right"]].set_visible(False)


def fig1_figure(sets: Mapping[str, Dataset], function: Function) -> Figure:
    """Fig. 1: one function, a panel per scenario, over four classes in grey.

    Out of distribution the test points are shown as well, because they lie in other intervals of x; the class bands are
    those of the training targets.

    Args:
      sets: data sets by scenario.
      function: the function they are samples of.
    """
    with matplotlib.rc_context(FONTS):
        figure = Figure(figsize=(4.1 * len(sets), 3.8), layout="constrained")
        grid = figure.subplots(1, len(sets), sharex=True, sharey=True, squeeze=False)[0]
        for axes, (scenario, dataset) in zip(grid, sets.items(), strict=True):
            _bands(axes, dataset.train.y)
            shown = {"training": dataset.train} | ({"test": dataset.test} if scenario == "ood" else {})
            for name, (x, y) in shown.items():
                size = NOISY_SIZE if scenario == "noisy" else SIZES[name]
                axes.scatter(x[:, 0], y, s=size, color=COLORS[name], linewidths=0, rasterized=True, zorder=2)
            curve_x = np.linspace(-1, 1, 1001)
            # Out of distribution the curve shows the gaps, elsewhere what the points are samples of.
            axes.plot(curve_x, function(curve_x), zorder=1 if scenario == "ood" else 3, **CURVE)
            _finish(axes, TITLES[scenario])
            axes.set_xlabel("x")
        dots = [
            Line2D([], [], color=color, marker="o", linestyle="", markersize=SIZES[name] ** 0.5, label=name)
            for name, color in COLORS.items()
        ]
        figure.legend(handles=[*dots, Line2D([], [], **CURVE)], loc="outside upper center", ncols=3, frameon=False)
        grid[0].set_ylabel("target y")
    return figure


def fig2_figure(sets: Mapping[str, Dataset]) -> Figure:
    """Fig. 2: a column per sampling; above the training samples, darker where denser; below the counts per target.

    Args:
      sets: data sets by sampling, of one function.
    """
    targets = np.concatenate([dataset.train.y for dataset in sets.values()])
    edges = uniform_edges(targets.min(), targets.max(), DENSITY_BINS)
    dense = {sampling: densities(dataset.train.y, edges) for sampling, dataset in sets.items()}
    # The palest blues would vanish on the bands.
    blues = LinearSegmentedColormap.from_list("dark_blues", matplotlib.colormaps["Blues"](np.linspace(0.35, 1.0, 256)))
    norm = LogNorm(min(map(np.min, dense.values())), max(map(np.max, dense.values())))
    with matplotlib.rc_context(FONTS):
        figure = Figure(figsize=(3.4 * len(sets) + 0.8, 5.6), layout="constrained")
        grid = figure.subplots(2, len(sets), sharey="row", squeeze=False, height_ratios=(3, 2))
        for (top, bottom), (sampling, dataset) in zip(grid.T, sets.items(), strict=True):
            x, y = dataset.train
            _bands(top, y)
            order = np.argsort(dense[sampling], kind="stable")  # the densest on top
            color: dict[str, Any] = {"c": dense[sampling][order], "cmap": blues, "norm": norm}
            top.scatter(x[order, 0], y[order], s=6, linewidths=0, rasterized=True, zorder=2, **color)
            _finish(top, sampling)
            top.set_xlabel("x")
            bottom.stairs(np.histogram(y, edges)[0], edges, fill=True, color=blues(0.7))
            bottom.set_yscale("log")
            bottom.set_xlabel("function value f(x)")
            bottom.spines[["top", "right"]].set_visible(False)
        grid[1, 0].set_ylim(bottom=1)  # of all columns, when all are drawn
        grid[0, 0].set_ylabel("f(x)")
        grid[1, 0].set_ylabel(f"training samples\nper 1/{DENSITY_BINS} of the range")
        bar = figure.colorbar(ScalarMappable(norm, blues), ax=grid[0], aspect=15, pad=0.04)
        bar.set_label("training samples\nof like f(x)")
    return figure


def write_figures(
    folder: str | os.PathLike, cache_dir: str | os.PathLike, *, function: int = 0, repetition: int = 0
) -> list[Path]:
    """Writes figure1 and figure2 as PNG and SVG and returns the files; equal arguments give equal bytes.

    Args:
      folder: where they go; made if missing.
      cache_dir: folder of the data sets, which are made where they are missing.
      function: index of the function shown.
      repetition: which of its data sets.

    Raises:
      ValueError: a negative index.
      OSError: something cannot be read or written (the message names it).
    """
    scenarios = {name: DataSpec(name, "uniform", function, repetition) for name in SCENARIOS}
    samplings = {name: DataSpec("clean", name, function, repetition) for name in SAMPLINGS}
    found = cache.load([*scenarios.values(), *samplings.values()], cache_dir)
    made = {
        "figure1": fig1_figure({name: found[spec] for name, spec in scenarios.items()}, functions(function + 1)[-1]),
        "figure2": fig2_figure({name: found[spec] for name, spec in samplings.items()}),
    }
    Path(folder).mkdir(parents=True, exist_ok=True)
    written = []
    for name, figure in made.items():
        for kind, data in render(figure).items():
            written.append(Path(folder) / f"{name}.{kind}")
            write_atomic(written[-1], data)
    return written
