"""The result rows and traces of a trained part, and the rows of the trivial predictors."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from regcls_jax.data.source import Problem, Spec
from regcls_jax.store.traces import TRACE_COLUMNS
from regcls_jax.study.arrays import Sizes
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


def part_rows(made: TrainedPart, runs: Sequence[Run], sizes: Sizes) -> list[Row]:
    """The result rows of a trained part: one per run and evaluation split."""
    squared, absolute, count = made.trained.errors
    # In float32, as the sums are; places that no chunk of this part fills saw nothing.
    seen = np.maximum(count, 1).astype(squared.dtype)
    scores = {"n": count, "mse": squared / seen, "mae": absolute / seen}
    rows = []
    for number, at in made.members():
        sized = sizes[runs[number].trained_on]
        columns = _run_columns(number, runs[number], sized)
        for split, name in enumerate(sized.splits):
            own = {score: values[at][split] for score, values in scores.items()}
            rows.append({**columns, "split": name, "shot": "all", **own})
    return rows


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


def trivial_rows(spec: Spec, problem: Problem) -> list[Row]:
    """The rows of the trivial predictors on one problem; `run` is -1, as nothing was trained."""
    rows = []
    for arm, prediction in trivial_predictors(problem.train_targets).items():
        for split, places in problem.splits.items():
            targets = problem.targets[places]
            error = (prediction - targets).reshape(len(targets), -1)
            scores = {"n": len(targets), "mse": np.mean(error**2), "mae": np.mean(np.abs(error))}
            place = {"split": split, "shot": "all"}
            rows.append({"run": -1, "arm": arm, **spec.columns(), **NOTHING_TRAINED, **place, **scores})
    return rows
