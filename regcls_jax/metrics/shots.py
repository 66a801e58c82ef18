"""Evaluation by how often a target occurs in training: all, many, medium and few shot (recipes 5.1 "Evaluation").

Sums per integer age are made on the device and added over batches, devices and hosts; the metrics are computed from
them once, in float64.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
from jax import Array

SHOTS = ("many", "medium", "few")


class ClassErrorSums(NamedTuple):
    """Sums per class [K]: squared and absolute error (target units), log of the absolute error, samples.

    Add two of them field by field (`jax.tree.map(operator.add, ...)`). A prediction without any error makes its
    `log_absolute` -inf, as it makes the geometric mean 0.
    """

    squared: Array | np.ndarray
    absolute: Array | np.ndarray
    log_absolute: Array | np.ndarray
    count: Array | np.ndarray  # type: ignore[assignment]  # hides tuple.count


def class_error_sums(
    predictions: npt.ArrayLike, targets: npt.ArrayLike, labels: npt.ArrayLike, mask: npt.ArrayLike, classes: int
) -> ClassErrorSums:
    """Sums over the samples [...] where `mask` is True, by `labels` int [...] (integer ages), K = `classes`; float32.

    Masked-out entries may hold anything. A label outside [0, classes) makes all sums NaN, which `shot_metrics`
    reports: no sample is left out silently. For ages, `classes` is the largest test age + 1, or more.
    """
    predictions, targets, labels, mask = map(jnp.asarray, (predictions, targets, labels, mask))
    mask = mask.reshape(-1)
    labels = jnp.where(mask, labels.reshape(-1), 0)
    error = jnp.abs(jnp.where(mask, predictions.reshape(-1) - targets.reshape(-1), 1)).astype(jnp.float32)
    terms = (jnp.square(error), error, jnp.log(error), jnp.ones_like(error))
    valid = jnp.all((labels >= 0) & (labels < classes))

    def total(term: Array) -> Array:
        sums = jax.ops.segment_sum(jnp.where(mask, term, 0), labels, classes)
        return jnp.where(valid, sums, jnp.nan)

    return ClassErrorSums(*map(total, terms))


def shot_groups(train_counts: npt.ArrayLike, many: int = 100, few: int = 20) -> dict[str, np.ndarray]:
    """Which classes [K] are "many" (training count > `many`), "few" (< `few`, so 0 too) and "medium" (the rest).

    Raises ValueError where the two limits cross or a count is negative.
    """
    counts = np.asarray(train_counts)
    if few > many + 1:
        raise ValueError(f"few-shot (below {few}) and many-shot (above {many}) classes overlap")
    if counts.ndim != 1 or not np.all(counts >= 0):
        raise ValueError(f"train_counts must be a non-negative histogram [K], got {counts}")
    return {"many": counts > many, "medium": (counts <= many) & (counts >= few), "few": counts < few}


def _metrics(sums: ClassErrorSums) -> dict[str, float]:
    count = float(sums.count.sum())
    if count == 0:
        return dict.fromkeys(("mae", "mse", "rmse", "gm", "bmae"), float("nan")) | {"count": 0}
    mse = float(sums.squared.sum() / count)
    return {
        "mae": float(sums.absolute.sum() / count),
        "mse": mse,
        "rmse": float(np.sqrt(mse)),
        "gm": float(np.exp(sums.log_absolute.sum() / count)),
        "bmae": float(np.mean((sums.absolute / np.maximum(sums.count, 1))[sums.count > 0])),
        "count": int(count),
    }


def shot_metrics(
    sums: ClassErrorSums, train_counts: npt.ArrayLike, many: int = 100, few: int = 20
) -> dict[str, dict[str, float]]:
    """Metrics of "all", "many", "medium" and "few" from the sums [K] of a whole test set.

    Args:
      sums: of every class, classes being integer ages.
      train_counts: the training histogram [any length]; a class beyond its end has count 0, so is few-shot.
      many: a class with more training samples is many-shot.
      few: a class with fewer training samples is few-shot.

    Returns:
      Per group `mae`, `mse`, `rmse`, `gm` (geometric mean of |error|; 0 as soon as one error is exactly 0), `bmae`
      (mean over the group's distinct test ages of the MAE at that age), in target units, and `count`, test samples.
      Pooled over samples, except `bmae`. A group without test samples has count 0 and NaN for the rest: it has no
      error, and NaN can neither win a comparison nor enter a mean unnoticed.

    Raises:
      ValueError: a label was outside the classes (see `class_error_sums`), an error is not finite, or the shot limits
        or the histogram are invalid.
    """
    sums = ClassErrorSums(*(np.asarray(values, np.float64) for values in sums))
    if np.isnan(sums.count).any():
        raise ValueError(f"a test label lies outside the {len(sums.count)} classes 0 to {len(sums.count) - 1}")
    if len(bad := np.flatnonzero(~np.isfinite(sums.squared))):
        raise ValueError(f"the squared errors of class {bad[0]} do not sum to a finite number")
    groups = shot_groups(train_counts, many, few)
    known = len(groups["few"])
    result = {"all": _metrics(sums)}
    for name in SHOTS:
        member = np.full(len(sums.count), name == "few")
        member[:known] = groups[name][: len(member)]
        result[name] = _metrics(ClassErrorSums(*(values[member] for values in sums)))
    return result
