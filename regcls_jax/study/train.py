"""Thousands of small trainings in one jitted call: vmap inside a chunk, a sequence of chunks, chunks over devices.

A chunk is a few runs trained side by side (vmap); it is small enough that its activations stay in a core's cache, so
chunks follow one another (`lax.map`) instead of forming one wide vmap, and each device takes its own share of them
(`shard_map`, no communication). Everything a run may vary without another shape is traced, so a new learning rate or
lambda compiles nothing.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array
from jax.sharding import Mesh, PartitionSpec

from regcls_jax import losses
from regcls_jax import optimizer as optimizers
from regcls_jax.losses import balanced_mse
from regcls_jax.metrics.errors import ErrorSums, error_sums
from regcls_jax.models.mlp import MLP
from regcls_jax.objective import Loss, keep_mask, objective
from regcls_jax.study.step import State, init_state, train_step
from regcls_jax.study.trace import Trace, TraceTables, watch
from regcls_jax.theory import MixturePrior

BALANCED_MSE = ("gai", "bni", "bmc")
# What a run's key is folded with, by purpose.
INITIAL_WEIGHTS, CLASS_MASKS, SEPARATE_MODEL = 0, 1, 2


class Shape(NamedTuple):
    """What makes a separate program: everything here changes shapes or operations.

    `classes` counts padding; `points` are the components of the prior p~(y) of Balanced MSE, `trace_points` those of
    the trace, 0 without one.
    """

    hidden: tuple[int, ...]
    classes: int
    balanced: bool
    optimizer: str
    decay: str
    regression: str
    weighted: bool
    points: int
    batch_size: int
    epochs: int
    trace: str
    trace_points: int


class RunArrays(NamedTuple):
    """What a run may vary freely, each [...] over runs: indices into the tables, key, and hyperparameters."""

    task: Array
    order: Array
    key: Array
    lam: Array
    scale: Array
    learning_rate: Array
    weight_decay: Array
    momentum: Array
    noise_sigma: Array
    noise_learning_rate: Array


class Tables(NamedTuple):
    """What runs share, padded to the largest. T tasks (a data set with its classes), O orders, S evaluation splits.

    inputs [T, n, D], targets [T, n], labels [T, n] (int32; [T, 0] without classes), weights [T, n] ([T, 0] without),
    classes [T], keep [T, C] and prior (three [T, K]) of each task; orders [O, epochs, n] permutations of the samples;
    eval_inputs [T, S, m, D], eval_targets [T, S, m], and eval_sizes [T, S] the number of real rows; `trace` is None
    where nothing is traced.
    """

    inputs: Array
    targets: Array
    labels: Array
    weights: Array
    classes: Array
    keep: Array
    prior: MixturePrior
    orders: Array
    eval_inputs: Array
    eval_targets: Array
    eval_sizes: Array
    trace: TraceTables | None


def _initial_params(shape: Shape, key: Array, inputs: Array, classes: Array) -> optax.Params:
    model = MLP(shape.hidden, shape.classes, feature_axis=0)
    params = model.init(jax.random.fold_in(key, INITIAL_WEIGHTS), inputs.T)["params"]
    if shape.balanced:
        # Xavier's bound depends on the number of outputs: that of the real classes, not of the padded head.
        fan_in = shape.hidden[-1]
        params["class_head"]["kernel"] *= jnp.sqrt((fan_in + shape.classes) / (fan_in + classes))
    return params


def _optimizer(shape: Shape, run: RunArrays) -> optax.GradientTransformation:
    """The optimiser of all parameters; the noise scale of Balanced MSE has an Adam of its own, without decay."""
    # One flat vector: Adam is then one operation instead of one per layer. The result is the same, it is elementwise.
    model = optax.flatten(
        optimizers.make(
            shape.optimizer,
            learning_rate=run.learning_rate,
            weight_decay=run.weight_decay,
            decay=shape.decay,
            momentum=run.momentum,
        )
    )
    if shape.regression not in BALANCED_MSE:
        return model
    noise = optimizers.make(learning_rate=run.noise_learning_rate)
    return optax.partition({"model": model, "noise_sigma": noise}, {"model": "model", "noise_sigma": "noise_sigma"})


def _regression(shape: Shape, tables: Tables, run: RunArrays, params: optax.Params) -> Loss:
    """The regression loss by name; Balanced MSE takes the noise scale and (but for BMC) the prior of the task."""
    if shape.regression not in BALANCED_MSE:
        return getattr(losses, shape.regression)
    if shape.regression == "bmc":
        return functools.partial(balanced_mse.bmc, noise_sigma=params["noise_sigma"])
    # BNI's histogram comes as points, a mixture without width: GAI of it is BNI.
    prior = jax.tree.map(lambda table: table[run.task], tables.prior)
    return functools.partial(balanced_mse.gai, prior=prior, noise_sigma=params["noise_sigma"])


def _watch(shape: Shape, tables: Tables, run: RunArrays, params: optax.Params) -> Trace | None:
    """The quantities of section 2.2 on every evaluation split, if the run asks for them."""
    if tables.trace is None:
        return None
    return watch(
        MLP(shape.hidden, shape.classes, feature_axis=0),
        params["model"],
        tables.eval_inputs[run.task],
        tables.eval_targets[run.task],
        tables.eval_sizes[run.task],
        jax.tree.map(lambda table: table[run.task], tables.trace),
        variance=1 / (2 * run.lam) if shape.trace == "lambda" else None,
        classes=tables.classes[run.task] if shape.balanced else None,
        block=shape.batch_size,
    )


def train(shape: Shape, tables: Tables, batches: Array, run: RunArrays) -> tuple[State, Trace | None]:
    """One whole training: `shape.epochs` passes of `batches` batches each (the remainder of a pass is dropped).

    The parameters are those of the "model" and, for Balanced MSE, "noise_sigma". The trace is [epochs + 1, S]: before
    training, and after every epoch.
    """
    task = {
        "inputs": tables.inputs[run.task],
        "targets": tables.targets[run.task],
        "labels": tables.labels[run.task] if shape.classes else None,
        "weights": tables.weights[run.task] if shape.weighted else None,
    }
    classes = tables.classes[run.task]
    optimizer = _optimizer(shape, run)
    model = MLP(shape.hidden, shape.classes, feature_axis=0)
    mask_key = jax.random.fold_in(run.key, CLASS_MASKS)

    def epoch(state: State, number_and_order: tuple[Array, Array]) -> tuple[State, Trace | None]:
        number, order = number_and_order
        shuffled = jax.tree.map(lambda column: column[order], task)

        def step(batch: Array, state: State) -> State:
            rows = jax.tree.map(
                lambda column: jax.lax.dynamic_slice_in_dim(column, batch * shape.batch_size, shape.batch_size),
                shuffled,
            )
            kept = None
            if shape.balanced:
                key = jax.random.fold_in(mask_key, number * batches + batch)
                kept = keep_mask(key, rows["labels"], tables.keep[run.task])

            def loss(params: optax.Params) -> tuple[Array, dict[str, Array]]:
                prediction = model.apply({"params": params["model"]}, rows["inputs"].T)
                return objective(
                    prediction.value,
                    rows["targets"],
                    prediction.logits,
                    rows["labels"],
                    lam=run.lam,
                    scale=run.scale,
                    regression=_regression(shape, tables, run, params),
                    weights=rows["weights"],
                    class_mask=kept,
                    classes=classes if shape.balanced else None,
                    class_axis=0,
                )

            return train_step(state, loss, optimizer)[0]

        steps = batches if tables.trace is None else jnp.where(number < 0, 0, batches)
        state = jax.lax.fori_loop(0, steps, step, state)
        return state, _watch(shape, tables, run, state.params)

    params = {"model": _initial_params(shape, run.key, task["inputs"][:1], classes)}
    if shape.regression in BALANCED_MSE:
        params["noise_sigma"] = run.noise_sigma
    state = init_state(params, optimizer)
    numbers, orders = jnp.arange(shape.epochs), tables.orders[run.order]
    if tables.trace is not None:
        # An epoch -1 of no batches, after which the trace looks at the initial model: it is then compiled once.
        numbers, orders = jnp.arange(-1, shape.epochs), jnp.concatenate([jnp.zeros_like(orders[:1]), orders])
    return jax.lax.scan(epoch, state, (numbers, orders))


def evaluate(shape: Shape, tables: Tables, run: RunArrays, params: optax.Params) -> ErrorSums:
    """Error sums [S] of the value head on every evaluation split."""
    inputs, targets = tables.eval_inputs[run.task], tables.eval_targets[run.task]
    trunk = {name: layer for name, layer in params.items() if name != "class_head"}

    def split(inputs: Array, targets: Array, size: Array) -> ErrorSums:
        value = MLP(shape.hidden, feature_axis=0).apply({"params": trunk}, inputs.T).value
        return error_sums(value, targets, jnp.arange(len(targets)) < size)

    return jax.vmap(split)(inputs, targets, tables.eval_sizes[run.task])


@functools.partial(jax.jit, static_argnames=("shape", "mesh"))
def train_grid(
    runs: RunArrays, batches: Array, tables: Tables, *, shape: Shape, mesh: Mesh
) -> tuple[ErrorSums, Trace | None]:
    """Trains and evaluates runs [chunks, chunk] -> error sums [chunks, chunk, S], trace [chunks, chunk, epochs + 1, S].

    `batches` [chunks]: batches per epoch, common to a chunk; 0 for padding, which costs nothing. The chunks are split
    over the devices of the one-axis mesh "data", whose size divides their number.
    """

    def one(tables: Tables, batches: Array, run: RunArrays) -> tuple[ErrorSums, Trace | None]:
        state, trace = train(shape, tables, batches, run)
        return evaluate(shape, tables, run, state.params["model"]), trace

    def share(runs: RunArrays, batches: Array, tables: Tables) -> tuple[ErrorSums, Trace | None]:
        def chunk(runs_and_batches: tuple[RunArrays, Array]) -> tuple[ErrorSums, Trace | None]:
            runs, batches = runs_and_batches
            trained = jax.vmap(functools.partial(one, tables, batches))
            nothing = jax.tree.map(lambda sums: jnp.zeros(sums.shape, sums.dtype), jax.eval_shape(trained, runs))
            return jax.lax.cond(batches > 0, trained, lambda runs: nothing, runs)

        return jax.lax.map(chunk, (runs, batches))

    split, whole = PartitionSpec("data"), PartitionSpec()
    # No device talks to another, so there is nothing for the replication check to find.
    return jax.shard_map(share, mesh=mesh, in_specs=(split, split, whole), out_specs=split, check_vma=False)(
        runs, batches, tables
    )
