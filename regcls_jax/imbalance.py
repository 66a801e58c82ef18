"""Sample weights from label densities: re-weighting, label distribution smoothing (LDS, Yang et al. 2021).

NumPy in, NumPy out; nothing here needs a model or a trainer. Targets are any floats, classes any edges.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from regcls_jax import binning

METHODS = ("none", "inverse", "sqrt_inv")
KERNELS = ("gaussian", "triang", "laplace")
NORMALIZATIONS = ("max", "sum")
BOUNDARIES = ("constant", "reflect")


class LdsKernel(NamedTuple):
    """How LDS smooths a histogram; the defaults are those of the published runs on ages."""

    kernel: str = "gaussian"  # as in `lds_kernel`
    size: int = 5  # buckets, odd
    sigma: float = 2.0  # buckets
    # Beyond the histogram: "constant", zeros (ages, STS-B), or "reflect", mirrored with the end repeated (NYUD2).
    boundary: str = "constant"
    # Rounds smoothed counts down. The published code does so for "inverse" (it smooths integers), not for "sqrt_inv".
    truncate: bool = False


def lds_kernel(kernel: str, size: int, sigma: float, normalization: str = "max") -> np.ndarray:
    """The published smoothing window [size] (recipes 2.2): "gaussian", "triang" (ignores sigma) or "laplace".

    `sigma` in buckets; `normalization` "max" (LDS: the centre is 1) or "sum" (feature smoothing). Raises
    ValueError for an even size, a sigma that is not positive or an unknown name.
    """
    if kernel not in KERNELS:
        raise ValueError(f"unknown kernel {kernel!r}; one of {', '.join(KERNELS)}")
    if normalization not in NORMALIZATIONS:
        raise ValueError(f"unknown normalization {normalization!r}; one of {', '.join(NORMALIZATIONS)}")
    if size < 1 or size % 2 == 0:
        raise ValueError(f"kernel size must be odd and positive, got {size}")
    if not sigma > 0:
        raise ValueError(f"kernel sigma must be positive, got {sigma}")
    # Imported where they are used, here and below: together they take more than a second.
    offsets = np.arange(size) - size // 2
    if kernel == "gaussian":
        # Not a sampled Gaussian: the published code filters an impulse of this length, whose edges reflect.
        from scipy import ndimage

        window = ndimage.gaussian_filter1d((offsets == 0).astype(float), sigma)
    elif kernel == "triang":
        from scipy.signal import windows

        window = windows.triang(size)
    else:
        window = np.exp(-np.abs(offsets) / sigma)
    return window / (window.max() if normalization == "max" else window.sum())


def class_weights(
    counts: npt.ArrayLike,
    method: str,
    *,
    lds: LdsKernel | None = None,
    clip: tuple[float, float] | None = None,
    start: int = 0,
) -> np.ndarray:
    """Weights [C] of the classes with histogram `counts` [C], with mean 1 over the samples (recipes 2.2).

    "inverse" is proportional to 1 / counts, "sqrt_inv" to 1 / sqrt(counts), "none" is 1. The counts are
    limited to `clip` (published: (5, 1000) for "inverse" on ages, None elsewhere), then rooted, smoothed by
    `lds` and inverted. A class whose smoothed count is 0 gets the largest weight: no training sample is in it. Classes
    before `start` are left out and get the weight of that one (published for NYUD2: 7, whose first buckets are empty).
    Raises ValueError for an unknown method or boundary, or an invalid histogram, clip or start.
    """
    counts = np.asarray(counts, np.float64)
    if method not in METHODS:
        raise ValueError(f"unknown re-weighting {method!r}; one of {', '.join(METHODS)}")
    if counts.ndim != 1 or not np.all(np.isfinite(counts) & (counts >= 0)) or not np.any(counts):
        raise ValueError(f"counts must be a non-negative histogram [C], not all zero, got {counts}")
    if not 0 <= start < len(counts) or not np.any(counts[start:]):
        raise ValueError(f"there is no count from class {start} on; start must be one of the {len(counts)} classes")
    if method == "none":
        if lds is not None or clip is not None:
            raise ValueError('lds and clip need a re-weighting method, not "none"')
        return np.ones(len(counts))
    density = counts[start:]
    if clip is not None:
        low, high = clip
        if not 0 <= low <= high or high == 0:
            raise ValueError(f"clip must be 0 <= low <= high with high > 0, got {clip}")
        density = np.clip(density, low, high)
    if method == "sqrt_inv":
        density = np.sqrt(density)
    if lds is not None:
        if lds.boundary not in BOUNDARIES:
            raise ValueError(f"unknown boundary {lds.boundary!r}; one of {', '.join(BOUNDARIES)}")
        from scipy import ndimage

        window = lds_kernel(lds.kernel, lds.size, lds.sigma)
        density = ndimage.convolve1d(density, window, mode=lds.boundary)
        if lds.truncate:
            density = np.floor(density)
    weights = 1 / np.where(density > 0, density, density[density > 0].min())
    weights = np.concatenate([np.full(start, weights[0]), weights])
    return weights * counts.sum() / (counts @ weights)


def unevenness(counts: npt.ArrayLike) -> float:
    """0 where a histogram `counts` [K] is even, near 1 where nearly all is in one place: 1 - H / log K'.

    H is the entropy of its shares, K' the number of classes that have any. 0 where there is but one. Raises ValueError
    for what is no histogram.
    """
    counts = binning.check_counts(counts).astype(np.float64)
    shares = counts[counts > 0] / counts.sum()
    return float(1 + (shares * np.log(shares)).sum() / np.log(len(shares))) if len(shares) > 1 else 0.0


def label_weights(
    targets: npt.ArrayLike,
    edges: npt.ArrayLike,
    method: str,
    *,
    lds: LdsKernel | None = None,
    clip: tuple[float, float] | None = None,
) -> np.ndarray:
    """Weights [...] of training `targets` [...] with mean 1, from their histogram over `edges` [C + 1].

    Targets outside the edges count in the outermost class (`binning.assign`): the published classes of the
    ages, whole years to 119 and one of 120 and more, are edges 0, 1, ..., 121. Otherwise as
    `class_weights`; call that where only a histogram is known, such as that of all pixels of a data set.
    """
    edges = np.asarray(edges)
    if edges.ndim != 1 or len(edges) < 2 or not np.all(np.diff(edges) > 0):
        raise ValueError(f"edges must be at least two increasing numbers, got {edges}")
    labels = binning.assign(binning.check_targets(targets), edges)
    counts = np.bincount(labels.ravel(), minlength=len(edges) - 1)
    return class_weights(counts, method, lds=lds, clip=clip)[labels]
