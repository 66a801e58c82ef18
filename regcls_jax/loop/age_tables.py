"""What a training of ages takes from its training ages: small arrays on every device."""

import dataclasses
from typing import NamedTuple

import numpy as np

from regcls_jax import binning, targets
from regcls_jax.loop.runs import ImageRun
from regcls_jax.priors import MixturePrior


class AgeTables(NamedTuple):
    """Small arrays on every device; None where the run has no use for one.

    `edges` [C + 1] and `keep` [C] of the classes; `data_edges`, `data_keep` of the balanced data; `bucket_edges`
    [K + 1] and `weights` [K] of the regression loss; `prior` of Balanced MSE; `mean`, `std` of the output (0 and 1 in
    years); `ages_present` [..], the distinct ages that FDS asks about.
    """

    edges: np.ndarray | None
    keep: np.ndarray | None
    data_edges: np.ndarray | None
    data_keep: np.ndarray | None
    bucket_edges: np.ndarray | None
    weights: np.ndarray | None
    prior: MixturePrior | None
    mean: np.float32
    std: np.float32
    ages_present: np.ndarray | None


def age_tables(run: ImageRun, train_ages: np.ndarray) -> AgeTables:
    """The tables of a run from its training ages float [n] (years).

    Raises ValueError for ages without spread where the output is standardised, or as `targets.fit` does.
    """
    name = f"{run.dataset} training ages"
    train_ages = binning.check_targets(train_ages, name)
    fitted = targets.fit(run, train_ages, name)
    data = None
    if run.balanced_data:
        balanced = dataclasses.replace(run, classes=run.balanced_data, balanced=True)
        data = targets.class_bins(balanced, train_ages, name)

    def small(values: np.ndarray | None) -> np.ndarray | None:
        return None if values is None else np.float32(values)

    return AgeTables(
        edges=small(fitted.bins and fitted.bins.edges),
        keep=small(fitted.bins and fitted.bins.keep),
        data_edges=small(data and data.edges),
        data_keep=small(data and data.keep),
        bucket_edges=small(fitted.bucket_edges),
        weights=small(fitted.bucket_weights),
        prior=fitted.prior,
        mean=np.float32(fitted.mean),
        std=np.float32(fitted.std),
        ages_present=np.float32(np.unique(train_ages)) if run.fds != "none" else None,
    )
