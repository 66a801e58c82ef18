"""A study's folder: one config, shared or held alone, and what killed processes left in it."""

import json
import os
import threading

import pytest

from regcls_jax.store.claims import ABANDONED, open_claims
from regcls_jax.store.files import read_json, write_new
from regcls_jax.store.workdir import CLAIMS, WorkdirInUse, check_no_study, in_use, open_workdir, share_workdir

CONFIG = {"name": "x", "run": {"epochs": 2, "hidden": (6, 15)}, "arms": {"reg": {}}}


def test_several_processes_share_a_folder_of_one_config(tmp_path):
    for _ in range(2):
        assert share_workdir(tmp_path / "a" / "b", CONFIG) == tmp_path / "a" / "b"
    assert read_json(tmp_path / "a" / "b" / "config.json") == json.loads(json.dumps(CONFIG))
    (tmp_path / "a" / "b" / "rows.csv.gz").touch()
    with pytest.raises(ValueError, match=r"another config: run\.epochs is 2 there and None here"):
        share_workdir(tmp_path / "a" / "b", {"name": "x", "arms": {}})


def test_of_many_one_writes_a_new_file(tmp_path):
    threads, barrier, wrote = 8, threading.Barrier(8), []

    def writer(number):
        barrier.wait()
        if write_new(tmp_path / "config.json", str(number)):
            wrote.append(str(number))

    running = [threading.Thread(target=writer, args=(number,)) for number in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    assert [(tmp_path / "config.json").read_text()] == wrote
    assert [path.name for path in tmp_path.iterdir()] == ["config.json"]


def test_a_folder_that_is_held_is_refused(tmp_path):
    with open_workdir(tmp_path, CONFIG):
        assert in_use(tmp_path)
        with pytest.raises(WorkdirInUse, match="in use by another process"), open_workdir(tmp_path, CONFIG):
            pass
        assert in_use(tmp_path), "who was refused does not end it"
    assert not in_use(tmp_path)
    assert not in_use(tmp_path / "nowhere")
    with open_workdir(tmp_path, CONFIG):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["config.json"]


def test_what_others_may_be_writing_is_left_alone(tmp_path):
    (tmp_path / "rows").mkdir()
    old, new = tmp_path / "rows" / ".old.tmp", tmp_path / "rows" / ".new.tmp"
    for path in (old, new):
        path.write_text("half")
    then = old.stat().st_mtime - ABANDONED - 60
    os.utime(old, (then, then))
    share_workdir(tmp_path, CONFIG)
    assert [path.name for path in (tmp_path / "rows").iterdir()] == [".new.tmp"]
    with open_workdir(tmp_path, CONFIG):
        assert not new.exists(), "nobody else is here"


OTHER = {"name": "x", "run": {"epochs": 3}, "arms": {"reg": {}}}


def attempt(folder, *files):
    """What an attempt left that failed: its config.json and some files."""
    share_workdir(folder, CONFIG)
    for name in files:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("")
    (folder / "rows").mkdir(exist_ok=True)


@pytest.mark.parametrize(
    "files",
    [
        (),
        ("rows/trivial.csv.gz", "data.json", "chunks.json"),
        ("rows/.0.csv.gz.tmp",),
        ("metrics.jsonl", "tensorboard/events.1"),
    ],
)
def test_an_attempt_without_results_makes_way_for_another_config(tmp_path, files):
    for name, take in (("shared", share_workdir), ("alone", open_workdir)):
        folder = tmp_path / name
        attempt(folder, *files)
        taken = take(folder, OTHER)
        if take is open_workdir:
            with taken:
                pass
        assert read_json(folder / "config.json") == OTHER
        assert not (folder / "rows" / "trivial.csv.gz").exists(), "it may be of other data"


@pytest.mark.parametrize(
    "file",
    ["rows/0000000-0000001.csv", "trace/0.csv.gz", "checkpoints/3/state", "rows.csv", "rows.csv.gz", "thesis.tex"],
)
def test_results_and_anything_unknown_bind_a_folder_to_its_config(tmp_path, file):
    attempt(tmp_path, file)
    with pytest.raises(ValueError, match=r"another config: run\.epochs is 2 there and 3 here; choose another workdir"):
        share_workdir(tmp_path, OTHER)
    with pytest.raises(ValueError, match=r"another config"), open_workdir(tmp_path, OTHER):
        pass
    assert read_json(tmp_path / "config.json") == json.loads(json.dumps(CONFIG))


def test_a_file_of_another_program_is_left_alone(tmp_path):
    (tmp_path / "config.json").write_text('{"name": "a package"}')
    with pytest.raises(ValueError, match="another config"):
        share_workdir(tmp_path, CONFIG)
    check_no_study(tmp_path)


def test_a_study_whose_first_results_are_on_their_way_is_left_alone(tmp_path):
    attempt(tmp_path)
    with open_claims(tmp_path / CLAIMS):
        share_workdir(tmp_path, CONFIG)
        with pytest.raises(ValueError, match="another config"):
            share_workdir(tmp_path, OTHER)
    share_workdir(tmp_path, OTHER)


def test_a_study_and_trainings_of_the_loop_do_not_share_a_folder(tmp_path):
    check_no_study(tmp_path / "nowhere")
    with open_workdir(tmp_path / "reg" / "seed0", {"arm": "reg", "seed": 0}):
        pass
    check_no_study(tmp_path)
    with pytest.raises(ValueError, match=r"holds trainings of launch/train\.py; choose another workdir for a study"):
        share_workdir(tmp_path, CONFIG)
    with pytest.raises(ValueError, match="seed0 is the folder of one training, <workdir>/<arm>/seed<k>"):
        check_no_study(tmp_path / "reg" / "seed0")
    share_workdir(tmp_path / "study", CONFIG)
    with pytest.raises(ValueError, match=r"study is the folder of a study of launch/study\.py; choose another"):
        check_no_study(tmp_path / "study")


def test_keys_that_an_earlier_version_did_not_write_had_their_defaults(tmp_path):
    """A training that was begun before a field existed goes on."""
    before, now = {"arm": "reg", "epochs": 3}, {"arm": "reg", "epochs": 3, "sam_rho": 0.0, "seed": 1}
    with open_workdir(tmp_path, before):
        (tmp_path / "rows.csv.gz").write_text("")
    with open_workdir(tmp_path, now, {"sam_rho": 0.0, "seed": 1, "epochs": 80}):
        pass
    for other in ({**now, "sam_rho": 0.5}, {**now, "epochs": 80}):
        with (
            pytest.raises(ValueError, match="holds the results of another config"),
            open_workdir(tmp_path, other, {"sam_rho": 0.0, "seed": 1, "epochs": 80}),
        ):
            pass
    with pytest.raises(ValueError, match="sam_rho is None there"), open_workdir(tmp_path, now):
        pass
