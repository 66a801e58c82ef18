"""What a prepared data set of images consists of, in a few lines."""

import numpy as np

from regcls_jax import binning
from regcls_jax.data.images.splits import FOLDERS, LeftOut
from regcls_jax.data.images.table import BUCKETS
from regcls_jax.data.prepared import Prepared
from regcls_jax.metrics.shots import shot_groups


def summary(data: Prepared, left: LeftOut) -> str:
    """What a user should know of a prepared data set before training on it: several lines of text.

    Shots are by whole year in the published data sets of ages, else by `BUCKETS` equal parts of the training range.
    """
    train, splits = data.splits["train"].targets, data.splits
    everywhere = np.concatenate([split.targets for split in splits.values()])
    if data.name in FOLDERS:
        noun, edges = "ages", np.arange(int(train.max()) + 2)
    else:
        noun, edges = "buckets", binning.uniform_edges(float(train.min()), float(train.max()), BUCKETS)
    counts = np.bincount(binning.assign(train, edges), minlength=len(edges) - 1)
    sizes = ", ".join(f"{len(split.targets):,} {name}" for name, split in splits.items())
    unit = f" {data.unit}" if data.unit else ""
    lines = [
        f"{data.name}: {len(everywhere):,} images: {sizes}",
        f"{data.target} {everywhere.min():g} to {everywhere.max():g}{unit}, {len(np.unique(everywhere)):,} different; "
        f"training median {np.median(train):g}",
    ]
    for group, mask in shot_groups(counts).items():
        present = np.count_nonzero(mask & (counts > 0))
        lines.append(f"{group}-shot: {present} {noun}, {counts[mask].sum():,} training images")
    lines += [f"skipped: {name} ({fault})" for name, fault in left.faults.items()] or ["skipped: none"]
    same, other = len(left.duplicates_same_target), len(left.duplicates_other_target)
    return "\n".join(
        [*lines, f"byte-identical duplicates dropped: {same} of the same {data.target}, {other} of another"]
    )
