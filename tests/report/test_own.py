"""The verdict on a table: which sentence which errors give, and that an export has the same report."""

import numpy as np
import pandas as pd
import pytest

from regcls_jax.losses.registry import AUXILIARY
from regcls_jax.report.own.figure import own_figure
from regcls_jax.report.own.scores import OF_AUXILIARY, family_of, measures, scores
from regcls_jax.report.own.tables import own_tables, own_verdict, read_scores
from regcls_jax.report.own.verdict import answer, asked, change
from regcls_jax.store.groups import GroupResults

FOLDS, REPETITIONS = 5, 3
RANGES = {"00 many": 60, "01 medium": 20, "02 few": 5}
NETWORKS = {"reg": 0, "reg_std": 0, "reg_cls": 20, "lds": 0}
REFERENCES = ("constant", "median", "ridge", "boosting")


def study(factors, settings=2, best=0, target="y"):
    """Rows and errors of arms whose MAE is `factors[arm]` times 1, or (all, rare), in every range.

    The setting `best` of an arm has that error on val and test, the others twice as much.
    """
    generator = np.random.default_rng(0)
    rows, errors, number = [], [], 0
    for repetition in range(REPETITIONS):
        for fold in range(FOLDS):
            shift = 1 + 0.02 * generator.normal()
            for arm in (*NETWORKS, *REFERENCES):
                for setting in range(settings if arm in NETWORKS else 1):
                    factor = factors.get(arm, 1.0)
                    often, rare = factor if isinstance(factor, tuple) else (factor, factor)
                    run = number if arm in NETWORKS else -1
                    number += arm in NETWORKS
                    worse = 1.0 if setting == best or run < 0 else 2.0
                    common = {"run": run, "arm": arm, "target": target, "fold": fold, "repetition": repetition}
                    noise = 1 + 0.01 * generator.normal()
                    for split in ("val", "test"):
                        for name, count in RANGES.items():
                            mae = (rare if name.endswith("few") else often) * worse * shift * noise
                            place = {"split": split, "group": name, "n": count}
                            errors.append({**common, **place, "mse": mae**2, "mae": mae})
                    settings_of = {"classes": NETWORKS.get(arm, 0), "lam": 1.0, "learning_rate": 0.1 ** (setting + 1)}
                    settings_of |= {"weight_decay": 0.0, "decoded": "value", "noise_sigma": 1.0}
                    method = {"reweight": "sqrt_inv" if arm == "lds" else "none", "regression": "squared_error"}
                    rows.append({**common, **settings_of, **method, "split": "test", "mse": 1.0, "mae": 1.0, "n": 85})
    return pd.DataFrame(rows), GroupResults(pd.DataFrame(errors), pd.DataFrame())


def headline(factors):
    return answer(scores(*study({"boosting": 1.1, "ridge": 1.5, **factors})), "y").headline


def test_measures_from_errors_by_range():
    _, groups = study({"reg": (2.0, 8.0)})
    one = measures(groups.errors[(groups.errors["arm"] == "reg") & (groups.errors["split"] == "test")]).iloc[0]
    own = groups.errors[groups.errors["run"] == one["run"]].query("split == 'test'")
    assert one["mae"] == pytest.approx((own["mae"] * own["n"]).sum() / own["n"].sum())
    assert one["rmse"] == pytest.approx(np.sqrt((own["mse"] * own["n"]).sum() / own["n"].sum()))
    assert one["balanced_mae"] == pytest.approx(own["mae"].mean())
    assert one["rare_mae"] == pytest.approx(own.loc[own["group"] == "02 few", "mae"].item())


@pytest.mark.parametrize("lost", ["every range", "one range"])
def test_predictions_that_diverged_have_no_error_of_any_rows(lost):
    _, groups = study({"reg": (2.0, 8.0)})
    errors = groups.errors.copy()
    own = errors["arm"].eq("reg") & errors["split"].eq("test")
    if lost == "one range":
        own &= errors["group"].str.endswith("few")
    errors.loc[own, ["mse", "mae"]] = np.nan
    found = measures(errors)
    mine = found["arm"].eq("reg") & found["split"].eq("test")
    of_rows = ["mae", "rmse", "balanced_mae", "many_mae", "rare_mae"]
    assert found.loc[mine, of_rows].isna().all(axis=None)
    assert np.isfinite(found.loc[~mine, ["mae", "rmse", "rare_mae"]]).all(axis=None)
    assert (found["rare_n"] > 0).all()


def test_the_setting_with_the_lowest_validation_error_is_tested():
    found = scores(*study({}, best=1))
    networks = found.chosen[found.chosen["run"] >= 0]
    assert (networks["mae"] < 1.2).all()
    assert (networks["tried"] == 2).all()
    # Whatever the test errors are.
    rows, groups = study({}, best=1)
    flipped = groups.errors.copy()
    on_test = flipped["split"] == "test"
    flipped.loc[on_test, ["mae", "mse"]] = 1 / flipped.loc[on_test, ["mae", "mse"]]
    again = scores(rows, groups._replace(errors=flipped))
    assert again.chosen["run"].tolist() == found.chosen["run"].tolist()


@pytest.mark.parametrize(
    ("factors", "begins"),
    [
        ({"reg_cls": 0.9}, "Add it: classes (mostly reg+cls) change plain regression (mostly reg"),
        ({"reg_cls": (1.0, 0.8)}, "Add it:"),
        ({"reg_cls": 1.0}, "It does not help here:"),
        ({"reg_cls": 1.1}, "It harms here:"),
        ({"reg_cls": (1.1, 0.8)}, "It harms here:"),
        ({"boosting": 0.5}, "Gradient boosting beats every network here"),
        ({"ridge": 0.5}, "Ridge regression beats every network here"),
        ({"ridge": 0.3, "boosting": 0.6}, "Ridge regression beats every network here"),
    ],
)
def test_what_errors_say(factors, begins):
    assert headline(factors).startswith(begins)


def test_weighting_is_named_where_it_helps():
    given = answer(scores(*study({"lds": (1.0, 0.7), "boosting": 1.2, "ridge": 1.5})), "y")
    assert given.arm == "lds"
    assert given.sentences[0].startswith("Weighting the loss, by density or error (mostly LDS), helps: ")
    assert answer(scores(*study({})), "y").arm is None
    both = answer(scores(*study({"lds": 0.7, "reg_cls": 0.8, "boosting": 1.2, "ridge": 1.5})), "y")
    assert both.arm == "reg_cls"
    assert "helps, too: " in both.sentences[0]


def test_an_arm_stands_for_its_kind_on_the_folds_whose_validation_chose_it():
    rows, groups = study({"reg": 2.0})
    found = scores(rows, groups)
    assert found.usual("y", "plain") == "reg_std"
    pd.testing.assert_series_equal(found.of("y", "mae")["plain"], found.of("y", "mae")["reg_std"], check_names=False)
    # On one fold reg has the lower validation error, and the test error of reg is what counts there.
    errors = groups.errors.copy()
    here = (errors["fold"] == 2) & (errors["repetition"] == 1) & (errors["arm"] == "reg") & (errors["split"] == "val")
    errors.loc[here, ["mae", "mse"]] = 0.01
    table = scores(rows, groups._replace(errors=errors)).of("y", "mae")
    assert table.loc[(1, 2), "plain"] == table.loc[(1, 2), "reg"]
    assert (table["plain"] == table["reg_std"]).sum() == FOLDS * REPETITIONS - 1


def test_intervals_hold_for_all_comparisons_together():
    from regcls_jax.report.statistics import interval

    found = scores(*study({"reg_cls": 0.9}))
    one = change(found, "y", "mae", "reg_cls", "reg_std", several=3)
    table = found.of("y", "mae")
    values = (table["reg_cls"] - table["reg_std"]) * 100 / table["reg_std"].mean()
    labels = [values.index.get_level_values(name).to_numpy() for name in ("fold", "repetition")]
    ends = interval(values.to_numpy(), labels, folds=True, level=1 - 0.05 / 3)
    assert (one.mean, one.interval) == (pytest.approx(values.mean()), pytest.approx(ends))
    narrow = interval(values.to_numpy(), labels, folds=True)
    assert ends.low < narrow.low < narrow.high < ends.high


def test_a_diverged_arm_has_no_error_and_wins_nothing():
    rows, groups = study({"reg_cls": np.nan})
    rows.loc[rows["arm"] == "reg_cls", ["mse", "mae"]] = np.inf
    found = read_scores(rows, groups)
    assert found.usual("y", "classes") is None
    assert answer(found, "y").headline.startswith("No arm with classes ended with a finite error")
    tables = own_tables(rows, groups)
    assert tables[0].frame.set_index("arm").loc["reg+cls", "MAE"] == "–"
    assert len(own_figure(rows, groups).axes) == 3


def test_what_is_to_copy_was_trained():
    """Not the most frequent value of every setting by itself."""
    rows, groups = study({"reg_cls": 0.8}, settings=3)
    own = rows["arm"] == "reg_cls"
    for name, values in (("lam", (1, 2, 2)), ("classes", (8, 8, 20)), ("learning_rate", (0.1, 0.2, 0.1))):
        rows[name] = rows[name].astype(float)
        rows.loc[own, name] = np.resize(values, own.sum())
    said = own_verdict(rows, groups)
    trained = {f"lam {lam}, classes {classes}" for lam, classes in zip(rows["lam"], rows["classes"], strict=True)}
    assert any(text in said for text in trained), said


def test_tables_and_figure_of_two_targets():
    parts = [study({"reg_cls": 0.9}, target=name) for name in ("a", "b")]
    offset = parts[0][0]["run"].max() + 1
    for frame in (parts[1][0], parts[1][1].errors):
        frame["run"] = np.where(frame["run"] < 0, -1, frame["run"] + offset)
    rows = pd.concat([part[0] for part in parts], ignore_index=True)
    groups = GroupResults(pd.concat([part[1].errors for part in parts], ignore_index=True), pd.DataFrame())
    verdict = own_verdict(rows, groups)
    assert "**a: Add it" in verdict
    assert "**b: Add it" in verdict
    assert "To copy: arm `reg_cls` with" in verdict
    assert [table.title for table in own_tables(rows, groups)][::3] == ["Errors: a", "Errors: b"]
    assert len(own_figure(rows, groups).axes) == 6


@pytest.mark.parametrize(
    ("settings", "kind"),
    [
        ({}, "plain"),
        ({"run": -1}, "reference"),
        ({"classes": 8}, "classes"),
        ({"classes": 8, "auxiliary": "hl_gauss"}, "soft classes"),
        ({"classes": 8, "auxiliary": "corn"}, "ordinal heads"),
        ({"auxiliary": "ranksim"}, "shaped features"),
        ({"reweight": "dense"}, "weighting"),
        ({"regression": "bni"}, "weighting"),
        ({"mixup": 0.1}, "other training"),
        ({"sam_rho": 0.1, "reweight": "sqrt_inv"}, "other training"),
    ],
)
def test_the_kind_of_an_arm(settings, kind):
    plain = {"run": 3, "classes": 0, "auxiliary": "classification", "reweight": "none", "regression": "squared_error"}
    assert family_of(pd.Series({**plain, "mixup": 0.0, "sam_rho": 0.0, **settings})) == kind


def test_every_auxiliary_loss_has_a_kind():
    assert set(OF_AUXILIARY) == set(AUXILIARY) - {"classification"}


def test_other_kinds_have_a_sentence_and_their_part_in_the_correction():
    rows, groups = study({"lds": (1.0, 0.7), "boosting": 1.2, "ridge": 1.5})
    two = answer(scores(rows, groups), "y")
    as_features = rows.assign(auxiliary=np.where(rows["arm"] == "lds", "ranksim", "classification"))
    found = scores(as_features, groups)
    assert found.families["lds"] == "shaped features"
    assert asked(found) == asked(scores(rows, groups)) == 4
    said = answer(found, "y")
    assert said.arm == two.arm == "lds"
    assert said.sentences[0].startswith("Shaped features (mostly LDS): a gain, ")
