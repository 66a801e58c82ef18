"""The table of a study that is none of the paper's: every arm in every setting it was trained with."""

import pandas as pd

from regcls_jax.report.paper.published import CELL, sort_cells
from regcls_jax.report.statistics import finite_mean
from regcls_jax.report.tables import Table, label, number

# Columns of a row that are not a setting of the training.
NOT_SETTINGS = ("run", "arm", *CELL, "function", "repetition", "seed", "split", "n", "mse", "mae", "classes_kept")


def settings_that_vary(rows: pd.DataFrame) -> list[str]:
    """The settings that take more than one value among trained runs, in the order of the columns."""
    trained = rows[rows["run"] >= 0]
    return [name for name in rows if name not in NOT_SETTINGS and trained[name].nunique(dropna=False) > 1]


def generic_tables(rows: pd.DataFrame) -> list[Table]:
    """One line per cell, arm and setting: runs, mean ± standard deviation of the test MSE, mean MAE.

    rows: test rows of any study. Settings that are the same for all runs are left out.
    """
    varying = settings_that_vary(rows)
    groups = rows.groupby([*CELL, "arm", *varying], sort=True, dropna=False)
    lines = groups["mse"].agg(runs="size", mean=finite_mean, std="std").join(groups["mae"].agg(finite_mean))
    frame = lines.reset_index()
    settings = frame[varying].astype(object).map(lambda value: "–" if pd.isna(value) else str(value))
    text = frame[[*CELL, "arm"]].join(settings)
    text = text.assign(
        arm=frame["arm"].map(label),
        runs=frame["runs"].astype(str),
        **{
            "test MSE": [f"{number(m)} ± {number(s)}" for m, s in zip(frame["mean"], frame["std"], strict=True)],
            "test MAE": frame["mae"].map(number),
        },
    )
    note = (
        "Mean ± standard deviation over functions and repetitions. constant and median predict the mean and median of "
        "the training targets; no setting is theirs."
    )
    table = sort_cells(text)
    return [Table("Every arm in every setting", note, table, table)]
