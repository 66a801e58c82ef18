"""What a method computes from the training targets: classes, bucket weights, the prior p~(y), mean and deviation.

Computed once, on the host, from the training targets or from their histogram, which is all that is kept of the pixels
of a whole data set.
"""

import functools
from typing import NamedTuple

import numpy as np

from regcls_jax import binning, imbalance, priors
from regcls_jax.density_weights import dense_weights
from regcls_jax.method import Method
from regcls_jax.priors import MixturePrior


class Histogram(NamedTuple):
    """Training targets as distinct `values` [n] (target units) and how often each occurs, `counts` [n]."""

    values: np.ndarray
    counts: np.ndarray


Targets = np.ndarray | Histogram


class FittedTargets(NamedTuple):
    """What both engines train with; None where the method does not need it."""

    bins: binning.Bins | None  # the classes
    bucket_edges: np.ndarray | None  # [K + 1], of the weights by density
    bucket_weights: np.ndarray | None  # [K]
    prior: MixturePrior | None  # p~(y) of Balanced MSE
    mean: np.ndarray  # [] or [t], of the value head's output; 0 where it predicts the target itself
    std: np.ndarray  # likewise; 1 where it predicts the target itself


def fit(method: Method, targets: Targets, name: str = "training targets") -> FittedTargets:
    """Everything that `method` computes from the training targets.

    Raises:
      ValueError: naming `name`, for targets that are not finite, or all equal where their range or spread is needed.
    """
    weighted = method.reweight != "none"
    return FittedTargets(
        bins=class_bins(method, targets, name),
        bucket_edges=bucket_edges(method, targets) if weighted else None,
        bucket_weights=bucket_weights(method, targets) if weighted else None,
        prior=prior(method, targets),
        **dict(zip(("mean", "std"), standardisation(method, targets, name), strict=True)),
    )


def _histogram(targets: Targets, name: str = "training targets") -> Histogram:
    if isinstance(targets, Histogram):
        binning.check_targets(targets.values, name)
        return targets
    values = binning.check_targets(targets, name).ravel()
    return Histogram(values, np.ones(len(values), np.int64))


def _counts(targets: Targets, edges: np.ndarray) -> np.ndarray:
    """The histogram [C] over `edges` [C + 1]."""
    values, counts = _histogram(targets)
    return np.bincount(binning.assign(values, edges), counts, len(edges) - 1).astype(np.int64)


def _quantile(targets: Targets, share: float) -> float:
    values, counts = _histogram(targets)
    if share in (0, 1):
        return float(values.min() if share == 0 else values.max())
    return float(np.quantile(values, share, weights=counts, method="inverted_cdf"))


def class_bins(method: Method, targets: Targets, name: str = "training targets") -> binning.Bins | None:
    """The classes of the class head, equalised if `balanced`; None without classes.

    Raises ValueError, naming `name`, if the range of the classes is empty, if it follows from the targets and there are
    fewer of them than classes, or if all targets are in one class; `misfit` tells of less.
    """
    if not method.classes:
        return None
    found = _histogram(targets, name)
    if None in (method.low, method.high) and method.classes > (total := int(found.counts.sum())):
        raise ValueError(f"{name}: {method.classes} classes are more than the {total} samples")
    low = _quantile(found, method.low_quantile) if method.low is None else method.low
    high = _quantile(found, method.high_quantile) if method.high is None else method.high
    try:
        edges = binning.uniform_edges(low, high, method.classes)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None
    counts = _counts(found, edges)
    if np.count_nonzero(counts) == 1:
        raise ValueError(
            f"{name}: all {counts.sum():,} are in one of {method.classes} classes over [{low:g}, {high:g}]; set low "
            "and high to the range of the targets"
        )
    return binning.from_histogram(counts, edges, method.balanced, method.rounding)


# Shares of the training targets from which on `misfit` speaks.
CROWDED, OUTSIDE, KEPT = 0.5, 0.5, 0.05


def misfit(bins: binning.Bins | None, targets: Targets) -> str:
    """What is odd about the classes of some training targets, with figures; "" if nothing is, or without classes."""
    if bins is None:
        return ""
    values, several = _histogram(targets)
    outside = float(np.average((values < bins.edges[0]) | (values > bins.edges[-1]), weights=several))
    shares = bins.counts / bins.counts.sum()
    found = {
        # Of two classes, one has half or more anyway.
        f"the fullest of {bins.classes} classes has {shares.max():.0%} of the targets": (
            shares.max() > max(CROWDED, 2 / bins.classes)
        ),
        f"{outside:.0%} of the targets are outside [{bins.edges[0]:g}, {bins.edges[-1]:g}]": outside > OUTSIDE,
        f"balanced classes keep {shares @ bins.keep:.1%} of the targets": shares @ bins.keep < KEPT,
    }
    return "; ".join(text for text, odd in found.items() if odd)


def bucket_edges(method: Method, targets: Targets) -> np.ndarray:
    """The edges [K + 1] of the buckets of the density histogram."""
    low = _quantile(targets, 0) if method.bucket_low is None else method.bucket_low
    high = _quantile(targets, 1) if method.bucket_high is None else method.bucket_high
    return binning.uniform_edges(low, high, method.buckets) if method.buckets > 1 else np.array([low, high])


def bucket_weights(method: Method, targets: Targets) -> np.ndarray:
    """The weight [K] of the samples in each bucket, mean 1 over the training targets (recipes 2.2).

    DenseWeight, which weighs every target by itself, gives a bucket the mean of its own (empty: their largest) and,
    needing them one by one, raises ValueError for a histogram.
    """
    if method.reweight == "dense":
        if isinstance(targets, Histogram):
            raise ValueError("reweight 'dense' needs every target, and of these there is a histogram alone")
        labels = binning.assign(targets, bucket_edges(method, targets))
        counts, sums = (np.bincount(labels, given, method.buckets) for given in (None, sample_weights(method, targets)))
        means = np.divide(sums, counts, out=np.zeros(method.buckets), where=counts > 0)
        return np.where(counts > 0, means, means.max())
    lds = None
    if method.lds:
        kernel = method.lds_kernel, method.lds_size, method.lds_sigma
        lds = imbalance.LdsKernel(*kernel, boundary=method.lds_boundary, truncate=method.lds_truncate)
    clip = (method.clip_low, method.clip_high) if method.clip_high else None
    counts = _counts(targets, bucket_edges(method, targets))
    return imbalance.class_weights(counts, method.reweight, lds=lds, clip=clip, start=method.bucket_start)


def sample_weights(method: Method, targets: np.ndarray) -> np.ndarray:
    """`bucket_weights` of the bucket of every training target [n]; DenseWeight's own."""
    if method.reweight == "dense":
        return dense_weights(targets, method.dense_alpha)
    return bucket_weights(method, targets)[binning.assign(targets, bucket_edges(method, targets))]


def prior(method: Method, targets: Targets) -> MixturePrior | None:
    """p~(y) of Balanced MSE: a Gaussian mixture (GAI), or one point per bucket (BNI), a mixture of zero width."""
    if method.loss.prior == "mixture":
        if method.bucket_start:
            edges = bucket_edges(method, targets)
            targets = Histogram((edges[:-1] + edges[1:]) / 2, _filled(method, _counts(targets, edges)))
        return mixture(targets, method.components, method.mixture_per)
    if method.loss.prior == "points":
        edges = bucket_edges(method, targets)
        counts = _counts(targets, edges)
        points = (edges[:-1] + edges[1:]) / 2
        if method.bucket_point == "mean":
            values, several = _histogram(targets)
            sums = np.bincount(binning.assign(values, edges), several * values.astype(np.float64), len(counts))
            points = np.divide(sums, counts, out=points, where=counts > 0)
        counts = _filled(method, counts)
        return MixturePrior(points, np.zeros(len(counts)), counts / counts.sum())
    return None


def _filled(method: Method, counts: np.ndarray) -> np.ndarray:
    """The counts [K] of the buckets, those before `bucket_start` as full as that one."""
    return np.concatenate([np.full(method.bucket_start, counts[method.bucket_start]), counts[method.bucket_start :]])


@functools.lru_cache(maxsize=256)
def _mixture(targets: bytes, components: int) -> MixturePrior:
    return priors.fit_mixture(np.frombuffer(targets), components)


# Values that EM is run on at most: a few minutes and 160 MB.
MOST = 20_000_000


def mixture(targets: Targets, components: int, per: int = 1) -> MixturePrior:
    """`priors.fit_mixture` in float64 (in float32 EM converges elsewhere); cached, because it takes a second.

    Of every distinct value, each whole `per` targets count as one: the pixels of a data set are too many for EM. As
    published for NYUD2, 16 components are fitted to bucket centres, each repeated count // 1,000,000 times.

    Raises ValueError where that leaves too many values, or fewer than components.
    """
    values, counts = _histogram(targets)
    total = int((counts := counts // per).sum())
    if total > MOST:
        raise ValueError(f"the mixture would be fitted to {total:,} targets; set mixture_per to {-(-total // 10**4):,}")
    if total < components:
        raise ValueError(f"mixture_per {per} leaves {total} values for a mixture of {components}; lower it")
    return _mixture(np.repeat(np.asarray(values, np.float64), counts).tobytes(), components)


def scale_of(values: np.ndarray, counts: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of `values` [n] or [n, D] over n, each [] or [D]; exactly 0 where they are constant.

    `counts` [n]: how often each occurs. In float64; rounding would leave a constant a deviation of 1e-16.
    """
    values = np.asarray(values, np.float64)
    mean = np.asarray(np.average(values, 0, counts))
    std = np.sqrt(np.average((values - mean) ** 2, 0, counts))
    return mean, np.where(values.max(0) == values.min(0), 0.0, std)


def standardisation(method: Method, targets: Targets, name: str = "training targets") -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of the training targets if the value head predicts z-scores, else 0 and 1.

    Each [], or [t] for vector targets [n, t]. Raises ValueError, naming `name`, for constant targets.
    """
    if method.output == "target":
        return np.zeros(()), np.ones(())
    values, counts = targets if isinstance(targets, Histogram) else (np.asarray(targets), None)
    mean, std = scale_of(binning.check_targets(values, name), counts)
    if not std.all():
        constant = mean if mean.ndim == 0 else mean[std == 0][0]
        raise ValueError(f"{name} are all {constant:g}, so the output cannot be standardised")
    return mean, std
