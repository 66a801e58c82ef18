"""Table 5: units, differences over persons that hold their level, and the report of a study and of its export."""

import numpy as np
import pandas as pd
import pytest
from video_files import write_videos

from regcls_jax.report.build import build, publish, text
from regcls_jax.report.paper.published import published_table5
from regcls_jax.report.paper.tab5 import difference, in_units, person, tab5_tables
from regcls_jax.store.groups import GroupResults
from regcls_jax.study.engine import run_study


def errors_of(lines, unit=""):
    columns = ["arm", "task", "fold", "repetition", "group", "n", "mse"]
    return pd.DataFrame(lines, columns=columns).assign(unit=unit)


def test_an_error_in_one_unit_is_one_in_the_other_by_the_length_of_its_video():
    # Two videos of 100 and 300 frames: off by a tenth of the video everywhere, so by 10 and 30 frames.
    lines = [("reg", "tea", "S1", 0, "P03_a", 100, 0.01), ("reg", "tea", "S1", 0, "P04_a", 300, 0.01)]
    shares = in_units(errors_of(lines))
    frames = in_units(
        errors_of([(*line[:-1], error**2) for line, error in zip(lines, (10, 30), strict=True)], "frames")
    )
    assert (shares.own, frames.own) == ("percent", "frames")
    for found in (shares.frame.iloc[0], frames.frame.iloc[0]):
        assert found["percent"] == pytest.approx(10)
        assert found["frames"] == pytest.approx(np.sqrt((100 * 10**2 + 300 * 30**2) / 400))


def draw(generator, persons, tasks=3):
    """Errors of two arms that are equally good on average; a person does all tasks alike, seen by three cameras."""
    lines = []
    own = generator.normal(0, 0.01, persons)
    for task in range(tasks):
        for number in range(persons):
            hard = 0.05 + generator.gamma(2, 0.02)
            change = own[number] + generator.normal(0, 0.005)
            for camera in range(3):
                n = int(generator.integers(200, 300))
                for arm, mse in (("reg", hard), ("reg_cls", max(hard + change, 1e-4))):
                    lines += [(arm, f"task {task}", "S1", 0, f"P{number:02d}_cam{camera}", n, mse)]
    return errors_of(lines)


def test_a_difference_is_that_of_the_pooled_rmses():
    errors = draw(np.random.default_rng(0), 12, tasks=1)
    pooled = {arm: np.sqrt(np.average(part["mse"], weights=part["n"])) for arm, part in errors.groupby("arm")}
    found = difference(errors, "reg_cls", "reg", 100.0)
    assert found.value == pytest.approx(100 * (pooled["reg_cls"] - pooled["reg"]))
    assert found.interval.low < found.value < found.interval.high


def test_the_interval_holds_its_level_although_cameras_and_tasks_of_a_person_agree():
    generator, covered = np.random.default_rng(1), []
    for _ in range(150):
        found = difference(draw(generator, 10), "reg_cls", "reg", 1.0)
        covered.append(found.interval.low <= 0 <= found.interval.high)
    # 150 draws at 95 %: standard deviation .018. Taking cameras or tasks as independent gives less than .85.
    assert np.mean(covered) > 0.89


def test_the_interval_is_that_of_a_bootstrap_over_persons_where_the_arms_are_far_apart():
    generator = np.random.default_rng(2)
    errors = draw(generator, 40, tasks=1)
    errors.loc[errors["arm"] == "reg_cls", "mse"] *= 3
    found = difference(errors, "reg_cls", "reg", 1.0)
    errors["person"] = errors["group"].map(person)
    sums = errors.assign(s=errors["mse"] * errors["n"]).groupby(["arm", "person"])[["s", "n"]].sum()
    ours, theirs = sums.loc["reg_cls"].to_numpy(), sums.loc["reg"].to_numpy()
    drawn = []
    for _ in range(2000):
        rows = generator.integers(0, 40, 40)
        a, b = (np.sqrt(side[rows, 0].sum() / side[rows, 1].sum()) for side in (ours, theirs))
        drawn.append(a - b)
    half = (found.interval.high - found.interval.low) / 2
    assert half == pytest.approx(2.02 * np.std(drawn), rel=0.1)


def test_a_diverged_run_is_left_out():
    lines = [("reg", "tea", f"P{n:02d}", seed, f"P{n:02d}_a", 100, 0.01) for n in (3, 4, 5) for seed in (0, 1)]
    lines += [("half", "tea", f"P{n:02d}", 0, f"P{n:02d}_a", 100, 0.08) for n in (3, 4, 5)]
    errors = errors_of(lines).assign(split="test", run=[*range(6), -1, -1, -1])
    errors.loc[0, "mse"] = np.nan
    rows = errors.assign(target="progress", batch_rmse=0.1, mae=errors["mse"], seed=errors["repetition"])
    by_fold, measures, _ = tab5_tables(rows, GroupResults(errors, pd.DataFrame()))
    assert by_fold.frame.set_index("arm").loc["reg", "P03"] == "10.00"
    assert measures.frame.set_index("arm").loc["reg", "RMSE %"].startswith("10.00")


def test_an_arm_with_two_class_counts_is_no_table_5():
    lines = [(arm, "tea", "S1", 0, f"P{n:02d}_a", 100, 0.01) for arm in ("reg", "reg_cls") for n in (3, 4)]
    with pytest.raises(ValueError, match="was trained several times on one problem with one seed"):
        difference(errors_of([*lines, lines[-1]]), "reg_cls", "reg", 1.0)


def test_persons():
    assert person("P03_webcam01_P03_coffee") == "P03"


def test_the_published_table():
    table = published_table5()
    assert len(table) == 36
    assert table.set_index(["target", "arm", "fold"]).loc[("progress", "reg_cls", "S4"), "mean"] == 28.44
    # Nobody beats a constant of 0.5: 28.87.
    best = table[table["target"] == "progress"].groupby("arm")["mean"].mean().min()
    assert best == pytest.approx(28.87, abs=0.5)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("videos") / "features"
    write_videos(folder)
    config = {
        "name": "tab5",
        "data": {"source": "breakfast", "features": str(folder), "tasks": ("tea",), "folds": ("P03", "P17")},
        "run": {"hidden": (8,), "batch_size": 40, "epochs": 2, "low": 0.0, "high": 1.0},
        "arms": {"reg": {}, "reg_cls": {"classes": 5}},
        "predictions": True,
    }
    workdir = tmp_path_factory.mktemp("tab5")
    run_study(config, workdir, workdir / "cache", progress=False)
    return workdir


def test_the_report_of_a_study_and_of_its_export(finished, tmp_path):
    made = build(finished)
    titles = [table.title for table in made.tables]
    assert titles == ["Table 5", "Pooled and as published", "Against the constants, and against reg"]
    arms = made.tables[0].frame.set_index("arm")["P03"]
    assert arms["0.5"].startswith("28.87")
    assert {"reg", "reg+cls", "mean", "median", "0", "clock (sees the time)"} <= set(arms.index)
    assert set(made.figures) == {"figure.png", "figure.svg"}
    publish(made, finished, export=tmp_path / "export")
    again = build(tmp_path / "export")
    assert text(again) == text(made)
    assert again.figures["figure.svg"] == made.figures["figure.svg"]


def test_without_predictions_the_figure_shows_the_errors(finished, tmp_path):
    publish(build(finished, figures=False), finished, export=tmp_path / "export")
    (tmp_path / "export" / "predicted.csv.gz").unlink()
    assert set(build(tmp_path / "export").figures) == {"figure.png", "figure.svg"}
