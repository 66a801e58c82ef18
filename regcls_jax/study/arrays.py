"""The arrays of one device call: every data set, label, permutation once, and for each run where to find its own."""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from regcls_jax import binning, imbalance
from regcls_jax.data.source import Problem
from regcls_jax.data.synthetic.spec import DataSpec
from regcls_jax.study.plan import MAX_ORDERS, MAX_TASKS, Part, Sized, Task, order_of, orders_of, task_of
from regcls_jax.study.runs import Run
from regcls_jax.study.trace import TraceTables
from regcls_jax.study.train import SEPARATE_MODEL, RunArrays, Shape, Tables
from regcls_jax.theory import MixturePrior


class Padding(NamedTuple):
    """Sizes that all parts of a shape are padded to, so that it compiles once."""

    tasks: int
    orders: int
    samples: int
    eval_samples: int


def padding(parts: Sequence[Part], runs: Sequence[Run], sizes: Mapping[Task, Sized]) -> Padding:
    """The largest sizes among the parts of one shape."""
    tasks = [{task_of(runs[n]) for n in part.runs} for part in parts]
    every = [sizes[task] for task in set().union(*tasks)]
    return Padding(
        tasks=max(map(len, tasks)),
        orders=max(len(orders_of(part.runs, runs, sizes)) for part in parts),
        samples=max(sized.samples for sized in every),
        eval_samples=max(sized.eval_samples for sized in every),
    )


@functools.lru_cache(maxsize=MAX_ORDERS)
def sample_orders(seed: int, samples: int, epochs: int) -> np.ndarray:
    """The order of the samples in every epoch, int32 [epochs, samples]: a fresh permutation each, from the seed.

    Made by NumPy because sorting random keys on the device costs more than the training itself.
    """
    generator = np.random.default_rng((seed, samples))
    return generator.permuted(np.tile(np.arange(samples, dtype=np.int32), (epochs, 1)), axis=1)


def run_keys(runs: Sequence[Run]) -> jax.Array:
    """The key of each run [n], from its seed and its function (and its model, if `initial_weights` is "separate").

    Arms, samplings and scenarios of one seed and function share it. (In the published code all functions of a
    repetition share the initial weights; separate ones make the mean over functions say more.)
    """

    def key(seed: jax.Array, function: jax.Array, separate: jax.Array) -> jax.Array:
        shared = jax.random.fold_in(jax.random.key(seed), function)
        return jnp.where(separate, jax.random.fold_in(shared, SEPARATE_MODEL), shared)

    seeds = jnp.array([run.seed for run in runs])
    functions = jnp.array([run.data.function for run in runs])
    separate = jnp.array([run.initial_weights == "separate" and run.classes > 0 for run in runs])
    return jax.vmap(key)(seeds, functions, separate)


def build(
    part: Part,
    padding: Padding,
    runs: Sequence[Run],
    sizes: Mapping[Task, Sized],
    read: Callable[[DataSpec], Problem],
    devices: int,
) -> tuple[RunArrays, np.ndarray, Tables]:
    """The arguments of `grid_step.train_grid`: runs [length, chunk], batches per epoch [length], tables.

    Missing runs repeat one of the part; missing chunks get 0 batches. Chunk i stands at place
    `chunk_places(part, devices)[i]`.
    """
    tasks = sorted({task_of(runs[n]) for n in part.runs}, key=repr)
    orders = sorted(orders_of(part.runs, runs, sizes))
    places = chunk_places(part, devices)
    batches = np.zeros(part.length, np.int32)
    batches[places] = part.batches
    run_arrays = _run_arrays(part, places, tasks, orders, runs, sizes)
    return run_arrays, batches, _tables(part, padding, tasks, orders, sizes, read)


def chunk_places(part: Part, devices: int) -> np.ndarray:
    """Where each chunk of a part stands [chunks]: dealt out in turn, so that all devices share a short part."""
    return np.arange(part.length).reshape(devices, -1).T.ravel()[: len(part.chunks)]


def _tables(
    part: Part,
    padding: Padding,
    tasks: Sequence[Task],
    orders: Sequence[tuple[int, int]],
    sizes: Mapping[Task, Sized],
    read: Callable[[DataSpec], Problem],
) -> Tables:
    """Zeros of the padded size, filled row by row: one copy of every array."""
    problems = [read(task.data) for task in tasks]
    classes, epochs = part.shape.classes, part.shape.epochs
    count, _, n, m = padding
    width, splits = problems[0].train.x.shape[1], len(problems[0].evals)
    tables = Tables(
        inputs=np.zeros((count, n, width), np.float32),
        targets=np.zeros((count, n), np.float32),
        labels=np.zeros((count, n if classes else 0), np.int32),
        weights=np.zeros((count, n if part.shape.weighted else 0), np.float32),
        classes=np.zeros(count, np.int32),
        keep=np.zeros((count, classes), np.float32),
        prior=MixturePrior(*(np.zeros((count, part.shape.points), np.float32) for _ in range(3))),
        orders=np.zeros((padding.orders, epochs, n), np.int32),
        eval_inputs=np.zeros((count, splits, m, width), np.float32),
        eval_targets=np.zeros((count, splits, m), np.float32),
        eval_sizes=np.zeros((count, splits), np.int32),
        trace=_trace_tables(part.shape, padding, tasks, problems, sizes),
    )
    for row, (task, problem) in enumerate(zip(tasks, problems, strict=True)):
        bins = sizes[task].bins
        samples = len(problem.train.y)
        tables.inputs[row, :samples], tables.targets[row, :samples] = problem.train
        if bins is not None:
            tables.labels[row, :samples] = binning.assign(problem.train.y, bins.edges)
            tables.classes[row] = bins.classes
            tables.keep[row, : bins.classes] = bins.keep
        if part.shape.weighted:
            tables.weights[row, :samples] = sample_weights(task, problem.train.y)
        if part.shape.points:
            for table, values in zip(tables.prior, prior(task, problem.train.y), strict=True):
                table[row] = values
        for column, split in enumerate(problem.evals.values()):
            size = tables.eval_sizes[row, column] = len(split.y)
            tables.eval_inputs[row, column, :size], tables.eval_targets[row, column, :size] = split
    for row, (seed, samples) in enumerate(orders):
        tables.orders[row, :, :samples] = sample_orders(seed, samples, epochs)
    return tables


@functools.lru_cache(maxsize=MAX_TASKS)
def _mixture(targets: bytes, components: int) -> MixturePrior:
    """`imbalance.fit_mixture` of float64 targets; it takes a second, and every class count asks for it."""
    return imbalance.fit_mixture(np.frombuffer(targets), components)


def _trace_tables(
    shape: Shape, padding: Padding, tasks: Sequence[Task], problems: Sequence[Problem], sizes: Mapping[Task, Sized]
) -> TraceTables | None:
    """What the trace needs of every task beside its evaluation splits; None without trace."""
    if shape.trace == "none":
        return None
    count, splits, samples = padding.tasks, len(problems[0].evals), padding.eval_samples
    trace = TraceTables(
        labels=np.zeros((count, splits, samples if shape.classes else 0), np.int32),
        class_log_prior=np.full((count, shape.classes), -np.inf, np.float32),
        prior=MixturePrior(*(np.zeros((count, shape.trace_points), np.float32) for _ in range(3))),
        train_split=np.zeros(count, np.int32),
    )
    for row, (task, problem) in enumerate(zip(tasks, problems, strict=True)):
        trace.train_split[row] = list(problem.evals).index("train")
        mixture = _mixture(problem.train.y.astype(np.float64).tobytes(), task.components)
        for table, values in zip(trace.prior, mixture, strict=True):
            table[row] = values
        if (bins := sizes[task].bins) is not None:
            shares = bins.counts / bins.counts.sum()
            trace.class_log_prior[row, : bins.classes] = np.log(
                shares, out=np.full(bins.classes, -np.inf), where=shares > 0
            )
            for column, split in enumerate(problem.evals.values()):
                trace.labels[row, column, : len(split.y)] = binning.assign(split.y, bins.edges)
    return trace


def _buckets(task: Task, targets: np.ndarray) -> np.ndarray:
    return binning.uniform_edges(float(targets.min()), float(targets.max()), task.buckets)


def sample_weights(task: Task, targets: np.ndarray) -> np.ndarray:
    """The weight of every training target [n], mean 1 (recipes 2.2; no clipping: that was for counts of years)."""
    lds = imbalance.LdsKernel() if task.lds else None
    return imbalance.label_weights(targets, _buckets(task, targets), task.reweight, lds=lds)


def prior(task: Task, targets: np.ndarray) -> MixturePrior:
    """p~(y) of Balanced MSE: a Gaussian mixture (GAI), or one point per bucket of the training targets (BNI)."""
    if task.prior == "gai":
        return imbalance.fit_mixture(targets, task.components)
    edges = _buckets(task, targets)
    counts = np.bincount(binning.assign(targets, edges), minlength=task.buckets)
    return MixturePrior((edges[:-1] + edges[1:]) / 2, np.zeros(task.buckets), counts / counts.sum())


def _run_arrays(
    part: Part,
    places: np.ndarray,
    tasks: Sequence[Task],
    orders: Sequence[tuple[int, int]],
    runs: Sequence[Run],
    sizes: Mapping[Task, Sized],
) -> RunArrays:
    shape = part.length, part.chunk
    numbers = np.full(shape, part.chunks[0][0])
    for place, chunk in zip(places, part.chunks, strict=True):
        numbers[place, : len(chunk)] = chunk
    members = [runs[n] for n in numbers.ravel()]

    def array(values: Sequence[float], dtype: type = np.float32) -> np.ndarray:
        return np.array(values, dtype).reshape(shape)

    return RunArrays(
        task=array([tasks.index(task_of(run)) for run in members], np.int32),
        order=array([orders.index(order_of(run, sizes[task_of(run)])) for run in members], np.int32),
        key=run_keys(members).reshape(shape),
        lam=array([run.lam for run in members]),
        scale=array([run.scale for run in members]),
        learning_rate=array([run.learning_rate for run in members]),
        weight_decay=array([run.weight_decay for run in members]),
        momentum=array([run.momentum for run in members]),
        noise_sigma=array([run.noise_sigma for run in members]),
        noise_learning_rate=array([run.noise_learning_rate for run in members]),
    )
