"""Arms that are candidates for one: which of them its validation error takes, and how all of them do."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from regcls_jax.loop.runs import LAST
from regcls_jax.report.effects import spread
from regcls_jax.report.tables import Table, label
from regcls_jax.report.trainings import TRIVIAL_SEED

Configs = Mapping[str, Mapping[str, Any]]


def deciding(config: Mapping[str, Any]) -> str:
    """The validation metric that decides between candidates."""
    return "mse" if config["select"] == LAST else config["select"]


def choose_candidates(configs: Configs, rows: pd.DataFrame) -> tuple[dict[str, dict[str, Any]], dict[str, str]]:
    """The arms to report with their settings, and the trained arm that stands for each.

    Of several candidates (`candidate_for`) that is the one with the lowest mean over seeds of the validation metric
    that selected its epochs (the MSE where none did); no test error is looked at. Raises ValueError where `rows` do not
    have that metric.
    """
    valid = rows[(rows["split"] == "val") & (rows["shot"] == "all") & (rows["seed"] != TRIVIAL_SEED)]
    candidates: dict[str, list[str]] = {}
    for arm, config in configs.items():
        candidates.setdefault(config["candidate_for"] or arm, []).append(arm)

    def error(arm: str) -> float:
        metric = deciding(configs[arm])
        if metric not in rows:
            raise ValueError(f"arm {arm!r}: candidates cannot be chosen by {metric}, which rows do not keep")
        return float(valid.loc[valid["arm"] == arm, metric].mean())

    chosen = {name: min(several, key=error) if several[1:] else several[0] for name, several in candidates.items()}
    return {name: dict(configs[arm]) for name, arm in chosen.items()}, chosen


def candidate_table(
    configs: Configs, rows: pd.DataFrame, chosen: Mapping[str, str], metric: str, rest: str, decimals: int = 3
) -> list[Table]:
    """Validation and test error of all candidates, and which of them stands for its arm; none without candidates.

    Args:
      configs: whole settings of every trained arm.
      rows: of all shots together, one selection.
      chosen: as `choose_candidates` gives it.
      metric: a column of `rows`, of the test error.
      rest: what the other tables do with candidates, for the note.
      decimals: of the errors.
    """
    lines = []
    for arm, config in configs.items():
        if not (name := config["candidate_for"]):
            continue
        own = rows[rows["arm"] == arm].set_index("split")
        line = {"arm": label(name), "candidate": label(arm), "lambda": f"{config['lam']:g}"}
        by = deciding(config)
        line[f"validation {by.upper()}"] = spread(own.loc[["val"], by], decimals)
        line[f"test {metric.upper()}"] = spread(own.loc[["test"], metric], decimals)
        lines.append(line | {"taken": "yes" if chosen[name] == arm else ""})
    note = (
        "Taken is the one with the lowest mean over seeds of the validation error that selected its epochs, whatever "
        f"its test error. {rest}"
    )
    frame = pd.DataFrame(lines)
    return [Table("Candidates", note, frame, frame)] if lines else []
