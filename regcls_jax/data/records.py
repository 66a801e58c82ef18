"""What a preparation left: the examples of a split by index, as the bytes of their files, and what is known of all."""

import os
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from array_record.python.array_record_data_source import ArrayRecordDataSource
from tensorflow_datasets.proto import tf_example_pb2

from regcls_jax.data.places import LABELS
from regcls_jax.store.files import read_json

REMEDY = "prepare it again with --overwrite"


def read_labels(folder: Path, dataset: str, data_dir: str | os.PathLike) -> dict[str, np.ndarray]:
    """The arrays beside the examples of a data set in `folder`, by name.

    Raises OSError where they are damaged, or the data set is not prepared in `data_dir` (with the command that does).
    """
    try:
        with np.load(folder / LABELS, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except FileNotFoundError:
        command = f"python launch/prepare.py --dataset={dataset} --manual_dir=... --data_dir={data_dir}"
        raise FileNotFoundError(f"{dataset} is not prepared in {data_dir}; prepare it: {command}") from None
    except (OSError, EOFError, ValueError, zipfile.BadZipFile) as error:
        raise damaged_labels(folder, error) from error


def damaged_labels(folder: Path, error: Exception) -> OSError:
    """What to raise where the labels in `folder` cannot be used."""
    return OSError(f"{folder / LABELS} is damaged ({error}); {REMEDY}")


def read_notes(path: Path) -> dict[str, Any]:
    """A JSON file of a prepared data set. Raises OSError, with a remedy, where it is missing or damaged."""
    try:
        return read_json(path)
    except OSError as error:
        raise OSError(f"{error}; {REMEDY}") from error


def record_files(folder: Path, split: str) -> list[str]:
    """The ArrayRecord files of a split, in order."""
    return sorted(map(str, folder.glob(f"*-{split}.array_record-*")))


class Records:
    """The examples of a split. Pickles into worker processes, without content."""

    def __init__(self, files: Sequence[str]) -> None:
        """Takes ArrayRecord files with one TFDS example per record, in order. Raises OSError if one is damaged."""
        self._files = ", ".join(files)
        try:
            self._records: Any = ArrayRecordDataSource(files) if files else []
        except RuntimeError as error:
            raise self._damaged(error) from error

    def __len__(self) -> int:
        return len(self._records)

    def read(self, indices: Sequence[int], *features: str) -> list[tuple[bytes, ...]]:
        """These features of several examples in one request: 128 together take a fifth of the time of one by one.

        Raises OSError, naming the files, where one is damaged.
        """
        try:
            records = self._records.__getitems__(indices)
        except RuntimeError as error:
            raise self._damaged(error) from error
        # The protocol buffer itself, because TFDS's own parser takes as long as it takes to decode a small JPEG.
        examples = map(tf_example_pb2.Example.FromString, records)
        return [tuple(found.features.feature[name].bytes_list.value[0] for name in features) for found in examples]

    def _damaged(self, error: RuntimeError) -> OSError:
        return OSError(f"{self._files} is damaged ({str(error) or 'not complete'}); {REMEDY}")
