"""How a study's runs are laid out: which share a program, which are trained side by side, which are sent together.

shape   runs that share one compiled program
chunk   runs trained side by side; the unit of numerics: always the same runs, however a study is cut or resumed
part    chunks of one shape sent to the devices in one call and written in one file
"""

import dataclasses
import hashlib
import itertools
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from regcls_jax import binning, targets
from regcls_jax.data.source import Problem
from regcls_jax.losses.registry import AUXILIARY
from regcls_jax.study.chunks import chunk_size, cost_of
from regcls_jax.study.program import Shape
from regcls_jax.study.runs import Run, TrainingSet

# About five seconds of one CPU core: short enough to lose little when killed, long enough to hide work between parts.
PART_COST = 6e9
# Apart from its weights, a training step costs about as much as this many classes (with Fig. 3's trunk, 40).
STEP_COST = 33
# Weights of a network that cost about as much as a class.
CLASS_WEIGHTS = 15
# A loss that compares the examples of a batch costs about as much as this many classes for each of them.
PAIR_COST = 30
# Training with a trace costs about as much as this many trainings without: it sees four splits after every epoch.
TRACE_COST = 5
# Limit for the arrays of one part beyond one data set: data, labels and weights, orders of the samples.
PART_BYTES = 1 << 28
# Data sets larger than this are trained on one after another, so that memory need not hold several.
LARGE_BYTES = 1 << 26
# Limit for the predictions that a part returns.
VALUE_BYTES = 1 << 26
# Rows whose inputs are checked at a time.
CHECKED = 1 << 16


@dataclasses.dataclass(frozen=True)
class Sized:
    """What planning needs to know about a training set."""

    samples: int  # training samples
    train_rows: str  # digest of their row numbers
    rows: int  # rows of the data set
    width: int  # numbers per row, inputs and targets
    outputs: int  # components of vector targets; 0: scalar targets
    splits: dict[str, int]  # rows of every split
    bins: binning.Bins | None  # the classes
    grouped: bool = False  # whether rows belong to groups
    weighted: bool = False  # whether rows have weights

    @property
    def eval_samples(self) -> int:
        """Rows of the largest split."""
        return max(self.splits.values())

    @property
    def data_bytes(self) -> int:
        """Memory of the data set."""
        return 4 * self.rows * self.width


class Order(NamedTuple):
    """What the order of the samples depends on: the seed, their number, and a digest of their row numbers."""

    seed: int
    samples: int
    train_rows: str


@dataclasses.dataclass(frozen=True)
class Part:
    """One device call: run numbers [chunks][<= chunk] and batches per epoch [chunks], padded to `length` chunks."""

    shape: Shape
    chunks: tuple[tuple[int, ...], ...]
    batches: tuple[int, ...]
    chunk: int
    length: int

    @property
    def runs(self) -> list[int]:
        """The run numbers of this part, in order."""
        return list(itertools.chain.from_iterable(self.chunks))

    def without(self, done: set[int]) -> "Part | None":
        """This part without its finished chunks; None if nothing is left. A chunk is never split."""
        left = [i for i, chunk in enumerate(self.chunks) if not done.issuperset(chunk)]
        if any(not done.isdisjoint(self.chunks[i]) for i in left):
            raise ValueError(
                "this study was started with other chunks (another platform or `chunk`); continue it with those"
            )
        if not left:
            return None
        chunks, batches = tuple(self.chunks[i] for i in left), tuple(self.batches[i] for i in left)
        return dataclasses.replace(self, chunks=chunks, batches=batches)


def check(name: str, problem: Problem) -> None:
    """Raises ValueError, with the `name` of the problem, where an input or a target is not finite."""
    for split, rows in problem.splits.items():
        binning.check_targets(problem.targets[rows], f"{name}, {split} targets")
        for start in range(0, len(rows), CHECKED):
            binning.check_targets(problem.inputs[rows[start : start + CHECKED]], f"{name}, {split} inputs")


def measure(trained_on: TrainingSet, problem: Problem) -> Sized:
    """The sizes and classes of a training set of a checked problem.

    Raises ValueError, naming the problem, for data it cannot train on.
    """
    name, method = trained_on.data.name, trained_on.method
    outputs = 0 if problem.targets.ndim == 1 else problem.targets.shape[1]
    if outputs and (method.classes or method.reweight != "none" or method.loss.prior != "none"):
        raise ValueError(f"{name}: classes, weights and priors need one target, not vectors of {outputs}")
    return Sized(
        samples=len(problem.splits["train"]),
        train_rows=hashlib.blake2b(np.asarray(problem.splits["train"], np.int32).tobytes(), digest_size=8).hexdigest(),
        rows=len(problem.targets),
        width=problem.inputs.shape[1] + max(outputs, 1),
        outputs=outputs,
        splits={split: len(rows) for split, rows in problem.splits.items()},
        grouped=problem.groups is not None,
        weighted=problem.weights is not None,
        bins=targets.class_bins(method, problem.train_targets, f"{name}, training targets"),
    )


def padded_classes(classes: int) -> int:
    """The next of 2, 3, 4, 6, 8, 12, 16, ...: equalised counts differ per data set, compiled shapes should not."""
    power = 1 << (classes - 1).bit_length()
    smaller = power * 3 // 4
    return smaller if power > 2 and smaller >= classes else power


def shape_of(run: Run, sized: Sized) -> Shape:
    """The compiled program a run needs. Raises ValueError where `best_on` names no split."""
    if run.trace != "none" and sized.outputs:
        raise ValueError(f"{run.where}: a trace needs one target, not vectors of {sized.outputs}")
    if AUXILIARY[run.auxiliary].head and sized.outputs:
        raise ValueError(f"{run.where}: auxiliary {run.auxiliary!r} needs one target, not vectors of {sized.outputs}")
    if run.mixup and sized.weighted:
        raise ValueError(f"{run.where}: mixup makes new samples, for which {run.data.name} has no weights")
    if sized.weighted and AUXILIARY[run.auxiliary].takes_weights:
        raise ValueError(f"{run.where}: auxiliary {run.auxiliary!r} weighs samples by density, not as {run.data.name}")
    if run.best_on and run.best_on not in sized.splits:
        raise ValueError(f"{run.where}: unknown best_on {run.best_on!r}; the splits are {', '.join(sized.splits)}")
    derived: dict[str, Any] = {
        "outputs": sized.outputs,
        "classes": padded_classes(sized.bins.classes) if run.balanced and sized.bins else run.classes,
        "weighted": run.reweight != "none" or sized.weighted,
        "class_weighted": sized.weighted,
        "points": {"mixture": run.components, "points": run.buckets}.get(run.loss.prior, 0),
        "best_on": list(sized.splits).index(run.best_on) if run.best_on else -1,
        "sam": run.sam_rho > 0,
        "mixup": run.mixup > 0,
        "trace_points": 0 if run.trace == "none" else run.components,
    }
    if run.program == "shared":
        derived |= _shared(run, sized)
    return Shape(**derived, **{name: getattr(run, name) for name in Shape._fields if name not in derived})


def _shared(run: Run, sized: Sized) -> dict[str, Any]:
    """The settings of a shape that serve a run as its own do, and others, too.

    A class head that is padded draws other initial weights, of the same distribution.
    """
    found: dict[str, Any] = {"weighted": True}  # by 1
    if run.output == "target" and run.loss.prior == "none":
        found |= {"output": "standardised", "loss_in": "std"}  # by 0 and 1
    if sized.bins:
        # Keep probabilities of 1, and the rule of decoding as a number.
        found |= {"classes": padded_classes(sized.bins.classes), "balanced": True, "decoded": "any"}
    return found


def batches_per_epoch(run: Run, sized: Sized) -> int:
    """Full batches per epoch (the remainder is dropped). Raises ValueError where there is none."""
    if sized.samples < run.batch_size:
        name, size = run.data.name, run.batch_size
        raise ValueError(f"{name}: {sized.samples} training samples do not fill one batch of {size}")
    return sized.samples // run.batch_size


def order_of(run: Run, sized: Sized) -> Order:
    """What the order of the samples depends on, so that compared runs see the same batches.

    The published code, too, shuffles from the training seed alone.
    """
    return Order(run.seed, sized.samples, sized.train_rows)


def orders_of(numbers: Iterable[int], runs: Sequence[Run], sizes: Mapping[TrainingSet, Sized]) -> set[Order]:
    """The different orders of some runs."""
    return {order_of(runs[n], sizes[runs[n].trained_on]) for n in numbers}


def plan(
    runs: Sequence[Run],
    sizes: Mapping[TrainingSet, Sized],
    *,
    devices: int,
    memory: int | None = None,
    chunk: int = 0,
) -> list[list[Part]]:
    """The parts of a study, one list per shape, small programs first. `chunk` 0 chooses by `memory` (`chunk_size`).

    Chunks depend on the runs and the memory only, never on the number of devices or on which runs are finished.
    """
    by_shape: dict[Shape, list[int]] = {}
    for number, run in enumerate(runs):
        by_shape.setdefault(shape_of(run, sizes[run.trained_on]), []).append(number)
    return [
        _plan_shape(shape, by_shape[shape], runs, sizes, devices, memory, chunk)
        for shape in sorted(by_shape, key=lambda shape: (shape.classes, repr(shape)))
    ]


def _plan_shape(
    shape: Shape,
    numbers: list[int],
    runs: Sequence[Run],
    sizes: Mapping[TrainingSet, Sized],
    devices: int,
    memory: int | None,
    chunk: int,
) -> list[Part]:
    samples = max(sizes[runs[n].trained_on].samples for n in numbers)
    width = max(sizes[runs[n].trained_on].width for n in numbers)
    chunk = chunk or chunk_size(cost_of(shape, samples, width), memory)
    batches = {n: batches_per_epoch(runs[n], sizes[runs[n].trained_on]) for n in numbers}
    # Large data sets one after another: neither a chunk nor a part is of two.
    large = max(sizes[runs[n].trained_on].data_bytes for n in numbers) > LARGE_BYTES
    place = {shared: place for place, shared in enumerate(dict.fromkeys(runs[n].data.shared for n in numbers))}

    def alike(n: int) -> tuple[int, int]:
        return (place[runs[n].data.shared] if large else 0), batches[n]

    in_order = sorted(numbers, key=lambda n: (alike(n), order_of(runs[n], sizes[runs[n].trained_on])))
    chunks: list[tuple[int, ...]] = []
    for _, group in itertools.groupby(in_order, key=alike):
        same = tuple(group)
        chunks.extend(same[start : start + chunk] for start in range(0, len(same), chunk))
    traced = 1 if shape.trace == "none" else TRACE_COST
    trunk = sum(a * b for a, b in itertools.pairwise((width, *shape.hidden))) / CLASS_WEIGHTS
    pairs = PAIR_COST * shape.batch_size if AUXILIARY[shape.auxiliary].compares else 0
    run_cost = max(shape.epochs, 1) * samples * (shape.classes + STEP_COST + trunk + pairs) * traced
    per_device = max(1, round(PART_COST / (run_cost * chunk)))
    # Where rows have groups, predictions come back.
    kept = max(
        4 * sized.eval_samples * (len(sized.splits) - 1) for sized in (sizes[runs[n].trained_on] for n in numbers)
    )
    if any(sizes[runs[n].trained_on].grouped for n in numbers):
        per_device = min(per_device, max(1, VALUE_BYTES // (kept * chunk * devices)))
    length = min(per_device, -(-len(chunks) // devices)) * devices
    return [
        Part(shape, tuple(cut), tuple(batches[members[0]] for members in cut), chunk, length)
        for cut in _cut(shape, chunks, length, runs, sizes, large)
    ]


class _Bytes:
    """Memory of the arrays of a part that grows, each padded to the largest of its shape as `arrays.padding` does."""

    def __init__(
        self, shape: Shape, numbers: Sequence[int], runs: Sequence[Run], sizes: Mapping[TrainingSet, Sized]
    ) -> None:
        self._runs, self._sizes = runs, sizes
        every = [sizes[runs[n].trained_on] for n in numbers]
        rows = max(sized.rows for sized in every)
        columns = bool(shape.classes) + shape.weighted + shape.class_weighted
        # What one data set, problem, training set and order takes.
        self.least = 4 * rows * every[0].width
        self._each = {
            "data": rows * every[0].width,
            "problem": len(every[0].splits) * max(sized.eval_samples for sized in every),
            "set": rows * columns,
            "order": shape.epochs * max(sized.samples for sized in every),
        }
        self.restart()

    def restart(self) -> None:
        """Begins another part."""
        self._found: dict[str, set[Hashable]] = {kind: set() for kind in self._each}

    def add(self, chunk: Iterable[int]) -> int:
        """Adds the runs of a chunk; returns the bytes so far."""
        for run in (self._runs[n] for n in chunk):
            self._found["data"].add(run.data.shared)
            self._found["problem"].add(run.data)
            self._found["set"].add(run.trained_on)
            self._found["order"].add(order_of(run, self._sizes[run.trained_on]))
        return 4 * sum(len(found) * self._each[kind] for kind, found in self._found.items())


def _cut(
    shape: Shape,
    chunks: list[tuple[int, ...]],
    length: int,
    runs: Sequence[Run],
    sizes: Mapping[TrainingSet, Sized],
    large: bool,
) -> Iterator[list[tuple[int, ...]]]:
    """Cuts chunks into parts of at most `length` chunks and PART_BYTES (at least one chunk), large data one by one."""
    part: list[tuple[int, ...]] = []
    size = _Bytes(shape, [*itertools.chain.from_iterable(chunks)], runs, sizes)
    for chunk in chunks:
        too_large = size.add(chunk) > PART_BYTES + size.least
        other = large and part and runs[part[0][0]].data.shared != runs[chunk[0]].data.shared
        if part and (len(part) == length or too_large or other):
            yield part
            part = []
            size.restart()
            size.add(chunk)
        part.append(chunk)
    if part:
        yield part
