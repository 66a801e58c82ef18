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
from regcls_jax.metrics import ErrorSums, error_sums
from regcls_jax.models.mlp import MLP
from regcls_jax.objective import keep_mask, objective
from regcls_jax.training import optimizer as optimizers
from regcls_jax.training.step import State, init_state, train_step

# What a run's key is folded with, by purpose.
INITIAL_WEIGHTS, CLASS_MASKS, SEPARATE_MODEL = 0, 1, 2


class Shape(NamedTuple):
    """What makes a separate program: everything here changes shapes or operations. `classes` counts padding."""

    hidden: tuple[int, ...]
    classes: int
    balanced: bool
    optimizer: str
    decay: str
    regression: str
    batch_size: int
    epochs: int


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


class Tables(NamedTuple):
    """What runs share, padded to the largest. T tasks (a data set with its classes), O orders, S evaluation splits.

    inputs [T, n, D], targets [T, n], labels [T, n] (int32; [T, 0] without classes), classes [T] and keep [T, C] of each
    task; orders [O, epochs, n] permutations of the samples; eval_inputs [T, S, m, D], eval_targets [T, S, m], and
    eval_sizes [T, S] the number of real rows.
    """

    inputs: Array
    targets: Array
    labels: Array
    classes: Array
    keep: Array
    orders: Array
    eval_inputs: Array
    eval_targets: Array
    eval_sizes: Array


def _initial_params(shape: Shape, key: Array, inputs: Array, classes: Array) -> optax.Params:
    model = MLP(shape.hidden, shape.classes, feature_axis=0)
    params = model.init(jax.random.fold_in(key, INITIAL_WEIGHTS), inputs.T)["params"]
    if shape.balanced:
        # Xavier's bound depends on the number of outputs: that of the real classes, not of the padded head.
        fan_in = shape.hidden[-1]
        params["class_head"]["kernel"] *= jnp.sqrt((fan_in + shape.classes) / (fan_in + classes))
    return params


def train(shape: Shape, tables: Tables, batches: Array, run: RunArrays) -> State:
    """One whole training: `shape.epochs` passes of `batches` batches each (the remainder of a pass is dropped)."""
    inputs, targets, labels = tables.inputs[run.task], tables.targets[run.task], tables.labels[run.task]
    classes = tables.classes[run.task]
    # One flat vector: Adam is then one operation instead of one per layer. The result is the same, it is elementwise.
    optimizer = optax.flatten(
        optimizers.make(
            shape.optimizer,
            learning_rate=run.learning_rate,
            weight_decay=run.weight_decay,
            decay=shape.decay,
            momentum=run.momentum,
        )
    )
    model = MLP(shape.hidden, shape.classes, feature_axis=0)
    mask_key = jax.random.fold_in(run.key, CLASS_MASKS)

    def epoch(state: State, number_and_order: tuple[Array, Array]) -> tuple[State, None]:
        number, order = number_and_order
        shuffled = inputs[order], targets[order], labels[order] if shape.classes else None

        def step(batch: Array, state: State) -> State:
            x, y, label = jax.tree.map(
                lambda rows: jax.lax.dynamic_slice_in_dim(rows, batch * shape.batch_size, shape.batch_size), shuffled
            )
            kept = None
            if shape.balanced:
                kept = keep_mask(jax.random.fold_in(mask_key, number * batches + batch), label, tables.keep[run.task])

            def loss(params: optax.Params) -> tuple[Array, dict[str, Array]]:
                prediction = model.apply({"params": params}, x.T)
                return objective(
                    prediction.value,
                    y,
                    prediction.logits,
                    label,
                    lam=run.lam,
                    scale=run.scale,
                    regression=getattr(losses, shape.regression),
                    class_mask=kept,
                    classes=classes if shape.balanced else None,
                    class_axis=0,
                )

            return train_step(state, loss, optimizer)[0]

        return jax.lax.fori_loop(0, batches, step, state), None

    state = init_state(_initial_params(shape, run.key, inputs[:1], classes), optimizer)
    numbered = jnp.arange(shape.epochs), tables.orders[run.order]
    return jax.lax.scan(epoch, state, numbered)[0]


def evaluate(shape: Shape, tables: Tables, run: RunArrays, params: optax.Params) -> ErrorSums:
    """Error sums [S] of the value head on every evaluation split."""
    inputs, targets = tables.eval_inputs[run.task], tables.eval_targets[run.task]
    trunk = {name: layer for name, layer in params.items() if name != "class_head"}

    def split(inputs: Array, targets: Array, size: Array) -> ErrorSums:
        value = MLP(shape.hidden, feature_axis=0).apply({"params": trunk}, inputs.T).value
        return error_sums(value, targets, jnp.arange(len(targets)) < size)

    return jax.vmap(split)(inputs, targets, tables.eval_sizes[run.task])


@functools.partial(jax.jit, static_argnames=("shape", "mesh"))
def train_grid(runs: RunArrays, batches: Array, tables: Tables, *, shape: Shape, mesh: Mesh) -> ErrorSums:
    """Trains and evaluates runs [chunks, chunk] -> error sums [chunks, chunk, S].

    `batches` [chunks]: batches per epoch, common to a chunk; 0 for padding, which costs nothing. The chunks are split
    over the devices of the one-axis mesh "data", whose size divides their number.
    """

    def one(tables: Tables, batches: Array, run: RunArrays) -> ErrorSums:
        return evaluate(shape, tables, run, train(shape, tables, batches, run).params)

    def share(runs: RunArrays, batches: Array, tables: Tables) -> ErrorSums:
        def chunk(runs_and_batches: tuple[RunArrays, Array]) -> ErrorSums:
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
