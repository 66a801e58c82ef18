"""All remedies on the 1-D data: what each changes against the same network without it, of settings validation chose."""

from collections.abc import Iterator

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from regcls_jax.report.drawing import FONTS, effect_rows
from regcls_jax.report.own.figure import COLORS
from regcls_jax.report.own.scores import REFERENCE, family_of
from regcls_jax.report.paper.fair import DATA_SET, select
from regcls_jax.report.statistics import Interval, finite_mean, interval
from regcls_jax.report.tables import TRIVIAL, Table, arm_place, label, percent_change

SIGNS = "Changes are arm − reg, standardised, in per cent of its test MSE: negative means that the arm is better."
# Most arms predict standard deviations: compared with raw targets they would gain by that alone.
BASELINE = "reg_std"
SELECT = "val"


def change(picked: pd.DataFrame, arm: str, measure: str = "mse") -> tuple[float, Interval]:
    """Geometric mean of the ratios of an arm's error to the baseline's over data sets, less 1, in per cent; its t
    interval over functions. NaN where a pick has no error.

    Args:
      picked: a line per data set and arm, as `fair.select` gives them.
      arm: of `picked`.
      measure: the column of errors.
    """
    wide = picked.pivot(index=DATA_SET, columns="arm", values=measure)
    ratios = np.log(wide[arm] / wide[BASELINE])
    if not np.isfinite(ratios).all():
        return float("nan"), Interval(float("nan"), float("nan"))
    ends = interval(ratios.to_numpy(), [ratios.index.get_level_values("function").to_numpy()])
    return 100 * float(np.expm1(ratios.mean())), Interval(*(100 * float(np.expm1(end)) for end in ends))


def _arms(picked: pd.DataFrame) -> list[str]:
    return sorted(picked["arm"].unique(), key=arm_place)


def _parts(picked: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """The data sets of each scenario, imbalanced samplings pooled."""
    for scenario, part in picked.groupby("scenario", sort=False):
        yield str(scenario), part


def remedies_tables(rows: pd.DataFrame) -> list[Table]:
    """Test MSE and change of every arm by scenario, and mean ranks over data sets."""
    picked = select(rows, SELECT)
    trivial = rows[(rows["split"] == "test") & rows["arm"].isin(TRIVIAL)]
    ranks = picked.pivot(index=DATA_SET, columns="arm", values="mse").fillna(np.inf).rank(axis=1).mean()
    lines = []
    for arm in (*_arms(picked), *TRIVIAL):
        cells = {"arm": label(arm)}
        for scenario, part in _parts(picked):
            if arm in TRIVIAL:
                own = trivial[(trivial["arm"] == arm) & (trivial["scenario"] == scenario)]
                cells |= {f"{scenario}: MSE": f"{finite_mean(own['mse']):.3f}", f"{scenario}: change": "–"}
                continue
            mean, ends = change(part, arm)
            cells[f"{scenario}: MSE"] = f"{part.loc[part['arm'] == arm, 'mse'].mean():.3f}"
            cells[f"{scenario}: change"] = "" if arm == BASELINE else percent_change(mean, ends)
        cells["mean rank"] = f"{ranks[arm]:.1f}" if arm in ranks else "–"
        lines.append(cells)
    frame = pd.DataFrame(lines)
    sets = len(picked[DATA_SET].drop_duplicates())
    note = (
        f"{sets} data sets; of every arm and data set the setting with the lowest validation MSE, tested on uniformly "
        f"sampled targets. Change: geometric mean of the ratios to {label(BASELINE)}, 95 % t interval over functions, "
        "not corrected for the number of arms."
    )
    return [Table("Remedies on the 1-D data", note, frame, frame)]


def remedies_figure(rows: pd.DataFrame) -> Figure:
    """Per scenario the change by every arm with its interval, coloured by what kind of remedy it is."""
    picked = select(rows, SELECT)
    arms = [arm for arm in _arms(picked) if arm != BASELINE]
    first = picked.drop_duplicates("arm").set_index("arm")
    families = {arm: family_of(first.loc[arm]) for arm in arms}
    parts = dict(_parts(picked))
    with matplotlib.rc_context(FONTS):
        figure = Figure(figsize=(6 * len(parts) + 1, 0.3 * len(arms) + 1.6), layout="constrained")
        grid = figure.subplots(1, len(parts), sharey=True, squeeze=False)[0]
        for axes, (scenario, part) in zip(grid, parts.items(), strict=True):
            effect_rows(axes, {arm: change(part, arm) for arm in arms}, [COLORS[families[arm]] for arm in arms])
            axes.set_title(f"{scenario}, imbalanced", fontsize=11)
        shown = [kind for kind in COLORS if kind in families.values() and kind != REFERENCE]
        for kind in shown:
            grid[0].plot([], [], "o", color=COLORS[kind], label=kind)
        handles = grid[0].get_legend_handles_labels()
        figure.legend(*handles, loc="outside upper center", ncols=min(3 * len(parts), len(shown)), frameon=False)
        figure.supxlabel(f"change of the test MSE against {label(BASELINE)} (%), 95 % interval", fontsize=11)
    return figure
