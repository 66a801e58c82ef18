"""The figure of a table of the user's own: what every arm changes, overall and on rare targets, and where these are."""

from collections.abc import Collection

import matplotlib
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from regcls_jax.metrics.shots import SHOTS
from regcls_jax.report.drawing import FONTS, WIDEST, effect_rows
from regcls_jax.report.own.scores import (
    CLASSES,
    FEATURES,
    ORDINAL,
    PLAIN,
    REFERENCE,
    SOFT,
    SPREAD,
    TRAINING,
    WEIGHTING,
    Scores,
)
from regcls_jax.report.own.tables import read_scores, shown_arms, targets_of
from regcls_jax.report.own.verdict import change
from regcls_jax.report.palette import BLACK, BLUE, BROWN, GREEN, GREY, ORANGE, PURPLE, SKY, VERMILION
from regcls_jax.store.groups import GroupResults

COLORS = {
    **{PLAIN: GREY, CLASSES: BLUE, SOFT: SKY, ORDINAL: PURPLE, FEATURES: ORANGE},
    **{SPREAD: BROWN, WEIGHTING: VERMILION, TRAINING: BLACK, REFERENCE: GREEN},
}
RANGES = {"many": GREY, "medium": ORANGE, "few": VERMILION}
PANELS = {"mae": "all rows", "rare_mae": "rare targets"}


def own_figure(rows: pd.DataFrame, groups: GroupResults) -> Figure:
    """A row per target: changes of the MAE with intervals, of all rows and of rare ones, and the histogram of rows."""
    found = read_scores(rows, groups)
    targets = targets_of(found)
    arms = [arm for arm in shown_arms(found) if arm not in ("constant", "median")]
    with matplotlib.rc_context(FONTS):
        figure = Figure(figsize=(13, (0.28 * len(arms) + 1.3) * len(targets) + 0.5), layout="constrained")
        grid = figure.subplots(len(targets), 3, squeeze=False, width_ratios=(1, 1, 0.8))
        for line, target in zip(grid, targets, strict=True):
            for axes, (measure, title) in zip(line, PANELS.items(), strict=False):
                _changes(axes, found, target, measure, arms)
                axes.set_title(f"{target}, {title}\nagainst plain regression", fontsize=11)
            line[1].tick_params(labelleft=False)
            _histogram(line[2], groups.errors[groups.errors["target"] == target])
        kinds_legend(figure, grid[0, 0], found.families.values())
    return figure


def kinds_legend(figure: Figure, axes: Axes, kinds: Collection[str], columns: int = 5) -> None:
    """Adds above all panels which colour stands for which of the `kinds` of arms; `axes` has no labels of its own."""
    shown = [kind for kind in COLORS if kind in kinds]
    for kind in shown:
        axes.plot([], [], "o", color=COLORS[kind], label=kind)
    handles = axes.get_legend_handles_labels()
    figure.legend(*handles, loc="outside upper center", ncols=min(columns, len(shown)), frameon=False)


def _changes(axes: Axes, found: Scores, target: str, measure: str, arms: list[str]) -> None:
    every = {arm: change(found, target, measure, arm, several=len(found.families)) for arm in arms}
    colors = [COLORS[found.families[arm]] for arm in arms]
    effect_rows(axes, {arm: (one.mean, one.interval) for arm, one in every.items()}, colors, widest=WIDEST)
    axes.set_xlabel("change of the test MAE (%)")


def _histogram(axes: Axes, errors: pd.DataFrame) -> None:
    """Test rows by range of the target, over the folds of one repetition, by the shot group they have most often."""
    own = errors[(errors["arm"] == "constant") & (errors["split"] == "test")]
    own = own[own["repetition"] == own["repetition"].min()]
    number, shot = own["group"].str.slice(0, 2).astype(int), own["group"].str.slice(3)
    counts = own["n"].groupby(number).sum()
    usual = shot.groupby(number).agg(lambda shots: shots.mode().iloc[0])
    for name in SHOTS:
        places = [place for place in counts.index if usual[place] == name]
        axes.bar(places, [counts[place] for place in places], color=RANGES[name], width=0.9, label=name)
    axes.set_title("rows by range of the target", fontsize=11)
    axes.set_xlabel("range, low to high")
    axes.legend(title="training rows", frameon=False, fontsize=9)
    axes.spines[["top", "right"]].set_visible(False)
