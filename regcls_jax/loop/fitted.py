"""What the loss takes from the training targets, as small arrays on every device."""

from typing import NamedTuple

import numpy as np

from regcls_jax import binning, targets
from regcls_jax.loop.runs import LoopRun
from regcls_jax.method import Method
from regcls_jax.priors import MixturePrior


class FittedArrays(NamedTuple):
    """float32 arrays, and what is odd about the classes (`targets.misfit`); None where the run has no use for one.

    `edges` [C + 1] and `keep` [C] of the classes; `data_edges`, `data_keep` of the balanced data; `bucket_edges`
    [K + 1] and `bucket_weights` [K] by density; `prior` of Balanced MSE; `mean`, `std` of the output (0 and
    1 in target units).
    """

    edges: np.ndarray | None
    keep: np.ndarray | None
    data_edges: np.ndarray | None
    data_keep: np.ndarray | None
    bucket_edges: np.ndarray | None
    bucket_weights: np.ndarray | None
    prior: MixturePrior | None
    mean: np.float32
    std: np.float32
    misfit: str | None


def other_classes(run: LoopRun, classes: int, *, balanced: bool) -> Method:
    """A method that has another number of classes over the range of a run's."""
    shared = ("rounding", "low", "high", "low_quantile", "high_quantile")
    return Method(classes=classes, balanced=balanced, **{field: getattr(run, field) for field in shared})


def fit(run: LoopRun, training: targets.Targets, name: str) -> FittedArrays:
    """The arrays of a run from its training targets or their histogram; ValueError, naming `name`, as `targets.fit`."""
    binning.check_targets(training.values if isinstance(training, targets.Histogram) else training, name)
    fitted = targets.fit(run, training, name)
    data = None
    if run.balanced_data:
        data = targets.class_bins(other_classes(run, run.balanced_data, balanced=True), training, name)

    def small(values: np.ndarray | None) -> np.ndarray | None:
        return None if values is None else values.astype(np.float32)

    return FittedArrays(
        edges=small(fitted.bins and fitted.bins.edges),
        keep=small(fitted.bins and fitted.bins.keep),
        data_edges=small(data and data.edges),
        data_keep=small(data and data.keep),
        bucket_edges=small(fitted.bucket_edges),
        bucket_weights=small(fitted.bucket_weights),
        prior=fitted.prior,
        mean=np.float32(fitted.mean),
        std=np.float32(fitted.std),
        misfit=targets.misfit(fitted.bins, training) or None,
    )
