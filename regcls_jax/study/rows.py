"""The result rows and traces of a trained part, and the rows of the trivial predictors."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from regcls_jax.data.source import Problem, Spec
from regcls_jax.store.groups import PREDICTION_COLUMNS
from regcls_jax.store.traces import TRACE_COLUMNS
from regcls_jax.study.arrays import Read, Sizes
from regcls_jax.study.groups import batch_columns, group_lines, part_values
from regcls_jax.study.pipeline import TrainedPart
from regcls_jax.study.plan import Sized
from regcls_jax.study.runs import ARM_FIELDS, Run
from regcls_jax.trivial import trivial_predictors

Row = dict[str, Any]

# What the settings of a trained model are in the rows of a trivial predictor.
NOTHING_TRAINED = {"seed": -1, "classes": 0, "classes_kept": 0, "balanced": False} | dict.fromkeys(
    ("lam", "scale", "learning_rate", "weight_decay"), float("nan")
)
# Without `trace`, which changes what is recorded, not what is trained.
SETTINGS = tuple(name for name in ARM_FIELDS if name != "trace")


def _cell(value: Any) -> Any:
    """A setting as a cell: layer widths as 6-15, a limit that is taken from the data as NaN."""
    if isinstance(value, tuple):
        return "-".join(map(str, value))
    return float("nan") if value is None else value


def _run_columns(number: int, run: Run, sized: Sized) -> Row:
    """The columns that describe a run."""
    columns: Row = {"run": number, "arm": run.arm, **run.data.columns(), "seed": run.seed}
    columns |= {name: _cell(getattr(run, name)) for name in SETTINGS}
    return columns | {"classes_kept": sized.bins.classes if sized.bins else 0}


def part_rows(made: TrainedPart, runs: Sequence[Run], sizes: Sizes, read: Read) -> list[Row]:
    """The result rows of a trained part: one per run and evaluation split."""
    squared, absolute, count = made.trained.errors
    # In float32, as the sums are; places that no chunk of this part fills saw nothing.
    seen = np.maximum(count, 1).astype(squared.dtype)
    scores = {"n": count, "mse": squared / seen, "mae": absolute / seen}
    rows = []
    for number, at in made.members():
        sized = sizes[runs[number].trained_on]
        columns = _run_columns(number, runs[number], sized)
        predicted = part_values(made, at, sized)
        batches = batch_columns(predicted, read(runs[number].data)) if predicted else {}
        for split, name in enumerate(sized.splits):
            own = {score: values[at][split] for score, values in scores.items()}
            rows.append({**columns, "split": name, "shot": "all", **own, **batches.get(name, {})})
    return rows


def part_groups(made: TrainedPart, runs: Sequence[Run], sizes: Sizes, read: Read) -> pd.DataFrame | None:
    """The errors of the runs of a trained part by group; None where rows belong to none."""
    frames = []
    for number, at in made.members():
        run, sized = runs[number], sizes[runs[number].trained_on]
        if sized.grouped:
            values = part_values(made, at, sized)
            frames.append(group_lines(_run_columns(number, run, sized), values, read(run.data)))
    return pd.concat(frames, ignore_index=True) if frames else None


def part_predictions(made: TrainedPart, runs: Sequence[Run], sizes: Sizes, read: Read) -> pd.DataFrame:
    """What the runs of a trained part predict on the test split: a line per run and row, in order."""
    frames = []
    for number, at in made.members():
        run, problem = runs[number], read(runs[number].data)
        rows = problem.splits["test"]
        group = "" if problem.groups is None else np.array(problem.groups.names)[problem.groups.of[rows]]
        lines = {"run": number, "arm": run.arm, "group": group, "truth": problem.targets[rows]}
        frames.append(pd.DataFrame({**lines, "prediction": part_values(made, at, sizes[run.trained_on])["test"]}))
    return pd.concat(frames, ignore_index=True)[list(PREDICTION_COLUMNS)]


def part_trace(made: TrainedPart, runs: Sequence[Run], sizes: Sizes) -> pd.DataFrame | None:
    """The trace of a trained part: one line per run, epoch (0: before training) and evaluation split."""
    if made.trained.trace is None:
        return None
    quantities, epoch_count = made.trained.trace._asdict(), made.part.shape.epochs + 1
    frames = []
    for number, at in made.members():
        sized = sizes[runs[number].trained_on]
        columns = _run_columns(number, runs[number], sized)
        named = {name: columns[name] for name in TRACE_COLUMNS if name in columns} | {"trace": runs[number].trace}
        epochs = np.repeat(np.arange(epoch_count), len(sized.splits))
        places_in_time = {"epoch": epochs, "split": list(sized.splits) * epoch_count}
        values = {name: array[at].ravel() for name, array in quantities.items()}
        frames.append(pd.DataFrame(places_in_time | values).assign(**named))
    return pd.concat(frames, ignore_index=True)[list(TRACE_COLUMNS)]


class Trivial(NamedTuple):
    """Rows and errors by group (None without groups) of the predictors without a model."""

    rows: list[Row]
    groups: pd.DataFrame | None


def trivial(spec: Spec, problem: Problem, further: Mapping[str, np.ndarray]) -> Trivial:
    """How the trivial predictors, and `further` ones, do on a problem; `run` is -1, as nothing was trained.

    Args:
      spec: of the problem.
      problem: with its groups, if it has any.
      further: name -> predictions [n] of all rows.
    """
    rows, groups = [], []
    for arm, prediction in {**trivial_predictors(problem.train_targets), **further}.items():
        everywhere = np.broadcast_to(prediction, problem.targets.shape)
        values = {split: everywhere[places] for split, places in problem.splits.items()}
        columns = {"run": -1, "arm": arm, **spec.columns(), **NOTHING_TRAINED}
        batches = batch_columns(values, problem)
        for split, places in problem.splits.items():
            targets = problem.targets[places]
            error = (values[split] - targets).reshape(len(targets), -1)
            scores = {"n": len(targets), "mse": np.mean(error**2), "mae": np.mean(np.abs(error))}
            place = {"split": split, "shot": "all"}
            rows.append({**columns, **place, **scores, **batches.get(split, {})})
        if problem.groups is not None:
            groups.append(group_lines(columns, {name: values[name] for name in values if name != "train"}, problem))
    return Trivial(rows, pd.concat(groups, ignore_index=True) if groups else None)
