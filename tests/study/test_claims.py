"""Several processes on one study: the same rows as one gives, whoever is killed, stopped or late."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest
from paths import ROOT
from study_config import small

from regcls_jax.store import claims as store_claims
from regcls_jax.store.claims import ABANDONED, open_claims
from regcls_jax.store.meta import read_meta
from regcls_jax.store.rows import read_rows
from regcls_jax.store.traces import read_trace
from regcls_jax.study import engine, parts, plan
from regcls_jax.study.engine import run_study

RUNS = 12  # of configs/fig3.py:runlocal
# Eight chunks of one run: with four devices, two parts where PART_COST is small, one otherwise.
CONFIG = {**small(data={"repetitions": 4}), "arms": {"reg": {"lam": 1.0}}, "chunk": 1}
TIME_LIMIT = 600


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    """Starts launch/study.py; the processes share data sets as a user's may."""
    folder = tmp_path_factory.mktemp("shared")

    def start_study(workdir, devices=1):
        arguments = ["--config=configs/fig3.py:runlocal", f"--workdir={workdir}", f"--cache_dir={folder / 'cache'}"]
        command = [sys.executable, "launch/study.py", *arguments, f"--devices={devices}"]
        return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    return start_study


def finish(process):
    """How many trainings a process did that must end well."""
    output, errors = process.communicate(timeout=TIME_LIMIT)
    assert process.returncode == 0, errors[-3000:]
    devices, done, *_ = output.splitlines()
    assert devices.startswith("Running on ")
    return 0 if done.startswith("All ") else int(done.split()[0])


def rows_of(workdir):
    return read_rows(workdir).sort_values(["run", "arm", "sampling", "split"], ignore_index=True)


def assert_whole(workdir, rows):
    """Every row once, bit for bit, and nothing beside them but what a finished study has."""
    pd.testing.assert_frame_equal(rows_of(workdir), rows, check_exact=True)
    assert {path.name for path in workdir.iterdir()} == {
        "chunks.json",
        "config.json",
        "data.json",
        "meta",
        "report",
        "rows",
    }
    assert all(path.name.endswith(".csv.gz") for path in (workdir / "rows").iterdir())


@pytest.fixture(scope="module")
def alone(start, tmp_path_factory):
    """The rows of one process."""
    workdir = tmp_path_factory.mktemp("alone")
    assert finish(start(workdir)) == RUNS
    rows = rows_of(workdir)
    assert_whole(workdir, rows)
    return rows


def test_metrics_have_the_digits_of_the_sums_they_come_from(alone):
    for value in alone.loc[alone["run"] >= 0, ["mse", "mae"]].to_numpy().ravel():
        assert float(str(np.float32(value))) == value


def test_two_processes_give_the_rows_of_one(start, alone, tmp_path):
    running = [start(tmp_path) for _ in range(2)]
    assert sum(map(finish, running)) == RUNS, "every training once"
    assert_whole(tmp_path, alone)
    assert read_meta(tmp_path)["trainings"] == RUNS


def test_of_three_processes_one_is_killed(start, alone, tmp_path):
    """kill -9 while it holds claims; the others do what it was at."""
    victim, *others = [start(tmp_path) for _ in range(3)]
    deadline = time.monotonic() + TIME_LIMIT
    while not held_by(victim, tmp_path):
        assert victim.poll() is None, victim.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    victim.kill()
    assert len(victim.communicate(timeout=TIME_LIMIT)[0].splitlines()) == 1, "it says what it runs on, and no more"
    trained = sum(map(finish, others))
    assert RUNS - 4 <= trained <= RUNS, "it was killed in its first parts"
    assert_whole(tmp_path, alone)


def held_by(process, workdir):
    """The claims of a process."""
    owners = {path.name: store_claims._read(path) for path in (workdir / "claims").glob("[!.]*")}
    return [name for name, owner in owners.items() if owner and owner.pid == process.pid]


def leave(folder, name, seconds_ago):
    """The claim of a process on another machine."""
    folder.mkdir(parents=True)
    owner = {"id": "x", "host": "another", "pid": 1, "started": "1"}
    (folder / name).write_text(json.dumps(owner))
    then = time.time() - seconds_ago
    os.utime(folder / name, (then, then))


@pytest.fixture(scope="module")
def small_study(tmp_path_factory):
    """The folder of `CONFIG`, finished in two parts, and the cache of its data."""
    folder = tmp_path_factory.mktemp("small")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plan, "PART_COST", 1.0)
        assert run_study(CONFIG, folder / "work", folder / "cache", progress=False) == 8
    return folder / "work", folder / "cache"


def test_an_abandoned_claim_of_another_machine_is_taken_over(small_study, tmp_path, monkeypatch):
    monkeypatch.setattr(plan, "PART_COST", 1.0)
    leave(tmp_path / "claims", "0000000", ABANDONED + 60)
    assert run_study(CONFIG, tmp_path, small_study[1], progress=False) == 8
    pd.testing.assert_frame_equal(rows_of(tmp_path), rows_of(small_study[0]), check_exact=True)
    assert not (tmp_path / "claims").exists()


def test_a_live_claim_of_another_machine_is_waited_for(small_study, tmp_path, monkeypatch):
    """Nothing of it is trained here while its owner lives; then it gives up."""
    whole, cache_dir = small_study
    monkeypatch.setattr(plan, "PART_COST", 1.0)
    leave(tmp_path / "claims", "0000000", 0)
    waited = []

    def wait(seconds):
        finished = parts.Finished(tmp_path / "rows")
        finished.look()
        waited.append(len(finished.runs))
        if len(waited) == 3:
            os.utime(tmp_path / "claims" / "0000000", (0, 0))

    monkeypatch.setattr(engine.time, "sleep", wait)
    trained = run_study(CONFIG, tmp_path, cache_dir, progress=False)
    assert trained == 8
    assert waited == [7, 7, 7]
    pd.testing.assert_frame_equal(rows_of(tmp_path), rows_of(whole), check_exact=True)


def test_what_another_process_finishes_is_not_trained_again(small_study, tmp_path, monkeypatch):
    """It published between this process's last look and its claim."""
    whole, cache_dir = small_study
    monkeypatch.setattr(plan, "PART_COST", 1.0)
    first = min(path for path in (whole / "rows").glob("0*.csv.gz"))
    take = store_claims.Claims.take

    def slowly(self, name):
        if name == first.name[:7]:
            (tmp_path / "rows" / first.name).write_bytes(first.read_bytes())
        return take(self, name)

    monkeypatch.setattr(store_claims.Claims, "take", slowly)
    assert run_study(CONFIG, tmp_path, cache_dir, progress=False) == 8 - pd.read_csv(first)["run"].nunique()
    pd.testing.assert_frame_equal(rows_of(tmp_path), rows_of(whole), check_exact=True)


def test_sigterm_gives_the_claims_back(small_study, tmp_path, monkeypatch):
    whole, cache_dir = small_study
    monkeypatch.setattr(plan, "PART_COST", 1.0)

    def terminated(part, *_):
        assert list((tmp_path / "claims").glob("0*"))
        os.kill(os.getpid(), signal.SIGTERM)
        raise AssertionError("the signal comes first")

    with monkeypatch.context() as patch:
        patch.setattr(engine, "_publish", terminated)
        with pytest.raises(KeyboardInterrupt):
            run_study(CONFIG, tmp_path, cache_dir, progress=False)
    assert not (tmp_path / "claims").exists()
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    assert run_study(CONFIG, tmp_path, cache_dir, progress=False) == 8
    pd.testing.assert_frame_equal(rows_of(tmp_path), rows_of(whole), check_exact=True)


def test_a_process_that_was_taken_over_publishes_nothing_of_it(small_study, tmp_path, monkeypatch):
    whole, cache_dir = small_study
    monkeypatch.setattr(plan, "PART_COST", 1.0)
    monkeypatch.setattr(engine.time, "sleep", lambda seconds: None)
    holds = parts.holds
    lost = []

    def seldom(part, claims):
        if not lost:  # the other process takes over, trains, publishes and ends
            lost.append(part)
            (claims.folder / f"{part.chunks[0][0]:07d}").unlink()
            with open_claims(claims.folder) as other:
                assert other.take(f"{part.chunks[0][0]:07d}")
                assert not holds(part, claims)
                name = parts.file_name(part)
                (tmp_path / "rows" / name).write_bytes((whole / "rows" / name).read_bytes())
                assert not holds(part, claims)
        return holds(part, claims)

    monkeypatch.setattr(parts, "holds", seldom)
    assert run_study(CONFIG, tmp_path, cache_dir, progress=False) == 8 - len(lost[0].runs)
    pd.testing.assert_frame_equal(rows_of(tmp_path), rows_of(whole), check_exact=True)


def test_processes_that_cut_parts_otherwise_divide_the_chunks(small_study, tmp_path, monkeypatch):
    """The traces, too, stand once, although the other process was killed between trace and rows."""
    config = {**CONFIG, "run": {**CONFIG["run"], "trace": "mse", "epochs": 1, "components": 2}}
    whole = tmp_path / "whole"
    with monkeypatch.context() as patch:
        patch.setattr(plan, "PART_COST", 1.0)
        assert run_study(config, whole, small_study[1], progress=False) == 8
    work = tmp_path / "work"
    (work / "trace").mkdir(parents=True)
    (first, *_, last) = sorted((whole / "trace").iterdir())
    (work / "trace" / f"{first.name[:7]}-9999999.csv.gz").write_bytes(first.read_bytes())
    (work / "rows").mkdir()
    for folder in ("trace", "rows"):
        (work / folder / last.name).write_bytes((whole / folder / last.name).read_bytes())
    assert run_study(config, work, small_study[1], progress=False) == 4
    pd.testing.assert_frame_equal(rows_of(work), rows_of(whole), check_exact=True)
    for mine, wanted in zip(read_trace(work), read_trace(whole), strict=True):
        pd.testing.assert_frame_equal(mine, wanted, check_exact=True)


def test_a_process_on_another_device_keeps_the_chunks_that_a_study_was_begun_with(small_study, tmp_path, monkeypatch):
    """Those of an accelerator on which one run fits: one by one, as `CONFIG` asks for."""
    whole, cache_dir = small_study
    config = {key: value for key, value in CONFIG.items() if key != "chunk"}
    monkeypatch.setattr(plan, "PART_COST", 1.0)
    begun = tmp_path / "chunks.json"
    engine._memory(tmp_path, 1, begun=False, progress=False)
    noted = begun.read_bytes()
    assert run_study(config, tmp_path, cache_dir, progress=False) == 8
    assert len(list((tmp_path / "rows").glob("0*"))) == 2, "four devices, eight chunks"
    pd.testing.assert_frame_equal(rows_of(tmp_path), rows_of(whole), check_exact=True)
    assert begun.read_bytes() == noted


def test_a_study_of_an_earlier_version_was_begun_on_a_cpu(tmp_path):
    assert engine._memory(tmp_path, 1 << 34, begun=True, progress=False) is None


def test_a_sigterm_inside_a_callback_of_the_garbage_collector_is_not_lost():
    def _xla_gc_callback():  # what JAX calls it; Python ignores an exception there
        os.kill(os.getpid(), signal.SIGTERM)

    with parts.sigterm_as_interrupt() as check_stop:
        _xla_gc_callback()
        with pytest.raises(KeyboardInterrupt):
            check_stop()
