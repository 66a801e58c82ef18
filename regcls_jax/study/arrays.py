"""The arrays of one device call: every data set, split, label and order once, and each run's indices into them."""

import functools
import math
import mmap
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from regcls_jax import binning, targets
from regcls_jax.data.source import Problem, Spec
from regcls_jax.losses.registry import AUXILIARY
from regcls_jax.method import DECODED
from regcls_jax.priors import MixturePrior
from regcls_jax.study.plan import Order, Part, Sized, order_of, orders_of
from regcls_jax.study.program import TRACED, Arrays, RunArrays, Shape
from regcls_jax.study.runs import Run, TrainingSet
from regcls_jax.study.trace import TraceArrays
from regcls_jax.study.train import SEPARATE_MODEL

ALIGNMENT = 64  # bytes; of the arrays of XLA:CPU
COPIED_BYTES = 1 << 24  # of a data set at a time
Read = Callable[[Any], Problem]  # of the specs of one source
Sizes = Mapping[TrainingSet, Sized]
KeyT = TypeVar("KeyT", bound=Hashable)


class Padding(NamedTuple):
    """Sizes that all parts of a shape are padded to, so that it compiles once."""

    data: int
    rows: int
    problems: int
    sets: int
    samples: int
    eval_samples: int
    orders: int


def padding(parts: Sequence[Part], runs: Sequence[Run], sizes: Sizes, multiple: int = 1) -> Padding:
    """The largest sizes among the parts of one shape; those of rows and samples are rounded up to a `multiple`."""

    def rounded(size: int) -> int:
        return -(-size // multiple) * multiple

    sets = [{runs[n].trained_on for n in part.runs} for part in parts]
    every = [sizes[each] for each in set().union(*sets)]
    return Padding(
        data=max(len({each.data.shared for each in of_part}) for of_part in sets),
        rows=rounded(max(sized.rows for sized in every)),
        problems=max(len({each.data for each in of_part}) for of_part in sets),
        sets=max(map(len, sets)),
        samples=rounded(max(sized.samples for sized in every)),
        eval_samples=rounded(max(sized.eval_samples for sized in every)),
        orders=max(len(orders_of(part.runs, runs, sizes)) for part in parts),
    )


# Orders of this size are kept: sixteen of the paper's data sets, 8 MB each at 25,000 samples x 80 epochs.
KEPT_BYTES = 1 << 24


def sample_orders(seed: int, samples: int, epochs: int) -> np.ndarray:
    """The order of the samples in every epoch, int32 [epochs, samples]: a fresh permutation each, from the seed.

    Made by NumPy because sorting random keys on the device costs more than the training itself.
    """
    return (_kept_orders if 4 * samples * epochs <= KEPT_BYTES else _draw_orders)(seed, samples, epochs)


def _draw_orders(seed: int, samples: int, epochs: int) -> np.ndarray:
    orders = np.tile(np.arange(samples, dtype=np.int32), (epochs, 1))
    return np.random.default_rng((seed, samples)).permuted(orders, axis=1, out=orders)


_kept_orders = functools.lru_cache(maxsize=16)(_draw_orders)


def run_keys(runs: Sequence[Run]) -> jax.Array:
    """The key of each run [n], from its seed, its problem's key and, if `initial_weights` is "separate", its model.

    Arms, and problems of one seed and key (in 1-D: samplings and scenarios of one function), share it.
    """

    separate = [run.initial_weights == "separate" and run.classes > 0 for run in runs]
    keys = [_key(run.seed, run.data.key, of_run) for run, of_run in zip(runs, separate, strict=True)]
    return jax.random.wrap_key_data(jax.device_put(np.stack(keys)))


# One at a time: all of a part together would be compiled for every number of them.
@functools.lru_cache(maxsize=1 << 14)
def _key(seed: int, problem: int, separate: bool) -> np.ndarray:
    key = jax.random.fold_in(jax.random.key(seed), problem)
    return np.asarray(jax.random.key_data(jax.random.fold_in(key, SEPARATE_MODEL) if separate else key))


class LastData:
    """Inputs and targets of the data sets of the last part, which the next one may need again."""

    def __init__(self) -> None:
        self._key: Hashable = None
        self._found: tuple[np.ndarray, np.ndarray] | None = None

    def of(self, size: Padding, specs: Mapping[Hashable, Spec], read: Read) -> tuple[np.ndarray, np.ndarray]:
        """Inputs [P, n, D] and targets [P, n] or [P, n, t] of the problems `specs`, one per data set, in order."""
        key = (size.data, size.rows, *specs)
        if key != self._key or self._found is None:
            self._key, self._found = None, None  # before the new ones are made
            problems = [read(spec) for spec in specs.values()]
            first = problems[0]
            inputs = aligned_zeros((size.data, size.rows, first.inputs.shape[1]), np.float32)
            targets = np.zeros((size.data, size.rows, *first.targets.shape[1:]), np.float32)
            for place, problem in enumerate(problems):
                _copy(problem.inputs, inputs[place])
                targets[place, : len(problem.targets)] = problem.targets
            self._key, self._found = key, (inputs, targets)
        return self._found


def _copy(rows: np.ndarray, into: np.ndarray) -> None:
    """Copies `rows` piece by piece: of a mapped file no more is in memory than a piece, the rest is the system's."""
    mapped: mmap.mmap | None = getattr(rows, "_mmap", None)
    piece = max(1, COPIED_BYTES // max(1, rows[:1].nbytes))
    for start in range(0, len(rows), piece):
        if mapped is not None:
            mapped.madvise(mmap.MADV_DONTNEED)
        part = rows[start : start + piece]
        into[start : start + len(part)] = part
    if mapped is not None:
        mapped.madvise(mmap.MADV_DONTNEED)


def aligned_zeros(shape: tuple[int, ...], dtype: type) -> np.ndarray:
    """`np.zeros` that begins where XLA:CPU can take it as it is, without a copy."""
    size = math.prod(shape) * np.dtype(dtype).itemsize
    memory = np.zeros(size + ALIGNMENT, np.uint8)
    start = -memory.ctypes.data % ALIGNMENT
    return memory[start : start + size].view(dtype).reshape(shape)


def on_every_device(arrays: Arrays[np.ndarray], mesh: Mesh) -> Arrays[jax.Array]:
    """The arrays on all devices of a mesh; where these are cores of one CPU, in one copy, which must not change."""
    whole = NamedSharding(mesh, PartitionSpec())

    def place(array: np.ndarray) -> jax.Array:
        copies = [jax.device_put(array, device, may_alias=True) for device in mesh.devices.flat]
        return jax.make_array_from_single_device_arrays(array.shape, whole, copies)

    return jax.tree.map(place, arrays)


class _Places(NamedTuple):
    """The indices of everything in the arrays of a part."""

    data: dict[Hashable, int]
    problems: dict[Spec, int]
    sets: dict[TrainingSet, int]
    orders: dict[Order, int]
    train_rows: dict[str, Spec]


def _places(part: Part, runs: Sequence[Run], sizes: Sizes) -> _Places:
    members = [runs[n] for n in part.runs]

    def numbered(values: Sequence[KeyT]) -> dict[KeyT, int]:
        return {value: place for place, value in enumerate(dict.fromkeys(values))}

    return _Places(
        numbered([run.data.shared for run in members]),
        numbered([run.data for run in members]),
        numbered([run.trained_on for run in members]),
        numbered(sorted(orders_of(part.runs, runs, sizes))),
        {sizes[run.trained_on].train_rows: run.data for run in members},
    )


def build(
    part: Part,
    padding: Padding,
    runs: Sequence[Run],
    sizes: Sizes,
    read: Read,
    devices: int,
    last: LastData | None = None,
) -> tuple[RunArrays[np.ndarray], np.ndarray, Arrays[np.ndarray]]:
    """The arguments of `train.train_runs`: runs [length, chunk], batches per epoch [length], arrays.

    Missing runs repeat one of the part; missing chunks get 0 batches. Chunk i has the index
    `chunk_places(part, devices)[i]`.

    Args:
      part: what to train.
      padding: the sizes of the arrays.
      runs: all runs of the study.
      sizes: of all training sets.
      read: loads the problem of a spec.
      devices: how many devices the chunks are dealt out to.
      last: what the part before this one was built with, if there was one.
    """
    at, places = _places(part, runs, sizes), chunk_places(part, devices)
    batches = np.zeros(part.length, np.int32)
    batches[places] = part.batches
    return (
        _run_arrays(part, places, at, runs, sizes),
        batches,
        _arrays(part.shape, padding, at, sizes, read, last),
    )


def chunk_places(part: Part, devices: int) -> np.ndarray:
    """The index of each chunk of a part [chunks]: dealt out in turn, so that all devices share a short part."""
    return np.arange(part.length).reshape(devices, -1).T.ravel()[: len(part.chunks)]


def _arrays(
    shape: Shape, size: Padding, at: _Places, sizes: Sizes, read: Read, last: LastData | None
) -> Arrays[np.ndarray]:
    """Zeros of the padded size, filled row by row: one copy of every array."""
    problems = {spec: read(spec) for spec in at.problems}
    first = next(iter(problems.values()))
    specs: dict[Hashable, Spec] = {}
    for spec in at.problems:
        specs.setdefault(spec.shared, spec)
    inputs, data_targets = (last or LastData()).of(size, specs, read)
    width, splits, classes = first.inputs.shape[1], len(first.splits), shape.classes
    scaled = width if shape.inputs == "standardised" else 0
    with_edges = classes > 0 and (AUXILIARY[shape.auxiliary].edges or shape.decoded != "value")
    arrays = Arrays(
        inputs=inputs,
        targets=data_targets,
        data=np.zeros(size.problems, np.int32),
        centre=np.zeros((size.problems, scaled), np.float32),
        spread=np.ones((size.problems, scaled), np.float32),
        eval_rows=np.zeros((size.problems, splits, size.eval_samples), np.int32),
        eval_sizes=np.zeros((size.problems, splits), np.int32),
        problem=np.zeros(size.sets, np.int32),
        labels=np.zeros((size.sets, size.rows if classes else 0), np.int32),
        weights=np.zeros((size.sets, size.rows if shape.weighted else 0), np.float32),
        class_weights=np.zeros((size.sets, size.rows if shape.class_weighted else 0), np.float32),
        classes=np.zeros(size.sets, np.int32),
        keep=np.zeros((size.sets, classes), np.float32),
        edges=np.zeros((size.sets, classes + 1 if with_edges else 0), np.float32),
        prior=MixturePrior(*(np.zeros((size.sets, shape.points), np.float32) for _ in range(3))),
        mean=np.zeros((size.sets, *first.targets.shape[1:]), np.float32),
        std=np.ones((size.sets, *first.targets.shape[1:]), np.float32),
        orders=aligned_zeros((size.orders, shape.epochs, size.samples), np.int32),
        trace=_trace_arrays(shape, size, at, problems, sizes),
    )
    for spec, place in at.problems.items():
        _fill_problem(arrays, place, at.data[spec.shared], problems[spec])
    for trained_on, place in at.sets.items():
        arrays.problem[place] = at.problems[trained_on.data]
        _fill_set(arrays, shape, place, trained_on, problems[trained_on.data], sizes[trained_on].bins)
    for (seed, samples, train_rows), place in at.orders.items():
        rows = problems[at.train_rows[train_rows]].splits["train"]
        # Epoch by epoch: a whole order of a large data set more would be a lot of memory.
        for epoch, order in enumerate(sample_orders(seed, samples, shape.epochs)):
            arrays.orders[place, epoch, :samples] = rows[order]
    return arrays


def input_scale(problem: Problem) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation [D] of the training inputs; 1 for a constant input, which carries nothing."""
    mean, std = targets.scale_of(problem.inputs[problem.splits["train"]])
    return mean, np.where(std > 0, std, 1)


def _fill_problem(arrays: Arrays[np.ndarray], place: int, data: int, problem: Problem) -> None:
    arrays.data[place] = data
    if arrays.centre.shape[1]:
        arrays.centre[place], arrays.spread[place] = input_scale(problem)
    for number, split in enumerate(problem.splits.values()):
        arrays.eval_sizes[place, number] = len(split)
        arrays.eval_rows[place, number, : len(split)] = split


def _fill_set(
    arrays: Arrays[np.ndarray],
    shape: Shape,
    place: int,
    trained_on: TrainingSet,
    problem: Problem,
    bins: binning.Bins | None,
) -> None:
    method, train, train_targets = trained_on.method, problem.splits["train"], problem.train_targets
    if bins is not None:
        arrays.labels[place, train] = binning.assign(train_targets, bins.edges)
        arrays.classes[place] = bins.classes
        arrays.keep[place, : bins.classes] = bins.keep
        if arrays.edges.shape[1]:
            # Padded with the last edge: classes of zero width, which contain nothing.
            arrays.edges[place] = np.pad(bins.edges, (0, shape.classes - bins.classes), mode="edge")
    if shape.weighted:
        of_method = targets.sample_weights(method, train_targets) if method.reweight != "none" else 1.0
        arrays.weights[place, train] = of_method * (1.0 if problem.weights is None else problem.weights[train])
    if shape.class_weighted and problem.weights is not None:
        arrays.class_weights[place, train] = problem.weights[train]
    if (prior := targets.prior(method, train_targets)) is not None:
        _fill_prior(arrays.prior, place, prior)
    if shape.output == "standardised":
        name = f"{trained_on.data.name}, training targets"
        arrays.mean[place], arrays.std[place] = targets.standardisation(method, train_targets, name)


def _fill_prior(arrays: MixturePrior, place: int, prior: MixturePrior) -> None:
    for array, values in zip(arrays, prior, strict=True):
        np.asarray(array)[place] = values  # no copy: these arrays are NumPy's


def _trace_arrays(
    shape: Shape, size: Padding, at: _Places, problems: Mapping[Spec, Problem], sizes: Sizes
) -> TraceArrays[np.ndarray] | None:
    """What the trace needs of every training set besides its evaluation splits; None without a trace."""
    if shape.trace == "none":
        return None
    splits = next(iter(problems.values())).splits
    trace = TraceArrays(
        labels=np.zeros((size.sets, len(splits), size.eval_samples if shape.classes else 0), np.int32),
        class_log_prior=np.full((size.sets, shape.classes), -np.inf, np.float32),
        prior=MixturePrior(*(np.zeros((size.sets, shape.trace_points), np.float32) for _ in range(3))),
        train_split=np.full(size.sets, list(splits).index("train"), np.int32),
    )
    for trained_on, place in at.sets.items():
        problem = problems[trained_on.data]
        mixture = targets.mixture(problem.train_targets, trained_on.method.components)
        _fill_prior(trace.prior, place, mixture)
        if (bins := sizes[trained_on].bins) is not None:
            shares = bins.counts / bins.counts.sum()
            trace.class_log_prior[place, : bins.classes] = np.log(
                shares, out=np.full(bins.classes, -np.inf), where=shares > 0
            )
            for number, rows in enumerate(problem.splits.values()):
                trace.labels[place, number, : len(rows)] = binning.assign(problem.targets[rows], bins.edges)
    return trace


def _run_arrays(
    part: Part, places: np.ndarray, at: _Places, runs: Sequence[Run], sizes: Sizes
) -> RunArrays[np.ndarray]:
    shape = part.length, part.chunk
    numbers = np.full(shape, part.chunks[0][0])
    for place, chunk in zip(places, part.chunks, strict=True):
        numbers[place, : len(chunk)] = chunk
    members = [runs[n] for n in numbers.ravel()]

    def array(values: Sequence[float], dtype: type = np.float32) -> np.ndarray:
        return np.array(values, dtype).reshape(shape)

    traced = (*TRACED, *members[0].hyperparameters())
    return RunArrays(
        training_set=array([at.sets[run.trained_on] for run in members], np.int32),
        order=array([at.orders[order_of(run, sizes[run.trained_on])] for run in members], np.int32),
        key=run_keys(members).reshape(shape),
        decoding=array([DECODED.index(run.decoded) for run in members], np.int32),
        numbers={name: array([getattr(run, name) for run in members]) for name in traced},
    )
