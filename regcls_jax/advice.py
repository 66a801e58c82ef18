"""From a user's table and the config of launch/advise.py to the study that answers it."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from regcls_jax.data.own import ranges
from regcls_jax.data.own_table import OwnTable, read_table
from regcls_jax.metrics.shots import SHOTS

# Rows from which on a table is large: larger batches, and no repetition of the cross-validation.
LARGE = 20_000
# Training rows that a training sees in all, repetitions counted, within a least and a most number of epochs.
SEEN, EPOCHS = 250_000, (20, 100)


def effort(rows: int) -> dict[str, int]:
    """Batch size, epochs and repetitions for a table of so many rows."""
    large = rows > LARGE
    epochs = int(np.clip(SEEN // rows, *EPOCHS))
    batch_size = 256 if large else max(8, min(64, 2 ** int(math.log2(rows / 8))))
    return {"batch_size": batch_size, "epochs": epochs, "repetitions": 1 if large else 3}


def imbalance(targets: np.ndarray) -> float:
    """0 where the targets [n] are spread evenly over their range, near 1 where nearly all are in one place.

    1 - H / log K of their histogram over the K ranges of `data.own.ranges`, H its entropy.
    """
    edges, _ = ranges(targets)
    counts = np.histogram(np.clip(targets, edges[0], edges[-1]), edges)[0]
    shares = counts[counts > 0] / counts.sum()
    return float(1 + (shares * np.log(shares)).sum() / np.log(len(counts)))


def fill_in(
    config: Mapping[str, Any], given: Mapping[str, Any], asked: Mapping[str, int]
) -> tuple[dict[str, Any], str]:
    """The whole config of a study of a table, and what is said of the table.

    Args:
      config: of configs/own.py or one like it; what it sets of `effort`, it keeps.
      given: `path`, `target`, `group` and `drop` of the data.
      asked: `folds` and `repetitions` of the command line.

    Raises:
      OSError, ValueError: see `own_table.read_table`; a target with too few different values for any class.
    """
    table = read_table(given["path"], given["target"], group=given["group"], drop=given["drop"])
    own = effort(len(table.targets))
    repetitions = own.pop("repetitions")
    data = {"repetitions": repetitions, **config["data"], **given, **asked, "target": table.target_names}
    # A noise scale is in target units: of several targets the arms that have one are left out.
    scale = float(np.std(table.targets[:, 0]))
    arms = {}
    for name, arm in config["arms"].items():
        if "noise_sigma" in arm:
            if len(table.target_names) > 1:
                continue
            arm = {**arm, "noise_sigma": tuple(float(f"{scale * share:.2g}") for share in arm["noise_sigma"])}
        arms[name] = arm
    return {**config, "data": data, "run": {**own, **config["run"]}, "arms": arms}, about(table)


def about(table: OwnTable) -> str:
    """A line on each target: its range, how uneven it is, and how many rows are rare."""
    lines = [f"{len(table.targets):,} rows, {len(table.names)} columns to predict from."]
    for name, targets in zip(table.target_names, table.targets.T, strict=True):
        edges, groups = ranges(targets)
        of_row = np.clip(np.searchsorted(edges, targets, side="right") - 1, 0, len(groups) - 1)
        few = SHOTS.index("few")
        lines.append(
            f"{name}: {targets.min():g} to {targets.max():g}, imbalance {imbalance(targets):.2f} (0: even, 1: all in "
            f"one place); {np.mean(groups[of_row] == few):.0%} of the rows are in the rare "
            f"{np.mean(groups == few):.0%} of its range."
        )
    return "\n".join(lines)
