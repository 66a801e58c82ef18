"""A study's folder: one config, shared or held alone, and what killed processes left in it."""

import json
import os
import threading

import pytest

from regcls_jax.store.claims import ABANDONED
from regcls_jax.store.files import read_json, write_new
from regcls_jax.store.workdir import WorkdirInUse, in_use, open_workdir, share_workdir

CONFIG = {"name": "x", "run": {"epochs": 2, "hidden": (6, 15)}}


def test_several_processes_share_a_folder_of_one_config(tmp_path):
    for _ in range(2):
        assert share_workdir(tmp_path / "a" / "b", CONFIG) == tmp_path / "a" / "b"
    assert read_json(tmp_path / "a" / "b" / "config.json") == json.loads(json.dumps(CONFIG))
    with pytest.raises(ValueError, match=r"another config: run\.epochs is 2 there and None here"):
        share_workdir(tmp_path / "a" / "b", {"name": "x"})


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
