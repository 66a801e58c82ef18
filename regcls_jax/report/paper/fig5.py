"""The tables of Fig. 5: test MSE of reg, reg+cls and reg+cls with balanced classes over the noise on the targets."""

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
from regcls_jax.report.paper.published import sort_cells
from regcls_jax.report.statistics import finite_mean
from regcls_jax.report.tables import ALL, Table, label, number

CELL = ["noise", "sampling"]
COMPARISONS = (
    ("reg_cls", "reg"),
    ("reg_cls_bal", "reg"),
    ("reg_cls_bal", "reg_cls"),
    ("reg_cls", "reg_x_lambda"),
    ("reg_cls_bal", "reg_x_lambda"),
    ("reg_x_lambda", "reg"),
    ("reg_no_decay", "reg"),
)
CLASS_ARMS = ("reg_cls", "reg_cls_bal")
REG_ARMS = ("reg", "reg_x_lambda", "reg_no_decay")


def noise_means(rows: pd.DataFrame) -> pd.DataFrame:
    """Mean test MSE per noise level, sampling and class count, and pooled over the class counts.

    Args:
      rows: test rows of the study.

    Returns:
      Numbers in panel order: scenario, noise, sampling, classes (before equalisation; 0: pooled), kept (mean number of
      balanced classes; NaN where pooled), and the mean MSE of every arm, the same on each line for one without classes.
    """
    cells = ["scenario", *CELL]
    with_classes = rows[rows["arm"].isin(CLASS_ARMS)]
    both = pd.concat([with_classes, with_classes.assign(classes=0)])
    by_class = both.groupby([*cells, "classes", "arm"])["mse"].agg(finite_mean).unstack()
    kept = with_classes[with_classes["arm"] == "reg_cls_bal"].groupby([*cells, "classes"])["classes_kept"].mean()
    others = rows[rows["arm"].isin((*REG_ARMS, *tables.TRIVIAL))]
    levels = others.groupby([*cells, "arm"])["mse"].agg(finite_mean).unstack()
    return sort_cells(by_class.join(kept.rename("kept")).reset_index().join(levels, on=cells))


def _means_tables(means: pd.DataFrame) -> list[Table]:
    pooled = means["classes"] == 0
    frame = pd.DataFrame({"σ": means["noise"].map("{:g}".format), "σ²": (means["noise"] ** 2).map("{:.4f}".format)})
    frame["sampling"] = means["sampling"]
    frame["classes"] = [str(classes or ALL) for classes in means["classes"]]
    frame["balanced"] = means["kept"].map(lambda kept: "–" if pd.isna(kept) else f"{kept:.1f}")
    for arm in (*REG_ARMS, *CLASS_ARMS, *tables.TRIVIAL):
        if arm in means:
            frame[label(arm)] = means[arm].map(number)
    note = (
        "Mean test MSE over functions and repetitions on the uniform sampling; the targets carry the noise too, so "
        "none can be below σ². Balanced: the mean number of classes that equalisation leaves of those in `classes`."
    )
    overall = frame[pooled].drop(columns="balanced")
    return [
        Table("Test MSE over the noise, class counts pooled", note, overall, overall),
        Table("Test MSE over the noise, per class count", note, frame[~pooled], None),
    ]


def _comparisons_table(rows: pd.DataFrame) -> list[Table]:
    groups = groups_by(rows, {"noise": "σ", "sampling": "sampling"}, {"noise": "{:g}"})
    found = effects(Question(by_classes=True), groups, COMPARISONS)
    if not found:
        return []
    frame = effect_lines(found, classes=True)
    note = (
        f"Runs are paired by function, repetition and seed. {TWO_WAY}; {TOO_NARROW}. Constant and median: their test "
        "MSE."
    )
    return effects_table("Paired comparisons", note, frame, first_lines(frame))


def fig5_tables(rows: pd.DataFrame) -> list[Table]:
    """All tables that the test rows allow.

    Args:
      rows: test rows of the study.

    Raises:
      ValueError: runs that should pair up do not, or a sampling is not one of the paper's.
    """
    has_classes = rows["arm"].isin(CLASS_ARMS).any()
    return [*(_means_tables(noise_means(rows)) if has_classes else []), *_comparisons_table(rows)]
