"""The report of section 2.2 in training: means, paired gaps, the figure, from a study and from its export."""

import importlib

import numpy as np
import pandas as pd
import pytest
from report_rows import texts
from scipy import stats
from trace_lines import SPLITS, results, synthetic_trace

from regcls_jax.report.drawing import render
from regcls_jax.report.paper.theory import log_variance, pairs_of, theory_figure, theory_tables
from regcls_jax.report.statistics import two_way_interval
from regcls_jax.report.tables import markdown
from regcls_jax.store.rows import write_csv_atomic
from regcls_jax.store.traces import QUANTITIES, export_files, read_trace, summarise
from regcls_jax.study.runs import expand


@pytest.fixture(scope="module")
def trace():
    return synthetic_trace()


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
    balanced, own, *_ = theory_tables(rows, results(trace))
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
    assert "a gap below 0 says" in balanced.note
    assert "†" not in balanced.note + markdown(frame)


def test_what_equalised_classes_bias_is_marked(rows, trace):
    renamed = trace.assign(balanced=trace["classes"] == 64)
    balanced, *_ = theory_tables(rows, results(renamed))
    marked = balanced.frame.map(lambda cell: cell.endswith(" †"))
    columns = ["Eq. 9", "Eq. 11 − Eq. 9", "true class's share", "corr. Eq. 8, 9"]
    assert marked.columns[marked.any()].tolist() == columns
    assert balanced.frame["classes"][marked["Eq. 9"]].tolist() == ["64", "64"]
    assert marked.sum().max() == 2
    assert "† Equalised classes differ in width" in balanced.note


def test_the_gap_is_compared_run_by_run(rows, trace):
    *_, balanced, _ = theory_tables(rows, results(trace))
    assert balanced.title == "Is the gap smaller with classes, or with a better fit? On val_balanced"
    assert balanced.note.startswith("arm − baseline")
    frame = balanced.frame
    assert len(frame) == 2 * (2 + 2 + 1)  # samplings; against reg and reg×λ with 4 and 64 classes; reg×λ against reg
    part = trace[(trace["sampling"] == "severe") & (trace["split"] == "val_balanced") & (trace["epoch"] == 2)]
    gaps = {arm: part[(part["arm"] == arm) & part["classes"].isin([0, 4])] for arm in ("reg", "reg_cls")}
    difference = np.subtract(*(gaps[arm]["l_extra_gaussian"].to_numpy(float) for arm in ("reg_cls", "reg")))
    pairs = pairs_of("l_extra_gaussian", part, "reg_cls", "reg").query("classes == 4")
    np.testing.assert_allclose(np.sort(pairs["arm"] - pairs["baseline"]), np.sort(difference))
    ends = two_way_interval(difference, *(gaps["reg"][name].to_numpy() for name in ("function", "repetition")))
    line = frame[(frame["sampling"] == "severe") & (frame["baseline"] == "reg") & (frame["classes"] == "4")].iloc[0]
    assert line["gap"] == f"{difference.mean():+.3f}"
    assert line["gap, two-way 95 %"] == f"[{ends.low:+.3f}, {ends.high:+.3f}]"
    assert line["size of the gap"] == f"{-difference.mean():+.3f}"  # all gaps are negative
    assert (line["pairs"], line["smaller %"], line["constant"]) == ("6", "100.0", "0.750")
    with pytest.raises(ValueError, match="lack a partner"):
        theory_tables(rows, results(trace[trace["run"] != 0]))


def test_the_fit_stands_beside_the_gap(rows, trace):
    """Training MSE 0.3, 0.4, 0.5, 0.6 of the four models on every data set, but for the last function's reg: 0.9."""
    worse = (trace["arm"] == "reg") & (trace["function"] == 2) & (trace["split"] == "train")
    given = trace.assign(mse=trace["mse"].where(~worse, 0.9))
    *_, balanced, _ = theory_tables(rows, results(given))
    against_reg = np.log([0.4, 0.5, 0.6])[:, None] - np.log([0.3, 0.3, 0.9])
    shown = balanced.frame[balanced.frame["sampling"] == "severe"].set_index(["classes", "baseline"])["log σ²"]
    for line, wanted in zip([("–", "reg"), ("4", "reg"), ("64", "reg")], against_reg.mean(axis=1), strict=True):
        assert shown[line] == f"{wanted:+.3f}"
    assert shown["4", "reg×λ"] == f"{np.log(0.5 / 0.4):+.3f}"
    size = given[(given["epoch"] == 2) & (given["split"] == "val_balanced")].copy()
    size["size"] = size["l_extra_gaussian"].abs()
    keys = ["sampling", "function", "repetition"]
    both = size[size["arm"] == "reg"].merge(size[size["arm"] != "reg"], on=keys, suffixes=("_reg", ""))
    own = np.where(both["function"] == 2, 0.9, 0.3)
    ranks = stats.spearmanr(both["size"] - both["size_reg"], np.round(np.log(both["mse"] / own), 5)).statistic
    mean = np.log([0.5, 0.6, 0.4]).mean() - np.log([0.3, 0.3, 0.9]).mean()
    assert f"against reg {mean:+.3f} ({ranks:+.3f})" in balanced.note
    final = results(given.assign(trace="lambda")).final
    np.testing.assert_allclose(log_variance(final), -np.log(2 * final["lam"]))


def test_a_diverged_run_is_counted_and_left_out(rows, trace):
    lost = (trace["arm"] == "reg") & (trace["function"] == 0) & (trace["repetition"] == 0)
    broken = trace.assign(**{name: trace[name].mask(lost) for name in QUANTITIES})
    means, _, comparisons, _ = theory_tables(rows, results(broken))
    assert not any("nan" in cell for cell in markdown(means.frame).split("|"))
    assert sorted(set(means.frame["runs"])) == ["5", "6"]
    assert set(comparisons.frame.loc[comparisons.frame["baseline"] == "reg", "diverged"]) == {"1"}


def test_the_figure_has_every_cell_and_arm(trace):
    words = texts(render(theory_figure(results(trace)))["svg"])
    for word in ("clean · uniform", "clean · severe", "gap (Eq. 8)", "epoch", "reg×λ", "reg+cls, 4", "reg+cls, 64"):
        assert word in words
    first, second = (render(theory_figure(results(trace), "val"))["svg"] for _ in range(2))
    assert first == second


def test_an_export_gives_the_same_tables_and_figure(rows, trace, tmp_path):
    """A study on disk, its runs in no order in two files; one run diverged."""
    lost = (trace["run"] == 5) & (trace["epoch"] > 0)
    trace = trace.assign(**{name: trace[name].mask(lost) for name in QUANTITIES})
    (tmp_path / "trace").mkdir()
    for name, rest in (("a", 1), ("b", 0)):
        part = trace[trace["run"] % 2 == rest]
        write_csv_atomic(part.iloc[::-1], tmp_path / "trace" / f"{name}.csv.gz")
    studied = read_trace(tmp_path)
    pd.testing.assert_frame_equal(studied.curves, summarise(trace), rtol=1e-5, check_dtype=False)
    export = tmp_path / "export"
    export.mkdir()
    files = export_files(studied, ("val_balanced", "val"))
    for name, frame in files.items():
        write_csv_atomic(frame, export / name)
    exported = read_trace(export)
    made, again = (theory_tables(rows, found) for found in (studied, exported))
    assert len(made) == 4
    for table, same in zip(made, again, strict=True):
        assert (table.title, table.note) == (same.title, same.note)
        pd.testing.assert_frame_equal(table.frame, same.frame)
    drawn, redrawn = (texts(render(theory_figure(found))["svg"]) for found in (studied, exported))
    assert drawn == redrawn
    # An export of the export is the export.
    for name, frame in export_files(exported, ("val_balanced", "val")).items():
        pd.testing.assert_frame_equal(frame, files[name], check_dtype=False, check_exact=True)


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
