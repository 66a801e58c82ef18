"""Images without a target, in a folder or in archives: what a trained network is asked about."""

import os
import tempfile
from collections.abc import Sequence

import numpy as np

from regcls_jax.data.images.check import check_images
from regcls_jax.data.images.files import ImageFiles
from regcls_jax.data.images.splits import ImageSplit


class NamedImages:
    """Image files by number, read as those of a prepared data set are."""

    def __init__(self, files: ImageFiles, names: Sequence[str]) -> None:
        """The files of these names."""
        self._files, self._names = files, names

    def __len__(self) -> int:
        return len(self._names)

    def read(self, indices: Sequence[int]) -> list[bytes]:
        """The content of several files."""
        return [self._files.read(self._names[index]) for index in indices]


def read_unlabelled(folder: str | os.PathLike) -> tuple[ImageSplit, dict[str, str]]:
    """The images of a folder that can be decoded, with NaN as their targets, and by name what is wrong with the others.

    Raises OSError without such a folder, ValueError where it holds no image that can be used.
    """
    files = ImageFiles(folder)
    names = files.names()
    with tempfile.TemporaryDirectory() as temporary:
        checked = check_images(files, names, temporary, progress=True)
    usable = [name for name in names if name in checked.digests]
    if not usable:
        raise ValueError(f"{folder} holds no image that can be used ({len(names)} cannot be)")
    split = ImageSplit(NamedImages(files, usable), np.full(len(usable), np.nan, np.float32), np.array(usable))
    return split, checked.faults
