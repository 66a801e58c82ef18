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
from image_training import four_layers_launched
from paths import LAUNCH, ROOT
from slurm_cluster import wait_for

from regcls_jax.store.rows import read_rows
from regcls_jax.study.engine import run_study

# Eight chunks of one training; long enough for a task to be killed before all are done.
CONFIG = """
def get_config(name="small"):
    data = {"scenarios": ("clean",), "samplings": ("uniform",), "functions": 1, "repetitions": 4, "total": 6000}
    run = {"batch_size": 256, "epochs": 4, "lam": 1.0, "learning_rate": 1e-3}
    return {"name": name, "data": data, "run": run, "arms": {"reg": {}, "reg_cls": {"classes": 4}}, "chunk": 1}
"""
FACES = """
def get_config():
    run = {"dataset": "utkface", "image_size": 16, "padding": 2, "depth": 18, "width": 4, "boundaries": (3,)}
    run |= {"batch_size": 26, "epochs": 1, "optimizer": "sgd", "learning_rate": 1e-4}
    return {"name": "faces", "seeds": (0,), "run": run, "arms": {"reg": {}}}
"""
RUNS = 8
TIME_LIMIT = 600


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
    """Both are requeued and go on. The nodes are two of Slurm, and one host."""
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
    assert owner["job"].startswith("test ")
    # The warning that Slurm sends before it takes a job's nodes away.
    subprocess.run(["scancel", "--signal=USR2", f"1_{1 - killed}"], env=slurm, check=True)
    requeue = ["scontrol", "requeue", f"1_{killed}"]
    wait_for(lambda: not subprocess.run(requeue, env=slurm, capture_output=True).returncode, TIME_LIMIT)

    watched = sweep("--watch", f"--workdir={tmp_path}", env=slurm, timeout=TIME_LIMIT)
    assert watched.stdout.startswith("8 of 8 trainings are done.\n"), watched.stderr
    assert "training" in watched.stderr
    wait_for(lambda: not (tmp_path / "claims").exists(), TIME_LIMIT)
    warned = 1 - killed
    assert "this job is preempted" in said(warned)
    wait_for(lambda: said(warned).count(f"Task {warned}: ") == 2, TIME_LIMIT)  # started again
    pd.testing.assert_frame_equal(rows_of(tmp_path), rows, check_exact=True)


@pytest.mark.usefixtures("small_network")
def test_one_training_over_two_hosts(slurm, prepared_faces, tmp_path):
    """Every process learns from Slurm which it is: `jax.distributed` without arguments."""
    (tmp_path / "faces.py").write_text(FACES)
    given = ("--nodes=2", f"--workdir={tmp_path}/work", f"--config={tmp_path}/faces.py", f"--data_dir={prepared_faces}")
    done = sweep("--slurm", "--watch", *given, env=slurm | four_layers_launched(), timeout=TIME_LIMIT)
    assert "\n1 of 1 trainings are done.\n" in done.stdout, done.stderr
    meta = json.loads((tmp_path / "work" / "reg" / "seed0" / "meta.json").read_text())
    assert meta["devices"].startswith("2 ")


def test_without_slurm_a_grid_of_configs_has_a_folder_each_and_a_failure_is_one_line(config, alone, tmp_path):
    """What fails leaves the others alone; the same command starts what is missing, and nothing once all is done."""
    rows, cache = alone
    given = ("--cluster=local", f"--workdir={tmp_path}", f"--cache_dir={cache}")
    (tmp_path / "config-lost").mkdir()
    (tmp_path / "config-lost" / "data.json").write_text("{}")  # as if it had begun with other data
    lost = sweep(*given, f"--config={config}", f"--config={config}:lost")
    assert lost.returncode == 1
    assert lost.stderr.splitlines()[-1].startswith(
        f"error: 1 of 1 tasks failed: RuntimeError: {config}:lost ended with "
    )
    pd.testing.assert_frame_equal(rows_of(tmp_path / "config"), rows, check_exact=True)
    again = sweep("--cluster=local", f"--workdir={tmp_path / 'config'}", f"--config={config}")
    assert again.stdout.startswith("8 of 8 trainings are done.\n"), again.stderr
    assert not (tmp_path / "config" / ".sweep").exists(), "nothing was submitted"


def test_without_slurm_an_interrupt_stops_the_tasks(config, alone, tmp_path):
    given = ("--cluster=local", f"--workdir={tmp_path}", f"--config={config}", f"--cache_dir={alone[1]}")
    command = [sys.executable, str(LAUNCH / "sweep.py"), *given, "--config.run.epochs=100000"]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) as process:
        owner = wait_for(lambda: first_owner(tmp_path / "claims"), TIME_LIMIT)
        process.terminate()
        assert "interrupted; run the same command again to continue\n" in process.communicate()[1]
    assert process.returncode == 128 + signal.SIGTERM
    wait_for(lambda: not Path(f"/proc/{owner['pid']}").exists(), TIME_LIMIT)
    assert not (tmp_path / "claims").exists(), "its program let go of the folder"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--config=configs/fig3.py"], "say where to train, --slurm or --cluster=local"),
        (["--slurm"], "give --config, what is to be trained"),
        (["--slurm", "--cluster=local", "--config=configs/fig3.py"], "--slurm and --cluster=local exclude each other"),
        (["--cluster=local", "--config=configs/fig3.py", "--tasks=0"], "--tasks=0"),
        (["--cluster=local", "--config=configs/fig4.py:nope"], "unknown variant 'nope' of configs/fig4.py"),
    ],
)
def test_a_mistake_is_one_line_before_anything_is_submitted(tmp_path, arguments, message):
    done = sweep(f"--workdir={tmp_path}/work", *arguments)
    assert done.returncode == 1
    assert message in done.stderr
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "work").exists()


def first_owner(folder):
    """The owner of a claim of a chunk, if there is one."""
    for path in folder.glob("[!.]*"):
        return json.loads(path.read_text())


def environment_of(process):
    return filter(None, (process / "environ").read_text().split("\0"))
