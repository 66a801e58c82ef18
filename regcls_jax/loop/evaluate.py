"""Testing a network: on a split in training, and again later, from a checkpoint of ours or from PyTorch weights."""

import contextlib
import dataclasses
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from jax.sharding import Mesh

from regcls_jax.data.prepared import Prepared
from regcls_jax.loop.mesh import IN_FLIGHT, check_batch_size, data_mesh, replicated, to_devices
from regcls_jax.loop.results import result_rows
from regcls_jax.loop.runs import LoopRun
from regcls_jax.loop.start import load_checkpoint, load_weights
from regcls_jax.loop.steps import Engine, TrainState, eval_step, make_engine
from regcls_jax.loop.task import Batch, Measure, Sums

# (state, split) -> sums over the split, and predictions [n, ...] (None where the task keeps none).
Evaluate = Callable[[TrainState, Any], tuple[Sums, np.ndarray | None]]


def evaluator(engine: Engine, measure: Measure, mesh: Mesh, process: tuple[int, int] = (0, 1)) -> Evaluate:
    """A function of a state and a split: the sums of `measure` and the predictions in target units (float32).

    Every sample counts once, whatever the batch size; `process` is (index, count) of this host. Both results are the
    same on every host.
    """
    step = jax.jit(functools.partial(_add, engine, measure), out_shardings=replicated(mesh))
    # On the devices of the mesh: a sum kept elsewhere would be moved in every step.
    zeros = jax.device_put(measure.zeros, replicated(mesh))

    def evaluate(state: TrainState, split: Any) -> tuple[Sums, np.ndarray | None]:
        sums, parts = zeros, []
        with contextlib.closing(engine.task.eval_batches(engine.run, split, process)) as batches:
            for number, batch in enumerate(batches, start=1):
                sums, *part = step(state.params, state.batch_stats, sums, to_devices(mesh, batch))
                parts.append(part)
                if number % IN_FLIGHT == 0:
                    jax.block_until_ready(sums)
        if engine.task.arrays is None:
            return jax.device_get(sums), None
        return jax.device_get(sums), _in_order(jax.device_get(parts), len(split.names))

    return evaluate


def _add(
    engine: Engine, measure: Measure, params: dict[str, Any], batch_stats: Any, sums: Sums, batch: Batch
) -> tuple[Sums, ...]:
    """The sums with a batch added; its values with their indices and mask where the task keeps predictions."""
    value = eval_step(engine, params, batch_stats, batch)
    sums = jax.tree.map(jnp.add, sums, measure.add(batch, value))
    return (sums,) if engine.task.arrays is None else (sums, value, batch["index"], batch["mask"])


def _in_order(parts: list[list[np.ndarray]], samples: int) -> np.ndarray:
    predictions = np.full((samples, *parts[0][0].shape[1:]), np.nan, np.float32)
    for value, index, mask in parts:
        predictions[index[mask]] = value[mask]
    return predictions


def evaluate_run(
    run: LoopRun,
    data: Prepared,
    split: str,
    source: Path,
    which: str = "best",
) -> tuple[pd.DataFrame, np.ndarray | None]:
    """Tests a run on a split, from its folder (the "best" or "newest" checkpoint) or from a file of PyTorch weights.

    Returns the rows of the model and of the trivial predictors (as in rows.csv.gz) and the predictions [n, ...] in
    target units, None where the task keeps none.

    Raises OSError or ValueError for a checkpoint or file that cannot be used.
    """
    check_batch_size(run.batch_size)
    engine, state = restore(run, data, source, which)
    measure = engine.task.measure(run, data)
    sums, predictions = evaluator(engine, measure, data_mesh())(state, data.splits[split])
    return result_rows(run, data, measure, {split: sums}), predictions


def restore(run: LoopRun, data: Prepared, source: Path, which: str = "best") -> tuple[Engine, TrainState]:
    """Engine and state of a run, to evaluate it; arguments and errors are those of `evaluate_run`."""
    mesh = data_mesh()
    if source.is_dir():
        engine = make_engine(run, data)
        return engine, load_checkpoint(source, engine, mesh, which, data)[0]
    # The file need have no class head, which serves training only.
    engine = make_engine(
        dataclasses.replace(run, classes=0, balanced=False, auxiliary="classification", fds="none"), data
    )
    return engine, jax.device_put(load_weights(str(source), engine), replicated(mesh))
