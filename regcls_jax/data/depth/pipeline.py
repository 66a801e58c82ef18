"""Batches of decoded and augmented pictures with depth maps, the same ones for any number of workers and hosts.

Batch t of a run is a pure function of (seed, t), made where `data.batches` decides. Recipes 5.3.
"""

import dataclasses

import grain
import numpy as np

from regcls_jax.checks import check_integer
from regcls_jax.data.batches import ENDLESS, Batch, BatchIterator, Share, share
from regcls_jax.data.depth.decoding import decode_depth, metres
from regcls_jax.data.depth.draws import ORDERS, EpochDraws, colour_map, draw_epoch
from regcls_jax.data.depth.splits import DepthSplit
from regcls_jax.data.depth.transforms import (
    HEIGHT,
    RESAMPLINGS,
    WIDTH,
    View,
    nearest,
    scale_depth,
    scale_image,
    see_depth,
    see_image,
)
from regcls_jax.data.images.decoding import decode_rgb

# Whether pixels without a measurement, and those that a rotation brings in, are left out or are targets of 0 m.
UNMEASURED = ("mask", "train")
# Training pictures and maps are kept, decoded and scaled, where all of them take no more memory than this: for small
# data sets decoding and scaling, the same in every epoch, cost more than everything that is done at random.
KEPT_BYTES = 1 << 28

# A picture uint8 [h, w, 3] and its depth map [h, w], if there is one, scaled.
Pair = tuple[np.ndarray, np.ndarray | None]


def train_batches(
    split: DepthSplit,
    *,
    batch_size: int,
    seed: int,
    height: int = HEIGHT,
    width: int = WIDTH,
    augment: bool = True,
    unmeasured: str = "mask",
    resampling: str = "nearest",
    workers: int = 0,
    process_index: int = 0,
    process_count: int = 1,
) -> grain.DatasetIterator[Batch]:
    """Endless epochs of ceil(n / batch_size) batches: all pictures once in a fresh order, augmented as published.

    A picture is scaled (shorter side `View.shorter`, 240 by default), flipped with probability 1/2, rotated by up to 5
    degrees, and cropped to its centre. Its colours are changed on the device, by `inputs.network_input`.

    The last batch of an epoch may be partial: it is filled up with rows of zeros whose mask is False.

    Args:
      split: n pictures with depth maps.
      batch_size: rows of the global batch, of which every host gets an equal share.
      seed: >= 0; the same seed gives the same batches.
      height: of the input, in pixels; targets have half of it, rounded up.
      width: likewise.
      augment: whether anything is changed at random, but for the order.
      unmeasured: "mask" leaves pixels without a measurement out; "train", as published, makes them targets of 0 m.
      resampling: of depth maps; see `transforms.see_depth`.
      workers: processes that make batches; 0 makes them in a thread of this process.
      process_index: this host gets the rows [process_index * b, (process_index + 1) * b) of the global batch.
      process_count: number of hosts.

    Returns:
      An iterator over dicts of NumPy arrays with b = batch_size / process_count rows: input uint8
      [b, height, width, 3], colour float32 [b, 3, 4] if augmented (`draws.colour_map`), target float32 [b, h, w] in
      metres (0 where there is none), valid bool [b, h, w], index in the split int32 [b], mask bool [b]. Its position,
      get_state(), is JSON; set_state() goes on there, whatever number of workers or hosts the state comes from. Close
      it when done.

    Raises:
      ValueError: an argument is out of range; or, while iterating, a file cannot be decoded (it is named).
    """
    check_integer("seed", seed, 0)
    for name, value, choices in (("unmeasured", unmeasured, UNMEASURED), ("resampling", resampling, RESAMPLINGS)):
        if value not in choices:
            raise ValueError(f"{name} must be one of {', '.join(choices)}, got {value!r}")
    part = share(batch_size, process_index, process_count)
    batches = _Batches(split, View(height, width), part, seed, augment, unmeasured, resampling)
    return BatchIterator(batches, ENDLESS, workers)


def eval_batches(
    split: DepthSplit,
    *,
    batch_size: int,
    height: int = HEIGHT,
    width: int = WIDTH,
    workers: int = 0,
    process_index: int = 0,
    process_count: int = 1,
) -> grain.DatasetIterator[Batch]:
    """One pass over the pictures in order, each once, scaled and cropped; else as `train_batches`.

    Targets have the height and width of the input. Valid are the measured pixels and, where the split has a mask, of
    these only its own; a view of another size than the mask's takes the mask's nearest pixels. Without depth maps
    target is 0 and no pixel is valid.
    """
    part = share(batch_size, process_index, process_count)
    batches = _Batches(split, View(height, width), part)
    return BatchIterator(batches, part.per_epoch(len(split.names)), workers)


@dataclasses.dataclass(frozen=True)
class _Batches:
    """Makes this host's share of batch t; without a seed as for evaluation."""

    split: DepthSplit
    view: View
    share: Share
    seed: int | None = None
    augment: bool = False
    unmeasured: str = "mask"
    resampling: str = "nearest"
    kept: dict[int, Pair] = dataclasses.field(default_factory=dict, repr=False, compare=False)

    def __post_init__(self) -> None:
        check_integer("height", self.view.height, 1)
        check_integer("width", self.view.width, 1)

    @property
    def map_size(self) -> tuple[int, int]:
        """Height and width of the targets: half of the input's in training, rounded up."""
        height, width = self.view
        return (height, width) if self.seed is None else (-(-height // 2), -(-width // 2))

    def __call__(self, step: int) -> Batch:
        samples, size = len(self.split.names), self.share.size
        epoch, step = divmod(step, self.share.per_epoch(samples))
        rows = self.share.rows(samples, step)
        draws = None if self.seed is None else draw_epoch(samples, self.seed, epoch)
        if draws is not None:
            rows = draws.order[rows]
        fill = (0, size - len(rows))
        batch: Batch = {
            "input": np.zeros((size, *self.view, 3), np.uint8),
            "target": np.zeros((size, *self.map_size), np.float32),
            "valid": np.zeros((size, *self.map_size), bool),
            "index": np.pad(rows.astype(np.int32), fill),
            "mask": np.arange(size) < len(rows),
        }
        if self.augment:
            batch["colour"] = np.zeros((size, 3, 4), np.float32)
        for place, (row, pair) in enumerate(zip(rows.tolist(), self._pairs(rows.tolist()), strict=True)):
            for name, value in self._example(row, *pair, draws if self.augment else None).items():
                batch[name][place] = value
        return batch

    def _pairs(self, rows: list[int]) -> list[Pair]:
        missing = [row for row in rows if row not in self.kept]
        encoded = self.split.pairs.read(missing) if missing else []
        found = {row: self._decoded(row, *pair) for row, pair in zip(missing, encoded, strict=True)}
        pairs = [self.kept.get(row) or found[row] for row in rows]
        if self.seed is not None and missing and len(self.split.names) * _size(pairs[0]) <= KEPT_BYTES:
            self.kept.update(found)
        return pairs

    def _decoded(self, row: int, image: bytes, depth: bytes | None) -> Pair:
        try:
            pixels = decode_rgb(image)
            raw = None if depth is None else decode_depth(depth)
        except ValueError as error:
            raise ValueError(f"pair {row}, {self.split.names[row]}, cannot be decoded: {error}") from error
        return scale_image(pixels, self.view), None if raw is None else scale_depth(raw, self.view)

    def _example(
        self, row: int, pixels: np.ndarray, raw: np.ndarray | None, draws: EpochDraws | None
    ) -> dict[str, np.ndarray]:
        """What a batch has of a picture and of its depth map, if there is one; augmented by the draws, if given."""
        flip, angle = (False, 0.0) if draws is None else (bool(draws.flips[row]), float(draws.angles[row]))
        example = {"input": see_image(pixels, self.view, flip=flip, angle=angle)}
        if draws is not None:
            order = ORDERS[draws.orders[row]]
            example["colour"] = colour_map(example["input"], draws.lighting[row], draws.jitters[row], order)
        if raw is None:
            return example
        training = self.seed is not None
        raw, measured = see_depth(raw, self.view, flip=flip, angle=angle, half=training, resampling=self.resampling)
        if not training and self.split.mask is not None:
            measured &= nearest(self.split.mask_of(row), self.map_size)
        return example | {"target": metres(raw, self.split.scale), "valid": measured | (self.unmeasured == "train")}


def _size(pair: Pair) -> int:
    """Bytes of a picture and its depth map."""
    return sum(array.nbytes for array in pair if array is not None)
