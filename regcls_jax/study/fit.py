"""Training in memory: returns models that can predict, writes nothing to disk."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
import optax

from regcls_jax import targets
from regcls_jax.binning import Bins
from regcls_jax.devices import memory
from regcls_jax.prediction import Prediction
from regcls_jax.study.arrays import Read, input_scale
from regcls_jax.study.pipeline import trained_parts
from regcls_jax.study.plan import check, measure, plan, shape_of
from regcls_jax.study.program import Shape, network
from regcls_jax.study.runs import Run

# Rows are padded to a multiple of this: the folds of a cross-validation are one program.
ROWS = 256


class Fitted(NamedTuple):
    """A trained model; its scales are 0 and 1 where nothing is standardised."""

    run: Run
    errors: dict[str, dict[str, np.number]]  # "mse", "mae" and "n" by split
    params: optax.Params
    shape: Shape
    bins: Bins | None  # the classes
    centre: np.ndarray  # [D], mean of the training inputs
    spread: np.ndarray  # [D], their standard deviation
    mean: np.ndarray  # [] or [t], of the training targets
    std: np.ndarray


def fit(runs: Sequence[Run], read: Read, *, chunk: int = 0) -> list[Fitted]:
    """Trains all runs side by side and returns their models, in order.

    Args:
      runs: what to train; they may differ in anything.
      read: loads the problem of a run's `data`.
      chunk: how many runs to train side by side; 0 chooses. Results depend on it in their last digits.

    Raises:
      ValueError: data that cannot be trained on, naming the problem.
    """
    for spec in dict.fromkeys(run.data for run in runs):
        check(spec.name, read(spec))
    sizes = {run.trained_on: measure(run.trained_on, read(run.data)) for run in runs}
    devices = jax.devices()
    planned = plan(runs, sizes, devices=len(devices), memory=memory(devices), chunk=chunk)
    parts = [(shape, part) for shape, of_shape in enumerate(planned) for part in of_shape]
    found: dict[int, Fitted] = {}
    for made in trained_parts(parts, planned, runs, sizes, read, keep_params=True, multiple=ROWS):
        for number, at in made.members():
            run, sized = runs[number], sizes[runs[number].trained_on]
            problem = read(run.data)
            squared, absolute, count = (np.asarray(values)[at] for values in made.trained.errors)
            errors = {
                name: {"mse": squared[i] / count[i], "mae": absolute[i] / count[i], "n": count[i]}
                for i, name in enumerate(sized.splits)
            }
            params = jax.tree.map(lambda values, at=at: values[at], made.trained.params)
            centre, spread = input_scale(problem) if run.inputs == "standardised" else (np.zeros(1), np.ones(1))
            mean, std = targets.standardisation(run, problem.train_targets)
            found[number] = Fitted(run, errors, params, shape_of(run, sized), sized.bins, centre, spread, mean, std)
    return [found[number] for number in range(len(runs))]


def predict(fitted: Fitted, inputs: np.ndarray) -> Prediction:
    """Value [n] (or [n, t]) in target units, logits [n, C] of the real classes or outputs of another head, features
    [n, F], of inputs [n, D].

    Raises ValueError for inputs of another width.
    """
    inputs = np.asarray(inputs, np.float32)
    width = fitted.params["hidden_0"]["kernel"].shape[0]
    if inputs.ndim != 2 or inputs.shape[1] != width:
        raise ValueError(f"inputs must be [n, {width}], got {inputs.shape}")
    scaled = (inputs - np.float32(fitted.centre)) / np.float32(fitted.spread)
    prediction: Any = network(fitted.shape).apply({"params": fitted.params}, scaled.T)
    value, logits, features = prediction
    if logits is not None:
        real = len(logits) if fitted.bins is None else fitted.bins.classes
        logits = logits[:real].T
    mean, std = (scale[None] if fitted.shape.outputs else scale for scale in (fitted.mean, fitted.std))
    return Prediction(mean + std * value, logits, features.T)
