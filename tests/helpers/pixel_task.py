"""A task that is none of the package's: a map of numbers for every picture, with two resolutions and holes.

As in depth from images: the value head predicts every second pixel, the class head all of them; unmeasured pixels are
NaN; an evaluation keeps the sums of every scene, and the whole prediction of two. The target is a smooth function of
the picture's brightness.
"""

import dataclasses
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from regcls_jax import binning
from regcls_jax.data.prepared import Prepared
from regcls_jax.loop.runs import LoopRun
from regcls_jax.loop.task import Buckets, Evaluation, Heads, Measure, Task
from regcls_jax.prediction import Prediction
from regcls_jax.targets import Histogram

SIZE = 8
LOW, HIGH = -2.0, 2.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class PixelRun(LoopRun):
    """A field of its own: `channels` of the network."""

    channels: int = 8


class PixelSplit(NamedTuple):
    """Pictures uint8 [n, 8, 8, 3], maps float32 [n, 8, 8] with NaN where nothing was measured, names [n]."""

    pictures: np.ndarray
    maps: np.ndarray
    names: np.ndarray


def pixel_split(count: int, seed: int) -> PixelSplit:
    generator = np.random.default_rng(seed)
    coarse = generator.uniform(0, 255, (count, SIZE // 2, SIZE // 2, 1)).repeat(2, 1).repeat(2, 2)
    pictures = np.clip(coarse + generator.normal(0, 4, (count, SIZE, SIZE, 3)), 0, 255).astype(np.uint8)
    maps = np.float32(HIGH * np.sin(coarse[..., 0] / 80))
    maps[generator.random(maps.shape) < 0.1] = np.nan
    return PixelSplit(pictures, maps, np.array([f"scene {row}" for row in range(count)]))


def load(dataset: str, data_dir: object) -> Prepared:
    sizes = {"train": 36, "val": 12, "test": 13}
    splits = {name: pixel_split(size, seed) for seed, (name, size) in enumerate(sizes.items())}
    return Prepared(dataset, "height", "m", "of pixels", splits)


class PixelBatches:
    """Batch t is a function of (seed, t); without a seed one pass in order."""

    def __init__(self, run: PixelRun, split: PixelSplit, seed: int | None) -> None:
        self._run, self._split, self._seed, self._step = run, split, seed, 0

    def __iter__(self):
        return self

    def __next__(self):
        samples, size = len(self._split.names), self._run.batch_size
        epoch, step = divmod(self._step, -(-samples // size))
        if self._seed is None and epoch:
            raise StopIteration
        order = (
            np.arange(samples)
            if self._seed is None
            else np.random.default_rng([self._seed, epoch]).permutation(samples)
        )
        rows = np.resize(order[step * size : (step + 1) * size], size)
        self._step += 1
        return {
            "input": self._split.pictures[rows],
            "target": self._split.maps[rows],
            "valid": np.isfinite(self._split.maps[rows]),
            "index": rows.astype(np.int32),
            "mask": np.arange(size) < samples - step * size,
        }

    def get_state(self):
        return {"next": self._step}

    def set_state(self, state):
        self._step = state["next"]

    def close(self):
        pass


class PixelNetwork(nn.Module):
    """pictures [B, 8, 8, 3] -> value [B, 4, 4], logits [B, 8, 8, classes], features [B, 4, 4, F]."""

    channels: int
    classes: int

    @nn.compact
    def __call__(self, pictures, *, train=False, mask=None, transform=None):
        x = nn.relu(nn.Conv(self.channels, (2, 2), 2, name="conv1")(pictures))
        features = nn.relu(nn.Conv(self.channels, (1, 1), name="conv2")(x))
        if transform is not None:
            features = transform(features)
        value = nn.Conv(1, (1, 1), name="value_head")(features)[..., 0]
        logits = None
        if self.classes and (train or self.is_initializing()):
            logits = nn.Conv(self.classes, (1, 1), name="class_head")(features.repeat(2, 1).repeat(2, 2))
        return Prediction(value, logits, features)


def heads(run: PixelRun, batch, prediction: Prediction) -> Heads:
    """Where the data are balanced the value is repeated, so that both heads see the same draw of all pixels."""
    valid = batch["valid"] & batch["mask"][:, None, None]
    if run.balanced_data:
        value = prediction.value.repeat(2, 1).repeat(2, 2)
        return Heads(value, batch["target"], valid, batch["target"], valid)
    return Heads(prediction.value, batch["target"][:, ::2, ::2], valid[:, ::2, ::2], batch["target"], valid)


def measure(run: PixelRun, data: Prepared) -> Measure:
    maps = data.splits["train"].maps
    mean = np.nanmean(maps)

    def sums(value: Array, target: Array, valid: Array) -> dict[str, Array]:
        error = jnp.where(valid, value - target, 0)
        terms = {"squared": jnp.square(error), "absolute": jnp.abs(error), "count": valid.astype(jnp.float32)}
        return {name: term.sum((1, 2)) for name, term in terms.items()}

    def keep(batch, value):
        valid = batch["valid"] & batch["mask"][:, None, None]
        return sums(value.repeat(2, 1).repeat(2, 2), batch["target"], valid)

    def metrics(found):
        squared, absolute, count = (found.kept[name].sum(dtype=float) for name in ("squared", "absolute", "count"))
        mse = squared / count
        return {"all": {"mse": mse, "rmse": mse**0.5, "mae": absolute / count, "count": int(count)}}

    def baselines(split):
        target = data.splits[split].maps
        kept = jax.device_get(sums(jnp.full(target.shape, mean), target, np.isfinite(target)))
        return {"constant": Evaluation((), kept)}

    def arrays(found, predict):
        kept = {f"{split}_{name}": values for split, of in found.items() for name, values in of.kept.items()}
        first = PixelSplit(*(values[:2] for values in data.splits["test"]))
        return kept | {"two_predictions": predict(first)}

    return Measure((), lambda *_: (), keep, metrics, baselines, arrays)


def buckets(run: PixelRun, data: Prepared) -> Buckets:
    edges = np.linspace(LOW, HIGH, 9, dtype=np.float32)

    def of(batch, whole):
        valid = batch["valid"] & batch["mask"][:, None, None]
        return jnp.where(valid, binning.assign(batch["target"], edges), -1)[:, ::2, ::2]

    return Buckets(8, of)


def no_prediction(*_):
    raise NotImplementedError


def statistics(run: PixelRun, data: Prepared, process) -> PixelBatches:
    """Of the first twenty scenes alone, in order."""
    return PixelBatches(run, PixelSplit(*(values[:20] for values in data.splits["train"])), None)


def training_histogram(run: PixelRun, data: Prepared) -> Histogram:
    """As of data sets whose pixels are too many to hold."""
    maps = data.splits["train"].maps
    return Histogram(*np.unique(maps[np.isfinite(maps)].round(2), return_counts=True))


PIXELS = Task(
    run=PixelRun,
    samples="scenes",
    load=load,
    train_batches=lambda run, split, process: PixelBatches(run, split, run.seed),
    eval_batches=lambda run, split, process: PixelBatches(run, split, None),
    network=lambda run, classes: PixelNetwork(run.channels, classes),
    input_shape=lambda run: (SIZE, SIZE, 3),
    inputs=lambda batch: batch["input"] / 127.5 - 1,
    targets=training_histogram,
    heads=heads,
    buckets=buckets,
    statistics=statistics,
    measure=measure,
    labelled=None,
    unlabelled=no_prediction,
    write=no_prediction,
)
