"""Preparing a data set of images, a published one or one of the user's own, once."""

import os
from pathlib import Path

from regcls_jax.checks import check_integer
from regcls_jax.data.images.builders import BUILDERS, MAX_SKIPPED, OwnImages, TableConfig, build, digest_of
from regcls_jax.data.images.splits import LABELS, folder_of, left_out, load_images, own_folder


def prepare(
    dataset: str, manual_dir: str | os.PathLike, data_dir: str | os.PathLike, *, max_skipped: float = MAX_SKIPPED
) -> bool:
    """Checks the images of a published data set and writes it as TFDS does; returns False if that was done before.

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
    if (folder_of(dataset, data_dir) / LABELS).exists():
        return False
    build(*BUILDERS[dataset], manual_dir, data_dir, max_skipped)
    return True


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
) -> bool:
    """As `prepare`, of a table of the user's own.

    Args:
      name: of the data set: letters, digits, _ and -.
      table: CSV file; with a column `split` (train, val, test), or else val and test are drawn, balanced over the
        target (`split_by_target`).
      images: folder that the paths in the table start from; it may hold zip archives instead.
      data_dir: as in `prepare`.
      target: the column to predict, of finite numbers.
      unit: of the target, for reports.
      path_column: the column of the images' paths.
      seed: of the draw of val and test.
      max_skipped: as in `prepare`.

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
    if not (folder / LABELS).exists():
        build(OwnImages, config, images, data_dir, max_skipped)
        return True
    before = load_images(name, data_dir)
    given = config.select(config.read(Path(images)), list(left_out(name, data_dir).faults))
    if (before.target, before.unit, before.digest) != (target, unit, digest_of(given)):
        raise ValueError(
            f"{name} was prepared before from another table, target, unit, split or seed; give it another name, or "
            f"delete {folder} and prepare it again"
        )
    return False
