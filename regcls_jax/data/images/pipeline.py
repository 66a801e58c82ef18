"""Batches of decoded and augmented images, the same ones for any number of workers and hosts, resumable exactly.

Batch t of a run is a pure function of (seed, t), made where `data.batches` decides.
"""

import dataclasses
import functools
from typing import NamedTuple

import grain
import numpy as np

from regcls_jax.checks import check_integer
from regcls_jax.data.batches import ENDLESS, Batch, BatchIterator, Share, share
from regcls_jax.data.images.decoding import decode_rgb
from regcls_jax.data.images.splits import ImageSplit


class EpochDraws(NamedTuple):
    """The draws of one epoch: order of the samples [n]; by view and sample, the shift (y, x) of its crop [views, n, 2]
    and flip [views, n].
    """

    order: np.ndarray
    shifts: np.ndarray
    flips: np.ndarray


# The batches of an epoch share its draws; at its end the next one's are made while the last batches are.
@functools.lru_cache(maxsize=2)
def draw_epoch(samples: int, seed: int, epoch: int, padding: int, flip: bool, views: int = 1) -> EpochDraws:
    """Draws an epoch from `numpy.random.default_rng([seed, epoch])`; cached, so not to be changed.

    The crop of `padding` on every side starts anywhere with equal probability (shifts are in [-padding, padding]), and
    with `flip` every second image on average is mirrored (recipe 5.1). More views are drawn after the first.
    """
    generator = np.random.default_rng([seed, epoch])
    order = generator.permutation(samples)
    shifts, flips = np.zeros((views, samples, 2), np.int64), np.zeros((views, samples), bool)
    for view in range(views):
        shifts[view] = generator.integers(-padding, padding, (samples, 2), endpoint=True)
        if flip:
            flips[view] = generator.random(samples) < 0.5
    return EpochDraws(order, shifts, flips)


def train_batches(
    split: ImageSplit,
    *,
    image_size: int,
    batch_size: int,
    seed: int,
    padding: int = 16,
    flip: bool = True,
    views: int = 1,
    workers: int = 0,
    process_index: int = 0,
    process_count: int = 1,
) -> grain.DatasetIterator[Batch]:
    """Endless epochs of ceil(n views / batch_size) batches: all samples once in a fresh order, cropped and mirrored.

    The last batch of an epoch may be partial: it is kept, as by PyTorch's drop_last=False, and filled up with rows of
    zeros whose mask is False.

    Args:
      split: n images; resized to `image_size` bilinearly, without keeping their aspect ratio.
      image_size: height and width S of the batches.
      batch_size: rows of the global batch, of which every host gets an equal share.
      seed: >= 0; the same seed gives the same batches.
      padding: zeros added on every side, in pixels, before a window of S x S is cut at a random place.
      flip: whether to mirror images left to right with probability 1/2.
      views: how many rows a sample has, one after the other, each cropped and mirrored by itself.
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
    check_integer("views", views, 1)
    batches = _Batches(split, image_size, share(batch_size, process_index, process_count), seed, padding, flip, views)
    return BatchIterator(batches, ENDLESS, workers)


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
    batches = _Batches(split, image_size, share(batch_size, process_index, process_count))
    return BatchIterator(batches, batches.share.per_epoch(len(split.targets)), workers)


@dataclasses.dataclass(frozen=True)
class _Batches:
    """Makes this host's share of batch t; without a seed as for evaluation."""

    split: ImageSplit
    image_size: int
    share: Share
    seed: int | None = None
    padding: int = 0
    flip: bool = False
    views: int = 1

    def __post_init__(self) -> None:
        check_integer("image_size", self.image_size, 1)

    def __call__(self, step: int) -> Batch:
        samples, size = len(self.split.targets), self.share.size
        epoch, step = divmod(step, self.share.per_epoch(samples * self.views))
        rows, views = np.divmod(self.share.rows(samples * self.views, step), self.views)
        draws = None
        if self.seed is not None:
            draws = draw_epoch(samples, self.seed, epoch, self.padding, self.flip, self.views)
            rows = draws.order[rows]
        images = np.zeros((size, self.image_size, self.image_size, 3), np.uint8)
        encoded = self.split.images.read(rows.tolist()) if len(rows) else []
        for image, row, view, data in zip(images[: len(rows)], rows, views, encoded, strict=True):
            flip = draws is not None and bool(draws.flips[view, row])
            try:
                pixels = decode_rgb(data, self.image_size, mirror=flip)
            except ValueError as error:
                raise ValueError(f"image {row}, {self.split.names[row]}, cannot be decoded: {error}") from error
            if draws is None:
                image[:] = pixels
            else:
                # To flip the window is to take the mirrored window of the flipped image.
                place(image, pixels, draws.shifts[view, row] * ([1, -1] if flip else [1, 1]))
        fill = (0, size - len(rows))
        return {
            "input": images,
            "target": np.pad(self.split.targets[rows], fill),
            "index": np.pad(rows.astype(np.int32), fill),
            "mask": np.arange(size) < len(rows),
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
