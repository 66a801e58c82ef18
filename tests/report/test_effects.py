"""Effects from made-up rows of another kind than any study's: videos, whose errors two arms have at three seeds."""

from itertools import product

import numpy as np
import pandas as pd
import pytest

from regcls_jax.report.effect_figure import effect_figure
from regcls_jax.report.effects import (
    Group,
    Question,
    difference_text,
    effect_lines,
    effects,
    effects_table,
    groups_by,
    mean_lines,
    spread,
)

QUESTION = Question("rmse", keys=("seed", "video"), factors=("video", "seed"), shared="seed")
VIDEOS = 6


def videos(seeds=None):
    """A line per task, arm, seed and video; reg+cls is better by .1 on coffee and worse by .2 on tea."""
    seeds = {"reg": (0, 1, 2), "reg_cls": (0, 1, 2)} | (seeds or {})
    effect = {("coffee", "reg_cls"): -0.1, ("tea", "reg_cls"): 0.2}
    lines = []
    for task, arm in product(("coffee", "tea"), seeds):
        for seed, video in product(seeds[arm], range(VIDEOS)):
            # What a video and a seed add is shared by the arms.
            rmse = 3 + 0.5 * video + 0.05 * seed + effect.get((task, arm), 0.0) + 0.01 * (video % 2) * (arm == "reg")
            lines.append((task, arm, seed, video, rmse))
    lines += [(task, "constant", -1, 0, 9.0) for task in ("coffee", "tea")]
    return pd.DataFrame(lines, columns=["task", "arm", "seed", "video", "rmse"])


def test_every_group_and_pair_is_compared_on_its_own():
    groups = groups_by(videos(), {"task": "activity"})
    assert [group.names for group in groups] == [{"activity": "coffee"}, {"activity": "tea"}]
    found = effects(QUESTION, groups, [("reg_cls", "reg"), ("absent", "reg")])
    assert [(e.names["activity"], e.arm, e.baseline, e.classes) for e in found] == [
        ("coffee", "reg_cls", "reg", 0),
        ("tea", "reg_cls", "reg", 0),
    ]
    for effect, expected in zip(found, (-0.105, 0.195), strict=True):
        mean, ends = effect.difference
        assert mean == pytest.approx(expected, abs=1e-12)
        assert ends.low < mean < ends.high
        assert (effect.result.difference, effect.result.two_way) == (mean, ends)
        assert effect.result.n == 3 * VIDEOS
        assert effect.trivial == {"constant": 9.0}
    frame = effect_lines(found, more=lambda effect: {"text": difference_text(effect, 2)})
    assert list(frame.columns[:3]) == ["activity", "arm", "baseline"]
    assert list(frame.columns[-2:]) == ["text", "constant"]
    assert frame["text"].tolist()[1].startswith("+0.20 [")  # .195 rounds up
    (table,) = effects_table("Worth", "note", frame, frame["activity"] == "tea")
    assert table.frame is frame
    assert table.console["activity"].tolist() == ["tea"]
    assert not {"Wilson 95 %", "difference, paired t 95 %"} & set(table.console)


def test_only_shared_seeds_are_paired_and_only_where_that_is_asked_for():
    rows = videos({"reg_cls": (1, 2, 5)})
    (effect, _) = effects(QUESTION, groups_by(rows, {"task": "task"}), [("reg_cls", "reg")])
    assert sorted(set(effect.pairs["seed"])) == [1, 2]
    with pytest.raises(ValueError, match="lack a partner"):
        effects(QUESTION._replace(shared=None), groups_by(rows, {"task": "task"}), [("reg_cls", "reg")])
    assert effects(QUESTION, groups_by(videos({"reg_cls": (7,)}), {"task": "task"}), [("reg_cls", "reg")]) == []


def test_one_factor_is_resampled_by_its_levels():
    rows = videos({"reg": (0,), "reg_cls": (0,)})
    found = effects(
        QUESTION._replace(factors=("video",)), [Group({}, rows[rows["task"] == "tea"])], [("reg_cls", "reg")]
    )
    twice = pd.concat([rows, rows.assign(seed=1)])
    again = effects(
        QUESTION._replace(factors=("video",)), [Group({}, twice[twice["task"] == "tea"])], [("reg_cls", "reg")]
    )
    assert found[0].difference[1] == pytest.approx(again[0].difference[1], abs=1e-12), "no narrower with more seeds"
    two_way = effects(QUESTION, [Group({}, rows[rows["task"] == "tea"])], [("reg_cls", "reg")])[0].difference[1]
    assert np.isnan(two_way).all(), "of one seed the spread over seeds is unknown"


def test_means_stand_in_order_with_published_numbers_beside():
    published = pd.DataFrame({"task": ["coffee"], "arm": ["reg_cls"], "rmse": [28.4]})
    frame = mean_lines(groups_by(videos(), {"task": "task"}), {"rmse": "RMSE"}, decimals=2, published=published)
    assert frame["arm"].tolist() == ["reg", "reg+cls", "constant"] * 2
    assert list(frame.columns) == ["task", "arm", "runs", "RMSE", "RMSE (publ.)"]
    assert frame["RMSE (publ.)"].tolist() == ["–", "28.40", "–", "–", "–", "–"]
    rows = videos()
    mean, std = rows.loc[(rows["task"] == "tea") & (rows["arm"] == "reg"), "rmse"].agg(["mean", "std"])
    assert frame.loc[3, "RMSE"] == f"{mean:.2f} ± {std:.2f}"
    assert frame.loc[5, "RMSE"] == "9.00"


def test_spread_leaves_out_what_diverged():
    assert spread(pd.Series([1.0, 3.0, np.inf]), 1) == "2.0 ± 1.4"
    assert spread(pd.Series([1.0, np.nan]), 1) == "1.0"
    assert spread(pd.Series([np.nan]), 1) == "–"


def test_groups_of_no_column_are_all_rows_and_values_have_a_format():
    rows = videos()
    assert [(names, len(part)) for names, part in groups_by(rows, {})] == [({}, len(rows))]
    names = [group.names for group in groups_by(rows, {"task": "t", "seed": "s"}, {"seed": "{:+d}"})]
    assert names[0] == {"t": "coffee", "s": "-1"}
    assert names[-1] == {"t": "tea", "s": "+2"}


def test_figure_draws_differences_and_their_intervals():
    found = effects(QUESTION, groups_by(videos(), {"task": "task"}), [("reg_cls", "reg")])
    figure = effect_figure({"all": found}, "RMSE (%)", line=lambda effect: effect.names["task"])
    (axes,) = figure.axes
    assert [text.get_text() for text in axes.get_yticklabels()] == ["coffee", "tea"]
    drawn = axes.lines[1:]  # after the line at 0
    for effect, ends, dot in zip(found, drawn[::2], drawn[1::2], strict=True):
        assert tuple(ends.get_xdata()) == effect.difference[1]
        assert dot.get_xdata() == [effect.difference[0]]
    assert "RMSE (%)" in figure.get_supxlabel()
