"""Figures of Table 5: every arm beside the constants, or, of a handful of videos, what is predicted over their time."""

from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from regcls_jax.report.drawing import FONTS
from regcls_jax.report.palette import STYLES, VERMILION
from regcls_jax.report.paper.tab5 import in_units, name_of
from regcls_jax.store.groups import GroupResults
from regcls_jax.trivial import TRIVIAL_PREDICTORS

# Arms whose predictions are drawn, and how; the rest would hide them.
SHOWN: dict[str, dict[str, Any]] = {
    "reg": STYLES["reg"],
    "reg_cls": {**STYLES["reg_cls"], "marker": None},
    "sigmoid": {"color": VERMILION, "linewidth": 1.6, "linestyle": (0, (5, 2))},
}
MOST_VIDEOS = 6


def tab5_figure(rows: pd.DataFrame, groups: GroupResults, shading: str) -> Figure:
    """Predictions over the time of every video, where they were kept and there are few; else RMSEs of all arms."""
    videos = groups.predictions["group"].unique()
    if 0 < len(videos) <= MOST_VIDEOS:
        return _over_time(groups.predictions, rows["target"].iloc[0])
    return _rmse(groups.errors[groups.errors["split"] == "test"])


def _over_time(predictions: pd.DataFrame, target: str) -> Figure:
    videos = sorted(predictions["group"].unique())
    with matplotlib.rc_context(FONTS):
        figure = Figure(figsize=(3.4 * len(videos) + 0.4, 3.8), layout="constrained")
        grid = figure.subplots(1, len(videos), sharey=True, squeeze=False)[0]
        for axes, video in zip(grid, videos, strict=True):
            part = predictions[predictions["group"] == video]
            truth = part.loc[part["run"] == part["run"].iloc[0], "truth"].to_numpy()
            frames = np.arange(len(truth))
            for arm, style in SHOWN.items():
                if len(own := part[part["arm"] == arm]):
                    seeds = np.stack([run["prediction"].to_numpy() for _, run in own.groupby("run")])
                    axes.plot(frames, seeds.mean(0), label=name_of(arm), **style)
            axes.plot(frames, truth, color="black", linewidth=1.2, label="truth")
            if target == "progress":
                axes.axhline(0.5, color=STYLES["constant"]["color"], linestyle=":", linewidth=1.4, label="0.5")
            axes.set_title(video.rsplit("_", 2)[0])
            axes.set_xlabel("frame")
        grid[0].set_ylabel("progress (share of the video)" if target == "progress" else target)
        handles, labels = grid[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False)
    return figure


def _rmse(errors: pd.DataFrame) -> Figure:
    frame, own = in_units(errors)
    means = frame.groupby(["arm", "task"])[own].mean().groupby("arm").agg(["mean", "std"]).sort_values("mean")
    with matplotlib.rc_context(FONTS):
        figure = Figure(figsize=(7.5, 0.42 * len(means) + 1.4), layout="constrained")
        axes = figure.subplots()
        for place, (arm, line) in enumerate(means[::-1].iterrows()):
            trivial = arm in TRIVIAL_PREDICTORS
            style = {"color": STYLES["constant"]["color"] if trivial else STYLES["reg_cls"]["color"]}
            axes.errorbar(line["mean"], place, xerr=line["std"], fmt="s" if trivial else "o", capsize=3, **style)
        axes.set_yticks(range(len(means)), [name_of(str(arm)) for arm in means.index[::-1]])
        axes.set_xlabel(f"test RMSE in {'% of the video' if own == 'percent' else 'frames'}; mean ± std over tasks")
        axes.grid(axis="x", alpha=0.3)
    return figure
