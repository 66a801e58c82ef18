"""Figures of an image study: predictions and errors over age, validation curves; the worst errors of one run."""

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
from regcls_jax.report.drawing import FONTS, PAPER, STYLES, render
from regcls_jax.report.images.tables import median_age
from regcls_jax.store.files import write_atomic

HALF_WINDOW = 2  # years to each side: the test sets hold few images of one age
# Those of the other studies first: the first arm is reg.
_NAMED = ("reg", "reg_cls", "reg_cls_bal", "reg_x_lambda", "reg_fine", "reg_no_decay")
COLORS = (*(STYLES[arm]["color"] for arm in _NAMED), "#56b4e9", "#8c510a")
TOGETHER = len(COLORS) - 1  # arms beside the first that one panel shows
SHADES = {"many": "white", "medium": "0.93", "few": "0.84"}
MEDIAN: dict[str, Any] = {**STYLES["constant"], "color": "black"}


def over_years(ages: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of values [S, n] per whole year of ages [n], over `HALF_WINDOW` years to each side.

    Two arrays [oldest + 1]; NaN for a year of which there is no sample itself.
    """
    years = ages.astype(int)
    window = np.ones(2 * HALF_WINDOW + 1)

    def windowed(weights: np.ndarray | None) -> np.ndarray:
        # "same" has the length of the longer one: a set of infants is shorter than the window.
        return np.convolve(np.bincount(years, weights), window)[HALF_WINDOW : HALF_WINDOW + years.max() + 1]

    present = np.bincount(years) > 0
    count = np.where(present, windowed(None), np.nan)
    mean = windowed(values.mean(0)) / count
    return mean, np.sqrt(np.maximum(windowed(np.square(values).mean(0)) / count - np.square(mean), 0.0))


def _shade(axes: Axes, train_counts: np.ndarray, top: int) -> list[Patch]:
    """Marks the medium- and few-shot years up to `top` behind the data; what a legend needs."""
    counts = np.pad(train_counts, (0, max(0, top - len(train_counts))))[:top]
    groups = shot_groups(counts)
    for shot in SHOTS:
        limits = np.flatnonzero(np.diff(np.concatenate([[0], groups[shot], [0]])))
        for low, high in limits.reshape(-1, 2):
            axes.axvspan(low - 0.5, high - 0.5, color=SHADES[shot], linewidth=0, zorder=0)
    return [Patch(facecolor=SHADES[shot], edgecolor="0.6", linewidth=0.5, label=f"{shot}-shot") for shot in SHOTS]


def _finish(axes: Axes) -> None:
    axes.grid(axis="y", alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)


def _legend(axes: Axes) -> None:
    """Above its panel: the lines leave no corner free in all studies."""
    axes.legend(loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=4, frameon=False, fontsize=10)


def _groups(arms: Sequence[str]) -> list[list[str]]:
    """The arms in panels of a few lines, about equally many, the first arm in each."""
    panels = max(1, -(-(len(arms) - 1) // TOGETHER))
    return [[arms[0], *map(str, part)] for part in np.array_split(arms[1:], panels)]


def prediction_figure(ages: np.ndarray, predictions: Mapping[str, np.ndarray], train_counts: np.ndarray) -> Figure:
    """Predictions over true age on the test set, a panel per arm: mean ± standard deviation per age, and the samples.

    Args:
      ages: of the test images [n], years.
      predictions: by arm, of each seed [S, n], years; samples of the first seed are drawn, means are over all.
      train_counts: training images per whole year [K].
    """
    across = min(4, len(predictions))
    down = -(-len(predictions) // across)
    jitter = np.random.default_rng(0).uniform(-0.4, 0.4, len(ages))  # whole years would be stripes
    top = float(max(ages.max(), *(found.max() for found in predictions.values())))
    low = float(min(0.0, *(found.min() for found in predictions.values())))
    median = median_age(train_counts)
    with matplotlib.rc_context(FONTS):
        # A single panel (one run) is drawn larger.
        side = 3.0 if across > 1 else 4.6
        figure = Figure(figsize=(side * across + 0.6, side * down + 1.0), layout="constrained")
        grid = figure.subplots(down, across, sharex=True, sharey=True, squeeze=False)
        for axes in grid.flat[len(predictions) :]:
            axes.set_visible(False)
        for axes, (arm, found) in zip(grid.flat, predictions.items(), strict=False):
            color = COLORS[1]
            axes.scatter(ages + jitter, found[0], s=4, color="0.55", alpha=0.35, linewidths=0, rasterized=True)
            mean, std = over_years(ages, found)
            years = np.flatnonzero(np.isfinite(mean))
            axes.fill_between(
                years, (mean - std)[years], (mean + std)[years], color=color, alpha=0.25, linewidth=0, zorder=2
            )
            name = f"mean ± std within {HALF_WINDOW} years of that age"
            axes.plot(years, mean[years], color=color, linewidth=2.0, label=name, zorder=3)
            axes.plot([0, top], [0, top], color="black", linewidth=0.9, label="prediction = age", zorder=2)
            axes.axhline(median, label="median predictor", **MEDIAN)
            mae = float(np.abs(found - ages).mean())
            axes.text(0.04, 0.96, f"MAE {mae:.2f}", transform=axes.transAxes, ha="left", va="top", bbox=PAPER)
            axes.set_title(arm)
            _finish(axes)
        grid[0, 0].set_xlim(-1, ages.max() + 1)
        grid[0, 0].set_ylim(low - 2, top + 2)
        for axes in grid.flat[len(predictions) - across : len(predictions)]:
            axes.tick_params(labelbottom=True)  # also above an empty place
        figure.legend(
            *grid[0, 0].get_legend_handles_labels(),
            loc="outside upper center",
            ncols=3 if across > 1 else 1,
            frameon=False,
        )
        figure.supxlabel("age (years)")
        figure.supylabel("prediction (years)")
    return figure


def error_figure(ages: np.ndarray, predictions: Mapping[str, np.ndarray], train_counts: np.ndarray) -> Figure:
    """Mean absolute error over true age on the test set, above the training histogram; arguments as above.

    Many arms share the panels a few at a time, the first arm (reg) in each.
    """
    groups = _groups(list(predictions))
    top = int(ages.max()) + 1
    years = np.arange(len(train_counts))
    median = np.full((1, len(ages)), median_age(train_counts))
    with matplotlib.rc_context(FONTS):
        figure = Figure(figsize=(9.0, 3.4 * len(groups) + 2.6), layout="constrained")
        ratios = [3] * len(groups) + [1.4]
        panels = figure.subplots(len(groups) + 1, 1, sharex=True, height_ratios=ratios, squeeze=False)[:, 0]
        for axes, arms in zip(panels, groups, strict=False):
            for color, arm in zip(COLORS, arms, strict=False):
                mean, _ = over_years(ages, np.abs(predictions[arm] - ages))
                axes.plot(mean, color=color, linewidth=1.8, label=arm)
            highest = axes.get_ylim()[1]
            # The median's error grows far beyond any network's; it would flatten the rest.
            axes.plot(over_years(ages, np.abs(median - ages))[0], label="median predictor", **MEDIAN)
            axes.set_ylim(0.0, 1.05 * highest)
            axes.set_ylabel("test MAE (years)")
            _legend(axes)
        present = train_counts > 0
        panels[-1].bar(years[present], train_counts[present], width=1.0, color="0.35", linewidth=0)
        panels[-1].set_yscale("log")
        panels[-1].set_ylim(bottom=0.7)  # a single image is a bar, too
        panels[-1].set_ylabel("training images")
        panels[-1].set_xlabel(f"age (years); errors are means over {2 * HALF_WINDOW + 1} years")
        panels[-1].set_xlim(-1, top)
        for axes in panels:
            patches = _shade(axes, train_counts, top)
            _finish(axes)
        figure.legend(handles=patches, loc="outside upper right", ncols=3, frameon=False, fontsize=10)
    return figure


def curve_figure(curves: Mapping[str, Sequence[pd.DataFrame]], median: float) -> Figure:
    """Validation MAE over epochs: the mean over seeds per arm, and each seed in a thin line.

    Args:
      curves: by arm, `epoch` and `val_mae` of each seed (`FinishedRun.curve`).
      median: validation MAE of the median predictor, years.
    """
    groups = _groups(list(curves))
    with matplotlib.rc_context(FONTS):
        figure = Figure(figsize=(9.0, 3.6 * len(groups) + 0.8), layout="constrained")
        panels = figure.subplots(len(groups), 1, sharex=True, sharey=True, squeeze=False)[:, 0]
        lowest = min(curve["val_mae"].min() for found in curves.values() for curve in found)
        last = max(curve["val_mae"].iloc[-1] for found in curves.values() for curve in found)
        for axes, arms in zip(panels, groups, strict=True):
            for color, arm in zip(COLORS, arms, strict=False):
                for curve in curves[arm]:
                    axes.plot(curve["epoch"], curve["val_mae"], color=color, linewidth=0.6, alpha=0.45)
                mean = pd.concat(curves[arm]).groupby("epoch")["val_mae"].mean()
                dot = "o" if len(mean) == 1 else None  # a line of one point is invisible
                axes.plot(mean.index, mean, color=color, linewidth=2.0, marker=dot, label=arm)
            axes.axhline(median, label="median predictor", **MEDIAN)
            # The first epochs, from an output of 0 years, would flatten the rest.
            axes.set_ylim(0.95 * lowest, 1.15 * max(median, last))
            axes.set_ylabel("validation MAE (years)")
            _legend(axes)
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
            _finish(axes)
        panels[-1].set_xlabel("epoch")
    return figure


def worst_errors(ages: np.ndarray, predictions: np.ndarray, k: int = 24) -> np.ndarray:
    """Indices [min(k, n)] of the samples [n] with the largest absolute errors, the worst first."""
    return np.argsort(-np.abs(predictions - ages), kind="stable")[:k]


def worst_errors_grid(images: np.ndarray, ages: np.ndarray, predictions: np.ndarray) -> Figure:
    """The given images in rows of six, true age and prediction above each. For a run's own folder only: it has faces.

    Args:
      images: uint8 [k, height, width, 3], the worst first (`worst_errors`).
      ages: true ages [k], years.
      predictions: predicted ages [k], years.

    Raises:
      ValueError: there is no image, or the arrays do not fit each other.
    """
    k = len(images)
    if not k or images.dtype != np.uint8 or images.ndim != 4 or images.shape[-1] != 3:
        raise ValueError(f"images must be uint8 [k, height, width, 3], got {images.dtype} {images.shape}")
    if ages.shape != (k,) or predictions.shape != (k,):
        raise ValueError(f"{k} images need as many ages and predictions, got {ages.shape} and {predictions.shape}")
    across = min(6, k)
    down = -(-k // across)
    with matplotlib.rc_context(FONTS):
        figure = Figure(figsize=(1.6 * across, 1.9 * down + 0.4), layout="constrained")
        grid = figure.subplots(down, across, squeeze=False)
        for axes in grid.flat:
            axes.axis("off")
        for axes, image, age, prediction in zip(grid.flat, images, ages, predictions, strict=False):
            axes.imshow(image)
            axes.set_title(f"{age:.0f} → {prediction:.1f}", fontsize=11)
        figure.suptitle("true age → prediction, worst first", fontsize=11)
    return figure


def save_run_figures(
    folder: str | os.PathLike,
    *,
    arm: str,
    ages: np.ndarray,
    predictions: np.ndarray,
    train_counts: np.ndarray,
    decode: Callable[[np.ndarray], np.ndarray],
    k: int = 24,
) -> list[Path]:
    """Writes prediction_versus_age.png, error_by_age.png and worst_errors.png of one run into its folder.

    Args:
      folder: made if missing.
      arm: name of the run in the figures.
      ages: of the evaluated images [n], years.
      predictions: of the run [n], years.
      train_counts: training images per whole year [K].
      decode: from indices [k] to images uint8 [k, height, width, 3]; called once, for the worst errors only.
      k: how many of them are shown.

    Raises:
      ValueError: the arrays do not fit each other, or what `decode` gives is not images.
      OSError: something cannot be written (the message names it).
    """
    if ages.shape != predictions.shape or ages.ndim != 1 or not len(ages):
        raise ValueError(f"ages {ages.shape} and predictions {predictions.shape} must be of the same images [n]")
    worst = worst_errors(ages, predictions, k)
    by_arm = {arm: predictions[None]}
    figures = {
        "prediction_versus_age": prediction_figure(ages, by_arm, train_counts),
        "error_by_age": error_figure(ages, by_arm, train_counts),
        "worst_errors": worst_errors_grid(decode(worst), ages[worst], predictions[worst]),
    }
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, figure in figures.items():
        written.append(folder / f"{name}.png")
        write_atomic(written[-1], render(figure)["png"])
    return written
