"""launch/train.py and launch/evaluate.py as a user meets them: killed, continued, shared, on several devices."""

import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest
from image_training import assert_same_results, checkpoint, four_layers_launched, lines, save_torch
from paths import LAUNCH

from regcls_jax.data.images.splits import load_images
from regcls_jax.loop.tasks import read_run
from regcls_jax.report.tables import markdown
from regcls_jax.store.files import from_json

# SGD with a small rate, and whole batches: Adam's first steps, and BatchNorm over two rows of one pixel, turn
# differences of rounding between devices into large ones.
CONFIG = """
from ml_collections import ConfigDict

ARMS = {"reg": {}, "rrt": {"init_from": "reg", "trainable": "value_head"}}


def get_config(arms="reg"):
    run = {"dataset": "utkface", "image_size": 16, "padding": 2, "depth": 18, "width": 4, "boundaries": (3,)}
    run |= {"batch_size": 26, "epochs": 4, "optimizer": "sgd", "learning_rate": 1e-4}
    return ConfigDict({"name": "faces", "seeds": (0,), "run": run, "arms": {arm: ARMS[arm] for arm in arms.split(",")}})
"""
TIME_LIMIT = 300
RUNNING = "Running on 1 CPU device (chosen by --platform or JAX_PLATFORMS)"


@pytest.fixture(scope="module")
def start(prepared_faces, tmp_path_factory):
    """Starts launch/<program> on the prepared faces, its network one of four layers."""
    folder = tmp_path_factory.mktemp("launch")
    (folder / "faces.py").write_text(CONFIG)
    environment = four_layers_launched()

    def start_program(*arguments, program="train.py", config=f"{folder}/faces.py", arms="reg"):
        given = [f"--config={config}{'' if ':' in str(config) else f':{arms}'}"] if config else []
        command = [sys.executable, LAUNCH / program, *given, f"--data_dir={prepared_faces}", *arguments]
        return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    return start_program


def finish(process):
    """Output and errors of a process that must end well."""
    output, errors = process.communicate(timeout=TIME_LIMIT)
    assert process.returncode == 0, errors[-3000:]
    return output, errors


@pytest.fixture(scope="module")
def whole(start, tmp_path_factory):
    """The folder of an uninterrupted `reg` on one device."""
    workdir = tmp_path_factory.mktemp("whole")
    output, errors = finish(start(f"--workdir={workdir}"))
    ran_on, said = output.split("\n", 1)
    assert ran_on == RUNNING
    assert said == f"1 trainings: 1 trained now.\nReport: python launch/report.py --workdir={workdir}\n"
    assert "reg seed 0: 100%" in errors
    assert "images/s" in errors
    return workdir / "reg" / "seed0"


def wait_for_first_epoch(process, folder):
    deadline = time.monotonic() + TIME_LIMIT
    while not (folder / "metrics.jsonl").exists() or not (folder / "metrics.jsonl").read_text():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_the_same_command_continues_to_the_same_numbers(start, whole, tmp_path, number):
    folder = tmp_path / "reg" / "seed0"
    # Saves after every step, so that the kill often hits a checkpoint that is being written.
    arguments = (f"--workdir={tmp_path}", "--save_minutes=0")
    process = start(*arguments)
    wait_for_first_epoch(process, folder)
    process.send_signal(number)
    output, errors = process.communicate(timeout=TIME_LIMIT)
    assert output == f"{RUNNING}\n"
    assert not (folder / "rows.csv.gz").exists(), "it was stopped in the middle"
    if number == signal.SIGTERM:
        assert process.returncode == 128 + signal.SIGTERM
        assert errors.endswith("interrupted; run the same command again to continue\n")
        assert "Traceback" not in errors
    else:
        assert process.returncode == -signal.SIGKILL
    output, _ = finish(start(*arguments))
    assert "1 trained now" in output
    assert_same_results(whole, folder)


def test_a_finished_run_is_left_as_it_is(start, whole):
    before = {
        path: path.stat().st_mtime_ns for path in whole.rglob("*") if path.is_file() and "claims" not in path.parts
    }
    output, errors = finish(start(f"--workdir={whole.parent.parent}"))
    assert "1 trainings: 1 finished before." in output
    assert errors == ""
    assert before == {path: path.stat().st_mtime_ns for path in before}


@pytest.mark.parametrize(
    ("arguments", "config", "message"),
    [
        ((), "configs/utkface.py:nope", "unknown variant 'nope' of configs/utkface.py; one of full"),
        (("--config.run.lamda=1",), None, "unknown config key run.'lamda'; did you mean lam?"),
        (("--data_dir={w}/none",), None, "utkface is not prepared in {w}/none; prepare it: python launch/prepare.py"),
        (("--config.run.dataset=faces",), None, "unknown data set 'faces'; one of utkface, imdb_wiki_dir"),
        (("--devices=3",), None, "batch_size 26 cannot be split into 1 part(s) over 3 devices"),
    ],
)
def test_a_mistake_is_one_line(start, tmp_path, arguments, config, message):
    given = {} if config is None else {"config": LAUNCH.parent / config}
    process = start(f"--workdir={tmp_path}/work", *(argument.format(w=tmp_path) for argument in arguments), **given)
    output, errors = process.communicate(timeout=TIME_LIMIT)
    assert process.returncode == 1
    assert output in ("", RUNNING + "\n", RUNNING.replace("1 CPU device", "3 CPU devices") + "\n")
    assert errors.startswith("error: ")
    assert message.format(w=tmp_path) in errors
    assert errors.count("\n") == 1


def assert_close_results(first, second):
    """Equal but for the order of sums over devices."""
    for left, right in zip(lines(first), lines(second), strict=True):
        assert left.keys() == right.keys()
        np.testing.assert_allclose(list(left.values()), list(right.values()), rtol=2e-4)
    left, right = (pd.read_csv(folder / "rows.csv.gz") for folder in (first, second))
    np.testing.assert_allclose(left["mae"], right["mae"], rtol=2e-4)
    difference = np.abs(left["mae"] - right["mae"]).max()
    print(f"largest difference of an MAE: {difference:.2e} years")


def test_two_devices_are_one(start, whole, tmp_path):
    finish(start(f"--workdir={tmp_path}", "--devices=2"))
    folder = tmp_path / "reg" / "seed0"
    assert from_json((folder / "meta.json").read_text())["devices"].startswith("2 ")
    assert_close_results(whole, folder)


def start_two(start, config, *arguments):
    """One training by two processes of one device each."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    together = ("--distributed", f"--coordinator=localhost:{port}", "--processes=2")
    return [start(*arguments, *together, f"--process={index}", arms=config) for index in range(2)]


def test_two_processes_are_one(start, whole, tmp_path):
    """The second arm starts from the first: no process may begin it before the results of the first are there."""
    processes = start_two(start, "reg,rrt", f"--workdir={tmp_path}")
    try:
        said = [finish(process) for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert all("2 trainings: 2 trained now." in output for output, _ in said)
    assert "images/s" not in said[1][1], "only the first process shows its progress"
    assert_close_results(whole, tmp_path / "reg" / "seed0")
    assert (tmp_path / "rrt" / "seed0" / "rows.csv.gz").exists()


def test_sigterm_to_one_process_stops_both(start, tmp_path):
    folder = tmp_path / "reg" / "seed0"
    processes = start_two(start, "reg", f"--workdir={tmp_path}", "--config.run.epochs=1000")
    try:
        wait_for_first_epoch(processes[0], folder)
        processes[1].terminate()
        for process in processes:
            output, errors = process.communicate(timeout=TIME_LIMIT)
            assert process.returncode == 128 + signal.SIGTERM
            assert all(line.startswith(("[Gloo]", "Running on 2 CPU devices")) for line in output.splitlines()), output
            assert "interrupted; run the same command again to continue\n" in errors
            assert "Traceback" not in errors
    finally:
        for process in processes:
            process.kill()
    assert [path for path in (folder / "checkpoints").iterdir() if path.name.isdigit()]
    assert not (folder / "rows.csv.gz").exists()


FIGURES = {"prediction_versus_age.png", "error_by_age.png", "worst_errors.png"}


@pytest.mark.usefixtures("small_network")
def test_evaluate_prints_the_rows_and_draws(start, whole, prepared_faces, tmp_path):
    rows = pd.read_csv(whole / "rows.csv.gz")
    shown = ["arm", "shot", "mae", "mse", "rmse", "gm", "bmae", "count"]
    table = markdown(rows.loc[rows["split"] == "test", shown].round(3))
    of_run = start(f"--run={whole}", f"--figures={tmp_path}/a", program="evaluate.py", config=None)
    output, _ = finish(of_run)
    assert output == f"{RUNNING}\n{table}\nFigures: {tmp_path}/a\n"
    assert {path.name for path in (tmp_path / "a").iterdir()} == FIGURES
    assert all((tmp_path / "a" / name).read_bytes().startswith(b"\x89PNG") for name in FIGURES)
    state, _ = checkpoint(read_run(whole), load_images("utkface", prepared_faces), whole)
    save_torch(tmp_path / "reg.safetensors", state)
    of_weights = start(f"--weights={tmp_path}/reg.safetensors", program="evaluate.py")
    output, _ = finish(of_weights)
    assert output == f"{RUNNING}\n{table}\nFigures: {tmp_path}/report\n"
    assert {path.name for path in (tmp_path / "report").iterdir()} == FIGURES


def test_evaluate_on_what_is_not_there(start, tmp_path):
    process = start(f"--run={tmp_path}", program="evaluate.py", config=None)
    _, errors = process.communicate(timeout=TIME_LIMIT)
    assert process.returncode == 1
    assert errors.startswith(f"error: {tmp_path}/config.json is not a readable JSON file")
    assert errors.count("\n") == 1
