"""What a prepared data set of images consists of, in a few lines."""

import numpy as np

from regcls_jax import binning
from regcls_jax.data.images.splits import FOLDERS, Findings
from regcls_jax.data.images.table import BUCKETS
from regcls_jax.data.prepared import Prepared
from regcls_jax.metrics.shots import shot_groups

UNKNOWN = "an earlier version prepared this without looking for them; --overwrite does"


def summary(data: Prepared, found: Findings) -> str:
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
    lines += [f"skipped: {name} ({fault})" for name, fault in found.faults.items()] or ["skipped: none"]
    return "\n".join([*lines, _duplicates(found, data.target), _rotated(found)])


def _duplicates(found: Findings, target: str) -> str:
    if found.duplicates is None:
        return f"byte-identical duplicates: {UNKNOWN}"
    same, other, across, dropped = found.duplicates
    counts = f"{len(same)} of the same {target}, {len(other)} of another"
    if dropped:
        return f"byte-identical duplicates dropped: {counts}"
    hint = "; --drop_duplicates keeps the first of each" if same or other else ""
    return f"byte-identical duplicates kept: {counts}; {across} groups of them lie across splits{hint}"


def _rotated(found: Findings) -> str:
    if found.rotated is None:
        return f"rotated by EXIF data: {UNKNOWN}"
    return f"rotated by EXIF data: {len(found.rotated)} images; they are read as stored, as torchvision reads them"
