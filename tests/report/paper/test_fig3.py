"""The report of Fig. 3 from synthetic rows: tables, the acceptance check, figure and export."""

import json
import os
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from itertools import product

import numpy as np
import pandas as pd
import pytest
from fig3_study import EFFECT, study, write_study
from paths import LAUNCH

from regcls_jax.report.build import build, export_rows, report
from regcls_jax.report.drawing import fig3_figure, render
from regcls_jax.report.paper.fig3 import agreement, beside_published, fig3_tables, ours_fig3
from regcls_jax.report.paper.published import published_fig3
from regcls_jax.store.rows import read_rows, write_csv_atomic

LAUNCHER = LAUNCH / "report.py"


def table(tables, title):
    return next(made.frame for made in tables if made.title == title)


def test_ours_against_a_loop():
    rows = study()
    line = ours_fig3(rows).set_index(["scenario", "sampling", "classes"]).loc[("clean", "mild", 64)]
    errors = {"reg": [], "reg_cls": []}
    for row in rows.itertuples():
        if (row.scenario, row.sampling) == ("clean", "mild") and (row.arm, row.classes) in (
            ("reg", 0),
            ("reg_cls", 64),
        ):
            errors[row.arm].append(row.mse)
    assert (line["n"], line["wins"]) == (6, 6)
    assert line["reg_mean"] == pytest.approx(sum(errors["reg"]) / 6, rel=1e-12)
    assert line["reg_cls_mean"] == pytest.approx(sum(errors["reg_cls"]) / 6, rel=1e-12)


def test_published_is_pooled_over_the_class_counts_that_we_ran():
    beside = beside_published(study()).set_index(["scenario", "sampling", "classes"])
    published = published_fig3().set_index(["scenario", "sampling", "classes"])
    both = [published.loc[("noisy", "severe", c)] for c in (4, 64)]
    pooled = beside.loc[("noisy", "severe", 0)]
    assert pooled["win_rate_published"] == (both[0]["wins"] + both[1]["wins"]) / 100
    assert pooled["reg_cls_mean_published"] == pytest.approx(np.mean([b["reg_cls_mean"] for b in both]), rel=1e-12)
    assert pooled["gap"] == pytest.approx(0.31 * 0.425, rel=1e-9)  # mean reg .425; effects .7 and .68
    assert pooled["difference"] == pytest.approx(-0.31 * 0.425, rel=1e-9)


def test_published_numbers_agree_with_themselves():
    beside = beside_published(study())
    names = ["reg_mean", "reg_cls_mean", "win_rate", "difference"]
    same = beside.assign(**{name: beside[f"{name}_published"] for name in names})
    checks = agreement(same)
    assert len(checks) == 2 * 4 * 5
    assert checks["passed"].all()


@pytest.mark.parametrize(
    ("change", "failed"),
    [
        ({"reg_mean": 0.0801}, {"reg"}),
        ({"reg_mean": 0.0799}, set()),
        ({"reg_cls_mean": -0.0801}, {"reg+cls"}),
        ({"win_rate": -0.15}, set()),
        ({"win_rate": -0.1501}, {"wins"}),
        ({"difference": 1.0}, {"sign", "order"}),
        ({"win_rate": np.nan, "difference": np.nan}, {"sign", "order", "wins"}),
    ],
)
def test_a_departure_from_the_published_cell_fails(change, failed):
    beside = beside_published(study())
    names = ["reg_mean", "reg_cls_mean", "win_rate", "difference"]
    beside = beside.assign(**{name: beside[f"{name}_published"] for name in names})
    here = (beside["scenario"] == "clean") & (beside["sampling"] == "severe")
    for name, shift in change.items():
        beside.loc[here, name] += shift
    checks = agreement(beside)
    cell = checks[(checks["scenario"] == "clean") & (checks["sampling"] == "severe")]
    assert set(cell.loc[~cell["passed"], "check"]) == failed


def test_a_study_of_full_size_shows_failures():
    rows = study(functions=10, repetitions=5)
    agreed = next(made for made in fig3_tables(rows) if made.title == "Agreement with the published runs")
    passed = int(agreement(beside_published(rows))["passed"].sum())
    # Ours is better by construction; published, clean uniform with 4 and 64 classes is .00004 worse.
    assert agreed.note.startswith(f"{passed} of 40 checks pass; failed: clean uniform sign, clean uniform wins, ")
    assert agreed.frame.iloc[0]["sign"] == "-1 / 1 FAIL"
    assert agreed.console is not None


def test_tables_show_every_comparison():
    made = fig3_tables(study())
    pairs = table(made, "Paired comparisons")
    severe = pairs[(pairs["scenario"] == "clean") & (pairs["sampling"] == "severe")]
    named = set(zip(severe["arm"], severe["classes"], severe["baseline"], strict=True))
    assert named == {
        *product(["reg+cls"], ["all", "4", "64"], ["reg", "reg×λ"]),
        ("reg+cls, no decay", "64", "reg, no decay"),
        ("reg×λ", "–", "reg"),
        ("reg, no decay", "–", "reg"),
    }
    best = severe[(severe["classes"] == "64") & (severe["baseline"] == "reg")].iloc[0]
    assert (best["pairs"], best["wins %"], best["difference"]) == ("6", "100.0", "-0.136")  # .425 × −.32
    controls = table(made, "Controls").set_index(["scenario", "sampling"])
    assert controls.loc[("ood", "mild"), "reg×λ"] == "0.412"  # .425 × .97
    assert controls.loc[("ood", "mild"), "reg+cls, no decay (64)"] == "0.378"  # .425 × .89
    overall = table(made, "Ours beside published, class counts pooled").set_index(["scenario", "sampling"])
    assert overall.loc[("clean", "mild"), ["constant", "median"]].tolist() == ["0.850", "0.935"]


def test_what_the_rows_do_not_hold_is_left_out():
    rows = study(("clean",), ("severe",))
    made = fig3_tables(rows[rows["arm"] == "reg"])
    assert [made_table.title for made_table in made] == ["Controls"]
    assert made[0].frame.iloc[0].tolist() == ["clean", "severe", "0.425", "–", "–", "–"]
    one = fig3_tables(rows[rows["classes"] != 64])
    assert set(table(one, "Paired comparisons")["classes"]) == {"4", "–"}


def test_a_run_without_partner_is_an_error_not_a_smaller_table():
    rows = study()
    lost = (rows["arm"] == "reg") & (rows["sampling"] == "mild") & (rows["function"] == 1)
    with pytest.raises(ValueError, match="lack a partner"):
        fig3_tables(rows[~lost])


def texts(svg):
    return [text.text for text in ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")]


def test_figure_is_complete_and_reproducible():
    first, second = (render(fig3_figure(study())) for _ in range(2))
    assert first == second
    assert first["png"].startswith(b"\x89PNG")
    words = texts(first["svg"])
    titles = [f"{a} · {b}" for a, b in product(["clean", "noisy", "ood"], EFFECT)]
    assert [word for word in words if " · " in word] == titles
    assert words.count("gap 0.132 (-0.132)") == 3  # severe: .425 × .31
    for name in ("reg", "reg+cls", "reg×λ", "reg, no decay"):
        assert words.count(name) == 1  # the legend stands once


def test_figure_draws_only_what_is_there():
    rows = study(("clean", "ood"), ("mild", "severe"))
    rows = rows[(rows["classes"] != 4) & ~((rows["scenario"] == "ood") & (rows["sampling"] == "mild"))]
    rows.loc[rows.index[0], "mse"] = np.nan
    words = texts(render(fig3_figure(rows, "paper"))["svg"])
    assert [w for w in words if " · " in w] == [
        "clean · mild",
        "clean · severe",
        "ood · mild",
        "ood · severe",
    ]
    assert words.count("not run") == 1
    assert words.count("1 diverged") == 1


def test_an_off_scale_constant_is_noted_and_a_near_one_drawn():
    rows = study(("clean",), ("mild",))
    assert "constant 0.85 ↑" in texts(render(fig3_figure(rows))["svg"])
    near = rows.assign(mse=rows["mse"].where(rows["arm"] != "constant", 0.45))
    assert "constant" in texts(render(fig3_figure(near))["svg"])  # its legend entry


def test_report_and_export(tmp_path):
    workdir = write_study(tmp_path / "run")
    printed = report(workdir, export=tmp_path / "out")
    assert "negative means that the arm is better" in printed
    assert "No run diverged" in printed
    page = (workdir / "report" / "table.md").read_text()
    assert "negative means that the arm is better" in page
    assert "- command: study --x" in page
    names = {"table.md", *(f"{name}.{kind}" for name in ("answer", "figure", "differences") for kind in ("png", "svg"))}
    assert {path.name for path in (workdir / "report").iterdir()} == names
    assert {p.name for p in (tmp_path / "out").iterdir()} == names | {
        "rows.csv.gz",
        "config.json",
        "meta.json",
    }
    rows = read_rows(tmp_path / "out")
    assert set(rows["split"]) == {"test"}
    assert [str(value) for value in rows["mae"].astype(np.float32)] == [repr(value) for value in rows["mae"].tolist()]
    report(tmp_path / "out", export=tmp_path / "again")  # an export is a work directory too, of the same rows
    exports = [(tmp_path / name / "rows.csv.gz").read_bytes() for name in ("out", "again")]
    assert exports[0] == exports[1]


def test_an_export_of_full_size_stays_small(tmp_path):
    rng = np.random.default_rng(0)
    rows = pd.concat([study(functions=10, repetitions=5)] * 2, ignore_index=True)[:6600]
    rows["mse"] = rng.lognormal(size=len(rows)).astype(np.float32)
    rows["mae"] = rng.lognormal(size=len(rows)).astype(np.float32)
    write_csv_atomic(export_rows(rows), tmp_path / "rows.csv.gz")
    assert len(rows) == 6600
    assert (tmp_path / "rows.csv.gz").stat().st_size < 300_000


def test_diverged_runs_are_reported_and_counted(tmp_path):
    rows = study(("ood",), ("mild", "severe"))
    rows.loc[(rows["arm"] == "reg_cls") & (rows["classes"] == 4) & (rows["function"] == 2), "mse"] = np.inf
    assert "**4 run(s) diverged**" in report(write_study(tmp_path / "run", rows))
    page = (tmp_path / "run" / "report" / "table.md").read_text()
    assert "**4 run(s) diverged**" in page
    assert "inf" not in page.split("## ", 1)[1]


def test_many_diverged_runs_are_counted_not_listed(tmp_path):
    rows = study(("ood",), ("mild", "severe"), functions=4)
    rows.loc[rows["arm"] == "reg_cls", "mse"] = np.inf  # 2 samplings x 4 functions x 2 repetitions x 2 class counts
    remarks = build(write_study(tmp_path / "run", rows)).remarks
    assert "**32 run(s) diverged**" in remarks
    assert [line.split()[1:8:2] for line in remarks.splitlines()[-2:]] == [
        ["reg_cls", "ood", "mild", "16"],
        ["reg_cls", "ood", "severe", "16"],
    ]


def test_bad_work_directories_are_named(tmp_path):
    with pytest.raises(OSError, match=r"config\.json is not a readable JSON"):
        report(tmp_path)
    (tmp_path / "config.json").write_text("[]")
    with pytest.raises(OSError, match="it holds no object"):
        report(tmp_path)
    with pytest.raises(ValueError, match="none of the .* is of the test split"):
        report(write_study(tmp_path / "val", study().assign(split="val")))


def launch(*arguments):
    environment = os.environ | {"PYTHONPATH": str(LAUNCHER.parents[1])}
    return subprocess.run([sys.executable, LAUNCHER, *arguments], env=environment, capture_output=True, text=True)


def test_launcher(tmp_path):
    workdir = write_study(tmp_path / "run", study(("clean",), ("mild",)))
    done = launch(f"--workdir={workdir}", "--shading=paper")
    assert done.returncode == 0, done.stderr
    assert "Ours beside published" in done.stdout
    assert (workdir / "report" / "figure.svg").exists()
    wrong = launch(f"--workdir={tmp_path / 'nowhere'}")
    assert wrong.returncode == 1
    assert wrong.stderr.startswith("error: ")
    assert "Traceback" not in wrong.stderr


def test_a_single_run_per_cell_has_means_but_no_intervals():
    rows = study(("clean",), ("uniform", "severe"), functions=1, repetitions=1)
    pairs = table(fig3_tables(rows), "Paired comparisons")
    single = pairs[(pairs["classes"] == "4") & (pairs["sampling"] == "severe")].iloc[0]
    intervals = ["difference, paired t 95 %", "difference, two-way 95 %"]
    assert single[["difference", *intervals]].tolist() == ["-0.120", "–", "–"]  # .4 × −.3
    assert "gap 0.124 (-0.124)" in texts(render(fig3_figure(rows))["svg"])  # .4 × .31


def test_an_unfinished_study_is_not_reported(tmp_path):
    workdir = write_study(tmp_path / "run", study(("clean",), ("mild",)))
    (workdir / "rows" / "reg_no_decay.csv.gz").unlink()
    with pytest.raises(ValueError, match="6 trainings are still to be done; run launch/study.py"):
        report(workdir)


def test_a_study_without_a_complete_class_count_is_not_reported(tmp_path):
    workdir = write_study(tmp_path / "run", study(("clean",), ("mild",)))
    for arm in ("reg_cls", "reg_cls_no_decay"):
        (workdir / "rows" / f"{arm}.csv.gz").unlink()
    with pytest.raises(ValueError, match="no class count is complete yet, 18 of 36 trainings are still to be done"):
        build(workdir, unfinished=True)


def test_an_arm_with_a_budget_is_complete_or_left_out(tmp_path):
    workdir = write_study(tmp_path / "run", study(("clean",), ("mild",)))
    config = json.loads((workdir / "config.json").read_text())
    (workdir / "config.json").write_text(json.dumps(config | {"budget": 1}))
    (workdir / "rows" / "reg_no_decay.csv.gz").unlink()
    made = build(workdir, unfinished=True)
    assert made.remarks.startswith("**Unfinished: 6 of")
    assert "Left out: reg, no decay." in made.remarks


def test_an_unfinished_study_is_reported_when_asked_for_without_what_is_not_complete(tmp_path):
    rows = study(("clean",), ("mild",))
    whole = build(write_study(tmp_path / "whole", rows), unfinished=True)
    assert "Unfinished" not in whole.remarks
    workdir = write_study(tmp_path / "run", rows)
    path = workdir / "rows" / "reg_cls.csv.gz"
    trained = pd.read_csv(path)
    last = trained.loc[trained["classes"] == 64, "run"].max()
    write_csv_atomic(trained[trained["run"] != last], path)
    made = build(workdir, unfinished=True)
    total = rows.loc[rows["run"] >= 0, "run"].nunique()
    assert f"**Unfinished: 1 of {total} trainings are still to be done.**" in made.remarks
    assert "Left out: reg+cls with 64 classes." in made.remarks
    # An export that cannot be continued is refused.
    refused = launch(f"--workdir={workdir}", "--unfinished", f"--export={tmp_path / 'no'}")
    assert refused.stderr == "error: --export takes a finished study: its folder could not be continued\n"
    # One missing training takes its class count with it, and nothing else.
    left = whole.rows[(whole.rows["arm"] != "reg_cls") | (whole.rows["classes"] != 64)]
    pd.testing.assert_frame_equal(made.rows, left.reset_index(drop=True))
