"""Claims: exactly one of many takes a name, the living keep theirs, and what the dead held is taken over once."""

import json
import os
import subprocess
import sys
import threading
import time

import pytest

from regcls_jax.store import claims
from regcls_jax.store.claims import ABANDONED, is_claimed, open_claims


@pytest.fixture(scope="module")
def dead(tmp_path_factory):
    """What the claim of a process says that was killed (kill -9)."""
    folder = tmp_path_factory.mktemp("dead")
    holder = (
        "import sys, time; from pathlib import Path; from regcls_jax.store.claims import open_claims\n"
        "with open_claims(Path(sys.argv[1])) as claims:\n"
        "    print(claims.take('a'), flush=True)\n    time.sleep(600)\n"
    )
    with subprocess.Popen([sys.executable, "-c", holder, str(folder)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "True\n"
        with open_claims(folder) as other:
            assert not other.take("a"), "its owner lives"
            assert is_claimed(folder, "a")
        process.kill()
    assert not is_claimed(folder, "a")
    return json.loads((folder / "a").read_text())


def leave(folder, owner, name="a", seconds_ago=0.0):
    """Puts a claim of another process there, with its last sign of life some time ago."""
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(json.dumps(owner))
    then = time.time() - seconds_ago
    os.utime(folder / name, (then, then))


def test_a_name_is_held_by_one_process_until_it_is_released(tmp_path):
    folder = tmp_path / "claims"
    with open_claims(folder) as first, open_claims(folder) as second:
        assert first.take("a")
        assert first.take("a"), "it holds it already"
        assert not second.take("a")
        assert second.take("b")
        assert (first.holds("a"), second.holds("a")) == (True, False)
        second.release("a")
        assert first.holds("a"), "another one's claim cannot be released"
        first.release("a")
        assert not is_claimed(folder, "a")
        assert second.take("a")
    assert not folder.exists(), "the last to leave removes the folder"


def test_an_error_ends_all_claims(tmp_path):
    def interrupted():
        with open_claims(tmp_path / "claims") as mine:
            assert mine.take("a")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert not is_claimed(tmp_path / "claims", "a")
    assert not is_claimed(tmp_path / "nowhere", "a")


def test_the_claim_of_a_killed_process_is_free_at_once(tmp_path, dead):
    leave(tmp_path, dead)
    assert not is_claimed(tmp_path, "a")
    with open_claims(tmp_path) as mine:
        assert mine.take("a")
        assert mine.holds("a")
        assert [path.name for path in tmp_path.glob("[!.]*")] == ["a"], "nothing is left of the take-over"


def test_a_process_that_came_later_under_the_same_number_is_another(tmp_path, dead):
    leave(tmp_path, {**dead, "pid": os.getpid()})
    assert not is_claimed(tmp_path, "a")
    leave(tmp_path, {**dead, "pid": os.getpid(), "started": claims._started(os.getpid())}, seconds_ago=2 * ABANDONED)
    assert is_claimed(tmp_path, "a"), "suspended for long, but there"


@pytest.mark.parametrize("owner", [{"host": "another"}, {"started": ""}, None])
def test_what_cannot_be_seen_lives_as_long_as_it_gives_signs_of_life(tmp_path, dead, owner):
    """On another machine, without /proc, or where the claim is damaged."""
    owner = owner and {**dead, **owner}
    with open_claims(tmp_path) as mine:
        leave(tmp_path, owner, seconds_ago=ABANDONED - 60)
        assert not mine.take("a")
        leave(tmp_path, owner, seconds_ago=ABANDONED + 60)
        assert mine.take("a")


def test_an_earlier_start_of_the_same_slurm_job_is_dead_wherever_it_ran(tmp_path, dead, monkeypatch):
    """A requeued job may start on another node, at once; others wait for signs of life."""
    away = {**dead, "host": "another", "job": "cluster 7", "restart": 1}
    for name, value in {"JOB_ID": "7", "CLUSTER_NAME": "cluster", "RESTART_COUNT": "2"}.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    leave(tmp_path, away)
    with open_claims(tmp_path) as mine:
        assert mine.take("a")
        assert json.loads((tmp_path / "a").read_text())["restart"] == 2
        for lives in ({"restart": 2}, {"restart": 3}, {"job": "cluster 8"}, {"job": ""}):
            leave(tmp_path, away | lives, name="b")
            assert not mine.take("b"), lives


def test_age_is_by_the_clock_of_the_file_system(tmp_path, dead, monkeypatch):
    leave(tmp_path, {**dead, "host": "another"})
    monkeypatch.setattr(time, "time", lambda: 0.0)
    assert is_claimed(tmp_path, "a")
    monkeypatch.setattr(claims, "refresh", lambda folder: (tmp_path / "a").stat().st_mtime + ABANDONED + 1)
    assert not is_claimed(tmp_path, "a")


def test_a_sign_of_life_renews_all_claims(tmp_path, monkeypatch):
    monkeypatch.setattr(claims, "HEARTBEAT", 0.01)
    with open_claims(tmp_path) as mine:
        assert mine.take("a")
        assert mine.take("b")
        os.utime(tmp_path / "a", (0, 0))
        deadline = time.monotonic() + 60
        while min((tmp_path / name).stat().st_mtime for name in "ab") < 1e9:
            assert time.monotonic() < deadline
            time.sleep(0.01)


def test_who_was_taken_over_notices(tmp_path, monkeypatch):
    with open_claims(tmp_path) as suspended, open_claims(tmp_path) as other:
        assert suspended.take("a")
        monkeypatch.setattr(claims, "_abandoned", lambda owner, folder: owner.id == suspended.id)
        assert other.take("a")
        assert (suspended.holds("a"), other.holds("a")) == (False, True)
        suspended.release("a")
        assert other.holds("a")


def race(folder, takers):
    """How many of several takers, each as good as a process of its own, get the name "a" at the same time."""
    barrier, won = threading.Barrier(takers), []

    def taker():
        with open_claims(folder) as mine:
            barrier.wait()
            won.append(mine.take("a"))
            barrier.wait()
            won.append(mine.holds("a"))
            barrier.wait()

    threads = [threading.Thread(target=taker) for _ in range(takers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 2 * takers
    return won[:takers].count(True), won[takers:].count(True)


@pytest.mark.parametrize("abandoned", [False, True])
def test_of_many_exactly_one_wins(tmp_path, dead, abandoned):
    for turn in range(30):
        folder = tmp_path / str(turn)
        if abandoned:
            leave(folder, dead)
        assert race(folder, takers=8) == (1, 1)


def test_a_slow_taker_does_not_remove_the_claim_of_a_fast_one(tmp_path, dead, monkeypatch):
    """It saw the old claim before the other took it over, and tries after."""
    leave(tmp_path, dead)
    with open_claims(tmp_path) as slow, open_claims(tmp_path) as fast:

        def meanwhile(owner, folder, look=claims._abandoned):
            monkeypatch.setattr(claims, "_abandoned", look)
            assert fast.take("a")
            return True

        monkeypatch.setattr(claims, "_abandoned", meanwhile)
        assert not slow.take("a")
        assert fast.holds("a")


def test_a_taker_that_was_killed_in_the_middle_is_taken_over_too(tmp_path, dead):
    leave(tmp_path, dead)
    leave(tmp_path, {**dead, "id": "second"}, name=f"a~{dead['id']}")
    with open_claims(tmp_path) as mine:
        assert mine.take("a")
    assert not tmp_path.exists()


def test_what_the_dead_left_is_removed(tmp_path, dead):
    leave(tmp_path, dead, name=".dead")
    leave(tmp_path, dead, name="finished")
    leave(tmp_path, {**dead, "host": "another"}, name="living")
    with open_claims(tmp_path):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["living"]


def test_what_a_process_left_that_died_meanwhile_is_removed(tmp_path, dead):
    folder = tmp_path / "claims"
    with open_claims(folder) as mine:
        leave(folder, dead, name=".dead")
        assert mine.take("a")
    assert not folder.exists()


def test_a_file_system_without_hard_links_is_named(tmp_path, monkeypatch):
    def refuse(*_):
        raise PermissionError(1, "Operation not permitted")

    with open_claims(tmp_path) as mine, monkeypatch.context() as patch:
        patch.setattr(os, "link", refuse)
        with pytest.raises(OSError, match="cannot be claimed .*hard links.*: Operation not permitted"):
            mine.take("a")
