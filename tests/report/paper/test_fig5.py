"""Fig. 5 from synthetic rows: means, classes left after equalisation, comparisons, figure, report."""

from itertools import product

import numpy as np
import pandas as pd
import pytest
from report_rows import complete, texts, write_study

from regcls_jax.report.build import report
from regcls_jax.report.drawing import fig5_figure, render
from regcls_jax.report.paper.fig5 import fig5_tables, noise_means

NOISE, SAMPLINGS = (0.05, 0.5), ("uniform", "severe")
# Multiples of the error of reg, and what equalisation leaves of the classes.
FACTORS = {
    ("reg", 0): 1.0,
    ("reg_x_lambda", 0): 0.97,
    ("reg_no_decay", 0): 0.98,
    ("reg_cls", 4): 0.9,
    ("reg_cls", 64): 0.8,
    ("reg_cls_bal", 4): 0.7,
    ("reg_cls_bal", 64): 0.6,
    ("constant", 0): 2.0,
    ("median", 0): 2.2,
}


def study(functions=3, repetitions=2):
    cells = product(NOISE, SAMPLINGS, range(functions), range(repetitions), FACTORS)
    frame = pd.DataFrame([(*cell, *arm) for *cell, arm in cells])
    frame.columns = ["noise", "sampling", "function", "repetition", "arm", "classes"]
    factors = np.array([FACTORS[key] for key in zip(frame["arm"], frame["classes"], strict=True)])
    frame["mse"] = (0.4 + frame["noise"] + 0.02 * frame["function"] + 0.01 * frame["repetition"]) * factors
    frame["balanced"] = frame["arm"] == "reg_cls_bal"
    frame["classes_kept"] = np.where(frame["balanced"], frame["classes"] // 2 + frame["function"] % 2, frame["classes"])
    return complete(frame.assign(scenario="noisy"))


def table(made, title):
    return next(each.frame for each in made if each.title == title)


def test_means_per_noise_level_and_what_equalisation_leaves():
    means = noise_means(study()).set_index(["noise", "sampling", "classes"])
    assert len(means) == 2 * 2 * 3
    level = 0.9 + 0.02 + 0.005  # mean over functions 0-2 and repetitions 0-1 at noise .5
    line = means.loc[(0.5, "severe", 64)]
    for arm, factor in (("reg", 1.0), ("reg_cls", 0.8), ("reg_cls_bal", 0.6), ("reg_x_lambda", 0.97), ("median", 2.2)):
        assert line[arm] == pytest.approx(level * factor, rel=1e-12)
    assert line["kept"] == pytest.approx(32 + 1 / 3, rel=1e-12)  # 32, 33, 32
    pooled = means.loc[(0.5, "severe", 0)]
    assert pooled["reg_cls_bal"] == pytest.approx(level * 0.65, rel=1e-12)
    assert np.isnan(pooled["kept"])


def test_tables_in_panel_order_with_the_floor_and_the_trivial_predictors():
    made = fig5_tables(study())
    for each in made:
        assert {"constant", "median"} <= set(each.frame), each.title
    per_class = table(made, "Test MSE over the noise, per class count")
    assert list(zip(per_class["σ"], per_class["sampling"], per_class["classes"], strict=True)) == list(
        product(["0.05", "0.5"], SAMPLINGS, ["4", "64"])
    )
    assert per_class["balanced"].tolist() == ["2.3", "32.3"] * 4
    assert set(per_class["σ²"]) == {"0.0025", "0.2500"}
    pairs = table(made, "Paired comparisons")
    named = set(zip(pairs["arm"], pairs["classes"], pairs["baseline"], strict=True))
    assert named == {
        *product(["reg+cls", "reg+cls bal"], ["all", "4", "64"], ["reg", "reg×λ"]),
        *product(["reg+cls bal"], ["all", "4", "64"], ["reg+cls"]),
        ("reg×λ", "–", "reg"),
        ("reg, no decay", "–", "reg"),
    }
    line = pairs[(pairs["σ"] == "0.05") & (pairs["classes"] == "64") & (pairs["baseline"] == "reg+cls")].iloc[0]
    assert (line["pairs"], line["wins %"], line["difference"]) == ("6", "100.0", "-0.095")  # .475 × −.2
    assert line["constant"] == "0.950"


def test_what_the_rows_do_not_hold_is_left_out():
    rows = study()
    made = fig5_tables(rows[rows["arm"] != "reg_cls_bal"])
    assert "reg+cls bal" not in table(made, "Test MSE over the noise, per class count")
    assert set(table(made, "Paired comparisons")["arm"]) == {"reg+cls", "reg×λ", "reg, no decay"}
    assert fig5_tables(rows[rows["arm"] == "reg"]) == []


def test_figure_is_complete_and_reproducible():
    first, second = (render(fig5_figure(study())) for _ in range(2))
    assert first == second
    words = texts(first["svg"])
    assert [w for w in words if " · " in w] == [f"σ = {n} · {s}" for n, s in product(NOISE, SAMPLINGS)]
    assert words.count("gap 0.071 (-0.071)") == 2  # noise .05: .475 × .15
    assert words.count("bal. gap 0.166 (-0.166)") == 2  # .475 × .35
    for name in ("reg", "reg+cls", "reg+cls bal", "reg×λ", "reg, no decay"):
        assert words.count(name) == 1


def test_report(tmp_path):
    rows = study()
    printed = report(write_study(tmp_path / "run", rows, "fig5"))
    assert "Test MSE over the noise, class counts pooled" in printed
    page = (tmp_path / "run" / "report" / "table.md").read_text()
    assert "mean number of classes that equalisation leaves" in page
    with pytest.raises(ValueError, match="none of the .* is of the test split"):
        report(write_study(tmp_path / "val", rows.assign(split="val"), "fig5"))
