"""What a finished run leaves: result rows, and what was kept of every example."""

import io
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from regcls_jax.data.prepared import Prepared
from regcls_jax.loop.runs import LoopRun
from regcls_jax.loop.task import Evaluation, Measure
from regcls_jax.store.files import write_atomic
from regcls_jax.store.rows import write_csv_atomic

# Of the settings of a run, those that stand in its rows; all are in its config.json.
SETTINGS = ("classes", "balanced", "lam", "scale", "learning_rate", "weight_decay")
NOTHING_TRAINED = {"classes": 0, "balanced": False} | dict.fromkeys(SETTINGS[2:], float("nan"))


def result_rows(run: LoopRun, data: Prepared, measure: Measure, found: Mapping[str, Evaluation]) -> pd.DataFrame:
    """The rows of a run and of the trivial predictors (seed -1): one per split of `found` and group of its metrics."""
    about = {"dataset": data.name, "target": data.target, "unit": data.unit}
    trained = {"arm": run.arm, **about, "seed": run.seed, **{name: getattr(run, name) for name in SETTINGS}}
    rows = []
    for split, evaluation in found.items():
        rows += _rows(trained | {"split": split}, measure, evaluation)
        for name, trivial in measure.baselines(split).items():
            rows += _rows({"arm": name, **about, "seed": -1, **NOTHING_TRAINED, "split": split}, measure, trivial)
    return pd.DataFrame(rows)


def _rows(columns: Mapping[str, Any], measure: Measure, evaluation: Evaluation) -> list[dict[str, Any]]:
    metrics = measure.metrics(evaluation)
    return [{**columns, "shot": group, "n": found["count"], **found} for group, found in metrics.items()]


def also_selected(rows: pd.DataFrame, also: pd.DataFrame) -> pd.DataFrame:
    """The rows of a run with those of the epoch that another split selected; `selected_on` says which split did."""
    own = also[also["seed"] >= 0]
    return pd.concat([rows.assign(selected_on="val"), own.assign(selected_on=own["split"])], ignore_index=True)


def write_results(folder: str | os.PathLike, rows: pd.DataFrame, arrays: dict[str, Any]) -> None:
    """Writes predictions.npz, the `arrays` of a measure, then rows.csv.gz, which marks a run as finished."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    write_atomic(Path(folder) / "predictions.npz", buffer.getvalue())
    write_csv_atomic(rows, Path(folder) / "rows.csv.gz")
