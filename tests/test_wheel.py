"""The wheel: all modules, programs, configs and files of data are in it, and it works where there is no checkout."""

import os
import shutil
import subprocess
import sys
import zipfile
from configparser import ConfigParser
from pathlib import Path

import pytest
from paths import ROOT

from regcls_jax.store.files import read_json

FOLDERS = {"regcls_jax": "regcls_jax", "configs": "regcls_jax/configs", "launch": "regcls_jax/launch"}
SHIPPED = (".py", ".csv", ".css", ".j2", ".js", ".typed")


def pip(*arguments):
    done = subprocess.run([sys.executable, "-m", "pip", *map(str, arguments)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Built from a copy: setuptools leaves files in the folder that it builds."""
    folder = tmp_path_factory.mktemp("wheel")
    for name in FOLDERS:
        shutil.copytree(ROOT / name, folder / "source" / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder / "source")
    pip("wheel", "--quiet", "--no-deps", "--no-build-isolation", f"--wheel-dir={folder}", folder / "source")
    (built,) = folder.glob("*.whl")
    return built


def test_all_that_is_needed_is_in_the_wheel(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        (entries,) = (name for name in names if name.endswith("entry_points.txt"))
        commands = ConfigParser()
        commands.read_string(archive.read(entries).decode())
    wanted = {
        f"{place}/{path.relative_to(ROOT / folder).as_posix()}"
        for folder, place in FOLDERS.items()
        for path in (ROOT / folder).rglob("*")
        if path.suffix in SHIPPED
    }
    assert wanted == {name for name in names if ".dist-info/" not in name}
    programs = {f"regcls-{path.stem}" for path in (ROOT / "launch").glob("*.py")}
    assert programs == set(commands["console_scripts"])


def test_it_works_from_an_empty_folder(wheel, tmp_path):
    target, empty = tmp_path / "installed", tmp_path / "empty"
    empty.mkdir()
    pip("install", "--quiet", "--no-deps", "--no-index", f"--target={target}", wheel)
    environment = {**os.environ, "PYTHONPATH": str(target), "XDG_CACHE_HOME": str(tmp_path / "cache")}

    def study(*arguments):
        command = [Path("..") / "installed" / "bin" / "regcls-study", *arguments, "--workdir=work"]
        return subprocess.run(command, cwd=empty, env=environment, capture_output=True, text=True)

    done = study("--config=configs/fig3.py:runlocal")
    assert done.returncode == 0, done.stderr
    assert "12 trainings done now." in done.stdout
    (notes,) = (empty / "work" / "meta").iterdir()
    assert read_json(notes)["command"] == "regcls-study --config=configs/fig3.py:runlocal --workdir=work"
    started_from_another = study("--config=configs/fig4.py:runlocal", "--config.run.epochs=-1")
    assert "epochs must be an integer of at least 0, not -1" in started_from_another.stderr
    assert "launch/study.py --config=configs/fig3.py:quick" in study("--help").stdout
