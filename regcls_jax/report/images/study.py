"""An image study as it is reported, whether read from its trainings or from its export."""

from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from regcls_jax import binning
from regcls_jax.metrics.shots import SHOTS, shot_groups

IMAGE_METRICS = ("mae", "mse", "rmse", "gm", "bmae")
IMAGE_COLUMNS = ("arm", "seed", "split", "shot", "count", *IMAGE_METRICS)
EVALUATION = ["arm", "seed", "split", "shot"]  # what names a row
GROUPS = ("all", *SHOTS)


class Target(NamedTuple):
    """What is predicted: `name` in `unit` ("" for none), the `edges` [K + 1] of its buckets, their training `counts`
    [K] (which make the shots), and the training `median`.
    """

    edges: np.ndarray
    counts: np.ndarray
    median: float
    name: str = "age"
    unit: str = "years"

    @property
    def whole(self) -> bool:
        """Whether a bucket is a whole number of the unit, 0 to K - 1, as years of age are."""
        return np.array_equal(self.edges, np.arange(len(self.edges)))

    @property
    def limits(self) -> np.ndarray:
        """Where buckets are drawn [K + 1]: a whole number in the middle of its bucket."""
        return self.edges - 0.5 if self.whole else self.edges

    @property
    def centres(self) -> np.ndarray:
        """The middle of each bucket [K], as drawn."""
        return (self.limits[:-1] + self.limits[1:]) / 2

    @property
    def title(self) -> str:
        """Name and unit as an axis says them."""
        return self.name + self.in_unit

    @property
    def in_unit(self) -> str:
        """The unit in brackets after a space; nothing where there is none."""
        return f" ({self.unit})" if self.unit else ""

    @property
    def decimals(self) -> int:
        """The decimals that predictions are reported with: tenths of whole numbers, else a thousandth of the range.

        Errors have one more.
        """
        span = float(self.edges[-1] - self.edges[0])
        return 1 if self.whole else max(0, 3 - int(np.floor(np.log10(span))))

    def buckets(self, values: np.ndarray) -> np.ndarray:
        """The bucket of every value [n], int; what lies outside belongs to the first or the last."""
        return binning.assign(np.asarray(values), self.edges)

    def groups(self, values: np.ndarray) -> dict[str, np.ndarray]:
        """Which of the values [n] are in each of `GROUPS`."""
        buckets = self.buckets(values)
        members = {name: member[buckets] for name, member in shot_groups(self.counts).items()}
        return {"all": np.ones(len(values), bool), **members}


def target_of(
    counts: np.ndarray,
    values: np.ndarray,
    *,
    edges: np.ndarray | None = None,
    median: float | None = None,
    **named: str,
) -> Target:
    """A `Target` from what a run leaves.

    Args:
      counts: training images per bucket [K].
      values: the targets that are tested on [n].
      edges: of the buckets [K + 1]; None for whole units from 0 to the largest of the values, as earlier versions had.
      median: of the training targets; None takes it from the buckets, exact for whole numbers.
      **named: name and unit.
    """
    if edges is None:
        counts = np.pad(counts, (0, max(0, int(values.max()) + 1 - len(counts))))
        edges = np.arange(len(counts) + 1)
    made = Target(np.asarray(edges, float), counts, float("nan"), **named)
    if median is None:
        median = float(np.median(np.repeat(made.centres, counts)))
    return made._replace(median=float(median))


class ImageStudy(NamedTuple):
    """All finished trainings of a study, on one data set.

    name: of the data set.
    config: as a config file gives it, see `shared_config`.
    meta: what the page tells of the study.
    rows: of the trainings and (seed -1) of the trivial predictors, sorted, in the digits of a float32.
    configs: the whole settings of each arm, arms in the order of `arm_order`.
    found: the test predictions [n] of each (arm, seed), rounded to `target.decimals`.
    curves: `epoch` and `val_mae` of each (arm, seed) that has any.
    values: the targets of the test images [n].
    unfinished: the trainings that are still to be done.
    """

    name: str
    config: dict[str, Any]
    meta: dict[str, Any]
    rows: pd.DataFrame
    configs: dict[str, dict[str, Any]]
    found: dict[tuple[str, int], np.ndarray]
    curves: dict[tuple[str, int], pd.DataFrame]
    values: np.ndarray
    target: Target
    unfinished: list[str]

    def predictions(self, arm: str) -> dict[int, np.ndarray]:
        """The test predictions [n] of an arm by seed."""
        return {seed: found for (name, seed), found in self.found.items() if name == arm}


def kept_rows(rows: pd.DataFrame) -> pd.DataFrame:
    """Sorted, in the digits that a float32 has: what is exported, and so what is reported."""
    metrics = [name for name in rows if name not in (*EVALUATION, "count")]
    rows = rows.astype(dict.fromkeys(metrics, np.float32)).astype(dict.fromkeys(metrics, float))
    return rows.sort_values(EVALUATION, ignore_index=True)


def check_mae(where: str, rows: pd.DataFrame, arm: str, seed: int, errors: np.ndarray, decimals: int) -> None:
    """Raises OSError, naming the file `where`, unless the rows of a run give the test MAE of its errors [n]."""
    own = (rows["arm"] == arm) & (rows["seed"] == seed) & (rows["split"] == "test") & (rows["shot"] == "all")
    stated, found = rows.loc[own, "mae"].to_list(), float(np.abs(errors).mean())
    if len(stated) != 1 or not np.isclose(stated[0], found, rtol=1e-3, atol=10.0**-decimals / 2):
        raise OSError(
            f"{where} gives a test MAE of {stated}, the predictions of {arm}, seed {seed} {found:.4f}: one is stale"
        )
