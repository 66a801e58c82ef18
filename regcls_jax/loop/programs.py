"""The compiled steps of a training, which trainings that differ in nothing but numbers share."""

import functools
from collections.abc import Callable, Hashable
from typing import NamedTuple

import jax
from jax import Array
from jax.sharding import Mesh

from regcls_jax import feature_smoothing
from regcls_jax.data.prepared import Prepared
from regcls_jax.loop.mesh import replicated
from regcls_jax.loop.steps import Engine, Numbers, TrainState, fds_config, statistics_step, train_step
from regcls_jax.loop.task import Batch


class Programs(NamedTuple):
    """Compiled functions: of one batch the first two, of an epoch the last."""

    step: Callable[[Numbers, TrainState, Batch], tuple[TrainState, dict[str, Array]]]
    add_statistics: Callable[..., tuple[TrainState, feature_smoothing.Statistics]]
    update_fds: Callable[..., feature_smoothing.State]


# Those of the last training: runs that share them follow one another, and they are large.
_LAST: dict[Hashable, Programs] = {}


def programs_of(engine: Engine, data: Prepared, mesh: Mesh) -> Programs:
    """The programs of a training, those of the last one where it may share them (`LoopRun.program`): compiling takes
    longer than many a short training.
    """
    key = (engine.run.program, data.name, data.digest, engine.steps_per_epoch, mesh)
    if key not in _LAST:
        _LAST.clear()
        copies = replicated(mesh)

        def step(numbers: Numbers, state: TrainState, batch: Batch) -> tuple[TrainState, dict[str, Array]]:
            return train_step(engine._replace(numbers=numbers), state, batch)

        update = functools.partial(feature_smoothing.update, config=fds_config(engine.run))
        _LAST[key] = Programs(
            jax.jit(step, donate_argnums=1, out_shardings=copies),
            jax.jit(functools.partial(statistics_step, engine), donate_argnums=(0, 1), out_shardings=copies),
            jax.jit(update, out_shardings=copies),
        )
    return _LAST[key]
