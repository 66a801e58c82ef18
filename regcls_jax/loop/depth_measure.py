"""How depth maps are judged: sums of every image by shot group, sums of all pixels by depth, trivial predictors."""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from regcls_jax import binning, targets
from regcls_jax.data.depth.histogram import histogram
from regcls_jax.data.depth.splits import DepthSplit
from regcls_jax.data.prepared import Prepared
from regcls_jax.loop.fitted import other_classes
from regcls_jax.loop.runs import LoopRun
from regcls_jax.loop.task import Batch, Batches, Evaluation, Measure, Predict
from regcls_jax.metrics.depth import count_groups, depth_metrics, depth_sums
from regcls_jax.models.resize import resize
from regcls_jax.objectives import keep_mask
from regcls_jax.store.files import digest
from regcls_jax.targets import Histogram

FIRST_PIXEL = "first_pixel"
# Classes that the published selection balances over where a run has none.
FIRST_PIXEL_CLASSES = 100
# Examples whose whole prediction is kept.
SHOWN = 4
# Sums of squared errors, absolute errors and pixels, by bucket of the true depth.
BUCKET_SUMS = 3

# (run, split, process) -> one pass in order, and (run, data) -> the pixels that classes are fitted to; as in `Task`.
Pass = Callable[[Any, DepthSplit, tuple[int, int]], Batches]
# A pass over a data set takes minutes: all arms of a config share what one found. By digest and size.
_FOUND: dict[tuple[Any, ...], Any] = {}


def _size(maps: Array) -> tuple[int, int]:
    return maps.shape[1], maps.shape[2]


def pixels_of(batch: Mapping[str, Any]) -> Any:
    """Which pixels of a batch, on the device or the host, count: bool [B, H, W]."""
    return batch["valid"] & batch["mask"][:, None, None]


def make_measure(run: LoopRun, data: Prepared, pixels: Histogram, one_pass: Pass) -> Measure:
    """The measure of a `DepthRun`.

    Args:
      run: whose predictions are judged.
      data: on its splits.
      pixels: training pixels by depth, which make the shots.
      one_pass: over a split.
    """
    edges = np.asarray(targets.bucket_edges(run, pixels), np.float32)
    counts = np.bincount(binning.assign(pixels.values, edges), pixels.counts, len(edges) - 1).astype(np.int64)
    groups = count_groups(counts)
    first = _first_pixel(run, pixels) if run.select == FIRST_PIXEL else None

    def keep(batch: Batch, value: Array) -> dict[str, Array]:
        depths, valid = batch["target"], pixels_of(batch)
        seen = resize(value, _size(depths))
        kept = {"sums": depth_sums(seen, depths, valid, jnp.asarray(groups)[binning.assign(depths, edges)])}
        return kept if first is None else {**kept, FIRST_PIXEL: first(batch, seen)}

    def add(batch: Batch, value: Array) -> Array:
        depths, valid = batch["target"], pixels_of(batch)
        error = jnp.abs(jnp.where(valid, resize(value, _size(depths)) - depths, 0))
        terms = jnp.stack([error**2, error, valid.astype(jnp.float32)], -1).reshape(-1, BUCKET_SUMS)
        return jax.ops.segment_sum(terms, binning.assign(depths, edges).ravel(), len(groups))

    def metrics(found: Evaluation) -> dict[str, dict[str, float]]:
        by_group = depth_metrics(found.kept["sums"])
        if first is not None:
            by_group["all"][FIRST_PIXEL] = float(np.sqrt(np.nanmean(found.kept[FIRST_PIXEL], dtype=np.float64)))
        return by_group

    def baselines(split: str) -> dict[str, Evaluation]:
        examples = data.splits[split]
        shape = run.image_height, run.image_width, edges.tobytes(), counts.tobytes()
        # First pixels are drawn by a run's seed and kept by its classes.
        key = (data.digest, split, digest(examples.names), *shape, None if first is None else run)
        if key not in _FOUND:
            predictors = trivial_maps(run, data, one_pass)
            _FOUND[key] = _evaluations(predictors, add, keep, one_pass(run, examples, (0, 1)))
        return _FOUND[key]

    def arrays(found: Mapping[str, Evaluation], predict: Predict) -> dict[str, np.ndarray]:
        known: dict[str, np.ndarray] = {"bucket_edges": edges, "bucket_groups": groups, "train_counts": counts}
        for split, evaluation in found.items():
            known |= {f"{split}_sums": evaluation.kept["sums"], f"{split}_bucket_sums": evaluation.sums}
            for name, trivial in baselines(split).items():
                known[f"{split}_{name}_sums"] = trivial.kept["sums"]
                known[f"{split}_{name}_bucket_sums"] = trivial.sums
        return known | shown(run, data.splits[split], one_pass, predict)

    return Measure(jnp.zeros((len(groups), BUCKET_SUMS)), add, keep, metrics, baselines, arrays)


def _first_pixel(run: LoopRun, pixels: Histogram) -> Callable[[Batch, Array], Array]:
    """The published selection (recipes 4.4-1): of every image the squared error of its first kept pixel; NaN of none.

    Pixels are kept as balanced classes keep them, by a draw that is fixed for an image; published, they are drawn anew
    in every epoch, and balanced by the validation set's own histogram.
    """
    classes = other_classes(run, run.classes or FIRST_PIXEL_CLASSES, balanced=True)
    bins = targets.class_bins(classes, pixels)
    assert bins is not None  # there are classes
    edges, keep = np.asarray(bins.edges, np.float32), jnp.asarray(bins.keep, jnp.float32)

    def one(key: Array, depths: Array, valid: Array, error: Array) -> Array:
        kept = (valid & keep_mask(key, binning.assign(depths, edges), keep)).ravel()
        return jnp.where(kept.any(), jnp.square(error.ravel()[jnp.argmax(kept)]), jnp.nan)

    def of(batch: Batch, value: Array) -> Array:
        keys = jax.vmap(lambda index: jax.random.fold_in(jax.random.key(run.seed), index))(batch["index"])
        return jax.vmap(one)(keys, batch["target"], pixels_of(batch), value - batch["target"])

    return of


def trivial_maps(run: LoopRun, data: Prepared, one_pass: Pass) -> dict[str, np.ndarray]:
    """What every network has to beat, float32 [H, W] in m each: mean and median of all training pixels, and the mean of
    each pixel over the training images.
    """
    values, counts = histogram(data)
    mean = np.average(values.astype(np.float64), weights=counts)
    median = np.quantile(values, 0.5, weights=counts, method="inverted_cdf")
    size = run.image_height, run.image_width
    key = (data.digest, *size)
    if key not in _FOUND:
        total, number = np.zeros(size), np.zeros(size, np.int64)
        for batch in _closing(one_pass(run, data.splits["train"], (0, 1))):
            valid = pixels_of(batch)
            total += np.where(valid, batch["target"], 0).sum(0, dtype=np.float64)
            number += valid.sum(0)
        _FOUND[key] = np.divide(total, number, out=np.full(size, mean), where=number > 0).astype(np.float32)
    found = {"constant": np.full(size, mean), "median": np.full(size, median), "pixel_mean": _FOUND[key]}
    return {name: np.asarray(values, np.float32) for name, values in found.items()}


def _evaluations(
    predictors: Mapping[str, np.ndarray], add: Callable[[Batch, Array], Any], keep: Any, batches: Batches
) -> dict[str, Evaluation]:
    """The evaluation of predictors that give the same map for every example."""
    step = jax.jit(lambda batch, depths: (add(batch, depths), keep(batch, depths)))
    sums: dict[str, Any] = {}
    kept: dict[str, list[Any]] = {name: [] for name in predictors}
    for batch in _closing(batches):
        rows = batch["mask"]
        for name, depths in predictors.items():
            more, found = jax.device_get(step(batch, jnp.broadcast_to(depths, batch["target"].shape)))
            sums[name] = sums.get(name, 0) + more
            kept[name].append(jax.tree.map(lambda values, rows=rows: values[rows], found))
    return {
        name: Evaluation(sums[name], jax.tree.map(lambda *parts: np.concatenate(parts), *kept[name]))
        for name in predictors
    }


def _closing(batches: Batches) -> Iterator[dict[str, np.ndarray]]:
    with contextlib.closing(batches):
        yield from batches


def shown(run: LoopRun, split: DepthSplit, one_pass: Pass, predict: Predict) -> dict[str, np.ndarray]:
    """A few examples of a split, evenly spread: names, pictures, true depths (NaN where not measured) and predictions.

    Depths are float32 [m, h, w] in the resolution of the predictions.
    """
    rows = np.unique(np.linspace(0, len(split.names) - 1, SHOWN).astype(int))
    some = split.rows(rows)._replace(mask=None)
    parts = [
        (batch["input"][batch["mask"]], np.where(batch["valid"], batch["target"], np.nan)[batch["mask"]])
        for batch in _closing(one_pass(run, some, (0, 1)))
    ]
    pictures, depths = (np.concatenate(part) for part in zip(*parts, strict=True))
    return {
        "shown_names": some.names,
        "shown_pictures": pictures,
        "shown_depths": depths[:, 1::2, 1::2],
        "shown_predictions": predict(some),
    }
