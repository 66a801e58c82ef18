"""The benchmark command still runs, and prints and writes what it promises."""

import json
import subprocess
import sys

from paths import ROOT


def test_the_command_measures_every_section_and_writes_what_it_prints(tmp_path):
    output = tmp_path / "speed.md"
    command = [sys.executable, ROOT / "benchmarks" / "study.py", "--tiny", f"--output={output}"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout == output.read_text()
    rows = [line.split("|")[1].strip() for line in done.stdout.splitlines() if line.startswith("| ")]
    assert rows[:4] == ["classes", "-------", "0", "4"]
    assert [line for line in done.stdout.splitlines() if line.startswith("## ")] == [
        "## The study engine",
        "## Vector width",
        "## PyTorch",
        "## Data",
    ]
    numbers = json.loads(output.with_suffix(".json").read_text())
    assert {record["classes"] for record in numbers["throughput"]} == {0, 4}
    assert all(record["per_minute"]["median"] > 0 for record in numbers["throughput"])
    assert numbers["data_sets"]["made"] == 12


def test_a_missing_output_folder_is_said_before_measuring(tmp_path):
    command = [
        sys.executable,
        ROOT / "benchmarks" / "study.py",
        "--tiny",
        f"--output={tmp_path}/none/speed.md",
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr == f"error: --output={tmp_path}/none/speed.md: there is no folder {tmp_path}/none\n"
