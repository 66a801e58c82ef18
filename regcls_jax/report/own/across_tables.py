"""Tables and the answer of a comparison over several tables."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from regcls_jax.report.own.across import Overall, Problem, Ranks, means, overall, ranks
from regcls_jax.report.own.scores import CLASSES, FEATURES, ORDINAL, PLAIN, SOFT, SPREAD, TRAINING, WEIGHTING
from regcls_jax.report.own.tables import shown_arms
from regcls_jax.report.own.verdict import HARMS, HELPS, Change, change, said
from regcls_jax.report.statistics import LEVEL
from regcls_jax.report.tables import Table, label, percent_change

# The two errors that are compared.
MEASURES = {"mae": "all rows", "rare_mae": "rare targets"}
NAMES = {
    CLASSES: "Classes change",
    SOFT: "Soft classes change",
    SPREAD: "Heads with a spread change",
    ORDINAL: "Ordinal heads change",
    FEATURES: "Losses that shape the features change",
    WEIGHTING: "Weighting the loss changes",
    TRAINING: "Mixing samples and flat minima change",
}


def kinds(problems: Sequence[Problem]) -> list[str]:
    """The kinds of networks that are compared with plain ones."""
    return [kind for kind in problems[0].scores.kinds if kind != PLAIN]


def changes(problems: Sequence[Problem], kind: str, measure: str) -> list[Change]:
    """A kind of networks against plain regression on every problem; the intervals hold for all problems together."""
    return [change(each.scores, each.target, measure, kind, several=len(problems)) for each in problems]


def answer(problems: Sequence[Problem]) -> str:
    """What came out, as Markdown."""
    parts = []
    errors = {measure: means(problems, measure) for measure in MEASURES}
    for kind in kinds(problems):
        found = [f"{_overall(overall(errors[measure], kind))} on {where}" for measure, where in MEASURES.items()]
        parts.append(
            f"**{NAMES[kind]} the MAE of plain regression by {' and '.join(found)}.** {_beyond_doubt(problems, kind)}"
        )
    if "boosting" in problems[0].scores.families:
        best = overall(errors["mae"], "boosting")
        parts.append(f"Gradient boosting against plain regression: {_overall(best)} on all rows.")
    return "\n\n".join(parts)


def _overall(found: Overall) -> str:
    if not found.problems:
        return "–"
    return f"{percent_change(found.mean, found.interval)} (better on {found.better} of {found.problems})"


def _beyond_doubt(problems: Sequence[Problem], kind: str) -> str:
    """On which problems the interval leaves zero out."""
    found = []
    for measure, where in MEASURES.items():
        effects = changes(problems, kind, measure)
        for effect, verb in ((HELPS, "lower"), (HARMS, "higher")):
            names = [
                f"{each.name} {said(one)}" for each, one in zip(problems, effects, strict=True) if one.effect == effect
            ]
            if names:
                found.append(f"{where} {verb} on {', '.join(names)}")
    return (
        f"Zero is outside the interval: {'; '.join(found)}." if found else "On no target is zero outside the interval."
    )


def across_tables(problems: Sequence[Problem]) -> list[Table]:
    """Changes by problem, over all problems, mean ranks, and mean errors."""
    return [
        _by_problem(problems),
        _over_all(problems),
        *(_ranks(problems, measure) for measure in MEASURES),
        *(_errors(problems, measure) for measure in MEASURES),
    ]


def _by_problem(problems: Sequence[Problem]) -> Table:
    columns: dict[str, list[str]] = {
        "table: target": [each.name for each in problems],
        "imbalance": [f"{each.imbalance:.2f}" for each in problems],
    }
    for kind in kinds(problems):
        for measure, where in MEASURES.items():
            columns[f"{kind}, {where}"] = [said(each) for each in changes(problems, kind, measure)]
    frame = pd.DataFrame(columns)
    note = (
        "Change of the test MAE against plain regression, each kind by its arm with the lowest validation MAE on a "
        f"fold; evenest targets first. The intervals of a column hold together ({LEVEL:.0%}, Bonferroni, Nadeau and "
        "Bengio's variance)."
    )
    return Table("Classes and weighting, table by table", note, frame, frame)


def _over_all(problems: Sequence[Problem]) -> Table:
    lines = []
    errors = {measure: means(problems, measure) for measure in MEASURES}
    for arm in (*shown_arms(problems[0].scores), *kinds(problems)):
        kind = problems[0].scores.families.get(arm, "as validation chose")
        cells = {"arm": label(arm), "kind": kind}
        for measure, where in MEASURES.items():
            cells[where] = _overall(overall(errors[measure], arm))
        lines.append(cells)
    frame = pd.DataFrame(lines)
    note = (
        "Geometric mean over the targets (in brackets how many have the error) of the MAE's ratio to that of plain "
        f"regression, with its t interval over targets ({LEVEL:.0%}, not corrected for the number of lines), which are "
        "taken to be independent, so of different tables."
    )
    return Table("Over all tables", note, frame, frame)


def _ranks(problems: Sequence[Problem], measure: str) -> Table:
    found = ranks(problems, measure)
    frame = pd.DataFrame(
        {
            "arm": [label(str(arm)) for arm in found.mean.index],
            "mean rank": [f"{rank:.2f}" for rank in found.mean],
        }
    )
    return Table(f"Mean ranks, {MEASURES[measure]}", said_of(found), frame, frame)


def said_of(found: Ranks) -> str:
    """How to read mean ranks."""
    if not np.isfinite(found.critical):
        return f"Ranks of the MAE (1: lowest) on {found.problems} target(s): too few to compare."
    return (
        f"Ranks of the MAE (1: lowest) among {len(found.mean)} arms, mean over {found.problems} targets. Friedman's "
        f"test that all are alike: p = {found.p:.2g}. Two mean ranks closer than {found.critical:.2f} do not differ "
        f"(Nemenyi, {LEVEL:.0%})."
    )


def _errors(problems: Sequence[Problem], measure: str) -> Table:
    errors = means(problems, measure)
    arms = shown_arms(problems[0].scores)
    frame = errors[arms].T.map(lambda value: f"{value:.4g}" if np.isfinite(value) else "–")
    frame = frame.rename_axis(index="arm").rename(index=label).reset_index()
    frame = frame.rename_axis(columns=None)
    note = "Mean test MAE over the folds, in target units."
    return Table(f"MAE, {MEASURES[measure]}", note, frame, None)
