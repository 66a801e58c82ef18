"""Testing a network: on a split in training, and again later, from a checkpoint of ours or from PyTorch weights."""

import contextlib
import dataclasses
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from jax import Array
from jax.sharding import Mesh

from regcls_jax.data.prepared import Prepared
from regcls_jax.loop.mesh import IN_FLIGHT, check_batch_size, data_mesh, replicated, to_devices
from regcls_jax.loop.predict import predictor
from regcls_jax.loop.results import result_rows
from regcls_jax.loop.runs import LoopRun
from regcls_jax.loop.start import load_checkpoint, load_weights
from regcls_jax.loop.steps import Engine, TrainState, eval_step, make_engine
from regcls_jax.loop.task import Batch, Evaluation, Kept, Measure, Predict, Sums

# (state, split) -> evaluation of the whole split.
Evaluate = Callable[[TrainState, Any], Evaluation]


def evaluator(engine: Engine, measure: Measure, mesh: Mesh, process: tuple[int, int] = (0, 1)) -> Evaluate:
    """A function of a state and a split: the sums of `measure` and what it keeps of every example.

    Every sample counts once, whatever the batch size; `process` is (index, count) of this host. The result is the
    same on every host.
    """
    step = jax.jit(functools.partial(_add, engine, measure), out_shardings=replicated(mesh))
    # On the devices of the mesh: a sum kept elsewhere would be moved in every step.
    zeros = jax.device_put(measure.zeros, replicated(mesh))

    def evaluate(state: TrainState, split: Any) -> Evaluation:
        sums, parts = zeros, []
        with contextlib.closing(engine.task.eval_batches(engine.run, split, process)) as batches:
            for number, batch in enumerate(batches, start=1):
                sums, *part = step(state.params, state.batch_stats, sums, to_devices(mesh, batch))
                parts.append(part)
                if number % IN_FLIGHT == 0:
                    jax.block_until_ready(sums)
        return Evaluation(jax.device_get(sums), _in_order(jax.device_get(parts), len(split.names)))

    return evaluate


def _add(
    engine: Engine, measure: Measure, params: dict[str, Any], batch_stats: Any, sums: Sums, batch: Batch
) -> tuple[Sums, Kept, Array, Array]:
    """The sums with a batch added; what is kept of its examples, their indices and mask."""
    value = eval_step(engine, params, batch_stats, batch)
    sums = jax.tree.map(jnp.add, sums, measure.add(batch, value))
    return sums, measure.keep(batch, value), batch["index"], batch["mask"]


def _in_order(parts: list[list[Any]], samples: int) -> Kept:
    def ordered(*kept: np.ndarray) -> np.ndarray:
        found = np.full((samples, *kept[0].shape[1:]), np.nan, np.float32)
        for values, (_, index, mask) in zip(kept, parts, strict=True):
            found[index[mask]] = values[mask]
        return found

    return jax.tree.map(ordered, *(kept for kept, *_ in parts))


class Tested(NamedTuple):
    """A run as it does on a split: `rows` of it and of the trivial predictors (as in rows.csv.gz), the `evaluation`,
    the `measure` it was made with, and a function that predicts any split.
    """

    rows: pd.DataFrame
    evaluation: Evaluation
    measure: Measure
    predict: Predict


def evaluate_run(
    run: LoopRun,
    data: Prepared,
    split: str,
    source: Path,
    which: str = "best",
) -> Tested:
    """Tests a run on a split, from its folder (the "best" or "newest" checkpoint) or from a file of PyTorch weights.

    Raises OSError or ValueError for a checkpoint or file that cannot be used.
    """
    check_batch_size(run.batch_size)
    engine, state = restore(run, data, source, which)
    measure = engine.task.measure(run, data)
    found = evaluator(engine, measure, data_mesh())(state, data.splits[split])
    return Tested(result_rows(run, data, measure, {split: found}), found, measure, predictor(engine, state))


def restore(run: LoopRun, data: Prepared, source: Path, which: str = "best") -> tuple[Engine, TrainState]:
    """Engine and state of a run, to evaluate it; arguments and errors are those of `evaluate_run`."""
    mesh = data_mesh()
    if source.is_dir():
        engine = make_engine(run, data)
        return engine, load_checkpoint(source, engine, mesh, which, data)[0]
    if run.decoded != "value":
        raise ValueError(f"{run.where} is read from its class head (decoded {run.decoded!r}), which weights have not")
    # The file need have no class head, which serves training only.
    engine = make_engine(
        dataclasses.replace(run, classes=0, balanced=False, auxiliary="classification", fds="none"), data
    )
    return engine, jax.device_put(load_weights(str(source), engine), replicated(mesh))
