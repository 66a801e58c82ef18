"""Which rows the paper's reports pool: a sampling is balanced (uniform) or not."""

from collections.abc import Mapping

import pandas as pd

from regcls_jax.report.effects import Group

IMBALANCED, UNIFORM = "imbalanced", "uniform"


def by_balance(rows: pd.DataFrame, names: Mapping[str, str], column: str = "sampling") -> list[Group]:
    """The rows of the imbalanced samplings together, and those of the uniform one; a group without rows is left out.

    Args:
      rows: with the column sampling.
      names: of either group, as in `Group`.
      column: what the samplings are called in a table.
    """
    balanced = rows["sampling"] == UNIFORM
    parts = {IMBALANCED: rows[~balanced], UNIFORM: rows[balanced]}
    return [Group({**names, column: name}, part) for name, part in parts.items() if len(part)]
