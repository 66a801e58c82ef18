"""What a finished run leaves: result rows and, where its task keeps them, predictions."""

import io
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from regcls_jax.data.prepared import Prepared
from regcls_jax.loop.runs import LoopRun
from regcls_jax.loop.steps import Engine
from regcls_jax.loop.task import Measure, Sums
from regcls_jax.store.files import write_atomic
from regcls_jax.store.rows import write_csv_atomic

# Of the settings of a run, those that stand in its rows; all are in its config.json.
SETTINGS = ("classes", "balanced", "lam", "scale", "learning_rate", "weight_decay")
NOTHING_TRAINED = {"classes": 0, "balanced": False} | dict.fromkeys(SETTINGS[2:], float("nan"))


def result_rows(run: LoopRun, data: Prepared, measure: Measure, sums: Mapping[str, Sums]) -> pd.DataFrame:
    """The rows of a run and of the trivial predictors (seed -1): one per split of `sums` and group of its metrics."""
    about = {"dataset": data.name, "target": data.target, "unit": data.unit}
    trained = {"arm": run.arm, **about, "seed": run.seed, **{name: getattr(run, name) for name in SETTINGS}}
    rows = []
    for split, found in sums.items():
        rows += _rows(trained | {"split": split}, measure, found)
        for name, trivial in measure.baselines(split).items():
            rows += _rows({"arm": name, **about, "seed": -1, **NOTHING_TRAINED, "split": split}, measure, trivial)
    return pd.DataFrame(rows)


def _rows(columns: Mapping[str, Any], measure: Measure, sums: Sums) -> list[dict[str, Any]]:
    metrics = measure.metrics(sums)
    return [{**columns, "shot": group, "n": found["count"], **found} for group, found in metrics.items()]


def write_results(
    folder: str | os.PathLike,
    engine: Engine,
    data: Prepared,
    measure: Measure,
    found: Mapping[str, tuple[Sums, np.ndarray | None]],
) -> None:
    """Writes predictions.npz, if the task has any to keep, then rows.csv.gz, which marks a run as finished.

    `found`: the evaluations by split.
    """
    if engine.task.arrays is not None:
        predictions = {split: values for split, (_, values) in found.items() if values is not None}
        buffer = io.BytesIO()
        arrays: dict[str, Any] = engine.task.arrays(engine.run, data, predictions)
        np.savez_compressed(buffer, **arrays)
        write_atomic(Path(folder) / "predictions.npz", buffer.getvalue())
    rows = result_rows(engine.run, data, measure, {split: sums for split, (sums, _) in found.items()})
    write_csv_atomic(rows, Path(folder) / "rows.csv.gz")
