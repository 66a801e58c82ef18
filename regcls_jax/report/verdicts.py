"""What came out, in a sentence: the verdict that a page, a console and table.md show first."""

import itertools
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from regcls_jax.report import tables
from regcls_jax.report.effects import Effect, Group, Question, effects
from regcls_jax.report.paper.groups import by_balance
from regcls_jax.report.statistics import Interval, finite_mean
from regcls_jax.report.tables import TRIVIAL, label, number

VERBS = {"lower": "beats", "higher": "is worse than", "open": "does not clearly differ from", "unknown": "lies beside"}
# What a sentence calls the baselines of which a reader may not know what they are.
NAMED = {
    label("reg_x_lambda"): f"{label('reg_x_lambda')} (the same λ without classes)",
    "constant": "the constant predictor",
    "median": "the median predictor",
    "mean": "the mean of the training targets",
    "pixel_mean": "the mean of every pixel",
}
TWO_WAY = "in brackets two-way 95 % intervals over functions and repetitions"


class Against(NamedTuple):
    """An arm's mean difference from a baseline (as readers see its name), its 95 % interval, and the baseline's own
    mean error (NaN: not shown).
    """

    baseline: str
    mean: float
    ends: Interval
    level: float = float("nan")

    @property
    def direction(self) -> str:
        """Which side of zero the interval is on: a key of `VERBS`."""
        if not np.isfinite(self.ends.low):
            return "unknown"
        if self.ends.high < 0:
            return "lower"
        return "higher" if self.ends.low > 0 else "open"


def of_effect(effect: Effect) -> Against:
    """What an `effects.Effect` says against its baseline."""
    return Against(label(effect.baseline), *effect.difference, float(_finite(effect)["baseline"].mean()))


def _finite(effect: Effect) -> pd.DataFrame:
    """The pairs of which both have an error: those that the difference is of."""
    return effect.pairs[np.isfinite(effect.pairs["arm"] - effect.pairs["baseline"])]


def headline(arm: str, found: Sequence[Against], where: str = "") -> str:
    """One sentence: whether an arm (as readers see its name) beats its baselines.

    Without any interval, it says that there is none.
    """
    if all(each.direction == "unknown" for each in found):
        return f"{arm} against {' and '.join(each.baseline for each in found)}{where}: too few runs for an interval."
    parts = []
    for direction, several in itertools.groupby(found, key=lambda each: each.direction):
        names = [NAMED.get(each.baseline, each.baseline) for each in several]
        parts.append(f"{VERBS[direction]} {(' or ' if direction == 'open' else ' and ').join(names)}")
    return f"{arm} {', but '.join(parts)}{where}."


def difference(found: Against, decimals: int = 3) -> str:
    """−0.082 [−0.131, −0.033], −22 %: the difference, its interval, and in per cent of the baseline's error."""
    if not np.isfinite(found.mean):
        return "–"
    text = number(found.mean, sign=True, decimals=decimals)
    if np.isfinite(found.ends.low):
        text += f" {tables.interval(found.ends, decimals)}"
    return text + (f", {100 * found.mean / found.level:+.0f} %" if found.level > 0 else "")


def verdict(
    arm: str,
    found: Sequence[Against],
    *,
    error: str,
    where: str = "",
    note: str = "",
    beside: Mapping[str, float] | None = None,
    decimals: int = 3,
) -> str:
    """The verdict as Markdown: `headline` in bold, the differences, and mean errors beside them.

    Args:
      arm: what is judged, as readers see its name.
      found: what it is compared with, at least one.
      error: the name of the error, with its unit.
      where: what the headline ends with: on which data.
      note: what the brackets are, and how runs were chosen.
      beside: mean errors by name, of the trivial predictors, say.
      decimals: of errors.
    """
    differences = "; ".join(f"against {each.baseline} {difference(each, decimals)}" for each in found)
    parts = [
        f"**{headline(arm, found, where)}**",
        f"Difference in {error}: {differences}{f' ({note})' if note else ''}.",
    ]
    known = [
        f"{name} {number(value, decimals=decimals)}" for name, value in (beside or {}).items() if np.isfinite(value)
    ]
    if known:
        parts.append(f"Mean {error}: {', '.join(known)}.")
    return " ".join(parts)


def trivial_levels(rows: pd.DataFrame) -> str:
    """The mean test MSE of the trivial predictors as text: "constant 0.745, median 0.788"."""
    trivial = rows[(rows["split"] == "test") & rows["arm"].isin(TRIVIAL)].groupby("arm")["mse"].agg(finite_mean)
    return ", ".join(f"{label(str(arm))} {number(mean)}" for arm, mean in trivial.items())


def effects_verdict(found: Sequence[Effect], *, error: str = "test MSE", where: str = "", note: str = TWO_WAY) -> str:
    """`verdict` of the effects of one arm in one group; "" where there is none."""
    if not found:
        return ""
    beside: dict[str, float] = {}
    for each in found:
        finite = _finite(each)
        beside |= {label(each.arm): float(finite["arm"].mean()), label(each.baseline): float(finite["baseline"].mean())}
    beside |= {label(name): value for name, value in found[0].trivial.items()}
    against = [of_effect(each) for each in found]
    return verdict(label(found[0].arm), against, error=error, where=where, note=note, beside=beside)


def judged_rows(rows: pd.DataFrame) -> pd.DataFrame:
    """Those of the clean and noisy scenarios; where a study has only data out of distribution, these."""
    inside = rows[rows["scenario"] != "ood"]
    return inside if len(inside) else rows


def widest(rows: pd.DataFrame) -> Group:
    """The rows that a study of 1-D data is judged by: of the clean and noisy scenarios the imbalanced samplings.

    Or what there is of these: out of distribution the published effect has no consistent sign, so that this scenario
    counts only where it is alone.

    Args:
      rows: at least one.
    """
    judged = judged_rows(rows)
    return by_balance(judged, {"scenario": ", ".join(dict.fromkeys(judged["scenario"]))})[0]


def balance_of(group: Group) -> str:
    """Whether the data of `widest` are imbalanced or uniform."""
    return group.names["sampling"]


def loss_verdict(rows: pd.DataFrame, baselines: Sequence[str] = ("reg", "reg_x_lambda"), note: str = TWO_WAY) -> str:
    """What reg+cls is worth against reg and against reg×λ on imbalanced data; else `best_verdict`.

    Args:
      rows: test rows of a study of 1-D data.
      baselines: what it is compared with.
      note: how settings were chosen, and what the brackets are.
    """
    group = widest(rows)
    found = effects(Question(), [group], [("reg_cls", baseline) for baseline in baselines])
    if not found:
        return best_verdict(rows)
    return effects_verdict(found, note=note, where=f" on {balance_of(group)} data ({group.names['scenario']})")


def best_verdict(rows: pd.DataFrame, error: str = "mse", title: str = "test MSE", split: str = "the test set") -> str:
    """The arm of the lowest mean error, beside reg and the trivial predictors: where nothing else is known."""
    finite = rows[np.isfinite(rows[error])]
    means = finite.groupby("arm")[error].mean().sort_values(kind="stable")
    trained = [arm for arm in means.index if arm not in TRIVIAL]
    if not trained:
        return "**No training ended with a finite error.**"
    shown = dict.fromkeys([trained[0], *(arm for arm in ("reg", *TRIVIAL) if arm in means)])
    numbers = ", ".join(f"{label(arm)} {number(means[arm])}" for arm in shown)
    only = "The only arm" if len(trained) == 1 else f"Of {len(trained)} arms the lowest mean {title}"
    return f"**{only}: {label(trained[0])}.** Mean {title}: {numbers}. Seen on {split} itself, all settings pooled."
