"""The report of section 2.2 in training: means, paired gaps, the figure, from a raw trace and from an exported one."""

import importlib

import numpy as np
import pandas as pd
import pytest
from report_rows import texts

from regcls_jax.report.figures import render
from regcls_jax.report.statistics import two_way_bootstrap_mean
from regcls_jax.report.tables import markdown
from regcls_jax.report.theory_report import gap_pairs, last_epoch, theory_figure, theory_tables
from regcls_jax.report.trace_rows import QUANTITIES, TRACE_COLUMNS, export_trace, summarise
from regcls_jax.training.grid import expand

ARMS = {("reg", 0): 1.0, ("reg_x_lambda", 0): 100.0, ("reg_cls", 4): 100.0, ("reg_cls", 64): 100.0}
SPLITS = ["train", "val", "val_balanced", "test"]


@pytest.fixture(scope="module")
def trace():
    """3 functions x 2 repetitions, 2 samplings, epochs 0 to 2; the gap is -1 + noise for reg, half with classes."""
    rng = np.random.default_rng(0)
    lines = []
    for sampling in ("severe", "uniform"):
        for function, repetition in np.ndindex(3, 2):
            for number, ((arm, classes), lam) in enumerate(ARMS.items()):
                run = {"run": len(lines) // 12, "arm": arm, "classes": classes, "classes_kept": classes, "lam": lam}
                run |= {"scenario": "clean", "sampling": sampling, "noise": 0.0, "balanced": False, "trace": "mse"}
                run |= {"function": function, "repetition": repetition, "seed": repetition, "scale": 1.0}
                run |= {"learning_rate": 1e-3, "weight_decay": 1e-3}
                for epoch in range(3):
                    for split in SPLITS:
                        values = dict(zip(QUANTITIES, rng.uniform(0.1, 0.2, len(QUANTITIES)), strict=True))
                        values["l_extra_gaussian"] -= 1.0 if not classes else 0.5
                        values |= {name: np.nan for name in QUANTITIES[4:] if not classes}
                        lines.append({**run, "epoch": epoch, "split": split, **values, "mse": 0.3 + 0.1 * number})
    return pd.DataFrame(lines)[list(TRACE_COLUMNS)]


@pytest.fixture(scope="module")
def rows():
    """Trivial predictors of every cell and split."""
    return pd.DataFrame(
        {"arm": arm, "scenario": "clean", "sampling": sampling, "split": split, "mse": mse}
        for arm, mse in (("constant", 0.75), ("median", 0.8))
        for sampling in ("severe", "uniform")
        for split in SPLITS
    )


def test_means_of_the_last_epoch_beside_the_trivial_predictors(rows, trace):
    balanced, own, *_ = theory_tables(rows, trace)
    assert balanced.title == "Section 2.2 on val_balanced"
    assert own.title == "Section 2.2 on val"
    frame = balanced.frame
    assert frame["sampling"].tolist() == ["uniform"] * 4 + ["severe"] * 4
    assert frame["arm"].tolist()[:4] == ["reg", "reg×λ", "reg+cls", "reg+cls"]
    assert frame["classes"].tolist()[:4] == ["–", "–", "4", "64"]
    cell = trace[(trace["sampling"] == "severe") & (trace["classes"] == 64)]
    cell = cell[(cell["split"] == "val_balanced") & (cell["epoch"] == 2)]
    line = frame[(frame["sampling"] == "severe") & (frame["classes"] == "64")].iloc[0]
    for title, name in (("gap (Eq. 8)", "l_extra_gaussian"), ("Eq. 9", "l_extra_softmax")):
        assert line[title] == f"{cell[name].mean():+.3f} ± {cell[name].std():.3f}"
    assert line["MSE"] == "0.600 ± 0.000"
    assert (line["constant"], line["median"]) == ("0.750", "0.800")
    reg = frame[frame["arm"] == "reg"].iloc[0]
    assert reg["cross-entropy (Eq. 11)"] == reg["corr. Eq. 8, 9"] == "–"
    last = trace[(trace["epoch"] == 2) & (trace["split"] == "val_balanced") & (trace["classes"] > 0)]
    most = last.groupby(["sampling", "classes"])["unseen"].mean().max()
    assert f"({100 * most:.2g} % of a cell at most)" in balanced.note
    assert "own MSE on its training split" in balanced.note


def test_the_gap_is_compared_run_by_run(rows, trace):
    *_, balanced, _ = theory_tables(rows, trace)
    assert balanced.title == "Is the gap smaller with classes? On val_balanced"
    frame = balanced.frame
    assert len(frame) == 2 * (2 + 2 + 1)  # samplings; against reg and reg×λ with 4 and 64 classes; reg×λ against reg
    part = last_epoch(trace[trace["sampling"] == "severe"], "val_balanced")
    gaps = {arm: part[(part["arm"] == arm) & part["classes"].isin([0, 4])] for arm in ("reg", "reg_cls")}
    difference = gaps["reg_cls"]["l_extra_gaussian"].to_numpy() - gaps["reg"]["l_extra_gaussian"].to_numpy()
    pairs = gap_pairs(part, "reg_cls", "reg").query("classes == 4")
    np.testing.assert_allclose(np.sort(pairs["arm"] - pairs["baseline"]), np.sort(difference))
    ends = two_way_bootstrap_mean(difference, *(gaps["reg"][name].to_numpy() for name in ("function", "repetition")))
    line = frame[(frame["sampling"] == "severe") & (frame["baseline"] == "reg") & (frame["classes"] == "4")].iloc[0]
    assert line["gap"] == f"{difference.mean():+.3f}"
    assert line["gap, two-way 95 %"] == f"[{ends.low:+.3f}, {ends.high:+.3f}]"
    assert line["size of the gap"] == f"{-difference.mean():+.3f}"  # all gaps are negative
    assert (line["pairs"], line["smaller %"], line["constant"]) == ("6", "100.0", "0.750")
    with pytest.raises(ValueError, match="lack a partner"):
        theory_tables(rows, trace[trace["run"] != 0])


def test_a_diverged_run_is_counted_and_left_out(rows, trace):
    lost = (trace["arm"] == "reg") & (trace["function"] == 0) & (trace["repetition"] == 0)
    broken = trace.assign(**{name: trace[name].mask(lost) for name in QUANTITIES})
    means, _, comparisons, _ = theory_tables(rows, broken)
    assert not any("nan" in cell for cell in markdown(means.frame).split("|"))
    assert sorted(set(means.frame["runs"])) == ["5", "6"]
    assert set(comparisons.frame.loc[comparisons.frame["baseline"] == "reg", "diverged"]) == {"1"}


def test_the_figure_has_every_cell_and_arm_from_raw_and_exported_traces(trace):
    for source in (trace, export_trace(trace, ("val_balanced", "val"))):
        words = texts(render(theory_figure(source))["svg"])
        for word in ("clean · uniform", "clean · severe", "gap (Eq. 8)", "epoch", "reg×λ", "reg+cls, 4", "reg+cls, 64"):
            assert word in words
    first, second = (render(theory_figure(trace, "val"))["svg"] for _ in range(2))
    assert first == second


def test_an_exported_trace_gives_the_same_means_and_no_comparisons(rows, trace):
    exported = export_trace(trace, ("val_balanced", "val"))
    made = theory_tables(rows, exported)
    assert len(made) == 2
    for table, whole in zip(made, theory_tables(rows, trace), strict=False):
        pd.testing.assert_frame_equal(table.frame, whole.frame)
    assert len(summarise(trace)) == 2 * len(exported)


def test_the_config_traces_every_arm_with_one_recipe():
    config = importlib.import_module("configs.theory").get_config()
    runs = expand(config.to_dict())
    assert len(runs) == 2 * 4 * 10 * 3 * 5
    assert {run.trace for run in runs} == {"mse"}
    assert {run.initial_weights for run in runs} == {"paired"}
    for run in runs:
        assert run.lam == (1.0 if run.arm == "reg" else {"clean": 1e2, "noisy": 1e3}[run.data.scenario])
    assert {(run.arm, run.classes) for run in runs if run.classes} == {
        ("reg_cls", 4),
        ("reg_cls", 64),
        ("reg_cls_bal", 64),
    }
