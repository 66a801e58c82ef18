"""What the losses that compare the examples of a batch share: checked rows, distances and similarities of pairs."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy.typing as npt
from jax import Array, lax


class Rows(NamedTuple):
    """A batch whose examples are compared, in at least float32. Rows that are not kept are 0, whatever they held."""

    features: Array  # [B, F]
    targets: Array  # [B] or [B, T]
    kept: Array  # bool [B]

    @property
    def number(self) -> Array:
        """How many rows are kept, [] in the dtype of the features."""
        return jnp.sum(self.kept, dtype=self.features.dtype)


def compared_rows(
    features: npt.ArrayLike, targets: npt.ArrayLike, mask: npt.ArrayLike | None, *, vectors: bool = False
) -> Rows:
    """The batch as `Rows`: features [B, F], targets [B] (with `vectors` also [B, T]), mask [B] or None (all count).

    Raises ValueError for other shapes, features that are not floating point, or a batch of one.
    """
    features = jnp.asarray(features)
    if features.ndim != 2:
        raise ValueError(f"features must be [B, F], got {features.shape}")
    if not jnp.issubdtype(features.dtype, jnp.floating):
        raise ValueError(f"features must be floating point, got {features.dtype}")
    batch = len(features)
    if batch < 2:
        raise ValueError(f"a loss that compares the examples of a batch needs at least 2, got {batch}")
    kept = kept_rows(mask, batch)
    return Rows(row_values("features", features, kept, ndims=(2,)), target_rows(targets, kept, vectors), kept)


def kept_rows(mask: npt.ArrayLike | None, batch: int) -> Array:
    """The mask as bool [B], or ValueError if it does not fit the batch; None keeps all rows."""
    kept = jnp.ones(batch, bool) if mask is None else jnp.asarray(mask, bool)
    if kept.shape != (batch,):
        raise ValueError(f"mask {kept.shape} does not fit a batch of {batch}")
    return kept


def target_rows(targets: npt.ArrayLike, kept: Array, vectors: bool) -> Array:
    """`row_values` of targets [B], with `vectors` also [B, T]."""
    return row_values("targets", targets, kept, ndims=(1, 2) if vectors else (1,))


def row_values(name: str, values: npt.ArrayLike, kept: Array, *, ndims: tuple[int, ...] = (1,)) -> Array:
    """`values` [B, ...] in at least float32, and 0 where not `kept` [B]: padding may hold NaN.

    Raises ValueError if they have not one of the numbers of dimensions, or another B.
    """
    values = jnp.asarray(values)
    if values.ndim not in ndims or len(values) != len(kept):
        raise ValueError(f"{name} {values.shape} do not fit a batch of {len(kept)}")
    # Half precision cannot tell close rows apart.
    values = values.astype(jnp.promote_types(values.dtype, jnp.float32))
    return jnp.where(jnp.expand_dims(kept, tuple(range(1, values.ndim))), values, 0)


def kept_pairs(kept: Array) -> Array:
    """Bool [B, B]: the pairs of two different kept rows."""
    return kept[:, None] & kept[None] & ~jnp.eye(len(kept), dtype=bool)


def target_distances(targets: Array) -> Array:
    """The distances |y_i - y_j|, [B, B] in target units: of vectors [B, T] the sum over the dimensions."""
    distances = jnp.abs(targets[:, None] - targets[None])
    return distances if targets.ndim == 1 else jnp.sum(distances, axis=-1)


def products(values: Array) -> Array:
    """The inner products of all rows of `values` [B, F], [B, B], at full precision on every device."""
    return jnp.matmul(values, values.T, precision=lax.Precision.HIGHEST)


def squared_distances(features: Array, kept: Array) -> Array:
    """|z_i - z_j|^2 of features [B, F], [B, B], from the inner products: the differences would take B * B * F.

    What is within the rounding error of that, such as the distance of equal rows, is 0. Rows that are not `kept` [B]
    must be finite.
    """
    # Distances stay the same if all rows move, and the sums below then cancel less: features often share a large mean.
    centre = jnp.sum(jnp.where(kept[:, None], features, 0), axis=0) / jnp.maximum(jnp.sum(kept), 1)
    features = features - lax.stop_gradient(centre)[None]
    norms = jnp.sum(jnp.square(features), axis=-1)
    sums = norms[:, None] + norms[None]
    squares = sums - 2 * products(features)
    rounding = jnp.finfo(features.dtype).eps * features.shape[1] ** 0.5 * sums
    return jnp.where(squares > rounding, squares, 0)


def safe_root(squares: Array) -> Array:
    """The square root, [...] -> [...], whose gradient at 0 is 0 rather than infinite."""
    positive = squares > 0
    return jnp.where(positive, jnp.sqrt(jnp.where(positive, squares, 1)), 0)


def normalised(features: Array) -> Array:
    """Rows [..., F] divided by their Euclidean norm. A row of zeros stays 0 and has no gradient."""
    # The largest number of a row is taken out first: the squares of small or large numbers leave float32.
    largest = lax.stop_gradient(jnp.max(jnp.abs(features), axis=-1, keepdims=True))
    zero = largest <= jnp.finfo(features.dtype).tiny
    features = jnp.where(zero, 1, features / jnp.where(zero, 1, largest))
    return jnp.where(zero, 0, features * lax.rsqrt(jnp.sum(jnp.square(features), axis=-1, keepdims=True)))


def first_of_each(targets: Array, kept: Array, key: Array | None = None) -> Array:
    """Bool [B]: one kept row for each distinct target [B], the first, or with a `key` one drawn at random."""
    batch = len(targets)
    order = jnp.arange(batch) if key is None else jax.random.permutation(key, batch)
    same = (targets[:, None] == targets[None]) & kept[None]
    return kept & ~jnp.any(same & (order[None] < order[:, None]), axis=1)
