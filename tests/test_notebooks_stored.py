"""The notebooks are stored with their pictures, those of their code, and nothing of the machine they ran on."""

import json

import nbformat
import pytest
from notebook_runs import digest
from paths import ROOT

PATHS = sorted((ROOT / "notebooks").glob("*.ipynb"))
# Cells that must show a picture.
PICTURES = {
    "own_data_colab": {"data", "figure", "use"},
    "why_classification_helps": {"data", "loss", "curves", "study-figure", "full", "controls", "tuned", "theory"},
}
MEGABYTES = 2


@pytest.fixture(params=PATHS, ids=lambda path: path.stem)
def path(request):
    return request.param


@pytest.fixture
def notebook(path):
    return nbformat.read(path, as_version=4)


def test_it_is_valid_and_as_any_editor_saves_it(path, notebook):
    nbformat.validate(notebook)
    assert (notebook.nbformat, notebook.nbformat_minor) == (4, 5)
    assert notebook.metadata.kernelspec.name == "python3"
    assert all(cell.metadata == {} for cell in notebook.cells)
    assert len({cell.id for cell in notebook.cells}) == len(notebook.cells)
    assert path.read_text(encoding="utf-8") == nbformat.writes(notebook) + "\n"
    assert path.stat().st_size < MEGABYTES * 1e6


def test_its_outputs_are_those_of_its_code(path, notebook):
    again = f"python tests/helpers/notebook_runs.py notebooks/{path.name} executes and stores it again"
    assert notebook.metadata.regcls_jax["executed"] == digest(notebook), again
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == [*range(1, len(code) + 1)]
    outputs = [output for cell in code for output in cell.outputs]
    assert not [output for output in outputs if output.output_type == "error" or output.get("name") == "stderr"]
    shown = {cell.id for cell in code if any("image/png" in output.get("data", {}) for output in cell.outputs)}
    assert shown == PICTURES[path.stem]
    text = json.dumps([output for output in outputs if "image/png" not in output.get("data", {})])
    assert not [place for place in ("/root", "/tmp", "/home", str(ROOT)) if place in text]


def test_it_opens_in_colab_and_installs_itself(path, notebook):
    title, *cells = notebook.cells
    badge = f"(https://colab.research.google.com/github/regcls-jax/regcls_jax/blob/main/notebooks/{path.name})"
    assert badge in title.source
    (install, *_) = [cell for cell in cells if cell.cell_type == "code"]
    assert install.id == "install"
    assert "%pip install" in install.source
    # One text for all of them; tests/test_notebook.py tries it.
    assert len({next(c.source for c in nbformat.read(p, 4).cells if c.id == "install") for p in PATHS}) == 1
