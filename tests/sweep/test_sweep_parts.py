"""What a sweep plans, hands over and counts, without a cluster; launch/test_sweep.py has the whole of it."""

import dataclasses
import os
import signal
import subprocess
import sys
import time

import pandas as pd
import pytest
from paths import ROOT

from regcls_jax.store.claims import open_claims
from regcls_jax.store.workdir import CLAIMS, WHOLE
from regcls_jax.sweep import pieces, record, submit, task
from regcls_jax.sweep.progress import Progress, Watcher, ended_tasks, follow
from regcls_jax.sweep.start import watch

FIG3, FACES = f"{ROOT}/configs/fig3.py:runlocal", f"{ROOT}/configs/utkface.py:runlocal"
REQUEST = submit.Request("slurm", 8, nodes=1, cpus=4, gpus=0, memory=0, minutes=60, sbatch={}, options={})


@pytest.fixture
def planned(tmp_path):
    """A study and trainings, with a change of both."""
    return pieces.plan([FIG3, FACES], {"run.epochs": "1"}, tmp_path)


def test_studies_and_trainings_are_told_apart(planned):
    study, faces = planned
    assert (study.program, study.folder, study.trainings, study.runs) == ("study", "fig3-runlocal", 12, ())
    assert (faces.program, faces.folder) == ("train", "utkface-runlocal")
    assert "reg/seed0" in faces.runs
    assert len(faces.runs) == faces.trainings
    assert study.content["run"]["epochs"] == faces.content["run"]["epochs"] == 1


def test_each_program_gets_the_flags_that_it_has(planned, tmp_path):
    request = REQUEST._replace(options={"cache_dir": "c", "data_dir": "d", "platform": "gpu"})
    study, faces = (submit.command(piece, tmp_path, request, ROOT / "launch") for piece in planned)
    shared = ["--config.run.epochs=1"]
    assert study[1:4] == [f"{ROOT}/launch/study.py", f"--config={FIG3}", *shared]
    assert study[4:] == [f"--workdir={tmp_path}/fig3-runlocal", "--devices=4", "--cache_dir=c", "--platform=gpu"]
    assert faces[4:] == [f"--workdir={tmp_path}/utkface-runlocal", "--data_dir=d", "--platform=gpu"]
    spread = submit.command(planned[1], tmp_path, REQUEST._replace(nodes=2), ROOT / "launch")
    assert spread[-1] == "--distributed"


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (REQUEST._replace(nodes=2), "is a study, which --tasks divides"),
        (REQUEST._replace(nodes=2, cluster="local"), "--nodes is for Slurm"),
        (REQUEST._replace(cluster="local", sbatch={"exclusive": True}), "--sbatch is for Slurm"),
    ],
)
def test_what_cannot_be_met_is_refused(planned, request_, message):
    with pytest.raises(ValueError, match=message):
        submit.check(request_, planned)


def test_a_cluster_that_is_not_there_is_named(planned, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(OSError, match="there is no sbatch here; .*--cluster=local"):
        submit.check(REQUEST, planned)
    monkeypatch.setitem(sys.modules, "submitit", None)
    with pytest.raises(ValueError, match=r"^sweeps need submitit: pip install -e '\.\[cluster\]'$"):
        submit.check(REQUEST._replace(cluster="local"), planned)


@pytest.mark.parametrize(
    ("configs", "changes", "message"),
    [
        ([FIG3], {"run.epochs": "-1"}, "fig3.py:runlocal: arm 'reg': epochs must be"),
        ([FIG3, FACES], {"run.image_size": "8"}, "fig3.py:runlocal: unknown config key run.'image_size'"),
        ([FIG3, FIG3], {}, "several configs would be trained in one folder"),
    ],
)
def test_a_config_with_a_mistake_is_named(tmp_path, configs, changes, message):
    with pytest.raises(ValueError, match=message):
        pieces.plan(configs, changes, tmp_path / "work")
    assert not (tmp_path / "work").exists()


def test_a_folder_of_another_study_or_without_a_sweep_is_refused(planned, tmp_path):
    (tmp_path / "fig3-runlocal").mkdir()
    (tmp_path / "fig3-runlocal" / "config.json").write_text("{}")
    with pytest.raises(ValueError, match="holds the results of another config"):
        pieces.settle(planned, tmp_path)
    with pytest.raises(ValueError, match="holds no sweep"):
        record.newest_record(tmp_path)
    with pytest.raises(ValueError, match="--sbatch=a b is no option of sbatch"):
        submit.sbatch_options(["a b"])


def test_parameters_of_executors():
    asked = REQUEST._replace(gpus=2, memory=1.5, sbatch=submit.sbatch_options(["partition=gpu", "exclusive"]))
    found = submit.slurm_parameters(asked, "fig3")
    assert found["additional_parameters"] == {"requeue": True, "partition": "gpu", "exclusive": True}
    assert (found["mem"], found["gpus_per_node"], found["ntasks_per_node"]) == ("1536MB", 2, 1)
    assert found["srun_args"] == ["--cpus-per-task=4"]
    # JAX gives each process of a node the GPU of its number.
    assert submit.slurm_parameters(asked._replace(nodes=2), "fig3")["ntasks_per_node"] == 2
    assert submit.local_parameters(asked, 1)["visible_gpus"] == (2, 3)


def test_every_task_does_all_and_begins_elsewhere():
    assert [task.order(3, number) for number in range(4)] == [[0, 1, 2], [1, 2, 0], [2, 0, 1], [0, 1, 2]]


def test_a_record_is_read_as_it_was_written(planned, tmp_path, monkeypatch):
    monkeypatch.setenv("JAX_ENABLE_X64", "0")
    made = record.make_record(planned, [["python", "a"], ["python", "b"]])
    assert made.environment["JAX_ENABLE_X64"] == "0"
    path = record.write_record(tmp_path, made)
    read = record.read_record(path)
    assert (read.commands, read.cwd, read.environment) == (made.commands, os.getcwd(), made.environment)
    assert [piece.runs for piece in read.pieces] == [piece.runs for piece in planned]
    assert record.read_record(record.newest_record(tmp_path)) == read
    for piece in read.pieces:
        record.check_config(piece)
    path.write_text(path.read_text().replace('"b"', '"c"'))
    with pytest.raises(OSError, match="changed or damaged"):
        record.read_record(path)


def test_what_changed_since_the_submission_is_refused(tmp_path):
    config = tmp_path / "mine.py"
    text = "def get_config():\n    return {'arms': {'reg': {}}, 'run': {'epochs': 2}}\n"
    config.write_text(text)
    made = record.make_record(pieces.plan([str(config)], {}, tmp_path / "work"), [["true"]])
    config.write_text(text + "\n")
    record.check_config(made.pieces[0])
    config.write_text(text.replace("2", "3"))
    with pytest.raises(ValueError, match="mine.py was changed after the sweep was submitted"):
        record.check_config(made.pieces[0])
    record.check_versions(made)
    with pytest.raises(ValueError, match="submitted with jax 0.1, and .* has .*must not mix versions"):
        record.check_versions(dataclasses.replace(made, versions={**made.versions, "jax": "0.1"}))


def test_progress_is_read_from_the_folders(planned, tmp_path):
    watcher = Watcher(tmp_path, planned)
    total = sum(piece.trainings for piece in planned)
    assert watcher.look() == Progress(0, total, 0), "before anything starts"
    rows = tmp_path / "fig3-runlocal" / "rows"
    rows.mkdir(parents=True)
    row = {"arm": "reg", "classes": 0, "classes_kept": 0, "balanced": False, "split": "test", "n": 1}
    row |= dict.fromkeys(("seed", "lam", "scale", "learning_rate", "weight_decay", "mse", "mae"), 0.0)
    pd.DataFrame([{"run": run, **row} for run in (0, 3)]).to_csv(rows / "0000000-0000003.csv.gz", index=False)
    done, busy = (tmp_path / "utkface-runlocal" / run for run in planned[1].runs[:2])
    done.mkdir(parents=True)
    (done / "rows.csv.gz").touch()
    with open_claims(busy / CLAIMS) as claims, open_claims(rows.parent / CLAIMS):
        assert claims.take(WHOLE)
        assert watcher.look() == Progress(3, total, 2)
        assert follow(watcher, ended=lambda: True) == Progress(3, total, 2)


def test_watching_ends_with_the_tasks(planned, tmp_path):
    """Those of the newest submission, once each has a result."""
    pieces.settle(planned, tmp_path)
    path = record.write_record(tmp_path, record.make_record(planned, [["study"], ["train"]]))
    logs = path.parent / record.LOGS
    logs.mkdir()
    (logs / "3_0_submitted.pkl").touch()
    os.utime(logs / "3_0_submitted.pkl", (1, 1))  # killed long ago
    for name in ("7_0", "7_1"):
        (logs / f"{name}_submitted.pkl").touch()
        (logs / f"{name}_0_log.err").write_text("Traceback\nValueError: submitted with jax 1\n")
    (logs / "7_0_0_result.pkl").touch()
    since = path.stat().st_mtime
    assert not ended_tasks(logs, since)
    (logs / "7_1_0_result.pkl").touch()
    assert ended_tasks(logs, since) == [logs / "7_0_0_log.err", logs / "7_1_0_log.err"]
    total = sum(piece.trainings for piece in planned)
    message = f"all tasks have ended, and {total} of {total} trainings are not done: ValueError: submitted with jax 1 "
    with pytest.raises(ChildProcessError, match=message):
        watch(tmp_path)


def test_a_program_that_does_not_stop_is_killed():
    ignoring = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(1, flush=True); time.sleep(99)"
    )
    with subprocess.Popen([sys.executable, "-c", ignoring], stdout=subprocess.PIPE) as program:
        program.stdout.readline()
        started = time.monotonic()
        task.stop(program.pid, seconds=0.2)
        assert program.wait() == -signal.SIGKILL
        assert time.monotonic() - started > 0.2
