"""Maps that are computed a few rows at a time, of all images together, so that a batch stays spread over devices."""

import jax
import jax.numpy as jnp
from jax import Array

# Values of an intermediate result that are held at a time, about.
HELD = 2**22


def rows_at_a_time(height: int, per_row: int) -> int:
    """The largest divisor of `height` of which so many rows, of `per_row` values, have no more than HELD; or 1."""
    return max((rows for rows in range(1, height + 1) if height % rows == 0 and rows * per_row <= HELD), default=1)


def rows_of(x: Array, part: Array | int, rows: int) -> Array:
    """The part of x [B, H, ...] with the given number: [B, rows, ...]."""
    return jax.lax.dynamic_slice_in_dim(x, part * rows, rows, 1)


def with_rows(x: Array, part: Array | int, values: Array) -> Array:
    """x [B, H, ...] with `values` [B, rows, ...] as the part of that number."""
    return jax.lax.dynamic_update_slice_in_dim(x, values, part * values.shape[1], 1)


def is_large(x: Array) -> bool:
    """Whether x is a map [B, H, ..., C] that is worth the loop."""
    return x.ndim > 2 and x.size > HELD


@jax.custom_vjp
def kept_or_zero(x: Array, kept: Array) -> Array:
    """where(kept, x, 0), x [B, H, ..., C] and bool `kept` [B, H, ...]: in place, if nothing else needs x."""
    rows = rows_at_a_time(x.shape[1], x.size // x.shape[1])

    def step(part: Array | int, found: Array) -> Array:
        values = rows_of(found, part, rows)
        return with_rows(found, part, jnp.where(rows_of(kept, part, rows)[..., None], values, 0))

    return jax.lax.fori_loop(0, x.shape[1] // rows, step, x)


def _forward(x: Array, kept: Array) -> tuple[Array, Array]:
    return kept_or_zero(x, kept), kept


def _backward(kept: Array, cotangent: Array) -> tuple[Array, None]:
    return kept_or_zero(cotangent, kept), None


kept_or_zero.defvjp(_forward, _backward)
