"""Should this regression have a classification loss? What the scores of a table say, in plain words."""

from typing import NamedTuple

import numpy as np
import pandas as pd

from regcls_jax.report.own.scores import CLASSES, MEASURES, PLAIN, REFERENCE, WEIGHTING, Scores
from regcls_jax.report.statistics import LEVEL, Interval, interval
from regcls_jax.report.tables import label

HELPS, HARMS, OPEN = "helps", "harms", "open"


class Change(NamedTuple):
    """The change of a measure by an arm in per cent of the baseline's mean, and its interval."""

    arm: str
    baseline: str
    measure: str
    mean: float
    interval: Interval

    @property
    def effect(self) -> str:
        """What the interval says."""
        if self.interval.high < 0:
            return HELPS
        return HARMS if self.interval.low > 0 else OPEN


class Answer(NamedTuple):
    """What is said of one target.

    headline: one sentence.
    sentences: the evidence.
    arm: the arm to use, or None where plain regression is as good.
    """

    headline: str
    sentences: list[str]
    arm: str | None


def compared(scores: Scores) -> int:
    """How many comparisons a table makes: the arms beside the baseline."""
    return max(1, sum(family != REFERENCE for family in scores.families.values()) - 1)


def change(scores: Scores, target: str, measure: str, arm: str, baseline: str) -> Change:
    """An arm against a baseline on the same test folds.

    The interval allows for training sets that overlap (Nadeau and Bengio 2003), and for the number of comparisons
    (Bonferroni).
    """
    found = scores.of(target, measure)[[arm, baseline]].dropna()
    scale = 100 / found[baseline].mean() if len(found) else np.nan
    values = (found[arm] - found[baseline]).to_numpy() * scale
    labels = [found.index.get_level_values(name).to_numpy() for name in ("fold", "repetition")]
    labels = labels if len(set(labels[1])) > 1 else labels[:1]
    level = 1 - (1 - LEVEL) / compared(scores)
    ends = interval(values, labels, folds=True, level=level) if len(found) > 1 else Interval(np.nan, np.nan)
    return Change(arm, baseline, measure, float(values.mean()) if len(found) else np.nan, ends)


def said(found: Change) -> str:
    """A change as text: −7.1 % [−11.2, −3.0]."""
    if not np.isfinite(found.mean):
        return "–"
    ends = ", ".join(f"{end:+.1f}" for end in found.interval) if np.isfinite(found.interval.low) else "–"
    return f"{found.mean:+.1f} % [{ends}]"


def _effects(found: dict[str, Change]) -> str:
    names = {"mae": "overall", "rare_mae": "on rare targets"}
    return ", ".join(f"{said(found[measure])} MAE {where}" for measure, where in names.items() if measure in found)


def _changes(scores: Scores, target: str, arm: str, baseline: str) -> dict[str, Change]:
    has_rare = scores.of(target, "rare_mae")[[arm, baseline]].notna().all(axis=1).any()
    measures = ("mae", "rare_mae") if has_rare else ("mae",)
    return {measure: change(scores, target, measure, arm, baseline) for measure in measures}


def _is_gain(found: dict[str, Change]) -> bool:
    """One of them better, none of them worse."""
    effects = [each.effect for each in found.values()]
    return HELPS in effects and HARMS not in effects


def answer(scores: Scores, target: str) -> Answer:
    """The verdict on one target. Families of arms meet by the arm that has the lowest validation error, tested once."""
    baseline = scores.best(target, PLAIN)
    if baseline is None:
        return Answer("No plain regression ended with a finite error: look at the learning rates.", [], None)
    sentences, headline, use = [], "", None
    best = {family: scores.best(target, family) for family in (CLASSES, WEIGHTING)}
    found = {family: _changes(scores, target, arm, baseline) for family, arm in best.items() if arm is not None}
    plain = f"plain regression ({label(baseline)})"
    if CLASSES not in found:
        headline = "No arm with classes ended with a finite error."
    elif _is_gain(found[CLASSES]):
        use = best[CLASSES]
        headline = f"Add it: {label(str(use))} changes {plain} by {_effects(found[CLASSES])}."
    else:
        harms = any(each.effect == HARMS for each in found[CLASSES].values())
        word = "It harms here" if harms else "It does not help here"
        headline = f"{word}: {label(str(best[CLASSES]))} changes {plain} by {_effects(found[CLASSES])}."
    if WEIGHTING in found:
        verb = "does help" if _is_gain(found[WEIGHTING]) else "does not help, either"
        if use is not None:
            verb = "helps, too" if _is_gain(found[WEIGHTING]) else "does not help"
        elif _is_gain(found[WEIGHTING]):
            use = best[WEIGHTING]
        sentences.append(
            f"Weighting the loss by the density of the targets {verb}: {label(str(best[WEIGHTING]))} "
            f"{_effects(found[WEIGHTING])}."
        )
    means = scores.of(target, "mae").mean()
    networks = [arm for arm in (baseline, *best.values()) if arm is not None]
    for reference, name in (("boosting", "Gradient boosting"), ("ridge", "Ridge regression")):
        if reference not in means:
            continue
        against = [change(scores, target, "mae", reference, arm) for arm in networks]
        if all(each.effect == HELPS for each in against):
            least = max(against, key=lambda each: each.mean)
            text = f"{name} beats every network here ({said(least)} MAE against {label(least.baseline)})"
            headline = f"{text}: use it. As for the networks: {headline[0].lower()}{headline[1:]}"
            break
    sentences.append(_beside(means, baseline))
    if not np.isfinite(scores.of(target, "rare_mae")[baseline]).any():
        sentences.append("No range of the target is rare here, so there is nothing that balancing could gain.")
    return Answer(headline, sentences, use)


def _beside(means: pd.Series, baseline: str) -> str:
    """Mean test MAEs of what needs no network."""
    names = {"constant": "the mean", "median": "the median", "ridge": "ridge regression", "boosting": "boosting"}
    there = [f"{text} {means[name]:.4g}" for name, text in names.items() if name in means]
    return f"Test {MEASURES['mae']}: {label(baseline)} {means[baseline]:.4g}, {', '.join(there)}."
