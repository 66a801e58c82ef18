"""Notebooks are executed as a reader does it, and stored with their pictures.

python tests/helpers/notebook_runs.py notebooks/own_data_colab.ipynb     # executes it and stores what came out
"""

import hashlib
import os
import sys
from pathlib import Path

import matplotlib
import nbformat
from nbclient import NotebookClient
from paths import ROOT

MINUTES = 25
LANGUAGE = {"name": "python", "pygments_lexer": "ipython3"}


def digest(notebook):
    """Of the code, so that outputs can be told from those of another text."""
    text = "\0".join(cell.source for cell in notebook.cells if cell.cell_type == "code")
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def without_alarms(notebook):
    """Leaves out what XLA says of slow compilation, which tells of a busy machine and of nothing else."""
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if "slow_operation_alarm" not in output.get("text", "")]


def execute(notebook, folder, minutes=MINUTES):
    """Runs all cells in place, in a kernel of their own whose temporary files and caches lie in `folder`."""
    env = {**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(folder), "XDG_CACHE_HOME": str(folder / "cache")}
    # Matplotlib would list the fonts anew in an empty cache.
    env |= {"MPLCONFIGDIR": matplotlib.get_cachedir(), "IPYTHONDIR": str(folder / "ipython")}
    resources = {"metadata": {"path": str(ROOT / "notebooks")}}
    client = NotebookClient(
        notebook, timeout=60 * minutes, kernel_name="python3", resources=resources, record_timing=False
    )
    client.execute(env=env)
    without_alarms(notebook)


def write(notebook, path):
    """As any editor saves it."""
    path.write_text(nbformat.writes(notebook) + "\n", encoding="utf-8")


def store(path, folder):
    """Executes the notebook at `path` and stores it with its outputs and what they are of."""
    notebook = nbformat.read(path, as_version=4)
    execute(notebook, folder)
    notebook.metadata.language_info = LANGUAGE
    notebook.metadata.regcls_jax = {"executed": digest(notebook)}
    write(notebook, path)


if __name__ == "__main__":
    import tempfile

    for name in sys.argv[1:]:
        with tempfile.TemporaryDirectory() as temporary:
            store(Path(name).resolve(), Path(temporary))
