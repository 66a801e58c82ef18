"""The programs as a user meets them: help at once, and every mistake one clear line."""

import os
import signal
import subprocess
import sys
import time

import pytest
from paths import ROOT


def launch(program, *arguments, cwd=ROOT):
    return subprocess.run(
        [sys.executable, str(ROOT / "launch" / program), *map(str, arguments)], cwd=cwd, capture_output=True, text=True
    )


@pytest.mark.parametrize("program", sorted(path.name for path in (ROOT / "launch").glob("*.py")))
def test_help_waits_for_no_heavy_import(program):
    code = (
        "import runpy, sys; sys.argv = sys.argv[1:]\n"
        "try:\n    runpy.run_path(sys.argv[0], run_name='__main__')\n"
        "except SystemExit:\n    pass\n"
        "print('HEAVY', sorted({'jax', 'pandas', 'matplotlib', 'numpy'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, f"launch/{program}", "--help"], cwd=ROOT, capture_output=True, text=True
    )
    assert "--" in done.stdout
    assert done.stdout.rstrip().endswith("HEAVY []"), done.stdout[-200:] + done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--workdir={w}"], "flag --config=None"),
        (["--config=configs/fig3.py"], "flag --workdir=None"),
        (["--config=configs/fig3.py:nope", "--workdir={w}"], "unknown variant 'nope' of configs/fig3.py; one of full"),
        (["--config=configs/none.py", "--workdir={w}"], "config file configs/none.py does not exist"),
        (["--config=configs/fig3.py", "--config.bogus=1", "--workdir={w}"], "unknown config key 'bogus'"),
        (["--config=configs/fig3.py", "--config.run.epochs=x", "--workdir={w}"], "epochs must be an integer, got 'x'"),
        (["--config=configs/fig3.py", "--config.arms.reg.lambda=2", "--workdir={w}"], "arms.reg.'lambda'"),
        (["--config=configs/fig3.py", "--platform=tpu", "--workdir={w}"], "--platform=tpu: JAX finds only "),
        (["--config=configs/fig3.py", "--workdir={w}", "--bogus"], "Unknown command line flag 'bogus'"),
        (["--config=configs/fig3.py", "--workdir={w}", "stray"], "unknown argument 'stray'"),
        (["--config=configs/fig3.py", "--config.arms.reg.lam=-1.0", "--workdir={w}"], "lam must be positive, got -1.0"),
        (["--config=configs/fig3.py:runlocal", "--workdir={w}/file/below"], "cannot be written"),
    ],
)
def test_a_mistake_is_one_line_that_says_what_to_mend(tmp_path, arguments, message):
    (tmp_path / "file").write_text("")
    done = launch("study.py", *(argument.format(w=tmp_path) for argument in arguments))
    assert done.returncode == 1
    assert message in done.stderr
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert os.listdir(tmp_path) == ["file"], "a mistake leaves nothing behind"


def test_a_config_may_start_from_another(tmp_path):
    """From any folder: nothing but the program itself says where configs/ is."""
    config = ROOT / "configs" / "baselines.py:runlocal"
    done = launch("study.py", f"--config={config}", "--config.run.epochs=-1", f"--workdir={tmp_path}", cwd=tmp_path)
    assert "epochs must be an integer of at least 0, not -1" in done.stderr


def test_debug_shows_where_an_error_comes_from(tmp_path):
    done = launch("study.py", "--config=configs/none.py", f"--workdir={tmp_path}", "--debug")
    assert done.returncode == 1
    assert done.stderr.startswith("Traceback")
    assert "ValueError: config file configs/none.py does not exist" in done.stderr


def start(program, *arguments):
    command = [sys.executable, str(ROOT / "launch" / program), *map(str, arguments)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


SLOW = """
import pathlib, time

def get_config():
    pathlib.Path(__file__).with_name("started").touch()
    try:
        time.sleep(600)
    except BaseException:
        raise ImportError("as extension modules do with an interrupt")
"""


def test_an_interrupt_before_anything_is_trained_is_one_line(tmp_path):
    (tmp_path / "slow.py").write_text(SLOW)
    process = start("study.py", f"--config={tmp_path}/slow.py", f"--workdir={tmp_path}/work")
    while not (tmp_path / "started").exists():
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=60)
    assert (output, errors) == ("", "interrupted; run the same command again to continue\n")
    assert process.returncode == 128 + signal.SIGINT


def test_a_study_that_is_terminated_says_so_and_lets_go_of_its_folder(tmp_path):
    process = start("study.py", "--config=configs/diabetes.py", f"--workdir={tmp_path}/work", "--platform=cpu")
    assert process.stdout.readline().startswith("Running on ")
    while not (tmp_path / "work" / "claims").exists():
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    process.terminate()
    _, errors = process.communicate(timeout=120)
    assert errors.endswith("interrupted; run the same command again to continue\n")
    assert "Traceback" not in errors
    assert process.returncode == 128 + signal.SIGTERM
    assert not (tmp_path / "work" / "claims").exists()
