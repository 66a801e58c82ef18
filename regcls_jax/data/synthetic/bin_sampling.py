"""Choosing rows of a pool so that their targets fill bins as asked: evenly, or mostly a window around a peak.

Every function takes the legacy generator and draws from it in a fixed order, because published data sets are
reproduced with it (`generator`). Rows are int64 indices into the pool; they repeat, since draws are with
replacement.
"""

import math

import numpy as np

BINS = 1024


def choose_uniform(rng: np.random.RandomState, y: np.ndarray, total: int) -> np.ndarray:
    """total // BINS + 1 rows from every filled bin of the range of y [n]."""
    return _pick(rng, *_group(y, _edges(y.min(), y.max())), total // BINS + 1)


def choose_peaked(
    rng: np.random.RandomState, y: np.ndarray, *, peak: float, ratio: float, total: int, minimum: int
) -> np.ndarray:
    """Rows of y [n] as published: total - BINS - minimum from the peak, then minimum + 1 per filled bin.

    The peak gives fewer if more than about half of its window lies beyond the range of y.

    Args:
      rng: the generator.
      y: targets of the pool.
      peak: centre of the window; if y does not reach across it, nothing is drawn from the window.
      ratio: half width of the window over the range of y.
      total: samples aimed at; at least BINS · (minimum + 1).
      minimum: samples per bin of the whole range.
    """
    low, high = y.min(), y.max()
    frequent = np.empty(0, np.int64)
    if low < peak < high:
        half = ratio * (high - low)
        # Twice what a full window needs, because bins that reach beyond the range of y are empty.
        draws = (total - BINS * minimum) // BINS * 2
        frequent = _pick(rng, *_group(y, _edges(peak - half, peak + half)), draws)
        rng.shuffle(frequent)
    rest = _pick(rng, *_group(y, _edges(low, high)), minimum + 1)
    return np.append(frequent[: total - BINS - minimum], rest)


def choose_peaked_exactly(
    rng: np.random.RandomState, y: np.ndarray, *, peak: float, ratio: float, frequent: int, rest: int
) -> np.ndarray:
    """Rows of y [n]: `frequent` from the window around the peak, then `rest` from outside the window.

    See `choose_peaked` for the other arguments.
    """
    low, high = y.min(), y.max()
    half = ratio * (high - low)
    inside = np.empty(0, np.int64)
    if low < peak < high:
        inside = _choose_exactly(rng, y, _edges(peak - half, peak + half), frequent)
    outside = np.flatnonzero(np.abs(y - peak) > half)
    return np.append(inside, outside[_choose_exactly(rng, y[outside], _edges(low, high), rest)])


def _edges(low: float, high: float) -> np.ndarray:
    return np.linspace(low, high, BINS + 1)


def _group(y: np.ndarray, edges: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows of y [n] by bin of the evenly spaced edges [bins + 1], ascending in a bin: (rows, counts [bins]).

    Bins include both edges: a row on an inner edge is listed in two bins.
    """
    bins = len(edges) - 1
    rows = np.flatnonzero((y >= edges[0]) & (y <= edges[-1]))
    y = y[rows]
    # Arithmetic finds the bin up to rounding, in a tenth of searchsorted's time; then the edges decide.
    label = np.minimum(((y - edges[0]) * (bins / (edges[-1] - edges[0]))).astype(np.int64), bins - 1)
    label -= y < edges[label]
    label += (y >= edges[label + 1]) & (label < bins - 1)
    doubled = (y == edges[label]) & (label > 0)
    if doubled.any():
        rows, label = np.append(rows, rows[doubled]), np.append(label, label[doubled] - 1)
        ascending = np.argsort(rows, kind="stable")
        rows, label = rows[ascending], label[ascending]
    # 16 bits because NumPy sorts them by radix, in linear time.
    return rows[np.argsort(label.astype(np.uint16), kind="stable")], np.bincount(label, minlength=bins)


def _pick(rng: np.random.RandomState, rows: np.ndarray, counts: np.ndarray, draws: int) -> np.ndarray:
    """`draws` rows, with replacement, from every filled bin of a `_group`: [draws · filled bins]."""
    filled = counts > 0
    starts = (np.cumsum(counts) - counts)[filled, None]
    # One call for all bins takes the same numbers off the legacy stream as a call per bin.
    picks = rng.randint(0, counts[filled, None], (len(starts), draws), dtype=np.int64)
    return rows[starts + picks].ravel()


def _choose_exactly(rng: np.random.RandomState, y: np.ndarray, edges: np.ndarray, count: int) -> np.ndarray:
    """`count` rows of y in random order, evenly from the bins that have any."""
    rows, counts = _group(y, edges)
    chosen = _pick(rng, rows, counts, math.ceil(count / int(np.count_nonzero(counts))))
    rng.shuffle(chosen)
    return chosen[:count]
