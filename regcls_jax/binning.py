"""Classes over a continuous target: edges, histogram equalisation (Eq. 12), keep probabilities (Eq. 13), labels.

Edges are made once, on the host, from the training targets; `assign` works on NumPy arrays and inside jit alike.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, overload

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import jax

# JAX is not imported at run time: code that only prepares data can use bins and weights without it.
Listed = np.ndarray | Sequence[Any]  # what NumPy comes out for
DECODINGS = ("expectation", "argmax", "median")

ROUNDINGS = ("ceil", "round", "floor")


class Bins(NamedTuple):
    """The classes of one training set: `edges` [C + 1] in target units, `counts` [C], `keep` [C] in [0, 1]."""

    edges: np.ndarray
    counts: np.ndarray
    keep: np.ndarray

    @property
    def classes(self) -> int:
        """Number of classes C."""
        return len(self.counts)


def uniform_edges(low: float, high: float, classes: int) -> np.ndarray:
    """Edges [classes + 1] of `classes` equally wide bins over [low, high] (target units).

    Raises ValueError for fewer than two classes or an empty or non-finite range.
    """
    if classes < 2:
        raise ValueError(f"classes must be at least 2, got {classes}: one class holds no information")
    if not (np.isfinite(low) and np.isfinite(high) and low < high):
        raise ValueError(f"the target range [{low}, {high}] is empty or not finite")
    return np.linspace(low, high, classes + 1)


def _namespace(values: Any) -> tuple[Any, Any]:
    """The array library of `values`, and `values` as its array: NumPy's for lists and pandas, JAX's for its own."""
    if hasattr(values, "__array_namespace__"):
        return values.__array_namespace__(), values
    return np, np.asarray(values)


@overload
def assign(targets: Listed, edges: npt.ArrayLike, classes: npt.ArrayLike | None = None) -> np.ndarray: ...
@overload
def assign(targets: "jax.Array", edges: npt.ArrayLike, classes: npt.ArrayLike | None = None) -> "jax.Array": ...
def assign(targets: Any, edges: Any, classes: Any = None) -> Any:
    """Labels int32 [...] of `targets` [...]: bin k holds edges[k] <= y < edges[k + 1]; the last edge is inclusive.

    Targets outside the edges go to the nearest class, so a label is always in [0, classes) (recipes 4.2). `edges` may
    be padded at the end with +inf; `classes` (default len(edges) - 1, may be traced) is then the number of real ones.
    NumPy (lists, pandas) in, NumPy out; JAX in, JAX out. NaN has no class: -1 in JAX, whose losses are NaN then.

    Both sides are compared in float32, the precision of training, so that host and device agree about a target on an
    edge: in float64 .3 lies below the edge 3 * .1.

    Raises ValueError, naming the first, for a NaN among NumPy targets.
    """
    xp, targets = _namespace(targets)
    targets, edges = xp.asarray(targets, dtype=xp.float32), xp.asarray(edges, dtype=xp.float32)
    last = (len(edges) - 1 if classes is None else classes) - 1
    labels = xp.clip(xp.searchsorted(edges, targets, side="right") - 1, 0, last).astype(xp.int32)
    missing = xp.isnan(targets)
    if xp is not np:
        return xp.where(missing, -1, labels)
    if missing.any():
        raise ValueError(f"target {', '.join(map(str, np.argwhere(missing)[0]))} is NaN, which has no class")
    return labels


@overload
def decode(probabilities: Listed, edges: npt.ArrayLike, rule: str = "expectation") -> np.ndarray: ...
@overload
def decode(probabilities: "jax.Array", edges: npt.ArrayLike, rule: str = "expectation") -> "jax.Array": ...
def decode(probabilities: Any, edges: Any, rule: str = "expectation") -> Any:
    """Values [...] in target units from class `probabilities` [..., C] over `edges` [C + 1].

    rule: "expectation", the mean of the class centres; "argmax", the centre of the most probable class; "median", where
    half of the probability lies below, spread evenly within a class. Edges must be finite.

    Raises:
      ValueError: an unknown rule, or a number of edges other than C + 1.
    """
    xp, probabilities = _namespace(probabilities)
    kind = xp.result_type(probabilities, xp.float32)
    probabilities, edges = xp.asarray(probabilities, dtype=kind), xp.asarray(edges, dtype=kind)
    if len(edges) != (classes := probabilities.shape[-1]) + 1:
        raise ValueError(f"{classes} classes need {classes + 1} edges, got {len(edges)}")
    if rule not in DECODINGS:
        raise ValueError(f"unknown rule {rule!r}; one of {', '.join(DECODINGS)}")
    centres = (edges[:-1] + edges[1:]) / 2
    if rule == "expectation":
        return probabilities @ centres
    if rule == "argmax":
        return centres[xp.argmax(probabilities, axis=-1)]
    below = xp.cumsum(probabilities, axis=-1)
    half = below[..., -1:] / 2
    median = xp.argmax(below >= half, axis=-1)
    inside = xp.take_along_axis(probabilities, median[..., None], axis=-1)
    reached = xp.take_along_axis(below, median[..., None], axis=-1) - inside
    share = ((half - reached) / inside)[..., 0]
    return edges[median] + share * (edges[median + 1] - edges[median])


def check_counts(counts: npt.ArrayLike) -> np.ndarray:
    """`counts` as an array. Raises ValueError unless it is a histogram [C]: whole numbers of at least 0, not all 0."""
    counts = np.asarray(counts)
    whole = counts.ndim == 1 and np.all(np.isfinite(counts)) and np.array_equal(counts, np.round(counts))
    if not whole or np.any(counts < 0) or not np.any(counts):
        raise ValueError(f"counts must be non-negative whole numbers [C], not all zero, got {counts}")
    return counts


def equalize(counts: npt.ArrayLike, edges: npt.ArrayLike, rounding: str = "ceil") -> tuple[np.ndarray, np.ndarray]:
    """Merges neighbouring bins so that their counts become as equal as possible (Eq. 12).

    counts [C], edges [C + 1] -> new edges [C' + 1], new counts [C'], C' <= C. Bin k goes to the new class
    q(k) = rounding(C / N * sum_{j <= k} counts_j). Equation 12 numbers classes from 1 and prints a floor, under which
    almost every last class holds one bin; `ceil` (default) is what the published 1-D code does, `round` (half to even)
    the published image code, `floor` the text. Leading empty bins join the first non-empty one and do not count in C.
    Raises ValueError for an unknown rounding, edges that do not increase, or counts that are no histogram.
    """
    counts, edges = check_counts(counts), np.asarray(edges)
    if len(edges) != len(counts) + 1:
        raise ValueError(f"{len(counts)} counts need {len(counts) + 1} edges, got {len(edges)}")
    if rounding not in ROUNDINGS:
        raise ValueError(f"unknown rounding {rounding!r}; one of {', '.join(ROUNDINGS)}")
    if not np.all(np.diff(edges) > 0):
        raise ValueError(f"edges must be increasing numbers, got {edges}")
    leading = int(np.argmax(counts > 0))
    counts = counts[leading:].astype(np.int64)
    # The order of the operations decides exact ties (C * cumulative a multiple of N); this one is the published code's.
    rank = len(counts) * (np.cumsum(counts) / counts.sum())
    if rounding == "ceil":
        new_class = np.ceil(rank)
    elif rounding == "floor":
        new_class = np.floor(rank)
    else:
        # Ranks 0 and 1 are one class: the published code subtracts 1 and clips at 0.
        new_class = np.maximum(np.round(rank), 1)
    starts = np.flatnonzero(np.diff(new_class, prepend=-1))
    new_edges = np.append(edges[leading:][starts], edges[-1])
    new_edges[0] = edges[0]
    return new_edges, np.add.reduceat(counts, starts)


def keep_probabilities(counts: npt.ArrayLike) -> np.ndarray:
    """rho(k) = min_j counts_j / counts_k (Eq. 13) [C] -> [C]; the minimum is over non-empty classes.

    An empty class gets 1: training never draws from it, and a sample of it that turns up later is always kept.
    Raises ValueError if counts are no histogram, or all classes are empty.
    """
    counts = check_counts(counts).astype(np.float64)
    smallest = counts[counts > 0].min()
    return smallest / np.where(counts > 0, counts, smallest)


def check_targets(targets: npt.ArrayLike, name: str = "targets") -> np.ndarray:
    """`targets` as an array. Raises ValueError if it is empty, or naming the first row that is NaN or infinite."""
    targets = np.asarray(targets)
    if targets.size == 0:
        raise ValueError(f"{name}: no samples")
    bad = np.argwhere(~np.isfinite(targets))
    if len(bad):
        row = ", ".join(map(str, bad[0]))
        raise ValueError(f"{name}: {len(bad)} of {targets.size} values are not finite, the first at row {row}")
    return targets


def check_edges(edges: npt.ArrayLike) -> np.ndarray:
    """`edges` [..., C + 1] as float64. Raises ValueError unless they are finite, increasing and at least two."""
    edges = np.asarray(edges, np.float64)
    if edges.ndim < 1 or edges.shape[-1] < 2 or not np.all(np.isfinite(edges)) or not np.all(np.diff(edges) > 0):
        raise ValueError(f"edges must be at least two increasing finite numbers, got {edges}")
    return edges


def from_edges(targets: npt.ArrayLike, edges: npt.ArrayLike, *, balanced: bool = False, rounding: str = "ceil") -> Bins:
    """The classes of training `targets` [n] over given `edges` [C + 1].

    Not balanced: those edges, and every sample is kept (keep = 1). Balanced: equalised edges (Eq. 12) with the keep
    probabilities of Eq. 13. Where equalisation leaves fewer than two classes (one bin holds nearly everything), the
    given edges stay and only the keep probabilities balance them, as in the published image code (recipes 4.2).
    """
    labels, edges = assign(check_targets(targets), edges), np.asarray(edges)
    return from_histogram(np.bincount(labels.ravel(), minlength=len(edges) - 1), edges, balanced, rounding)


def from_histogram(counts: npt.ArrayLike, edges: npt.ArrayLike, balanced: bool = False, rounding: str = "ceil") -> Bins:
    """As `from_edges`, from the histogram [C] of the training targets over `edges` [C + 1]."""
    counts, edges = np.asarray(counts), np.asarray(edges)
    if not balanced:
        return Bins(edges, counts, np.ones(len(counts)))
    new_edges, new_counts = equalize(counts, edges, rounding)
    if len(new_counts) < 2:
        new_edges, new_counts = edges, counts
    return Bins(new_edges, new_counts, keep_probabilities(new_counts))


def fit(
    targets: npt.ArrayLike,
    classes: int,
    *,
    balanced: bool = False,
    rounding: str = "ceil",
    name: str = "targets",
) -> Bins:
    """Classes over the range of training `targets` [n]: `classes` uniform bins, equalised if `balanced`.

    Raises ValueError (naming `name`) for NaN or infinite targets, a constant target, fewer than two classes, or more
    classes than samples.
    """
    targets = check_targets(targets, name)
    if classes > targets.size:
        raise ValueError(f"{name}: {classes} classes are more than the {targets.size} samples")
    try:
        edges = uniform_edges(float(targets.min()), float(targets.max()), classes)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None
    return from_edges(targets, edges, balanced=balanced, rounding=rounding)
