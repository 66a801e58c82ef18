"""Bilinear resizing of images and maps with aligned corners, as PyTorch's interpolate(align_corners=True)."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array


class Terms(NamedTuple):
    """A sparse matrix [m, n] by rows: row r is sum_k weight[r, k] * x[place[r, k]]; both [m, K]."""

    place: np.ndarray
    weight: np.ndarray


@functools.cache
def corner_terms(size: int, out: int) -> Terms:
    """How `out` points that span an axis of `size` points, both ends included, are interpolated from those: K = 2."""
    place = np.arange(out) * ((size - 1) / max(out - 1, 1))
    # The last point lies on the right end of an interval, not on the left of one that does not exist.
    left = np.minimum(place.astype(np.int64), max(size - 2, 0))
    index = np.stack([left, np.minimum(left + 1, size - 1)], 1)
    return Terms(index, np.stack([1 - (place - left), place - left], 1))


@functools.cache
def transposed_terms(size: int, out: int) -> Terms:
    """The transpose of `corner_terms`, padded with weights of 0."""
    index, weight = corner_terms(size, out)
    matrix = np.zeros((out, size))
    np.add.at(matrix, (np.arange(out)[:, None], index), weight)
    rows = [np.flatnonzero(column) for column in matrix.T]
    most = max(map(len, rows))
    padded = np.zeros((size, most), np.int64)
    for row, found in zip(padded, rows, strict=True):
        row[: len(found)] = found
    weights = np.take_along_axis(matrix.T, padded, 1)
    weights[np.arange(most)[None] >= np.array([len(found) for found in rows])[:, None]] = 0
    return Terms(padded, weights)


def _combine(x: Array, terms: Terms, axis: int) -> Array:
    # Copies of rows, several times faster than a matrix product on CPU, and exact whatever precision products have.
    shape = [1] * x.ndim
    shape[axis] = -1
    weights = jnp.asarray(terms.weight, x.dtype)
    parts = [
        jnp.take(x, jnp.asarray(index), axis) * weights[:, k].reshape(shape) for k, index in enumerate(terms.place.T)
    ]
    return functools.reduce(jnp.add, parts)


@functools.partial(jax.custom_vjp, nondiff_argnums=(1, 2))
def _resize_axis(x: Array, out: int, axis: int) -> Array:
    return _combine(x, corner_terms(x.shape[axis], out), axis)


def _forward(x: Array, out: int, axis: int) -> tuple[Array, Array]:
    return _resize_axis(x, out, axis), jnp.zeros((x.shape[axis], 0))


def _backward(out: int, axis: int, size: Array, cotangent: Array) -> tuple[Array]:
    # Again a sum of copies: autodiff would add row by row into the gradient, which is slow on CPU.
    return (_combine(cotangent, transposed_terms(size.shape[0], out), axis),)


_resize_axis.defvjp(_forward, _backward)


def resize(x: Array, size: tuple[int, int]) -> Array:
    """x [B, H, W, ...] -> [B, *size, ...], bilinear, the centres of the corner pixels staying where they are.

    Integers become float32. Of an axis that gets a single point, that is the first. Raises ValueError for fewer than
    three axes or a size below 1.
    """
    x = jnp.asarray(x)
    if x.ndim < 3 or min(size) < 1:
        raise ValueError(f"resize takes [batch, height, width, ...] and a positive size, got {x.shape} and {size}")
    if not jnp.issubdtype(x.dtype, jnp.floating):
        x = x.astype(jnp.float32)
    for axis, out in zip((1, 2), size, strict=True):
        if x.shape[axis] != out:
            x = _resize_axis(x, out, axis)
    return x


@functools.cache
def _taps(size: int, out: int, kernel: int) -> np.ndarray:
    """[out, kernel, size]: what a point of the resized axis, moved by a tap and 0 beyond the ends, takes from x."""
    index, weight = corner_terms(size, out)
    matrix = np.zeros((out, size))
    np.add.at(matrix, (np.arange(out)[:, None], index), weight)
    padded = np.pad(matrix, ((kernel // 2, kernel // 2), (0, 0)))
    return np.stack([padded[tap : tap + out] for tap in range(kernel)], 1)


def mixes_first(x: tuple[int, ...], kernel: tuple[int, ...], size: tuple[int, int]) -> bool:
    """Whether `resized_conv`, given these shapes, mixes the channels of x before it resizes."""
    return size[0] * size[1] * x[-1] >= x[1] * x[2] * kernel[0] * kernel[1] * kernel[-1]


def resized_conv(x: Array, kernel: Array, size: tuple[int, int]) -> Array:
    """A convolution of `resize(x, size)`: x [B, h, w, C], kernel [k, k, C, O], k odd -> [B, *size, O], zero-padded.

    Where the resized x would be larger than k^2 O channels of x are, as for many channels and a large factor, those
    are resized instead: the same sums in another order, with a fraction of the operations and of the memory.
    """
    if not mixes_first(x.shape, kernel.shape, size):
        numbers = ("NHWC", "HWIO", "NHWC")
        return jax.lax.conv_general_dilated(resize(x, size), kernel, (1, 1), "SAME", dimension_numbers=numbers)
    mixed = jnp.einsum("bhwc,yxco->bhwyxo", x, kernel)
    rows, columns = (
        jnp.asarray(_taps(n, out, kernel.shape[0]), x.dtype) for n, out in zip(x.shape[1:3], size, strict=True)
    )
    return jnp.einsum("Hyh,bhyWo->bHWo", rows, jnp.einsum("Wxw,bhwyxo->bhyWo", columns, mixed))
