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
from regcls_jax.study.plan import LARGE_BYTES, Part, Sized
from regcls_jax.study.program import Trained
from regcls_jax.study.runs import Run
from regcls_jax.study.train import train_runs


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
    keep_values: bool = False,
    multiple: int = 1,
) -> Iterator[TrainedPart]:
    """Every part of `parts`, trained.

    Args:
      parts: (index of the shape, part); None asks for the part in training before another one is prepared.
      planned: all parts of the study, one list per shape: arrays are padded to the largest.
      runs: all runs of the study.
      sizes: of all training sets.
      read: loads the problem of a spec.
      keep_params: whether to keep the models' parameters.
      keep_values: whether to keep what they predict for the splits of `valued`.
      multiple: rows are padded to one, so that data sets of nearly one size share a program.
    """
    mesh = jax.make_mesh((jax.device_count(),), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    padding = functools.cache(lambda shape: arrays.padding(planned[shape], runs, sizes, multiple))
    running: tuple[Part, Trained] | None = None
    last = arrays.LastData()
    clock = time.monotonic()

    def finished(part: Part, trained: Trained) -> TrainedPart:
        nonlocal clock
        found = jax.tree.map(np.asarray, trained)
        clock, before = time.monotonic(), clock
        return TrainedPart(part, arrays.chunk_places(part, mesh.size), found, clock - before)

    def start(shape: int, part: Part) -> Trained:
        # A function, so that nothing here holds the arrays of a part once its devices are done.
        members, batches, shared = arrays.build(part, padding(shape), runs, sizes, read, mesh.size, last)
        kept = valued(sizes[runs[part.runs[0]].trained_on]) if keep_values else ()
        everywhere = arrays.on_every_device(shared, mesh)
        options = {"keep_params": keep_params, "keep_values": kept}
        # The call returns before the devices are done.
        return train_runs(members, batches, everywhere, shape=part.shape, mesh=mesh, **options)

    for next_part in itertools.chain(parts, [None]):
        started = None
        if next_part is not None:
            shape, part = next_part
            if running is None:
                clock = time.monotonic()  # do not count the time spent waiting for other processes
            elif any(sizes[runs[n].trained_on].data_bytes > LARGE_BYTES for n in part.runs):
                # Memory, rather than time, is short: not the arrays of two parts at once.
                yield finished(*running)
                running = None
            started = part, start(shape, part)
        if running is not None:
            yield finished(*running)
        running = started


def valued(sized: Sized) -> tuple[int, ...]:
    """The splits whose predictions may be kept: all but the one that is trained on."""
    return tuple(number for number, split in enumerate(sized.splits) if split != "train")
