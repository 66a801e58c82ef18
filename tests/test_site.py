"""docs/ is a site: it is built without a warning, and has every public name and every notebook with its pictures."""

import subprocess
import sys

import pytest
from paths import ROOT

import regcls_jax as rc

pytest.importorskip("sphinx_book_theme", reason="the site needs pip install -e '.[docs]'")
pytest.importorskip("myst_nb", reason="the site needs pip install -e '.[docs]'")


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-d", folder / "doctrees"]
    built = subprocess.run([*command, ROOT / "docs", folder / "html"], capture_output=True, text=True)
    assert built.returncode == 0, built.stderr[-3000:]
    return folder / "html"


def test_every_public_name_is_documented(site):
    text = (site / "api.html").read_text(encoding="utf-8")
    for module in (rc.bins, rc.losses, rc.metrics, rc.priors, rc.theory, rc.weights):
        names = getattr(module, "__all__", None) or [
            name for name, value in vars(module).items() if getattr(value, "__module__", "") == module.__name__
        ]
        missing = [name for name in names if not name.startswith("_") and f".{name}" not in text]
        assert missing == [], module.__name__
    for name in ("objective", "masked_mean", "keep_mask", "Prediction", "RegClsRegressor", "ImbalanceWeights"):
        assert f'id="regcls_jax.{name}"' in text


def test_notebooks_are_shown_with_their_pictures(site):
    for notebook in (ROOT / "notebooks").glob("*.ipynb"):
        page = (site / "notebooks" / f"{notebook.stem}.html").read_text(encoding="utf-8")
        assert page.count("<img") >= 3, notebook.name
