"""The notebook on one's own data, as Colab runs it: it asks for a file, gives a page. Its study is small."""

import nbformat
import pytest
from notebook_runs import execute
from paths import ROOT

PATH = ROOT / "notebooks" / "own_data_colab.ipynb"
# What Colab has: nothing is uploaded, so that the notebook makes its table.
COLAB = """
def upload():
    print("asked for a file")
    return {}


def download(path):
    print("downloaded", path.rpartition("/")[2])
"""


@pytest.fixture(scope="module")
def cells(tmp_path_factory):
    folder = tmp_path_factory.mktemp("own_data")
    (colab := folder / "colab" / "google" / "colab").mkdir(parents=True)
    (colab / "__init__.py").touch()
    (colab / "files.py").write_text(COLAB)
    notebook = nbformat.read(PATH, as_version=4)
    (verdict,) = [cell for cell in notebook.cells if cell.id == "verdict"]
    assert 'VARIANT, REPETITIONS = "quick", 1' in verdict.source
    verdict.source = verdict.source.replace('"quick", 1', '"runlocal", 1')
    first = nbformat.v4.new_code_cell(f"import sys\nsys.path.insert(0, {str(folder / 'colab')!r})", id="colab")
    notebook.cells.insert(0, first)
    execute(notebook, folder)
    return {cell.id: cell for cell in notebook.cells}


def printed(cell):
    return "".join(output.text for output in cell.outputs if output.get("name") == "stdout")


def test_from_upload_to_verdict(cells):
    assert printed(cells["upload"]).startswith("asked for a file\n300 rows; predicting 'price' from area, age")
    assert printed(cells["verdict"]).startswith("300 rows, 3 columns to predict from.\nprice: ")
    (verdict,) = [output.data["text/markdown"] for output in cells["verdict"].outputs if "data" in output]
    assert verdict.startswith("**price: ")
    assert "| arm" in "".join(output.data["text/markdown"] for output in cells["table"].outputs)
    assert printed(cells["page"]).startswith("downloaded report.html\nreport.html, ")
    assert printed(cells["use"]).startswith("MAE ")


def test_its_pictures(cells):
    for name in ("data", "figure", "use"):
        assert [output for output in cells[name].outputs if "image/png" in output.get("data", {})], name


def test_no_cell_complains(cells):
    outputs = [output for cell in cells.values() if cell.cell_type == "code" for output in cell.outputs]
    assert not [output for output in outputs if output.output_type == "error" or output.get("name") == "stderr"]
