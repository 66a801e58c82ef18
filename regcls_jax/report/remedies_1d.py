"""All remedies on the 1-D data: what each changes against the same network without it, of settings validation chose."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from regcls_jax.metrics.shots import SHOTS
from regcls_jax.report.own.scores import family_of
from regcls_jax.report.paper.fair import DATA_SET, select
from regcls_jax.report.shots_figure import shots_figure
from regcls_jax.report.statistics import Interval, finite_mean, interval, of_log_ratios
from regcls_jax.report.tables import TRIVIAL, Table, arm_place, label, percent_change
from regcls_jax.report.verdicts import Against, best_verdict, headline, trivial_levels
from regcls_jax.store.groups import GroupResults

SIGNS = "Changes are arm − reg, standardised, in per cent of its test MSE: negative means that the arm is better."
# Most arms predict standard deviations: compared with raw targets they would gain by that alone.
BASELINE = "reg_std"
SELECT = "val"
ALL = "mse"
WHERE = {ALL: "all targets", **dict(zip(SHOTS, SHOTS, strict=True))}


def picked_runs(rows: pd.DataFrame, groups: GroupResults) -> pd.DataFrame:
    """`fair.select`'s line per data set and arm, with the test MSE of many, medium and few (NaN: no such target)."""
    picked = select(rows, SELECT)
    tested = groups.errors[(groups.errors["split"] == "test") & (groups.errors["run"] >= 0)]
    by_shot = tested.pivot(index="run", columns="group", values="mse").reindex(columns=list(SHOTS))
    found = picked.merge(by_shot, "left", left_on="run", right_index=True)
    # Without a pick there is no error, of no group.
    found.loc[found[ALL].isna(), list(SHOTS)] = np.nan
    return found


def change(picked: pd.DataFrame, arm: str, measure: str = ALL) -> tuple[float, Interval]:
    """Geometric mean of the ratios of an arm's error to the baseline's over data sets, less 1, in per cent; its t
    interval over functions. NaN where a pick has no error.

    Args:
      picked: a line per data set and arm, as `picked_runs` gives them.
      arm: of `picked`.
      measure: the column of errors: WHERE.
    """
    wide = picked.pivot(index=DATA_SET, columns="arm", values=measure).dropna(how="all")
    with np.errstate(invalid="ignore"):
        ratios = np.log(wide[arm] / wide[BASELINE])
    if not len(ratios) or not np.isfinite(ratios).all():
        return float("nan"), Interval(float("nan"), float("nan"))
    ends = interval(ratios.to_numpy(), [ratios.index.get_level_values("function").to_numpy()])
    return of_log_ratios(float(ratios.mean()), ends)


def titled(picked: pd.DataFrame) -> dict[str, str]:
    """The columns of WHERE with how many of the data sets have such targets: the shots are not of the same ones."""
    sets = picked.drop_duplicates(DATA_SET)
    return {measure: f"{where} ({sets[measure].notna().sum()})" for measure, where in WHERE.items()}


def _arms(picked: pd.DataFrame) -> list[str]:
    return sorted(picked["arm"].unique(), key=arm_place)


def remedies_tables(rows: pd.DataFrame, groups: GroupResults) -> list[Table]:
    """Test MSE and change of every arm by scenario and by shot, and mean ranks over data sets."""
    picked = picked_runs(rows, groups)
    return [_by_scenario(rows, picked), _by_shot(picked)]


def remedies_verdict(rows: pd.DataFrame, groups: GroupResults) -> str:
    """What reg+cls changes, and which remedy changes most; raw targets, which are none, beside them."""
    picked = picked_runs(rows, groups)
    changes = {arm: change(picked, arm) for arm in _arms(picked) if arm != BASELINE}
    known = {arm: found for arm, found in changes.items() if arm != "reg" and np.isfinite(found[0])}
    if not known:
        return best_verdict(rows[rows["split"] == "test"])
    best = min(known, key=lambda arm: known[arm][0])
    judged = "reg_cls" if "reg_cls" in known else best
    raw = f"; {label('reg')} on raw targets {percent_change(*changes['reg'])}" if "reg" in changes else ""
    return (
        f"**{headline(label(judged), [Against(label(BASELINE), *known[judged])])}** Change of the test MSE by "
        f"{label(judged)}: {percent_change(*known[judged])}; the largest gain of {len(known)} remedies: {label(best)} "
        f"{percent_change(*known[best])}{raw} (95 % t intervals over functions, not corrected for their number). "
        f"Mean test MSE: {label(BASELINE)} {finite_mean(picked.loc[picked['arm'] == BASELINE, ALL]):.3f}, "
        f"{trivial_levels(rows)}."
    )


def _note(picked: pd.DataFrame) -> str:
    sets = len(picked[DATA_SET].drop_duplicates())
    return (
        f"{sets} data sets; of every arm and data set the setting with the lowest validation MSE, tested on uniformly "
        f"sampled targets. Change: geometric mean of the ratios to {label(BASELINE)}, 95 % t interval over functions, "
        "not corrected for the number of arms."
    )


def _by_scenario(rows: pd.DataFrame, picked: pd.DataFrame) -> Table:
    trivial = rows[(rows["split"] == "test") & rows["arm"].isin(TRIVIAL)]
    ranks = picked.pivot(index=DATA_SET, columns="arm", values=ALL).fillna(np.inf).rank(axis=1).mean()
    parts = list(picked.groupby("scenario", sort=False))
    lines = []
    for arm in (*_arms(picked), *TRIVIAL):
        cells = {"arm": label(arm)}
        for scenario, part in parts:
            if arm in TRIVIAL:
                own = trivial[(trivial["arm"] == arm) & (trivial["scenario"] == scenario)]
                cells |= {f"{scenario}: MSE": f"{finite_mean(own[ALL]):.3f}", f"{scenario}: change": "–"}
                continue
            cells[f"{scenario}: MSE"] = f"{part.loc[part['arm'] == arm, ALL].mean():.3f}"
            cells[f"{scenario}: change"] = "" if arm == BASELINE else percent_change(*change(part, arm))
        cells["mean rank"] = f"{ranks[arm]:.1f}" if arm in ranks else "–"
        lines.append(cells)
    frame = pd.DataFrame(lines)
    return Table("Remedies on the 1-D data", _note(picked), frame, frame)


def _by_shot(picked: pd.DataFrame) -> Table:
    arms = [arm for arm in _arms(picked) if arm != BASELINE]
    frame = pd.DataFrame({"arm": [label(arm) for arm in arms]})
    for measure, where in titled(picked).items():
        frame[where] = [percent_change(*change(picked, arm, measure)) for arm in arms]
    note = (
        "Change of the test MSE of all targets and of those in ranges with many, medium and few training samples "
        "(above 1.5, between, below .5 of an even share), clean and noisy together; in brackets how many data sets "
        "have such targets. The columns are of different ones: the favoured window of the mild sampling is wide, so "
        "that it has medium targets, that of the others has many."
    )
    return Table("Remedies by how many training samples a target has", note, frame, frame)


def remedies_figure(rows: pd.DataFrame, groups: GroupResults) -> Figure:
    """The change by every arm of all targets, and by shot, coloured by what kind of remedy it is."""
    picked = picked_runs(rows, groups)
    arms = [arm for arm in _arms(picked) if arm != BASELINE]
    first = picked.drop_duplicates("arm").set_index("arm")
    families = {arm: family_of(first.loc[arm]) for arm in arms}
    panels = {where: {arm: change(picked, arm, measure) for arm in arms} for measure, where in titled(picked).items()}
    return shots_figure(panels, families, f"test MSE against {label(BASELINE)}")
