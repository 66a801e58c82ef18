"""Trains parts one after another: while the devices train one, the host prepares the next."""

import functools
import itertools
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import jax
import numpy as np

from regcls_jax.study import arrays
from regcls_jax.study.arrays import Read, Sizes
from regcls_jax.study.plan import Part
from regcls_jax.study.runs import Run
from regcls_jax.study.train import Trained, train_runs


class TrainedPart(NamedTuple):
    """A trained part and the seconds it took."""

    part: Part
    places: np.ndarray  # [chunks], the index of each chunk in `trained`
    trained: Trained
    seconds: float

    def members(self) -> Iterator[tuple[int, tuple[int, int]]]:
        """Every run number of the part, and its index (chunk, member) in `trained`."""
        for place, numbers in zip(self.places, self.part.chunks, strict=True):
            yield from ((number, (place, member)) for member, number in enumerate(numbers))


def trained_parts(
    parts: Iterable[tuple[int, Part] | None],
    planned: Sequence[Sequence[Part]],
    runs: Sequence[Run],
    sizes: Sizes,
    read: Read,
    *,
    keep_params: bool = False,
) -> Iterator[TrainedPart]:
    """Every part of `parts`, trained.

    Args:
      parts: (index of the shape, part); None asks for the part in training before another one is prepared.
      planned: all parts of the study, one list per shape: arrays are padded to the largest.
      runs: all runs of the study.
      sizes: of all training sets.
      read: loads the problem of a spec.
      keep_params: whether to keep the models' parameters.
    """
    mesh = jax.make_mesh((jax.device_count(),), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    padding = functools.cache(lambda shape: arrays.padding(planned[shape], runs, sizes))
    running: tuple[Part, Trained] | None = None
    clock = time.monotonic()
    for next_part in itertools.chain(parts, [None]):
        started = None
        if next_part is not None:
            shape, part = next_part
            if running is None:
                clock = time.monotonic()  # do not count the time spent waiting for other processes
            arguments = arrays.build(part, padding(shape), runs, sizes, read, mesh.size)
            # The call returns before the devices are done.
            started = part, train_runs(*arguments, shape=part.shape, mesh=mesh, keep_params=keep_params)
        if running is not None:
            part, trained = running[0], jax.tree.map(np.asarray, running[1])
            clock, before = time.monotonic(), clock
            yield TrainedPart(part, arrays.chunk_places(part, mesh.size), trained, clock - before)
        running = started
