"""Fig. 4 and Table 1 from synthetic rows: win rates and best lambda against loops, figure, report."""

from itertools import product

import numpy as np
import pandas as pd
import pytest
from report_rows import complete, texts, write_study

from regcls_jax.report.build import report
from regcls_jax.report.drawing import render
from regcls_jax.report.paper.fig4 import at_best_lambda, best_lambda, fig4_tables
from regcls_jax.report.paper.lambda_figure import fig4_figure
from regcls_jax.report.paper.published import published_table1
from regcls_jax.report.paper.tab1 import tab1_tables, table1
from regcls_jax.store.rows import read_rows

LAMBDAS, CLASSES = (0.1, 1.0, 100.0), (4, 64)
SCENARIOS, SAMPLINGS, FUNCTIONS, REPETITIONS = ("clean", "noisy"), ("uniform", "severe"), 3, 2
SPLITS = ("val", "val_balanced", "test")
ARMS = [(arm, 0, 1.0) for arm in ("reg", "reg_no_decay", "constant", "median")]
ARMS += [("reg_x_lambda", 0, lam) for lam in LAMBDAS]
ARMS += list(product(("reg_cls", "reg_cls_bal"), CLASSES, LAMBDAS))


def study(seed=0, arms=tuple(ARMS)):
    """Random errors: every statistic of every cell differs."""
    cells = product(SPLITS, SCENARIOS, SAMPLINGS, range(FUNCTIONS), range(REPETITIONS), arms)
    frame = pd.DataFrame([(*cell, *arm) for *cell, arm in cells])
    frame.columns = ["split", "scenario", "sampling", "function", "repetition", "arm", "classes", "lam"]
    frame["mse"] = np.random.default_rng(seed).lognormal(size=len(frame))
    frame["noise"] = np.where(frame["scenario"] == "noisy", 0.1, 0.0)
    return complete(frame.assign(balanced=frame["arm"] == "reg_cls_bal"))


def errors(rows):
    """mse by (split, scenario, sampling, function, repetition, arm, classes, lam); lam 0 for the trivial predictors."""
    keys = ["split", "scenario", "sampling", "function", "repetition", "arm", "classes", "lam"]
    return {tuple(line[:-1]): line[-1] for line in rows.fillna({"lam": 0.0})[[*keys, "mse"]].itertuples(index=False)}


def rate(found, split, scenario, samplings, arm, baseline, lambdas=LAMBDAS):
    wins = total = 0
    for sampling, function, repetition in product(samplings, range(FUNCTIONS), range(REPETITIONS)):
        where = (split, scenario, sampling, function, repetition)
        for lam, classes in product(lambdas, CLASSES):
            other = found[(*where, baseline, 0, lam if baseline == "reg_x_lambda" else 1.0)]
            wins += found[(*where, arm, classes, lam)] < other
            total += 1
    return wins / total


@pytest.mark.parametrize("split", ["val", "val_balanced"])
def test_table1_against_loops(split):
    rows = study()
    found = errors(rows)
    ours = table1(rows[rows["split"] == split]).set_index(["arm", "scenario", "sampling"])
    assert len(ours) == 2 * 2 * 3
    for (arm, scenario, sampling), line in ours.iterrows():
        samplings = SAMPLINGS if sampling == "avg" else [sampling]
        assert line["n"] == len(samplings) * FUNCTIONS * REPETITIONS * len(LAMBDAS) * len(CLASSES)
        for baseline in ("reg", "reg_x_lambda"):
            where = found, split, scenario, samplings, arm, baseline
            assert line[f"rate_{baseline}"] == pytest.approx(rate(*where), abs=1e-12)
            assert line[f"rate_{baseline}_without_1"] == pytest.approx(rate(*where, (0.1, 100.0)), abs=1e-12)
            for kind in ("wilson", "two_way"):
                ends = line[f"{kind}_{baseline}"]
                assert ends.low < line[f"rate_{baseline}"] < ends.high
        cells = list(product(samplings, range(FUNCTIONS), range(REPETITIONS)))
        for trivial in ("constant", "median"):
            beaten = [
                found[(split, scenario, *cell, trivial, 0, 0.0)] < found[(split, scenario, *cell, "reg", 0, 1.0)]
                for cell in cells
            ]
            assert line[trivial] == pytest.approx(np.mean(beaten), abs=1e-12)


def test_published_table1_counts_eight_lambdas():
    theirs = published_table1()
    assert len(theirs) == 16
    # The row "Avg" of the paper.
    means = theirs.groupby(["arm", "scenario"])["percent"].mean()
    printed = {("reg_cls", "clean"): 48.48, ("reg_cls", "noisy"): 55.31}
    printed |= {("reg_cls_bal", "clean"): 49.60, ("reg_cls_bal", "noisy"): 57.42}
    for key, value in printed.items():
        assert means[key] == pytest.approx(value, abs=0.006)
    # 10 functions x 3 repetitions x 5 class counts x 8 lambda = 1,200 (text) or x 7 = 1,050 (caption).
    for runs, whole in ((1200, 16), (1050, 1)):
        nearest = (theirs["percent"] * runs / 100).round() * 100 / runs
        assert (nearest.round(2) == theirs["percent"]).sum() == whole


def test_published_average_is_over_the_samplings_that_we_ran():
    rows = study()
    ours = table1(rows[rows["split"] == "val"]).set_index(["arm", "scenario", "sampling"])["published"]
    assert ours["reg_cls", "clean", "avg"] == pytest.approx((0.5542 + 0.3683) / 2, abs=1e-12)
    assert ours["reg_cls_bal", "noisy", "severe"] == pytest.approx(0.4625, abs=1e-12)


def test_best_lambda_against_a_loop():
    rows = study()
    found = errors(rows)
    best = best_lambda(rows[rows["split"] == "val"]).set_index(["scenario", "arm", "classes"])
    assert len(best) == 2 * (3 + 2 * 3)
    for (scenario, arm, classes), line in best.iterrows():
        means = {}
        for lam in LAMBDAS if arm not in ("reg", "reg_no_decay") else (1.0,):
            counts = (0,) if arm.startswith("reg_x") or arm in ("reg", "reg_no_decay") else CLASSES
            counts = (classes,) if classes else counts
            cells = product(SAMPLINGS, range(FUNCTIONS), range(REPETITIONS), counts)
            means[lam] = np.mean([found[("val", scenario, *cell, arm, c, lam)] for *cell, c in cells])
        assert line["lam"] == min(means, key=means.get)
        assert line["mse"] == pytest.approx(min(means.values()), rel=1e-12)


def test_a_lambda_with_a_diverged_run_is_not_chosen():
    rows = study()
    val = rows[rows["split"] == "val"]
    before = best_lambda(val).set_index(["scenario", "arm", "classes"])["lam"]
    bad = before["clean", "reg_cls", 4]
    lost = (val["arm"] == "reg_cls") & (val["classes"] == 4) & (val["lam"] == bad) & (val["scenario"] == "clean")
    val.loc[val.index[lost][0], "mse"] = np.nan
    after = best_lambda(val).set_index(["scenario", "arm", "classes"])["lam"]
    assert after["clean", "reg_cls", 4] not in (bad, np.nan)
    assert after["noisy"].equals(before["noisy"])
    val.loc[(val["arm"] == "reg") & (val["scenario"] == "clean"), "mse"] = np.inf
    assert np.isnan(best_lambda(val).set_index(["scenario", "arm", "classes"])["lam"]["clean", "reg", 0])


def test_every_arm_is_tested_at_its_own_best_lambda():
    rows = study()
    best = best_lambda(rows[rows["split"] == "val"])
    test = rows[rows["split"] == "test"]
    chosen = at_best_lambda(test, best)
    lam = best[best["classes"] == 0].set_index(["scenario", "arm"])["lam"]
    used = chosen.groupby(["scenario", "arm"])["lam"].unique()
    assert {key: list(value) for key, value in used.items()} == {key: [value] for key, value in lam.items()}
    worth = next(t.frame for t in fig4_tables(rows) if t.title.endswith("worth at the best λ on val"))
    line = worth[(worth["scenario"] == "clean") & (worth["sampling"] == "imbalanced") & (worth["arm"] == "reg+cls")]
    line = line[line["baseline"] == "reg×λ"].iloc[0]
    found = errors(test)
    differences = [
        found[("test", "clean", "severe", f, r, "reg_cls", c, lam["clean", "reg_cls"])]
        - found[("test", "clean", "severe", f, r, "reg_x_lambda", 0, lam["clean", "reg_x_lambda"])]
        for f, r, c in product(range(FUNCTIONS), range(REPETITIONS), CLASSES)
    ]
    assert line["difference"] == f"{np.mean(differences):+.3f}"
    assert line["pairs"] == str(len(differences))


def test_every_table_has_the_trivial_predictors():
    made = tab1_tables(study())
    assert len(made) == 2 + 2 * 3
    for table in made:
        assert {"constant", "median"} <= set(table.frame), table.title
        assert not table.frame.isna().any().any(), table.title
    titles = [table.title for table in made]
    assert titles[:2] == ["Table 1 on val", "Table 1 on val_balanced"]  # as published first
    curves = next(table.frame for table in made if table.title == "MSE over λ on val")
    reg = curves[(curves["arm"] == "reg") & (curves["scenario"] == "clean")].iloc[0]
    assert reg[["λ 0.1", "λ 100"]].tolist() == ["–", "–"]


def test_a_missing_partner_at_one_lambda_is_an_error():
    rows = study()
    lost = (rows["arm"] == "reg_x_lambda") & (rows["lam"] == 100.0) & (rows["function"] == 1)
    with pytest.raises(ValueError, match="lack a partner; first: no reg_x_lambda"):
        tab1_tables(rows[~lost])


def test_figure_is_complete_and_reproducible():
    first, second = (render(fig4_figure(study())) for _ in range(2))
    assert first == second
    words = texts(first["svg"])
    titles = [f"{b} · {c} · {a}" for a, b, c in product(["own val", "uniform val"], SCENARIOS, SAMPLINGS)]
    assert [word for word in words if " · " in word] == titles
    for name in ("reg", "reg+cls, 4", "reg+cls, 64", "reg×λ", "reg, no decay"):
        assert words.count(name) == 1  # the legend stands once


def test_figure_draws_only_what_is_there():
    rows = study()
    rows = rows[~((rows["scenario"] == "noisy") & (rows["sampling"] == "severe")) & (rows["arm"] != "reg_x_lambda")]
    rows.loc[rows.index[0], "mse"] = np.nan
    words = texts(render(fig4_figure(rows, "paper"))["svg"])
    assert words.count("not run") == 2
    assert words.count("1 diverged") == 1
    assert "reg×λ" not in words


def test_report_and_export(tmp_path):
    rows = study()
    workdir = write_study(tmp_path / "run", rows, "tab1")
    printed = report(workdir, export=tmp_path / "out")
    assert "Table 1 on val_balanced" in printed
    trained = 2 * 2 * 6 * (2 + 3 + 2 * 6)
    assert f"{trained + 2 * 2 * 6 * 2} trained models and trivial predictors" in (tmp_path / "out/table.md").read_text()
    kept = read_rows(tmp_path / "out")
    assert len(kept) == len(rows)
    assert set(kept["split"]) == set(SPLITS)
    report(tmp_path / "out", export=tmp_path / "again")
    assert (tmp_path / "out/rows.csv.gz").read_bytes() == (tmp_path / "again/rows.csv.gz").read_bytes()


def test_fig4_needs_no_balanced_classes_but_both_validation_sets(tmp_path):
    rows = study(arms=tuple(arm for arm in ARMS if arm[0] != "reg_cls_bal"))
    assert "Best λ on val" in report(write_study(tmp_path / "run", rows, "fig4"))
    with pytest.raises(ValueError, match="none of the .* is of the val_balanced split"):
        report(write_study(tmp_path / "lacks", rows[rows["split"] != "val_balanced"], "fig4"))
