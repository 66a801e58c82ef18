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
# What is kept of every example of a split, a pytree of arrays [n, ...].
Kept = Any
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
    """What each head is trained on: the prediction's `value`, or what a task makes of it, its `target` and bool `valid`
    in the same shape; `class_target` and `class_valid` in that of the logits without the classes. All but the bools are
    in the target's unit.
    """

    value: Array
    target: Array
    valid: Array
    class_target: Array
    class_valid: Array


class Buckets(NamedTuple):
    """Buckets of the target for feature smoothing: how many, and of (batch, whole) int32 in the shape of the features
    without their last axis, -1 for what is left alone; `whole` in the pass of `Task.statistics`.
    """

    count: int  # type: ignore[assignment]  # hides tuple.count
    of: Callable[[Batch, bool], Array]


class Evaluation(NamedTuple):
    """What is known of a network, or another predictor, on a whole split: its sums, and what is kept of every example
    in order.
    """

    sums: Sums
    kept: Kept


# A split -> the values predicted for all its examples [n, ...] in target units.
Predict = Callable[[Any], np.ndarray]


class Measure(NamedTuple):
    """How predictions on the splits of a data set are judged.

    zeros: the sums of no example; an empty pytree where all follows from what is kept.
    add: (batch, value) -> the sums of a batch; traced.
    keep: (batch, value) -> what is kept of every example [B, ...], float32: a number itself, but sums of a map; traced.
    metrics: evaluation of a split -> metrics, on the host, "count", "mse" and "mae" among them; those of "all" select
      the best epoch.
    baselines: name of a split -> by name, evaluations of the predictors that every network has to beat.
    arrays: (evaluations by split, predict) -> what predictions.npz holds; `predict` gives whole predictions, and is
      called on every host alike.
    """

    zeros: Sums
    add: Callable[[Batch, Array], Sums]
    keep: Callable[[Batch, Array], Kept]
    metrics: Callable[[Evaluation], Metrics]
    baselines: Callable[[str], dict[str, Evaluation]]
    arrays: Callable[[Mapping[str, Evaluation], Predict], dict[str, np.ndarray]]


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
    targets: (run, data) -> all training targets, or their histogram: what classes, weights and priors are fitted to.
    heads: (run, batch, prediction) -> `Heads`; traced.
    buckets: (run, data) -> `Buckets`; asked only where a run smooths features.
    statistics: (run, data, (index, count) of this host) -> one pass over the examples whose features feature smoothing
      takes statistics of; None: the next epoch of the training batches.
    measure: (run, data) -> `Measure`.
    labelled: (folder or archive, scale as text) -> a split of examples that are not of the data set, to be evaluated
      on, and by name what is wrong with the rest; None where there is no such form.
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
    targets: Callable[[Any, Prepared], Targets]
    heads: Callable[[Any, Batch, Prediction], Heads]
    buckets: Callable[[Any, Prepared], Buckets]
    statistics: Callable[[Any, Prepared, tuple[int, int]], Batches] | None
    measure: Callable[[Any, Prepared], Measure]
    labelled: Callable[[Any, str], tuple[Any, dict[str, str]]] | None
    unlabelled: Callable[[Any], tuple[Any, dict[str, str]]]
    write: Callable[[Any, Prepared, Any, Iterator[tuple[np.ndarray, np.ndarray]]], None]
