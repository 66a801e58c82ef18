"""The published generator of the 1-D data sets (section 2.1 of the paper), draw by draw: x agrees to the bit.

Inputs are chosen from a pool of 100,000 uniform draws so that the targets fill 1,024 bins evenly ("uniform"
sampling) or mostly the bins of a window around a random target (imbalanced sampling). The legacy
`numpy.random.RandomState` is used because the published sets were drawn with it and NumPy froze its stream.
The order of the draws is the specification: do not reorder them.
"""

import copy
import csv
import functools
import importlib.resources
import itertools
import math
import random
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from regcls_jax.checks import check_integer
from regcls_jax.data.synthetic import bin_sampling
from regcls_jax.data.synthetic.spec import PEAK_MINIMUM, DataSpec

# Part of every cache key: raise it when `make` returns other numbers for a spec.
GENERATOR_VERSION = 1

# Half width of the peak over the range of the targets.
_RATIO = {"mild": 0.3, "moderate": 0.1, "severe": 0.03}
_POOL = 100_000
_SPLITS = 3
_REGIONS = 3  # intervals of x per split, scenario "ood"
_RANGE_DRAWS = 60_000

_Pool = tuple[np.ndarray, np.ndarray]  # candidates x [n] and their targets y [n], in the order of the draws


class Split(NamedTuple):
    """Inputs x [n, 1] and targets y [n], both float64."""

    x: np.ndarray
    y: np.ndarray


class Dataset(NamedTuple):
    """The three splits of one data set."""

    train: Split
    val: Split
    test: Split


class Function(NamedTuple):
    """f(x) = a·sin(c·x) + b·sin(d·x), x in [-1, 1], f(x) in [-1.5, 1.5]; any shape -> same shape."""

    a: float
    b: float
    c: int
    d: int

    def __call__(self, x: np.ndarray) -> np.ndarray:
        return self.a * np.sin(self.c * x) + self.b * np.sin(self.d * x)


def functions(count: int = 10) -> list[Function]:
    """The first `count` functions of the published stream, `random.seed(0)`; the paper uses ten."""
    check_integer("count", count, 1)
    stream = random.Random(0)
    drawn = []
    for _ in range(count):
        a, c = stream.random(), stream.randint(9, 30)
        drawn.append(Function(a, 1.5 - a, c, c // 3))
    return drawn


def data_seeds(count: int = 5) -> np.ndarray:
    """The first `count` data seeds [count] of the published stream; the paper uses five."""
    check_integer("count", count, 1)
    return np.random.RandomState(0).randint(0, 10_000, count)


def make(spec: DataSpec) -> Dataset:
    """The data set of `spec`. For many sets of one function and repetition keep a `Source`."""
    return Source(spec.function, spec.repetition).make(spec)


class Source:
    """Makes the data sets of one function and repetition; those that share draws share the work.

    Clean and noisy sets of all samplings choose from one pool, and imbalanced ones agree in what they choose.
    """

    def __init__(self, function: int, repetition: int) -> None:
        self._index = (function, repetition)
        self._function = functions(function + 1)[function]
        self._seed = int(data_seeds(repetition + 1)[repetition])
        self._choices: dict[tuple, tuple[np.ndarray, np.random.RandomState]] = {}

    def make(self, spec: DataSpec) -> Dataset:
        """The data set of `spec`, which must name this function and repetition (ValueError)."""
        if (spec.function, spec.repetition) != self._index:
            raise ValueError(f"this source makes function and repetition {self._index}, not {spec}")
        if spec.scenario == "ood":
            return self._uniform_regions(spec) if spec.sampling == "uniform" else self._peaked_regions(spec)
        (x, y), _ = self._full_pool
        chosen, rng = copy.deepcopy(self._choose(spec))
        thirds = np.split(chosen, (len(chosen) // 3, 2 * len(chosen) // 3))
        return Dataset(*(Split(x[rows, None], y[rows] + _noise(rng, spec, len(rows))) for rows in thirds))

    @functools.cached_property
    def _full_pool(self) -> tuple[_Pool, np.random.RandomState]:
        """The pool over [-1, 1], and the generator as its draw leaves it."""
        rng = np.random.RandomState(self._seed)
        return self._draw(rng, -1, 1), rng

    def _draw(self, rng: np.random.RandomState, low: float, high: float) -> _Pool:
        x = rng.uniform(low, high, _POOL)
        return x, self._function(x)

    def _choose(self, spec: DataSpec) -> tuple[np.ndarray, np.random.RandomState]:
        """Shuffled pool rows of a clean or noisy set, and the generator as the shuffle leaves it."""
        uniform = spec.sampling == "uniform"
        key = spec.content() if uniform else (spec.sampling, spec.total, spec.peak_share)
        if key not in self._choices:
            (_, y), rng = self._full_pool
            rng = copy.deepcopy(rng)
            if uniform:
                # The choice sees a noise of its own, the targets get a fresh one (recipes 4.1, item 4).
                chosen = bin_sampling.choose_uniform(rng, y + _noise(rng, spec, _POOL), spec.total)
            else:
                peak = rng.uniform(y.min(), y.max())
                chosen = _choose_peaked(rng, y, spec, peak, spec.total, spec.total)
            rng.shuffle(chosen)
            self._choices[key] = chosen, rng
        return self._choices[key]

    @functools.cached_property
    def _regions(self) -> np.ndarray:
        """Low and high end of x [region, split, 2]: the splits take turns, each reaches into the next."""
        width = 1 / 4.5
        starts = np.arange(-1, 1 + width / 4, width)
        overlap = np.abs(np.random.RandomState(self._seed).normal(0, width / 4, len(starts) - 1))
        ends = np.minimum(starts[1:] + overlap, 1)
        return np.stack([starts[:-1], ends], axis=-1).reshape(_REGIONS, _SPLITS, 2)

    def _uniform_regions(self, spec: DataSpec) -> Dataset:
        def choose(rng: np.random.RandomState, y: np.ndarray, split: int) -> np.ndarray:
            return bin_sampling.choose_uniform(rng, y, spec.total // 9)

        return self._fill_regions(np.random.RandomState(self._seed), (0, 2, 1), choose)

    def _peaked_regions(self, spec: DataSpec) -> Dataset:
        rng = np.random.RandomState(self._seed)
        peak, hits = self._find_peak(rng, *self._target_range(spec))

        def choose(rng: np.random.RandomState, y: np.ndarray, split: int) -> np.ndarray:
            return _choose_peaked(rng, y, spec, peak, spec.total // (3 * hits[split]), spec.total // 9)

        return self._fill_regions(rng, (0, 1, 2), choose)

    def _fill_regions(
        self,
        rng: np.random.RandomState,
        order: tuple[int, int, int],
        choose: Callable[[np.random.RandomState, np.ndarray, int], np.ndarray],
    ) -> Dataset:
        """Draws a pool per region and split, the splits in the given order, and keeps the chosen rows."""
        parts: list[list[Split]] = [[] for _ in range(_SPLITS)]
        for region, split in itertools.product(range(_REGIONS), order):
            x, y = self._draw(rng, *self._regions[region, split])
            rows = choose(rng, y, split)
            parts[split].append(Split(x[rows, None], y[rows]))
        return Dataset(*(Split(*map(np.concatenate, zip(*part, strict=True))) for part in parts))

    def _find_peak(self, rng: np.random.RandomState, low: float, high: float) -> tuple[float, list[int]]:
        """A target that every split can reach, and in how many of its regions each split reaches it."""
        while True:
            peak = rng.uniform(low, high)
            hits = [0] * _SPLITS
            for region, split in itertools.product(range(_REGIONS), (0, 2, 1)):
                left, right = self._regions[region, split].tolist()
                hits[split] += _reaches(self._function, rng.uniform(left, right, _POOL), peak)
            if all(hits):
                return peak, hits

    def _target_range(self, spec: DataSpec) -> tuple[float, float]:
        """The range that the peak of an "ood" set is drawn from.

        The published program took it from draws left by the data set before, so it is tabulated. Elsewhere it
        is the range over 60,000 draws of a stream of its own, RandomState([data seed, function index]).
        """
        published = _published_ranges().get((spec.sampling, spec.repetition, spec.function))
        if published is not None:
            return published
        y = self._function(np.random.RandomState([self._seed, spec.function]).uniform(-1, 1, _RANGE_DRAWS))
        return y.min(), y.max()


@functools.cache
def _published_ranges() -> dict[tuple[str, int, int], tuple[float, float]]:
    """(sampling, repetition, function) -> lowest and highest target; the columns have this order."""
    source = importlib.resources.files("regcls_jax.data") / "published" / "ood_ranges.csv"
    rows = csv.reader(source.read_text(encoding="utf-8").splitlines()[1:])
    return {(name, int(rep), int(fct)): (float(low), float(high)) for name, rep, fct, low, high in rows}


def _noise(rng: np.random.RandomState, spec: DataSpec, count: int) -> np.ndarray | float:
    """Noise [count] of a "noisy" set; otherwise none, and nothing is drawn."""
    if spec.scenario != "noisy" or spec.noise == 0:
        return 0.0
    if spec.noise_kind == "uniform":
        return rng.uniform(-math.sqrt(3) * spec.noise, math.sqrt(3) * spec.noise, count)
    return rng.normal(0, spec.noise, count)


def _choose_peaked(
    rng: np.random.RandomState, y: np.ndarray, spec: DataSpec, peak: float, total: int, even: int
) -> np.ndarray:
    """Rows of y [n].

    The peak takes its share of `total`, the rest its share of `even`: they differ when a split has several
    pools, as not all of them reach the peak.
    """
    ratio = _RATIO[spec.sampling]
    if spec.peak_share is None:
        minimum = PEAK_MINIMUM[spec.scenario]
        return bin_sampling.choose_peaked(rng, y, peak=peak, ratio=ratio, total=total, minimum=minimum)
    frequent, rest = round(spec.peak_share * total), even - round(spec.peak_share * even)
    return bin_sampling.choose_peaked_exactly(rng, y, peak=peak, ratio=ratio, frequent=frequent, rest=rest)


def _reaches(function: Function, x: np.ndarray, target: float) -> bool:
    """Whether target lies in [min f(x), max f(x)]."""
    rough = function(x.astype(np.float32))  # off by less than 1e-4, and 20 times faster than float64
    clearance = min(target - rough.min(), rough.max() - target)
    if abs(clearance) > 1e-3:
        return bool(clearance > 0)
    y = function(x)
    return bool(y.min() <= target <= y.max())
