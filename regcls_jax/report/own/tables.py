"""The tables and the verdict of a table of the user's own."""

import pandas as pd

from regcls_jax.data.ranges import FEW, RANGES
from regcls_jax.report.own.scores import MEASURES, NETWORKS, REFERENCE, Scores, scores
from regcls_jax.report.own.verdict import answer, asked, change, said
from regcls_jax.report.statistics import LEVEL
from regcls_jax.report.tables import Table, arm_place, label
from regcls_jax.store.groups import GroupResults
from regcls_jax.store.rows import diverged
from regcls_jax.study.runs import ARM_FIELDS

SIGNS = "Changes are arm − baseline in per cent of the baseline's error: negative means that the arm is better."


def read_scores(rows: pd.DataFrame, groups: GroupResults) -> Scores:
    """The scores of a study, without the runs that diverged."""
    lost = set(diverged(rows)["run"]) - {-1}
    kept = groups._replace(errors=groups.errors[~groups.errors["run"].isin(lost)])
    return scores(rows, kept)


def targets_of(found: Scores) -> list[str]:
    """The targets, in order."""
    return list(found.chosen["target"].unique())


def shown_arms(found: Scores) -> list[str]:
    """The arms as tables list them, what needs no network last."""
    kinds = (*NETWORKS, REFERENCE)
    return sorted(found.families, key=lambda arm: (kinds.index(found.families[arm]), arm_place(arm)))


def own_verdict(rows: pd.DataFrame, groups: GroupResults) -> str:
    """The answer for every target as Markdown: a sentence in bold, the evidence, and what to copy."""
    found = read_scores(rows, groups)
    parts = []
    for target in targets_of(found):
        given = answer(found, target)
        lines = [f"**{target}: {given.headline}**", *given.sentences]
        if given.arm is not None:
            lines.append(f"To copy: {_settings(rows, found, target, given.arm)}.")
        parts.append(" ".join(lines))
    return "\n\n".join(parts)


def _settings(rows: pd.DataFrame, found: Scores, target: str, arm: str) -> str:
    """The settings of an arm that validation chose most often."""
    chosen = found.chosen[(found.chosen["arm"] == arm) & (found.chosen["target"] == target)]
    columns = varied_settings(rows)
    own = rows[rows["run"].isin(chosen["run"])].drop_duplicates("run").set_index("run")[columns]
    own = own.loc[chosen.sort_values("validation")["run"]]
    # One that was trained: the combination chosen most often, of several the one with the lowest validation error.
    counts = own.groupby(columns, sort=False, dropna=False)[columns[0]].transform("size")
    best = own.iloc[int(counts.to_numpy().argmax())]
    varied = [name for name in columns if rows.loc[rows["arm"] == arm, name].nunique() > 1]
    return f"arm `{arm}` with " + ", ".join(f"{name} {best[name]}" for name in varied)


def varied_settings(rows: pd.DataFrame) -> list[str]:
    """The settings that differ among the trainings of some arm."""
    trained = rows[rows["run"] >= 0].groupby("arm")
    return [name for name in ARM_FIELDS if name in rows and (trained[name].nunique() > 1).any()]


def own_tables(rows: pd.DataFrame, groups: GroupResults) -> list[Table]:
    """Errors of every arm, changes against plain regression, and what validation chose; one of each per target."""
    found = read_scores(rows, groups)
    made = []
    for target in targets_of(found):
        made += [_errors(found, target), _changes(found, target), _choices(rows, found, target)]
    return made


def _errors(found: Scores, target: str) -> Table:
    folds = len(found.of(target, "mae"))
    lines = []
    for arm in (*shown_arms(found), *found.kinds):
        cells = {"arm": label(arm), "kind": found.families.get(arm, "as validation chose")}
        for measure, title in MEASURES.items():
            values = found.of(target, measure)[arm]
            cells[title] = f"{values.mean():.4g} ± {values.std():.2g}" if values.notna().any() else "–"
        lines.append(cells)
    frame = pd.DataFrame(lines)
    rare = found.chosen.loc[(found.chosen["target"] == target) & (found.chosen["arm"] == "constant"), "rare_n"]
    note = (
        f"Mean ± standard deviation over {folds} test folds. Of every arm the setting with the lowest validation MAE "
        f"is tested, once. Balanced: the mean over {RANGES} ranges of the target; rare: {rare.mean():.0f} rows a fold, "
        f"in ranges with less than {FEW:.0%} of an even share of the training rows. Constant and median: of the "
        "training targets."
    )
    return Table(f"Errors: {target}", note, frame, frame)


def _changes(found: Scores, target: str) -> Table:
    arms = shown_arms(found)
    lines = []
    for arm in arms:
        cells = {"arm": label(arm), "kind": found.families[arm]}
        for measure, title in MEASURES.items():
            cells[title] = said(change(found, target, measure, arm, several=len(found.families)))
        lines.append(cells)
    frame = pd.DataFrame(lines)
    note = (
        "Against plain regression: on every fold that of its arms with the lowest validation error. The intervals of a "
        f"column hold together, for all of its {len(arms)} lines ({100 * LEVEL:.0f} %, Bonferroni), and allow for "
        f"training sets that overlap (Nadeau and Bengio). Those of the verdict hold for its {asked(found)} comparisons."
    )
    return Table(f"Against plain regression: {target}", note, frame, frame)


def _choices(rows: pd.DataFrame, found: Scores, target: str) -> Table:
    lines = []
    shown = varied_settings(rows)
    for arm in shown_arms(found):
        if found.families[arm] == REFERENCE:
            continue
        part = found.chosen[(found.chosen["arm"] == arm) & (found.chosen["target"] == target)]
        own = rows[rows["run"].isin(part["run"])].drop_duplicates("run")
        cells = {"arm": label(arm), "settings tried": f"{part['tried'].min():.0f}–{part['tried'].max():.0f}"}
        for name in shown:
            counts = own[name].value_counts()
            cells[name] = ", ".join(f"{value} ({count})" for value, count in counts.items()) or "–"
        lines.append(cells)
    note = "By test fold: how often the validation set chose a value. Every arm had as many settings to choose from."
    return Table(f"What validation chose: {target}", note, pd.DataFrame(lines), None)
