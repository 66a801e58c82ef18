"""The capacity study: its grid, picks and intervals from synthetic rows against loops, figures, a tiny real launch."""

import dataclasses
import itertools

import numpy as np
import pandas as pd
import pytest
from capacity_rows import FUNCTIONS, LAMBDAS, RATES, SAMPLINGS, SCALES, SETTING, SIZES, cell_of, pick, study
from report_rows import round_trip, texts

from configs import capacity
from regcls_jax.data.synthetic.problems import data_specs
from regcls_jax.report.drawing import render
from regcls_jax.report.paper.capacity import (
    at_best,
    at_equal_budgets,
    best_settings,
    capacity_tables,
    trained_rows,
    verdict,
    worth,
)
from regcls_jax.report.paper.capacity_figure import heat_figure, size_figure
from regcls_jax.report.statistics import mean_interval
from regcls_jax.study.engine import run_study
from regcls_jax.study.runs import expand


def found_worth(rows):
    """What `worth` finds at the settings picked on val."""
    trained = trained_rows(rows)
    return worth(at_best(trained[trained["split"] == "test"], best_settings(trained[trained["split"] == "val"])))


PANELS = list(itertools.product(SAMPLINGS, ("adam", "sgd"), SIZES, ("reg", "reg_cls")))


@pytest.mark.parametrize("split", ["val", "val_balanced"])
@pytest.mark.parametrize("repetitions", [1, 3])
def test_picks_are_by_the_mean_over_functions_and_repetitions(split, repetitions):
    rows = study(repetitions)
    best = best_settings(trained_rows(rows[rows["split"] == split])).set_index(
        ["sampling", "optimizer", "units", "arm"]
    )
    assert len(best) == len(PANELS)
    for panel in PANELS:
        setting, mean = pick(cell_of(rows, split, *panel))
        line = best.loc[panel]
        assert (line["learning_rate"], line["scale"], line["lam"]) == setting
        assert line["mse"] == pytest.approx(mean, rel=1e-12)
        assert line["settings"] == (8 if panel[-1] == "reg_cls" else 4)
        assert line["lost"] == line["diverged"] == 0


def test_a_setting_good_for_one_function_only_is_not_picked():
    rows = study()
    one = cell_of(rows, "val", "severe", "adam", 4, "reg")
    first = (one[["learning_rate", "scale"]] == [RATES[0], SCALES[0]]).all(axis=1)
    rows.loc[one.index, "mse"] = 1.0
    rows.loc[one.index[first], "mse"] = [0.0, 2.0, 2.0, 2.0]
    best = best_settings(trained_rows(rows[rows["split"] == "val"]))
    line = best[(best["sampling"] == "severe") & (best["optimizer"] == "adam") & (best["units"] == 4)].iloc[0]
    assert (line["arm"], line["mse"]) == ("reg", 1.0)


def test_a_setting_with_a_diverged_run_is_never_picked_and_is_counted():
    rows = study()
    part = cell_of(rows, "val", "severe", "sgd", 64, "reg_cls")
    setting, _ = pick(part)
    at = part.index[(part[["learning_rate", "scale", "lam"]] == list(setting)).all(axis=1)]
    others = part.index.difference(at)
    rows.loc[at, "mse"] = [0.0, 0.0, np.nan, 0.0]  # the best but for one run
    rows.loc[others[:2], "mse"] = np.inf
    best = best_settings(trained_rows(rows[rows["split"] == "val"])).set_index(
        ["sampling", "optimizer", "units", "arm"]
    )
    line = best.loc[("severe", "sgd", 64, "reg_cls")]
    assert (line["learning_rate"], line["scale"], line["lam"]) == pick(rows.loc[part.index])[0] != setting
    assert (line["settings"], line["lost"], line["diverged"]) == (8, 3, 3)
    rows.loc[part.index, "mse"] = np.nan
    best = best_settings(trained_rows(rows[rows["split"] == "val"]))
    assert len(best) == len(PANELS) - 1
    assert len(found_worth(rows)) == len(PANELS) // 2 - 1, "half of a comparison is left out"


def test_test_errors_at_the_picked_setting_and_the_interval_over_functions():
    rows = study()
    found = {each.panel: each for each in found_worth(rows)}
    assert len(found) == len(PANELS) // 2
    for sampling, optimizer, size in itertools.product(SAMPLINGS, ("adam", "sgd"), SIZES):
        errors = []
        for arm in ("reg_cls", "reg"):
            setting, _ = pick(cell_of(rows, "val", sampling, optimizer, size, arm))
            part = cell_of(rows, "test", sampling, optimizer, size, arm)
            part = part[(part[["learning_rate", "scale", "lam"]] == list(setting)).all(axis=1)]
            errors.append(part.sort_values("function")["mse"].to_numpy())
        each = found["clean", sampling, optimizer, size]
        assert (each.reg_cls, each.reg) == pytest.approx([mse.mean() for mse in errors], rel=1e-12)
        assert each.result.difference == pytest.approx((errors[0] - errors[1]).mean(), rel=1e-12)
        assert each.result.wins == np.sum(errors[0] < errors[1])
        assert each.ends == pytest.approx(mean_interval(errors[0] - errors[1]), rel=1e-12)


def test_with_several_repetitions_the_interval_is_two_way():
    for each in found_worth(study(3)):
        assert each.ends == each.result.two_way != each.result.independent
        assert each.result.n == FUNCTIONS * 3


def test_with_one_repetition_class_counts_of_a_function_are_not_independent():
    rows = study()
    again = rows[rows["classes"] == 16].assign(classes=64)
    several = pd.concat([rows, again.assign(run=again["run"] + 10_000)], ignore_index=True)
    ends = [[each.ends for each in found_worth(frame)] for frame in (rows, several)]
    np.testing.assert_allclose(ends[0], ends[1], rtol=1e-12)


def test_the_verdict_names_the_sizes_whose_interval_excludes_zero():
    found = found_worth(study())
    ends = {4: (-0.2, -0.1), 8: (-0.1, 0.1), 16: (0.1, 0.2), 32: (-0.3, -0.1), 64: (np.nan, np.nan)}
    lines = [found[0]._replace(panel=("clean", "severe", "adam", size), ends=ends[size]) for size in ends]
    lines.append(lines[0]._replace(panel=("clean", "severe", "sgd", 4)))
    assert verdict(lines) == (
        "- Adam, clean severe: reg+cls is better at 4, 32, worse at 16, undecided at 8, 64.\n"
        "- SGD, clean severe: reg+cls is better at 4."
    )


def expected_pick(validation, test, budget):
    """Mean test errors of the pick over all subsets of settings, by a loop: one number per function."""
    means = {setting: part["mse"].mean() for setting, part in validation.groupby(SETTING)}
    finite = [setting for setting, part in validation.groupby(SETTING) if np.isfinite(part["mse"]).all()]
    errors = {setting: part.sort_values("function")["mse"].to_numpy() for setting, part in test.groupby(SETTING)}
    usable = [set(subset) & set(finite) for subset in itertools.combinations(means, budget)]
    return np.mean([errors[min(subset, key=means.get)] for subset in usable if subset], axis=0)


@pytest.mark.parametrize("lost", [False, True])
def test_at_equal_budgets_is_the_mean_over_all_subsets_of_the_larger_grid(lost):
    rows = study()
    if lost:
        part = cell_of(rows, "val", "severe", "sgd", 64, "reg_cls")
        rows.loc[part.index[::5], "mse"] = np.nan
    trained = trained_rows(rows)
    parts = {split: trained[trained["split"] == split] for split in ("val", "test")}
    found = {each.panel: each for each in at_equal_budgets(parts["val"], parts["test"])}
    assert len(found) == len(PANELS) // 2
    for (scenario, sampling, optimizer, size), each in found.items():
        assert each.budget == 4  # reg has four settings, reg+cls eight
        errors = [
            expected_pick(*(cell_of(rows, split, sampling, optimizer, size, arm) for split in ("val", "test")), 4)
            for arm in ("reg_cls", "reg")
        ]
        assert each.difference == pytest.approx((errors[0] - errors[1]).mean(), rel=1e-10), scenario
        assert each.ends == pytest.approx(mean_interval(errors[0] - errors[1]), rel=1e-10)


def test_arms_with_as_many_settings_differ_at_equal_budgets_as_at_their_best():
    rows = study(3)
    rows = rows[(rows["lam"] != LAMBDAS[0]) | ~rows["arm"].str.contains("cls")]
    trained = trained_rows(rows)
    equal = at_equal_budgets(trained[trained["split"] == "val"], trained[trained["split"] == "test"])
    for each, best in zip(equal, found_worth(rows), strict=True):
        assert (each.panel, each.budget) == (best.panel, 4)
        assert (each.difference, *each.ends) == pytest.approx((best.result.difference, *best.ends), rel=1e-10)


@pytest.mark.parametrize("kind", [str, int, float])
def test_a_single_hidden_layer_may_be_a_number(kind):
    rows = study()
    rows = rows[rows["hidden"] == "6-64"]
    assert set(trained_rows(rows.assign(hidden=kind(8)))["units"]) == {8}


def test_tables_are_complete():
    made = capacity_tables(study())
    assert [table.title for table in made] == [
        "Reg+cls against reg at their best settings on val",
        "Reg+cls against reg at their best settings on val_balanced",
        "Best settings on val",
        "Best settings on val_balanced",
    ]
    for table in made:
        assert {"constant", "median"} <= set(table.frame), table.title
        assert not table.frame.isna().any().any(), table.title
    first, settings = made[0].frame, made[2].frame
    assert "(Adam: reg 4, reg+cls 8; SGD: reg 4, reg+cls 8)" in made[0].note
    assert set(first["settings"]) == {"4"}
    panels = list(zip(first["sampling"], first["optimiser"], first["hidden"], strict=True))
    assert panels == list(itertools.product(SAMPLINGS, ("Adam", "SGD"), ("4", "64")))
    assert set(settings.loc[settings["arm"] == "reg", "λ"]) == {"–"}
    # Two values of everything: each is at an edge; reg has but one λ.
    assert set(settings.loc[settings["arm"] == "reg", "at the edge"].str.count("[−+]")) == {2}
    assert set(settings.loc[settings["arm"] == "reg+cls", "at the edge"].str.count("[−+]")) == {3}


def test_figures_are_complete_and_reproducible():
    rows = study()
    rows.loc[(rows["split"] == "val_balanced") & (rows["optimizer"] == "sgd") & (rows["scale"] == 100.0), "mse"] = (
        np.nan
    )
    drawn = []
    for figure in (size_figure, heat_figure):
        first, second = (render(figure(rows)) for _ in range(2))
        assert first == second
        drawn.append(texts(first["svg"]))
    words = drawn[0]
    titles = itertools.product(SAMPLINGS, ("own val", "uniform val"), ("Adam", "SGD"))
    assert [word for word in words if " · " in word] == [f"{o} · clean · {s} · {v}" for s, v, o in titles]
    words = drawn[1]
    titles = itertools.product(SIZES, ("Adam", "SGD"), ("reg", "reg+cls"))
    assert [word for word in words if " · " in word] == [f"{o} · {arm} · {size}" for size, o, arm in titles]
    assert words.count("div.") == 2 * 2 * 2  # sizes, arms, rates
    assert sum(word.startswith("λ ") for word in words) == 2 * (4 + 2)


def test_the_heat_map_shows_the_best_lambda_of_every_field():
    rows = study()
    rows = rows[(rows["optimizer"] != "sgd") & (rows["hidden"] != "6-64")]
    words = texts(render(heat_figure(rows))["svg"])
    part = rows[(rows["split"] == "val_balanced") & (rows["arm"] == "reg_cls")]
    means = part.groupby(["learning_rate", "scale", "lam"])["mse"].mean().reset_index()
    for _, field in means.groupby(["learning_rate", "scale"]):
        best = field.loc[field["mse"].idxmin()]
        assert words[words.index(f"{best['mse']:.2f}") + 1] == f"λ {best['lam']:g}"


def one_set(variant):
    """The config of a variant with a single data set."""
    config = capacity.get_config(variant).to_dict()
    config["data"] |= {"samplings": ("severe",), "functions": 1, "repetitions": 1}
    return config


def test_the_full_grid_has_the_size_that_the_docstring_says():
    config = capacity.get_config().to_dict()
    reg = 5 * 2 * 5 * 9  # sizes, optimisers, rates, s
    per_set = expand(one_set("full"))
    assert len(set(per_set)) == len(per_set) == reg + reg * 9 * 5  # lambda, class counts
    assert {run.arm for run in per_set if not run.classes} == {"reg", "reg_sgd"}
    assert all(run.optimizer == ("sgd" if run.arm.endswith("_sgd") else "adam") for run in per_set)
    total = len(per_set) * len(data_specs(config["data"]))
    assert total == 2_484_000
    assert f"{total:,}" in capacity.__doc__


def test_small_variants_are_part_of_the_full_grid():
    sets = set(data_specs(capacity.get_config().data.to_dict()))
    full = set(expand(one_set("full")))
    where = next(iter(full)).data
    for variant in ("reduced", "quick", "runlocal"):
        small = expand(capacity.get_config(variant).to_dict())
        assert len(set(small)) == len(small)
        assert {run.data for run in small} < sets
        assert {dataclasses.replace(run, data=where, epochs=80) for run in small} < full
        assert {run.arm for run in small} == {run.arm for run in full}
        assert {run.epochs for run in small} == {2 if variant == "runlocal" else 80}
        # λ apart, reg may choose from all that reg+cls may.
        tried = {(run.arm, run.hidden, run.learning_rate, run.scale) for run in small}
        assert {(arm.replace("_cls", ""), *setting) for arm, *setting in tried} <= tried


def test_a_tiny_study_reaches_its_tables(tmp_path):
    config = capacity.get_config("runlocal").to_dict()
    config["data"] |= {"samplings": ("severe",), "functions": 2, "total": 6144}
    config["run"] |= {"hidden": ((6, 4),), "epochs": 1}
    assert run_study(config, tmp_path / "run", tmp_path / "cache", progress=False) == 16
    made = round_trip(tmp_path / "run", tmp_path / "out").tables
    assert made[0].frame[["optimiser", "hidden", "pairs"]].to_numpy().tolist() == [
        ["Adam", "4", "2"],
        ["SGD", "4", "2"],
    ]
