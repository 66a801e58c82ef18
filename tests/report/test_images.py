"""The report of an image study, from synthetic folders of trainings (image_runs.py)."""

import gzip
import io
import json
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import matplotlib.image
import numpy as np
import pandas as pd
import pytest
from image_runs import ARMS, ages_of_test, group_of, naive_metrics, predict, train_counts, write_run, write_runs
from matplotlib.figure import Figure
from paths import LAUNCH

from configs import agedb, imdb_wiki
from regcls_jax.report.build import build, publish, text
from regcls_jax.report.images import figures as image_figures
from regcls_jax.report.images import report as image_report
from regcls_jax.report.images import tables as image_tables
from regcls_jax.report.images.report import read_study
from regcls_jax.report.images.study import target_of
from regcls_jax.report.page import page
from regcls_jax.report.paper.published import AGES as PUBLISHED
from regcls_jax.report.paper.published import published_ages
from regcls_jax.report.statistics import two_way_interval
from regcls_jax.report.tables import label
from regcls_jax.store.files import from_json

SEEDS = (0, 1, 2)
AGES = ages_of_test(3)
TARGET = target_of(train_counts(), AGES)
LAUNCHER = LAUNCH / "report.py"


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    return write_runs(tmp_path_factory.mktemp("faces") / "utkface")


@pytest.fixture(scope="module")
def report(workdir):
    return build(workdir)


def table(report, title):
    found = [made for made in report.tables if made.title == title]
    assert len(found) == 1, [made.title for made in report.tables]
    return found[0].frame.set_index("arm")


def tables_of(workdir):
    """The tables of a folder without its figures, which take longer."""
    study = read_study(workdir)
    return SimpleNamespace(tables=image_tables.image_tables(study), unfinished=study.unfinished)


def absolute_errors(arm):
    """Of the predictions as they are reported, in tenths of a year."""
    return np.stack([np.abs(predict(arm, seed, AGES).astype(float).round(1) - AGES) for seed in SEEDS])


def members(group):
    return np.array([group in ("all", group_of(age)) for age in AGES])


@pytest.mark.parametrize("arm", ["reg", "reg_cls_100_std"])
def test_test_errors_are_mean_and_std_over_seeds(report, arm):
    line = table(report, "Test errors on utkface").loc[label(arm)]
    assert line["seeds"] == "3"
    for column, metric, group in (
        *(("MAE", "mae", "all"), ("MSE", "mse", "all"), ("GM", "gm", "all"), ("bMAE", "bmae", "all")),
        *((f"MAE {group}", "mae", group) for group in ("many", "medium", "few")),
    ):
        kept = members(group)
        values = [naive_metrics(AGES[kept], predict(arm, seed, AGES)[kept])[metric] for seed in SEEDS]
        mean = sum(values) / 3
        std = (sum((value - mean) ** 2 for value in values) / 2) ** 0.5
        assert line[column] == f"{mean:.2f} ± {std:.2f}", column


def test_arms_stand_in_order_and_trivial_predictors_beside_them(report):
    frame = table(report, "Test errors on utkface")
    assert list(frame.index) == [*map(label, ARMS), "constant", "median", "oracle_bin_100"]
    median = np.median(np.repeat(np.arange(91), train_counts()))
    assert frame.loc["median", "MAE"] == f"{np.mean(np.abs(AGES - median)):.2f}"
    assert frame.loc["median", "seeds"] == "–"
    assert report.models == len(ARMS) * len(SEEDS) + 3


def parsed(cell):
    """A difference and the ends of its interval."""
    return [float(part.strip("[],")) for part in cell.split()]


@pytest.mark.parametrize(
    ("title", "arm", "baseline"),
    [
        ("Against reg", "reg_cls_100", "reg"),
        ("Against the same training without the auxiliary head", "reg_cls_100_std", "reg_std"),
        ("Classifying against regressing soft memberships", "reg_cls_100", "membership_100"),
    ],
)
def test_differences_are_arm_minus_baseline_within_their_interval(report, title, arm, baseline):
    line = table(report, title).loc[label(arm)]
    assert (line["baseline"], line["seeds"]) == (label(baseline), "3")
    difference = absolute_errors(arm) - absolute_errors(baseline)
    for group in ("all", "many", "medium", "few"):
        mean, low, high = parsed(line[group])
        assert mean == pytest.approx(difference[:, members(group)].mean(), abs=0.0051)
        assert low < mean < high
    by_age = [difference[:, age == AGES].mean() for age in np.unique(AGES)]
    assert parsed(line["bMAE"])[0] == pytest.approx(np.mean(by_age), abs=0.0051)


def test_smaller_errors_are_negative_differences(report):
    # lds has the least noise of all arms; memberships less than classes.
    assert parsed(table(report, "Against reg").loc["LDS", "all"])[2] < 0
    assert parsed(table(report, "Against the median predictor").loc["reg", "all"])[2] < 0
    soft = table(report, "Classifying against regressing soft memberships").loc["reg+cls (100)", "many"]
    assert parsed(soft)[0] > 0


def test_median_is_subtracted_from_every_seed(report):
    median = np.abs(np.median(np.repeat(np.arange(91), train_counts())) - AGES)
    mean = parsed(table(report, "Against the median predictor").loc["reg", "few"])[0]
    assert mean == pytest.approx((absolute_errors("reg") - median)[:, members("few")].mean(), abs=0.0051)


def test_only_true_controls_are_compared(report):
    lines = table(report, "Against the same training without the auxiliary head")
    assert list(lines.index) == [
        "reg+cls (100, standardised)"
    ]  # the control of the others is reg, which has its own table
    assert list(table(report, "Classifying against regressing soft memberships").index) == ["reg+cls (100)"]


def test_the_interval_is_over_seeds_and_images(report):
    difference = absolute_errors("reg_cls_100") - absolute_errors("reg")
    seeds, images = (labels.ravel() for labels in np.indices(difference.shape))
    expected = two_way_interval(difference.ravel(), images, seeds)
    assert parsed(table(report, "Against reg").loc["reg+cls (100)", "all"])[1:] == pytest.approx(expected, abs=0.0051)


def test_one_seed_has_neither_spread_nor_interval(tmp_path):
    made = tables_of(write_runs(tmp_path, arms=("reg", "reg_cls_100"), seeds=(4,)))
    assert "±" not in table(made, "Test errors on utkface").loc["reg", "MAE"]
    assert table(made, "Against reg").loc["reg+cls (100)", "all"].endswith(" –")


def test_seeds_are_paired_by_number(tmp_path):
    write_runs(tmp_path, arms=("reg",), seeds=(0, 1))
    write_runs(tmp_path, arms=("reg_cls_100",), seeds=(1, 2))
    line = table(tables_of(tmp_path), "Against reg").loc["reg+cls (100)"]
    difference = (absolute_errors("reg_cls_100") - absolute_errors("reg"))[1]
    assert line["seeds"] == "1"
    assert float(line["all"].split()[0]) == pytest.approx(difference.mean(), abs=0.0051)


def test_group_without_test_images_is_a_dash(tmp_path):
    write_runs(tmp_path, arms=("reg", "reg_cls_100"), seeds=(0, 1))
    for path in tmp_path.glob("*/seed*/"):
        arrays = dict(np.load(path / "predictions.npz"))
        arrays["train_counts"] = np.where(arrays["train_counts"] > 0, 5000, 0)
        arrays["train_counts"] = np.concatenate([arrays["train_counts"][:80], np.full(20, 5000)])
        np.savez(path / "predictions.npz", **arrays)
        rows = pd.read_csv(path / "rows.csv.gz")
        metrics = ["mae", "mse", "rmse", "gm", "bmae"]
        rows[metrics] = rows[metrics].where(~rows["shot"].isin(["medium", "few"]))
        rows.to_csv(path / "rows.csv.gz", index=False, na_rep="nan")
    made = tables_of(tmp_path)
    assert table(made, "Test errors on utkface").loc["reg", "MAE few"] == "–"
    assert table(made, "Against reg").loc["reg+cls (100)", "few"] == "–"


def test_unfinished_runs_are_named(tmp_path, monkeypatch):
    write_runs(tmp_path, arms=("reg", "reg_cls_100"), seeds=(0, 1))
    (tmp_path / "reg_cls_100" / "seed1" / "rows.csv.gz").unlink()
    write_run(tmp_path, "lds", 0, finished=False, **ARMS["lds"])
    names = "lds/seed0, lds/seed1, reg_cls_100/seed1"  # the second was never started
    with pytest.raises(ValueError, match=f"3 trainings are still to be done: {names}; run"):
        build(tmp_path)
    monkeypatch.setattr(image_report, "_figures", lambda study: {})  # they take long and are not asked about
    made = build(tmp_path, unfinished=True)
    assert f"Unfinished: 3 trainings are still to be done: {names}." in made.remarks
    assert list(table(made, "Test errors on utkface").index)[:2] == ["reg", "reg+cls (100)"]
    assert table(made, "Test errors on utkface").loc["reg+cls (100)", "seeds"] == "1"


def test_nothing_finished_is_an_error(tmp_path):
    write_run(tmp_path, "reg", 0, finished=False)
    with pytest.raises(ValueError, match="none of the 1 trainings is finished"):
        build(tmp_path, unfinished=True)


def _cut(path):
    path.write_bytes(path.read_bytes()[:100])


def _arrays(path, **changes):
    np.savez(path, **{**dict(np.load(path)), **changes})


def _rows(path, edit):
    edit(pd.read_csv(path)).to_csv(path, index=False)


@pytest.mark.parametrize(
    ("name", "spoil", "message"),
    [
        ("predictions.npz", _cut, "predictions.npz is not a readable file of predictions"),
        ("predictions.npz", Path.unlink, "predictions.npz is not a readable file of predictions"),
        ("predictions.npz", lambda p: _arrays(p, test_prediction=np.zeros(3)), "the targets have shape"),
        ("predictions.npz", lambda p: _arrays(p, test_prediction=AGES * np.nan), "test_prediction holds a value that"),
        ("predictions.npz", lambda p: _arrays(p, test_prediction=AGES + 1), "is stale"),
        ("predictions.npz", lambda p: _arrays(p, train_counts=np.ones(9, int)), "train_counts differs"),
        ("rows.csv.gz", lambda p: p.write_bytes(gzip.compress(b"arm,seed\nreg,1\n")), "rows.csv.gz lacks the column"),
        ("rows.csv.gz", lambda p: p.write_text(""), "rows.csv.gz is not a readable CSV"),
        ("rows.csv.gz", lambda p: _rows(p, lambda rows: pd.concat([rows, rows[:1]])), "holds a row twice"),
        ("rows.csv.gz", lambda p: _rows(p, lambda rows: rows.replace({"arm": {"reg": "mine"}})), "is not of arm 'reg'"),
        (
            "rows.csv.gz",
            lambda p: _rows(p, lambda rows: rows.assign(mse=rows["mse"] + (rows["arm"] == "median"))),
            "the runs disagree about the predictor median",
        ),
        ("config.json", _cut, "config.json is not a readable JSON file"),
        ("config.json", lambda p: p.write_text('{"arm": "reg"}'), "config.json lacks seed"),
        ("config.json", lambda p: p.write_text('{"arm": "reg", "seed": 7}'), "the folder was renamed or copied"),
        ("meta.json", Path.unlink, "meta.json is not a readable JSON file"),
        ("metrics.jsonl", _cut, r"metrics.jsonl, line \d+ is not readable"),
    ],
)
def test_damaged_files_are_named(tmp_path, name, spoil, message):
    write_runs(tmp_path, arms=("reg",), seeds=(0, 1))
    spoil(tmp_path / "reg" / "seed1" / name)
    with pytest.raises((OSError, ValueError), match=message) as caught:
        build(tmp_path)
    assert str(tmp_path) in str(caught.value)


def test_two_data_sets_are_not_one_study(tmp_path):
    write_run(tmp_path, "reg", 0)
    write_run(tmp_path, "lds", 0, dataset="agedb_dir")
    with pytest.raises(OSError, match="agedb_dir and utkface"):
        build(tmp_path)


def test_setting_that_a_run_lacks_has_its_default(tmp_path):
    path = write_run(tmp_path, "reg", 0) / "config.json"
    config = from_json(path.read_text())
    del config["momentum"]
    path.write_text(json.dumps(config))
    assert read_study(tmp_path).configs["reg"]["momentum"] == 0.9


def test_published_numbers_stand_beside_ours(tmp_path):
    made = tables_of(write_runs(tmp_path, arms=("reg", "lds"), seeds=(0, 1), dataset="imdb_wiki_dir"))
    lines = [found.frame for found in made.tables if found.title == "Published numbers"][0]
    line = lines[(lines["arm"] == "reg") & (lines["source"] == "Table 3") & (lines["metric"] == "MAE")].iloc[0]
    ours = table(made, "Test errors on imdb_wiki_dir").loc["reg"]
    assert (line["few, published"], line["all, published"]) == ("26.81 ± 0.48", "8.09 ± 0.01")
    assert (line["few, here"], line["all, here"]) == (ours["MAE few"], ours["MAE"])
    assert set(lines.loc[lines["arm"] == "GAI", "all, here"]) == {"–"}
    assert list(lines.loc[lines["arm"] == "balanced_data_reg_cls", "many, published"]) == ["–", "–"]


def test_order_balance_and_extremes_are_those_of_the_predictions(report):
    lines = table(report, "Order, balance and extremes")
    assert list(lines.index) == [*map(label, ARMS), "median"]
    assert lines.loc["median", "Pearson"] == lines.loc["median", "Spearman"] == "–"
    arm, pearson, brmse = "lds", [], []
    for seed in SEEDS:
        made = predict(arm, seed, AGES).astype(float).round(1)
        pearson.append(np.corrcoef(made, AGES)[0, 1])
        by_age = pd.Series((made - AGES) ** 2).groupby(np.floor(AGES)).mean()
        brmse.append(np.sqrt(by_age.mean()))
    assert lines.loc[label(arm), "Pearson"] == f"{np.mean(pearson):.3f} ± {np.std(pearson, ddof=1):.3f}"
    assert lines.loc[label(arm), "bRMSE"] == f"{np.mean(brmse):.2f} ± {np.std(brmse, ddof=1):.2f}"


@pytest.mark.parametrize("dataset", PUBLISHED)
def test_published_numbers_are_of_arms_that_a_config_has(dataset):
    config = {"imdb_wiki_dir": imdb_wiki, "agedb_dir": agedb}[dataset].get_config()
    assert config.run.dataset == dataset
    assert set(published_ages(dataset)["arm"]) <= set(config.arms)


def test_published_table_3_is_whole():
    numbers = published_ages("imdb_wiki_dir")
    paper = numbers[numbers["source"] == "Table 3"].set_index(["arm", "metric", "shot"])
    assert len(paper) == 10 * 8 - 4  # "Balanced" has no MSE
    assert paper["std"].notna().sum() == 7 * 8
    # Corners of the printed table.
    assert paper.loc[("focal", "mae", "all"), "mean"] == 7.97
    assert tuple(paper.loc[("reg_cls_bal_100", "mse", "few"), ["mean", "std"]]) == (925.65, 21.96)
    assert tuple(paper.loc[("reg_cls_100", "mae", "all"), ["mean", "std"]]) == (7.61, 0.02)
    assert paper.loc[("gai", "mae", "few"), "mean"] == 23.05
    assert not numbers.duplicated(["source", "arm", "metric", "shot"]).any()


def test_export_holds_numbers_and_plots_only(report, workdir, tmp_path):
    export = tmp_path / "utkface"
    printed = publish(report, workdir, export=export)
    stems = ("prediction_versus_age", "error_by_age", "training_curves")
    figures = {f"{stem}.{kind}" for stem in stems for kind in ("png", "svg")}
    files = {"table.md", "rows.csv.gz", "config.json", "meta.json"}
    files |= {"predictions.csv.gz", "train_counts.csv", "curves.csv.gz"}
    assert {path.name for path in export.iterdir()} == figures | files
    assert "Against the median predictor" in printed
    config = from_json((export / "config.json").read_text())
    assert (config["name"], config["seeds"], list(config["arms"])) == ("utkface", [0, 1, 2], list(ARMS))
    assert config["arms"]["reg_std"]["output"] == "standardised"
    assert config["run"]["batch_size"] == 128
    meta = from_json((export / "meta.json").read_text())
    assert meta["arms"]["reg"] == {"seeds": 3, "seconds": 33.0, "best_epoch": {"0": 3, "1": 4, "2": 5}}
    assert (meta["trainings"], meta["seconds"]) == (21, 231.0)
    predictions = pd.read_csv(io.BytesIO(gzip.decompress((export / "predictions.csv.gz").read_bytes())))
    assert np.abs(predictions["reg/seed1"] - predict("reg", 1, AGES)).max() <= 0.0501
    rows = pd.read_csv(export / "rows.csv.gz")
    stated = rows[(rows["arm"] == "lds") & (rows["seed"] == 2) & (rows["split"] == "test") & (rows["shot"] == "all")]
    assert stated["mae"].item() == pytest.approx(naive_metrics(AGES, predict("lds", 2, AGES))["mae"], rel=1e-6)


def test_export_gives_the_report_of_its_trainings(report, workdir, tmp_path):
    publish(report, workdir, export=tmp_path / "utkface")
    again = build(tmp_path / "utkface")
    assert text(again) == text(report)
    assert again.figures == report.figures
    publish(again, tmp_path / "utkface", export=tmp_path / "twice")
    for path in (tmp_path / "twice").iterdir():
        assert path.read_bytes() == (tmp_path / "utkface" / path.name).read_bytes(), path.name


def test_export_without_curves_has_no_figure_of_them(tmp_path):
    workdir = write_runs(tmp_path / "runs", arms=("reg", "lds"), seeds=(0, 1))
    publish(build(workdir, figures=False), workdir, export=tmp_path / "export")
    (tmp_path / "export" / "curves.csv.gz").unlink()
    made = build(tmp_path / "export")
    assert {Path(name).stem for name in made.figures} == {"prediction_versus_age", "error_by_age"}
    assert [found.title for found in made.tables] == [found.title for found in tables_of(workdir).tables]


@pytest.mark.parametrize(
    ("name", "spoil", "message"),
    [
        ("train_counts.csv", Path.unlink, "train_counts.csv is not a readable CSV"),
        ("config.json", Path.unlink, "config.json is not a readable JSON"),
        ("rows.csv.gz", lambda p: _rows(p, lambda rows: pd.concat([rows, rows[:1]])), "holds a row twice"),
        ("predictions.csv.gz", lambda p: _rows(p, lambda f: f.assign(**{"reg/seed0": f["age"]})), "one is stale"),
        (
            "predictions.csv.gz",
            lambda p: _rows(p, lambda f: f.rename(columns={"reg/seed0": "mine"})),
            "'mine' is of no",
        ),
        ("predictions.csv.gz", lambda p: _rows(p, lambda f: f.drop(columns="age")), "lacks the column.s. age"),
    ],
)
def test_damaged_exports_are_named(tmp_path, name, spoil, message):
    workdir = write_runs(tmp_path / "runs", arms=("reg",), seeds=(0, 1))
    publish(build(workdir, figures=False), workdir, export=tmp_path / "export")
    spoil(tmp_path / "export" / name)
    with pytest.raises((OSError, ValueError), match=message) as caught:
        build(tmp_path / "export", figures=False)
    assert str(tmp_path / "export") in str(caught.value)


@pytest.fixture(scope="module")
def houses(tmp_path_factory):
    """A study of another target: files as a loop for any target leaves them, with buckets of a range of prices."""
    workdir = write_runs(tmp_path_factory.mktemp("houses"), arms=("reg", "reg_cls_100"), seeds=(0, 1))
    for path in workdir.glob("*/seed*/"):
        arrays = dict(np.load(path / "predictions.npz"))
        made = {name.replace("age", "target"): values for name, values in arrays.items()}
        made |= {"bucket_edges": np.linspace(0, 91, 27), "train_median": np.float64(30.5)}
        made["train_counts"] = np.add.reduceat(arrays["train_counts"], np.arange(0, 91, 3.5).astype(int))
        np.savez(path / "predictions.npz", **made)
        config = from_json((path / "config.json").read_text())
        (path / "config.json").write_text(json.dumps({**config, "dataset": "houses"}))
        meta = from_json((path / "meta.json").read_text())
        (path / "meta.json").write_text(json.dumps({**meta, "target": "price", "unit": "kEUR"}))
    return workdir


def test_target_and_unit_stand_wherever_they_are_meant(houses, tmp_path):
    made = build(houses)
    publish(made, houses, export=tmp_path / "export")
    page = (tmp_path / "export" / "table.md").read_text()
    assert "absolute error (kEUR)" in page
    assert "training prices" in page
    assert not re.search("age|year", page.replace("imagenet", "").replace("images", "").replace("average", ""))
    svg = made.figures["error_by_price.svg"].decode()
    assert "price (kEUR); errors are means over 5 buckets" in svg
    assert "test MAE (kEUR)" in svg
    assert list(made.besides["predictions.csv.gz"].columns)[0] == "price"
    assert text(build(tmp_path / "export", figures=False)) == text(made)
    errors = np.abs(30.5 - AGES)
    own = np.mean([np.abs(predict("reg", seed, AGES).astype(float).round(2) - AGES) for seed in (0, 1)], axis=0)
    mean = parsed(table(made, "Against the median predictor").loc["reg", "all"])[0]
    assert mean == pytest.approx((own - errors).mean(), abs=0.00051), "the median that the run gives, not a bucket's"


def test_page_shows_the_study(report, workdir):
    html = page([(str(workdir), report)])
    assert html.count("data:image/svg") == 3
    assert "4 min" in html  # 231 s
    assert ">reg+cls (100, standardised)</th>" in html


def test_launcher_exports_what_build_gives(tmp_path):
    workdir = write_runs(tmp_path / "runs", arms=("reg", "reg_cls_100"), seeds=(0,))
    export, html = tmp_path / "results", tmp_path / "page.html"
    command = [sys.executable, LAUNCHER, f"--workdir={workdir}", f"--export={export}", f"--html={html}"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "| reg+cls (100)" in done.stdout
    assert html.read_text().count("data:image/svg") == 3
    # Equal folders give equal figures, also in another process.
    for name, data in build(workdir).figures.items():
        assert (export / name).read_bytes() == data == (workdir / "report" / name).read_bytes(), name


def lines_of(axes):
    return {line.get_label(): line.get_xydata() for line in axes.lines}


def test_over_buckets_is_the_mean_of_the_window():
    ages = np.array([0.0, 1.0, 1.0, 3.0, 9.0])
    values = np.array([[1.0, 2.0, 4.0, 8.0, 5.0], [3.0, 2.0, 4.0, 0.0, 5.0]])
    mean, std = image_figures.over_buckets(ages.astype(int), values)
    assert np.isnan(mean[[2, 4, 5, 6, 7, 8]]).all(), "no sample of that age"
    window = values[:, [0, 1, 2]]  # within two years of 0
    np.testing.assert_allclose([mean[0], std[0]], [window.mean(), window.std()])
    window = values[:, [1, 2, 3]]  # within two years of 3
    np.testing.assert_allclose([mean[3], std[3], mean[9], std[9]], [window.mean(), window.std(), 5, 0])
    assert len(image_figures.over_buckets(np.zeros(2, int), np.ones((1, 2)))[0]) == 1


def test_prediction_figure_draws_samples_means_and_references():
    predictions = {arm: np.stack([predict(arm, seed, AGES) for seed in SEEDS]) for arm in ("reg", "lds")}
    figure = image_figures.prediction_figure(AGES, predictions, TARGET)
    assert [axes.get_title() for axes in figure.axes] == ["reg", "LDS"]
    for axes, found in zip(figure.axes, predictions.values(), strict=True):
        drawn = lines_of(axes)
        mean, _ = image_figures.over_buckets(AGES.astype(int), found)
        np.testing.assert_allclose(drawn["mean ± std within 2 years of that age"], np.stack([np.arange(86), mean], 1))
        assert (drawn["prediction = age"][:, 0] == drawn["prediction = age"][:, 1]).all()
        assert set(drawn["median predictor"][:, 1]) == {np.median(np.repeat(np.arange(91), train_counts()))}
        scatter = axes.collections[0].get_offsets()
        np.testing.assert_allclose(scatter[:, 1], found[0])
        assert np.abs(scatter[:, 0] - AGES).max() <= 0.4
        assert axes.get_ylim()[0] < found.min()
        assert axes.get_ylim()[1] > found.max()


def test_error_figure_draws_errors_above_the_histogram():
    predictions = {arm: np.stack([predict(arm, seed, AGES) for seed in SEEDS]) for arm in ("reg", "lds")}
    errors, histogram = image_figures.error_figure(AGES, predictions, TARGET).axes
    drawn = lines_of(errors)
    for arm in predictions:
        near = np.abs(AGES - 40) <= 2
        assert drawn[label(arm)][40, 1] == pytest.approx(np.abs(predictions[arm] - AGES)[:, near].mean(), rel=1e-5)
    assert drawn["median predictor"][31, 1] < 2
    bars = {round(bar.get_x() + 0.5): bar.get_height() for bar in histogram.containers[0]}
    counts = train_counts()
    for age in (0, 30, 65, 79):
        assert bars[age] == counts[age]
    for axes in (errors, histogram):
        shaded = {age: None for age in range(86)}
        for span in axes.patches:
            low, high = span.get_extents().transformed(axes.transData.inverted()).intervalx
            if span.get_zorder() == 0:
                shaded |= {age: span.get_facecolor()[0] for age in range(86) if low < age < high}
        tints = {"many": 1.0, "medium": 0.93, "few": 0.84}
        assert shaded == pytest.approx({age: tints[group_of(age)] for age in range(86)})


def test_many_arms_share_panels_with_the_first():
    predictions = {f"arm{k:02}": predict("reg", k, AGES)[None] for k in range(18)}
    *panels, _ = image_figures.error_figure(AGES, predictions, TARGET).axes
    shown = [[name for name in lines_of(axes) if name.startswith("arm")] for axes in panels]
    assert [len(names) for names in shown] == [7, 7, 6]
    assert all(names[0] == "arm00" for names in shown)
    assert sorted({name for names in shown for name in names}) == sorted(predictions)
    for axes in panels:
        assert len({line.get_color() for line in axes.lines}) == len(axes.lines)


@pytest.mark.parametrize("level", [5.0, 40.0])
def test_curves_are_means_over_seeds_and_in_sight(level):
    curves = [pd.DataFrame({"epoch": [1, 2], "val_mae": [60.0 + k, level + k]}) for k in range(2)]
    (axes,) = image_figures.curve_figure({"reg": curves, "lds": [curves[0][:1]]}, median=15.0, target=TARGET).axes
    drawn = lines_of(axes)
    np.testing.assert_allclose(drawn["reg"], [[1, 60.5], [2, level + 0.5]])
    assert axes.get_ylim()[0] < level
    assert axes.get_ylim()[1] > max(15.0, level + 1)
    assert len(axes.lines) == 3 + 2 + 1  # seeds, means, median


def test_worst_errors_are_the_largest_first():
    ages, predictions = np.array([10.0, 20.0, 30.0, 40.0]), np.array([11.0, 50.0, 30.0, 0.0])
    assert image_figures.worst_errors(ages, predictions, 3).tolist() == [3, 1, 0]
    assert len(image_figures.worst_errors(ages, predictions)) == 4


def test_grid_shows_each_image_with_its_ages():
    images = np.random.default_rng(0).integers(0, 256, (8, 5, 4, 3), np.uint8)
    figure = image_figures.worst_errors_grid(images, np.arange(8.0), np.arange(8.0) + 10.25, TARGET)
    assert len(figure.axes) == 12
    for k, axes in enumerate(figure.axes[:8]):
        np.testing.assert_array_equal(axes.images[0].get_array(), images[k])
        assert axes.get_title() == f"{k} → {k + 10.25:.1f}"
    assert not any(axes.images for axes in figure.axes[8:])


@pytest.mark.parametrize(
    ("images", "ages", "message"),
    [
        (np.zeros((0, 4, 4, 3), np.uint8), np.zeros(0), "images must be uint8"),
        (np.zeros((2, 4, 4, 3), np.float32), np.zeros(2), "images must be uint8"),
        (np.zeros((2, 4, 4), np.uint8), np.zeros(2), "images must be uint8"),
        (np.zeros((2, 4, 4, 3), np.uint8), np.zeros(3), "2 images need as many"),
    ],
)
def test_grid_refuses_what_are_no_images(images, ages, message):
    with pytest.raises(ValueError, match=message):
        image_figures.worst_errors_grid(images, ages, np.zeros_like(ages), TARGET)


def test_figures_of_one_run(tmp_path, monkeypatch):
    asked = []

    def decode(indices):
        asked.append(indices)
        return np.full((len(indices), 8, 8, 3), 90, np.uint8)

    predictions = predict("reg", 0, AGES)
    given = {"arm": "reg", "values": AGES, "predictions": predictions, "target": TARGET, "decode": decode}
    folder = tmp_path / "plots"
    written = image_figures.save_run_figures(folder, k=7, **given)
    names = ["prediction_versus_age.png", "error_by_age.png", "worst_errors.png"]
    assert [path.name for path in written] == names
    assert sorted(path.name for path in folder.iterdir()) == sorted(names)
    assert [len(indices) for indices in asked] == [7]
    assert np.abs(predictions - AGES)[asked[0][0]] == np.abs(predictions - AGES).max()
    assert all(np.ptp(matplotlib.image.imread(path)[..., :3]) > 0.5 for path in written)
    with pytest.raises(ValueError, match="must be of the same images"):
        image_figures.save_run_figures(folder, **{**given, "values": AGES[1:]})
    monkeypatch.setattr(Figure, "savefig", lambda *args, **kwargs: (_ for _ in ()).throw(OSError("disk full")))
    before = written[0].read_bytes()
    with pytest.raises(OSError, match="disk full"):
        image_figures.save_run_figures(folder, **given)
    assert written[0].read_bytes() == before
