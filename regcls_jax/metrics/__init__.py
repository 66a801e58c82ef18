"""Evaluation: errors as masked sums and by shot group, trivial predictors, and NumPy metrics of whole test sets.

What works on the device imports JAX on first use; the rest does not need it.
"""

import importlib
from typing import TYPE_CHECKING, Any

from regcls_jax.metrics.distributions import (
    ause,
    calibration_error,
    cdf,
    coverage,
    crps,
    crps_gaussian,
    crps_laplace,
    laplace_nll,
    nll,
    uce,
)
from regcls_jax.metrics.relevance import Relevance, phi, phi_weighted_mse, relevance, ser, sera, sera_per_row
from regcls_jax.metrics.scalar import BalancedErrors, balanced_errors, pearson, signed_error, spearman
from regcls_jax.trivial import oracle_bin, trivial_predictors

if TYPE_CHECKING:
    from regcls_jax.metrics.errors import ErrorSums, error_sums
    from regcls_jax.metrics.shots import ClassErrorSums, class_error_sums, shot_groups, shot_metrics

__all__ = [
    "BalancedErrors",
    "ClassErrorSums",
    "ErrorSums",
    "Relevance",
    "ause",
    "balanced_errors",
    "calibration_error",
    "cdf",
    "class_error_sums",
    "coverage",
    "crps",
    "crps_gaussian",
    "crps_laplace",
    "error_sums",
    "laplace_nll",
    "nll",
    "oracle_bin",
    "pearson",
    "phi",
    "phi_weighted_mse",
    "relevance",
    "ser",
    "sera",
    "sera_per_row",
    "shot_groups",
    "shot_metrics",
    "signed_error",
    "spearman",
    "trivial_predictors",
    "uce",
]

# Public name -> its module, which imports JAX.
_PLACES = {
    "ClassErrorSums": "shots",
    "ErrorSums": "errors",
    "class_error_sums": "shots",
    "error_sums": "errors",
    "shot_groups": "shots",
    "shot_metrics": "shots",
}


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_PLACES[name]}"), name)


def __dir__() -> list[str]:
    return list(__all__)
