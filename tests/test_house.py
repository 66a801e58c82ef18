"""The house: rooms import downwards only (the contract is in setup.cfg), and its papers agree."""

import configparser
import re
import subprocess
import sys
from pathlib import Path

import yaml
from paths import ROOT

import regcls_jax


def test_rooms_import_downwards_only():
    program = Path(sys.executable).with_name("lint-imports")
    command = [program, "--no-cache", "setup.cfg"]
    checked = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout
    assert "1 kept, 0 broken" in checked.stdout


def test_one_version_and_the_same_pythons_everywhere():
    settings = configparser.ConfigParser()
    settings.read(ROOT / "setup.cfg")
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == regcls_jax.__version__
    assert re.search(r"^## (\S+?),? ", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)[1] == regcls_jax.__version__
    tested = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())["jobs"]["tests"]["strategy"]["matrix"]
    named = re.findall(r"Python :: (3\.\d+)", settings["metadata"]["classifiers"])
    assert named == tested["python"]
