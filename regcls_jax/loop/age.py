"""Ages from images, as published: whole years are the shots and the buckets of feature smoothing."""

import dataclasses

import jax.numpy as jnp
import numpy as np
from jax import Array

from regcls_jax import feature_smoothing
from regcls_jax.binning import ROUNDINGS
from regcls_jax.checks import choice, positive, whole
from regcls_jax.data.images.table import OLDEST
from regcls_jax.data.prepared import Prepared
from regcls_jax.loop.runs import ImageRun
from regcls_jax.loop.scalar import scalar_task
from regcls_jax.loop.task import Batch, Buckets

# Data sets whose published feature smoothing does not start at age 0.
FDS_START = {"agedb_dir": 3}


@dataclasses.dataclass(frozen=True, kw_only=True)
class AgeRun(ImageRun):
    """A training on images with ages, as published (recipes 5.1)."""

    task: str = "age"
    dataset: str = "imdb_wiki_dir"
    rounding: str = choice("round", ROUNDINGS)
    low: float | None = 0.0  # years
    high: float | None = 100.0
    buckets: int = whole(121, 1)  # whole years; the last has all above
    bucket_low: float | None = 0.0
    bucket_high: float | None = 121.0
    noise_sigma: float = positive(10.0)  # years
    boundaries: tuple[int, ...] = (60, 80)
    fds_buckets: int = whole(100, 1)  # of feature smoothing: whole years from fds_start to fds_buckets - 1
    fds_start: int = whole(-1, -1)  # -1: as published for the data set (AgeDB: 3, others: 0)


def first_fds_year(run: AgeRun) -> int:
    """The age of the first bucket of feature smoothing."""
    return FDS_START.get(run.dataset, 0) if run.fds_start < 0 else run.fds_start


def whole_years(_: AgeRun, data: Prepared) -> np.ndarray:
    """Edges [oldest + 2] of the years of all splits: 0, 1, ..., oldest + 1.

    ValueError for targets that are no ages: a large one would take all memory.
    """
    oldest = max(split.targets.max() for split in data.splits.values())
    if oldest > OLDEST:
        raise ValueError(f"{data.name}: {data.target} up to {oldest:g} is no age; config.run.task 'scalar' is for it")
    return np.arange(2 + int(oldest))


def _buckets(run: AgeRun, data: Prepared) -> Buckets:
    """The published rule, which asks which ages occur: in the batch, or for the statistics in the training set."""
    present = np.float32(np.unique(data.splits["train"].targets))

    def of(batch: Batch, whole: bool) -> Array:
        return feature_smoothing.age_buckets(
            batch["target"],
            batch["mask"],
            buckets=run.fds_buckets,
            start=first_fds_year(run),
            present=jnp.asarray(present) if whole else None,
        )

    return Buckets(run.fds_buckets - first_fds_year(run), of)


AGE = scalar_task(AgeRun, whole_years, _buckets)
