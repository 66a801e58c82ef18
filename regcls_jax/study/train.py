"""Thousands of small trainings in one jitted call: vmap inside a chunk, a sequence of chunks, chunks over devices.

A chunk is a few runs trained side by side (vmap); it is small enough that its activations stay in a core's cache, so
chunks follow one another (`lax.map`) instead of forming one wide vmap, and each device takes its own share of them
(`shard_map`, no communication). Every setting that changes no shape is traced, so that a new learning rate or lambda
compiles nothing new.
"""

import functools
from typing import Any, Generic, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array
from jax.sharding import Mesh, PartitionSpec

from regcls_jax import binning
from regcls_jax import optimizer as optimizers
from regcls_jax.losses.auxiliary import Given
from regcls_jax.losses.registry import AUXILIARY, REGRESSION
from regcls_jax.metrics.errors import ErrorSums, error_sums
from regcls_jax.models.mlp import ACTIVATIONS, INITIALIZERS, MLP
from regcls_jax.objectives import keep_mask, objective
from regcls_jax.prediction import Prediction
from regcls_jax.priors import MixturePrior
from regcls_jax.study.step import State, init_state, train_step
from regcls_jax.study.trace import ArrayT, Trace, TraceArrays, watch

# A whole epoch is gathered at once where it takes no more memory than this per run, else every step gathers its batch:
# with one input that is a third slower, with 64 inputs nothing.
EPOCH_BYTES = 1 << 24
# The rows of a split that are evaluated at a time have inputs of this size.
BLOCK_BYTES = 1 << 22
# What a run's key is folded with, by purpose.
INITIAL_WEIGHTS, CLASS_MASKS, SEPARATE_MODEL = 0, 1, 2

# What may predict: the value head, or the class probabilities by a rule.
PREDICTED_BY = ("value", *binning.DECODINGS)


class Shape(NamedTuple):
    """The settings that need a program of their own: each changes shapes or operations. Fields are as in `runs.Run`."""

    hidden: tuple[int, ...]
    activation: str
    initializer: str
    inputs: str
    decoded: str
    output: str
    loss_in: str
    noise_in: str
    outputs: int  # components of vector targets; 0: scalar targets
    classes: int  # with padding
    auxiliary: str
    balanced: bool
    optimizer: str
    schedule: str
    boundaries: tuple[int, ...]
    decay: str
    regression: str
    reduction: str
    weighted: bool  # the regression loss is
    class_weighted: bool
    points: int  # components of the prior p~(y) of Balanced MSE; 0: none
    batch_size: int
    epochs: int
    best_on: int  # index of the split; -1: the last epoch counts
    trace: str
    trace_points: int  # components of the prior of the trace; 0: none


class RunArrays(NamedTuple, Generic[ArrayT]):
    """What may differ between the runs of one program, each [...] over runs."""

    training_set: ArrayT  # index into the arrays
    order: ArrayT  # index into the arrays
    key: Array  # random key
    decoding: ArrayT  # index into PREDICTED_BY, read where the shape's is "any"
    numbers: dict[str, ArrayT]  # by field of a run


# The fields of a run in `RunArrays.numbers`, besides the hyperparameters of its losses.
TRACED = ("lam", "scale", "learning_rate", "weight_decay", "momentum", "noise_sigma", "noise_learning_rate")


class Arrays(NamedTuple, Generic[ArrayT]):
    """What runs share, padded to the largest: every data set, problem, training set and order once.

    P data sets; F problems, the splits of a data set as row numbers; T training sets, problems with classes and
    weights; O orders.
    """

    inputs: ArrayT  # [P, n, D]
    targets: ArrayT  # [P, n] or [P, n, t]
    data: ArrayT  # [F], index of the problem's data set
    centre: ArrayT  # [F, D], mean of the training inputs; [F, 0] where inputs are not standardised
    spread: ArrayT  # [F, D] or [F, 0], their standard deviation
    eval_rows: ArrayT  # [F, S, m], row numbers of the S splits
    eval_sizes: ArrayT  # [F, S], how many of these are real
    problem: ArrayT  # [T], index of the training set's problem
    labels: ArrayT  # int32 [T, n], of the training rows; [T, 0] without classes
    weights: ArrayT  # [T, n], of the regression loss of the training rows; [T, 0] without weights
    class_weights: ArrayT  # [T, n], of their auxiliary loss; [T, 0] where the problem has no weights
    classes: ArrayT  # [T], real classes
    keep: ArrayT  # [T, C], keep probabilities
    edges: ArrayT  # [T, C + 1]; [T, 0] where neither the auxiliary loss nor the prediction needs them
    prior: MixturePrior  # three [T, K]
    mean: ArrayT  # [T] or [T, t], of the targets
    std: ArrayT  # [T] or [T, t]
    orders: ArrayT  # [O, epochs, s], row numbers of the s training samples, in a new order each epoch
    trace: TraceArrays[ArrayT] | None


class Trained(NamedTuple):
    """The result of a training: error sums [S], trace [epochs + 1, S] or None; where asked for, the model's parameters
    and its values [v, m] on some splits.
    """

    errors: ErrorSums
    trace: Trace | None
    params: optax.Params | None
    values: Array | None


def network(shape: Shape, classes: bool = True) -> MLP:
    """The network of a run, features first; without its class head where only the value is asked for."""
    return MLP(
        shape.hidden,
        shape.classes if classes else 0,
        shape.outputs,
        activation=ACTIVATIONS[shape.activation],
        kernel_init=INITIALIZERS[shape.initializer],
        feature_axis=0,
    )


class Own(NamedTuple):
    """The shared arrays, and the indices of one run in them. Rows are read epoch by epoch."""

    arrays: Arrays[Array]
    set: Array
    problem: Array
    data: Array
    decoding: Array

    @classmethod
    def of(cls, arrays: Arrays[Array], run: RunArrays[Array]) -> "Own":
        """Looks up the indices once, not in every step."""
        problem = arrays.problem[run.training_set]
        return cls(arrays, run.training_set, problem, arrays.data[problem], run.decoding)

    def inputs(self, rows: Array) -> Array:
        """Inputs [..., D] of some rows of the data set, standardised where the run asks for it."""
        found = self.arrays.inputs.at[self.data, rows].get(mode="promise_in_bounds")
        if self.arrays.centre.shape[1]:
            of_all_rows = tuple(range(rows.ndim))
            centre, spread = (
                jnp.expand_dims(scale[self.problem], of_all_rows) for scale in (self.arrays.centre, self.arrays.spread)
            )
            found = (found - centre) / spread
        return found

    def targets(self, rows: Array) -> Array:
        """Targets [...] or [..., t] of some rows of the data set."""
        return self.arrays.targets.at[self.data, rows].get(mode="promise_in_bounds")

    def column(self, column: Array, rows: Array) -> Array:
        """Labels or weights [B] of some training rows."""
        return column.at[self.set, rows].get(mode="promise_in_bounds")

    def value(self, shape: Shape, prediction: Prediction) -> Array:
        """The predicted value in target units."""
        if shape.output == "target":
            return prediction.value
        mean, std = self.arrays.mean[self.set], self.arrays.std[self.set]
        return (mean[None] + std[None] * prediction.value) if shape.outputs else mean + std * prediction.value

    def noise_unit(self, shape: Shape) -> Array | float:
        """What the noise scale of Balanced MSE is in, in target units."""
        return self.arrays.std[self.set] if shape.noise_in == "std" else 1.0

    def predicted(self, shape: Shape, prediction: Prediction) -> Array:
        """What a run predicts, in target units: its value, or what its logits say; padding has no probability."""
        if shape.decoded == "value" or prediction.logits is None:
            return self.value(shape, prediction)
        real = jnp.arange(shape.classes) < self.arrays.classes[self.set]
        probabilities = jax.nn.softmax(jnp.where(real, prediction.logits.T, -jnp.inf), axis=-1)
        decode: Any = functools.partial(binning.decode, probabilities, self.arrays.edges[self.set])
        if shape.decoded != "any":
            return decode(shape.decoded)
        every = [self.value(shape, prediction), *map(decode, binning.DECODINGS)]
        return jax.lax.select_n(jnp.broadcast_to(self.decoding, every[0].shape), *every)


def _initial_params(shape: Shape, key: Array, width: int, classes: Array) -> optax.Params:
    params = network(shape).init(jax.random.fold_in(key, INITIAL_WEIGHTS), jnp.zeros((width, 1)))["params"]
    if shape.balanced and shape.initializer.startswith("xavier"):
        # Xavier's bound depends on the number of outputs: use the real classes, not the padded head.
        fan_in = shape.hidden[-1]
        params["class_head"]["kernel"] *= jnp.sqrt((fan_in + shape.classes) / (fan_in + classes))
    return params


def _optimizer(shape: Shape, own: Own, run: RunArrays[Array], batches: Array) -> optax.GradientTransformation:
    """The optimiser of all parameters; the noise scale of Balanced MSE has an Adam of its own, without decay."""
    rate = optimizers.learning_rate(
        run.numbers["learning_rate"],
        shape.schedule,
        boundaries=shape.boundaries,
        steps_per_epoch=batches,
        epochs=shape.epochs,
    )
    # One flat vector makes Adam one operation instead of one per layer, with the same result: it is elementwise.
    model = optax.flatten(
        optimizers.make(
            shape.optimizer,
            learning_rate=rate,
            weight_decay=run.numbers["weight_decay"],
            decay=shape.decay,
            momentum=run.numbers["momentum"],
        )
    )
    if not REGRESSION[shape.regression].noise:
        return model
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


def _loss(
    shape: Shape, own: Own, run: RunArrays[Array], batch: Batch, key: Array, params: optax.Params
) -> tuple[Array, dict[str, Array]]:
    """The objective of a batch; `key` draws its class masks."""
    arrays, auxiliary = own.arrays, AUXILIARY[shape.auxiliary]
    prediction: Any = network(shape).apply({"params": params["model"]}, batch.inputs.T)
    given = class_mask = None
    if not auxiliary.classes:
        given = Given(batch.targets, axis=0)
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
            unit=arrays.std[own.set] if shape.loss_in == "std" else None,
        ),
        auxiliary=auxiliary.bind(run.numbers),
        weights=batch.weights,
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
    optimizer = _optimizer(shape, own, run, batches)
    mask_key = jax.random.fold_in(run.key, CLASS_MASKS)

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
            key = jax.random.fold_in(mask_key, number * batches + batch)
            loss = functools.partial(_loss, shape, own, run, rows, key)
            return train_step(state, loss, optimizer)[0]

        steps = batches if arrays.trace is None else jnp.where(number < 0, 0, batches)
        state = jax.lax.fori_loop(0, steps, step, state)
        if best is not None:
            errors, _ = _split_errors(shape, own, state.params["model"], shape.best_on)
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
    state = init_state(params, optimizer)
    # Epoch -1 has no batches: it traces the initial model, with the trace compiled only once.
    numbers = jnp.arange(0 if arrays.trace is None else -1, shape.epochs)
    # NaN until an epoch has a finite error: a run that diverges at once must not pass for the untrained model.
    nothing = jax.tree.map(lambda array: jnp.full_like(array, jnp.nan), params)
    best = _Best(jnp.float32(jnp.inf), nothing) if shape.best_on >= 0 else None
    (state, best), trace = jax.lax.scan(epoch, (state, best), numbers)
    return state.params if best is None else best.params, trace


def _split_errors(shape: Shape, own: Own, params: optax.Params, split: Array | int) -> tuple[ErrorSums, Array]:
    """Error sums of a run on one evaluation split, and what it predicts there."""
    rows = own.arrays.eval_rows[own.problem, split]
    real = jnp.arange(len(rows)) < own.arrays.eval_sizes[own.problem, split]
    values = _values(shape, own, params, rows)
    return error_sums(values, own.targets(rows), real), values


def _values(shape: Shape, own: Own, params: optax.Params, rows: Array) -> Array:
    """What a run predicts for some rows [m], in target units: [m] or [m, t]."""
    by_class = shape.decoded != "value"
    used = params if by_class else {name: layer for name, layer in params.items() if name != "class_head"}

    def of(rows: Array) -> Array:
        prediction: Any = network(shape, classes=by_class).apply({"params": used}, own.inputs(rows).T)
        return own.predicted(shape, prediction)

    block = max(1, BLOCK_BYTES // (4 * own.arrays.inputs.shape[-1]))
    if len(rows) <= block:
        return of(rows)
    blocks = jnp.pad(rows, (0, -len(rows) % block)).reshape(-1, block)
    found = jax.lax.map(of, blocks)
    return found.reshape(-1, *found.shape[2:])[: len(rows)]


def _evaluate(
    shape: Shape, arrays: Arrays[Array], keep_values: tuple[int, ...], run: RunArrays[Array], params: optax.Params
) -> tuple[ErrorSums, Array | None]:
    """Error sums [S] of a run on every evaluation split, and its predictions on those that are to be kept."""
    own = Own.of(arrays, run)
    errors, values = jax.vmap(functools.partial(_split_errors, shape, own, params))(
        jnp.arange(arrays.eval_rows.shape[1])
    )
    return errors, values[jnp.array(keep_values)] if keep_values else None


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
            evaluate = functools.partial(_evaluate, shape, arrays, keep_values)
            errors, values = jax.lax.map(lambda one: evaluate(*one), (runs, params["model"]))
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
