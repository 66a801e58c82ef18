"""The report on all remedies in 1-D: what validation picked, ratios to the standardised regression, figure."""

import numpy as np
import pytest
from fair_rows import FUNCTIONS, study
from scipy import stats

from regcls_jax.report.paper.fair import DATA_SET, select
from regcls_jax.report.remedies_1d import change, remedies_figure, remedies_tables

ARMS = ("reg", "reg_std", "hl_gauss")


@pytest.fixture(scope="module")
def rows():
    found = study(arms=ARMS)
    method = {"reweight": "none", "regression": "squared_error", "mixup": 0.0, "sam_rho": 0.0}
    auxiliary = np.where(found["arm"] == "hl_gauss", "hl_gauss", "classification")
    classes = np.where(found["arm"] == "hl_gauss", 16, 0)
    return found.assign(**method, auxiliary=auxiliary, classes=classes)


def test_the_change_is_the_geometric_mean_of_ratios_over_functions(rows):
    picked = select(rows, "val")
    wide = picked.pivot(index=DATA_SET, columns="arm", values="mse")
    logs = np.log(wide["hl_gauss"] / wide["reg_std"])
    mean, ends = change(picked, "hl_gauss")
    assert mean == pytest.approx(100 * np.expm1(logs.mean()))
    by_function = logs.groupby("function").mean()
    half = stats.t.ppf(0.975, FUNCTIONS - 1) * by_function.std(ddof=1) / np.sqrt(FUNCTIONS)
    assert ends == pytest.approx([100 * np.expm1(by_function.mean() + sign * half) for sign in (-1, 1)])


def test_an_arm_that_diverged_has_no_change(rows):
    lost = rows.copy()
    lost.loc[(lost["arm"] == "hl_gauss") & (lost["function"] == 1), "mse"] = np.nan
    mean, ends = change(select(lost, "val"), "hl_gauss")
    assert np.isnan([mean, *ends]).all()
    assert remedies_tables(lost)[0].frame.set_index("arm").loc["HL-Gauss", "clean: change"] == "–"


def test_every_arm_has_a_line_beside_the_trivial_predictors(rows):
    (table,) = remedies_tables(rows)
    assert table.frame["arm"].tolist() == ["reg", "reg, standardised", "HL-Gauss", "constant", "median"]
    assert table.frame["clean: change"].tolist()[1] == ""
    assert table.frame["mean rank"].tolist()[3:] == ["–", "–"]
    assert [axes.get_title() for axes in remedies_figure(rows).axes] == ["clean, imbalanced", "noisy, imbalanced"]
