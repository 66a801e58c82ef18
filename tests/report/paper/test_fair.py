"""Fair tuning: what is picked, the expected best of a budget, and the answer, against loops and known answers."""

import itertools
import math

import numpy as np
import pandas as pd
import pytest
from fair_rows import ARMS, BUDGET, FUNCTIONS, KEYS, REPETITIONS, SAMPLINGS, SPLITS, one, shifted, study

from configs import fair as config
from regcls_jax.report.paper import fair
from regcls_jax.report.paper.fair_tables import fair_tables
from regcls_jax.report.statistics import UNKNOWN, Interval, two_way_interval
from regcls_jax.study.runs import expand


def brute_force(validation, test):
    """The mean over all subsets that have a pick with a finite test error; the first of equals is picked."""
    means = []
    for size in range(1, len(validation) + 1):
        errors = []
        for subset in itertools.combinations(range(len(validation)), size):
            finite = [i for i in subset if math.isfinite(validation[i])]
            if finite and math.isfinite(test[min(finite, key=lambda i: validation[i])]):
                errors.append(test[min(finite, key=lambda i: validation[i])])
        means.append(np.mean(errors) if errors else np.nan)
    return means


@pytest.mark.parametrize(
    "validation",
    [
        (0.3, 0.1, 0.6, 0.2, 0.5, 0.4),
        (0.2, 0.1, 0.1, 0.2, 0.1, 0.2),
        (0.3, np.nan, 0.1, np.inf, 0.5, np.nan),
        (np.nan,) * 5 + (0.1,),
        (np.inf,) * 6,
        (0.1,),
    ],
)
@pytest.mark.parametrize("lost", [None, 2])
def test_best_of_is_the_mean_over_all_subsets(validation, lost):
    test = np.array([3.0, 1.0, 4.0, 1.5, 9.0, 2.6])[: len(validation)]
    if lost is not None and lost < len(test):
        test[lost] = np.inf
    found = fair.best_of(np.array(validation), test)
    np.testing.assert_allclose(found, brute_force(validation, test), rtol=1e-12)


def test_pick_probabilities_are_ratios_of_binomials():
    for runs, budget in ((1, 1), (6, 1), (6, 4), (32, 32), (40, 17)):
        found = fair.pick_probabilities(runs, budget)
        wanted = [math.comb(runs - 1 - rank, budget - 1) / math.comb(runs, budget) for rank in range(runs)]
        np.testing.assert_allclose(found, wanted, rtol=1e-12, atol=1e-15)
    assert fair.pick_probabilities(5000, 2500).sum() == pytest.approx(1.0, abs=1e-12)


@pytest.mark.parametrize("on", SPLITS)
def test_select_against_a_loop(on):
    rows = study()
    trained = rows[rows["run"] >= 0]
    picks = fair.select(rows, on).set_index(KEYS)
    assert len(picks) == 2 * 3 * FUNCTIONS * REPETITIONS * len(ARMS)
    for key, part in trained.groupby(KEYS):
        errors = {split: list(cell.sort_values("run")["mse"]) for split, cell in part.groupby("split")}
        best = min(range(BUDGET), key=errors[on].__getitem__)
        assert picks.loc[key, "validation"] == errors[on][best]
        assert picks.loc[key, "mse"] == errors["test"][best]
        chosen = part[part["split"] == on].sort_values("run").iloc[best]
        assert picks.loc[key, ["run", "lam", "classes"]].tolist() == chosen[["run", "lam", "classes"]].tolist()


def test_the_test_set_does_not_choose():
    rows = study()
    before = fair.select(rows, "val")["run"]
    rows.loc[rows["split"] == "test", "mse"] = rows.loc[rows["split"] == "test", "mse"].to_numpy()[::-1]
    assert fair.select(rows, "val")["run"].equals(before)
    oracle, picked = (fair.select(rows, on).set_index(KEYS)["mse"] for on in ("test", "val"))
    assert (oracle <= picked).all()
    assert (oracle < picked).any()


def test_of_equals_the_first_drawn_is_picked():
    rows = study()
    rows.loc[one(rows), "mse"] = 0.25
    picks = fair.select(rows.sample(frac=1.0, random_state=0), "val")
    mine = picks[one(picks.assign(split="val"))].iloc[0]
    assert mine["run"] == rows.loc[one(rows), "run"].min()


def test_diverged_runs_are_never_picked_and_an_arm_without_a_pick_is_reported():
    rows = study()
    best = rows.index[one(rows)][:4]
    rows.loc[best, "mse"] = [np.nan, np.inf, np.nan, -np.inf]
    picks = fair.select(rows, "val")
    mine = picks[one(picks.assign(split="val"))].iloc[0]
    assert mine["run"] == rows.loc[rows.index[one(rows)][4], "run"]
    rows.loc[one(rows), "mse"] = np.nan
    picks = fair.select(rows, "val")
    mine = picks[one(picks.assign(split="val"))].iloc[0]
    assert mine["validation"] == np.inf
    assert np.isnan(mine["mse"])
    lost = [t.result for t in fair.comparisons(picks) if tuple(t.names.values()) == ("noisy", "mild")]
    assert [result.diverged for result in lost] == [1, 1, 0]
    means = next(t for t in fair_tables(rows) if t.title == "Test MSE after fair tuning")
    assert f"reg {BUDGET} of 180; reg+cls 0 of 180" in means.note
    assert "no pick: 1 of 36 (own val, reg)." in means.note


def test_the_whole_budget_is_the_pick_itself():
    rows = study()
    rows.loc[one(rows), "mse"] = np.nan
    curves, picks = fair.budget_curves(rows, "val"), fair.select(rows, "val").set_index(KEYS)["mse"]
    assert list(curves.columns) == [1, 2, 3, 4, 5]
    np.testing.assert_allclose(curves[BUDGET], picks.loc[curves.index], rtol=1e-12)
    test = rows[(rows["split"] == "test") & (rows["arm"] == "reg_cls")]
    means = test.groupby(KEYS)["mse"].mean()
    np.testing.assert_allclose(curves[1].loc[means.index], means, rtol=1e-12)


def test_groups_pool_scenarios_first_and_the_imbalanced_samplings():
    frame = study()
    names = [tuple(names.values()) for names, _ in fair.groups(frame)]
    samplings = ["imbalanced", *SAMPLINGS]
    assert names == list(itertools.product(["clean, noisy", "clean", "noisy"], samplings))
    assert all(
        set(part["sampling"]) == {"mild", "severe"}
        for names, part in fair.groups(frame)
        if names["sampling"] == fair.POOLED
    )
    clean = frame[(frame["scenario"] == "clean") & (frame["sampling"] == "uniform")]
    assert [group.names for group in fair.groups(clean)] == [{"scenario": "clean", "sampling": "uniform"}]


@pytest.mark.parametrize(
    ("shift", "spread", "says"),
    [
        (-0.1, 0.0, "mean -0.1000 [-0.1000, -0.1000], excludes zero (better); median -0.1000; wins 100.0 % [34.2, "),
        (0.1, 0.0, "mean +0.1000 [+0.1000, +0.1000], excludes zero (worse); median +0.1000; wins 0.0 % [0.0, "),
        (0.0, 0.2, ", includes zero; median "),
    ],
)
def test_the_answer_follows_the_interval(shift, spread, says):
    found = fair.comparisons(fair.select(shifted(shift, spread=spread), "val_balanced"))
    first = found[0]
    assert (*first.names.values(), first.arm, first.baseline) == ("clean, noisy", fair.POOLED, "reg_cls", "reg")
    assert first.result.difference == pytest.approx(shift, abs=1e-12)
    assert first.result.n == 2 * 2 * FUNCTIONS * REPETITIONS
    verdicts = {-1: "arm better", 0: "includes 0", 1: "arm worse"}
    assert fair.verdict(first.result.two_way) == verdicts[int(np.sign(shift))]
    text = fair.answer(found, "val_balanced")
    head, empty, first_item, *items = text.split("\n")
    assert head.startswith("**Picked on uniform val**, arm − baseline")
    assert not empty
    assert first_item.startswith("- **reg+cls − reg** (clean, noisy · imbalanced): mean ")
    assert says in first_item
    left = FUNCTIONS if shift else 0
    assert first_item.endswith(f"excludes zero in {left} of {FUNCTIONS} leave-one-function-out resamples.")
    assert len(items) == 4  # three more comparisons and the line on single cells
    # reg_cls_bal equals reg to the last bit: its interval is [0, 0], which includes zero.
    clear = 6 if shift else 0
    assert items[-1].startswith(f"- Of 12 comparisons in single cells, the interval excludes zero in {clear} (chance")
    assert ("clean · mild (reg+cls − reg: " in items[-1]) == bool(shift)


def test_leaving_out_the_one_function_that_matters_shows():
    rows = shifted(-0.01, spread=0.05)
    rows.loc[(rows["split"] == "test") & (rows["arm"] == "reg_cls") & (rows["function"] == 2), "mse"] -= 1.0
    found = fair.comparisons(fair.select(rows, "val"))[0]
    without = fair.leave_one_out(found.pairs)
    pairs = found.pairs
    assert len(without) == FUNCTIONS
    for left_out, (mean, ends) in enumerate(without):
        kept = pairs[pairs["function"] != left_out]
        values = (kept["arm"] - kept["baseline"]).to_numpy()
        assert mean == pytest.approx(-0.01 if left_out == 2 else -0.51, abs=1e-12)
        labels = (kept["function"].to_numpy(), kept["repetition"].to_numpy())
        assert ends == pytest.approx(two_way_interval(values, *labels), abs=1e-12)
    clear = sum(ends.high < 0 for _, ends in without)
    text = fair.answer([found], "val")
    assert "; without any one function: mean -0.5100 to -0.0100, excludes zero in " in text
    assert f"in {clear} of {FUNCTIONS} leave-one-function-out resamples." in text


def test_nothing_is_left_out_where_too_little_remains():
    rows = shifted(-0.1)
    text = fair.answer(fair.comparisons(fair.select(rows[rows["function"] < 2], "val")), "val")
    assert "excludes zero (better)" in text
    assert "leave-one-function-out" not in text


def test_pairings_are_those_of_every_group_on_its_own():
    rows = study()
    picks = fair.select(rows, "val")
    found = fair.comparisons(picks, [("reg_cls_bal", "reg"), ("reg_fine", "reg")])
    assert [each.names for each in found] == [group.names for group in fair.groups(picks)]
    for each, (_, part) in zip(found, fair.groups(picks), strict=True):
        mse = part.set_index(KEYS)["mse"].unstack("arm")
        means = each.pairs[["arm", "baseline"]].mean()
        assert len(each.pairs) == len(mse)
        assert tuple(means) == pytest.approx((mse["reg_cls_bal"].mean(), mse["reg"].mean()), rel=1e-12)


def test_verdict_of_an_interval():
    assert fair.verdict(UNKNOWN) == "–"
    assert fair.verdict(Interval(-1.0, 0.0)) == fair.verdict(Interval(0.0, 0.0)) == "includes 0"


def test_differences_over_the_budget_are_paired():
    curves = fair.budget_curves(shifted(-0.1), "val")
    found = fair.curve_differences(curves, "reg_cls")
    np.testing.assert_allclose(found.to_numpy(), -0.1, rtol=1e-9)
    assert list(found.index) == [1, 2, 3, 4, 5]


def test_the_published_settings_are_in_the_grids_and_budgets_are_equal():
    full = expand(config.get_config().to_dict())
    assert len(full) == 240 * 4 * 32
    every = config.get_config()
    every.budget, every.data.functions, every.data.repetitions = 0, 1, 1
    published = {"clean": (1e2, 1e-3), "noisy": (1e3, 1e-2)}
    grid = {(r.arm, r.data.scenario, r.lam, r.learning_rate, r.weight_decay, r.scale) for r in expand(every.to_dict())}
    for scenario, (lam, learning_rate) in published.items():
        for arm in ARMS:
            assert (arm, scenario, 1.0 if arm == "reg" else lam, learning_rate, 1e-3, 1.0) in grid
    for run in full:
        assert (run.classes > 0) == (run.arm in ("reg_cls", "reg_cls_bal"))
        assert run.balanced == (run.arm == "reg_cls_bal")
        assert run.initial_weights == "paired"
    # What of Adam with coupled decay differs: every arm has the same choices.
    ratios = {arm: {(r.learning_rate, f"{r.weight_decay / r.scale:g}") for r in full if r.arm == arm} for arm in ARMS}
    assert ratios["reg"] == ratios["reg_cls"] == ratios["reg_cls_bal"]
    assert len(ratios["reg"]) == 35
    # The control has as many combinations as reg_cls, within the ranges of reg.
    combinations = {arm: [run for run in expand(every.to_dict()) if run.arm == arm] for arm in ("reg_fine", *ARMS)}
    assert len(combinations["reg_fine"]) == len(combinations["reg_cls"]) == 2 * 4 * 840
    for field in ("learning_rate", "scale", "weight_decay", "lam"):
        fine, coarse = ({getattr(run, field) for run in combinations[arm]} for arm in ("reg_fine", "reg"))
        assert (min(fine), max(fine)) == (min(coarse), max(coarse))


def test_the_fine_grid_of_reg_is_a_baseline_too():
    rows = study()
    fine = rows[rows["arm"] == "reg"].assign(arm="reg_fine", run=rows["run"] + 100_000, mse=rows["mse"] * 0.5)
    picks = fair.select(pd.concat([rows, fine]), "val")
    found = {
        (t.arm, t.baseline): t.result
        for t in fair.comparisons(picks)
        if tuple(t.names.values()) == ("clean, noisy", fair.POOLED)
    }
    assert {("reg_fine", "reg"), ("reg_cls", "reg_fine"), ("reg_cls_bal", "reg_fine")} <= set(found)
    # Half the errors of reg: the difference from it is minus half its mean.
    reg = picks[(picks["arm"] == "reg") & (picks["sampling"] != "uniform")]["mse"].mean()
    assert found["reg_fine", "reg"].difference == pytest.approx(-reg / 2)
    assert found["reg_cls", "reg_fine"].difference == pytest.approx(found["reg_cls", "reg"].difference + reg / 2)
    assert "- **reg+cls − reg, fine grid** (" in fair.answer(fair.comparisons(picks), "val")


def drop(rows, lost):
    return rows[~lost]


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda rows: drop(rows, rows["split"] == "val"), "no trained run of the val split"),
        (lambda rows: drop(rows, rows["split"] == "test"), "no trained run of the test split"),
        (lambda rows: drop(rows, rows["arm"] == "reg"), "no run of reg to compare"),
        (lambda rows: drop(rows, one(rows)), "lacks its error on val or on test"),
        (lambda rows: drop(rows, rows["run"].isin(rows.loc[one(rows, "reg_cls"), "run"])), "reg_cls has 0 runs at"),
        (
            lambda rows: drop(rows, rows["run"] == rows.loc[one(rows), "run"].max()),
            "Budgets differ: reg has 4 runs at scenario noisy, sampling mild, noise 0.1, function 1, repetition 1; "
            "another has 5.$",
        ),
        (lambda rows: pd.concat([rows, rows[one(rows)]]), "appears twice in the val split"),
    ],
)
def test_unfair_or_unfinished_rows_are_one_clear_error(spoil, message):
    with pytest.raises(ValueError, match=message):
        fair_tables(spoil(study()))
