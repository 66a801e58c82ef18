"""Byte-identical images of a data set: between splits they leak, and one image cannot have two targets."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from regcls_jax.data.images.table import ImageTable


class Duplicates(NamedTuple):
    """Names of images with the bytes of an earlier one: of the same target, and of another.

    `across_splits` groups of identical images lie in more than one split; if the duplicates were `dropped`, none does.
    """

    same_target: list[str]
    other_target: list[str]
    across_splits: int
    dropped: bool


def find_duplicates(
    names: Sequence[str], targets: Sequence[float], digests: Mapping[str, str]
) -> tuple[list[str], list[str]]:
    """Names of all but the first of the images with the same bytes: of the first one's target, and of another.

    Args:
      names: in the order that decides which one is first; those without a digest are passed over.
      targets: of each.
      digests: digest of the bytes of an image, by name.
    """
    first: dict[str, float] = {}
    same: list[str] = []
    other: list[str] = []
    for name, target in zip(names, targets, strict=True):
        if (digest := digests.get(name)) is None:
            continue
        if digest not in first:
            first[digest] = target
        else:
            (same if target == first[digest] else other).append(name)
    return same, other


def groups_across_splits(table: ImageTable, digests: Mapping[str, str]) -> int:
    """How many groups of identical images of a table with splits lie in more than one of them."""
    assert table.splits is not None
    pairs = {(digests[name], split) for name, split in zip(table.paths.tolist(), table.splits.tolist(), strict=True)}
    return int(np.count_nonzero(np.unique([digest for digest, _ in pairs], return_counts=True)[1] > 1))
