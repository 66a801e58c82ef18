"""TFDS builders of face images with ages. They need no TensorFlow as long as the files are ArrayRecords.

`tfds` users get the features image (RGB), age (years) and name; training reads the files through `image_splits`.
"""

import abc
import dataclasses
import io
import json
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from regcls_jax.data.images.check import Checked, check_images
from regcls_jax.data.images.files import ImageFiles
from regcls_jax.data.images.splits import LABELS, LEFT_OUT, folder_of
from regcls_jax.data.images.table import SPLITS, AgeTable, check_splits, read_age_table
from regcls_jax.data.utkface import CAP, Duplicates, balanced_table, drop_duplicates
from regcls_jax.store.files import write_atomic

# Share of the images, rounded up, that may be missing or corrupt.
MAX_SKIPPED = 0.001
# How many unusable images an error names; all are in the file.
NAMED = 5
UNUSABLE = "unusable.json"


@dataclasses.dataclass(eq=False, kw_only=True)
class TableConfig(tfds.core.BuilderConfig):
    """`table` is the CSV file (columns path, age, split) in the manual directory, beside the images."""

    table: str


@dataclasses.dataclass(eq=False, kw_only=True)
class UTKFaceConfig(tfds.core.BuilderConfig):
    """`cap` and `seed` of `utkface.balanced_table`."""

    cap: int = CAP
    seed: int = 0


class AgeBuilder(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """Stores images as they are, without re-encoding, in the order of their table."""

    VERSION = tfds.core.Version("1.0.0")

    def __init__(self, *, max_skipped: float = MAX_SKIPPED, **options: Any) -> None:
        """`max_skipped` is as in `prepare`; the options are those of every TFDS builder."""
        super().__init__(**options)
        self._max_skipped = max_skipped

    def _info(self) -> tfds.core.DatasetInfo:
        features = {"image": tfds.features.Image(), "age": np.float32, "name": tfds.features.Text()}
        return tfds.core.DatasetInfo(
            builder=self,
            features=tfds.features.FeaturesDict(features),
            supervised_keys=("image", "age"),
            disable_shuffling=True,  # so that row i of the labels is record i
        )

    @abc.abstractmethod
    def _table(self, folder: Path) -> tuple[ImageFiles, AgeTable, dict[str, str], Duplicates]:
        """The images, their table without those left out, and the left out: by fault, and as duplicates."""

    def _check(self, images: ImageFiles, names: list[str]) -> Checked:
        """Decodes all images.

        Raises:
          ValueError: more of them than `max_skipped` allows cannot be used; the message names the first, and a file.
        """
        folder = Path(self.data_dir_root) / "checks" / self.name
        checked = check_images(images, names, folder, progress=True)
        limit = math.ceil(self._max_skipped * len(names))
        if len(checked.faults) > limit:
            listing = folder / UNUSABLE
            write_atomic(listing, json.dumps(checked.faults, indent=2) + "\n")
            first = ", ".join(f"{name} ({fault})" for name, fault in list(checked.faults.items())[:NAMED])
            raise ValueError(
                f"{len(checked.faults)} of {len(names)} images cannot be used, and at most {limit} may be skipped; "
                f"all are listed in {listing}; first: {first}"
            )
        return checked

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Iterator[tuple[int, Any]]]:
        images, table, faults, duplicates = self._table(Path(dl_manager.manual_dir))
        check_splits(table, "the images that can be used")
        parts = {name: table.split(name) for name in SPLITS}
        buffer = io.BytesIO()
        arrays = {f"{name}_ages": part.ages for name, part in parts.items()}
        np.savez(buffer, **arrays, **{f"{name}_names": part.paths for name, part in parts.items()})
        # TFDS renames the whole folder when everything in it is complete.
        write_atomic(Path(self.data_path) / LABELS, buffer.getbuffer())
        left_out = {"faults": faults, "duplicates": duplicates._asdict()}
        write_atomic(Path(self.data_path) / LEFT_OUT, json.dumps(left_out, indent=2) + "\n")
        return {name: self._generate_examples(images, part) for name, part in parts.items()}

    def _generate_examples(self, images: ImageFiles, table: AgeTable) -> Iterator[tuple[int, dict[str, Any]]]:
        for row, (path, age) in enumerate(zip(table.paths.tolist(), table.ages, strict=True)):
            yield row, {"image": io.BytesIO(images.read(path)), "age": age, "name": path}


class AgeTableImages(AgeBuilder):
    """Images of a table with columns path, age, split: the manual directory holds it and a folder or zip archives."""

    BUILDER_CONFIGS = [
        TableConfig(name="imdb_wiki_dir", table="imdb_wiki.csv", description="IMDB-WIKI-DIR (recipe 5.1)"),
        TableConfig(name="agedb_dir", table="agedb.csv", description="AgeDB-DIR"),
    ]
    MANUAL_DOWNLOAD_INSTRUCTIONS = "The table (imdb_wiki.csv or agedb.csv), and the images at the paths it gives."

    def _table(self, folder: Path) -> tuple[ImageFiles, AgeTable, dict[str, str], Duplicates]:
        table = read_age_table(folder / self.builder_config.table)
        images = ImageFiles(folder)
        faults = self._check(images, table.paths.tolist()).faults
        return images, table.rows(~np.isin(table.paths, list(faults))), faults, Duplicates([], [])


class UTKFace(AgeBuilder):
    """UTKFace without byte-identical duplicates, split as DIR splits its data sets (recipe 5.1)."""

    name = "utkface"
    BUILDER_CONFIGS = [UTKFaceConfig(name="balanced", description=f"{CAP} images per age in val and in test at most")]
    MANUAL_DOWNLOAD_INSTRUCTIONS = "An archive utkface*.zip, or the images themselves."

    def _table(self, folder: Path) -> tuple[ImageFiles, AgeTable, dict[str, str], Duplicates]:
        images = ImageFiles(folder, "utkface*.zip")
        names = images.names()
        if not names:
            raise ValueError(f"{folder} has neither images nor an archive utkface*.zip with images")
        checked = self._check(images, names)
        usable = [name for name in names if name in checked.digests]
        kept, duplicates = drop_duplicates(usable, checked.digests)
        config = self.builder_config
        return images, balanced_table(kept, cap=config.cap, seed=config.seed), checked.faults, duplicates


BUILDERS = {"utkface": (UTKFace, "balanced")} | {
    config.name: (AgeTableImages, config.name) for config in AgeTableImages.BUILDER_CONFIGS
}


def prepare(
    dataset: str, manual_dir: str | os.PathLike, data_dir: str | os.PathLike, *, max_skipped: float = MAX_SKIPPED
) -> bool:
    """Checks the images of a data set and writes it as TFDS does; returns False if that was done before.

    A stopped preparation continues: the images that were checked are not checked again.

    Args:
      dataset: a name in `BUILDERS`.
      manual_dir: folder of the images or archives, and of the table where the data set has one.
      data_dir: folder of all TFDS data sets; made if missing.
      max_skipped: share of the images, rounded up, that may be missing or corrupt.

    Raises:
      OSError: a file or folder is missing or cannot be written.
      ValueError: the table is wrong, an archive is damaged, or too many images cannot be used.
    """
    if not 0 <= max_skipped < 1:
        raise ValueError(f"max_skipped must be a share in [0, 1), got {max_skipped}")
    if (folder_of(dataset, data_dir) / LABELS).exists():
        return False
    if not Path(manual_dir).is_dir():
        raise NotADirectoryError(f"there is no folder {manual_dir}")
    kind, config = BUILDERS[dataset]
    folder = os.fspath(data_dir)
    builder = kind(max_skipped=max_skipped, config=config, data_dir=folder, file_format="array_record")
    builder.download_and_prepare(download_config=tfds.download.DownloadConfig(manual_dir=os.fspath(manual_dir)))
    return True
