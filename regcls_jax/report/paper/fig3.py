"""The tables of Fig. 3: ours beside the published runs, the controls, and the acceptance check."""

import numpy as np
import pandas as pd

from regcls_jax.report import tables
from regcls_jax.report.effects import (
    TOO_NARROW,
    TWO_WAY,
    Question,
    effect_lines,
    effects,
    effects_table,
    first_lines,
    groups_by,
)
from regcls_jax.report.paper.groups import by_balance
from regcls_jax.report.paper.published import CELL, SAMPLINGS, published_fig3, sort_cells
from regcls_jax.report.statistics import finite_mean, gap, paired, win_rate
from regcls_jax.report.tables import ALL, Table, label, number, percent

COMPARISONS = (
    ("reg_cls", "reg"),
    ("reg_cls", "reg_x_lambda"),
    ("reg_cls_no_decay", "reg_no_decay"),
    ("reg_x_lambda", "reg"),
    ("reg_no_decay", "reg"),
)
VERDICTS = (("clean", "noisy"), ("ood",))  # scenarios that are pooled
JUDGED = ("clean", "noisy")  # out of distribution the published effect has no consistent sign
WIN_RATE_TOLERANCE = 0.15
MEAN_TOLERANCE = 0.08


def ours_fig3(rows: pd.DataFrame) -> pd.DataFrame:
    """Our runs in the form of the published aggregate: one line per cell and class count.

    Args:
      rows: test rows of the study.

    Returns:
      scenario, sampling, classes, n, wins, reg_mean, reg_cls_mean; cells that lack reg or reg_cls are absent.
    """
    lines = []
    for (scenario, sampling), cell in rows.groupby(CELL):
        if not {"reg", "reg_cls"} <= set(cell["arm"]):
            continue
        for classes, pairs in paired(cell, "reg_cls", "reg").groupby("classes"):
            wins, _, _ = win_rate(pairs["arm"].to_numpy(float), pairs["baseline"].to_numpy(float))
            means = finite_mean(pairs["baseline"]), finite_mean(pairs["arm"])
            lines.append((scenario, sampling, classes, len(pairs), wins, *means))
    return pd.DataFrame(lines, columns=[*CELL, "classes", "n", "wins", "reg_mean", "reg_cls_mean"])


def _with_pooled(aggregate: pd.DataFrame) -> pd.DataFrame:
    """Adds win rate, difference, and a line per cell that pools its class counts (classes 0, with gap)."""
    cells = aggregate.groupby(CELL, sort=False)
    pooled = cells.agg(n=("n", "sum"), wins=("wins", "sum"), reg_mean=("reg_mean", "mean"))
    pooled["reg_cls_mean"] = cells["reg_cls_mean"].mean()
    pooled["gap"] = pd.Series({key: gap(part["reg_mean"], part["reg_cls_mean"]) for key, part in cells})
    frame = pd.concat([pooled.assign(classes=0).reset_index(), aggregate], ignore_index=True)
    frame["win_rate"] = frame["wins"] / frame["n"]
    frame["difference"] = frame["reg_cls_mean"] - frame["reg_mean"]
    return frame


def beside_published(rows: pd.DataFrame) -> pd.DataFrame:
    """Ours beside the published runs, per cell and class count, and pooled over the class counts that we ran.

    Args:
      rows: test rows of the study.

    Returns:
      Numbers in panel order: scenario, sampling, classes (0: pooled), and n, wins, reg_mean, reg_cls_mean,
      win_rate, difference, gap (pooled lines only), each also with the suffix `_published`.
    """
    ours = ours_fig3(rows)
    keys = [*CELL, "classes"]
    theirs = ours[keys].merge(published_fig3()[ours.columns], on=keys)
    merged = _with_pooled(ours).merge(_with_pooled(theirs), "left", keys, suffixes=("", "_published"))
    return sort_cells(merged)


def agreement(beside: pd.DataFrame) -> pd.DataFrame:
    """The acceptance check of the clean and noisy cells against the published runs (recipes 4.5).

    Per cell, class counts pooled: the sign of the difference of means; its rank among the samplings of the
    scenario (published, the effect grows with the imbalance); the win rate within 15 points; the means of reg
    and reg+cls within .08. A value that is missing on either side fails.

    Args:
      beside: what `beside_published` returns.

    Returns:
      scenario, sampling, check, ours, published, passed: one line per cell and check.
    """
    pooled = beside[(beside["classes"] == 0) & beside["scenario"].isin(JUDGED)]
    by_scenario = pooled.groupby("scenario")
    checks = [("sign", np.sign(pooled[["difference", "difference_published"]]), 0.0)]
    checks.append(("order", by_scenario[["difference", "difference_published"]].rank(), 0.0))
    checks.append(("wins", pooled[["win_rate", "win_rate_published"]], WIN_RATE_TOLERANCE))
    checks.append(("reg", pooled[["reg_mean", "reg_mean_published"]], MEAN_TOLERANCE))
    checks.append(("reg+cls", pooled[["reg_cls_mean", "reg_cls_mean_published"]], MEAN_TOLERANCE))
    rounding = 1e-9  # .80 − .65 exceeds .15 in floating point
    pieces = []
    for check, values, tolerance in checks:
        piece = pooled[CELL].assign(check=check, ours=values.iloc[:, 0], published=values.iloc[:, 1])
        piece["passed"] = (piece["ours"] - piece["published"]).abs() <= tolerance + rounding
        pieces.append(piece)
    return pd.concat(pieces, ignore_index=True)


def _beside_text(lines: pd.DataFrame, trivial: pd.DataFrame, shown: list[str]) -> pd.DataFrame:
    text = lines[CELL].assign(classes=[str(c or ALL) for c in lines["classes"]], pairs=lines["n"].astype(str))
    for name in shown:
        form = percent if name == "win_rate" else lambda x, sign=name == "difference": number(x, sign)
        title = {"reg_mean": "reg", "reg_cls_mean": "reg+cls", "win_rate": "wins %"}.get(name, name)
        text[title] = lines[name].map(form)
        text[f"{title} (publ.)"] = lines[f"{name}_published"].map(form)
    return text.join(trivial, on=CELL)


def _beside_tables(rows: pd.DataFrame, beside: pd.DataFrame) -> list[Table]:
    trivial = tables.trivial_text(rows, CELL)
    shown = ["reg_mean", "reg_cls_mean", "difference", "win_rate"]
    pooled = beside["classes"] == 0
    overall = _beside_text(beside[pooled], trivial, [*shown, "gap"])
    note = (
        "Mean test MSE over functions and repetitions; (publ.): the authors' released runs, 50 per cell and "
        "class count. Wins: share of runs with a strictly lower MSE than reg. Gap: mean over class counts of "
        "|mean reg − mean reg+cls|. Constant and median predict the mean and median of the training targets."
    )
    return [
        Table("Ours beside published, class counts pooled", note, overall, overall),
        Table(
            "Ours beside published, per class count",
            note,
            _beside_text(beside[~pooled], trivial, shown),
            None,
        ),
    ]


def _controls_table(rows: pd.DataFrame) -> Table:
    counts = sorted(rows.loc[rows["arm"] == "reg_cls_no_decay", "classes"].unique())
    columns = [("reg", 0), ("reg_x_lambda", 0), ("reg_no_decay", 0)]
    columns += [(arm, c) for c in counts for arm in ("reg_cls", "reg_cls_no_decay")] + [("constant", 0)]
    means = rows.groupby([*CELL, "arm", "classes"])["mse"].agg(finite_mean).unstack(["arm", "classes"])
    means = means.reindex(columns=pd.MultiIndex.from_tuples(columns)).map(number)
    means.columns = [label(arm) + (f" ({c})" if c else "") for arm, c in columns]
    frame = sort_cells(means.reset_index())
    note = "Mean test MSE; in brackets the class count. reg×λ: plain regression with its loss multiplied by λ."
    return Table("Controls", note, frame, frame)


def _verdict_table(rows: pd.DataFrame) -> list[Table]:
    """Every comparison over many cells at once: what is left of the effect when the baseline is not handicapped."""
    groups = [
        group
        for scenarios in VERDICTS
        for group in by_balance(rows[rows["scenario"].isin(scenarios)], {"scenarios": ", ".join(scenarios)})
    ]
    note = (
        "All cells, functions, repetitions and class counts of a line together. reg×λ is reg with its loss multiplied "
        "by the λ of reg+cls: it outweighs the coupled weight decay as reg+cls does, without any class. "
        f"{TWO_WAY}; {TOO_NARROW}."
    )
    frame = effect_lines(effects(Question(), groups, COMPARISONS), trivial=False)
    return effects_table("What the classification loss is worth", note, frame)


def _comparisons_table(rows: pd.DataFrame) -> list[Table]:
    found = effects(Question(by_classes=True), groups_by(rows, dict(zip(CELL, CELL, strict=True))), COMPARISONS)
    if not found:
        return []
    frame = effect_lines(found, classes=True, trivial=False)
    note = (
        f"Runs are paired by function, repetition and seed; with pooled class counts one baseline run serves several "
        f"pairs. {TWO_WAY}; {TOO_NARROW}. Diverged runs lose and are left out of the difference."
    )
    shown = first_lines(frame) & frame["arm"].str.startswith(label("reg_cls"))
    return [Table("Paired comparisons", note, frame, frame[shown].drop(columns="difference, paired t 95 %"))]


def _whole(beside: pd.DataFrame) -> bool:
    """Whether every judged cell has as many runs as the published one, and all samplings are there to be ranked."""
    judged = beside[beside["scenario"].isin(JUDGED)]
    samplings = judged.groupby("scenario")["sampling"].nunique()
    return bool((judged["n"] >= judged["n_published"]).all() and (samplings == len(SAMPLINGS)).all())


def _agreement_table(checks: pd.DataFrame, whole: bool) -> Table:
    """Ours beside published, check by check; judged only where the study is `whole`."""
    counted = checks["check"].isin(["sign", "order"])
    text = [
        f"{a:.0f} / {b:.0f}" if w else f"{a:.3f} / {b:.3f}"
        for a, b, w in zip(checks["ours"], checks["published"], counted, strict=True)
    ]
    cells = checks.assign(cell=pd.Series(text, checks.index))
    if whole:
        cells["cell"] += checks["passed"].map({True: " pass", False: " FAIL"})
    wide = cells.pivot(index=CELL, columns="check", values="cell")[list(checks["check"].unique())]
    frame = sort_cells(wide.rename_axis(columns=None).reset_index())
    failed = [f"{c.scenario} {c.sampling} {c.check}" for c in checks[~checks["passed"]].itertuples()]
    result = (
        f"{len(checks) - len(failed)} of {len(checks)} checks pass; failed: {', '.join(failed) or 'none'}."
        if whole
        else "Whether they agree needs the full study: as many runs a cell as were published, and all samplings."
    )
    note = (
        f"{result} Each cell is ours / published, class counts pooled: the sign of the difference, its rank among the "
        f"samplings of the scenario (1: largest gain), the win rate (within {WIN_RATE_TOLERANCE}), the mean "
        f"MSE of reg and of reg+cls (within {MEAN_TOLERANCE})."
    )
    return Table("Agreement with the published runs", note, frame, frame if whole else None)


def fig3_tables(rows: pd.DataFrame) -> list[Table]:
    """All tables of the study from its test rows; what the rows do not hold is left out.

    Raises:
      ValueError: runs that should pair up do not, or a cell is not one of Fig. 3's.
    """
    beside = beside_published(rows)
    made = _verdict_table(rows)
    made += _beside_tables(rows, beside) if len(beside) else []
    made += [_controls_table(rows), *_comparisons_table(rows)]
    checks = agreement(beside)
    return made + ([_agreement_table(checks, _whole(beside))] if len(checks) else [])
