"""What a prepared data set of faces consists of, in a few lines."""

from collections.abc import Mapping

import numpy as np

from regcls_jax.data.images.splits import ImageSplit, LeftOut
from regcls_jax.metrics.shots import shot_groups


def summary(dataset: str, splits: Mapping[str, ImageSplit], left: LeftOut) -> str:
    """What a user should know of a prepared data set before training on it: several lines of text."""
    train_ages = splits["train"].ages
    counts = np.bincount(train_ages.astype(np.int64))
    everywhere = np.concatenate([split.ages for split in splits.values()])
    sizes = ", ".join(f"{len(split.ages):,} {name}" for name, split in splits.items())
    lines = [
        f"{dataset}: {len(everywhere):,} images: {sizes}",
        f"ages {everywhere.min():g} to {everywhere.max():g} years, {len(np.unique(everywhere)):,} different; "
        f"training median {np.median(train_ages):g}",
    ]
    for group, mask in shot_groups(counts).items():
        ages = np.count_nonzero(mask & (counts > 0))
        lines.append(f"{group}-shot: {ages} ages, {counts[mask].sum():,} training images")
    lines += [f"skipped: {name} ({fault})" for name, fault in left.faults.items()] or ["skipped: none"]
    same, other = len(left.duplicates_same_age), len(left.duplicates_other_age)
    return "\n".join([*lines, f"byte-identical duplicates dropped: {same} of the same age, {other} of another age"])
