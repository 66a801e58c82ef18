"""What a prepared data set of pictures with depth maps consists of, in a few lines."""

import numpy as np

from regcls_jax.data.depth.histogram import histogram
from regcls_jax.data.depth.splits import Findings
from regcls_jax.data.prepared import Prepared


def summary(data: Prepared, found: Findings) -> str:
    """What a user should know of a prepared data set before training on it: several lines of text."""
    values, counts = histogram(data)
    total = counts.sum()
    median = values[np.searchsorted(np.cumsum(counts), total / 2)]
    sizes = ", ".join(f"{len(split.names):,} {name}" for name, split in data.splits.items())
    lines = [
        f"{data.name}: {sum(len(split.names) for split in data.splits.values()):,} pictures with depth: {sizes}",
        f"training depths: {total:,} measured pixels, {values.min():.3g} to {values.max():.3g} m, median "
        f"{median:.3g} m, {len(values):,} different",
        *found.remarks,
        *([f"skipped: {name}: {fault}" for name, fault in found.faults.items()] or ["skipped: none"]),
        f"byte-identical pairs in several splits: {found.across_splits} groups",
        f"rotated by EXIF data: {len(found.rotated)} pictures; they are read as stored, as their depth maps are",
    ]
    return "\n".join(lines)
