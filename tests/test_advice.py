"""From a table and configs/own.py to a study: sizes that follow the rows, scales that follow the target."""

import importlib.util

import numpy as np
import pandas as pd
import pytest
from paths import ROOT

from regcls_jax.advice import effort, fill_in
from regcls_jax.data.own import read
from regcls_jax.data.own_table import LEAST_ROWS
from regcls_jax.study.plan import batches_per_epoch, measure
from regcls_jax.study.runs import expand


def own_config(variant="full", name="own"):
    spec = importlib.util.spec_from_file_location(f"config_{name}", ROOT / "configs" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.get_config(variant).to_dict()


@pytest.fixture
def given(tmp_path):
    generator = np.random.default_rng(0)
    frame = pd.DataFrame({"x": generator.normal(size=300), "y": 500 * generator.gamma(2.0, size=300)})
    frame.assign(z=-frame["y"] + generator.normal(size=300)).to_csv(tmp_path / "t.csv", index=False)
    return {"path": str(tmp_path / "t.csv"), "target": ("y",), "group": "", "drop": ("z",)}


@pytest.mark.parametrize("name", ["own", "remedies"])
@pytest.mark.parametrize("variant", ["full", "quick", "runlocal"])
def test_the_config_of_a_table_expands_to_equal_budgets(given, variant, name):
    config, said = fill_in(own_config(variant, name), given, {})
    runs = expand(config)
    folds = {"full": 15, "quick": 15, "runlocal": 2}[variant]
    for arm in config["arms"]:
        assert sum(run.arm == arm for run in runs) == folds * config["budget"]
    assert said.startswith("300 rows, 1 columns to predict from.\ny: ")


def test_the_command_line_is_stronger_than_the_config(given):
    config, _ = fill_in(own_config(), given, {"folds": 3, "repetitions": 2})
    assert len({run.data for run in expand(config)}) == 6
    config = own_config()
    config, _ = fill_in({**config, "run": {**config["run"], "epochs": 7}}, given, {})
    assert {run.epochs for run in expand(config)} == {7}


def test_several_targets_have_the_same_arms(given):
    config, said = fill_in(own_config(), {**given, "target": ("y", "z"), "drop": ()}, {})
    assert config["arms"] == fill_in(own_config(), given, {})[0]["arms"]
    assert "z: " in said


@pytest.mark.parametrize("folds", [2, 5])
def test_the_smallest_table_has_room_for_its_classes(given, tmp_path, folds):
    frame = pd.read_csv(given["path"])[:LEAST_ROWS]
    frame.to_csv(tmp_path / "small.csv", index=False)
    config, _ = fill_in(own_config(), {**given, "path": str(tmp_path / "small.csv")}, {"folds": folds})
    runs = expand(config)
    problems = {run.data: read(run.data, "") for run in runs}
    for run in runs:
        measure(run.trained_on, problems[run.data])  # refuses more classes than rows
        assert batches_per_epoch(run, measure(run.trained_on, problems[run.data])) > 0
    with pytest.raises(ValueError, match="arm 'reg_cls': 50 classes are too many for a table of so few rows"):
        fill_in({**config, "arms": {"reg_cls": {"classes": 50}}}, {**given, "path": str(tmp_path / "small.csv")}, {})


@pytest.mark.parametrize("rows", [50, 500, 5_000, 19_999, 20_001, 100_000, 10**7])
def test_effort_is_bounded(rows):
    found = effort(rows)
    assert 8 <= found["batch_size"] <= 256
    assert found["batch_size"] <= rows * 0.6  # four fifths of four fifths are trained on
    assert 10 <= found["epochs"] <= 100
    assert found["repetitions"] in (1, 3)
