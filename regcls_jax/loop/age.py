"""Ages from images, as published: whole years are the shots and the buckets of feature smoothing."""

import jax.numpy as jnp
import numpy as np
from jax import Array

from regcls_jax import feature_smoothing
from regcls_jax.data.prepared import Prepared
from regcls_jax.loop.runs import AgeRun
from regcls_jax.loop.scalar import scalar_task
from regcls_jax.loop.task import Batch, Buckets


def whole_years(_: AgeRun, data: Prepared) -> np.ndarray:
    """Edges [oldest + 2] of the years of all splits: 0, 1, ..., oldest + 1."""
    return np.arange(2 + int(max(split.targets.max() for split in data.splits.values())))


def _buckets(run: AgeRun, data: Prepared) -> Buckets:
    """The published rule, which asks which ages occur: in the batch, or for the statistics in the training set."""
    present = np.float32(np.unique(data.splits["train"].targets))

    def of(batch: Batch, whole: bool) -> Array:
        return feature_smoothing.age_buckets(
            batch["target"],
            batch["mask"],
            buckets=run.fds_buckets,
            start=run.fds_start,
            present=jnp.asarray(present) if whole else None,
        )

    return Buckets(run.fds_buckets - run.fds_start, of)


AGE = scalar_task(AgeRun, whole_years, _buckets)
