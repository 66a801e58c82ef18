"""launch/advise.py as a user meets it: from a table to a verdict, again after a kill, and one line for a mistake."""

import signal
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest
from paths import LAUNCH, ROOT

RUNLOCAL = f"--config={ROOT}/configs/own.py:runlocal"


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    generator = np.random.default_rng(0)
    x = generator.normal(size=(150, 3))
    frame = pd.DataFrame(x, columns=[*"abc"]).assign(kind=generator.choice([*"xyz"], 150))
    frame["price"] = np.exp(x[:, 0]) + 0.1 * generator.normal(size=150)
    path = tmp_path_factory.mktemp("own") / "table.csv"
    frame.to_csv(path, index=False)
    return path


def advise(*arguments):
    command = [sys.executable, LAUNCH / "advise.py", *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_a_verdict_and_a_page_also_after_a_kill(table, tmp_path):
    given = (f"--data={table}", "--target=price", RUNLOCAL)
    process = advise(*given, f"--workdir={tmp_path}/whole")
    output, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors[-2000:]
    assert output.startswith("150 rows, 4 columns to predict from.\nprice: ")
    assert "**price: " in output
    page = (tmp_path / "whole" / "report.html").read_text()
    assert '<div class="verdict"><p><strong>price: ' in page
    assert "Should you add a classification loss?" in page
    process = advise(*given, f"--workdir={tmp_path}/killed")
    rows = tmp_path / "killed" / "rows"
    while not list(rows.glob("0*.csv.gz")):
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert len(list(rows.glob("0*.csv.gz"))) < len(list((tmp_path / "whole" / "rows").glob("0*.csv.gz")))
    again, _ = advise(*given, f"--workdir={tmp_path}/killed").communicate(timeout=300)
    assert again.replace("killed", "whole") == output


def test_what_an_edited_or_absent_table_leaves(table, tmp_path):
    """A verdict is of the table that was trained on: another one is refused, and none is needed to report it."""
    own = tmp_path / "table.csv"
    own.write_bytes(table.read_bytes())
    given = (f"--data={own}", "--target=price", f"--workdir={tmp_path}/w", RUNLOCAL)
    given += ("--config.run.epochs=1", "--config.budget=1")
    output, errors = advise(*given).communicate(timeout=300)
    assert "**price: " in output, errors
    pd.read_csv(own).assign(a=0.5 + np.arange(150)).to_csv(own, index=False)
    process = advise(*given)
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 1
    assert "digest" in errors
    own.unlink()
    command = [sys.executable, LAUNCH / "report.py", f"--workdir={tmp_path}/w", f"--export={tmp_path}/e"]
    first = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    command = [sys.executable, LAUNCH / "report.py", f"--workdir={tmp_path}/e"]
    second = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert first.split("Report: ")[0] == second.split("Report: ")[0]
    assert first.split("\nReport: ")[0] in output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--target=prise",), "has no column 'prise' (target); did you mean price?"),
        (("--target=kind",), "column 'kind', row 1: the target "),
        (("--target=price", "--folds=200"), "150 rows are too few for 200 folds; use fewer"),
        (("--target=price", "--config.arms.reg.lamda=3"), "unknown config key arms.reg.'lamda'; did you mean lam?"),
    ],
)
def test_a_mistake_is_one_line(table, tmp_path, arguments, message):
    process = advise(f"--data={table}", RUNLOCAL, f"--workdir={tmp_path}/w", *arguments)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 1
    assert errors.startswith("error: ")
    assert message in errors
    assert errors.count("\n") == 1
