"""The safety net: every folder of results/ reports, from its own rows, to the tables that stand in it."""

import pytest
from paths import ROOT

from regcls_jax.report.build import build, text

RESULTS = ROOT / "results"
# Those that take longest first, so that two workers end together.
STUDIES = ["fair", "tab1", "theory", "baselines", "fig3-paired", "fig5", "fig3", "capacity", "utkface", "nyu_small"]
STUDIES += ["breakfast", "sts_b_dir", "tabular", "remedies/tables", "remedies/1d", "remedies/utkface"]


def test_every_committed_study_is_looked_at():
    assert set(STUDIES) == {path.parent.relative_to(RESULTS).as_posix() for path in RESULTS.rglob("table.md")}


@pytest.mark.parametrize("name", STUDIES)
def test_tables_and_facts_are_those_committed(name):
    folder = RESULTS / name
    made = text(build(folder, figures=False)).splitlines()
    committed = (folder / "table.md").read_text(encoding="utf-8").splitlines()
    # One line at a time: the difference of two long texts takes minutes to print.
    for number, (line, expected) in enumerate(zip(made, committed, strict=False), 1):
        assert line == expected, f"line {number} of {folder / 'table.md'}"
    assert len(made) == len(committed)
