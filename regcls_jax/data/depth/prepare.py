"""Preparing pictures with depth maps, published ones or the user's own, once."""

import os
from pathlib import Path
from typing import Any

import tensorflow_datasets as tfds

from regcls_jax.data.depth.builders import Nyud2, OwnDepths
from regcls_jax.data.depth.sources import Source, nyud2_source, own_source
from regcls_jax.data.depth.splits import PLACES
from regcls_jax.data.images.builders import build
from regcls_jax.data.images.check import MAX_SKIPPED
from regcls_jax.data.once import REMEDY, check_folder, is_prepared, make_once
from regcls_jax.data.places import FACTS
from regcls_jax.store.files import read_json


def prepare_nyud2(
    manual_dir: str | os.PathLike | None,
    data_dir: str | os.PathLike,
    *,
    max_skipped: float = MAX_SKIPPED,
    overwrite: bool = False,
) -> bool:
    """Checks the pairs of NYUD2 and writes them as TFDS does; returns False if that was done before.

    A stopped preparation continues: the pairs that were checked are not checked again.

    Args:
      manual_dir: folder or archive of the release of Hu et al., with nyu2_train.csv and nyu2_test.csv and, if they are
        there, test_balanced_mask.npy and nyu2_train_FDS_subset.csv; may be None where it was prepared before, which is
        compared with it otherwise, by names and tables.
      data_dir: folder of all TFDS data sets; made if missing.
      max_skipped: share of the pairs, rounded up, that may be missing, corrupt or of two sizes.
      overwrite: whether to prepare again what was prepared before; that is kept until the new preparation succeeds.

    Raises:
      OSError: a file or folder is missing or cannot be written, or another process prepares this data set.
      ValueError: a table or the mask is wrong, an archive is damaged, too many pairs cannot be used, or the data set
        was prepared before from other data.
    """
    folder = PLACES.folder_of("nyud2", data_dir)
    check_folder(manual_dir, folder)
    if manual_dir is None:
        if overwrite or not is_prepared(folder):
            raise ValueError(f"give --manual_dir, the folder of the release, to prepare nyud2 in {data_dir}")
        return False
    source = nyud2_source(manual_dir)
    config = Nyud2.BUILDER_CONFIGS[0]
    options: dict[str, Any] = {"source": source, "max_skipped": max_skipped}
    if make_once(folder, lambda: build(Nyud2, config, manual_dir, data_dir, **options), overwrite):
        return True
    if not _is_same(source, folder):
        raise ValueError(f"{manual_dir} holds other data than nyud2 was prepared from; {REMEDY}")
    return False


def prepare_depths(
    name: str,
    images: str | os.PathLike,
    data_dir: str | os.PathLike,
    *,
    scale: float,
    seed: int = 0,
    max_skipped: float = MAX_SKIPPED,
    overwrite: bool = False,
) -> bool:
    """As `prepare_nyud2`, of a user's own pairs.

    Args:
      name: of the data set: letters, digits, _ and -.
      images: folder or archive with images/ID.jpg (or .png) and depths/ID.png (or .npy).
      data_dir: as in `prepare_nyud2`.
      scale: metres per unit of the depth maps.
      seed: of the split by pictures: 7 of 10 are trained on, 1 is validated on, 2 are tested on.
      max_skipped: as in `prepare_nyud2`; files without a partner count.
      overwrite: as in `prepare_nyud2`.

    Raises:
      OSError: as `prepare_nyud2`.
      ValueError: as `prepare_nyud2`; or another scale or seed was prepared under this name before.
    """
    folder = PLACES.own_folder(name, data_dir)
    check_folder(images, folder)
    config = tfds.core.BuilderConfig(name=name, description=f"depth of {Path(images).name}")
    source = own_source(images, scale, seed)
    options: dict[str, Any] = {"source": source, "max_skipped": max_skipped}
    if make_once(folder, lambda: build(OwnDepths, config, images, data_dir, **options), overwrite):
        return True
    if not _is_same(source, folder):
        raise ValueError(
            f"{name} was prepared before from other pictures, or with another scale or seed; choose another name, or "
            f"{REMEDY}"
        )
    return False


def _is_same(source: Source, folder: Path) -> bool:
    """Whether the data set in `folder` was prepared from this source."""
    return read_json(folder / FACTS)["source"] == source.identity()
