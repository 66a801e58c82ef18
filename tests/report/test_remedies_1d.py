"""The report on all remedies in 1-D: what validation picked, ratios to the standardised regression, figure."""

import numpy as np
import pandas as pd
import pytest
from fair_rows import FUNCTIONS, study
from scipy import stats

from regcls_jax.metrics.shots import SHOTS
from regcls_jax.report.paper.fair import DATA_SET, select
from regcls_jax.report.remedies_1d import change, picked_runs, remedies_figure, remedies_tables
from regcls_jax.store.groups import GroupResults

ARMS = ("reg", "reg_std", "hl_gauss")


@pytest.fixture(scope="module")
def rows():
    found = study(arms=ARMS)
    method = {"reweight": "none", "regression": "squared_error", "mixup": 0.0, "sam_rho": 0.0}
    auxiliary = np.where(found["arm"] == "hl_gauss", "hl_gauss", "classification")
    classes = np.where(found["arm"] == "hl_gauss", 16, 0)
    return found.assign(**method, auxiliary=auxiliary, classes=classes)


@pytest.fixture(scope="module")
def groups(rows):
    """Errors of many and few, of the test split: so many times those of the whole."""
    frames = []
    for shot, of_arm in (("many", {}), ("few", {"hl_gauss": 2})):
        tested = rows[rows["split"] == "test"]
        frames.append(tested.assign(group=shot, n=10, mse=tested["mse"] * tested["arm"].map(of_arm).fillna(1)))
    return GroupResults(pd.concat(frames, ignore_index=True), pd.DataFrame())


def test_the_change_is_the_geometric_mean_of_ratios_over_functions(rows):
    picked = select(rows, "val")
    wide = picked.pivot(index=DATA_SET, columns="arm", values="mse")
    logs = np.log(wide["hl_gauss"] / wide["reg_std"])
    mean, ends = change(picked, "hl_gauss")
    assert mean == pytest.approx(100 * np.expm1(logs.mean()))
    by_function = logs.groupby("function").mean()
    half = stats.t.ppf(0.975, FUNCTIONS - 1) * by_function.std(ddof=1) / np.sqrt(FUNCTIONS)
    assert ends == pytest.approx([100 * np.expm1(by_function.mean() + sign * half) for sign in (-1, 1)])


def test_an_arm_that_diverged_has_no_change(rows, groups):
    lost = rows.copy()
    lost.loc[(lost["arm"] == "hl_gauss") & (lost["function"] == 1), "mse"] = np.nan
    mean, ends = change(select(lost, "val"), "hl_gauss")
    assert np.isnan([mean, *ends]).all()
    assert remedies_tables(lost, groups)[0].frame.set_index("arm").loc["HL-Gauss", "clean: change"] == "–"


def test_every_arm_has_a_line_beside_the_trivial_predictors(rows, groups):
    table, by_shot = remedies_tables(rows, groups)
    assert table.frame["arm"].tolist() == ["reg", "reg, standardised", "HL-Gauss", "constant", "median"]
    assert table.frame["clean: change"].tolist()[1] == ""
    assert table.frame["mean rank"].tolist()[3:] == ["–", "–"]
    assert by_shot.frame["arm"].tolist() == ["reg", "HL-Gauss"]
    sets = len(rows.drop_duplicates(DATA_SET))
    of_sets = {"all targets": sets, **dict.fromkeys(SHOTS, sets), "medium": 0}
    titles = [axes.get_title() for axes in remedies_figure(rows, groups).axes]
    assert titles == [f"{where} ({count})" for where, count in of_sets.items()] == list(by_shot.frame)[1:]


def test_changes_by_shot_are_those_of_the_picked_runs(rows, groups):
    picked = picked_runs(rows, groups)
    for measure, factor in (("many", 1), ("few", 2)):
        # The errors of the groups are the row's times a number, twice it for HL-Gauss among the few.
        mean, _ = change(picked, "hl_gauss", measure)
        plain, _ = change(picked, "hl_gauss")
        assert mean == pytest.approx(100 * (factor * (1 + plain / 100) - 1))
    assert np.isnan(change(picked, "hl_gauss", "medium")[0])  # no data set has such targets
    _, by_shot = remedies_tables(rows, groups)
    assert by_shot.frame["medium (0)"].tolist() == ["–", "–"]
