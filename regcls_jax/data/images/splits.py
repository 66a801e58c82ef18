"""Prepared images and their targets: encoded images by index, all targets and names at once."""

import os
import re
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from array_record.python.array_record_data_source import ArrayRecordDataSource
from tensorflow_datasets.proto import tf_example_pb2

from regcls_jax.data.images.duplicates import Duplicates
from regcls_jax.data.images.table import SPLITS, digest
from regcls_jax.data.prepared import Prepared
from regcls_jax.store.files import read_json

# Published data set -> folder of the builder's config below the data folder.
FOLDERS = {
    "utkface": "utkface/balanced/1.0.0",
    "imdb_wiki_dir": "age_table_images/imdb_wiki_dir/1.0.0",
    "agedb_dir": "age_table_images/agedb_dir/1.0.0",
}
# Below it, one folder per data set of the user's own.
OWN = "own_images"
NAME = r"[A-Za-z0-9][A-Za-z0-9_-]*"
# The files written beside the images.
LABELS, LEFT_OUT, FACTS = "labels.npz", "left_out.json", "dataset.json"
# What versions that wrote no `FACTS` prepared: ages alone, as `<split>_ages`.
BEFORE_FACTS = {"target": "age", "unit": "years"}
REMEDY = "prepare it again with --overwrite"


class Images(Protocol):
    """Image files by number: how many, and the content of several."""

    def __len__(self) -> int: ...
    def read(self, indices: Sequence[int]) -> list[bytes]: ...


class EncodedImages:
    """The images of a split as the bytes of their files. Pickles into worker processes, without content."""

    def __init__(self, files: Sequence[str]) -> None:
        """Takes ArrayRecord files with one TFDS example per record, in order. Raises OSError if one is damaged."""
        self._files = ", ".join(files)
        try:
            self._records: Any = ArrayRecordDataSource(files) if files else []
        except RuntimeError as error:
            raise self._damaged(error) from error

    def __len__(self) -> int:
        return len(self._records)

    def __getitem__(self, index: int) -> bytes:
        return self.read([index])[0]

    def read(self, indices: Sequence[int]) -> list[bytes]:
        """Several images in one request: 128 together take a fifth of the time that they take one by one.

        Raises OSError, naming the files, where one is damaged.
        """
        try:
            records = self._records.__getitems__(indices)
        except RuntimeError as error:
            raise self._damaged(error) from error
        # The protocol buffer itself, because TFDS's own parser takes as long as it takes to decode a small JPEG.
        examples = map(tf_example_pb2.Example.FromString, records)
        return [example.features.feature["image"].bytes_list.value[0] for example in examples]

    def _damaged(self, error: RuntimeError) -> OSError:
        return OSError(f"{self._files} is damaged ({str(error) or 'not complete'}); {REMEDY}")


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
    folder = folder_of(dataset, data_dir)
    try:
        with np.load(folder / LABELS, allow_pickle=False) as arrays:
            kind = "targets" if "train_targets" in arrays else "ages"
            labels = {name: (arrays[f"{name}_names"], arrays[f"{name}_{kind}"]) for name in SPLITS}
    except FileNotFoundError:
        command = f"python launch/prepare.py --dataset={dataset} --manual_dir=... --data_dir={data_dir}"
        raise FileNotFoundError(f"{dataset} is not prepared in {data_dir}; prepare it: {command}") from None
    except (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise OSError(f"{folder / LABELS} is damaged ({error}); {REMEDY}") from error
    facts = _read_json(folder / FACTS) if (folder / FACTS).exists() else BEFORE_FACTS
    found = digest(labels)
    if facts.get("digest", found) != found:
        raise OSError(f"{folder / LABELS} is not the one that was prepared; {REMEDY}")
    splits = {}
    for name, (names, targets) in labels.items():
        files = sorted(map(str, folder.glob(f"*-{name}.array_record-*")))
        images = EncodedImages(files)
        if len(images) != len(names):
            raise OSError(f"{folder}: {len(images)} images but {len(names)} targets of {name}; {REMEDY}")
        splits[name] = ImageSplit(images, targets, names)
    return Prepared(dataset, facts["target"], facts["unit"], found, splits)


def findings(dataset: str, data_dir: str | os.PathLike) -> Findings:
    """What the preparation of a data set found. Raises as `load_images` does."""
    content = _read_json(folder_of(dataset, data_dir) / LEFT_OUT)
    found, rotated = content["duplicates"], content.get("rotated")
    if "dropped" in found:
        return Findings(content["faults"], Duplicates(**found), rotated)
    # Earlier versions looked only in UTKFace; those that knew no other target wrote "same_age" and "other_age".
    same, other = (found.get(f"{kind}_target", found.get(f"{kind}_age")) for kind in ("same", "other"))
    return Findings(content["faults"], Duplicates(same, other, 0, True) if dataset == "utkface" else None, rotated)


def own_folder(name: str, data_dir: str | os.PathLike) -> Path:
    """Where a data set of the user's own is prepared. ValueError for a name that is none or that is taken."""
    if not re.fullmatch(NAME, name) or name in FOLDERS:
        raise ValueError(
            f"name {name!r}: a data set of your own has a name of letters, digits, _ and -, that is not "
            f"one of {', '.join(FOLDERS)}"
        )
    return Path(data_dir) / OWN / name / "1.0.0"


def folder_of(dataset: str, data_dir: str | os.PathLike) -> Path:
    """Where a prepared data set is: a published one, or one of the user's own. ValueError if there is no such one."""
    if dataset in FOLDERS:
        return Path(data_dir) / FOLDERS[dataset]
    own = sorted(path.parent.name for path in (Path(data_dir) / OWN).glob("*/1.0.0"))
    if dataset not in own:
        raise ValueError(
            f"unknown data set {dataset!r}; one of {', '.join([*FOLDERS, *own])}, or prepare your own: "
            f"python launch/prepare.py --table=... --images=... --target=... --name={dataset} --data_dir={data_dir}"
        )
    return own_folder(dataset, data_dir)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        return read_json(path)
    except OSError as error:
        raise OSError(f"{error}; {REMEDY}") from error
