"""Verdicts: what the sentence says follows the intervals; every kind of study has one."""

import numpy as np
import pandas as pd
import pytest
from fig3_study import study

from regcls_jax.report.paper.difference_figures import answer_figure, fig3_differences
from regcls_jax.report.paper.fig3 import fig3_tables
from regcls_jax.report.statistics import UNKNOWN, Interval
from regcls_jax.report.studies import REPORTS
from regcls_jax.report.tables import label
from regcls_jax.report.verdicts import Against, best_verdict, difference, headline, loss_verdict, widest

LOWER, HIGHER, OPEN = Interval(-2.0, -0.5), Interval(0.5, 2.0), Interval(-1.0, 1.0)


@pytest.mark.parametrize(
    ("ends", "sentence"),
    [
        ([LOWER, LOWER], "A beats b and the median predictor."),
        ([LOWER, OPEN], "A beats b, but does not clearly differ from the median predictor."),
        ([OPEN, OPEN], "A does not clearly differ from b or the median predictor."),
        ([HIGHER, LOWER], "A is worse than b, but beats the median predictor."),
        ([UNKNOWN, UNKNOWN], "A against b and median: too few runs for an interval."),
    ],
)
def test_the_headline_says_what_the_intervals_say(ends, sentence):
    found = [Against(name, 0.0, each) for name, each in zip(("b", "median"), ends, strict=True)]
    assert headline("A", found) == sentence


def test_a_difference_is_given_with_interval_and_share():
    assert difference(Against("b", -0.1, Interval(-0.15, -0.05), 0.4)) == "-0.100 [-0.150, -0.050], -25 %"
    assert difference(Against("b", -0.1, UNKNOWN)) == "-0.100"
    assert difference(Against("b", float("nan"), UNKNOWN, 0.4)) == "–"


def test_the_verdict_is_of_imbalanced_clean_and_noisy_data():
    rows = study()
    assert set(widest(rows).rows["scenario"]) == {"clean", "noisy"}
    assert "uniform" not in set(widest(rows).rows["sampling"])
    # By construction: mean reg .425; effects .9, .85, .7 with 4 classes, .02 less with 64; reg×λ has .97.
    change = np.mean([0.9, 0.85, 0.7]) - 0.01
    said = loss_verdict(rows)
    assert said.startswith(
        "**reg+cls beats reg and reg×λ (the same λ without classes) on imbalanced data (clean, noisy)"
    )
    assert f"against reg {0.425 * (change - 1):+.3f} [" in said
    assert f"constant {2 * 0.425:.3f}" in said
    assert loss_verdict(study(("ood",), ("uniform",))).split("**")[1].endswith("on uniform data (ood).")


def test_without_the_comparison_the_best_arm_stands_beside_the_trivial_predictors():
    rows = study(("clean",), ("mild",))
    assert loss_verdict(rows[rows["arm"] != "reg_cls"]).startswith(
        f"**Of 4 arms the lowest mean test MSE: {label('reg_cls_no_decay')}.** Mean test MSE: reg+cls, no decay 0.378, "
        "reg 0.425, constant 0.850, median 0.935."
    )
    assert best_verdict(rows.assign(mse=np.inf)) == "**No training ended with a finite error.**"


@pytest.mark.parametrize("name", ["fig3", "fig5", "baselines"])
def test_a_study_of_one_run_has_a_verdict_without_interval(name):
    rows = study(("noisy",), ("severe",), functions=1, repetitions=1)
    assert "too few runs for an interval" in REPORTS[name].verdict(rows)


def texts(figure):
    return [text.get_text() for axes in figure.axes for text in (axes.title, *axes.texts)]


def test_the_answer_is_drawn_with_its_numbers_and_its_sentence():
    figure = answer_figure(study())
    title = figure.get_suptitle().replace("\n", " ")
    assert title == "Regression with classes beats plain regression and the same λ without classes on imbalanced data."
    # One number per sampling and baseline; severe: effects .7 and .68 of .425.
    numbers = [text for text in texts(figure) if "%" in text]
    assert len(numbers) == 4 * 2
    assert f"{0.425 * -0.31:+.3f} (-31 %)" in numbers
    assert sum(text.startswith("against") for text in numbers) == 2


def test_differences_are_drawn_with_the_published_ones_where_there_are_any():
    rows = study(("clean", "noisy"), ("mild", "severe"))
    panels = fig3_differences(rows).axes
    assert [axes.get_title() for axes in panels] == [
        f"{a} · {b}" for a in ("clean", "noisy") for b in ("mild", "severe")
    ]
    means = {line.get_label(): line.get_ydata() for line in panels[1].lines}
    np.testing.assert_allclose(means["reg+cls − reg"], [0.425 * -0.3, 0.425 * -0.32], rtol=1e-9)
    # The published noise of "noisy" is .1, that of these rows 0.
    drawn = [any("published" in str(line.get_label()) for line in axes.lines) for axes in panels]
    assert drawn == [True, True, False, False]


def test_a_small_study_is_not_said_to_fail():
    quick = fig3_tables(study(("clean",), ("uniform", "severe")))
    (agreement,) = (table for table in quick if table.title == "Agreement with the published runs")
    assert agreement.console is None
    assert "needs the full study" in agreement.note
    assert not agreement.frame.map(lambda cell: "FAIL" in cell).to_numpy().any()


def test_names_of_trainings_are_words():
    assert pd.Series(["reg_cls_100_std", "reg_cls_10_lam_0.1", "reg_cls_bal_10", "mine_7"]).map(label).tolist() == [
        "reg+cls (100, standardised)",
        "reg+cls (10, λ 0.1)",
        "reg+cls bal (10)",
        "mine_7",
    ]
