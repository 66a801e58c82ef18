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


def result_rows(run: LoopRun, measure: Measure, sums: Mapping[str, Sums]) -> pd.DataFrame:
    """The rows of a run and of the trivial predictors (seed -1): one per split of `sums` and group of its metrics."""
    rows = []
    for split, found in sums.items():
        rows += _rows(run.arm, run.seed, split, measure, found)
        for name, trivial in measure.baselines(split).items():
            rows += _rows(name, -1, split, measure, trivial)
    return pd.DataFrame(rows)


def _rows(arm: str, seed: int, split: str, measure: Measure, sums: Sums) -> list[dict[str, Any]]:
    named = {"arm": arm, "seed": seed, "split": split}
    return [{**named, "shot": group, **found} for group, found in measure.metrics(sums).items()]


def write_results(
    folder: str | os.PathLike,
    engine: Engine,
    data: Prepared,
    measure: Measure,
    found: Mapping[str, tuple[Sums, np.ndarray | None]],
) -> None:
    """Writes predictions.npz, if the task has any to keep, then rows.csv, which marks a run as finished.

    `found`: the evaluations by split.
    """
    if engine.task.arrays is not None:
        predictions = {split: values for split, (_, values) in found.items()}
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **engine.task.arrays(engine.run, data, predictions))
        write_atomic(Path(folder) / "predictions.npz", buffer.getvalue())
    rows = result_rows(engine.run, measure, {split: sums for split, (sums, _) in found.items()})
    write_csv_atomic(rows, Path(folder) / "rows.csv")
