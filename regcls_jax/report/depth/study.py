"""A depth study as it is reported, whether read from its trainings or from its export."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from regcls_jax.metrics.depth import SUMS
from regcls_jax.metrics.shots import SHOTS
from regcls_jax.report.trainings import TRIVIAL_SEED

GROUPS = ("all", *SHOTS)
TRIVIAL = ("constant", "median", "pixel_mean")
METRICS = ("rmse", "mse", "mae", "abs_rel", "log10", "delta1", "delta2", "delta3")
COLUMNS = ("arm", "seed", "split", "shot", "count", *METRICS)
# What names a row; `selected_on` is the split that chose the epoch.
EVALUATION = ["arm", "seed", "split", "shot", "selected_on"]


class Depths(NamedTuple):
    """The training histogram: `edges` [K + 1] (m) of its buckets, pixels in each, `counts` [K], and shot `groups` [K]
    as indices into `SHOTS`.
    """

    edges: np.ndarray
    counts: np.ndarray
    groups: np.ndarray


class Shown(NamedTuple):
    """Of a few test images the true `depths` [m, h, w] (m, NaN where not measured), and by arm the `predictions`
    [m, h, w] of its first seed.
    """

    depths: np.ndarray
    predictions: Mapping[str, np.ndarray]


class DepthStudy(NamedTuple):
    """All finished trainings of a depth study, on one data set.

    name: of the data set.
    config: as a config file gives it.
    meta: what the page tells of the study.
    rows: of the trainings, of candidates too, and (seed -1) of the trivial predictors.
    configs: the whole settings of each arm that is reported, by name.
    chosen: the arm that stands for each reported one: itself, or the best of its candidates.
    sums: what is summed over each test image, [n, 3, 8], by (trained arm or trivial predictor, seed).
    buckets: squared and absolute error and pixels of the whole test set by true depth, [K, 3], likewise.
    depths: the training histogram.
    shown: None of an export, which has the figure.
    figures: the finished figures of an export, as files.
    unfinished: the trainings that are still to be done.
    """

    name: str
    config: dict[str, Any]
    meta: dict[str, Any]
    rows: pd.DataFrame
    configs: dict[str, dict[str, Any]]
    chosen: dict[str, str]
    sums: dict[tuple[str, int], np.ndarray]
    buckets: dict[tuple[str, int], np.ndarray]
    depths: Depths
    shown: Shown | None
    figures: dict[str, bytes]
    unfinished: list[str]

    def seeds(self, arm: str) -> list[int]:
        """The seeds of a reported arm; of a trivial predictor those of all arms."""
        trained = self.chosen.get(arm)
        return sorted({seed for name, seed in self.sums if seed >= 0 and trained in (None, name)})

    def of(self, arm: str, seed: int) -> tuple[str, int]:
        """Where `sums` and `buckets` have a reported arm or a trivial predictor with a seed."""
        return (self.chosen[arm], seed) if arm in self.chosen else (arm, TRIVIAL_SEED)


def squared_errors(sums: np.ndarray, group: str) -> np.ndarray:
    """The share [n] of every image in the MSE (m²) of a group: their mean is the MSE over all of its pixels.

    An MSE is a ratio of sums over images, so that an image moves it by its squared errors less the MSE times its pixels
    (Cochran 1977): one that only has more pixels than others does not. Means are those of the plain shares.
    """
    of_group = sums.sum(1) if group == "all" else sums[:, SHOTS.index(group)]
    squared, count = of_group[:, SUMS.index("squared")], of_group[:, SUMS.index("count")]
    total = count.sum(dtype=np.float64)
    if not total:
        return np.full(len(sums), np.nan)
    mse = squared.sum(dtype=np.float64) / total
    return mse + len(sums) * (squared - mse * count) / total
