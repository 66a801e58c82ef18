"""The report of the baselines from synthetic rows: means, pooled comparisons, figure, and a tiny real launch."""

import itertools

import numpy as np
import pandas as pd
import pytest
from report_rows import complete, round_trip, texts

from configs import baselines
from regcls_jax.report.drawing import render
from regcls_jax.report.paper.baselines import baseline_figure, baseline_tables, pooled
from regcls_jax.report.tables import label
from regcls_jax.study.engine import run_study

SCENARIOS, SAMPLINGS, FUNCTIONS, REPETITIONS = ("clean", "noisy"), ("uniform", "mild", "severe"), 3, 2
# Multiples of the error of reg where the sampling is imbalanced; all are equal to it where it is uniform.
FACTORS = {
    ("reg", 0): 1.0,
    ("reg_x_lambda", 0): 0.8,
    ("reg_cls", 4): 0.9,
    ("reg_cls", 16): 0.7,
    ("reg_cls_bal", 4): 0.8,
    ("reg_cls_bal", 16): 0.8,
    ("bmc", 0): 0.5,
    ("bmc_x_lambda", 0): 0.6,
    ("inverse", 0): 1.1,
    ("constant", 0): 2.0,
    ("median", 0): 2.2,
}


def study(only=tuple(FACTORS)):
    cells = itertools.product(SCENARIOS, SAMPLINGS, range(FUNCTIONS), range(REPETITIONS), only)
    frame = pd.DataFrame([(*cell, *arm) for *cell, arm in cells])
    frame.columns = ["scenario", "sampling", "function", "repetition", "arm", "classes"]
    factors = np.array([FACTORS[key] for key in zip(frame["arm"], frame["classes"], strict=True)])
    level = 0.4 + 0.1 * frame["function"] + 0.02 * frame["repetition"] + 0.1 * (frame["scenario"] == "noisy")
    frame["mse"] = level * np.where(frame["sampling"] == "uniform", 1.0, factors)
    return complete(frame.assign(noise=np.where(frame["scenario"] == "noisy", 0.1, 0.0)))


def levels():
    """The errors of reg in a cell pair of clean and noisy, over functions and repetitions."""
    return [
        0.4 + 0.1 * f + 0.02 * r + 0.1 * noisy
        for noisy, f, r in itertools.product((0, 1), range(FUNCTIONS), range(REPETITIONS))
    ]


def table(made, title):
    return next(each.frame for each in made if each.title == title)


def test_means_of_every_method_and_class_count_beside_the_trivial_predictors():
    rows = study()
    lost = (rows["arm"] == "bmc") & (rows["scenario"] == "clean") & (rows["sampling"] == "severe")
    rows.loc[rows.index[lost][0], "mse"] = np.nan
    made = baseline_tables(rows)
    frame = table(made, "Test MSE of every method")
    assert frame["method"].tolist() == [
        *("reg", "reg×λ", "reg+cls", "reg+cls", "reg+cls bal", "reg+cls bal"),
        *("BMC", "BMC×λ", "inverse", "constant", "median"),
    ]
    assert frame["classes"].tolist() == ["–", "–", "4", "16", "4", "16", "–", "–", "–", "–", "–"]
    assert list(frame.columns[2:-1]) == [f"{scenario} {sampling}" for scenario in SCENARIOS for sampling in SAMPLINGS]
    clean = levels()[:6]
    line = frame.set_index(["method", "classes"]).loc[("reg+cls", "16")]
    assert line["clean severe"] == f"{0.7 * np.mean(clean):.3f} ± {0.7 * np.std(clean, ddof=1):.3f}"
    assert line["clean uniform"] == f"{np.mean(clean):.3f} ± {np.std(clean, ddof=1):.3f}"
    bmc = frame.set_index("method").loc["BMC"]
    assert bmc["clean severe"] == f"{0.5 * np.mean(clean[1:]):.3f} ± {0.5 * np.std(clean[1:], ddof=1):.3f}"
    assert frame["diverged"].tolist() == ["1" if method == "BMC" else "0" for method in frame["method"]]
    against = table(made, "Against reg")
    one = against[(against["arm"] == "BMC") & (against["samplings"] == "imbalanced")].iloc[0]
    assert (one["diverged"], one["pairs"], one["wins %"]) == ("1", "24", f"{100 * 23 / 24:.1f}")


def test_comparisons_pool_the_imbalanced_cells_of_both_scenarios():
    rows = study()
    pairs = [("bmc", "reg"), ("bmc", "reg_x_lambda"), ("reg_cls", "bmc"), ("reg_cls", "absent")]
    found = {(e.names["samplings"], e.arm, e.classes, e.baseline): e.result for e in pooled(rows, pairs)}
    level = np.mean(levels())
    for (arm, classes, baseline), factor in {
        ("bmc", 0, "reg"): 0.5 - 1.0,
        ("bmc", 0, "reg_x_lambda"): 0.5 - 0.8,
        ("reg_cls", 4, "bmc"): 0.9 - 0.5,
        ("reg_cls", 16, "bmc"): 0.7 - 0.5,
        ("reg_cls", "all", "bmc"): 0.8 - 0.5,
    }.items():
        result = found.pop(("imbalanced", arm, classes, baseline))
        assert result.n == 2 * 2 * FUNCTIONS * REPETITIONS * (2 if classes == "all" else 1)
        assert result.difference == pytest.approx(factor * level, rel=1e-12)
        assert result.rate == (factor < 0)
        assert result.two_way.low < result.difference < result.two_way.high
        assert found.pop(("uniform", arm, classes, baseline)).difference == 0.0
    assert not found


def test_every_method_is_compared_with_both_references_and_reg_cls_with_every_method():
    made = baseline_tables(study())
    titles = [each.title for each in made]
    assert titles == [
        "Test MSE of every method",
        "Against reg",
        "Against reg×λ",
        "Reg+cls against every method",
        "Reg+cls bal against every method",
    ]
    for each in made[1:]:
        assert {"constant", "median"} <= set(each.frame), each.title
        assert set(each.console["samplings"]) == {"imbalanced"}
        assert not each.console.duplicated(["arm", "baseline"]).any()
    methods = [label(arm) for arm in ("reg_cls", "reg_cls_bal", "bmc", "bmc_x_lambda", "inverse")]
    assert made[1].console["arm"].tolist() == ["reg×λ", *methods]
    assert made[2].console["arm"].tolist() == methods
    assert made[3].console["baseline"].tolist() == methods[2:]
    reg = table(made, "Against reg")
    constant = 2.0 * np.mean(levels())
    assert set(reg.loc[reg["samplings"] == "imbalanced", "constant"]) == {f"{constant:.3f}"}


def test_what_the_rows_do_not_hold_is_left_out_but_half_a_comparison_is_an_error():
    made = baseline_tables(study([("reg", 0), ("bmc", 0), ("constant", 0), ("median", 0)]))
    assert [each.title for each in made] == ["Test MSE of every method", "Against reg"]
    rows = study()
    rows = rows[~((rows["arm"] == "bmc") & (rows["function"] == 1) & (rows["sampling"] == "mild"))]
    with pytest.raises(ValueError, match="lack a partner; first: no bmc"):
        baseline_tables(rows)


@pytest.mark.parametrize("made", [baseline_tables, baseline_figure])
@pytest.mark.parametrize(("arms", "named"), [((("bmc", 0), ("inverse", 0)), "BMC, inverse"), ((("reg", 0),), "reg")])
def test_without_anything_to_compare_with_the_error_names_the_arms(made, arms, named):
    rows = study([*arms, ("constant", 0), ("median", 0)])
    with pytest.raises(ValueError, match=f"^Nothing can be compared with reg or reg×λ: the trained arms are {named}.$"):
        made(rows)


def test_figure_is_complete_and_reproducible():
    first, second = (render(baseline_figure(study())) for _ in range(2))
    assert first == second
    words = texts(first["svg"])
    for group, baseline in itertools.product(("imbalanced", "uniform"), ("reg", "reg×λ")):
        assert words.count(f"{group}: against {baseline}") == 1
    assert words.count("BMC×λ") == 4
    assert words.count("reg×λ") == 2  # not against itself
    level = np.mean(levels())
    assert words.count(f"(constant {level:+.3f}, median {1.2 * level:+.3f})") == 1
    uniform = study()
    uniform = uniform[(uniform["sampling"] == "uniform") & (uniform["arm"] != "reg_x_lambda")]
    assert len(baseline_figure(uniform).axes) == 1


def test_a_tiny_study_reaches_its_tables(tmp_path):
    config = baselines.get_config("runlocal").to_dict()
    config["data"] |= {"samplings": ("severe",), "total": 6144}
    config["run"]["epochs"] = 1
    config["arms"] = {
        arm: config["arms"][arm] for arm in ("reg", "reg_x_lambda", "sqrt_inv", "lds_x_lambda", "reg_cls")
    }
    assert run_study(config, tmp_path / "run", tmp_path / "cache", progress=False) == 4 + len(baselines.CLASSES)
    made = round_trip(tmp_path / "run", tmp_path / "out").tables
    names = ["reg", "reg×λ", *["reg+cls"] * 3, "√inverse", "LDS×λ", "constant", "median"]
    assert made[0].frame["method"].tolist() == names
    assert made[1].console["pairs"].tolist() == ["1", "3", "1", "1"]
