"""Evaluation as masked sums, by shot group, and the trivial predictors."""

from regcls_jax.metrics.errors import ErrorSums, error_sums
from regcls_jax.metrics.shots import ClassErrorSums, class_error_sums, shot_groups, shot_metrics
from regcls_jax.trivial import oracle_bin, trivial_predictors

__all__ = [
    "ClassErrorSums",
    "ErrorSums",
    "class_error_sums",
    "error_sums",
    "oracle_bin",
    "shot_groups",
    "shot_metrics",
    "trivial_predictors",
]
