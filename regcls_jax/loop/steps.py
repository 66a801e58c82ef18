"""The pure steps of training on images with ages: a batch trained on, a batch of statistics, one evaluated."""

import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array

from regcls_jax import binning, feature_smoothing
from regcls_jax import optimizer as optimizers
from regcls_jax.feature_smoothing import FdsConfig
from regcls_jax.loop.age_tables import AgeTables
from regcls_jax.loop.runs import ImageRun
from regcls_jax.losses.auxiliary import Given, classification
from regcls_jax.losses.registry import AUXILIARY
from regcls_jax.metrics.shots import ClassErrorSums, class_error_sums
from regcls_jax.models.resnet import ResNet, resnet
from regcls_jax.objectives import keep_mask, objective
from regcls_jax.prediction import Prediction

Batch = Mapping[str, Array]
# What the run's key is folded with, by purpose.
INITIAL_WEIGHTS, CLASS_MASKS = 0, 1


class ImageState(NamedTuple):
    """Everything that training changes. `params`: "model" and, where it is learned, "noise_sigma" (years)."""

    step: Array
    params: dict[str, Any]
    batch_stats: Any
    optimizer: optax.OptState
    fds: feature_smoothing.State | None


class Engine(NamedTuple):
    """The fixed half of a training, which the steps close over."""

    run: ImageRun
    model: ResNet
    optimizer: optax.GradientTransformation
    steps_per_epoch: int


def _optimizer(run: ImageRun, steps_per_epoch: int) -> optax.GradientTransformation:
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

    return optax.partition(transforms, labels)


def make_engine(run: ImageRun, tables: AgeTables, steps_per_epoch: int) -> Engine:
    """Model and optimiser of a run; the class head has as many outputs as there are (equalised) classes."""
    classes = 0 if tables.edges is None else len(tables.edges) - 1
    model = resnet(run.depth, width=run.width, classes=classes, dtype=jnp.dtype(run.dtype))
    return Engine(run, model, _optimizer(run, steps_per_epoch), steps_per_epoch)


def fds_config(run: ImageRun) -> FdsConfig:
    """How a run smooths features: the kernel is that of LDS, the rest as published for ages."""
    return FdsConfig(kernel=run.lds_kernel, size=run.lds_size, sigma=run.lds_sigma, mode=run.fds)


def init_image_state(engine: Engine, variables: Mapping[str, Any] | None = None) -> ImageState:
    """The state before the first step; `variables` ("params", "batch_stats") replace the random start."""
    run = engine.run
    if variables is None:
        variables = init_variables(engine)
    params = {"model": variables["params"]}
    if run.loss.noise:
        params["noise_sigma"] = jnp.float32(run.noise_sigma)
    fds = None
    if run.fds != "none":
        features = variables["params"]["value_head"]["kernel"].shape[0]
        fds = feature_smoothing.init(run.fds_buckets - run.fds_start, features, fds_config(run))
    return ImageState(jnp.int32(0), params, variables["batch_stats"], engine.optimizer.init(params), fds)


def init_variables(engine: Engine) -> dict[str, Any]:
    """Random "params" and "batch_stats" of the run's seed; equal for all arms, whatever their class head."""
    size = engine.run.image_size
    key = jax.random.fold_in(jax.random.key(engine.run.seed), INITIAL_WEIGHTS)
    return dict(jax.jit(functools.partial(engine.model.init, train=True))(key, jnp.zeros((1, size, size, 3))))


def normalise(images: Array) -> Array:
    """uint8 [...] -> float32 in [-1, 1]: (x / 255 - .5) / .5 (recipes 5.1)."""
    return images.astype(jnp.float32) / 127.5 - 1


def _smoothing(run: ImageRun, fds: feature_smoothing.State, batch: Batch, epoch: Array) -> Callable[[Array], Array]:
    """Feature smoothing of this batch at this epoch, as a function of the features."""
    buckets = feature_smoothing.age_buckets(batch["age"], batch["mask"], buckets=run.fds_buckets, start=run.fds_start)
    return lambda features: feature_smoothing.smooth(fds, features, buckets, epoch, fds_config(run))


def _forward(
    engine: Engine, tables: AgeTables, state: ImageState, params: dict[str, Any], batch: Batch, epoch: Array
) -> tuple[Prediction, Any]:
    """The prediction in training mode, value in years, and the moved running statistics of BatchNorm."""
    transform = None if state.fds is None else _smoothing(engine.run, state.fds, batch, epoch)
    prediction, updates = engine.model.apply(
        {"params": params["model"], "batch_stats": state.batch_stats},
        normalise(batch["image"]),
        train=True,
        mask=batch["mask"],
        transform=transform,
        mutable=["batch_stats"],
    )
    return prediction._replace(value=tables.mean + tables.std * prediction.value), updates["batch_stats"]


def _loss(
    params: dict[str, Any], engine: Engine, tables: AgeTables, state: ImageState, batch: Batch, key: Array
) -> tuple[Array, tuple[dict[str, Array], Any]]:
    """The objective of one (micro-)batch; terms, how many samples were kept, and BatchNorm's statistics beside it."""
    run = engine.run
    epoch = state.step // engine.steps_per_epoch
    if run.trainable == "value_head":
        # Not only left unchanged: without their gradient there is no backward pass through the network.
        frozen = jax.tree.map(jax.lax.stop_gradient, params["model"])
        params = {**params, "model": {**frozen, "value_head": params["model"]["value_head"]}}
    prediction, batch_stats = _forward(engine, tables, state, params, batch, epoch)
    ages, valid = batch["age"], batch["mask"]
    mask = class_mask = valid
    if tables.data_edges is not None:
        mask = valid & keep_mask(key, binning.assign(ages, tables.data_edges), jnp.asarray(tables.data_keep))
        class_mask = mask
    given = None
    if tables.edges is not None:
        labels = binning.assign(ages, tables.edges)
        if run.balanced:
            # The key of the data's draw: where both are balanced alike, both losses see the same samples (Table 4).
            class_mask = class_mask & keep_mask(key, labels, jnp.asarray(tables.keep))
        given = Given(ages, labels, jnp.asarray(tables.edges))
    weights = None
    if tables.weights is not None:
        weights = jnp.asarray(tables.weights)[binning.assign(ages, tables.bucket_edges)]
    hyperparameters = run.hyperparameters()
    noise_sigma = params.get("noise_sigma")
    total, terms = objective(
        prediction,
        ages,
        given=given,
        lam=run.lam,
        scale=run.scale,
        regression=run.loss.bind(hyperparameters, prior=tables.prior, noise_sigma=noise_sigma, mask=mask),
        auxiliary=AUXILIARY[run.auxiliary].bind(hyperparameters) if given else classification,
        weights=weights,
        mask=mask,
        class_mask=class_mask if given else None,
    )
    return total, ({**terms, "kept": jnp.sum(mask)}, batch_stats)


def _part(batch: Batch, index: int, parts: int) -> Batch:
    """Every `parts`-th row from `index` on, so that a part has rows of every device and no row moves between them."""
    return jax.tree.map(lambda rows: rows.reshape(-1, parts, *rows.shape[1:])[:, index], batch)


def train_step(
    engine: Engine, tables: AgeTables, state: ImageState, batch: Batch
) -> tuple[ImageState, dict[str, Array]]:
    """One step on `batch`: image uint8 [B, S, S, 3], age [B] (years), mask [B]; returns the loss and its terms.

    With `accumulate` > 1 the batch is taken in parts, each with its own batch statistics (as published); gradients are
    weighted by the samples of each part. Where balanced data keeps no sample of a batch, nothing is learned from it and
    the optimiser does not count the step.
    """
    run = engine.run
    key = jax.random.fold_in(jax.random.fold_in(jax.random.key(run.seed), CLASS_MASKS), state.step)
    results = []
    batch_stats = state.batch_stats
    # Unrolled: a convolution inside a scan is slow on CPU, and there are few parts.
    for index in range(run.accumulate):
        (loss, (terms, batch_stats)), gradient = jax.value_and_grad(_loss, has_aux=True)(
            state.params,
            engine,
            tables,
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
    updates, optimizer = engine.optimizer.update(gradient, state.optimizer, state.params)
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
    return ImageState(state.step + 1, params, batch_stats, optimizer, state.fds), terms


def statistics_step(
    engine: Engine,
    tables: AgeTables,
    state: ImageState,
    statistics: feature_smoothing.Statistics,
    batch: Batch,
    epoch: Array,
) -> tuple[ImageState, feature_smoothing.Statistics]:
    """Adds the features of a batch to the statistics of FDS (recipes 2.3), in training mode.

    "published" collects features that are smoothed already and moves BatchNorm's running statistics along; "corrected"
    collects them before smoothing and leaves the model alone.
    """
    published = engine.run.fds == "published"
    seen = state if published else state._replace(fds=None)
    prediction, batch_stats = _forward(engine, tables, seen, state.params, batch, epoch)
    run = engine.run
    buckets = feature_smoothing.age_buckets(
        batch["age"],
        batch["mask"],
        buckets=run.fds_buckets,
        start=run.fds_start,
        present=jnp.asarray(tables.ages_present),
    )
    new = feature_smoothing.batch_statistics(
        prediction.features, buckets, batch["mask"], run.fds_buckets - run.fds_start
    )
    if published:
        state = state._replace(batch_stats=batch_stats)
    return state, feature_smoothing.merge(statistics, new)


def eval_step(
    engine: Engine, tables: AgeTables, ages: int, params: dict[str, Any], batch_stats: Any, batch: Batch
) -> tuple[ClassErrorSums, Array]:
    """Error sums per whole year ([`ages`]) of a batch where its mask is True, and the predictions [B] in years."""
    variables = {"params": params["model"], "batch_stats": batch_stats}
    prediction = engine.model.apply(variables, normalise(batch["image"]), train=False)
    value = tables.mean + tables.std * prediction.value
    sums = class_error_sums(value, batch["age"], batch["age"].astype(jnp.int32), batch["mask"], ages)
    return sums, value
