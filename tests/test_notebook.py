"""The notebook of the study runs as a reader runs it, and says what the rows say."""

import base64
import io
import json
import re
import sys
import time

import matplotlib.image
import nbformat
import numpy as np
import pandas as pd
import pytest
from IPython.core.inputtransformer2 import TransformerManager
from notebook_runs import execute
from paths import ROOT

PATH = ROOT / "notebooks" / "why_classification_helps.ipynb"
STORED = ROOT / "results" / "fig3"
FIGURES = ("data", "loss", "curves", "study-figure", "full", "controls", "tuned", "theory")
LABELS = {
    "reg": "reg",
    "reg_cls": "reg+cls",
    "reg_x_lambda": "reg×λ",
    "reg_no_decay": "reg, no decay",
    "reg_cls_no_decay": "reg+cls, no decay",
}
WHERE = "print(regcls_jax.__file__)"
# As if the results were not at hand: the cells that follow then draw the study trained in the notebook.
ELSEWHERE = "root = None\nregcls_jax.__file__ = '/nowhere/regcls_jax/__init__.py'"
MINUTES = 4


def files():
    """What stands where a notebook that forgets itself would write, with the time of the last change."""
    watched = [path for folder in ("notebooks", "results") for path in (ROOT / folder).rglob("*")]
    top = [path for path in ROOT.iterdir() if not path.name.startswith((".", "__"))]
    return {path: path.stat().st_mtime_ns for path in watched} | dict.fromkeys(top)


@pytest.fixture(scope="module")
def source():
    return nbformat.read(PATH, as_version=4)


@pytest.fixture(scope="module")
def run(source, tmp_path_factory):
    """The executed notebook {id: cell}, the folder of its temporary files, seconds, files before and after.

    Two cells are run a second time, ids with the ending "-elsewhere", where no stored results are to be found.
    """
    folder = tmp_path_factory.mktemp("notebook")
    notebook = nbformat.from_dict(json.loads(json.dumps(source)))
    again = {cell.id: cell.source for cell in source.cells if cell.id in ("full", "controls")}
    further = {"where": WHERE, "elsewhere": ELSEWHERE} | {f"{name}-elsewhere": text for name, text in again.items()}
    for name, text in further.items():
        notebook.cells.append(nbformat.v4.new_code_cell(text, id=name))
    before, begun = files(), time.monotonic()
    execute(notebook, folder, MINUTES)
    return {cell.id: cell for cell in notebook.cells}, folder, time.monotonic() - begun, before, files()


def output(cell, kind):
    """The one output of a cell with the given MIME type."""
    (data,) = [output.data[kind] for output in cell.outputs if kind in output.get("data", {})]
    return data


def printed(cell):
    return "".join(output.text for output in cell.outputs if output.get("name") == "stdout")


def table(cell):
    """The Markdown table that a cell shows."""
    lines = [line.strip("| ").split(" | ") for line in output(cell, "text/markdown").splitlines()]
    head, _, *body = [[entry.strip() for entry in line] for line in lines]
    return pd.DataFrame(body, columns=head)


def expected(rows, sampling, comparison):
    """Pairs, wins and difference of one line, from the rows alone: each arm is matched with its baseline by hand."""
    arm, baseline = (next(a for a, name in LABELS.items() if name == text) for text in comparison.split(" − "))
    keys = ["scenario", "sampling", "function", "repetition"] + ["classes"] * baseline.startswith("reg_cls")
    left, right = (rows[rows["arm"] == name] for name in (arm, baseline))
    both = left.merge(right, on=keys, suffixes=("", "_baseline"))
    both = both[(both["sampling"] != "uniform") if sampling == "imbalanced" else (both["sampling"] == sampling)]
    apart = both["mse"] - both["mse_baseline"]
    return {"pairs": str(len(both)), "wins %": f"{100 * (apart < 0).mean():.1f}", "difference": f"{apart.mean():+.3f}"}


def check_table(shown, rows, lines):
    assert len(shown) == lines
    for line in shown.to_dict("records"):
        wanted = expected(rows, line["sampling"], line["comparison"])
        assert {name: line[name] for name in wanted} == wanted, line
        low, high = map(float, line["difference, two-way 95 %"].strip("[]").split(", "))
        assert low <= float(line["difference"]) <= high


def stored_rows():
    return pd.read_csv(STORED / "rows.csv.gz")


def live_rows(folder):
    (workdir,) = folder.glob("regcls_jax-*")
    rows = pd.concat(map(pd.read_csv, (workdir / "rows").glob("*.csv.gz")))
    return rows[rows["split"] == "test"]


def test_every_cell_runs_and_in_time(run):
    cells, _, seconds, _, _ = run
    code = [cell for cell in cells.values() if cell.cell_type == "code"]
    assert all(cell.execution_count for cell in code)
    assert not [output for cell in code for output in cell.outputs if output.output_type == "error"]
    assert not [output.text for cell in code for output in cell.outputs if output.get("name") == "stderr"]
    assert printed(cells["where"]) == f"{ROOT / 'regcls_jax' / '__init__.py'}\n"  # this checkout, and not another one
    assert seconds < 60 * MINUTES


def test_nothing_is_written_beside_it(run):
    _, folder, _, before, after = run
    assert after == before
    assert list((folder / "cache" / "regcls_jax").glob("*.npz"))


def test_every_section_has_its_picture(run):
    cells, *_ = run
    for name in (*FIGURES, "full-elsewhere", "controls-elsewhere"):
        image = matplotlib.image.imread(io.BytesIO(base64.b64decode(output(cells[name], "image/png"))))
        assert min(image.shape[:2]) > 200
        assert np.ptp(image[..., :3]) > 0.9, f"{name} is blank"


def test_the_control_table_is_that_of_the_rows(run):
    cells, *_ = run
    rows = stored_rows()
    shown = table(cells["controls"])
    check_table(shown, rows[rows["scenario"].isin(["clean", "noisy"])], lines=10)
    report = (STORED / "table.md").read_text(encoding="utf-8")
    for line in shown.to_dict("records"):
        names = line["comparison"].split(" − ")
        named = [line["sampling"], *map(re.escape, names)]
        pattern = r"^\| clean, noisy \| " + "".join(rf"{entry} +\| " for entry in named) + ".*"
        found = re.search(pattern, report, re.M).group()
        assert f" {line['difference, two-way 95 %']} " in found
        assert f" {line['wins, two-way 95 %']} " in found


def test_the_small_study_is_part_of_the_full_one(run):
    cells, folder, *_ = run
    live = live_rows(folder)
    check_table(table(cells["study-table"]), live, lines=6)
    check_table(table(cells["controls-elsewhere"]).replace("imbalanced", "severe"), live, lines=6)
    means = table(cells["study"]).set_index("sampling").rename(columns={name: arm for arm, name in LABELS.items()})
    assert set(means) == {"reg", "reg_cls", "reg_x_lambda", "constant", "median"}
    for (sampling, arm), part in live.groupby(["sampling", "arm"]):
        assert means.loc[sampling, arm] == f"{part['mse'].mean():.3f}"
    trained = live[live["run"] >= 0]
    assert re.match(rf"{len(trained)} trainings in \d+ s", printed(cells["study"]))
    both = trained.merge(stored_rows(), on=["arm", "scenario", "sampling", "function", "repetition", "classes"])
    assert len(both) == len(trained)
    apart = (both["mse_x"] - both["mse_y"]).abs()
    assert f"{len(trained)} trainings of section 4 are among these" in printed(cells["full"])
    assert f"by at most {apart.max():.1e}." in printed(cells["full"])
    # Another machine rounds differently, but trains the same models on the same data.
    assert apart.median() < 0.02
    assert printed(cells["full-elsewhere"]) == ""


def test_the_tuned_table_is_that_of_the_lowest_validation_errors(run):
    cells, *_ = run
    rows = pd.read_csv(ROOT / "results" / "fair" / "rows.csv.gz", dtype={"hidden": str}, low_memory=False)
    rows = rows[rows["run"] >= 0].pivot_table(
        "mse", ["scenario", "sampling", "function", "repetition", "arm", "run"], "split"
    )
    picks = rows.loc[rows.groupby(level=[0, 1, 2, 3, 4])["val"].idxmin(), "test"].droplevel("run").unstack()
    imbalanced = picks.index.get_level_values("sampling") != "uniform"
    names = {"reg, fine grid": "reg_fine", "reg+cls bal": "reg_cls_bal", "reg+cls": "reg_cls", "reg": "reg"}
    for text, arm in names.items():
        assert f"{text} {picks.loc[imbalanced, arm].mean():.3f}" in printed(cells["tuned"])
    shown = table(cells["tuned"])
    assert len(shown) == 12
    ends = {}
    for line in shown.to_dict("records"):
        arm, baseline = (names[text] for text in line["comparison"].split(" − "))
        apart = (picks[arm] - picks[baseline])[imbalanced == (line["sampling"] == "imbalanced")]
        assert line["pairs"] == str(len(apart))
        assert line["wins %"] == f"{100 * (apart < 0).mean():.1f}"
        assert line["difference"] == f"{apart.mean():+.3f}"
        ends[line["sampling"], arm, baseline] = line["difference, two-way 95 %"].strip("[]").split(", ")
    # What the text says of them.
    assert all(low.startswith("-") and high.startswith("+") for low, high in ends.values())


def test_what_it_says_of_the_full_study(source):
    text = "\n".join(cell.source for cell in source.cells if cell.cell_type == "markdown")
    meta = json.loads((STORED / "meta.json").read_text())
    assert f"{meta['trainings']:,} trainings, {meta['seconds'] / 60:.0f} minutes" in " ".join(text.split())
    report = (ROOT / "results" / "fig3-paired" / "table.md").read_text(encoding="utf-8")
    line = re.search(r"^\| clean, noisy \| imbalanced +\| reg\+cls +\| reg×λ .*", report, re.M).group()
    *_, wins, _, wins_ends, apart, _, ends = [entry.strip() for entry in line.strip("| ").split("|")]
    assert f"wins {wins} % {wins_ends} of the imbalanced runs against reg×λ, difference {apart} {ends}" in text
    trainings = 10 * 3 * 2 * 3  # functions, repetitions, samplings, arms
    assert f"{trainings} models" in text
    assert f"{trainings} trainings" in text
    configs = re.findall(r"configs/(\w+\.py)", text)
    assert len(configs) >= 7
    assert all((ROOT / "configs" / name).is_file() for name in configs)


class Shell:
    """An IPython that installs nothing and keeps what it was asked for."""

    def __init__(self):
        self.asked = []

    def run_line_magic(self, name, line, *_):
        self.asked.append(f"%{name} {line}")

    def system(self, line):
        self.asked.append(f"!{line}")


@pytest.mark.parametrize("installed", [True, False])
@pytest.mark.parametrize("place", ["notebooks", "elsewhere", "beside"])
@pytest.mark.parametrize("address", ["", "https://example.org/regcls_jax.git"])
def test_what_the_first_cell_installs(source, tmp_path, monkeypatch, installed, place, address):
    """notebooks: opened within a clone; beside: the clone lies in the working directory, as after `git clone`."""
    (clone := tmp_path / "regcls_jax" / "regcls_jax").mkdir(parents=True)
    (clone / "__init__.py").touch()
    for name in ("regcls_jax/notebooks", "apart"):
        (tmp_path / name).mkdir()
    folder = {"notebooks": tmp_path / "regcls_jax" / "notebooks", "elsewhere": tmp_path / "apart", "beside": tmp_path}
    monkeypatch.chdir(folder[place])
    monkeypatch.setattr(sys, "path", list(sys.path))
    if not installed:
        monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    code = next(cell.source for cell in source.cells if cell.id == "install")
    code = TransformerManager().transform_cell(code.replace('REPOSITORY = ""', f"REPOSITORY = {address!r}"))
    shell = Shell()
    space = {"get_ipython": lambda: shell}
    if not (installed or address or place != "elsewhere"):
        with pytest.raises(RuntimeError, match="set REPOSITORY above, or open this notebook from a clone"):
            exec(code, space)
        assert shell.asked == []
        return
    exec(code, space)
    pip, clones = '%pip install --quiet --editable "{root}"', '!git clone --quiet --depth 1 "{REPOSITORY}" "{root}"'
    wanted = [] if installed else [clones, pip] if place == "elsewhere" else [pip]
    assert shell.asked == wanted
    if not installed:
        assert space["root"] == (tmp_path / ("apart/regcls_jax" if place == "elsewhere" else "regcls_jax"))
        assert sys.path[0] == str(space["root"])
