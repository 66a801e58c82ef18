"""Several tables compared: what the ranks and ratios are, that an export reads back the same, what is refused."""

import json

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from regcls_jax.report.build import TABLES as NAME
from regcls_jax.report.own.across import Problem, Ranks, means, overall, ranks, read_problems, rows_of
from regcls_jax.report.own.across_figures import effects_figure, imbalance_figure, ranks_figure
from regcls_jax.report.own.across_tables import across_tables, answer
from regcls_jax.report.own.scores import REFERENCE, Scores
from regcls_jax.store.rows import write_csv_atomic

KINDS = {"reg": "plain", "reg_cls": "classes", "lds": "weighting", "constant": REFERENCE, "boosting": REFERENCE}
BEST = {"plain": "reg", "classes": "reg_cls", "weighting": "lds"}


def problem(name, errors, imbalance=0.3, spread=0.001, folds=5, repetitions=3):
    """A problem whose MAE is `errors[arm]` (or (all, rare)) on every fold, but for noise."""
    generator, lines = np.random.default_rng(len(name)), []
    for repetition in range(repetitions):
        for fold in range(folds):
            for arm in (*KINDS, *BEST):
                both = np.broadcast_to(errors.get(BEST.get(arm, arm), 2.0), 2) * (1 + spread * generator.normal())
                where = {"target": "y", "repetition": repetition, "fold": fold, "arm": arm}
                lines.append({**where, "mae": both[0], "rare_mae": both[1], "of_family": BEST.get(arm)})
    return Problem(name, imbalance, Scores(pd.DataFrame(lines), KINDS), "y")


TABLES = [
    problem("a: y", {"reg": 1.0, "reg_cls": 0.9, "lds": (1.0, 0.5), "boosting": 0.8}, 0.1),
    problem("b: y", {"reg": 10.0, "reg_cls": 9.0, "lds": (10.5, 5.0), "boosting": 11.0}, 0.4),
    problem("c: y", {"reg": 0.1, "reg_cls": 0.11, "lds": (0.12, 0.05), "boosting": 0.08}, 0.6),
]


def test_ratios_are_averaged_whatever_the_unit():
    found = overall(means(TABLES, "mae"), "reg_cls")
    errors = means(TABLES, "mae")
    logs = np.log(errors["reg_cls"] / errors["plain"])
    assert found.mean == pytest.approx(100 * (np.exp(logs.mean()) - 1))
    assert (found.better, found.problems) == (2, 3)
    half = stats.t.ppf(0.975, 2) * logs.std(ddof=1) / np.sqrt(3)
    assert found.interval == pytest.approx([100 * np.expm1(logs.mean() + end * half) for end in (-1, 1)])


def test_mean_ranks_and_their_critical_difference():
    found = ranks(TABLES, "mae")
    errors = means(TABLES, "mae")[["reg", "reg_cls", "lds", "boosting"]]
    assert found.mean.to_dict() == pytest.approx(errors.rank(axis=1).mean().to_dict())
    assert found.mean.is_monotonic_increasing
    # Demsar (2006), Table 5: q of Nemenyi's test for 4 classifiers is 2.569.
    assert found.critical == pytest.approx(2.569 * np.sqrt(4 * 5 / (6 * 3)), rel=1e-3)
    assert found.p == pytest.approx(stats.friedmanchisquare(*errors.to_numpy().T).pvalue)
    assert np.isnan(ranks(TABLES[:1], "mae").critical)


def test_arms_that_do_not_differ_are_joined():
    assert Ranks(pd.Series([1.0, 1.5, 2.5, 4.0]), 5, 0.1, 1.2).alike() == [(0, 1), (1, 2)]
    assert Ranks(pd.Series([1.0, 1.5, 2.0]), 5, 0.1, 2.0).alike() == [(0, 2)]
    assert Ranks(pd.Series([1.0, 3.0]), 5, 0.1, 1.0).alike() == []


def test_an_arm_without_an_error_has_the_last_rank():
    lost = TABLES[0].scores.chosen.copy()
    lost.loc[(lost["arm"] == "reg_cls") & (lost["fold"] == 1), "mae"] = np.nan
    broken = TABLES[0]._replace(scores=Scores(lost, KINDS))
    assert ranks([broken], "mae").mean["reg_cls"] == 4
    assert overall(means([broken, *TABLES[1:]], "mae"), "reg_cls").problems == 2


def test_what_it_says():
    said = answer(TABLES)
    assert "Classes change the MAE of plain regression by -3.7 %" in said
    assert "(better on 2 of 3)" in said
    assert "rare targets lower on a: y -50.0 %" in said
    assert "all rows higher on b: y +5.0 %" in said
    titles = [table.title for table in across_tables(TABLES)]
    assert titles[0] == "Classes and weighting, table by table"
    for draw in (ranks_figure, imbalance_figure):
        assert draw(TABLES).axes
    # Of what the errors tell: these have no many and no medium targets of their own.
    panels = effects_figure(TABLES).axes
    assert [axes.get_title() for axes in panels] == ["all rows", "few"]
    change = overall(means(TABLES, "mae"), "lds").mean
    drawn = [line.get_xdata()[0] for line in panels[0].lines if line.get_marker() == "o" and len(line.get_xdata())]
    assert min(abs(np.array(drawn) - change)) < 1e-9


def export(folder, problems, **config):
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"name": NAME, **config}))
    write_csv_atomic(rows_of(problems), folder / "rows.csv.gz")
    return folder


def test_an_export_reads_back_the_same(tmp_path):
    again = read_problems([export(tmp_path / "all", TABLES[::-1])])
    assert answer(again) == answer(TABLES), "and evenest targets come first"
    for mine, theirs in zip(across_tables(again), across_tables(TABLES), strict=True):
        pd.testing.assert_frame_equal(mine.frame, theirs.frame)


def test_what_cannot_be_compared_is_refused(tmp_path):
    folder = export(tmp_path / "all", TABLES)
    with pytest.raises(ValueError, match="a: y comes twice"):
        read_problems([folder, folder])
    fewer = {name: kind for name, kind in KINDS.items() if name != "lds"}
    chosen = TABLES[0].scores.chosen
    other = TABLES[0]._replace(name="d: y", scores=Scores(chosen[chosen["arm"] != "lds"], fewer))
    with pytest.raises(ValueError, match="d: y and a: y have other arms"):
        read_problems([folder, export(tmp_path / "other", [other])])
    (folder / "config.json").write_text(json.dumps({"name": "fig3"}))
    with pytest.raises(ValueError, match="holds the study 'fig3'; only those of launch/advise.py"):
        read_problems([folder])


def test_a_fold_without_rare_rows_is_left_out_for_all_arms():
    chosen = TABLES[0].scores.chosen.copy()
    chosen.loc[chosen["fold"] == 2, "rare_mae"] = np.nan
    lacking = [TABLES[0]._replace(scores=Scores(chosen, KINDS)), *TABLES[1:]]
    assert ranks(lacking, "rare_mae").problems == 3
    expected = overall(means(TABLES, "rare_mae"), "lds").mean
    assert overall(means(lacking, "rare_mae"), "lds").mean == pytest.approx(expected, abs=0.1)


@pytest.mark.parametrize("fewer", ["one table", "nothing rare", "no weighting"])
def test_figures_of_less_than_usual(fewer):
    given = TABLES
    if fewer == "one table":
        given = TABLES[:1]
        assert ranks(given, "mae").alike() == []
    elif fewer == "nothing rare":
        given = [each._replace(scores=Scores(each.scores.chosen.assign(rare_mae=np.nan), KINDS)) for each in TABLES]
    else:
        kinds = {arm: kind for arm, kind in KINDS.items() if kind != "weighting"}
        given = [
            each._replace(scores=Scores(each.scores.chosen.query("arm not in ('lds', 'weighting')"), kinds))
            for each in TABLES
        ]
    for draw in (ranks_figure, imbalance_figure, effects_figure):
        assert draw(given).axes
    assert across_tables(given)
    assert "Classes change" in answer(given)
