"""When does Eq. 9 stop approximating Eq. 8? With a posterior N(y; m, s^2) that is known, over the width of the classes.

No model, no data: all lengths are in units of s. p~(y) is a peak on a broad ground, as the severe samplings are.
"""

import functools
from collections.abc import Mapping
from typing import Any

import jax
import matplotlib
import numpy as np
import pandas as pd
from jax import Array
from matplotlib.figure import Figure
from scipy import stats

from regcls_jax import binning, priors, theory
from regcls_jax.report.drawing import FONTS
from regcls_jax.report.palette import BLUE, GREY, ORANGE, VERMILION
from regcls_jax.report.tables import Table

WIDTHS = tuple(2.0**power for power in range(-4, 6))
REACH = 32.0  # of the classes on either side: nothing of p~ or of a posterior is beyond
BALANCED = 8.0  # the means of the posteriors are uniform up to here on either side, as in balanced data
MEANS, QUANTILES = 97, 33  # how many means, and targets under each
LEVELS = (0.1, 0.5)
COUNTS = 10**9  # histogram equalisation takes whole numbers
# Peaks as wide as the posterior, and a quarter of it; off the edges and centres of the classes.
_GROUND = {"mean": 0.0, "deviation": 4.0, "weight": 0.25}
PRIORS: dict[str, priors.Prior] = {
    f"mixture, peak {name}": priors.mixture_prior(
        [0.3, _GROUND["mean"]], [deviation**2, _GROUND["deviation"] ** 2], [1 - _GROUND["weight"], _GROUND["weight"]]
    )
    for name, deviation in (("s", 1.0), ("s/4", 0.25))
}
CLASSES: Mapping[str, dict[str, Any]] = {
    "uniform": {"color": BLUE, "marker": "o"},
    "equalised": {"color": ORANGE, "marker": "s"},
    "equalised, p̃ per width": {"color": VERMILION, "linestyle": (0, (5, 2))},
}


def cumulative(prior: priors.Prior, at: np.ndarray) -> np.ndarray:
    """The mass of p~ below each of `at` [n]."""
    if isinstance(prior, priors.HistogramPrior):
        return np.interp(at, np.asarray(prior.edges), np.concatenate([[0.0], np.cumsum(prior.probabilities)]))
    return stats.norm.cdf(at[:, None], prior.means, np.sqrt(prior.variances)) @ prior.weights


def as_histogram(prior: priors.MixturePrior, width: float) -> priors.HistogramPrior:
    """A mixture over bins of one width: what it is when known from counts."""
    edges = class_edges(width)
    masses = np.diff(cumulative(prior, edges))
    return priors.HistogramPrior(edges, masses / masses.sum())


def class_edges(width: float) -> np.ndarray:
    """Uniform edges over [-REACH, REACH] at one of `WIDTHS`."""
    return binning.uniform_edges(-REACH, REACH, round(2 * REACH / width))


def samples() -> tuple[np.ndarray, np.ndarray]:
    """Posterior means [M] and targets [M, Q]: the quantiles of each posterior, all equally probable."""
    means = np.linspace(-BALANCED, BALANCED, MEANS)
    return means, means[:, None] + stats.norm.ppf((np.arange(QUANTILES) + 0.5) / QUANTILES)


def eq9(prior: priors.Prior, edges: np.ndarray, means: np.ndarray, targets: np.ndarray, per_width: bool) -> np.ndarray:
    """Eq. 9 of targets [M, Q] whose posterior masses over `edges` [C + 1] are known.

    `per_width`: the class prior is mass over width, without which classes of unequal widths bias Eq. 9
    (`priors.discretised_posterior`).
    """
    masses = np.diff(cumulative(prior, edges)) / (np.diff(edges) if per_width else 1)
    classes = len(class_edges(WIDTHS[0])) - 1
    log_masses = np.full(classes, -np.inf)
    np.log(masses, out=log_masses[: len(masses)], where=masses > 0)
    # Padded, so that all widths share one compiled program.
    padded = np.append(edges, np.full(classes + 1 - len(edges), np.inf))
    return np.asarray(_eq9(log_masses, padded, means, binning.assign(targets, edges)))


_eq8 = jax.jit(theory.l_extra_gaussian)


@jax.jit
def _eq9(class_log_prior: Array, edges: Array, means: Array, labels: Array) -> Array:
    logits = priors.discretised_posterior(means, 1.0, edges)
    one_mean = jax.vmap(functools.partial(theory.l_extra_softmax, class_log_prior), (None, 0))
    return jax.vmap(one_mean)(logits, labels)


def coarsening(prior: priors.Prior) -> pd.DataFrame:
    """Eq. 9 against Eq. 8 over `WIDTHS`, for every kind of `CLASSES`.

    Returns:
      classes, width (of the uniform classes, before equalisation; in s), count (of classes), smallest and largest
      (class mass), rms (of Eq. 8), rms_classes (of Eq. 9), error (RMS of Eq. 9 - Eq. 8), maximum (of its size),
      relative (error over rms); nats.
    """
    means, targets = samples()
    lines = []
    with jax.enable_x64(True):
        exact = np.asarray(_eq8(prior, targets, np.broadcast_to(means[:, None], targets.shape), 1.0))
        for width in WIDTHS:
            uniform = class_edges(width)
            counts = np.round(COUNTS * np.diff(cumulative(prior, uniform)))
            equalised, _ = binning.equalize(counts, uniform)
            for kind, edges in zip(CLASSES, (uniform, equalised, equalised), strict=True):
                masses = np.diff(cumulative(prior, edges))
                line = {"classes": kind, "width": width, "count": len(masses)}
                line |= {"smallest": masses.min(), "largest": masses.max()}
                values = eq9(prior, edges, means, targets, kind not in ("uniform", "equalised"))
                line |= {"rms": _rms(exact), "rms_classes": _rms(values), "error": _rms(values - exact)}
                lines.append(line | {"maximum": float(np.max(np.abs(values - exact)))})
    frame = pd.DataFrame(lines)
    return frame.assign(relative=frame["error"] / frame["rms"])


def _rms(values: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(values))))


def passes(frame: pd.DataFrame, level: float) -> float:
    """The width at which the relative error first passes a level, interpolated on logarithms; 0 or inf: outside.

    frame: the lines of one kind of classes.
    """
    width, relative = (frame.sort_values("width")[name].to_numpy(float) for name in ("width", "relative"))
    above = np.flatnonzero(relative > level)
    if not len(above):
        return np.inf
    if (first := above[0]) == 0:
        return 0.0
    ends = slice(first - 1, first + 1)
    return float(np.exp(np.interp(np.log(level), np.log(relative[ends]), np.log(width[ends]))))


def _width_text(width: float) -> str:
    if width == 0:
        return f"< {WIDTHS[0]:.2g}"
    return f"{width:.2g}" if np.isfinite(width) else f"> {WIDTHS[-1]:g}"


@functools.cache
def study() -> dict[str, pd.DataFrame]:
    """`coarsening` of every prior: the mixtures of `PRIORS`, and the narrower one as a histogram of the finest bins."""
    (_, (name, narrow)) = PRIORS.items()
    assert isinstance(narrow, priors.MixturePrior)
    studied = PRIORS | {name.replace("mixture", "histogram"): as_histogram(narrow, WIDTHS[0])}
    return {name: coarsening(prior) for name, prior in studied.items()}


def _range(values: pd.Series, unit: float) -> str:
    return f"{unit * values.min():.0f} to {unit * values.max():.0f}"


def _equalised_note(frames: Mapping[str, pd.DataFrame]) -> str:
    """How far the finest equalised classes of any prior are from equal masses, and their Eq. 9 from 0 and Eq. 8."""
    every = pd.concat(frames)
    finest = every[(every["classes"] == "equalised") & (every["width"] == WIDTHS[0])]
    spread = _range(finest["largest"] / finest["smallest"], 1)
    size, error = (_range(ratio, 100) for ratio in (finest["rms_classes"] / finest["rms"], finest["relative"]))
    return (
        f"at w = {WIDTHS[0]:g} the largest mass is {spread} times the smallest, and the RMS of Eq. 9 is {size} % of "
        f"that of Eq. 8, with an error of {error} %"
    )


def coarsening_table() -> Table:
    """Per prior and kind of classes: the widths at which Eq. 9 goes wrong, and how wrong it is on the way."""
    lines = []
    for prior, frame in study().items():
        for kind, part in frame.groupby("classes", sort=False):
            finest = part.loc[part["width"].idxmin()]
            line = {"p̃": prior, "classes": kind, "RMS of Eq. 8": f"{finest['rms']:.3f}"}
            line[f"RMS of Eq. 9, w = {WIDTHS[0]:g}"] = f"{finest['rms_classes']:.3f}"
            line[f"class masses, w = {WIDTHS[0]:g}"] = f"{finest['smallest']:.2g} to {finest['largest']:.2g}"
            line |= {f"passes {100 * level:.0f} % at": _width_text(passes(part, level)) for level in LEVELS}
            for width in (1 / 16, 1 / 4, 1.0, 4.0, 16.0):
                at = part[part["width"] == width].iloc[0]
                line[f"w = {width:g}"] = f"{100 * at['relative']:.1f} % ({at['maximum']:.2f})"
            lines.append(line)
    frame = pd.DataFrame(lines)
    note = (
        "The posterior N(m, s²) is known, its masses are the class probabilities; m is uniform, y drawn from it. RMS "
        "of Eq. 9 − Eq. 8 over that of Eq. 8, in brackets the largest difference (nats), by the width w of the uniform "
        "classes in units of s. p̃ has a peak of the named width that holds 75 %, on a ground of width 4 s. Equalised: "
        "the same classes merged towards equal masses (Eq. 12), which would make Eq. 9 zero whatever p̃ is. But no "
        "merge splits a uniform class that holds more than its share, so that the masses stay unequal: "
        f"{_equalised_note(study())}. The merged classes differ in width too, which biases Eq. 9 unless the class "
        "prior is mass over width (p̃ per width)."
    )
    return Table("When the classes are too coarse for Eq. 9", note, frame, frame)


def coarsening_figure() -> Figure:
    """Relative RMS error of Eq. 9 over the class width, a panel per prior."""
    frames = study()
    with matplotlib.rc_context(FONTS):
        figure = Figure(figsize=(3.6 * len(frames) + 0.4, 3.8), layout="constrained")
        panels = figure.subplots(1, len(frames), sharey=True, squeeze=False)[0]
        for axes, (prior, frame) in zip(panels, frames.items(), strict=True):
            for kind, style in CLASSES.items():
                part = frame[frame["classes"] == kind]
                axes.plot(part["width"], part["relative"], label=kind, markersize=4, **style)
            for level in LEVELS:
                axes.axhline(level, color=GREY, linewidth=0.8, linestyle=":")
            axes.set_xscale("log", base=2)
            axes.set_yscale("log")
            axes.set_ylim(1e-3, 10)
            axes.set_title(prior)
            axes.grid(axis="y", alpha=0.25)
            axes.spines[["top", "right"]].set_visible(False)
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper center", ncols=3, frameon=False)
        figure.supxlabel("width of the uniform classes / s")
        figure.supylabel("RMS(Eq. 9 − Eq. 8) / RMS(Eq. 8)")
    return figure
