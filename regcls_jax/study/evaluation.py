"""The data of one run in a program, what it predicts, and its errors."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array

from regcls_jax import binning
from regcls_jax.losses.registry import AUXILIARY
from regcls_jax.metrics.errors import ErrorSums, error_sums
from regcls_jax.prediction import Prediction
from regcls_jax.study.program import Arrays, RunArrays, Shape, network

# The rows of a split that are evaluated at a time have inputs of this size.
BLOCK_BYTES = 1 << 22


class Own(NamedTuple):
    """The shared arrays, and the indices of one run in them. Rows are read epoch by epoch."""

    arrays: Arrays[Array]
    set: Array
    problem: Array
    data: Array
    decoding: Array

    @classmethod
    def of(cls, arrays: Arrays[Array], run: RunArrays[Array]) -> "Own":
        """Looks up the indices once, not in every step."""
        problem = arrays.problem[run.training_set]
        return cls(arrays, run.training_set, problem, arrays.data[problem], run.decoding)

    def inputs(self, rows: Array) -> Array:
        """Inputs [..., D] of some rows of the data set, standardised where the run asks for it."""
        found = self.arrays.inputs.at[self.data, rows].get(mode="promise_in_bounds")
        if self.arrays.centre.shape[1]:
            of_all_rows = tuple(range(rows.ndim))
            centre, spread = (
                jnp.expand_dims(scale[self.problem], of_all_rows) for scale in (self.arrays.centre, self.arrays.spread)
            )
            found = (found - centre) / spread
        return found

    def targets(self, rows: Array) -> Array:
        """Targets [...] or [..., t] of some rows of the data set."""
        return self.arrays.targets.at[self.data, rows].get(mode="promise_in_bounds")

    def column(self, column: Array, rows: Array) -> Array:
        """Labels or weights [B] of some training rows."""
        return column.at[self.set, rows].get(mode="promise_in_bounds")

    def output_scale(self, shape: Shape) -> tuple[Array | float, Array | float]:
        """Mean and deviation, [] or [t], by which outputs are read in target units."""
        if shape.output == "target":
            return 0.0, 1.0
        return self.arrays.mean[self.set], self.arrays.std[self.set]

    def value(self, shape: Shape, prediction: Prediction) -> Array:
        """The predicted value in target units."""
        return self.in_target_units(shape, prediction.value)

    def in_target_units(self, shape: Shape, outputs: Array) -> Array:
        """Outputs [B] or [B, t] of the value head, or what another head's are read as."""
        if shape.output == "target":
            return outputs
        mean, std = map(jnp.asarray, self.output_scale(shape))
        return (mean[None] + std[None] * outputs) if shape.outputs else mean + std * outputs

    def noise_unit(self, shape: Shape) -> Array | float:
        """What the noise scale of Balanced MSE is in, in target units."""
        return self.arrays.std[self.set] if shape.noise_in == "std" else 1.0

    def predicted(self, shape: Shape, prediction: Prediction) -> Array:
        """What a run predicts, in target units: its value, or what its logits say; padding has no probability."""
        if shape.decoded == "value" or prediction.logits is None:
            return self.value(shape, prediction)
        auxiliary = AUXILIARY[shape.auxiliary]
        if shape.decoded == "head" and auxiliary.head:
            return self.in_target_units(shape, auxiliary.head.value(prediction.logits, axis=0)[0])
        probabilities = auxiliary.probabilities(prediction.logits.T, classes=self.arrays.classes[self.set])
        decode: Any = functools.partial(binning.decode, probabilities, self.arrays.edges[self.set])
        if shape.decoded != "any":
            return decode(shape.decoded)
        every = [self.value(shape, prediction), *map(decode, binning.DECODINGS)]
        return jax.lax.select_n(jnp.broadcast_to(self.decoding, every[0].shape), *every)


def split_errors(shape: Shape, own: Own, params: optax.Params, split: Array | int) -> tuple[ErrorSums, Array]:
    """Error sums of a run on one evaluation split, and what it predicts there."""
    rows = own.arrays.eval_rows[own.problem, split]
    real = jnp.arange(len(rows)) < own.arrays.eval_sizes[own.problem, split]
    predicted = _values(shape, own, params, rows)
    return error_sums(predicted, own.targets(rows), real), predicted


def _values(shape: Shape, own: Own, params: optax.Params, rows: Array) -> Array:
    """What a run predicts for some rows [m], in target units: [m] or [m, t]."""
    by_class = shape.decoded != "value"
    used = params if by_class else {name: layer for name, layer in params.items() if name != "class_head"}

    def of(rows: Array) -> Array:
        prediction: Any = network(shape, classes=by_class).apply({"params": used}, own.inputs(rows).T)
        return own.predicted(shape, prediction)

    block = max(1, BLOCK_BYTES // (4 * own.arrays.inputs.shape[-1]))
    if len(rows) <= block:
        return of(rows)
    blocks = jnp.pad(rows, (0, -len(rows) % block)).reshape(-1, block)
    found = jax.lax.map(of, blocks)
    return found.reshape(-1, *found.shape[2:])[: len(rows)]


def evaluate(
    shape: Shape, arrays: Arrays[Array], keep_values: tuple[int, ...], run: RunArrays[Array], params: optax.Params
) -> tuple[ErrorSums, Array | None]:
    """Error sums [S] of a run on every evaluation split, and its predictions on those that are to be kept."""
    own = Own.of(arrays, run)
    errors, values = jax.vmap(functools.partial(split_errors, shape, own, params))(
        jnp.arange(arrays.eval_rows.shape[1])
    )
    return errors, values[jnp.array(keep_values)] if keep_values else None
