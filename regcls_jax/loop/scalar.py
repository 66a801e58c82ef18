"""One number for an image: any scalar target, judged by equal parts of the range of its training targets."""

import functools
import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
import pandas as pd
from jax import Array

from regcls_jax import binning, targets
from regcls_jax.data.images.pipeline import eval_batches, train_batches
from regcls_jax.data.images.splits import ImageSplit, load_images
from regcls_jax.data.images.unlabelled import read_unlabelled
from regcls_jax.data.prepared import Prepared
from regcls_jax.loop.fitted import other_classes
from regcls_jax.loop.runs import ImageRun
from regcls_jax.loop.task import Batch, Batches, Buckets, Evaluation, Heads, Measure, Task
from regcls_jax.losses.registry import AUXILIARY
from regcls_jax.metrics.shots import ClassErrorSums, class_error_sums, shot_metrics
from regcls_jax.models.resnet import ResNet, resnet
from regcls_jax.prediction import Prediction
from regcls_jax.store.rows import write_csv_atomic
from regcls_jax.trivial import oracle_bin, trivial_predictors

# Classes of the oracle-bin predictor beside a run that has none of its own.
ORACLE_CLASSES = 100
# (run, data) -> edges [K + 1] of the parts of the target's range that make up the shots.
Edges = Callable[[ImageRun, Prepared], np.ndarray]


def _train_batches(run: ImageRun, split: ImageSplit, process: tuple[int, int]) -> Batches:
    return train_batches(
        split,
        image_size=run.image_size,
        batch_size=run.batch_size,
        seed=run.seed,
        padding=run.padding,
        flip=run.flip,
        views=run.views,
        workers=run.workers,
        process_index=process[0],
        process_count=process[1],
    )


def _eval_batches(run: ImageRun, split: ImageSplit, process: tuple[int, int]) -> Batches:
    return eval_batches(
        split,
        image_size=run.image_size,
        batch_size=run.batch_size,
        workers=run.workers,
        process_index=process[0],
        process_count=process[1],
    )


def _network(run: ImageRun, classes: int) -> ResNet:
    one_direction = AUXILIARY[run.auxiliary].one_direction
    dtype = jnp.dtype(run.dtype)
    return resnet(run.depth, width=run.width, classes=classes, one_direction=one_direction, dtype=dtype)


def normalise(batch: Batch) -> Array:
    """The images of a batch, uint8 [B, S, S, 3], as float32 in [-1, 1]: (x / 255 - .5) / .5 (recipes 5.1)."""
    return batch["input"].astype(jnp.float32) / 127.5 - 1


def _training(data: Prepared) -> np.ndarray:
    return data.splits["train"].targets


def _heads(_: ImageRun, batch: Batch, prediction: Prediction) -> Heads:
    return Heads(prediction.value, batch["target"], batch["mask"], batch["target"], batch["mask"])


def measure_over(edges: Edges, run: ImageRun, data: Prepared) -> Measure:
    """Errors by part of the target's range, those of "many", "medium" and "few" training images, and of all."""
    parts = edges(run, data).astype(np.float32)
    train = _training(data)
    counts = train_counts(parts, data)

    def sums(value: Array, target: Array, mask: Array) -> ClassErrorSums:
        return class_error_sums(value, target, binning.assign(target, parts), mask, len(counts))

    def baselines(split: str) -> dict[str, Evaluation]:
        """Without an image: constant, median, and the best that knows the class of the true target."""
        true = data.splits[split].targets
        found = {name: np.full(len(true), value) for name, value in trivial_predictors(train).items()}
        classes = run.classes or min(ORACLE_CLASSES, len(train))
        bins = targets.class_bins(other_classes(run, classes, balanced=False), train)
        assert bins is not None  # classes > 0
        found[f"oracle_bin_{classes}"] = oracle_bin(true, bins.edges, train)
        everyone = jnp.ones(len(true), bool)
        return {
            name: Evaluation(sums(jnp.float32(value), jnp.asarray(true), everyone), value)
            for name, value in found.items()
        }

    return Measure(
        zeros=ClassErrorSums(*jnp.zeros((len(ClassErrorSums._fields), len(counts)))),
        add=lambda batch, value: sums(value, batch["target"], batch["mask"]),
        keep=lambda _, value: value,
        metrics=lambda found: shot_metrics(found.sums, counts),
        baselines=baselines,
        arrays=lambda found, _: _arrays(edges(run, data), data, found),
    )


def train_counts(edges: np.ndarray, data: Prepared) -> np.ndarray:
    """Training images in each part, int64 [K], of the target's range."""
    return np.bincount(binning.assign(_training(data), edges), minlength=len(edges) - 1)


def _arrays(parts: np.ndarray, data: Prepared, found: Mapping[str, Evaluation]) -> dict[str, np.ndarray]:
    arrays = {
        "train_counts": train_counts(parts, data),
        "bucket_edges": parts,
        "train_median": np.median(_training(data)),
    }
    for split, evaluation in found.items():
        arrays |= {f"{split}_target": data.splits[split].targets, f"{split}_prediction": evaluation.kept}
    return arrays


def _write(
    path: str | os.PathLike, data: Prepared, split: ImageSplit, found: Iterator[tuple[np.ndarray, np.ndarray]]
) -> None:
    """A CSV table of name and prediction, whose header has the target and its unit."""
    header = f"{data.target} ({data.unit})" if data.unit else data.target
    rows, values = zip(*found, strict=True)
    columns = {"name": split.names[np.concatenate(rows)], header: np.concatenate(values)}
    write_csv_atomic(pd.DataFrame(columns), path)


def bucket_edges(run: ImageRun, data: Prepared) -> np.ndarray:
    """Edges [buckets + 1] of the run's buckets, equal parts of the range of the training targets unless it says so."""
    return targets.bucket_edges(run, _training(data))


def _buckets(run: ImageRun, data: Prepared) -> Buckets:
    edges = bucket_edges(run, data).astype(np.float32)

    def of(batch: Batch, _: bool) -> Array:
        return jnp.where(batch["mask"], binning.assign(batch["target"], edges), -1)

    return Buckets(len(edges) - 1, of)


def scalar_task(run: type[ImageRun], edges: Edges, buckets: Callable[[Any, Prepared], Buckets]) -> Task:
    """The task of images with a number each: its runs, `edges` of the shots, and `buckets` as in `Task`."""
    return Task(
        run=run,
        samples="images",
        load=load_images,
        train_batches=_train_batches,
        eval_batches=_eval_batches,
        network=_network,
        input_shape=lambda run: (run.image_size, run.image_size, 3),
        inputs=normalise,
        targets=lambda _, data: _training(data),
        heads=_heads,
        buckets=buckets,
        statistics=None,
        measure=functools.partial(measure_over, edges),
        labelled=None,
        unlabelled=read_unlabelled,
        write=_write,
    )


SCALAR = scalar_task(ImageRun, bucket_edges, _buckets)
