"""How a study's runs are laid out: which share a program, which are trained side by side, which are sent together.

shape   runs that share one compiled program
chunk   runs trained side by side; the unit of numerics: always the same runs, however a study is cut or resumed
part    chunks of one shape sent to the devices in one call and written in one file
"""

import dataclasses
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence

from regcls_jax import binning
from regcls_jax.data.source import Problem
from regcls_jax.data.synthetic.spec import DataSpec
from regcls_jax.study.runs import Run
from regcls_jax.study.train import Shape

# Activations of a chunk that a core's cache holds; measured best with 1 MB of second-level cache.
CACHE_BYTES = 1 << 20
MAX_CPU_CHUNK = 8
# What an accelerator is given side by side.
ACCELERATOR_BYTES = 1 << 30
MAX_ACCELERATOR_CHUNK = 1024
# About five seconds of one CPU core: short enough to lose little when killed, long enough to hide what goes on between.
PART_COST = 6e9
# Beside its logits, a training step costs about as much as this many classes.
STEP_COST = 40
# Training with a trace costs about as much as this many trainings without: it sees four splits after every epoch.
TRACE_COST = 5
# Orders of one part: bounds its memory where every data set has its own size (8 MB each at 25,000 samples x 80 epochs).
MAX_ORDERS = 16
# Tasks of one part: bounds its memory where trainings are short (about 1 MB each).
MAX_TASKS = 256


@dataclasses.dataclass(frozen=True)
class Task:
    """A data set with its classes, weights and prior: what a run trains on. The fields are the run's."""

    data: DataSpec
    classes: int
    balanced: bool
    rounding: str
    reweight: str
    lds: bool
    buckets: int
    prior: str
    components: int

    @property
    def name(self) -> str:
        """The data set by name, for messages."""
        data = self.data
        return f"{data.scenario}/{data.sampling}/function {data.function}/repetition {data.repetition}"


@dataclasses.dataclass(frozen=True)
class Sized:
    """What planning needs to know of a task: training samples, its evaluation splits and the largest, its classes."""

    samples: int
    eval_samples: int
    splits: tuple[str, ...]
    bins: binning.Bins | None


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
        """This part without its finished chunks; None when nothing is left. A chunk is never taken apart."""
        left = [i for i, chunk in enumerate(self.chunks) if not done.issuperset(chunk)]
        if any(not done.isdisjoint(self.chunks[i]) for i in left):
            raise ValueError("this study was begun with other chunks (another platform or `chunk`); continue it there")
        if not left:
            return None
        chunks, batches = tuple(self.chunks[i] for i in left), tuple(self.batches[i] for i in left)
        return dataclasses.replace(self, chunks=chunks, batches=batches)


def task_of(run: Run) -> Task:
    """What a run trains on."""
    return Task(
        data=run.data,
        classes=run.classes,
        balanced=run.balanced,
        rounding=run.rounding,
        reweight=run.reweight,
        lds=run.lds,
        buckets=run.buckets,
        prior=run.regression if run.regression in ("gai", "bni") else "none",
        components=run.components,
    )


def measure(task: Task, problem: Problem) -> Sized:
    """The sizes and classes of a task. Raises ValueError, naming the data set, for NaN or too few samples."""
    for split, (inputs, targets) in {"train": problem.train, **problem.evals}.items():
        binning.check_targets(targets, f"{task.name}, {split} targets")
        binning.check_targets(inputs, f"{task.name}, {split} inputs")
    bins = None
    if task.classes:
        name = f"{task.name}, training targets"
        bins = binning.fit(problem.train.y, task.classes, balanced=task.balanced, rounding=task.rounding, name=name)
    return Sized(
        samples=len(problem.train.y),
        eval_samples=max(len(split.y) for split in problem.evals.values()),
        splits=tuple(problem.evals),
        bins=bins,
    )


def padded_classes(classes: int) -> int:
    """The next of 2, 3, 4, 6, 8, 12, 16, ...: equalised counts differ per data set, compiled shapes should not."""
    power = 1 << (classes - 1).bit_length()
    smaller = power * 3 // 4
    return smaller if power > 2 and smaller >= classes else power


def shape_of(run: Run, sized: Sized) -> Shape:
    """The compiled program a run needs."""
    return Shape(
        hidden=run.hidden,
        classes=padded_classes(sized.bins.classes) if run.balanced and sized.bins else run.classes,
        balanced=run.balanced,
        optimizer=run.optimizer,
        decay=run.decay,
        regression=run.regression,
        weighted=run.reweight != "none",
        points={"gai": run.components, "bni": run.buckets}.get(run.regression, 0),
        batch_size=run.batch_size,
        epochs=run.epochs,
        trace=run.trace,
        trace_points=0 if run.trace == "none" else run.components,
    )


def chunk_size(shape: Shape, platform: str) -> int:
    """Runs per chunk: as many as keep the widest activation in cache on CPU; on an accelerator, as many as fill it."""
    run_bytes = 4 * shape.batch_size * max(shape.classes, *shape.hidden)
    if platform == "cpu":
        # XLA:CPU runs a batch of one 40 % slower than a batch of two.
        return max(2, min(MAX_CPU_CHUNK, CACHE_BYTES // run_bytes))
    return max(1, min(MAX_ACCELERATOR_CHUNK, ACCELERATOR_BYTES // run_bytes))


def batches_per_epoch(run: Run, sized: Sized) -> int:
    """Full batches per epoch (the remainder is dropped). Raises ValueError where there is none."""
    if sized.samples < run.batch_size:
        name, size = task_of(run).name, run.batch_size
        raise ValueError(f"{name}: {sized.samples} training samples do not fill one batch of {size}")
    return sized.samples // run.batch_size


def order_of(run: Run, sized: Sized) -> tuple[int, int]:
    """What decides the order of the samples: (seed, number of samples), so that compared runs see the same batches.

    The published code shuffles from the training seed alone, too.
    """
    return run.seed, sized.samples


def orders_of(numbers: Iterable[int], runs: Sequence[Run], sizes: Mapping[Task, Sized]) -> set[tuple[int, int]]:
    """The different orders of some runs."""
    return {order_of(runs[n], sizes[task_of(runs[n])]) for n in numbers}


def plan(
    runs: Sequence[Run], sizes: Mapping[Task, Sized], *, platform: str, devices: int, chunk: int = 0
) -> list[list[Part]]:
    """The parts of a study, one list per shape, small programs first. `chunk` 0 chooses the chunk size.

    Chunks depend on the runs and the platform only, never on what is done already or on the number of devices.
    """
    by_shape: dict[Shape, list[int]] = {}
    for number, run in enumerate(runs):
        by_shape.setdefault(shape_of(run, sizes[task_of(run)]), []).append(number)
    return [
        _plan_shape(shape, by_shape[shape], runs, sizes, chunk or chunk_size(shape, platform), devices)
        for shape in sorted(by_shape, key=lambda shape: (shape.classes, repr(shape)))
    ]


def _plan_shape(
    shape: Shape,
    numbers: list[int],
    runs: Sequence[Run],
    sizes: Mapping[Task, Sized],
    chunk: int,
    devices: int,
) -> list[Part]:
    batches = {n: batches_per_epoch(runs[n], sizes[task_of(runs[n])]) for n in numbers}
    in_order = sorted(numbers, key=lambda n: (batches[n], order_of(runs[n], sizes[task_of(runs[n])])))
    chunks = []
    for _, group in itertools.groupby(in_order, key=batches.get):
        same = tuple(group)
        chunks.extend(same[start : start + chunk] for start in range(0, len(same), chunk))
    samples = max(sizes[task_of(runs[n])].samples for n in numbers)
    run_cost = shape.epochs * samples * (shape.classes + STEP_COST) * (1 if shape.trace == "none" else TRACE_COST)
    per_device = max(1, round(PART_COST / (run_cost * chunk)))
    length = min(per_device, -(-len(chunks) // devices)) * devices
    return [
        Part(shape, tuple(cut), tuple(batches[members[0]] for members in cut), chunk, length)
        for cut in _cut(chunks, length, runs, sizes)
    ]


def _cut(
    chunks: list[tuple[int, ...]], length: int, runs: Sequence[Run], sizes: Mapping[Task, Sized]
) -> Iterator[list[tuple[int, ...]]]:
    """Cuts chunks into parts of at most `length` chunks, MAX_ORDERS orders, MAX_TASKS tasks (at least one chunk)."""
    part: list[tuple[int, ...]] = []
    orders: set[tuple[int, int]] = set()
    tasks: set[Task] = set()
    for chunk in chunks:
        more_orders, more_tasks = orders_of(chunk, runs, sizes), {task_of(runs[n]) for n in chunk}
        too_large = len(orders | more_orders) > MAX_ORDERS or len(tasks | more_tasks) > MAX_TASKS
        if part and (len(part) == length or too_large):
            yield part
            part, orders, tasks = [], set(), set()
        part.append(chunk)
        orders |= more_orders
        tasks |= more_tasks
    if part:
        yield part
