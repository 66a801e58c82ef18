"""launch/sweep.py as a user meets it: on a real Slurm of one machine, without one, and with every kind of mistake.

submitit is imported by the launched programs alone, never here: it changes how a process logs and takes signals.
"""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import slurm_cluster
from paths import LAUNCH, ROOT
from slurm_cluster import wait_for

from regcls_jax.store.rows import read_rows
from regcls_jax.study.engine import run_study

# Eight chunks of one training; long enough for a task to be killed before all are done.
CONFIG = """
def get_config(name="small"):
    data = {"scenarios": ("clean",), "samplings": ("uniform",), "functions": 1, "repetitions": 4}
    run = {"batch_size": 256, "epochs": 4, "lam": 1.0, "learning_rate": 1e-3}
    config = {"name": name, "data": data, "run": run, "arms": {"reg": {}, "reg_cls": {"classes": 4}}, "chunk": 1}
    if name == "lost":
        return config | {"data": {"source": "own_table", "path": "nowhere.csv", "target": ("y",)}}
    return config
"""
RUNS = 8
TIME_LIMIT = 300


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    path = tmp_path_factory.mktemp("config") / "config.py"
    path.write_text(CONFIG)
    return path


@pytest.fixture(scope="module")
def alone(config, tmp_path_factory):
    """The rows of one plain process, and its folder of data sets."""
    folder, content = tmp_path_factory.mktemp("alone"), {}
    exec(config.read_text(), content)
    assert run_study(content["get_config"](), folder / "work", folder / "cache", progress=False) == RUNS
    return rows_of(folder / "work"), folder / "cache"


def rows_of(workdir):
    return read_rows(workdir).sort_values(["run", "arm", "split"], ignore_index=True)


def sweep(*arguments, env=None, **options):
    command = [sys.executable, str(LAUNCH / "sweep.py"), *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, **options)


@pytest.fixture(scope="module")
def slurm(tmp_path_factory):
    """The environment of a Slurm."""
    if reason := slurm_cluster.missing():
        pytest.skip(f"no Slurm: {reason}")
    with slurm_cluster.running(tmp_path_factory.mktemp("slurm")) as environment:
        yield environment


def test_an_array_of_which_one_task_is_killed_and_one_preempted_gives_the_rows_of_one_process(
    slurm, config, alone, tmp_path
):
    """Both are requeued; each holds claims when it goes, or has its program running."""
    rows, cache = alone
    given = ("--slurm", "--tasks=2", f"--workdir={tmp_path}", f"--config={config}", f"--cache_dir={cache}")
    done = sweep(*given, env=slurm)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("2 tasks as job 1 of Slurm: 8 of 8 trainings left to do.")

    def said(task):
        path = tmp_path / ".sweep" / "logs" / f"1_{task}_0_log.out"
        return path.read_text() if path.exists() else ""

    wait_for(lambda: all(f"Task {task}: " in said(task) for task in (0, 1)), TIME_LIMIT)
    owner = wait_for(lambda: first_owner(tmp_path / "claims"), TIME_LIMIT)
    program = Path(f"/proc/{owner['pid']}")
    killed = int(dict(line.split("=", 1) for line in environment_of(program))["SLURM_ARRAY_TASK_ID"])
    parent = int((program / "stat").read_text().rpartition(")")[2].split()[1])
    for pid in (parent, owner["pid"]):
        os.kill(pid, signal.SIGKILL)
    assert owner["job"] == f"test {owner['job'].split()[1]}"
    # The warning that Slurm sends before it takes a job's nodes away.
    subprocess.run(["scancel", "--signal=USR2", f"1_{1 - killed}"], env=slurm, check=True)
    requeue = ["scontrol", "requeue", f"1_{killed}"]
    wait_for(lambda: not subprocess.run(requeue, env=slurm, capture_output=True).returncode, TIME_LIMIT)

    watched = sweep("--watch", f"--workdir={tmp_path}", env=slurm, timeout=TIME_LIMIT)
    assert watched.stdout.startswith("8 of 8 trainings are done.\n"), watched.stderr
    assert "training" in watched.stderr
    wait_for(lambda: not (tmp_path / "claims").exists(), TIME_LIMIT)
    assert "Requeued job" in said(1 - killed)
    pd.testing.assert_frame_equal(rows_of(tmp_path), rows, check_exact=True)
    again = sweep(*given, env=slurm)
    assert again.stdout.startswith("8 of 8 trainings are done.\n"), "nothing is left to submit"


def first_owner(folder):
    """The owner of a claim of a chunk, if there is one."""
    for path in folder.glob("[!.]*"):
        return json.loads(path.read_text())


def environment_of(process):
    return filter(None, (process / "environ").read_text().split("\0"))
