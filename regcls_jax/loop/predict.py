"""What a trained network says of new examples, a batch at a time."""

import contextlib
import functools
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np

from regcls_jax.loop.mesh import check_batch_size, data_mesh, replicated, to_devices
from regcls_jax.loop.steps import Engine, TrainState, eval_step


def predict(engine: Engine, state: TrainState, split: Any) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """(rows [b], values [b, ...] in target units) of the examples of a split in order; on all devices of one host."""
    check_batch_size(engine.run.batch_size)
    mesh = data_mesh()
    step = jax.jit(functools.partial(eval_step, engine), out_shardings=replicated(mesh))
    with contextlib.closing(engine.task.eval_batches(engine.run, split, (0, 1))) as batches:
        for batch in batches:
            values = jax.device_get(step(state.params, state.batch_stats, to_devices(mesh, batch)))
            yield batch["index"][batch["mask"]], values[batch["mask"]]
