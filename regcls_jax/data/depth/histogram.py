"""The histogram of the training depths: what classes, weights and priors are fitted to."""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from regcls_jax.data.depth.pairs import PairFiles, seen_depths
from regcls_jax.data.depth.transforms import View
from regcls_jax.data.prepared import Prepared
from regcls_jax.targets import Histogram


def histogram(data: Prepared) -> Histogram:
    """Of the measured training depths of a prepared data set, in metres."""
    return Histogram(*data.splits["train"].histogram)


def count_depths(pairs: PairFiles, names: Sequence[str], scale: float, view: View) -> Histogram:
    """How often each measured depth (metres, float32) occurs in the view of the maps of these pictures.

    Each value of an integer map is one; depths of .npy files are counted to the millimetre.
    """
    total: Counter[float] = Counter()
    for depths in seen_depths(pairs, names, scale, view, "Counting"):
        values, counts = np.unique(depths[depths > 0], return_counts=True)
        total.update(dict(zip(values.tolist(), counts.tolist(), strict=True)))
    values = np.array(sorted(total))
    return Histogram(values.astype(np.float32), np.array([total[value] for value in values.tolist()], np.int64))
