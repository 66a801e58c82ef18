"""Sample weights by the density of the targets, for any estimator that takes `sample_weight`. Needs no JAX."""

from typing import Any, Self

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from regcls_jax import binning, imbalance


class ImbalanceWeights(BaseEstimator):
    """Weights that fall with the density of the targets: inverse, its root, smoothed (LDS) or not. Mean 1 over `fit`.

        weights = ImbalanceWeights(lds=True).fit_transform(y_train)
        HistGradientBoostingRegressor().fit(x_train, y_train, sample_weight=weights)

    Args:
      method: "sqrt_inv" or "inverse", of the count of a target's bucket (`weights.class_weights`).
      buckets: uniform buckets over the range of the targets.
      lds: whether the counts are smoothed first (label distribution smoothing, Yang et al. 2021).
      size: of the smoothing kernel, in buckets, odd.
      sigma: of the kernel, in buckets.

    Attributes, once fitted: edges_ [buckets + 1] in target units, weights_ [buckets].
    """

    def __init__(
        self, method: str = "sqrt_inv", *, buckets: int = 100, lds: bool = False, size: int = 5, sigma: float = 2.0
    ) -> None:
        self.method = method
        self.buckets = buckets
        self.lds = lds
        self.size = size
        self.sigma = sigma

    def fit(self, y: npt.ArrayLike) -> Self:
        """Learns the density of training targets [n]. Raises ValueError where they are not finite, or all equal."""
        y = binning.check_targets(np.asarray(y, np.float64).ravel(), "targets")
        if y.min() == y.max():
            raise ValueError(f"all targets are {y[0]:g}: they have no density to weigh by")
        self.edges_ = binning.uniform_edges(float(y.min()), float(y.max()), self.buckets)
        counts = np.bincount(binning.assign(y, self.edges_), minlength=self.buckets)
        kernel = imbalance.LdsKernel("gaussian", self.size, self.sigma) if self.lds else None
        self.weights_ = imbalance.class_weights(counts, self.method, lds=kernel)
        return self

    def transform(self, y: npt.ArrayLike) -> np.ndarray:
        """The weights [n] of targets [n]; those beyond the training range have the weight of its end."""
        check_is_fitted(self)
        y = binning.check_targets(np.asarray(y, np.float64).ravel(), "targets")
        return self.weights_[binning.assign(y, self.edges_)]

    def fit_transform(self, y: npt.ArrayLike, **fit_params: Any) -> np.ndarray:
        """`fit` and `transform` of the same targets."""
        return self.fit(y, **fit_params).transform(y)
