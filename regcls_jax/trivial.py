"""Predictions without a model, which every table shows beside the models."""

import numpy as np
import numpy.typing as npt

from regcls_jax import binning

# "pixel_mean" of maps: of each pixel over the training maps. Of videos: "zero", "half" (.5) and "clock", which sees the
# time that passed (`data.breakfast.predictors`). Of pairs of sentences "cosine" (`data.sts_b_dir.predictors`). "ridge"
# and "boosting" are no trivial ones, but models of another kind (`data.references`).
TRIVIAL_PREDICTORS = ("constant", "median", "pixel_mean", "zero", "half", "clock", "cosine", "ridge", "boosting")


def trivial_predictors(train_targets: npt.ArrayLike) -> dict[str, np.ndarray]:
    """What every model has to beat: mean (best constant for MSE) and median (for MAE) of training targets [n(, t)]."""
    train_targets = np.asarray(train_targets)
    return {"constant": np.mean(train_targets, 0), "median": np.median(train_targets, 0)}


def oracle_bin(targets: npt.ArrayLike, edges: npt.ArrayLike, train_targets: npt.ArrayLike) -> np.ndarray:
    """The predictions of a perfect classifier over `edges` [C + 1]: the value of each target's bin, [...] -> [...].

    That value is the mean of the `train_targets` [n] in the bin, the best constant for MSE, or the centre of an empty
    bin. Targets outside the edges belong to the outermost bin (`binning.assign`).
    """
    edges = np.asarray(edges, np.float64)
    train_targets = binning.check_targets(train_targets, "train_targets")
    labels = binning.assign(train_targets.ravel(), edges)
    sums, counts = (np.bincount(labels, weights, len(edges) - 1) for weights in (train_targets.ravel(), None))
    centres = (edges[:-1] + edges[1:]) / 2
    values = np.divide(sums, counts, out=centres, where=counts > 0)
    return values[binning.assign(binning.check_targets(targets), edges)]
