"""Tables as people read them: labels, number formats, Markdown."""

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from regcls_jax.report.paper.published import SAMPLINGS, SCENARIOS
from regcls_jax.report.statistics import Comparison, Interval, finite_mean

ALL = "all"  # stands in the `classes` column where the class counts are pooled
SIGNS = "Differences are arm − baseline in mean squared error: negative means that the arm is better."
LABELS = {
    "reg": "reg",
    "reg_fine": "reg, fine grid",
    "reg_x_lambda": "reg×λ",
    "reg_no_decay": "reg, no decay",
    "reg_cls": "reg+cls",
    "reg_cls_bal": "reg+cls bal",
    "reg_cls_no_decay": "reg+cls, no decay",
    "gai": "GAI",
    "gai_x_lambda": "GAI×λ",
    "bni": "BNI",
    "bni_x_lambda": "BNI×λ",
    "bmc": "BMC",
    "bmc_x_lambda": "BMC×λ",
    "inverse": "inverse",
    "inverse_x_lambda": "inverse×λ",
    "sqrt_inv": "√inverse",
    "sqrt_inv_x_lambda": "√inverse×λ",
    "lds": "LDS",
    "lds_x_lambda": "LDS×λ",
    "reg_std": "reg, standardised",
    "reg_member": "memberships",
    "membership": "memberships",
    "cls_head": "reg+cls, read from the class head",
    "hl_gauss": "HL-Gauss",
    "two_hot": "two-hot",
    "sord": "SORD",
    "squared_emd": "squared EMD",
    "corn": "CORN",
    "coral": "CORAL",
    "ordinal_entropy": "ordinal entropy",
    "ranksim": "RankSim",
    "conr": "ConR",
    "rank_n_contrast": "Rank-N-Contrast",
    "uvote": "UVOTE",
    "evidential": "evidential head",
    "dense": "DenseWeight",
    "mixup": "C-Mixup",
    "sam": "SAM",
    "bsam": "BSAM",
    "focal": "Focal-R",
    "lds_inverse": "LDS of the inverse",
    "cosine": "line through the cosine",
    "ridge": "ridge regression",
    "boosting": "gradient boosting",
    "constant": "constant",
    "median": "median",
}
TRIVIAL = ("constant", "median")
_ORDER = {
    column: {value: place for place, value in enumerate(values)}
    for column, values in (("scenario", SCENARIOS), ("sampling", SAMPLINGS), ("arm", LABELS))
}


class Slider(NamedTuple):
    """The `columns` of a table of which a page can show one at a time, and the `name` of what they differ in."""

    name: str
    columns: tuple[str, ...]


class Table(NamedTuple):
    """A titled table whose cells are text, and the part of it short enough to print (None: nothing)."""

    title: str
    note: str
    frame: pd.DataFrame
    console: pd.DataFrame | None
    slider: Slider | None = None


class Report(NamedTuple):
    """A study reported: its name, config and meta.json, the rows worth keeping, tables, and figures as files.

    `besides` are the files of a study that has more than rows, `signs` is how to read a difference, `models` counts
    trained models and trivial predictors; `remarks` is Markdown: what is missing, which runs diverged; so is the
    `verdict`, what came out in a sentence or two.
    """

    name: str
    config: dict[str, Any]
    meta: dict[str, Any]
    rows: pd.DataFrame
    besides: dict[str, pd.DataFrame]
    signs: str
    models: int
    remarks: str
    tables: list[Table]
    figures: dict[str, bytes]
    verdict: str


# What the name of an arm may end with: a number of classes, λ or that it was chosen, a standardised output.
_SETTING = r"\d+|(?:lambda_)?lam_[^_]+|lambda|std"
_WORDS = {"std": "standardised", "lambda": "λ chosen"}


def label(arm: str) -> str:
    """What a reader sees for an arm; one that is no variant of an arm with a label keeps its name."""
    name, comma, values = arm.partition(", ")
    if comma:  # the settings of an arm that has several, as they are
        return f"{label(name)}, {values}"
    if arm in LABELS:
        return LABELS[arm]
    # Trainings of the loop are named after an arm and what they set: reg_cls_100_std.
    parts = arm.split("_")
    for end in range(len(parts) - 1, 0, -1):
        if (name := "_".join(parts[:end])) in LABELS and (set_to := _settings("_".join(parts[end:]))):
            return f"{LABELS[name]} ({', '.join(set_to)})"
    return arm


def _settings(text: str) -> list[str]:
    """What follows the name of an arm, in words; a number alone counts classes. Empty where some of it has no word."""
    if not re.fullmatch(rf"({_SETTING})(_({_SETTING}))*", text):
        return []
    return [_WORDS.get(part) or re.sub("^(lambda_)?lam_", "λ ", part) for part in re.findall(_SETTING, text)]


def arm_place(arm: str) -> tuple[bool, int]:
    """Sorts arms as `LABELS` does, those without a label after them, and what needs no training last."""
    return arm in TRIVIAL, _ORDER["arm"].get(arm, len(LABELS))


def in_order(frame: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
    """Lines sorted by some columns, renumbered: scenarios, samplings and arms as in the paper, unknown ones last."""

    def place(column: pd.Series) -> pd.Series:
        return column.map(_ORDER[column.name]) if column.name in _ORDER else column

    return frame.sort_values(list(by), key=place, ignore_index=True)


def trivial_text(rows: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
    """The columns constant and median, to join on `by`: the mean MSE of the trivial predictors."""
    means = rows[rows["arm"].isin(TRIVIAL)].groupby([*by, "arm"])["mse"].agg(finite_mean)
    return means.unstack().map(number)


def number(value: float, sign: bool = False, decimals: int = 3) -> str:
    """An error, a dash where there is none."""
    return f"{value:{'+' if sign else ''}.{decimals}f}" if np.isfinite(value) else "–"


def percent(share: float) -> str:
    """A share in percent, a dash where there is none."""
    return f"{100 * share:.1f}" if np.isfinite(share) else "–"


def interval(ends: Interval, decimals: int = 3) -> str:
    """An interval of differences, a dash where there is none."""
    if not np.isfinite(ends.low):
        return "–"
    return f"[{number(ends.low, sign=True, decimals=decimals)}, {number(ends.high, sign=True, decimals=decimals)}]"


def percent_change(mean: float, ends: Interval) -> str:
    """A change in per cent with its interval, −7.1 % [−11.2, −3.0]; dashes for what is not known."""
    if not np.isfinite(mean):
        return "–"
    return f"{mean:+.1f} % [{', '.join(f'{end:+.1f}' for end in ends) if np.isfinite(ends.low) else '–'}]"


def share_interval(ends: Interval) -> str:
    """An interval of a share in percent, a dash where there is none."""
    return f"[{percent(ends.low)}, {percent(ends.high)}]" if np.isfinite(ends.low) else "–"


def comparison_cells(result: Comparison) -> dict[str, str]:
    """The columns that every comparison is reported with."""
    return {
        "pairs": str(result.n),
        "diverged": str(result.diverged),
        "wins %": percent(result.rate),
        "Wilson 95 %": share_interval(result.wilson),
        "wins, two-way 95 %": share_interval(result.rate_two_way),
        "difference": number(result.difference, sign=True),
        "difference, paired t 95 %": interval(result.independent),
        "difference, two-way 95 %": interval(result.two_way),
    }


def cells(table: pd.DataFrame) -> list[list[str]]:
    """The lines of a table as text; a dash for what is missing."""
    # Since pandas 3, astype(str) leaves NaN a number.
    lines: list[list[str]] = table.astype(object).where(table.notna(), "–").astype(str).to_numpy().tolist()
    return lines


def markdown(table: pd.DataFrame) -> str:
    """A frame as a Markdown table, padded so that the source reads as well as the page; a dash for what is missing."""
    lines = [list(table.columns), *cells(table)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(table.columns))]
    lines.insert(1, ["-" * width for width in widths])
    return "\n".join("| " + " | ".join(map(str.ljust, line, widths)) + " |" for line in lines)
