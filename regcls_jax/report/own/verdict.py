"""Should this regression have a classification loss? What the scores of a table say, in plain words."""

from typing import NamedTuple

import numpy as np
import pandas as pd

from regcls_jax.report.own.scores import CLASSES, MEASURES, PLAIN, WEIGHTING, Scores
from regcls_jax.report.statistics import LEVEL, Interval, interval
from regcls_jax.report.tables import label, percent_change

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


# Whether classes help, and whether weighting does.
WEIGHTING_VERBS = {
    (True, True): "helps, too",
    (True, False): "does not help",
    (False, True): "helps",
    (False, False): "does not help, either",
}


def asked(scores: Scores) -> int:
    """What the verdict compares: every kind of networks with plain regression, on all rows and on rare ones."""
    return 2 * (len(scores.kinds) - 1)


def change(scores: Scores, target: str, measure: str, arm: str, baseline: str = PLAIN, several: int = 0) -> Change:
    """An arm, or a kind of networks, against a baseline on the same test folds.

    The interval allows for training sets that overlap (Nadeau and Bengio 2003), and for `several` comparisons that are
    made together (Bonferroni; 0: those of the verdict, `asked`).
    """
    found = scores.of(target, measure)[[arm, baseline]].dropna()
    scale = 100 / found[baseline].mean() if len(found) else np.nan
    values = (found[arm] - found[baseline]).to_numpy() * scale
    labels = [found.index.get_level_values(name).to_numpy() for name in ("fold", "repetition")]
    labels = labels if len(set(labels[1])) > 1 else labels[:1]
    level = 1 - (1 - LEVEL) / max(1, several or asked(scores))
    ends = interval(values, labels, folds=True, level=level) if len(found) > 1 else Interval(np.nan, np.nan)
    return Change(arm, baseline, measure, float(values.mean()) if len(found) else np.nan, ends)


def said(found: Change) -> str:
    """A change as text, see `tables.percent_change`."""
    return percent_change(found.mean, found.interval)


def _effects(found: dict[str, Change]) -> str:
    names = {"mae": "overall", "rare_mae": "on rare targets"}
    return ", ".join(f"{said(found[measure])} MAE {where}" for measure, where in names.items() if measure in found)


def _changes(scores: Scores, target: str, family: str) -> dict[str, Change]:
    has_rare = scores.of(target, "rare_mae")[[family, PLAIN]].notna().all(axis=1).any()
    measures = ("mae", "rare_mae") if has_rare else ("mae",)
    return {measure: change(scores, target, measure, family) for measure in measures}


def _is_gain(found: dict[str, Change]) -> bool:
    """One of them better, none of them worse."""
    effects = [each.effect for each in found.values()]
    return HELPS in effects and HARMS not in effects


def answer(scores: Scores, target: str) -> Answer:
    """The verdict on one target: kinds of networks against plain regression, each as validation chose it by fold."""
    usual = {family: scores.usual(target, family) for family in scores.kinds}
    if usual[PLAIN] is None:
        return Answer("No plain regression ended with a finite error: look at the learning rates.", [], None)
    found = {
        family: _changes(scores, target, family) for family, arm in usual.items() if family != PLAIN and arm is not None
    }
    use = next((usual[family] for family, changes in found.items() if _is_gain(changes)), None)
    if CLASSES not in usual:
        headline = f"There is no arm with a classification loss; plain regression is mostly {label(str(usual[PLAIN]))}."
    elif CLASSES not in found:
        headline = "No arm with classes ended with a finite error."
    else:
        harms = any(each.effect == HARMS for each in found[CLASSES].values())
        word = "It harms here" if harms else "It does not help here"
        word = "Add it" if _is_gain(found[CLASSES]) else word
        named = (
            f"classes (mostly {label(str(usual[CLASSES]))}) change plain regression (mostly {label(str(usual[PLAIN]))})"
        )
        headline = f"{word}: {named} by {_effects(found[CLASSES])}."
    sentences = []
    if WEIGHTING in found:
        verb = WEIGHTING_VERBS[_is_gain(found.get(CLASSES, {})), _is_gain(found[WEIGHTING])]
        sentences.append(
            f"Weighting the loss, by density or error (mostly {label(str(usual[WEIGHTING]))}), {verb}: "
            f"{_effects(found[WEIGHTING])}."
        )
    for family, changes in found.items():
        if family not in (CLASSES, WEIGHTING):
            found_there = "a gain" if _is_gain(changes) else "no gain"
            name = f"{family.capitalize()} (mostly {label(str(usual[family]))})"
            sentences.append(f"{name}: {found_there}, {_effects(changes)}.")
    if (reference := _better_reference(scores, target)) is not None:
        headline = f"{reference} As for the networks: {headline[0].lower()}{headline[1:]}"
    sentences.append(_beside(scores.of(target, "mae").mean()))
    if not np.isfinite(scores.of(target, "rare_mae")[PLAIN]).any():
        sentences.append("No range of the target is rare here, so there is nothing that balancing could gain.")
    return Answer(headline, sentences, use)


def _better_reference(scores: Scores, target: str) -> str | None:
    """The reference with the lowest error, if it beats every kind of networks."""
    means = scores.of(target, "mae").mean()
    there = [name for name in ("boosting", "ridge") if name in means and np.isfinite(means[name])]
    if not there:
        return None
    best = min(there, key=lambda name: means[name])
    networks = [family for family in scores.kinds if np.isfinite(means[family])]
    against = [change(scores, target, "mae", best, family) for family in networks]
    if not all(each.effect == HELPS for each in against):
        return None
    least = max(against, key=lambda each: each.mean)
    against_least = f"{said(least)} MAE against {least.baseline} networks"
    return f"{label(best).capitalize()} beats every network here ({against_least}): use it."


def _beside(means: pd.Series) -> str:
    """Mean test MAEs of what needs no network."""
    names = {"constant": "the mean", "median": "the median", "ridge": "ridge regression", "boosting": "boosting"}
    there = [f"{text} {means[name]:.4g}" for name, text in names.items() if name in means]
    return f"Test {MEASURES['mae']}: plain regression {means[PLAIN]:.4g}, {', '.join(there)}."
