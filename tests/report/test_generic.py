"""Studies that are none of the paper's: one line per arm and setting, and no pooling of what differs."""

import numpy as np
import pandas as pd
from fig3_study import study

from regcls_jax.report.generic import generic_tables, settings_that_vary
from regcls_jax.report.studies import GENERIC, STUDIES, choose
from regcls_jax.report.tables import markdown


def two_rates():
    """The synthetic study with every reg twice: the second at another learning rate and with twice the error."""
    rows = study(("clean",), ("mild", "severe")).assign(learning_rate=1e-3)
    again = rows[rows["arm"] == "reg"].assign(learning_rate=1e-2, mse=lambda part: 2 * part["mse"])
    return rows, again.assign(run=lambda part: part["run"] + 10_000)


def test_a_setting_that_varies_makes_lines_of_its_own():
    rows, again = two_rates()
    both = pd.concat([rows, again], ignore_index=True)
    assert "learning_rate" in settings_that_vary(both)
    assert "learning_rate" not in settings_that_vary(rows)
    table = generic_tables(both)[0].frame
    lines = table[(table["arm"] == "reg") & (table["sampling"] == "mild")].set_index("learning_rate")
    errors = rows[(rows["arm"] == "reg") & (rows["sampling"] == "mild")]["mse"]
    assert lines.loc["0.001", "test MSE"] == f"{errors.mean():.3f} ± {np.std(errors, ddof=1):.3f}"
    assert lines.loc["0.01", "test MSE"].startswith(f"{2 * errors.mean():.3f}")
    assert lines.loc["0.001", "runs"] == str(len(errors))


def test_a_setting_that_only_trained_runs_have_is_a_dash_for_the_trivial_predictors():
    rows, again = two_rates()
    both = pd.concat([rows, again], ignore_index=True)
    both.loc[both["run"] < 0, "learning_rate"] = np.nan
    table = generic_tables(both)[0]
    assert set(table.frame.loc[table.frame["arm"] == "constant", "learning_rate"]) == {"–"}
    assert "–" in markdown(table.frame)


def test_the_paper_s_tables_are_for_the_paper_s_settings_only():
    rows, again = two_rates()
    assert choose("fig3", rows) is STUDIES["fig3"]
    assert choose("fig3", pd.concat([rows, again])) is GENERIC
    assert choose("fig3", pd.concat([rows, rows.assign(noise=0.5)])) is GENERIC, "noise levels must not be pooled"
    assert choose("fig5", pd.concat([rows, rows.assign(noise=0.5)])) is STUDIES["fig5"]
    assert choose("mine", rows) is GENERIC
