"""Programs of benchmarks/ are imported anew by every test: flags of two of them may have the same name."""

import sys

import pytest
from absl.testing import flagsaver
from paths import ROOT


@pytest.fixture(autouse=True)
def benchmarks(monkeypatch):
    """The modules of benchmarks/ can be imported, and are forgotten afterwards with their flags."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    before = set(sys.modules)
    with flagsaver.flagsaver():
        yield
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(ROOT / "benchmarks")):
            del sys.modules[name]
