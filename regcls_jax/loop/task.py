"""The seam between the loop and its data: a task is a handful of functions, and the loop knows nothing else of it.

The loop trains any network that takes `(inputs, train=, mask=, transform=)`, gives a `Prediction`, and calls its last
layers value_head and class_head. Targets may be numbers or whole maps of them, the two heads may have two resolutions.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple, Protocol

import flax.linen as nn
import numpy as np
from jax import Array

from regcls_jax.data.prepared import Prepared
from regcls_jax.prediction import Prediction
from regcls_jax.targets import Targets

# input [B, ...], target [B, ...], mask bool [B] (rows that are no padding), index int32 [B] in the split; what else a
# task needs. Rows whose mask is False may hold anything.
Batch = Mapping[str, Array]
# Sums over examples, a pytree of arrays: those of two sets of examples add up.
Sums = Any
# Group ("all" and any others) -> metric -> number.
Metrics = dict[str, dict[str, float]]


class Batches(Protocol):
    """An iterator over batches of NumPy arrays whose position is JSON."""

    def __iter__(self) -> Iterator[dict[str, np.ndarray]]: ...
    def __next__(self) -> dict[str, np.ndarray]: ...
    def get_state(self) -> dict[str, int]: ...
    def set_state(self, state: dict[str, int]) -> None: ...
    def close(self) -> None: ...


class Heads(NamedTuple):
    """What each head is trained on: `target` and bool `valid` in the shape of the prediction's value, `class_target`
    and `class_valid` in that of its logits without the classes. Both targets are in the target's unit.
    """

    target: Array
    valid: Array
    class_target: Array
    class_valid: Array


class Buckets(NamedTuple):
    """Buckets of the target for feature smoothing: how many, and of (batch, whole) int32 in the shape of the features
    without their last axis, -1 for what is left alone; `whole` in the pass over the training set.
    """

    count: int  # type: ignore[assignment]  # hides tuple.count
    of: Callable[[Batch, bool], Array]


class Measure(NamedTuple):
    """How predictions on the splits of a data set are judged.

    zeros: the sums of no example.
    add: (batch, value) -> the sums of a batch; traced.
    metrics: sums of a whole split -> metrics, on the host, "count", "mse" and "mae" among them; those of "all" select
      the best epoch.
    baselines: name of a split -> by name, the sums of the predictors that every network has to beat.
    """

    zeros: Sums
    add: Callable[[Batch, Array], Sums]
    metrics: Callable[[Sums], Metrics]
    baselines: Callable[[str], dict[str, Sums]]


class Task(NamedTuple):
    """What the loop asks of a kind of data; `run` is a run of the class that the task names.

    run: the dataclass of its trainings, a `LoopRun`.
    samples: what an example is called, in the plural.
    load: (dataset, data_dir) -> the prepared data set; its splits are read by the functions below.
    train_batches, eval_batches: (run, split, (index, count) of this host) -> endless epochs of a split, and one pass
      in order; see `data.images.pipeline`.
    network: (run, classes) -> the network.
    input_shape: run -> shape of one example's input.
    inputs: batch -> what the network sees, [B, *input_shape].
    targets: data -> all training targets, or their histogram: what classes, weights and priors are fitted to.
    heads: (batch, prediction) -> `Heads`.
    buckets: (run, data) -> `Buckets`; asked only where a run smooths features.
    measure: (run, data) -> `Measure`.
    arrays: (run, data, predictions [n, ...] by split) -> what predictions.npz holds; None keeps no prediction in
      memory (maps are too large).
    unlabelled: folder -> a split of what is there to predict, and by name what is wrong with the rest.
    write: (path, data, split, `predict.predict` of the split) -> nothing; writes the predictions.
    """

    run: type
    samples: str
    load: Callable[[str, Any], Prepared]
    train_batches: Callable[[Any, Any, tuple[int, int]], Batches]
    eval_batches: Callable[[Any, Any, tuple[int, int]], Batches]
    network: Callable[[Any, int], nn.Module]
    input_shape: Callable[[Any], tuple[int, ...]]
    inputs: Callable[[Batch], Array]
    targets: Callable[[Prepared], Targets]
    heads: Callable[[Batch, Prediction], Heads]
    buckets: Callable[[Any, Prepared], Buckets]
    measure: Callable[[Any, Prepared], Measure]
    arrays: Callable[[Any, Prepared, Mapping[str, np.ndarray]], dict[str, np.ndarray]] | None
    unlabelled: Callable[[Any], tuple[Any, dict[str, str]]]
    write: Callable[[Any, Prepared, Any, Iterator[tuple[np.ndarray, np.ndarray]]], None]
