"""What a data set of pictures with depth maps is made of, before any of them is opened."""

import os
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from regcls_jax.checks import check_integer, is_real
from regcls_jax.data import nyud2
from regcls_jax.data.depth.pairs import PairFiles, find_pairs
from regcls_jax.data.depth.transforms import View
from regcls_jax.data.images.files import open_files
from regcls_jax.data.prepared import SPLITS
from regcls_jax.store.files import digest

# Of the user's own pairs, the shares that are validated on and tested on.
VAL, TEST = 0.1, 0.2


class Source(NamedTuple):
    """Pairs and what is known of them.

    splits: the names of the pictures of each split, of which some may turn out unusable.
    alone: names of files without a partner.
    scales: of each split, metres per unit of its depth maps.
    balanced: whether only a mask of the test pixels is evaluated; `mask` bool [n, H, W], None if it is to be drawn.
    subset: names of the training pictures for the statistics of feature smoothing, None if they are to be drawn.
    seed: of whatever is to be drawn.
    """

    pairs: PairFiles
    splits: Mapping[str, list[str]]
    alone: list[str]
    scales: Mapping[str, float]
    balanced: bool = False
    mask: np.ndarray | None = None
    subset: list[str] | None = None
    seed: int = 0

    def identity(self) -> str:
        """A digest of what the pairs are called and how they are split and read, not of the content of the files."""
        known = [*self.alone, *(self.subset or ["none"]), str(self.seed), *map(str, self.scales.values())]
        lists = [np.array(names, np.str_) for names in (known, *self.splits.values())]
        return digest(*lists, *([] if self.mask is None else [self.mask]))


def nyud2_source(manual_dir: str | os.PathLike) -> Source:
    """The release of Hu et al., in a folder or an archive. Raises as `nyud2.read_rows` and `nyud2.read_mask`."""
    files = open_files(manual_dir)
    train, test = nyud2.read_rows(files, nyud2.TRAIN), nyud2.read_rows(files, nyud2.TEST)
    names = [*train]
    trained = nyud2.split_scenes(names)
    splits = {"train": np.array(names)[trained].tolist(), "val": np.array(names)[~trained].tolist(), "test": [*test]}
    scales = {"train": nyud2.TRAIN_SCALE, "val": nyud2.TRAIN_SCALE, "test": nyud2.TEST_SCALE}
    mask = nyud2.read_mask(files, (len(test), *View()))
    return Source(PairFiles(files, train | test), splits, [], scales, True, mask, nyud2.read_subset(files))


def metres_per_unit(text: str, flag: str) -> float:
    """The scale of depth maps in the text of a `flag`: a positive number or quotient, such as 1/25.5.

    Raises ValueError, naming the flag, for any other text.
    """
    over, _, under = text.partition("/")
    try:
        scale = float(over) / float(under or 1)
    except (ValueError, ZeroDivisionError):
        scale = np.nan
    if not 0 < scale < np.inf:
        raise ValueError(f"{flag} must be metres per unit of the depth maps, such as 1/25.5 or 0.001, got {text!r}")
    return scale


def own_source(images: str | os.PathLike, scale: float, seed: int) -> Source:
    """A user's own pairs (`pairs.find_pairs`), split at random by pictures.

    Raises ValueError for a scale that is not positive, a negative seed, or fewer than three pairs.
    """
    check_integer("seed", seed, 0)
    if not (is_real(scale) and 0 < scale < np.inf):
        raise ValueError(f"scale must be a positive number, metres per unit of the depth maps, got {scale!r}")
    files = open_files(images)
    depths = find_pairs(files, images)
    alone = [name for name, depth in depths.items() if depth is None]
    names = np.array([name for name, depth in depths.items() if depth is not None], np.str_)
    if len(names) < len(SPLITS):
        raise ValueError(f"{images} has {len(names)} pairs; train, val and test need one each at least")
    order = np.random.default_rng(seed).permutation(len(names))
    test, val = (max(round(share * len(names)), 1) for share in (TEST, VAL))
    parts = {"train": order[test + val :], "val": order[test : test + val], "test": order[:test]}
    splits = {name: names[np.sort(rows)].tolist() for name, rows in parts.items()}
    return Source(PairFiles(files, depths), splits, alone, dict.fromkeys(SPLITS, scale), seed=seed)
