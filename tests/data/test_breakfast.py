"""Breakfast: files to frames, persons to folds, videos to validation sets, and the predictors that need no features."""

import io
import re
import tarfile
from pathlib import Path

import numpy as np
import pytest
from video_files import VIDEOS, features, write_videos

from regcls_jax.data import video_features
from regcls_jax.data.breakfast import FOLDS, SOURCE, in_fold

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"


def specs_of(folder, **data):
    return SOURCE.specs({"features": str(folder), "tasks": ("tea",), "folds": ("S1",), **data})


def problem_of(folder, cache_dir, **data):
    spec, *_ = specs_of(folder, **data)
    SOURCE.ensure([spec], cache_dir, False)
    return spec, SOURCE.read(spec, cache_dir)


def test_frames_of_all_videos_in_the_order_of_their_names(tmp_path):
    lengths = write_videos(tmp_path / "features")
    _, problem = problem_of(tmp_path / "features", tmp_path / "cache")
    assert problem.groups.names == tuple(sorted(VIDEOS))
    np.testing.assert_array_equal(np.bincount(problem.groups.of), [lengths[name] for name in sorted(VIDEOS)])
    expected = np.concatenate([features(name, lengths[name]) for name in sorted(VIDEOS)])
    np.testing.assert_array_equal(problem.inputs, expected)


@pytest.mark.parametrize(("targets", "last"), [("relative", 89 / 90), ("absolute", 89)])
def test_targets_count_from_zero(tmp_path, targets, last):
    write_videos(tmp_path / "features")
    _, problem = problem_of(tmp_path / "features", tmp_path / "cache", targets=targets)
    first = problem.targets[problem.groups.of == 0]
    assert (first[0], first[-1]) == (0, np.float32(last))
    assert (np.diff(first) > 0).all()


def test_a_fold_tests_its_persons_and_validates_on_whole_videos_of_the_others(tmp_path):
    write_videos(tmp_path / "features")
    _, problem = problem_of(tmp_path / "features", tmp_path / "cache", folds=("S1",))
    videos = {name: set(problem.groups.of[rows]) for name, rows in problem.splits.items()}
    assert videos["test"] == {0, 1}  # P03 and P04
    assert len(videos["val"]) == 1
    assert not videos["train"] & videos["val"]
    assert sorted(np.concatenate([*problem.splits.values()])) == list(range(len(problem.targets)))


def test_published_validation_draws_frames(tmp_path):
    write_videos(tmp_path / "features")
    _, problem = problem_of(tmp_path / "features", tmp_path / "cache", validation="frames")
    videos = {name: set(problem.groups.of[rows]) for name, rows in problem.splits.items()}
    assert videos["train"] == videos["val"] == {2, 3, 4}
    train, val = len(problem.splits["train"]), len(problem.splits["val"])
    assert val == round((train + val) / 3)


def test_a_person_can_be_a_fold(tmp_path):
    write_videos(tmp_path / "features")
    specs = specs_of(tmp_path / "features", folds=("P03", "P30"), repetitions=2)
    assert [(spec.fold, spec.seed) for spec in specs] == [("P03", 0), ("P03", 1), ("P30", 0), ("P30", 1)]
    SOURCE.ensure(specs, tmp_path, False)
    problems = [SOURCE.read(spec, tmp_path) for spec in specs]
    assert [set(problem.groups.of[problem.splits["test"]]) for problem in problems] == [{0}, {0}, {4}, {4}]


def test_folds_divide_the_persons():
    persons = [f"P{number:02d}_cam01_P{number:02d}_tea" for number in range(3, 55)]
    assert all(sum(in_fold(video, fold) for fold in FOLDS) == 1 for video in persons)
    assert [sum(in_fold(video, fold) for video in persons) for fold in FOLDS] == [13, 13, 13, 13]
    with pytest.raises(ValueError, match="person_camera_person_task"):
        in_fold("kitchen_tea", "S1")


def test_constants_and_the_clock(tmp_path):
    lengths = write_videos(tmp_path / "features")
    spec, problem = problem_of(tmp_path / "features", tmp_path / "cache")
    found = SOURCE.predictors(spec, problem)
    assert set(found) == {"zero", "half", "clock"}
    trained = np.unique(problem.groups.of[problem.splits["train"]])
    mean = np.mean([lengths[sorted(VIDEOS)[video]] for video in trained])
    shortest = problem.groups.of == 0
    np.testing.assert_allclose(found["clock"][shortest], np.arange(90) / mean, rtol=1e-5)
    assert found["clock"].max() <= 1
    spec, problem = problem_of(tmp_path / "features", tmp_path / "cache", targets="absolute")
    assert set(SOURCE.predictors(spec, problem)) == {"zero"}


def test_half_has_a_pooled_rmse_of_29_per_cent():
    progress = np.concatenate([np.arange(length) / length for length in (900, 2000, 341)])
    assert 100 * np.sqrt(np.mean((progress - 0.5) ** 2)) == pytest.approx(28.87, abs=0.01)


def test_features_are_read_once_and_again_when_a_file_changes(tmp_path, monkeypatch):
    write_videos(tmp_path / "features")
    read = []
    plain = video_features.read_features
    monkeypatch.setattr(video_features, "read_features", lambda *given: read.append(given) or plain(*given))
    for _ in range(2):
        problem_of(tmp_path / "features", tmp_path / "cache")
    assert len(read) == len(VIDEOS)
    np.save(tmp_path / "features" / "P52_cam01_P52_tea.npy", features("new", 50))
    _, problem = problem_of(tmp_path / "features", tmp_path / "cache")
    assert "P52_cam01_P52_tea" in problem.groups.names
    assert len(read) == 2 * len(VIDEOS) + 1


def test_an_archive_is_as_good_as_a_folder(tmp_path):
    write_videos(tmp_path / "features")
    with tarfile.open(tmp_path / "all.tar.gz", "w:gz") as archive:
        archive.add(tmp_path / "features", "features")
    _, folder = problem_of(tmp_path / "features", tmp_path / "cache")
    _, packed = problem_of(tmp_path / "all.tar.gz", tmp_path / "cache")
    np.testing.assert_array_equal(folder.inputs, packed.inputs)
    assert folder.groups.names == packed.groups.names


def damaged(table):
    table[6, 3] = np.nan
    return table


MISTAKES = {
    "a row with NaN": (damaged, "P16_cam01_P16_tea.npy, row 7: a value is NaN or infinite (1 such rows)"),
    "too few columns": (lambda table: table[:, :63], "P16_cam01_P16_tea.npy has 63 columns; expected 64"),
    "no frames": (lambda table: table[:0], "P16_cam01_P16_tea.npy has no frames"),
    "one axis": (lambda table: table[0], "not one row of numbers a frame"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_bad_file_is_named(tmp_path, mistake):
    change, message = MISTAKES[mistake]
    lengths = write_videos(tmp_path / "features", suffix=".npy")
    np.save(tmp_path / "features" / f"{VIDEOS[2]}.npy", change(features(VIDEOS[2], lengths[VIDEOS[2]])))
    with pytest.raises(ValueError, match=re.escape(message)):
        problem_of(tmp_path / "features", tmp_path / "cache")


@pytest.mark.parametrize(
    ("text", "message"),
    [("", "has no frames"), ("1 2\n3\n", "row 2"), ("a b\n", "is no table of numbers"), ("\n\n", "has no frames")],
)
def test_a_bad_text_is_named(tmp_path, text, message):
    write_videos(tmp_path / "features")
    (tmp_path / "features" / "P18_cam01_P18_tea.txt").write_text(text)
    with pytest.raises(ValueError, match=f"P18_cam01_P18_tea.txt.*{message}"):
        problem_of(tmp_path / "features", tmp_path / "cache")


def test_damage_of_what_was_read_is_found(tmp_path):
    write_videos(tmp_path / "features")
    spec, _ = problem_of(tmp_path / "features", tmp_path / "cache")
    path = next((tmp_path / "cache").rglob("features.bin"))
    content = bytearray(path.read_bytes())
    content[1000] ^= 1
    path.write_bytes(content)
    video_features._check.cache_clear()
    with pytest.raises(OSError, match="is damaged; remove the folder"):
        SOURCE.ensure([spec], tmp_path / "cache", False)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"features": ""}, "data.features must name the folder"),
        ({"tasks": ("soup",)}, "data.tasks must be a tuple of some of coffee"),
        ({"folds": ("S5",)}, "data.folds must be a tuple of some of S1, S2, S3, S4, P03"),
        ({"targets": "percent"}, "data.targets must be one of relative, absolute"),
        ({"validation": "persons"}, "data.validation must be one of videos, frames"),
        ({"validation_share": 1}, "data.validation_share"),
        ({"seeds": 3}, "seeds"),
    ],
)
def test_mistakes_in_the_config(data, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        SOURCE.specs(data)


def test_a_task_that_is_not_there(tmp_path):
    write_videos(tmp_path / "features")
    with pytest.raises(ValueError, match="of task milk, files such as P03_cam01_P03_milk.txt; its tasks: tea"):
        problem_of(tmp_path / "features", tmp_path / "cache", tasks=("milk",))


def test_two_files_of_one_video(tmp_path):
    write_videos(tmp_path / "features")
    (tmp_path / "features" / "more").mkdir()
    np.save(tmp_path / "features" / "more" / f"{VIDEOS[0]}.npy", features("a", 5))
    with pytest.raises(ValueError, match="are both of video"):
        problem_of(tmp_path / "features", tmp_path / "cache")


def test_too_few_videos_for_a_fold(tmp_path):
    write_videos(tmp_path / "features", VIDEOS[:2])
    with pytest.raises(ValueError, match="tea/S1/repetition 0: 2 of 2 videos are of the persons to test on"):
        problem_of(tmp_path / "features", tmp_path / "cache")


@pytest.mark.skipif(not SHARED.exists(), reason="needs ../shared/data")
def test_the_real_features(tmp_path):
    packed = SHARED / "breakfast_coffee_5videos.tar.gz"
    _, problem = problem_of(packed, tmp_path, tasks=("coffee",), folds=("P08",))
    assert problem.inputs.shape == (3350, 64)
    with tarfile.open(packed) as archive:
        text = archive.extractfile("features/P08_webcam01_P08_coffee.txt").read()
    plain = np.loadtxt(io.BytesIO(text), dtype=np.float32)
    np.testing.assert_array_equal(problem.inputs[problem.splits["test"]], plain)
