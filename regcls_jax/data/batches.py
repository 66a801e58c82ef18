"""Batches of any examples: who makes which, in what process, and where an iterator goes on.

Batch t of a run is a pure function of t: grain only decides who makes it. grain *spawns* its workers, so that none
inherits the threads of JAX; each imports the main module again, which must therefore guard its main program.
"""

import sys
from collections.abc import Callable
from typing import NamedTuple

import grain
import numpy as np
from absl import flags

from regcls_jax.checks import check_integer

# Batches that each process keeps ready: one is being used while the next is made.
READY = 2
# The end of endless epochs.
ENDLESS = sys.maxsize

Batch = dict[str, np.ndarray]


class Share(NamedTuple):
    """The rows [first, first + size) of every global batch of `batch_size`: what one host makes."""

    batch_size: int
    first: int
    size: int

    def per_epoch(self, samples: int) -> int:
        """Batches of an epoch; the last may be partial."""
        return -(-samples // self.batch_size)

    def rows(self, samples: int, step: int) -> np.ndarray:
        """Which of the samples, in the order of the epoch, are in its batch `step` on this host; int [up to size]."""
        start = step * self.batch_size + self.first
        return np.arange(start, min(start + self.size, samples))


def share(batch_size: int, process_index: int, process_count: int) -> Share:
    """The share of host `process_index` of `process_count`. ValueError for a number that is out of range."""
    check_integer("batch_size", batch_size, 1)
    check_integer("process_count", process_count, 1)
    check_integer("process_index", process_index, 0)
    if process_index >= process_count:
        raise ValueError(f"process_index must be below process_count {process_count}, got {process_index}")
    if batch_size % process_count:
        raise ValueError(f"batch_size must be a multiple of the {process_count} processes, got {batch_size}")
    size = batch_size // process_count
    return Share(batch_size, process_index * size, size)


class BatchIterator(grain.DatasetIterator[Batch]):
    """grain's iterator over batches 0 .. end - 1, with the position as its only state: the number of the next batch.

    grain's own state holds one position per worker, so that it could not be taken up with another number of them.
    """

    _running: grain.DatasetIterator[Batch] | None = None

    def __init__(self, batches: Callable[[int], Batch], end: int, workers: int) -> None:
        """Batch t is `batches(t)`, made by so many processes (0: by a thread of this one), which it pickles into."""
        super().__init__()
        check_integer("workers", workers, 0)
        if not flags.FLAGS.is_parsed():  # grain reads flags of its own, also where a notebook or a test parses none
            flags.FLAGS.mark_as_parsed()
        self._batches, self._end, self._workers = batches, end, workers
        self._next = 0

    def __next__(self) -> Batch:
        batch = next(self._started())
        self._next += 1
        return batch

    def start_prefetch(self) -> None:
        self._started()

    def _started(self) -> grain.DatasetIterator[Batch]:
        if self._closed:
            raise ValueError("the batches were closed")
        if self._running is None:
            self._running = self._start()
            self._running.start_prefetch()
        return self._running

    def _start(self) -> grain.DatasetIterator[Batch]:
        batches = grain.MapDataset.range(self._next, self._end).map(self._batches)
        # One thread per process: whoever has more processors asks for more workers.
        dataset = batches.to_iter_dataset(grain.ReadOptions(num_threads=1, prefetch_buffer_size=READY))
        if self._workers:
            options = grain.MultiprocessingOptions(num_workers=self._workers, per_worker_buffer_size=READY)
            dataset = dataset.mp_prefetch(options)
        return iter(dataset)

    def get_state(self) -> dict[str, int]:
        return {"next_batch": self._next}

    def set_state(self, state: dict[str, int]) -> None:
        self._stop_running()
        self._next = state["next_batch"]

    def close(self) -> None:
        self._stop_running()
        super().close()

    def _stop_running(self) -> None:
        if self._running is not None:
            self._running.close()
            self._running = None
