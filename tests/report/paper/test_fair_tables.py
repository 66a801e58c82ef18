"""The tables and figures of fair tuning, from synthetic rows and from a real small study."""

import numpy as np
import pandas as pd
import pytest
from fair_rows import BUDGET, KEYS, SAMPLINGS, study
from report_rows import round_trip, texts

from configs import fair as config
from regcls_jax.report.drawing import render
from regcls_jax.report.paper import fair
from regcls_jax.report.paper.edges import edge
from regcls_jax.report.paper.fair_figure import budget_figure, differences_figure
from regcls_jax.report.paper.fair_tables import fair_tables
from regcls_jax.store.rows import read_rows
from regcls_jax.study.engine import run_study


@pytest.fixture(scope="module")
def made():
    return fair_tables(study())


def test_every_table_has_the_trivial_predictors(made):
    rows = study()
    for on in ("own val", "uniform val"):
        assert f"**Picked on {on}**" in made[0].note
    assert made[0].note.count("- **reg+cls − reg** (clean, noisy · imbalanced): mean ") == 2
    assert "post hoc" not in made[0].note
    assert made[0].frame["median difference"].str.fullmatch(r"[+-]\d\.\d{4}").all()
    assert [table.title for table in made] == [
        "What classification is worth after fair tuning",
        "Test MSE after fair tuning",
        "Which settings were picked",
        "Test MSE over the budget",
        "Difference from reg over the budget",
    ]
    for table in made:
        assert {"constant", "median"} <= set(table.frame), table.title
        assert not table.frame.isna().any().any(), table.title
    means = made[1].frame.set_index(["picked on", "scenario", "sampling"])
    constant = rows[(rows["split"] == "test") & (rows["arm"] == "constant") & (rows["sampling"] == "mild")]
    assert means.loc[("own val", "clean, noisy", "mild"), "constant"] == f"{constant['mse'].mean():.3f}"
    assert set(means.index.levels[0]) == {"own val", "uniform val", "test (oracle, a bound)"}
    # The last budget is the study itself.
    over = made[3].frame.set_index(["picked on", "scenario", "sampling", "arm"])[f"{BUDGET} runs"]
    for (on, scenario, sampling, arm), text in over.items():
        assert means.loc[(on, scenario, sampling), arm] == text


def test_shares_of_the_picked_settings(made):
    table = made[2].frame.set_index(["picked on", "scenario", "sampling", "arm"])
    picks = fair.select(study(), "val")
    mine = picks[(picks["scenario"] == "clean") & (picks["sampling"] == "uniform") & (picks["arm"] == "reg_cls")]
    line = table.loc[("own val", "clean", "uniform", "reg+cls")]
    for count in (4, 16, 64):
        assert f"{count}: {100 * (mine['classes'] == count).mean():.0f} %" in line["classes"]
    # Decay 1e-3 in all rows, scale 1 or 10.
    first, second = line["decay / scale"].split(", ")
    assert first == f"0.0001: {100 * (mine['scale'] == 10).mean():.0f} %"
    assert second.startswith("0.001: ")
    assert f"classes− {100 * (mine['classes'] == 4).mean():.0f} %" in line["at the edge"]
    assert f"λ+ {100 * (mine['lam'] == 100).mean():.0f} %" in line["at the edge"]
    assert "lr" not in line["at the edge"]  # all rows have one learning rate


def fine_study():
    """`study` with an arm of unround settings."""
    rows = study()
    fine = rows[rows["arm"] == "reg"].assign(arm="reg_fine", run=rows["run"] + 100_000)
    draw = fine["run"] % 5
    fine = fine.assign(learning_rate=np.geomspace(3e-4, 3e-2, 5).round(6)[draw], weight_decay=1e-3 / 7.0**draw)
    return pd.concat([rows, fine.assign(weight_decay=fine["weight_decay"].where(draw < 4, 0.0))], ignore_index=True)


def test_fine_grids_are_binned_and_named_as_post_hoc():
    made = fair_tables(fine_study())
    assert "reg, fine grid is post hoc" in made[0].note
    table = made[2].frame
    mine = table[table["arm"] == "reg, fine grid"]
    for column, allowed in {
        "learning rate": {"0.0003", "0.001", "0.003", "0.01", "0.03"},
        "decay / scale": {"0", *(f"{10.0**power:g}" for power in range(-8, -2))},
    }.items():
        cells = [dict(part.split(": ") for part in cell.split(", ")) for cell in mine[column]]
        assert set().union(*cells) <= allowed
        assert all(abs(sum(int(share.removesuffix(" %")) for share in cell.values()) - 100) <= 3 for cell in cells)
    assert not mine["at the edge"].str.contains("decay−").any()  # 0 was among its decays
    assert mine["at the edge"].str.contains(r"lr\+").any()


def test_the_note_counts_large_lambdas_among_the_imbalanced_picks():
    rows = study()
    rows["lam"] *= np.where(rows["arm"] == "reg_cls", 10.0, 1.0)  # up to 1e3 for reg_cls, 1e2 for reg_cls_bal
    note = fair_tables(rows)[2].note
    for on, name in (("val", "own val"), ("val_balanced", "uniform val")):
        picks = fair.select(rows, on)
        mine = picks[(picks["sampling"] != "uniform") & (picks["arm"] == "reg_cls")]
        assert 0 < (share := (mine["lam"] >= 1e3).mean()) < 1
        assert f"reg+cls {100 * share:.0f} % ({name}), reg+cls bal 0 % ({name})" in note


def test_edges():
    tried = pd.Series([0.1, 1.0, 10.0])
    assert edge(pd.Series([10.0, 1.0, 0.1]), tried).tolist() == ["+", "", "−"]
    assert edge(pd.Series([0.0, 1.0]), pd.Series([0.0, 0.5, 1.0])).tolist() == ["", "+"], "nothing lies below 0"
    assert edge(pd.Series([1.0]), pd.Series([1.0, 1.0])).tolist() == [""], "one value is no grid"


@pytest.mark.parametrize("figure", [budget_figure, differences_figure])
def test_figures_are_complete_and_reproducible(figure):
    first, second = (render(figure(study(), "std")) for _ in range(2))
    assert first == second
    words = texts(first["svg"])
    drawn = "" if figure is budget_figure else " − reg"
    assert words.count(f"reg+cls{drawn}") == words.count(f"reg+cls bal{drawn}") == 1  # the legend stands once
    if figure is budget_figure:
        titles = [f"{s} · {on}" for on in ("own val", "uniform val") for _ in range(2) for s in SAMPLINGS]
        assert [word for word in words if " · " in word] == titles
    else:
        assert [word for word in words if "clean, noisy" in word] == [
            f"clean, noisy · {s}" for s in ("imbalanced", *SAMPLINGS)
        ]


@pytest.mark.parametrize("figure", [budget_figure, differences_figure])
def test_an_arm_that_was_not_run_is_left_out(figure):
    rows = study(arms=("reg", "reg_cls"))
    assert not [word for word in texts(render(figure(rows[rows["scenario"] == "clean"]))["svg"]) if "cls bal" in word]


def test_from_a_config_to_the_tables(tmp_path):
    small = config.get_config("runlocal")
    small.budget, small.run.epochs, small.data.total = 2, 1, 12_000
    small.data.samplings, small.data.functions, small.data.repetitions = ("severe",), 2, 2
    small.arms.reg_cls.classes = (4,)
    del small.arms.reg_cls_bal  # one program less to compile
    assert run_study(small.to_dict(), tmp_path / "run", tmp_path / "cache", progress=False) == 2 * 2 * 3 * 2
    rows = read_rows(tmp_path / "run")
    made = round_trip(tmp_path / "run", tmp_path / "out").tables
    assert "2 trainings each" in made[1].note
    means = made[1].frame
    assert (means["data sets"] == "4").all()
    picks = fair.select(rows, "val_balanced").set_index(KEYS)
    for key, part in rows[(rows["run"] >= 0) & (rows["split"] == "val_balanced")].groupby(KEYS):
        assert picks.loc[key, "validation"] == part["mse"].min()
