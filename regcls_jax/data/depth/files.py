"""Pictures outside of a prepared data set: to predict the depth of, or to be evaluated on."""

import os
import tempfile
from collections.abc import Sequence

import numpy as np

from regcls_jax.data.depth.pairs import PairFiles, find_pairs, usable_pair
from regcls_jax.data.depth.splits import DepthSplit
from regcls_jax.data.images.check import check_images
from regcls_jax.data.images.files import open_files
from regcls_jax.data.images.splits import Images
from regcls_jax.data.images.unlabelled import read_unlabelled


class Pictures:
    """Pictures without depth maps, by number."""

    def __init__(self, images: Images) -> None:
        """These images."""
        self._images = images

    def __len__(self) -> int:
        return len(self._images)

    def read(self, indices: Sequence[int]) -> list[tuple[bytes, None]]:
        """The content of several, without a map."""
        return [(image, None) for image in self._images.read(indices)]


class NamedPairs:
    """Pairs of files by number."""

    def __init__(self, pairs: PairFiles, names: Sequence[str]) -> None:
        """The pairs of these pictures."""
        self._pairs, self._names = pairs, names

    def __len__(self) -> int:
        return len(self._names)

    def read(self, indices: Sequence[int]) -> list[tuple[bytes, bytes]]:
        """The content of several."""
        return [self._pairs.read(self._names[index]) for index in indices]


def read_unlabelled_pictures(folder: str | os.PathLike) -> tuple[DepthSplit, dict[str, str]]:
    """The images of a folder that can be decoded, without depth, and by name what is wrong with the others.

    Raises OSError without such a folder, ValueError where it holds no image that can be used.
    """
    split, faults = read_unlabelled(folder)
    return DepthSplit(Pictures(split.images), split.names, np.nan), faults


def read_labelled_pictures(source: str | os.PathLike, scale: float) -> tuple[DepthSplit, dict[str, str]]:
    """The pairs of a folder or an archive (`pairs.find_pairs`) that can be used, and what is wrong with the others.

    `scale` is in metres per unit of the depth maps. Raises OSError without such a source, ValueError where it holds no
    pair that can be used.
    """
    files = open_files(source)
    depths = find_pairs(files, source)
    pairs, names = PairFiles(files, depths), [*depths]
    with tempfile.TemporaryDirectory() as temporary:
        checked = check_images(pairs, names, temporary, usable=usable_pair, progress=True)
    usable = [name for name in names if name in checked.digests]
    if not usable:
        first = next(iter(checked.faults.items()))
        raise ValueError(f"{source} holds no pair that can be used; the first, {first[0]}: {first[1]}")
    return DepthSplit(NamedPairs(pairs, usable), np.array(usable), scale), checked.faults
