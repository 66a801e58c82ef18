"""Thousands of small trainings in one jitted call: vmap inside a chunk, a sequence of chunks, chunks over devices.

A chunk is a few runs trained side by side (vmap); it is small enough that its activations stay in a core's cache, so
chunks follow one another (`lax.map`) instead of forming one wide vmap, and each device takes its own share of them
(`shard_map`, no communication). Every setting that changes no shape is traced, so that a new learning rate or lambda
compiles nothing new.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.flatten_util
import jax.numpy as jnp
import optax
from jax import Array
from jax.sharding import Mesh, PartitionSpec

from regcls_jax import optimizer as optimizers
from regcls_jax.losses.auxiliary import Given
from regcls_jax.losses.registry import AUXILIARY, REGRESSION
from regcls_jax.models.dense import falling
from regcls_jax.objectives import keep_mask, objective
from regcls_jax.study.chunks import EPOCH_BYTES
from regcls_jax.study.evaluation import Own, evaluate, split_errors
from regcls_jax.study.program import Arrays, RunArrays, Shape, Trained, network
from regcls_jax.study.step import State, init_state, train_step
from regcls_jax.study.trace import Trace, watch

# What a run's key is folded with, by purpose.
INITIAL_WEIGHTS, CLASS_MASKS, SEPARATE_MODEL, MIXUP = 0, 1, 2, 3


def _initial_params(shape: Shape, key: Array, width: int, classes: Array) -> optax.Params:
    params = network(shape).init(jax.random.fold_in(key, INITIAL_WEIGHTS), jnp.zeros((width, 1)))["params"]
    if not shape.balanced:
        return params
    if AUXILIARY[shape.auxiliary].one_direction:
        params["class_head"]["bias"] = falling(shape.classes, classes)
    elif shape.initializer.startswith("xavier"):
        # Xavier's bound depends on the number of outputs: use the real classes, not the padded head.
        fan_in = shape.hidden[-1]
        params["class_head"]["kernel"] *= jnp.sqrt((fan_in + shape.classes) / (fan_in + classes))
    return params


def _optimizer(
    shape: Shape, own: Own, run: RunArrays[Array], batches: Array, params: optax.Params
) -> optax.GradientTransformation:
    """The optimiser of all parameters; the noise scale of Balanced MSE has an Adam of its own, without decay."""
    rate = optimizers.learning_rate(
        run.numbers["learning_rate"],
        shape.schedule,
        boundaries=shape.boundaries,
        steps_per_epoch=batches,
        epochs=shape.epochs,
    )
    weight_decay = run.numbers["weight_decay"]
    if shape.decayed == "kernels":
        decays = optimizers.kernels(params["model"])
        decays = jax.tree.map(lambda part, yes: jnp.full(part.shape, float(yes)), params["model"], decays)
        weight_decay = weight_decay * jax.flatten_util.ravel_pytree(decays)[0]
    # One flat vector makes Adam one operation instead of one per layer, with the same result: it is elementwise.
    model = optax.flatten(
        optimizers.make(
            shape.optimizer,
            learning_rate=rate,
            weight_decay=weight_decay,
            decay=shape.decay,
            momentum=run.numbers["momentum"],
        )
    )
    if not REGRESSION[shape.regression].noise:
        return optimizers.sharpness_aware(model, run.numbers["sam_rho"]) if shape.sam else model
    noise = optimizers.make(learning_rate=run.numbers["noise_learning_rate"] * own.noise_unit(shape))
    return optax.partition({"model": model, "noise_sigma": noise}, {"model": "model", "noise_sigma": "noise_sigma"})


def _watch(shape: Shape, own: Own, run: RunArrays[Array], params: optax.Params) -> Trace | None:
    """The quantities of section 2.2 on every evaluation split, if the run asks for them."""
    arrays = own.arrays
    if arrays.trace is None:
        return None
    rows = arrays.eval_rows[own.problem]
    return watch(
        network(shape),
        params["model"],
        own.inputs(rows),
        own.targets(rows),
        arrays.eval_sizes[own.problem],
        jax.tree.map(lambda array: array[run.training_set], arrays.trace),
        variance=1 / (2 * run.numbers["lam"]) if shape.trace == "lambda" else None,
        classes=arrays.classes[run.training_set] if shape.balanced else None,
        block=shape.batch_size,
    )


class Batch(NamedTuple):
    """Some training rows: inputs [B, D], targets [B] or [B, t], labels int [B] and weights [B], each or None."""

    inputs: Array
    targets: Array
    labels: Array | None
    weights: Array | None
    class_weights: Array | None


def _gather(shape: Shape, own: Own, rows: Array) -> Batch:
    """The batch of some training `rows` [B]."""
    return Batch(
        own.inputs(rows),
        own.targets(rows),
        own.column(own.arrays.labels, rows) if shape.classes else None,
        own.column(own.arrays.weights, rows) if shape.weighted else None,
        own.column(own.arrays.class_weights, rows) if shape.class_weighted else None,
    )


def _mixed(own: Own, run: RunArrays[Array], batch: Batch, key: Array) -> Batch:
    """C-Mixup (Yao et al. 2022, recipes 2.14) inside a batch: every sample with one of a near target, or with itself.

    The published code draws the other one from the whole training set, which takes n x n numbers.
    """
    partners, share = jax.random.split(key)
    targets = batch.targets.reshape(len(batch.targets), -1)
    distance = jnp.sum(jnp.square((targets[:, None] - targets[None]) / own.arrays.std[own.set]), -1)
    other = jax.random.categorical(partners, -distance / (2 * jnp.square(run.numbers["mixup"])))
    alpha = run.numbers["mixup_alpha"]
    mine = jax.random.beta(share, alpha, alpha)
    inputs, mixed = (mine * part + (1 - mine) * part[other] for part in (batch.inputs, batch.targets))
    return batch._replace(inputs=inputs, targets=mixed)


def _loss(
    shape: Shape, own: Own, run: RunArrays[Array], batch: Batch, key: Array, progress: Array, params: optax.Params
) -> tuple[Array, dict[str, Array]]:
    """The objective of a batch; `key` draws its class masks, `progress` is the share of the epochs that are over."""
    arrays, auxiliary = own.arrays, AUXILIARY[shape.auxiliary]
    prediction: Any = network(shape).apply({"params": params["model"]}, batch.inputs.T)
    unit = arrays.std[own.set] if shape.loss_in == "std" else None
    given = class_mask = None
    if not auxiliary.classes:
        given = Given(
            batch.targets,
            axis=0,
            unit=1.0 if unit is None else unit,
            output_scale=own.output_scale(shape),
            weights=batch.weights,
            progress=progress,
        )
    elif batch.labels is not None:
        real = arrays.classes[own.set] if shape.balanced else None
        edges = arrays.edges[own.set] if arrays.edges.shape[1] else None
        given = Given(batch.targets, batch.labels, edges, real, axis=0)
        if shape.balanced:
            class_mask = keep_mask(key, batch.labels, arrays.keep[own.set])
    prior = jax.tree.map(lambda array: array[own.set], arrays.prior)
    return objective(
        prediction._replace(value=own.value(shape, prediction)),
        batch.targets,
        given=given,
        lam=run.numbers["lam"],
        scale=run.numbers["scale"],
        reduction=shape.reduction,
        regression=REGRESSION[shape.regression].bind(
            run.numbers,
            prior=prior,
            noise_sigma=params.get("noise_sigma"),
            unit=unit,
        ),
        auxiliary=auxiliary.bind(run.numbers),
        weights=None if auxiliary.takes_weights else batch.weights,
        class_weights=batch.class_weights if given is not None else None,
        class_mask=class_mask,
    )


class _Best(NamedTuple):
    """The epoch of the lowest MSE so far."""

    mse: Array
    params: optax.Params


def _train(
    shape: Shape, arrays: Arrays[Array], batches: Array, run: RunArrays[Array]
) -> tuple[optax.Params, Trace | None]:
    """One whole training: `shape.epochs` passes of `batches` batches each (the remainder of a pass is dropped).

    Returns the parameters of the "model" and, for Balanced MSE, "noise_sigma", after the epoch that counts. The trace
    is [epochs + 1, S]: before training, and after every epoch.
    """
    own = Own.of(arrays, run)
    mask_key, mixup_key = (jax.random.fold_in(run.key, purpose) for purpose in (CLASS_MASKS, MIXUP))

    def epoch(carry: tuple[State, _Best | None], number: Array) -> tuple[Any, Trace | None]:
        state, best = carry
        # One epoch's order at a time: those of all epochs would be copied for every run. Epoch -1 has no batches.
        order = arrays.orders.at[run.order, jnp.maximum(number, 0)].get(mode="promise_in_bounds")
        at_once = 4 * order.size * arrays.inputs.shape[-1] <= EPOCH_BYTES
        shuffled = _gather(shape, own, order) if at_once else order

        def step(batch: Array, state: State) -> State:
            start, size = batch * shape.batch_size, shape.batch_size
            rows = jax.tree.map(lambda column: jax.lax.dynamic_slice_in_dim(column, start, size), shuffled)
            rows = rows if at_once else _gather(shape, own, rows)
            at = number * batches + batch
            key = jax.random.fold_in(mask_key, at)
            if shape.mixup:
                rows = _mixed(own, run, rows, jax.random.fold_in(mixup_key, at))
            loss = functools.partial(_loss, shape, own, run, rows, key, number / shape.epochs)
            return train_step(state, loss, optimizer)[0]

        steps = batches if arrays.trace is None else jnp.where(number < 0, 0, batches)
        state = jax.lax.fori_loop(0, steps, step, state)
        if best is not None:
            errors, _ = split_errors(shape, own, state.params["model"], shape.best_on)
            # Not the untrained model, which a trace looks at first.
            mse = jnp.where(number < 0, jnp.inf, errors.squared / errors.count)
            now = _Best(mse, state.params)
            best = jax.tree.map(functools.partial(jnp.where, now.mse < best.mse), now, best)
        return (state, best), _watch(shape, own, run, state.params)

    params = {"model": _initial_params(shape, run.key, arrays.inputs.shape[-1], arrays.classes[own.set])}
    if REGRESSION[shape.regression].noise:
        params["noise_sigma"] = run.numbers["noise_sigma"] * own.noise_unit(shape)
    if not shape.epochs:
        return params, None
    optimizer = _optimizer(shape, own, run, batches, params)
    state = init_state(params, optimizer)
    # Epoch -1 has no batches: it traces the initial model, with the trace compiled only once.
    numbers = jnp.arange(0 if arrays.trace is None else -1, shape.epochs)
    # NaN until an epoch has a finite error: a run that diverges at once must not pass for the untrained model.
    nothing = jax.tree.map(lambda array: jnp.full_like(array, jnp.nan), params)
    best = _Best(jnp.float32(jnp.inf), nothing) if shape.best_on >= 0 else None
    (state, best), trace = jax.lax.scan(epoch, (state, best), numbers)
    return state.params if best is None else best.params, trace


@functools.partial(jax.jit, static_argnames=("shape", "mesh", "keep_params", "keep_values"))
def train_runs(
    runs: RunArrays[Array],
    batches: Array,
    arrays: Arrays[Array],
    *,
    shape: Shape,
    mesh: Mesh,
    keep_params: bool = False,
    keep_values: tuple[int, ...] = (),
) -> Trained:
    """Trains and evaluates runs [chunks, chunk]; every leaf of the result is [chunks, chunk, ...].

    Args:
      runs: what differs between the runs.
      batches: [chunks] batches per epoch, common to a chunk; 0 for padding, which costs nothing.
      arrays: what the runs share.
      shape: the settings that determine the program.
      mesh: the one-axis mesh "data" whose size divides the number of chunks: they are split over its devices.
      keep_params: whether to return the parameters, for a caller who wants to predict.
      keep_values: numbers of the splits whose predicted values are returned.
    """

    def chunk(arrays: Arrays[Array], runs_and_batches: tuple[RunArrays[Array], Array]) -> Trained:
        runs, batches = runs_and_batches

        @jax.jit  # so that it is traced once, for `eval_shape` and for `cond`
        def trained(runs: RunArrays[Array]) -> Trained:
            params, trace = jax.vmap(functools.partial(_train, shape, arrays, batches))(runs)
            # One run at a time: predictions on whole splits take most of the memory here.
            tested = functools.partial(evaluate, shape, arrays, keep_values)
            errors, values = jax.lax.map(lambda one: tested(*one), (runs, params["model"]))
            return Trained(errors, trace, params["model"] if keep_params else None, values)

        nothing = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), jax.eval_shape(trained, runs))
        return jax.lax.cond(batches > 0, trained, lambda runs: nothing, runs)

    def share(runs: RunArrays[Array], batches: Array, arrays: Arrays[Array]) -> Trained:
        return jax.lax.map(functools.partial(chunk, arrays), (runs, batches))

    split, whole = PartitionSpec("data"), PartitionSpec()
    # Devices do not communicate, so there is nothing for the replication check to verify.
    return jax.shard_map(share, mesh=mesh, in_specs=(split, split, whole), out_specs=split, check_vma=False)(
        runs, batches, arrays
    )
