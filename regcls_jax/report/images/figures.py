"""Figures of an image study: predictions and errors over the target, validation curves; the worst errors of a run."""

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from regcls_jax.metrics.shots import SHOTS, shot_groups
from regcls_jax.report.drawing import FONTS, PAPER, render
from regcls_jax.report.images.study import Target
from regcls_jax.report.palette import SERIES, STYLES
from regcls_jax.report.tables import label
from regcls_jax.store.files import write_atomic

HALF_WINDOW = 2  # buckets (years of age) to each side: the test sets hold few images of one age
TOGETHER = len(SERIES) - 1  # arms beside the first that one panel shows
SHADES = {"many": "white", "medium": "0.93", "few": "0.84"}
MEDIAN: dict[str, Any] = {**STYLES["constant"], "linewidth": 1.6}


def over_buckets(buckets: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of values [S, n] per bucket of the target, over `HALF_WINDOW` buckets to each side.

    Args:
      buckets: of each sample [n], such as whole years of age.
      values: of each seed and sample.

    Returns:
      Two arrays [last bucket + 1]; NaN for a bucket of which there is no sample itself.
    """
    window = np.ones(2 * HALF_WINDOW + 1)

    def windowed(weights: np.ndarray | None) -> np.ndarray:
        # "same" has the length of the longer one: a set of infants is shorter than the window.
        return np.convolve(np.bincount(buckets, weights), window)[HALF_WINDOW : HALF_WINDOW + buckets.max() + 1]

    present = np.bincount(buckets) > 0
    count = np.where(present, windowed(None), np.nan)
    mean = windowed(values.mean(0)) / count
    return mean, np.sqrt(np.maximum(windowed(np.square(values).mean(0)) / count - np.square(mean), 0.0))


def _places(target: Target, count: int) -> np.ndarray:
    """Where the first `count` buckets are drawn: their middles."""
    return ((target.limits[:-1] + target.limits[1:]) / 2)[:count]


def _shade(axes: Axes, target: Target) -> list[Patch]:
    """Marks the medium- and few-shot buckets behind the data; what a legend needs."""
    groups = shot_groups(target.counts)
    for shot in SHOTS:
        ends = np.flatnonzero(np.diff(np.concatenate([[0], groups[shot], [0]])))
        for low, high in target.limits[ends].reshape(-1, 2):
            axes.axvspan(low, high, color=SHADES[shot], linewidth=0, zorder=0)
    return [Patch(facecolor=SHADES[shot], edgecolor="0.6", linewidth=0.5, label=f"{shot}-shot") for shot in SHOTS]


def _finish(axes: Axes) -> None:
    axes.grid(axis="y", alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)


def _legend(axes: Axes) -> None:
    """Above its panel: the lines leave no corner free in all studies."""
    axes.legend(loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=3, frameon=False, fontsize=10)


def _groups(arms: Sequence[str]) -> list[list[str]]:
    """The arms in panels of a few lines, about equally many, the first arm in each."""
    panels = max(1, -(-(len(arms) - 1) // TOGETHER))
    return [[arms[0], *map(str, part)] for part in np.array_split(arms[1:], panels)]


def prediction_figure(values: np.ndarray, predictions: Mapping[str, np.ndarray], target: Target) -> Figure:
    """Predictions over the true value on the test set, a panel per arm: mean ± standard deviation, and the samples.

    Args:
      values: of the target, of the test images [n].
      predictions: by arm, of each seed [S, n]; samples of the first seed are drawn, means are over all.
      target: what is predicted.
    """
    across = min(4, len(predictions))
    down = -(-len(predictions) // across)
    jitter = np.zeros(len(values))
    if target.whole:  # whole years would be stripes
        jitter = np.random.default_rng(0).uniform(-0.4, 0.4, len(values))
    top = float(max(values.max(), *(found.max() for found in predictions.values())))
    start = 0.0 if target.whole else float(values.min())
    low = float(min(start, *(found.min() for found in predictions.values())))
    margin = float(values.max() - start) / 100
    buckets = target.buckets(values)
    with matplotlib.rc_context(FONTS):
        # A single panel (one run) is drawn larger.
        side = 3.0 if across > 1 else 4.6
        figure = Figure(figsize=(side * across + 0.6, side * down + 1.0), layout="constrained")
        grid = figure.subplots(down, across, sharex=True, sharey=True, squeeze=False)
        for axes in grid.flat[len(predictions) :]:
            axes.set_visible(False)
        for axes, (arm, found) in zip(grid.flat, predictions.items(), strict=False):
            color = SERIES[1]
            axes.scatter(values + jitter, found[0], s=4, color="0.55", alpha=0.35, linewidths=0, rasterized=True)
            mean, std = over_buckets(buckets, found)
            seen = np.isfinite(mean)
            x, mean, std = _places(target, len(mean))[seen], mean[seen], std[seen]
            axes.fill_between(x, mean - std, mean + std, color=color, alpha=0.25, linewidth=0, zorder=2)
            near = (
                f"within {HALF_WINDOW} {target.unit} of that {target.name}" if target.whole else "of the buckets there"
            )
            axes.plot(x, mean, color=color, linewidth=2.0, label=f"mean ± std {near}", zorder=3)
            name = f"prediction = {target.name}"
            axes.plot([start, top], [start, top], color="black", linewidth=0.9, label=name, zorder=2)
            axes.axhline(target.median, label="median predictor", **MEDIAN)
            maes, decimals = np.abs(found - values).mean(1), target.decimals + 1
            mae = f"MAE {maes.mean():.{decimals}f}" + (f" ± {maes.std(ddof=1):.{decimals}f}" if len(maes) > 1 else "")
            axes.text(0.04, 0.96, mae, transform=axes.transAxes, ha="left", va="top", bbox=PAPER)
            axes.set_title(label(arm), fontsize=11)
            _finish(axes)
        grid[0, 0].set_xlim(start - margin, values.max() + margin)
        grid[0, 0].set_ylim(low - 2 * margin, top + 2 * margin)
        for axes in grid.flat[len(predictions) - across : len(predictions)]:
            axes.tick_params(labelbottom=True)  # also above an empty place
        figure.legend(
            *grid[0, 0].get_legend_handles_labels(),
            loc="outside upper center",
            ncols=3 if across > 1 else 1,
            frameon=False,
        )
        figure.supxlabel(target.title)
        figure.supylabel(f"prediction{target.in_unit}")
    return figure


def error_figure(values: np.ndarray, predictions: Mapping[str, np.ndarray], target: Target) -> Figure:
    """Mean absolute error over the true value on the test set, above the training histogram; arguments as above.

    Many arms share the panels a few at a time, the first arm (reg) in each.
    """
    groups = _groups(list(predictions))
    buckets = target.buckets(values)
    places = _places(target, int(buckets.max()) + 1)
    median = np.abs(target.median - values)[None]
    with matplotlib.rc_context(FONTS):
        figure = Figure(figsize=(9.0, 3.4 * len(groups) + 2.6), layout="constrained")
        ratios = [3] * len(groups) + [1.4]
        panels = figure.subplots(len(groups) + 1, 1, sharex=True, height_ratios=ratios, squeeze=False)[:, 0]
        for axes, arms in zip(panels, groups, strict=False):
            for color, arm in zip(SERIES, arms, strict=False):
                errors = np.abs(predictions[arm] - values)
                seeds = np.stack([over_buckets(buckets, one[None])[0] for one in errors])
                if len(seeds) > 1:
                    axes.fill_between(places, seeds.min(0), seeds.max(0), color=color, alpha=0.15, linewidth=0)
                axes.plot(places, seeds.mean(0), color=color, linewidth=1.8, label=label(arm))
            highest = axes.get_ylim()[1]
            # The median's error grows far beyond any network's; it would flatten the rest.
            axes.plot(places, over_buckets(buckets, median)[0], label="median predictor", **MEDIAN)
            axes.set_ylim(0.0, 1.05 * highest)
            axes.set_ylabel(f"test MAE{target.in_unit}")
            _legend(axes)
        present = target.counts > 0
        bars, widths = _places(target, len(target.counts)), np.diff(target.limits)
        panels[-1].bar(bars[present], target.counts[present], width=widths[present], color="0.35", linewidth=0)
        panels[-1].set_yscale("log")
        panels[-1].set_ylim(bottom=0.7)  # a single image is a bar, too
        panels[-1].set_ylabel("training images")
        window = f"{2 * HALF_WINDOW + 1} {target.unit if target.whole else 'buckets'}"
        several = any(len(found) > 1 for found in predictions.values())
        bands = "; bands: the lowest to the highest seed" if several else ""
        panels[-1].set_xlabel(f"{target.title}; errors are means over {window}{bands}")
        panels[-1].set_xlim(target.limits[0] - 0.5 * target.whole, places[-1] + widths[len(places) - 1])
        for axes in panels:
            patches = _shade(axes, target)
            _finish(axes)
        figure.legend(handles=patches, loc="outside upper right", ncols=3, frameon=False, fontsize=10)
    return figure


def curve_figure(curves: Mapping[str, Sequence[pd.DataFrame]], median: float, target: Target) -> Figure:
    """Validation MAE over epochs: the mean over seeds per arm, and each seed in a thin line.

    Args:
      curves: by arm, `epoch` and `val_mae` of each seed.
      median: validation MAE of the median predictor.
      target: what is predicted.
    """
    groups = _groups(list(curves))
    with matplotlib.rc_context(FONTS):
        figure = Figure(figsize=(9.0, 3.6 * len(groups) + 0.8), layout="constrained")
        panels = figure.subplots(len(groups), 1, sharex=True, sharey=True, squeeze=False)[:, 0]
        lowest = min(curve["val_mae"].min() for found in curves.values() for curve in found)
        last = max(curve["val_mae"].iloc[-1] for found in curves.values() for curve in found)
        for axes, arms in zip(panels, groups, strict=True):
            for color, arm in zip(SERIES, arms, strict=False):
                for curve in curves[arm]:
                    axes.plot(curve["epoch"], curve["val_mae"], color=color, linewidth=0.6, alpha=0.45)
                mean = pd.concat(curves[arm]).groupby("epoch")["val_mae"].mean()
                dot = "o" if len(mean) == 1 else None  # a line of one point is invisible
                axes.plot(mean.index, mean, color=color, linewidth=2.0, marker=dot, label=label(arm))
            axes.axhline(median, label="median predictor", **MEDIAN)
            # The first epochs, from an output of 0, would flatten the rest.
            axes.set_ylim(0.95 * lowest, 1.15 * max(median, last))
            axes.set_ylabel(f"validation MAE{target.in_unit}")
            _legend(axes)
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
            _finish(axes)
        panels[-1].set_xlabel("epoch (thin: every seed)")
    return figure


def worst_errors(values: np.ndarray, predictions: np.ndarray, k: int = 24) -> np.ndarray:
    """Indices [min(k, n)] of the samples [n] with the largest absolute errors, the worst first."""
    return np.argsort(-np.abs(predictions - values), kind="stable")[:k]


def worst_errors_grid(images: np.ndarray, values: np.ndarray, predictions: np.ndarray, target: Target) -> Figure:
    """The given images in rows of six, true value and prediction above each. For a run's own folder: they may be faces.

    Args:
      images: uint8 [k, height, width, 3], the worst first (`worst_errors`).
      values: of the target [k].
      predictions: of it [k].
      target: what is predicted.

    Raises:
      ValueError: there is no image, or the arrays do not fit each other.
    """
    k = len(images)
    if not k or images.dtype != np.uint8 or images.ndim != 4 or images.shape[-1] != 3:
        raise ValueError(f"images must be uint8 [k, height, width, 3], got {images.dtype} {images.shape}")
    if values.shape != (k,) or predictions.shape != (k,):
        raise ValueError(f"{k} images need as many values and predictions, got {values.shape} and {predictions.shape}")
    across = min(6, k)
    down = -(-k // across)
    with matplotlib.rc_context(FONTS):
        figure = Figure(figsize=(1.6 * across, 1.9 * down + 0.4), layout="constrained")
        grid = figure.subplots(down, across, squeeze=False)
        for axes in grid.flat:
            axes.axis("off")
        for axes, image, value, prediction in zip(grid.flat, images, values, predictions, strict=False):
            axes.imshow(image)
            true = f"{value:.{0 if target.whole else target.decimals}f}"
            axes.set_title(f"{true} → {prediction:.{target.decimals}f}", fontsize=11)
        figure.suptitle(f"true {target.name} → prediction, worst first", fontsize=11)
    return figure


def save_run_figures(
    folder: str | os.PathLike,
    *,
    arm: str,
    values: np.ndarray,
    predictions: np.ndarray,
    target: Target,
    decode: Callable[[np.ndarray], np.ndarray],
    k: int = 24,
) -> list[Path]:
    """Writes prediction_versus_<target>.png, error_by_<target>.png and worst_errors.png of one run into its folder.

    Args:
      folder: made if missing.
      arm: name of the run in the figures.
      values: of the target, of the evaluated images [n].
      predictions: of the run [n].
      target: what is predicted, see `study.target_of`.
      decode: from indices [k] to images uint8 [k, height, width, 3]; called once, for the worst errors only.
      k: how many of them are shown.

    Raises:
      ValueError: the arrays do not fit each other, or what `decode` gives is not images.
      OSError: something cannot be written (the message names it).
    """
    if values.shape != predictions.shape or values.ndim != 1 or not len(values):
        raise ValueError(f"values {values.shape} and predictions {predictions.shape} must be of the same images [n]")
    worst = worst_errors(values, predictions, k)
    by_arm = {arm: predictions[None]}
    figures = {
        f"prediction_versus_{target.name}": prediction_figure(values, by_arm, target),
        f"error_by_{target.name}": error_figure(values, by_arm, target),
        "worst_errors": worst_errors_grid(decode(worst), values[worst], predictions[worst], target),
    }
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, figure in figures.items():
        written.append(folder / f"{name}.png")
        write_atomic(written[-1], render(figure)["png"])
    return written
