"""TFDS builders of images with a number each. They need no TensorFlow as long as the files are ArrayRecords.

`tfds` users get the features image (RGB), target ("age" in data sets of ages) and name; training reads the files
through `load_images`.
"""

import abc
import contextlib
import dataclasses
import io
import math
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tensorflow_datasets as tfds

from regcls_jax.data.images.check import Checked, check_images
from regcls_jax.data.images.duplicates import Duplicates, find_duplicates, groups_across_splits
from regcls_jax.data.images.files import ImageFiles
from regcls_jax.data.images.splits import FACTS, LABELS, LEFT_OUT
from regcls_jax.data.images.table import (
    OLDEST,
    SPLITS,
    ImageTable,
    check_splits,
    digest,
    read_image_table,
    split_by_target,
)
from regcls_jax.data.utkface import CAP, age_of, balanced_table
from regcls_jax.store.files import to_json, write_atomic

# Share of the images, rounded up, that may be missing or corrupt.
MAX_SKIPPED = 0.001
# How many unusable images an error names; all are in the file.
NAMED = 5
UNUSABLE = "unusable.json"
# How the names of UTKFace's archives start: as published, and as Kaggle calls whatever it sends.
UTKFACE_ARCHIVES = ("utkface", "archive.")


@dataclasses.dataclass(eq=False, kw_only=True)
class ImageConfig(tfds.core.BuilderConfig):
    """What a data set predicts: `target`, in `unit` ("" for none)."""

    target: str = "age"
    unit: str = "years"


@dataclasses.dataclass(eq=False, kw_only=True)
class TableConfig(ImageConfig):
    """`table` is a CSV file, in the folder of the images unless its path is absolute; read by `read_image_table`.

    A table without a column `split` is split by `split_by_target` with `seed`, unless that column is `split_needed`.
    """

    table: str
    path_column: str = "path"
    least: float = -np.inf
    most: float = np.inf
    split_needed: bool = False
    seed: int = 0

    def read(self, folder: Path) -> ImageTable:
        """The table beside the images in `folder`."""
        return read_image_table(
            folder / self.table,
            self.target,
            path_column=self.path_column,
            least=self.least,
            most=self.most,
            split_needed=self.split_needed,
        )

    def select(self, table: ImageTable, left_out: list[str]) -> ImageTable:
        """The rows whose images are not left out, with splits."""
        table = table.rows(~np.isin(table.paths, left_out))
        return table if table.splits is not None else split_by_target(table, self.table, self.seed)


@dataclasses.dataclass(eq=False, kw_only=True)
class UTKFaceConfig(ImageConfig):
    """`cap` and `seed` of `utkface.balanced_table`."""

    cap: int = CAP
    seed: int = 0


class Selection(NamedTuple):
    """The images of a data set, the table of those in it, and what was found in looking at all of them."""

    images: ImageFiles
    table: ImageTable
    checked: Checked
    duplicates: Duplicates


class ImageBuilder(tfds.core.GeneratorBasedBuilder, skip_registration=True):  # type: ignore[call-arg]  # of untyped TFDS
    """Stores images as they are, without re-encoding, in the order of their table."""

    VERSION = tfds.core.Version("1.0.0")
    # What TFDS calls the target.
    FEATURE = "age"

    def __init__(self, *, max_skipped: float = MAX_SKIPPED, drop_duplicates: bool = False, **options: Any) -> None:
        """`max_skipped` and `drop_duplicates` are as in `prepare`; the options are those of every TFDS builder."""
        super().__init__(**options)
        self._max_skipped, self._drop_duplicates = max_skipped, drop_duplicates

    def _info(self) -> tfds.core.DatasetInfo:
        features = {"image": tfds.features.Image(), self.FEATURE: np.float32, "name": tfds.features.Text()}
        return tfds.core.DatasetInfo(
            builder=self,
            features=tfds.features.FeaturesDict(features),
            supervised_keys=("image", self.FEATURE),
            disable_shuffling=True,  # so that row i of the labels is record i
        )

    @abc.abstractmethod
    def _select(self, folder: Path) -> Selection:
        """What of the images in a folder belongs to the data set."""

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
            write_atomic(listing, to_json(checked.faults))
            first = ", ".join(f"{name} ({fault})" for name, fault in list(checked.faults.items())[:NAMED])
            raise ValueError(
                f"{len(checked.faults)} of {len(names)} images cannot be used, and at most {limit} may be skipped; "
                f"all are listed in {listing}; first: {first}"
            )
        return checked

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Iterator[tuple[int, Any]]]:
        images, table, checked, duplicates = self._select(Path(dl_manager.manual_dir))
        check_splits(table, "the images that can be used")
        parts = {name: table.split(name) for name in SPLITS}
        buffer = io.BytesIO()
        arrays: dict[str, Any] = {f"{name}_targets": part.targets for name, part in parts.items()}
        arrays |= {f"{name}_names": part.paths for name, part in parts.items()}
        np.savez(buffer, **arrays)
        # TFDS renames the whole folder when everything in it is complete.
        folder, config = Path(self.data_path), self.builder_config
        write_atomic(folder / LABELS, buffer.getbuffer())
        facts = {"target": config.target, "unit": config.unit, "digest": digest_of(table)}
        write_atomic(folder / FACTS, to_json(facts))
        rotated = sorted({*checked.rotated} & {*table.paths.tolist()})
        left_out = {"faults": checked.faults, "duplicates": duplicates._asdict(), "rotated": rotated}
        write_atomic(folder / LEFT_OUT, to_json(left_out))
        return {name: self._generate_examples(images, part) for name, part in parts.items()}

    def _generate_examples(self, images: ImageFiles, table: ImageTable) -> Iterator[tuple[int, dict[str, Any]]]:
        for row, (path, target) in enumerate(zip(table.paths.tolist(), table.targets, strict=True)):
            yield row, {"image": io.BytesIO(images.read(path)), self.FEATURE: target, "name": path}


def digest_of(table: ImageTable) -> str:
    """The digest of a table with splits, as `load_images` finds it."""
    parts = {name: table.split(name) for name in SPLITS}
    return digest({name: (part.paths, part.targets) for name, part in parts.items()})


class TableImages(ImageBuilder, skip_registration=True):  # type: ignore[call-arg]  # of untyped TFDS
    """Images of a table: `manual_dir` holds them, in a folder or in archives."""

    def _select(self, folder: Path) -> Selection:
        table = self.builder_config.read(folder)
        images = ImageFiles(folder)
        checked = self._check(images, table.paths.tolist())
        same, other = find_duplicates(table.paths.tolist(), table.targets.tolist(), checked.digests)
        dropped = [*same, *other] if self._drop_duplicates else []
        table = self.builder_config.select(table, [*checked.faults, *dropped])
        across = groups_across_splits(table, checked.digests)
        return Selection(images, table, checked, Duplicates(same, other, across, self._drop_duplicates))


class AgeTableImages(TableImages):
    """Ages as published, in a table with columns path, age, split beside the images."""

    BUILDER_CONFIGS = [
        TableConfig(name=name, table=table, least=0, most=OLDEST, split_needed=True, description=description)
        for name, table, description in (
            ("imdb_wiki_dir", "imdb_wiki.csv", "IMDB-WIKI-DIR (recipe 5.1)"),
            ("agedb_dir", "agedb.csv", "AgeDB-DIR"),
        )
    ]
    MANUAL_DOWNLOAD_INSTRUCTIONS = "The table (imdb_wiki.csv or agedb.csv), and the images at the paths it gives."


class OwnImages(TableImages):
    """Any images with any number, from a table of the user's; every data set is a config of its own name."""

    FEATURE = "target"
    MANUAL_DOWNLOAD_INSTRUCTIONS = "The images at the paths that the table gives."


class UTKFace(ImageBuilder):
    """UTKFace without byte-identical duplicates, split as DIR splits its data sets (recipe 5.1)."""

    name = "utkface"
    BUILDER_CONFIGS = [UTKFaceConfig(name="balanced", description=f"{CAP} images per age in val and in test at most")]
    MANUAL_DOWNLOAD_INSTRUCTIONS = "An archive utkface*.zip or utkface*.tar.gz, or the images themselves."

    def _select(self, folder: Path) -> Selection:
        images = ImageFiles(folder, UTKFACE_ARCHIVES)
        names = images.names()
        if not names:
            raise ValueError(f"{folder} has neither images nor an archive utkface*.zip or utkface*.tar.gz with images")
        checked = self._check(images, names)
        usable = [name for name in names if name in checked.digests]
        same, other = find_duplicates(usable, [age_of(name) for name in usable], checked.digests)
        dropped = {*same, *other}
        config = self.builder_config
        table = balanced_table([name for name in usable if name not in dropped], cap=config.cap, seed=config.seed)
        return Selection(images, table, checked, Duplicates(same, other, 0, True))


BUILDERS: dict[str, tuple[type[ImageBuilder], Any]] = {"utkface": (UTKFace, "balanced")} | {
    config.name: (AgeTableImages, config.name) for config in AgeTableImages.BUILDER_CONFIGS
}


def build(
    kind: type[ImageBuilder],
    config: str | ImageConfig,
    images: str | os.PathLike,
    data_dir: str | os.PathLike,
    *,
    max_skipped: float = MAX_SKIPPED,
    drop_duplicates: bool = False,
) -> None:
    """Checks the images of a folder and writes them as TFDS does; arguments and errors are those of `prepare`."""
    if not 0 <= max_skipped < 1:
        raise ValueError(f"max_skipped must be a share in [0, 1), got {max_skipped}")
    builder = kind(
        max_skipped=max_skipped,
        drop_duplicates=drop_duplicates,
        config=config,
        data_dir=os.fspath(data_dir),
        file_format="array_record",
    )
    # TFDS prints that it downloads something, of unknown size.
    with contextlib.redirect_stdout(io.StringIO()), _write_errors():
        builder.download_and_prepare(download_config=tfds.download.DownloadConfig(manual_dir=os.fspath(images)))


@contextlib.contextmanager
def _write_errors() -> Iterator[None]:
    """Makes an OSError of what ArrayRecord raises where a file cannot be written; other RuntimeErrors are bugs."""
    try:
        yield
    except RuntimeError as error:
        failed = re.search(r"\w+\(\) failed: ([^;]+); writing ([^;]+)", str(error))
        if failed is None:
            raise
        raise OSError(
            f"{failed[2]} cannot be written: {failed[1]}; once that is mended, the same command goes on with its checks"
        ) from error
