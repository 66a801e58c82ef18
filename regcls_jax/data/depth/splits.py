"""Prepared images with depth maps: encoded pairs by index, and what a training needs of all of them at once."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Protocol, Self

import numpy as np

from regcls_jax.data.places import FACTS, LABELS, LEFT_OUT, Places
from regcls_jax.data.prepared import SPLITS, Prepared
from regcls_jax.data.records import REMEDY, Records, read_labels, read_notes, record_files
from regcls_jax.store.files import digest

PLACES = Places({"nyud2": "nyud2/scenes/1.0.0"}, "own_depths", "--depth_images=... --depth_scale=...")


class Pairs(Protocol):
    """Encoded pairs by number: the bytes of the picture, and of the depth map if there is one."""

    def __len__(self) -> int: ...
    def read(self, indices: Sequence[int]) -> Sequence[tuple[bytes, bytes | None]]: ...


class EncodedPairs:
    """The pairs of a prepared split. Pickles into worker processes, without content."""

    def __init__(self, files: Sequence[str]) -> None:
        """Takes and raises what `Records` does."""
        self._records = Records(files)

    def __len__(self) -> int:
        return len(self._records)

    def read(self, indices: Sequence[int]) -> list[tuple[bytes, bytes]]:
        """Several pairs in one request, as `Records.read`."""
        return [(image, depth) for image, depth in self._records.read(indices, "image", "depth")]


class RowsOf:
    """Some of other pairs."""

    def __init__(self, pairs: Pairs, rows: np.ndarray) -> None:
        """Number i is `rows[i]` of `pairs`."""
        self._pairs, self._rows = pairs, rows

    def __len__(self) -> int:
        return len(self._rows)

    def read(self, indices: Sequence[int]) -> Sequence[tuple[bytes, bytes | None]]:
        """As of the other pairs."""
        return self._pairs.read(self._rows[list(indices)].tolist())


class DepthSplit(NamedTuple):
    """n pictures with depth maps.

    pairs: encoded.
    names: of the pictures, str [n].
    scale: metres per unit of the encoded maps; NaN where there are none.
    mask: packed bits uint8 [n, ...] of `mask_shape`: the only pixels that are evaluated; None for all.
    mask_shape: height and width of the view that the mask is of.
    histogram: distinct measured depths in metres, float32 [k], and how often each occurs, int64 [k], in the published
      view of the pictures, not augmented; only of "train".
    statistics_rows: rows whose features are the statistics of feature smoothing; only of "train".
    """

    pairs: Pairs
    names: np.ndarray
    scale: float
    mask: np.ndarray | None = None
    mask_shape: tuple[int, int] = (0, 0)
    histogram: tuple[np.ndarray, np.ndarray] | None = None
    statistics_rows: np.ndarray | None = None

    def rows(self, rows: np.ndarray) -> Self:
        """A split of the pictures `rows` int [m], without what is said of all."""
        mask = None if self.mask is None else self.mask[rows]
        chosen = {"pairs": RowsOf(self.pairs, rows), "names": self.names[rows], "mask": mask}
        return self._replace(**chosen, histogram=None, statistics_rows=None)

    def mask_of(self, row: int) -> np.ndarray:
        """The mask bool `mask_shape` of one picture."""
        if self.mask is None:
            raise ValueError("the split has no mask")
        height, width = self.mask_shape
        return np.unpackbits(self.mask[row], count=height * width).reshape(height, width).astype(bool)


class Findings(NamedTuple):
    """What preparation found: by name what is wrong with the pairs that were left out; names of the pictures that
    viewers turn by their EXIF data; how many groups of identical pairs lie in more than one split; and remarks on what
    was drawn or read.
    """

    faults: dict[str, str]
    rotated: list[str]
    across_splits: int
    remarks: list[str]


def load_depths(dataset: str, data_dir: str | os.PathLike) -> Prepared:
    """A prepared data set with splits of `DepthSplit`. Reads no picture.

    Raises:
      ValueError: there is no such data set.
      OSError: it has not been prepared in `data_dir` (the message has the command that does), or what was prepared was
        changed or damaged since.
    """
    folder = PLACES.folder_of(dataset, data_dir)
    labels = read_labels(folder, dataset, data_dir)
    facts = read_notes(folder / FACTS)
    if facts["digest"] != digest_of(labels):
        raise OSError(f"{folder / LABELS} is not the one that was prepared; {REMEDY}")
    splits = {name: _split(folder, name, labels, facts) for name in SPLITS}
    return Prepared(dataset, "depth", "m", facts["digest"], splits)


def _split(folder: Path, name: str, labels: dict[str, np.ndarray], facts: dict) -> DepthSplit:
    pairs, names = EncodedPairs(record_files(folder, name)), labels[f"{name}_names"]
    if len(pairs) != len(names):
        raise OSError(f"{folder}: {len(pairs)} pairs but {len(names)} names of {name}; {REMEDY}")
    split = DepthSplit(pairs, names, facts["scales"][name])
    if name == "train":
        histogram = labels["histogram_values"], labels["histogram_counts"]
        split = split._replace(histogram=histogram, statistics_rows=labels["statistics_rows"])
    if name == "test" and "test_mask" in labels:
        split = split._replace(mask=labels["test_mask"], mask_shape=tuple(facts["mask_shape"]))
    return split


def digest_of(labels: dict[str, np.ndarray]) -> str:
    """Of all that labels hold, whatever their order."""
    return digest(*(part for name in sorted(labels) for part in (np.array(name), labels[name])))


def findings(dataset: str, data_dir: str | os.PathLike) -> Findings:
    """What the preparation of a data set found. Raises as `load_depths` does."""
    return Findings(**read_notes(PLACES.folder_of(dataset, data_dir) / LEFT_OUT))
