"""Preparing a data set of images, a published one or one of the user's own, once."""

import contextlib
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from regcls_jax.checks import check_integer
from regcls_jax.data.images.builders import (
    BUILDERS,
    MAX_SKIPPED,
    UTKFACE_ARCHIVES,
    OwnImages,
    TableConfig,
    build,
    digest_of,
)
from regcls_jax.data.images.files import ImageFiles
from regcls_jax.data.images.splits import LABELS, Findings, findings, folder_of, load_images, own_folder
from regcls_jax.data.prepared import Prepared
from regcls_jax.store.claims import open_claims

# What TFDS calls the folder of an unfinished preparation.
UNFINISHED = "incomplete.*"
# Beside the folder of a data set: what it was before it is prepared again, and who prepares it.
BEFORE, CLAIMS = "before", "claims"
REMEDY = "give --overwrite to prepare it again"


def prepare(
    dataset: str,
    manual_dir: str | os.PathLike | None,
    data_dir: str | os.PathLike,
    *,
    max_skipped: float = MAX_SKIPPED,
    drop_duplicates: bool = False,
    overwrite: bool = False,
) -> bool:
    """Checks the images of a published data set and writes it as TFDS does; returns False if that was done before.

    A stopped preparation continues: the images that were checked are not checked again.

    Args:
      dataset: a name in `BUILDERS`.
      manual_dir: folder of the images or archives, and of the table where the data set has one; may be None where the
        data set was prepared before, and is compared with it otherwise: by the table, or the names of the images.
      data_dir: folder of all TFDS data sets; made if missing.
      max_skipped: share of the images, rounded up, that may be missing or corrupt.
      drop_duplicates: whether to keep only the first of byte-identical images. UTKFace's are always dropped.
      overwrite: whether to prepare again what was prepared before; that is kept until the new preparation succeeds.

    Raises:
      OSError: a file or folder is missing or cannot be written, or another process prepares this data set.
      ValueError: the table is wrong, an archive is damaged, too many images cannot be used, or the data set was
        prepared before from other data.
    """
    folder = folder_of(dataset, data_dir)
    kind, name = BUILDERS[dataset]
    _check_folder(manual_dir, folder)
    if manual_dir is None and (overwrite or not _is_prepared(folder)):
        raise ValueError(f"give --manual_dir, the folder of the images, to prepare {dataset} in {data_dir}")
    options: dict[str, Any] = {"max_skipped": max_skipped, "drop_duplicates": drop_duplicates}
    if manual_dir is not None and _make_once(
        folder, lambda: build(kind, name, manual_dir, data_dir, **options), overwrite
    ):
        return True
    data, found, config = load_images(dataset, data_dir), findings(dataset, data_dir), kind.builder_configs[name]
    if isinstance(config, TableConfig):
        _check_choice(dataset, found, drop_duplicates)
        same = manual_dir is None or _same_table(data, found, config, Path(manual_dir))
    else:
        same = manual_dir is None or _same_names(data, found, Path(manual_dir))
    if not same:
        raise ValueError(f"{manual_dir} holds other data than {dataset} was prepared from; {REMEDY}")
    return False


def prepare_own(
    name: str,
    table: str | os.PathLike,
    images: str | os.PathLike,
    data_dir: str | os.PathLike,
    *,
    target: str,
    unit: str = "",
    path_column: str = "path",
    seed: int = 0,
    max_skipped: float = MAX_SKIPPED,
    drop_duplicates: bool = False,
    overwrite: bool = False,
) -> bool:
    """As `prepare`, of a table of the user's own.

    Args:
      name: of the data set: letters, digits, _ and -.
      table: CSV file; with a column `split` (train, val, test), or else val and test are drawn, balanced over the
        target (`split_by_target`).
      images: folder that the paths in the table start from; it may hold archives instead.
      data_dir: as in `prepare`.
      target: the column to predict, of finite numbers.
      unit: of the target, for reports.
      path_column: the column of the images' paths.
      seed: of the draw of val and test.
      max_skipped: as in `prepare`.
      drop_duplicates: as in `prepare`.
      overwrite: as in `prepare`.

    Raises:
      OSError: as `prepare`.
      ValueError: as `prepare`; or another table, target or seed was prepared under this name before.
    """
    check_integer("seed", seed, 0)
    folder = own_folder(name, data_dir)
    config = TableConfig(
        name=name,
        description=f"{target} of {Path(table).name}",
        table=os.path.abspath(table),
        target=target,
        unit=unit,
        path_column=path_column,
        seed=seed,
    )
    options: dict[str, Any] = {"max_skipped": max_skipped, "drop_duplicates": drop_duplicates}
    _check_folder(images, folder)
    if _make_once(folder, lambda: build(OwnImages, config, images, data_dir, **options), overwrite):
        return True
    data, found = load_images(name, data_dir), findings(name, data_dir)
    _check_choice(name, found, drop_duplicates)
    if (data.target, data.unit) != (target, unit) or not _same_table(data, found, config, Path(images)):
        raise ValueError(
            f"{name} was prepared before from another table, target, unit, split or seed; choose another name, or "
            f"{REMEDY}"
        )
    return False


def _check_folder(images: str | os.PathLike | None, folder: Path) -> None:
    if images is not None and not Path(images).is_dir():
        there = f"; what was prepared before is in {folder}, and another folder needs --overwrite"
        raise NotADirectoryError(f"there is no folder {images}{there if _is_prepared(folder) else ''}")


def _check_choice(name: str, found: Findings, drop_duplicates: bool) -> None:
    """Raises ValueError where the duplicates of a prepared table were not treated as they are to be now."""
    dropped = found.duplicates is not None and found.duplicates.dropped
    if dropped != drop_duplicates:
        raise ValueError(f"{name} was prepared before {'with' if dropped else 'without'} --drop_duplicates; {REMEDY}")


def _same_table(data: Prepared, found: Findings, config: TableConfig, images: Path) -> bool:
    """Whether the table beside the images makes the prepared data set."""
    return data.digest == digest_of(config.select(config.read(images), [*found.faults, *found.dropped]))


def _same_names(data: Prepared, found: Findings, images: Path) -> bool:
    """Whether the images of a folder are those that UTKFace was prepared from."""
    known = {*found.faults, *found.dropped}.union(*(split.names.tolist() for split in data.splits.values()))
    return known == set(ImageFiles(images, UTKFACE_ARCHIVES).names())


def _is_prepared(folder: Path) -> bool:
    return (folder / LABELS).exists()


def _make_once(folder: Path, make: Callable[[], None], overwrite: bool) -> bool:
    """Calls `make`, which fills `folder`, unless that was done before or it is to be done again; whether it did."""
    if _is_prepared(folder) and not overwrite:
        return False
    with open_claims(folder.parent / CLAIMS) as claims:
        if not claims.take(folder.name):
            raise OSError(f"{folder} is being prepared by another process")
        before = folder.with_name(BEFORE)
        if before.exists():  # a process was killed while it prepared again
            _settle(before, folder)
            if _is_prepared(folder) and not overwrite:
                return False
        for leftover in folder.parent.glob(UNFINISHED):
            shutil.rmtree(leftover)
        with _put_aside(folder, before):
            make()
    return True


@contextlib.contextmanager
def _put_aside(folder: Path, before: Path) -> Iterator[None]:
    """Makes way for a new `folder`. An old one is `before` meanwhile, and comes back if there is no new one then."""
    if folder.exists():
        folder.rename(before)
    try:
        yield
    finally:
        if before.exists():
            _settle(before, folder)


def _settle(before: Path, folder: Path) -> None:
    # TFDS renames its folder when everything in it is complete: one that exists is a whole one.
    if folder.exists():
        shutil.rmtree(before)
    else:
        before.rename(folder)
