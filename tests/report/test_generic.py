"""Studies that are none of the paper's: one line per arm and setting, and no pooling of what differs."""

from itertools import product

import numpy as np
import pandas as pd
from fig3_study import study

from regcls_jax.report.generic import design, generic_effects, generic_figure, generic_tables
from regcls_jax.report.studies import REPORTS, choose
from regcls_jax.report.tables import markdown


def two_rates():
    """The synthetic study with every reg twice: the second at another learning rate and with twice the error."""
    rows = study(("clean",), ("mild", "severe")).assign(learning_rate=1e-3)
    again = rows[rows["arm"] == "reg"].assign(learning_rate=1e-2, mse=lambda part: 2 * part["mse"])
    return rows, again.assign(run=lambda part: part["run"] + 10_000)


def test_a_setting_that_varies_makes_lines_of_its_own():
    rows, again = two_rates()
    both = pd.concat([rows, again], ignore_index=True)
    assert design(both).settings == ["classes", "learning_rate"]
    assert design(rows) == (["sampling"], ["function", "repetition"], ["classes"])
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
    assert choose("fig3", rows) is REPORTS["fig3"]
    for others in (pd.concat([rows, again]), pd.concat([rows, rows.assign(noise=0.5)])):  # noise is not pooled
        assert "effects" in choose("fig3", others).figures
    assert choose("fig5", pd.concat([rows, rows.assign(noise=0.5)])) is REPORTS["fig5"]
    assert "effects" in choose("mine", rows).figures


def folds(arms=("reg", "wide", "lds"), datasets=("houses",)):
    """Cross-validation of tables, none of whose columns the paper has; wide at two learning rates, half the error."""
    lines = []
    for dataset, fold, repetition in product(datasets, range(5), range(3)):
        level = 4.0 + 0.1 * fold + 0.01 * repetition
        settings = [(arm, 1e-3, {"reg": 1.0, "wide": 0.5, "lds": 1.1}[arm]) for arm in arms]
        settings += [("wide", 1e-2, 0.75)] * ("wide" in arms) + [("constant", None, 2.0), ("median", None, 2.5)]
        for arm, rate, factor in settings:
            lines.append((arm, dataset, fold, repetition, rate, level * factor, level * factor / 2))
    frame = pd.DataFrame(lines, columns=["arm", "dataset", "fold", "repetition", "learning_rate", "mse", "mae"])
    trivial = frame["arm"].isin(["constant", "median"])
    frame = frame.assign(run=np.where(trivial, -1, np.arange(len(frame))), split="test", n=80, classes=0)
    frame = frame.assign(seed=np.where(trivial, -1, frame["repetition"]), hidden=np.where(trivial, np.nan, 32))
    return frame.assign(classes_kept=0, balanced=False, lam=1.0, scale=1.0, weight_decay=1e-3)


def test_any_data_is_reported_by_its_own_columns():
    rows = folds()
    assert design(rows) == ([], ["fold", "repetition"], ["learning_rate"])
    means, effects = generic_tables(rows.assign(target="price", unit="kEUR"))
    assert means.title == "Every arm in every setting: price, houses"
    assert effects.title == "Against reg: price, houses"
    assert "MAE in kEUR" in means.note
    level = rows.loc[rows["arm"] == "reg", "mse"]
    line = means.frame.set_index("arm").loc["reg"]
    assert (line["test MSE"], line["runs"]) == (f"{level.mean():.3f} ± {level.std():.3f}", "15")
    assert means.frame["arm"].tolist() == ["reg", "LDS", "wide", "wide", "constant", "median"]
    found = effects.frame.set_index("arm")
    assert list(found.index) == ["LDS", "wide, learning_rate 0.001", "wide, learning_rate 0.01"]
    assert found.loc["wide, learning_rate 0.001", "difference"] == f"{-0.5 * level.mean():.3f}"
    assert set(found["constant"]) == {f"{2 * level.mean():.3f}"}
    for effect in generic_effects(rows):
        mean, ends = effect.difference
        assert ends.low < mean < ends.high
    (axes,) = generic_figure(rows.assign(unit="kEUR")).axes
    assert [tick.get_text() for tick in axes.get_yticklabels()] == list(found.index)


def test_data_sets_are_not_pooled_and_the_first_arm_stands_in_for_reg():
    rows = folds(arms=("wide", "lds"), datasets=("houses", "cars"))
    assert design(rows).groups == ["dataset"]
    rows = rows[(rows["arm"] != "wide") | (rows["learning_rate"] == 1e-3)]
    means, effects = generic_tables(rows)
    assert set(means.frame["dataset"]) == {"houses", "cars"}
    assert effects.title == "Against wide: houses, cars"
    assert effects.frame[["dataset", "arm"]].to_numpy().tolist() == [["cars", "LDS"], ["houses", "LDS"]]
    assert [axes.get_title() for axes in generic_figure(rows).axes] == ["cars", "houses"]


def test_several_seeds_on_one_split_are_a_draw():
    rows = folds().assign(repetition=0)
    assert design(rows).draws == ["fold", "seed"]
    assert design(rows[rows["fold"] == 0]).draws == ["seed"]
    for effect in generic_effects(rows[rows["fold"] == 0]):
        assert effect.difference[1].low < effect.difference[1].high  # one factor is resampled by its levels


def test_one_arm_has_nothing_to_be_compared_with():
    rows = folds(arms=("lds",))
    assert len(generic_tables(rows)) == 1
    assert not choose("mine", rows).figures
