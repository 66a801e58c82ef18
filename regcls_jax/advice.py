"""From a user's table and the config of launch/advise.py to the study that answers it."""

import math
import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from regcls_jax import binning
from regcls_jax.data.own import DATA_FIELDS, load_table
from regcls_jax.data.own_table import OwnTable
from regcls_jax.data.ranges import ranges
from regcls_jax.imbalance import unevenness
from regcls_jax.metrics.shots import SHOTS

# Rows from which on a table is large: larger batches, and no repetition of the cross-validation.
LARGE = 20_000
# Rows that a training sees in all its epochs, of which there are a least and a most number.
SEEN, EPOCHS = 250_000, (10, 100)
# Training rows that there must be for every class.
ROWS_OF_A_CLASS = 2


def effort(rows: int) -> dict[str, int]:
    """Batch size, epochs and repetitions for a table of so many rows."""
    large = rows > LARGE
    epochs = int(np.clip(SEEN // rows, *EPOCHS))
    batch_size = 256 if large else max(8, min(64, 2 ** int(math.log2(rows / 8))))
    return {"batch_size": batch_size, "epochs": epochs, "repetitions": 1 if large else 3}


def fill_in(
    config: Mapping[str, Any], given: Mapping[str, Any], asked: Mapping[str, int]
) -> tuple[dict[str, Any], str]:
    """The whole config of a study of a table, and what is said of the table.

    Args:
      config: of configs/own.py or one like it; what it sets of `effort`, it keeps.
      given: `path`, `target`, `group` and `drop` of the data.
      asked: `folds` and `repetitions` of the command line.

    Raises:
      OSError, ValueError: see `own_table.read_table`; or too few rows for any class count of an arm.
    """
    path = os.path.abspath(given["path"])
    table = load_table(path, given["target"], given["group"], given["drop"])
    own = effort(len(table.targets))
    found = {"path": path, "target": table.target_names, "digest": table.digest}
    data = {**DATA_FIELDS, "repetitions": own.pop("repetitions"), **config["data"], **given, **asked, **found}
    trained = len(table.targets) * (1 - 1 / data["folds"]) * (1 - data["validation"])
    arms = {name: _with_room(name, arm, int(trained / ROWS_OF_A_CLASS)) for name, arm in config["arms"].items()}
    return {**config, "data": data, "run": {**own, **config["run"]}, "arms": arms}, about(table)


def _with_room(name: str, arm: Mapping[str, Any], most: int) -> dict[str, Any]:
    """An arm with those of its class counts that are at most `most`. Raises ValueError where none is left."""
    if "classes" not in arm:
        return dict(arm)
    given = arm["classes"] if isinstance(arm["classes"], tuple | list) else (arm["classes"],)
    if not (kept := tuple(count for count in given if count <= most)):
        raise ValueError(f"arm {name!r}: {min(given)} classes are too many for a table of so few rows; {most} are not")
    return {**arm, "classes": kept}


def about(table: OwnTable) -> str:
    """A line on each target: its range, how uneven it is, and how many rows are rare."""
    lines = [f"{len(table.targets):,} rows, {len(table.names)} columns to predict from."]
    for name, targets in zip(table.target_names, table.targets.T, strict=True):
        edges, groups = ranges(targets)
        of_row = binning.assign(targets, edges)
        few = SHOTS.index("few")
        lines.append(
            f"{name}: {targets.min():g} to {targets.max():g}, imbalance {unevenness(np.bincount(of_row)):.2f} (0: "
            f"even, 1: all in one place); {np.mean(groups[of_row] == few):.0%} of the rows are in the rare "
            f"{np.mean(groups == few):.0%} of its range."
        )
    return "\n".join(lines)
