"""Prepared images of faces and their ages: encoded images by index, all ages and names at once."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from array_record.python.array_record_data_source import ArrayRecordDataSource
from tensorflow_datasets.proto import tf_example_pb2

from regcls_jax.data.images.table import SPLITS
from regcls_jax.store.files import read_json

# Data set -> folder of the builder's config below the data folder, and the files written beside the images.
FOLDERS = {
    "utkface": "utkface/balanced/1.0.0",
    "imdb_wiki_dir": "age_table_images/imdb_wiki_dir/1.0.0",
    "agedb_dir": "age_table_images/agedb_dir/1.0.0",
}
LABELS = "labels.npz"
LEFT_OUT = "left_out.json"


class EncodedImages:
    """The images of a split as the bytes of their files. Pickles into worker processes, without content."""

    def __init__(self, files: Sequence[str]) -> None:
        """Takes ArrayRecord files with one TFDS example per record, in order."""
        self._records = ArrayRecordDataSource(files)

    def __len__(self) -> int:
        return len(self._records)

    def __getitem__(self, index: int) -> bytes:
        return self.read([index])[0]

    def read(self, indices: Sequence[int]) -> list[bytes]:
        """Several images in one request: 128 together take a fifth of the time that they take one by one."""
        # The protocol buffer itself, because TFDS's own parser takes as long as it takes to decode a small JPEG.
        examples = map(tf_example_pb2.Example.FromString, self._records.__getitems__(indices))
        return [example.features.feature["image"].bytes_list.value[0] for example in examples]


class ImageSplit(NamedTuple):
    """n images (encoded), their ages in years (float32 [n]) and the names of their files (str [n])."""

    images: EncodedImages
    ages: np.ndarray
    names: np.ndarray


class LeftOut(NamedTuple):
    """What preparation left out: by name what is wrong with an image, and names of byte-identical duplicates."""

    faults: dict[str, str]
    duplicates_same_age: list[str]
    duplicates_other_age: list[str]


def load_splits(dataset: str, data_dir: str | os.PathLike) -> dict[str, ImageSplit]:
    """The splits train, val and test of a prepared data set. Reads the labels, no image.

    Raises:
      ValueError: there is no such data set.
      OSError: it has not been prepared in `data_dir`; the message has the command that does.
    """
    folder = folder_of(dataset, data_dir)
    try:
        with np.load(folder / LABELS, allow_pickle=False) as arrays:
            labels = {name: (arrays[f"{name}_ages"], arrays[f"{name}_names"]) for name in SPLITS}
    except FileNotFoundError:
        command = f"python launch/prepare.py --dataset={dataset} --manual_dir=... --data_dir={data_dir}"
        raise FileNotFoundError(f"{dataset} is not prepared in {data_dir}; prepare it: {command}") from None
    splits = {}
    for name, (ages, names) in labels.items():
        files = sorted(map(str, folder.glob(f"*-{name}.array_record-*")))
        images = EncodedImages(files) if files else []
        if len(images) != len(ages):
            raise OSError(f"{folder}: {len(images)} images but {len(ages)} ages of {name}; delete it and prepare again")
        splits[name] = ImageSplit(images, ages, names)
    return splits


def left_out(dataset: str, data_dir: str | os.PathLike) -> LeftOut:
    """What the preparation of a data set left out. Raises as `load_splits` does."""
    content = read_json(folder_of(dataset, data_dir) / LEFT_OUT)
    return LeftOut(content["faults"], *(content["duplicates"][kind] for kind in ("same_age", "other_age")))


def folder_of(dataset: str, data_dir: str | os.PathLike) -> Path:
    """Where a prepared data set is. Raises ValueError if there is no such data set."""
    if dataset not in FOLDERS:
        raise ValueError(f"unknown data set {dataset!r}; one of {', '.join(FOLDERS)}")
    return Path(data_dir) / FOLDERS[dataset]
