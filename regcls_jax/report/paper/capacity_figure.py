"""The figures of the capacity study: test MSE over the model's size, and validation MSE over learning rate and s."""

import itertools

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from regcls_jax.report.drawing import BANDS, FONTS, band, finish_figure, finish_panel, over
from regcls_jax.report.palette import STYLES
from regcls_jax.report.paper.capacity import ARMS, OPTIMIZERS, at_best, best_settings, setting_means, trained_rows
from regcls_jax.report.paper.lambda_figure import PANEL_NAMES
from regcls_jax.report.paper.published import CELL, sort_cells
from regcls_jax.report.statistics import finite_mean
from regcls_jax.report.tables import label


def size_figure(rows: pd.DataFrame, kind: str = "std") -> Figure:
    """Test MSE over the hidden size, both arms at their best settings; optimisers in columns.

    One row of panels per scenario, sampling and validation set that chooses the settings.

    Args:
      rows: the study's rows of the splits val, val_balanced and test.
      kind: the shading, see `statistics.shading`.

    Raises:
      ValueError: a scenario or sampling that the paper does not have, or an unknown shading.
    """
    trained, test = trained_rows(rows), rows[rows["split"] == "test"]
    chosen = {}
    for split in PANEL_NAMES:
        best = best_settings(trained[trained["split"] == split])
        chosen[split] = at_best(trained[trained["split"] == "test"], best)
    cells = sort_cells(rows[CELL].drop_duplicates()).itertuples(index=False, name=None)
    down = list(itertools.product(cells, PANEL_NAMES))
    across = [name for name in OPTIMIZERS if name in set(trained["optimizer"])]
    sizes = sorted(trained["units"].unique())
    with matplotlib.rc_context(FONTS):
        figure = Figure(figsize=(4.2 * len(across) + 0.8, 2.5 * len(down) + 1.2), layout="constrained")
        grid = figure.subplots(len(down), len(across), sharex=True, sharey=True, squeeze=False)
        for ((scenario, sampling), split), line in zip(down, grid, strict=True):
            part = chosen[split][(chosen[split][CELL] == [scenario, sampling]).all(axis=1)]
            for optimizer, axes in zip(across, line, strict=True):
                for arm, runs in part[part["optimizer"] == optimizer].groupby("arm"):
                    band(axes, *over(runs, "units", kind), arm)
                axes.set_xscale("log", base=2)
                axes.set_xticks(sizes, [str(size) for size in sizes])
        grid[0, 0].set_ylim(0.0, 1.15 * grid[0, 0].get_ylim()[1])
        for ((scenario, sampling), split), line in zip(down, grid, strict=True):
            cell = test[(test[CELL] == [scenario, sampling]).all(axis=1)]
            for optimizer, axes in zip(across, line, strict=True):
                title = f"{OPTIMIZERS[optimizer]} · {scenario} · {sampling} · {PANEL_NAMES[split]}"
                finish_panel(axes, cell, title, [])
        finish_figure(
            figure, grid.flat, map(label, STYLES), "units of the last hidden layer", "test MSE", bands=BANDS[kind]
        )
    return figure


def _heat_map(axes: Axes, means: pd.DataFrame, norm: LogNorm) -> AxesImage:
    """Colours the lowest mean over λ in every field of learning rate (down) and s (across), and writes it there."""
    best = means.sort_values("mse", kind="stable").drop_duplicates(["learning_rate", "scale"])
    fields = best.pivot(index="learning_rate", columns="scale", values="mse")
    lams = best.pivot(index="learning_rate", columns="scale", values="lam")
    image = axes.imshow(np.ma.masked_invalid(fields), norm=norm, cmap="viridis", origin="lower", aspect="auto")
    axes.set_facecolor("#d9d9d9")
    several = means["lam"].nunique() > 1
    for (row, column), value in np.ndenumerate(fields):
        if np.isnan(value):
            continue
        text = f"{value:.2f}" + (f"\nλ {lams.iloc[row, column]:g}" if several else "")
        dark = np.isfinite(value) and norm(value) < 0.5
        shown = text if np.isfinite(value) else "div."
        axes.text(column, row, shown, ha="center", va="center", fontsize=7, color="white" if dark else "black")
    axes.set_xticks(range(fields.shape[1]), [f"{scale:g}" for scale in fields.columns], rotation=45)
    axes.set_yticks(range(fields.shape[0]), [f"{rate:g}" for rate in fields.index])
    axes.tick_params(length=0, labelsize=8)
    return image


def heat_figure(rows: pd.DataFrame, kind: str = "std", *, split: str = "val_balanced") -> Figure:
    """Mean validation MSE over learning rate and s, for reg and for reg+cls at the best λ of each field.

    Sizes in rows; optimisers and arms in columns. Means are over scenarios, samplings, functions, seeds and class
    counts. A field where a run diverged at every λ says "div."; one that was not tried is grey. The colours end at the
    constant predictor: whatever is worse looks like it.

    Args:
      rows: the study's rows.
      kind: not used: a field has no shading.
      split: the validation set.
    """
    rows = rows[rows["split"] == split]
    means = setting_means(trained_rows(rows), ["optimizer", "units"])
    sizes = sorted(means["units"].unique())
    across = list(itertools.product((name for name in OPTIMIZERS if name in set(means["optimizer"])), ARMS))
    constant = finite_mean(rows.loc[rows["arm"] == "constant", "mse"])
    norm = LogNorm(min(means["mse"].min(), constant / 2), constant)
    with matplotlib.rc_context(FONTS):
        figure = Figure(figsize=(3.4 * len(across) + 1.0, 2.1 * len(sizes) + 1.0), layout="constrained")
        grid = figure.subplots(len(sizes), len(across), squeeze=False)
        panels = itertools.product(sizes, across)
        for (units, (optimizer, arm)), axes in zip(panels, grid.flat, strict=True):
            part = means[(means[["optimizer", "units", "arm"]] == [optimizer, units, arm]).all(axis=1)]
            if part.empty:
                axes.set_axis_off()
                continue
            image = _heat_map(axes, part, norm)
            axes.set_title(f"{OPTIMIZERS[optimizer]} · {label(arm)} · {units}")
        bar = figure.colorbar(image, ax=grid, fraction=0.02, pad=0.01)
        bar.set_label(f"validation MSE, {PANEL_NAMES[split]} (upper end: constant, {constant:.2f})")
        figure.supxlabel("s")
        figure.supylabel("learning rate")
    return figure
