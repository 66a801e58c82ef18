"""Sample weights from kernel densities of the targets: DenseWeight, and joint densities of vectors.

NumPy and SciPy only. Where `imbalance` counts targets in bins, nothing here needs bins.
"""

import numpy as np
import numpy.typing as npt

from regcls_jax import binning
from regcls_jax.checks import is_real

# DenseWeight: points of the grid that the density is looked up on, and the least weight before the mean is made 1.
GRID = 4096
LEAST = 1e-6
# A kernel density of more dimensions is hardly one (recipes 2.31).
DIMENSIONS = 4


def _vectors(targets: npt.ArrayLike) -> np.ndarray:
    """Targets [n] or [n, T] as float64 [n, T]."""
    targets = binning.check_targets(np.asarray(targets, np.float64))
    if targets.ndim not in (1, 2):
        raise ValueError(f"targets must be [n] or [n, T], got shape {targets.shape}")
    targets = targets.reshape(len(targets), -1)
    if len(constant := np.flatnonzero(np.ptp(targets, 0) == 0)):
        raise ValueError(f"all targets of dimension {constant[0]} are equal: they have no density to weigh by")
    return targets


def _check_exponent(name: str, value: object) -> None:
    if not (is_real(value) and 0 <= value < np.inf):
        raise ValueError(f"{name} must be a number of at least 0, got {value!r}")


def joint_density(targets: npt.ArrayLike, *, leave_one_out: bool = False) -> np.ndarray:
    """The joint density [n] at targets [n, T] or [n], per unit of each dimension (recipes 2.31). Takes n^2 time.

    Gaussian kernels with the covariance of the targets times h^2, h = n^(-1 / (T + 4)): scaling or rotating the
    targets changes it by a factor only. Give angles as sine and cosine.

    Args:
      targets: n > T rows of T <= 4 dimensions.
      leave_one_out: whether a target's own kernel is left out, which holds up the density of rare ones where n is
        small; it may be 0 then.

    Raises:
      ValueError: NaN, too many dimensions or too few rows, or dimensions that depend on each other linearly.
    """
    from scipy.stats import gaussian_kde

    targets = _vectors(targets)
    rows, dimensions = targets.shape
    if dimensions > DIMENSIONS:
        raise ValueError(f"a kernel density takes at most {DIMENSIONS} dimensions, got {dimensions}")
    if rows <= dimensions:
        raise ValueError(f"a density of {dimensions} dimensions needs more than {dimensions} targets, got {rows}")
    try:
        kernels = gaussian_kde(targets.T)
    except np.linalg.LinAlgError:
        raise ValueError("targets: a dimension is a linear function of others; leave it out") from None
    density = kernels(targets.T)
    if not leave_one_out:
        return density
    own = np.linalg.det(2 * np.pi * kernels.covariance) ** -0.5
    return np.maximum(rows * density - own, 0) / (rows - 1)


def joint_density_weights(
    targets: npt.ArrayLike, gamma: float = 1.0, *, leave_one_out: bool = False, floor: float = 1e-3
) -> np.ndarray:
    """Weights [n] of targets [n, T] or [n]: their `joint_density` to the power -gamma, with mean 1 (recipes 2.31).

    Not a product of weights by dimension, which would take correlated targets for independent ones.

    Args:
      targets: as `joint_density` takes them.
      gamma: 1 or .5 as published; 0 weighs all the same.
      leave_one_out: see `joint_density`.
      floor: a density counts as at least this share of the mean density, or else a single target far from all others
        would have nearly all the weight.

    Raises:
      ValueError: as `joint_density`, or for a negative gamma or a floor outside (0, 1].
    """
    _check_exponent("gamma", gamma)
    if not (is_real(floor) and 0 < floor <= 1):
        raise ValueError(f"floor must be above 0 and at most 1, got {floor!r}")
    density = joint_density(targets, leave_one_out=leave_one_out)
    relative = np.maximum(density / density.mean(), floor)
    weights = relative**-gamma
    return weights / weights.mean()


def _scaled_density(targets: np.ndarray) -> np.ndarray:
    """The density at targets [n], 0 at the least and 1 at the largest of a grid, as DenseWeight looks it up."""
    from scipy.stats import gaussian_kde

    width = 1.06 * targets.std() * len(targets) ** -0.2
    values, counts = np.unique(targets, return_counts=True)
    # SciPy takes the bandwidth in units of this; equal targets are one kernel of more weight, which saves time.
    unit = np.sqrt(np.cov(values, aweights=counts))
    kernels = gaussian_kde(values, bw_method=float(width / unit), weights=counts)
    # Far enough beyond the targets that the least density is nearly 0, as in the published code.
    margin = max(4 * width, 0.05 * np.ptp(targets))
    grid = np.linspace(values[0] - margin, values[-1] + margin, GRID)
    density = kernels(grid)
    scaled = (density - density.min()) / np.ptp(density)
    return scaled[np.searchsorted(grid, targets, side="right") - 1]


def dense_weights(targets: npt.ArrayLike, alpha: float = 1.0) -> np.ndarray:
    """DenseWeight (Steininger et al. 2021; recipes 2.10): max(1 - alpha p', 1e-6), divided by its mean, [n].

    p' is the density of the training targets, scaled to [0, 1]. Of targets [n]: Gaussian kernels of width
    1.06 std n^(-1/5) on a grid of 4096 points, looked up at the one to the left, without interpolation. Of vectors
    [n, T], which the published code does not know: `joint_density`, scaled by its least and largest value (2.31).

    Args:
      targets: [n] or [n, T].
      alpha: how much the density counts; 0 weighs all the same, and above 1 all frequent targets have the least weight.

    Raises:
      ValueError: NaN, a constant dimension, a negative alpha, or as `joint_density` for vectors.
    """
    _check_exponent("alpha", alpha)
    targets = _vectors(targets)
    if targets.shape[1] == 1:
        scaled = _scaled_density(targets[:, 0])
    else:
        density = joint_density(targets)
        # But for rounding, which the scaling would blow up.
        if np.ptp(density) <= 1e-12 * density.max():
            raise ValueError("all targets have the same density: there is nothing to weigh by")
        scaled = (density - density.min()) / np.ptp(density)
    weights = np.maximum(1 - alpha * scaled, LEAST)
    return weights / weights.mean()
