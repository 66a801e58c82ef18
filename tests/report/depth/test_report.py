"""The report of depth studies: candidates, intervals, figures, export; which folder is reported how."""

import io

import numpy as np
import pandas as pd
import pytest
from depth_folders import TRIVIAL, sums_of, write_depth_run, write_depth_runs
from image_runs import write_runs

from regcls_jax.report.build import build, publish
from regcls_jax.report.candidates import choose_candidates
from regcls_jax.report.depth.figures import map_figure
from regcls_jax.report.depth.report import read_depth_study
from regcls_jax.report.depth.study import squared_errors
from regcls_jax.report.depth.tables import error_groups, rmse_difference
from regcls_jax.report.effects import effects
from regcls_jax.report.kinds import DEPTHS, IMAGES, KINDS, kind_of
from regcls_jax.report.paper.published import published_nyud2
from regcls_jax.report.statistics import two_way_interval
from regcls_jax.store.rows import write_csv_atomic


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    return write_depth_runs(tmp_path_factory.mktemp("depth"), also=True)


def table(report, title):
    return next(found.frame for found in report.tables if found.title.startswith(title)).set_index("arm")


def test_the_candidate_with_the_lowest_validation_error_stands_for_its_arm(workdir):
    """Not the one with the lowest test error."""
    report = build(workdir, figures=False)
    assert list(table(report, "Test errors").index) == ["reg", "cls", "LDS", *TRIVIAL]
    assert table(report, "Test errors").loc["cls", "RMSE all"].startswith("0.9")
    candidates = table(report, "Candidates").set_index("candidate")
    assert candidates["taken"].to_dict() == {"cls_lam_0.1": "", "cls_lam_1.0": "yes"}


def test_an_arm_without_candidates_may_be_selected_by_what_rows_do_not_keep():
    rows = pd.DataFrame({"arm": ["reg"], "seed": [0], "split": ["val"], "shot": ["all"], "rmse": [1.0]})
    configs = {arm: {"candidate_for": "", "select": "first_pixel"} for arm in ("reg", "lds")}
    assert choose_candidates(configs, rows)[1] == {"reg": "reg", "lds": "lds"}
    for config in configs.values():
        config["candidate_for"] = "any"
    with pytest.raises(ValueError, match="candidates cannot be chosen by first_pixel"):
        choose_candidates(configs, rows)


def test_an_image_that_only_has_more_pixels_does_not_widen_the_interval():
    """Every pixel has the same error: there is nothing that images differ in."""
    sums = np.zeros((6, 3, 8))
    sums[:, 0, -1] = [10, 200, 3000, 40, 500, 6]
    sums[:, 0, 0] = 0.25 * sums[:, 0, -1]
    np.testing.assert_allclose(squared_errors(sums, "all"), 0.25)


def test_the_epoch_that_the_test_set_selects_has_columns_of_its_own(workdir, tmp_path):
    shown = table(build(workdir, figures=False), "Test errors")
    assert shown.loc["reg", "RMSE all"].startswith("1.0")
    assert shown.loc["reg", "RMSE-test all"].startswith("0.9")
    assert shown.loc["constant", "RMSE-test all"] == "–"
    once = build(write_depth_runs(tmp_path, ("reg", "lds")), figures=False)
    assert not any("RMSE-test" in column for column in table(once, "Test errors"))


def test_differences_of_rmse_have_the_interval_of_the_mse(workdir):
    study = read_depth_study(workdir)
    questions = error_groups(study)[:1]
    (effect,) = effects_of("lds", questions)
    difference, ends = rmse_difference(effect)
    values, images, seeds, roots = [], [], [], []
    for seed in range(3):
        pair = [squared_errors(sums_of(error, seed), "all") for error in (1.1, 1.0)]
        values += list(pair[0] - pair[1])
        images += range(len(pair[0]))
        seeds += [seed] * len(pair[0])
        roots.append([errors.mean() for errors in pair])
    both = np.sqrt(np.mean(roots, axis=0))
    assert difference == pytest.approx(both[0] - both[1], rel=1e-6)
    expected = two_way_interval(np.array(values), np.array(images), np.array(seeds))
    assert ends == pytest.approx(np.array(expected) / both.sum(), rel=1e-6)


def effects_of(arm, groups):
    from regcls_jax.report.depth.tables import QUESTION

    return effects(QUESTION, groups, [(arm, "reg")])


def test_shares_of_images_add_up_to_the_mse_of_all_pixels():
    sums = sums_of(1.0)
    sums[0] *= 3  # an image with more pixels weighs more
    assert squared_errors(sums, "all").mean() == pytest.approx(sums[..., 0].sum() / sums[..., -1].sum())
    assert squared_errors(sums, "few").mean() == pytest.approx(sums[:, 2, 0].sum() / sums[:, 2, -1].sum())


def test_an_export_has_the_same_report(workdir, tmp_path):
    report = build(workdir)
    assert {"depth_maps.png", "depth_maps.svg", "error_by_depth.png"} <= set(report.figures)
    said = publish(report, tmp_path / "work", export=tmp_path / "export")
    assert "Candidates" in said
    again = build(tmp_path / "export")
    for one, other in zip(report.tables, again.tables, strict=True):
        assert one.frame.equals(other.frame)
    assert again.figures == report.figures
    assert kind_of(tmp_path / "export") is DEPTHS


def test_folders_are_reported_by_the_task_of_their_runs(workdir, tmp_path):
    assert kind_of(workdir) is DEPTHS
    assert kind_of(write_runs(tmp_path / "ages", ("reg",), (0,))) is IMAGES
    assert kind_of(tmp_path) is None
    assert set(KINDS) >= {"age", "scalar", "depth"}


def test_unfinished_and_damaged_folders_are_named(tmp_path):
    write_depth_runs(tmp_path / "a", ("reg",), (0,))
    write_depth_run(tmp_path / "a", "lds", 0, finished=False)
    with pytest.raises(ValueError, match=r"1 trainings are still to be done: lds/seed0; run launch/train.py again"):
        build(tmp_path / "a")
    assert "Unfinished" in build(tmp_path / "a", unfinished=True, figures=False).remarks
    path = tmp_path / "a" / "reg" / "seed0" / "predictions.npz"
    with np.load(path) as file:
        arrays = dict(file)
    np.savez_compressed(path, **{**arrays, "test_sums": arrays["test_sums"] * [2, *[1] * 7]})
    with pytest.raises(OSError, match="gives a test RMSE of .* one is stale"):
        build(tmp_path / "a", unfinished=True)
    path.write_bytes(b"no archive")
    with pytest.raises(OSError, match="predictions.npz is not a readable file of predictions"):
        build(tmp_path / "a", unfinished=True)


def test_rows_and_pictures_that_do_not_belong_together_are_refused(tmp_path):
    workdir = write_depth_runs(tmp_path, ("reg", "lds"))
    rows, arrays = (workdir / "lds" / "seed1" / name for name in ("rows.csv.gz", "predictions.npz"))
    own, other = rows.read_bytes(), (workdir / "reg" / "seed1" / rows.name).read_bytes()
    rows.write_bytes(other)
    with pytest.raises(OSError, match=r"lds/seed1/rows\.csv\.gz is not of arm 'lds', seed 1"):
        build(workdir)
    frame = pd.read_csv(io.BytesIO(own), compression="gzip")
    write_csv_atomic(frame.assign(rmse=frame["rmse"].where(frame["seed"] >= 0, frame["rmse"] * 1.01)), rows)
    with pytest.raises(OSError, match="the runs disagree about the predictor constant"):
        build(workdir)
    rows.write_bytes(own)
    with np.load(arrays) as file:
        found = dict(file)
    np.savez(arrays, **{**found, "shown_depths": found["shown_depths"] + 1})
    with pytest.raises(OSError, match=r"predictions\.npz: shown_depths differs from that of"):
        build(workdir)


def test_published_numbers_stand_beside_ours(tmp_path):
    report = build(write_depth_runs(tmp_path, ("reg",), (0,), dataset="nyud2"), figures=False)
    shown = table(report, "Published numbers").loc["reg"]
    first = shown[shown["epoch by"] == "validation"].iloc[0]
    assert first["all, published"] == "1.614 ± 0.051"
    assert first["all, here"].startswith("1.0")
    stated = published_nyud2()
    assert not stated.duplicated(["source", "arm", "selected_on", "shot"]).any()
    assert stated["mean"].between(0.5, 2.5).all()


def test_all_maps_have_one_scale():
    depths = np.stack([np.full((4, 4), 2.0), np.full((4, 4), np.nan)])
    columns = {"true": depths, "predicted": depths + 5}
    for pictures in (None, np.zeros((2, 8, 8, 3), np.uint8)):
        figure = map_figure(columns, pictures)
        images = [image for axes in figure.axes for image in axes.get_images() if image.get_array().ndim == 2]
        assert {(image.norm.vmin, image.norm.vmax) for image in images[:4]} == {(2.0, 7.0)}
        titles = [axes.get_title() for axes in figure.axes if axes.get_title()]
        assert titles == [*(["picture"] if pictures is not None else []), "true", "predicted"]
        assert "depth (m)" in {axes.get_ylabel() for axes in figure.axes}


def test_what_is_exported_shows_no_picture(workdir):
    """Pictures of a data set may be for research only."""
    figure = build(workdir).figures["depth_maps.svg"].decode()
    assert "true depth" in figure
    assert "picture" not in figure
