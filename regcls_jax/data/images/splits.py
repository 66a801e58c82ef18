"""Prepared images and their targets: encoded images by index, all targets and names at once."""

import os
from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np

from regcls_jax.data.images.duplicates import Duplicates
from regcls_jax.data.images.table import digest
from regcls_jax.data.places import FACTS, LABELS, LEFT_OUT, Places
from regcls_jax.data.prepared import SPLITS, Prepared
from regcls_jax.data.records import REMEDY, Records, damaged_labels, read_labels, read_notes, record_files

# Published data set -> folder of the builder's config below the data folder.
FOLDERS = {
    "utkface": "utkface/balanced/1.0.0",
    "imdb_wiki_dir": "age_table_images/imdb_wiki_dir/1.0.0",
    "agedb_dir": "age_table_images/agedb_dir/1.0.0",
}
PLACES = Places(FOLDERS, "own_images", "--table=... --images=... --target=...")
# What versions that wrote no `FACTS` prepared: ages alone, as `<split>_ages`.
BEFORE_FACTS = {"target": "age", "unit": "years"}


class Images(Protocol):
    """Image files by number: how many, and the content of several."""

    def __len__(self) -> int: ...
    def read(self, indices: Sequence[int]) -> list[bytes]: ...


class EncodedImages:
    """The images of a split as the bytes of their files. Pickles into worker processes, without content."""

    def __init__(self, files: Sequence[str]) -> None:
        """Takes and raises what `Records` does."""
        self._records = Records(files)

    def __len__(self) -> int:
        return len(self._records)

    def __getitem__(self, index: int) -> bytes:
        return self.read([index])[0]

    def read(self, indices: Sequence[int]) -> list[bytes]:
        """Several images in one request, as `Records.read`."""
        return [image for (image,) in self._records.read(indices, "image")]


class ImageSplit(NamedTuple):
    """n images (encoded), their targets (float32 [n]) and the names of their files (str [n])."""

    images: Images
    targets: np.ndarray
    names: np.ndarray


class Findings(NamedTuple):
    """What preparation found: by name what is wrong with images that were left out; duplicates; rotated images.

    `rotated` are names of images that viewers turn by their EXIF data. None stands for what an earlier version did not
    look for.
    """

    faults: dict[str, str]
    duplicates: Duplicates | None
    rotated: list[str] | None

    @property
    def dropped(self) -> list[str]:
        """Names of the duplicates that were left out."""
        found = self.duplicates
        return [*found.same_target, *found.other_target] if found is not None and found.dropped else []


def load_images(dataset: str, data_dir: str | os.PathLike) -> Prepared:
    """A prepared data set with splits of `ImageSplit`. Reads the labels, no image.

    Raises:
      ValueError: there is no such data set.
      OSError: it has not been prepared in `data_dir` (the message has the command that does), or what was prepared was
        changed or damaged since.
    """
    folder = PLACES.folder_of(dataset, data_dir)
    arrays = read_labels(folder, dataset, data_dir)
    kind = "targets" if "train_targets" in arrays else "ages"
    try:
        labels = {name: (arrays[f"{name}_names"], arrays[f"{name}_{kind}"]) for name in SPLITS}
    except KeyError as error:
        raise damaged_labels(folder, error) from error
    facts = read_notes(folder / FACTS) if (folder / FACTS).exists() else BEFORE_FACTS
    found = digest(labels)
    if facts.get("digest", found) != found:
        raise OSError(f"{folder / LABELS} is not the one that was prepared; {REMEDY}")
    splits = {}
    for name, (names, targets) in labels.items():
        images = EncodedImages(record_files(folder, name))
        if len(images) != len(names):
            raise OSError(f"{folder}: {len(images)} images but {len(names)} targets of {name}; {REMEDY}")
        splits[name] = ImageSplit(images, targets, names)
    return Prepared(dataset, facts["target"], facts["unit"], found, splits)


def findings(dataset: str, data_dir: str | os.PathLike) -> Findings:
    """What the preparation of a data set found. Raises as `load_images` does."""
    content = read_notes(PLACES.folder_of(dataset, data_dir) / LEFT_OUT)
    found, rotated = content["duplicates"], content.get("rotated")
    if "dropped" in found:
        return Findings(content["faults"], Duplicates(**found), rotated)
    # Earlier versions looked only in UTKFace; those that knew no other target wrote "same_age" and "other_age".
    same, other = (found.get(f"{kind}_target", found.get(f"{kind}_age")) for kind in ("same", "other"))
    return Findings(content["faults"], Duplicates(same, other, 0, True) if dataset == "utkface" else None, rotated)
