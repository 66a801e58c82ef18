"""Every config under configs/: its variants load and expand, small ones are part of the full study."""

import dataclasses
import importlib.util
import re
from pathlib import Path

import pytest

from regcls_jax.report.studies import STUDIES
from regcls_jax.training.grid import expand

FILES = sorted((Path(__file__).parents[1] / "configs").glob("*.py"))
# The full grid of configs/capacity.py, 2.5 million runs, is not expanded; tests/test_capacity.py counts and checks it.
EXPANDED = [path for path in FILES if path.stem != "capacity"]


def load(path):
    spec = importlib.util.spec_from_file_location(f"config_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def variants(module):
    """The variants that the message about an unknown one lists."""
    with pytest.raises(ValueError, match="unknown variant 'no such'") as error:
        module.get_config("no such")
    return re.search(r"one of (.*)$", str(error.value)).group(1).split(", ")


def runs(module, variant):
    return expand(module.get_config(variant).to_dict())


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_config_and_all_its_variants(path):
    module = load(path)
    names = variants(module)
    assert {"full", "quick", "runlocal"} <= set(names)
    assert module.get_config() == module.get_config("full")
    for name in names:
        config = module.get_config(name)
        assert config.name == path.stem
        assert config.name in STUDIES
        # The docstring has the command of every variant.
        wanted = f"configs/{path.name}" + ("" if name == "full" else f":{name}") + " "
        assert wanted in module.__doc__
    assert len(runs(module, "runlocal")) <= 50


@pytest.mark.parametrize("path", EXPANDED, ids=lambda path: path.stem)
def test_small_variants_are_part_of_the_full_study(path):
    module = load(path)
    full = runs(module, "full")
    assert len(set(full)) == len(full)
    for name in ("quick", "runlocal"):
        small = runs(module, name)
        assert len(small) < len(full) / 5
        # A small study trains some of the runs of the full one; `runlocal` shorter.
        assert {dataclasses.replace(run, epochs=80) for run in small} < set(full)
        assert {run.arm for run in small} == {run.arm for run in full}
    assert {run.epochs for run in runs(module, "quick")} == {80}


def test_the_studies_have_the_size_of_the_paper():
    configs = {path.stem: load(path) for path in FILES}
    lambdas, classes, samplings = 8, 5, 4
    lam_sets = 10 * 3 * 2 * samplings  # functions, repetitions, scenarios
    table1, fig4 = runs(configs["tab1"], "full"), runs(configs["fig4"], "full")
    assert len(table1) == lam_sets * (1 + 1 + lambdas + 2 * lambdas * classes)
    assert len(fig4) == lam_sets * (1 + 1 + lambdas + lambdas * classes)
    assert set(fig4) < set(table1)  # so one study serves both reports
    assert len(runs(configs["fig5"], "full")) == 10 * 5 * 3 * samplings * (3 + 2 * classes)
    cell = [r for r in table1 if (r.arm, r.data.scenario, r.data.sampling) == ("reg_cls_bal", "clean", "mild")]
    assert len(cell) == 1200  # what the percentages of Table 1 are whole numbers of
    assert all(r.balanced for r in cell)


def test_only_what_an_arm_is_for_differs_from_reg():
    for run in runs(load(FILES[0].with_name("tab1.py")), "full"):
        assert run.learning_rate == {"clean": 1e-3, "noisy": 1e-2}[run.data.scenario]
        assert run.weight_decay == (0.0 if run.arm == "reg_no_decay" else 1e-3)
        assert run.balanced == (run.arm == "reg_cls_bal")
        assert (run.lam == 1.0) or run.arm in ("reg_x_lambda", "reg_cls", "reg_cls_bal")
