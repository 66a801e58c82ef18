"""Batches of decoded and augmented images, the same ones for any number of workers and hosts, resumable exactly.

Batch t of a run is a pure function of (seed, t): grain only decides who makes it. grain *spawns* its workers, so that
none inherits the threads of JAX; each imports the main module again, which must therefore guard its main program.
"""

import dataclasses
import functools
import sys
from typing import NamedTuple

import grain
import numpy as np
from absl import flags

from regcls_jax.checks import check_integer
from regcls_jax.data.images.decoding import decode_rgb
from regcls_jax.data.images.splits import ImageSplit

# Batches that each process keeps ready: one is being used while the next is made.
READY = 2


Batch = dict[str, np.ndarray]


class EpochDraws(NamedTuple):
    """The draws of one epoch: order of the samples [n]; by sample, the shift (y, x) of its crop [n, 2] and flip [n]."""

    order: np.ndarray
    shifts: np.ndarray
    flips: np.ndarray


# The batches of an epoch share its draws; at its end the next one's are made while the last batches are.
@functools.lru_cache(maxsize=2)
def draw_epoch(samples: int, seed: int, epoch: int, padding: int, flip: bool) -> EpochDraws:
    """Draws an epoch from `numpy.random.default_rng([seed, epoch])`; cached, so not to be changed.

    The crop of `padding` on every side starts anywhere with equal probability (shifts are in [-padding, padding]), and
    with `flip` every second image on average is mirrored (recipe 5.1).
    """
    generator = np.random.default_rng([seed, epoch])
    order = generator.permutation(samples)
    shifts = generator.integers(-padding, padding, (samples, 2), endpoint=True)
    return EpochDraws(order, shifts, generator.random(samples) < 0.5 if flip else np.zeros(samples, bool))


def train_batches(
    split: ImageSplit,
    *,
    image_size: int,
    batch_size: int,
    seed: int,
    padding: int = 16,
    flip: bool = True,
    workers: int = 0,
    process_index: int = 0,
    process_count: int = 1,
) -> grain.DatasetIterator[Batch]:
    """Endless epochs of ceil(n / batch_size) batches: all samples once in a fresh order, cropped and mirrored.

    The last batch of an epoch may be partial: it is kept, as by PyTorch's drop_last=False, and filled up with rows of
    zeros whose mask is False.

    Args:
      split: n images; resized to `image_size` bilinearly, without keeping their aspect ratio.
      image_size: height and width S of the batches.
      batch_size: rows of the global batch, of which every host gets an equal share.
      seed: >= 0; the same seed gives the same batches.
      padding: zeros added on every side, in pixels, before a window of S x S is cut at a random place.
      flip: whether to mirror images left to right with probability 1/2.
      workers: processes that make batches; 0 makes them in a thread of this process.
      process_index: this host gets the rows [process_index * b, (process_index + 1) * b) of the global batch.
      process_count: number of hosts.

    Returns:
      An iterator over dicts of NumPy arrays with b = batch_size / process_count rows: input uint8 [b, S, S, 3], target
      float32 [b], index in the split int32 [b], mask bool [b]. Its get_state() is the number of the next batch;
      set_state() goes on there, whatever number of workers or hosts the state comes from. Close it when done.

    Raises:
      ValueError: an argument is out of range; or, while iterating, an image cannot be decoded (it is named).
    """
    check_integer("seed", seed, 0)
    check_integer("padding", padding, 0)
    batches = _batches(split, image_size, batch_size, process_index, process_count)
    batches = dataclasses.replace(batches, seed=seed, padding=padding, flip=flip)
    return _BatchIterator(batches, sys.maxsize, workers)


def eval_batches(
    split: ImageSplit,
    *,
    image_size: int,
    batch_size: int,
    workers: int = 0,
    process_index: int = 0,
    process_count: int = 1,
) -> grain.DatasetIterator[Batch]:
    """One pass over the samples in order, each exactly once and as it is (resized); else as `train_batches`."""
    batches = _batches(split, image_size, batch_size, process_index, process_count)
    return _BatchIterator(batches, batches.per_epoch, workers)


@dataclasses.dataclass(frozen=True)
class _Batches:
    """Makes batch t of the rows [first, first + size) of the global batch; without a seed as for evaluation."""

    split: ImageSplit
    image_size: int
    batch_size: int
    first: int
    size: int
    seed: int | None = None
    padding: int = 0
    flip: bool = False

    @property
    def per_epoch(self) -> int:
        return -(-len(self.split.targets) // self.batch_size)

    def __call__(self, step: int) -> Batch:
        epoch, step = divmod(step, self.per_epoch)
        samples = len(self.split.targets)
        start = step * self.batch_size + self.first
        rows = np.arange(start, min(start + self.size, samples))
        draws = None
        if self.seed is not None:
            draws = draw_epoch(samples, self.seed, epoch, self.padding, self.flip)
            rows = draws.order[rows]
        images = np.zeros((self.size, self.image_size, self.image_size, 3), np.uint8)
        encoded = self.split.images.read(rows.tolist()) if len(rows) else []
        for image, row, data in zip(images[: len(rows)], rows, encoded, strict=True):
            flip = draws is not None and bool(draws.flips[row])
            try:
                pixels = decode_rgb(data, self.image_size, mirror=flip)
            except ValueError as error:
                raise ValueError(f"image {row}, {self.split.names[row]}, cannot be decoded: {error}") from error
            if draws is None:
                image[:] = pixels
            else:
                # To flip the window is to take the mirrored window of the flipped image.
                place(image, pixels, draws.shifts[row] * ([1, -1] if flip else [1, 1]))
        fill = (0, self.size - len(rows))
        return {
            "input": images,
            "target": np.pad(self.split.targets[rows], fill),
            "index": np.pad(rows.astype(np.int32), fill),
            "mask": np.arange(self.size) < len(rows),
        }


def place(target: np.ndarray, pixels: np.ndarray, shift: np.ndarray) -> None:
    """Writes the window of a zero-padded image that starts `shift` (y, x) from the image's corner.

    Args:
      target: zeros [S, S, 3], changed.
      pixels: the image [S, S, 3].
      shift: integers; where they leave no overlap, nothing is written.
    """
    size = len(target)
    y, x = shift.tolist()
    top, bottom, left, right = max(y, 0), size + min(y, 0), max(x, 0), size + min(x, 0)
    if top < bottom and left < right:
        target[top - y : bottom - y, left - x : right - x] = pixels[top:bottom, left:right]


def _batches(split: ImageSplit, image_size: int, batch_size: int, process_index: int, process_count: int) -> _Batches:
    check_integer("image_size", image_size, 1)
    check_integer("batch_size", batch_size, 1)
    check_integer("process_count", process_count, 1)
    check_integer("process_index", process_index, 0)
    if process_index >= process_count:
        raise ValueError(f"process_index must be below process_count {process_count}, got {process_index}")
    if batch_size % process_count:
        raise ValueError(f"batch_size must be a multiple of the {process_count} processes, got {batch_size}")
    size = batch_size // process_count
    return _Batches(split, image_size, batch_size, process_index * size, size)


class _BatchIterator(grain.DatasetIterator[Batch]):
    """grain's iterator over batches 0 .. end - 1, with the position as its only state.

    grain's own state holds one position per worker, so that it could not be taken up with another number of them.
    """

    _running: grain.DatasetIterator[Batch] | None = None

    def __init__(self, batches: _Batches, end: int, workers: int) -> None:
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
