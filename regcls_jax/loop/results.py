"""Evaluating a network on a split of images, and what a finished run leaves: result rows and predictions."""

import contextlib
import functools
import io
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from jax.sharding import Mesh

from regcls_jax import binning
from regcls_jax.data.images.pipeline import eval_batches
from regcls_jax.data.images.splits import ImageSplit
from regcls_jax.loop.age_tables import AgeTables
from regcls_jax.loop.mesh import IN_FLIGHT, replicated, to_devices
from regcls_jax.loop.runs import ImageRun
from regcls_jax.loop.steps import Engine, ImageState, eval_step
from regcls_jax.metrics.shots import ClassErrorSums, class_error_sums, shot_metrics
from regcls_jax.store.files import write_atomic
from regcls_jax.store.rows import write_csv_atomic
from regcls_jax.trivial import oracle_bin, trivial_predictors

# Classes of the oracle-bin predictor beside a run that has none of its own.
ORACLE_CLASSES = 100
Evaluate = Callable[[ImageState, ImageSplit], tuple[ClassErrorSums, np.ndarray]]


def evaluator(
    engine: Engine,
    tables: AgeTables,
    mesh: Mesh,
    splits: Mapping[str, ImageSplit],
    process: tuple[int, int] = (0, 1),
) -> Evaluate:
    """A function of a state and one of `splits`: error sums per whole year and predictions [n] (years, float32).

    The sums are [oldest age in any of the splits + 1]. Every sample counts once, whatever the batch size; `process` is
    (index, count) of this host. Both results are the same on every host.
    """
    years = 1 + int(max(split.ages.max() for split in splits.values()))
    step = jax.jit(functools.partial(_numbered, engine, tables, years), out_shardings=replicated(mesh))
    # On the devices of the mesh: a sum kept elsewhere would be moved in every step.
    zeros = jax.device_put(ClassErrorSums(*jnp.zeros((len(ClassErrorSums._fields), years))), replicated(mesh))

    def evaluate(state: ImageState, split: ImageSplit) -> tuple[ClassErrorSums, np.ndarray]:
        run = engine.run
        sums, parts = zeros, []
        batches = eval_batches(
            split,
            image_size=run.image_size,
            batch_size=run.batch_size,
            workers=run.workers,
            process_index=process[0],
            process_count=process[1],
        )
        with contextlib.closing(batches):
            for batch in batches:
                sums, *part = step(state.params, state.batch_stats, sums, to_devices(mesh, batch))
                parts.append(part)
                if len(parts) % IN_FLIGHT == 0:
                    jax.block_until_ready(sums)
        predictions = np.full(len(split.ages), np.nan, np.float32)
        for value, index, mask in jax.device_get(parts):
            predictions[index[mask]] = value[mask]
        return jax.device_get(sums), predictions

    return evaluate


def _numbered(
    engine: Engine, tables: AgeTables, years: int, params: Any, batch_stats: Any, sums: Any, batch: Any
) -> Any:
    new, value = eval_step(engine, tables, years, params, batch_stats, batch)
    return jax.tree.map(jnp.add, sums, new), value, batch["index"], batch["mask"]


def year_counts(ages: np.ndarray) -> np.ndarray:
    """Samples per whole year of age, int64 [oldest + 1]; ages float [n] in years."""
    return np.bincount(ages.astype(int))


def _baseline_predictions(run: ImageRun, train_ages: np.ndarray, ages: np.ndarray) -> dict[str, np.ndarray]:
    """Predictions [n] without an image: constant, median, and the best that knows the class of the true age."""
    found = {name: np.full(len(ages), value) for name, value in trivial_predictors(train_ages).items()}
    classes = run.classes or ORACLE_CLASSES
    edges = binning.uniform_edges(run.low, run.high, classes)
    return {**found, f"oracle_bin_{classes}": oracle_bin(ages, edges, train_ages)}


def _rows(arm: str, seed: int, split: str, metrics: Mapping[str, Mapping[str, float]]) -> list[dict[str, Any]]:
    return [{"arm": arm, "seed": seed, "split": split, "shot": shot, **found} for shot, found in metrics.items()]


def result_rows(run: ImageRun, splits: Mapping[str, ImageSplit], sums: Mapping[str, ClassErrorSums]) -> pd.DataFrame:
    """The rows of a run and of the trivial predictors (seed -1): one per split of `sums` and shot group."""
    train_ages = splits["train"].ages
    counts = year_counts(train_ages)
    rows = []
    for split, found in sums.items():
        rows += _rows(run.arm, run.seed, split, shot_metrics(found, counts))
        ages = splits[split].ages
        for name, predictions in _baseline_predictions(run, train_ages, ages).items():
            trivial = class_error_sums(
                jnp.float32(predictions),
                jnp.asarray(ages),
                jnp.asarray(ages, jnp.int32),
                jnp.ones(len(ages), bool),
                len(found.count),
            )
            rows += _rows(name, -1, split, shot_metrics(trivial, counts))
    return pd.DataFrame(rows)


def write_results(
    folder: str | os.PathLike,
    run: ImageRun,
    splits: Mapping[str, ImageSplit],
    found: Mapping[str, tuple[ClassErrorSums, np.ndarray]],
) -> None:
    """Writes predictions.npz, then rows.csv, which marks a run as finished; `found`: the evaluations by split."""
    arrays = {"train_counts": year_counts(splits["train"].ages)}
    for split, (_, predictions) in found.items():
        arrays |= {f"{split}_age": splits[split].ages, f"{split}_prediction": predictions}
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    write_atomic(Path(folder) / "predictions.npz", buffer.getvalue())
    rows = result_rows(run, splits, {split: sums for split, (sums, _) in found.items()})
    write_csv_atomic(rows, Path(folder) / "rows.csv")
