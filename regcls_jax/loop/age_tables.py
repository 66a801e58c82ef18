"""What a training of ages takes from its training histogram: classes, keep probabilities, weights, priors, scales."""

from typing import NamedTuple

import numpy as np

from regcls_jax import binning, imbalance, theory
from regcls_jax.loop.runs import ImageRun


class AgeTables(NamedTuple):
    """Small arrays on every device; None where the run has no use for one.

    `edges` [C + 1] and `keep` [C] of the classes; `data_edges`, `data_keep` of the balanced data; `weights` [buckets]
    per whole year, the last for all above; `prior` of Balanced MSE; `mean`, `std` of the output (0 and 1 in years);
    `ages_present` [..], the distinct ages that FDS asks about.
    """

    edges: np.ndarray | None
    keep: np.ndarray | None
    data_edges: np.ndarray | None
    data_keep: np.ndarray | None
    weights: np.ndarray | None
    prior: theory.MixturePrior | None
    mean: np.float32
    std: np.float32
    ages_present: np.ndarray | None


def age_classes(run: ImageRun, train_ages: np.ndarray, classes: int, balanced: bool) -> binning.Bins:
    """`classes` classes over [low, high] years from the training ages [n]; ages outside belong to the outermost."""
    edges = binning.uniform_edges(run.low, run.high, classes)
    return binning.from_edges(train_ages, edges, balanced=balanced, rounding=run.rounding)


def year_weights(run: ImageRun, train_ages: np.ndarray) -> np.ndarray:
    """Weights [buckets] of the regression loss per whole year of age, mean 1 over the training set (recipes 2.2)."""
    counts = np.bincount(np.clip(train_ages.astype(int), 0, run.buckets - 1), minlength=run.buckets)
    lds = imbalance.LdsKernel(run.lds_kernel, run.lds_size, run.lds_sigma) if run.lds else None
    clip = (run.clip_low, run.clip_high) if run.clip_high else None
    return imbalance.class_weights(counts, run.reweight, lds=lds, clip=clip)


def _prior(run: ImageRun, train_ages: np.ndarray) -> theory.MixturePrior | None:
    """p~(y) of Balanced MSE: a fitted mixture (gai), or a point per whole year (bni), which is a mixture too."""
    if run.regression == "gai":
        # In float32 EM ends at another mixture.
        return imbalance.fit_mixture(train_ages.astype(np.float64), run.components)
    if run.regression == "bni":
        # Published: years 0 to 199, older ones dropped, empty ones removed (recipes 2.4).
        years, counts = np.unique(train_ages[train_ages < 200].astype(int), return_counts=True)
        return theory.MixturePrior(years.astype(float), np.zeros(len(years)), counts / counts.sum())
    return None


def age_tables(run: ImageRun, train_ages: np.ndarray) -> AgeTables:
    """The tables of a run from its training ages float [n] (years).

    Raises ValueError for ages without spread where the output is standardised, or as `binning` and `imbalance` do.
    """
    train_ages = binning.check_targets(train_ages, f"{run.dataset} training ages")
    mean, std = 0.0, 1.0
    if run.output == "standardised":
        mean, std = float(train_ages.mean(dtype=np.float64)), float(train_ages.std(dtype=np.float64))
        if std == 0:
            raise ValueError(f"{run.dataset}: all training ages are {mean:g}, so the output cannot be standardised")
    bins = age_classes(run, train_ages, run.classes, run.balanced) if run.classes else None
    data = age_classes(run, train_ages, run.balanced_data, True) if run.balanced_data else None
    return AgeTables(
        edges=np.float32(bins.edges) if bins else None,
        keep=np.float32(bins.keep) if bins else None,
        data_edges=np.float32(data.edges) if data else None,
        data_keep=np.float32(data.keep) if data else None,
        weights=np.float32(year_weights(run, train_ages)) if run.reweight != "none" else None,
        prior=_prior(run, train_ages),
        mean=np.float32(mean),
        std=np.float32(std),
        ages_present=np.float32(np.unique(train_ages)) if run.fds != "none" else None,
    )
