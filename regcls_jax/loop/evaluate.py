"""Testing a trained network again: a checkpoint of ours, or PyTorch weights such as the published ones."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import jax
import numpy as np
import pandas as pd

from regcls_jax.data.images.splits import ImageSplit
from regcls_jax.loop.age_tables import age_tables
from regcls_jax.loop.mesh import check_batch_size, data_mesh, replicated
from regcls_jax.loop.results import evaluator, result_rows
from regcls_jax.loop.runs import ImageRun
from regcls_jax.loop.start import load_checkpoint, load_weights
from regcls_jax.loop.steps import make_engine


def evaluate_run(
    run: ImageRun,
    splits: Mapping[str, ImageSplit],
    split: str,
    source: Path,
    which: str = "best",
) -> tuple[pd.DataFrame, np.ndarray]:
    """Tests a run on a split, from its folder (the "best" or "newest" checkpoint) or from a file of PyTorch weights.

    Returns the rows of the model and of the trivial predictors (as in rows.csv) and the predictions [n] in years.
    Raises OSError or ValueError for a checkpoint or file that cannot be used.
    """
    if not source.is_dir():
        run = dataclasses.replace(run, classes=0, balanced=False, auxiliary="classification", fds="none")
    check_batch_size(run.batch_size)
    tables = age_tables(run, splits["train"].ages)
    engine = make_engine(run, tables, -(-len(splits["train"].ages) // run.batch_size))
    mesh = data_mesh()
    if not source.is_dir():
        state = jax.device_put(load_weights(str(source), engine), replicated(mesh))
    else:
        state, _ = load_checkpoint(source, engine, mesh, which)
    sums, predictions = evaluator(engine, tables, mesh, splits)(state, splits[split])
    return result_rows(run, splits, {split: sums}), predictions
