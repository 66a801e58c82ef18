"""The pure steps of training: a batch trained on, a batch of statistics, one evaluated."""

import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from jax import Array

from regcls_jax import binning, devices, feature_smoothing
from regcls_jax import optimizer as optimizers
from regcls_jax.data.prepared import Prepared
from regcls_jax.feature_smoothing import FdsConfig
from regcls_jax.loop.fitted import FittedArrays, fit
from regcls_jax.loop.runs import LoopRun
from regcls_jax.loop.task import Batch, Buckets, Task
from regcls_jax.loop.tasks import task_of
from regcls_jax.losses.auxiliary import Given
from regcls_jax.losses.registry import AUXILIARY
from regcls_jax.objectives import keep_mask, objective
from regcls_jax.prediction import Prediction

# What the run's key is folded with, by purpose.
INITIAL_WEIGHTS, CLASS_MASKS = 0, 1


class TrainState(NamedTuple):
    """Everything that training changes. `params`: "model" and, where it is learned, "noise_sigma" (in target units)."""

    step: Array
    params: dict[str, Any]
    batch_stats: Any
    optimizer: optax.OptState
    fds: feature_smoothing.State | None


class Numbers(NamedTuple):
    """Numbers of a run that its program takes as arguments, so that another seed or lambda compiles nothing anew."""

    key: Array  # of the run's seed, uint32 as `jax.random.key_data`: no device of another host takes a typed key
    lam: Array
    scale: Array


class Engine(NamedTuple):
    """The fixed half of a training, which the steps close over.

    `numbers` stand for those of the run; `fitted` to the training targets; `buckets` of feature smoothing, None
    without it.
    """

    run: LoopRun
    numbers: Numbers
    task: Task
    model: nn.Module
    optimizer: optax.GradientTransformation
    fitted: FittedArrays
    buckets: Buckets | None
    steps_per_epoch: int


def _optimizer(run: LoopRun, steps_per_epoch: int) -> optax.GradientTransformation:
    schedule = optimizers.learning_rate(
        run.learning_rate,
        run.schedule,
        boundaries=run.boundaries,
        steps_per_epoch=steps_per_epoch,
        epochs=run.epochs,
    )
    model = optimizers.make(
        run.optimizer,
        learning_rate=schedule,
        weight_decay=run.weight_decay,
        decay=run.decay,
        momentum=run.momentum,
        mask=optimizers.kernels if run.decayed == "kernels" else None,
    )
    transforms = {
        "model": model,
        # The noise scale of Balanced MSE has an Adam of its own, whose rate does not fall (recipes 2.4).
        "noise_sigma": optimizers.make(learning_rate=run.noise_learning_rate),
        "frozen": optax.set_to_zero(),
    }

    def labels(params: dict[str, Any]) -> dict[str, Any]:
        trained = {
            name: "model" if run.trainable == "all" or name == "value_head" else "frozen" for name in params["model"]
        }
        return {**params, "model": trained} | ({"noise_sigma": "noise_sigma"} if "noise_sigma" in params else {})

    every = optax.partition(transforms, labels)
    return optimizers.sharpness_aware(every, run.sam_rho) if run.sam_rho else every


def make_engine(run: LoopRun, data: Prepared) -> Engine:
    """Network and optimiser of a run; the class head has an output per (equalised) class, another head its own."""
    task = task_of(run)
    fitted = fit(run, task.targets(run, data), f"{data.name} training targets")
    head = AUXILIARY[run.auxiliary].head
    classes = 0 if fitted.edges is None else len(fitted.edges) - 1
    model = task.network(run, head.outputs if head else classes)
    buckets = task.buckets(run, data) if run.fds != "none" else None
    steps_per_epoch = -(-len(data.splits["train"].names) * run.rows_per_sample // run.batch_size)
    key = jax.random.key_data(jax.random.key(run.seed))
    numbers = Numbers(key, jnp.float32(run.lam), jnp.float32(run.scale))
    return Engine(run, numbers, task, model, _optimizer(run, steps_per_epoch), fitted, buckets, steps_per_epoch)


def fds_config(run: LoopRun) -> FdsConfig:
    """How a run smooths features: the kernel is that of LDS, the rest as published."""
    clip = (run.fds_clip_low, run.fds_clip_high)
    return FdsConfig(kernel=run.lds_kernel, size=run.lds_size, sigma=run.lds_sigma, clip=clip, mode=run.fds)


def init_state(engine: Engine, variables: Mapping[str, Any] | None = None) -> TrainState:
    """The state before the first step; `variables` ("params", "batch_stats") replace the random start."""
    run = engine.run
    if variables is None:
        variables = init_variables(engine)
    params = {"model": variables["params"]}
    if run.loss.noise:
        params["noise_sigma"] = jnp.float32(run.noise_sigma)
    fds = None
    if engine.buckets is not None:
        features = variables["params"]["value_head"]["kernel"].shape[-2]
        fds = feature_smoothing.init(engine.buckets.count, features, fds_config(run))
    return TrainState(jnp.int32(0), params, variables["batch_stats"], engine.optimizer.init(params), fds)


def init_variables(engine: Engine) -> dict[str, Any]:
    """Random "params" and "batch_stats" of the run's seed; equal for all arms, whatever their class head."""
    return _initializer(engine.model)(*_seeds(engine))


def state_shapes(engine: Engine) -> TrainState:
    """Shapes and types of a state, as jax.ShapeDtypeStruct."""
    return jax.eval_shape(lambda *seeds: init_state(engine, _variables(engine.model, *seeds)), *_seeds(engine))


def _seeds(engine: Engine) -> tuple[Array, Array]:
    key = jax.random.fold_in(jax.random.key(engine.run.seed), INITIAL_WEIGHTS)
    return key, jnp.zeros((1, *engine.task.input_shape(engine.run)))


def _variables(model: nn.Module, key: Array, inputs: Array) -> dict[str, Any]:
    return {"batch_stats": {}, **model.init(key, inputs, train=True)}


# One model's, compiled once for all its seeds.
@functools.lru_cache(maxsize=1)
def _initializer(model: nn.Module) -> Callable[[Array, Array], dict[str, Any]]:
    return jax.jit(functools.partial(_variables, model), compiler_options=devices.compiled_to_run_once())


def _forward(
    engine: Engine, state: TrainState, params: dict[str, Any], batch: Batch, epoch: Array
) -> tuple[Prediction, Any]:
    """The prediction in training mode, value in target units, and the moved running statistics of BatchNorm."""
    transform, fds = None, state.fds
    if fds is not None and engine.buckets is not None:
        buckets, config = engine.buckets.of(batch, False), fds_config(engine.run)

        def transform(features: Array) -> Array:
            return feature_smoothing.smooth(fds, features, buckets, epoch, config)

    prediction, updates = engine.model.apply(
        {"params": params["model"], "batch_stats": state.batch_stats},
        engine.task.inputs(batch),
        train=True,
        mask=batch["mask"],
        transform=transform,
        mutable=["batch_stats"],
    )
    return prediction._replace(value=_in_target_units(engine, prediction.value)), updates.get("batch_stats", {})


def _in_target_units(engine: Engine, outputs: Array) -> Array:
    return engine.fitted.mean + engine.fitted.std * outputs


def _loss(
    params: dict[str, Any], engine: Engine, state: TrainState, batch: Batch, key: Array
) -> tuple[Array, tuple[dict[str, Array], Any]]:
    """The objective of one (micro-)batch; terms, how many samples were kept, and BatchNorm's statistics beside it."""
    run, fitted = engine.run, engine.fitted
    epoch = state.step // engine.steps_per_epoch
    if run.trainable == "value_head":
        # Not only left unchanged: without their gradient there is no backward pass through the network.
        frozen = jax.tree.map(jax.lax.stop_gradient, params["model"])
        params = {**params, "model": {**frozen, "value_head": params["model"]["value_head"]}}
    prediction, batch_stats = _forward(engine, state, params, batch, epoch)
    value, target, mask, class_target, class_mask = engine.task.heads(run, batch, prediction)
    prediction = prediction._replace(value=value)
    if fitted.data_edges is not None:
        edges, keep = fitted.data_edges, jnp.asarray(fitted.data_keep)
        mask = mask & keep_mask(key, binning.assign(target, edges), keep)
        class_mask = class_mask & keep_mask(key, binning.assign(class_target, edges), keep)
    unit = fitted.std if run.loss_in == "std" else None
    scale = 1.0 if unit is None else float(unit)
    weights = None
    if fitted.bucket_weights is not None and fitted.bucket_edges is not None:
        weights = jnp.asarray(fitted.bucket_weights)[binning.assign(target, fitted.bucket_edges)]
    given = None
    if run.auxiliary_loss:
        given = Given(
            class_target,
            mask=class_mask,
            unit=scale,
            output_scale=(float(fitted.mean), float(fitted.std)),
            weights=weights,
            progress=epoch / run.epochs,
        )
    if given is not None and fitted.edges is not None:
        labels = binning.assign(class_target, fitted.edges)
        if run.balanced:
            # The key of the data's draw: where both are balanced alike, both losses see the same samples (Table 4).
            class_mask = class_mask & keep_mask(key, labels, jnp.asarray(fitted.keep))
        given = given._replace(labels=labels, edges=jnp.asarray(fitted.edges))
    hyperparameters, auxiliary = run.hyperparameters(), AUXILIARY[run.auxiliary]
    regression = run.loss.bind(
        hyperparameters,
        prior=fitted.prior,
        noise_sigma=params.get("noise_sigma"),
        mask=mask,
        unit=unit,
    )
    total, terms = objective(
        prediction,
        target,
        given=given,
        lam=engine.numbers.lam,
        scale=engine.numbers.scale,
        reduction=run.reduction,
        regression=regression,
        auxiliary=auxiliary.bind(hyperparameters),
        weights=None if auxiliary.takes_weights else weights,
        mask=mask,
        class_mask=class_mask if given else None,
    )
    return total, ({**terms, "kept": jnp.sum(mask)}, batch_stats)


def _part(batch: Batch, index: int, parts: int) -> Batch:
    """Every `parts`-th row from `index` on, so that a part has rows of every device and no row moves between them."""
    return jax.tree.map(lambda rows: rows.reshape(-1, parts, *rows.shape[1:])[:, index], batch)


def train_step(engine: Engine, state: TrainState, batch: Batch) -> tuple[TrainState, dict[str, Array]]:
    """One step on a `batch`; returns the loss and its terms.

    With `accumulate` > 1 the batch is taken in parts, each with its own batch statistics (as published); gradients are
    weighted by the samples of each part. Where balanced data keeps no sample of a batch, nothing is learned from it and
    the optimiser does not count the step.
    """
    run = engine.run
    seed = jax.random.wrap_key_data(engine.numbers.key)
    key = jax.random.fold_in(jax.random.fold_in(seed, CLASS_MASKS), state.step)
    results = []
    batch_stats = state.batch_stats
    # Unrolled: a convolution inside a scan is slow on CPU, and there are few parts.
    for index in range(run.accumulate):
        (loss, (terms, batch_stats)), gradient = jax.value_and_grad(_loss, has_aux=True)(
            state.params,
            engine,
            state._replace(batch_stats=batch_stats),
            _part(batch, index, run.accumulate),
            jax.random.fold_in(key, index),
        )
        results.append((gradient, {"loss": loss, **terms}))
    counts = [terms["kept"] for _, terms in results]
    whole = jnp.maximum(sum(counts), 1)
    gradient, terms = jax.tree.map(
        lambda *parts: sum(part * (count / whole) for part, count in zip(parts, counts, strict=True)), *results
    )
    terms["kept"] = sum(counts)

    def elsewhere(params: dict[str, Any], _: int) -> dict[str, Any]:
        """The gradient of the same batch, taken whole, at other parameters: for sharpness-aware minimisation."""
        return jax.grad(_loss, has_aux=True)(params, engine, state, batch, jax.random.fold_in(key, 0))[0]

    update = optax.with_extra_args_support(engine.optimizer).update
    updates, optimizer = update(gradient, state.optimizer, state.params, grad_fn=elsewhere)
    params = optax.apply_updates(state.params, updates)
    if run.balanced_data:
        params, optimizer = jax.tree.map(
            lambda new, old: jnp.where(terms["kept"] > 0, new, old),
            (params, optimizer),
            (state.params, state.optimizer),
        )
    if not run.balanced_data:
        del terms["kept"]
    terms |= {"noise_sigma": params["noise_sigma"]} if "noise_sigma" in params else {}
    return TrainState(state.step + 1, params, batch_stats, optimizer, state.fds), terms


def statistics_step(
    engine: Engine,
    state: TrainState,
    statistics: feature_smoothing.Statistics,
    batch: Batch,
    epoch: Array,
) -> tuple[TrainState, feature_smoothing.Statistics]:
    """Adds the features of a batch to the statistics of FDS (recipes 2.3), in training mode.

    "published" collects features that are smoothed already and moves BatchNorm's running statistics along, which
    "published_depth" does, too; "corrected" leaves the model alone. These two collect features before smoothing.
    """
    seen = state if engine.run.fds == "published" else state._replace(fds=None)
    prediction, batch_stats = _forward(engine, seen, state.params, batch, epoch)
    assert engine.buckets is not None  # the run smooths features
    assert prediction.features is not None  # which its network returns
    buckets = engine.buckets.of(batch, True)
    new = feature_smoothing.batch_statistics(prediction.features, buckets, buckets >= 0, engine.buckets.count)
    if engine.run.fds != "corrected":
        state = state._replace(batch_stats=batch_stats)
    return state, feature_smoothing.merge(statistics, new)


def eval_step(engine: Engine, params: dict[str, Any], batch_stats: Any, batch: Batch) -> Array:
    """The values predicted for a batch, [B, ...] in target units."""
    variables = {"params": params["model"], "batch_stats": batch_stats}
    by_class: dict[str, Any] = {} if engine.run.decoded == "value" else {"read_classes": True}
    prediction: Any = engine.model.apply(variables, engine.task.inputs(batch), train=False, **by_class)
    if not by_class:
        return _in_target_units(engine, prediction.value)
    assert prediction.logits is not None  # the run has a head besides that of the value
    auxiliary = AUXILIARY[engine.run.auxiliary]
    if auxiliary.head:
        return _in_target_units(engine, auxiliary.head.value(prediction.logits)[0])
    assert engine.fitted.edges is not None
    probabilities = auxiliary.probabilities(prediction.logits)
    return binning.decode(probabilities, jnp.asarray(engine.fitted.edges), engine.run.decoded)
