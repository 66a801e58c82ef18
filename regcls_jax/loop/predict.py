"""What a trained network says of examples, a batch at a time or all at once."""

import contextlib
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np

from regcls_jax.loop.mesh import check_batch_size, data_mesh, replicated, to_devices
from regcls_jax.loop.steps import Engine, TrainState, eval_step
from regcls_jax.loop.task import Batch, Predict


def predict(
    engine: Engine, state: TrainState, split: Any, process: tuple[int, int] = (0, 1)
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """(rows [b], values [b, ...] in target units) of the examples of a split in order, on all devices.

    `process` is (index, count) of this host; every host gets all.
    """
    check_batch_size(engine.run.batch_size)
    mesh = data_mesh()

    def step(state: TrainState, batch: Batch) -> tuple[jax.Array, jax.Array, jax.Array]:
        return eval_step(engine, state.params, state.batch_stats, batch), batch["index"], batch["mask"]

    compiled = jax.jit(step, out_shardings=replicated(mesh))
    with contextlib.closing(engine.task.eval_batches(engine.run, split, process)) as batches:
        for batch in batches:
            values, index, mask = jax.device_get(compiled(state, to_devices(mesh, batch)))
            yield index[mask], values[mask]


def predictor(engine: Engine, state: TrainState, process: tuple[int, int] = (0, 1)) -> Predict:
    """A function of a split: the values [n, ...] predicted for all its examples; arguments as `predict`."""

    def all_of(split: Any) -> np.ndarray:
        rows, values = map(np.concatenate, zip(*predict(engine, state, split, process), strict=True))
        found = np.empty_like(values)
        found[rows] = values
        return found

    return all_of
