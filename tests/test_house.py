"""The house: rooms import downwards only (the contract is in setup.cfg)."""

import subprocess
import sys
from pathlib import Path

from paths import ROOT


def test_rooms_import_downwards_only():
    program = Path(sys.executable).with_name("lint-imports")
    command = [program, "--no-cache", "setup.cfg"]
    checked = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout
    assert "1 kept, 0 broken" in checked.stdout
