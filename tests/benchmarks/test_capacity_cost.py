"""The cost of a study from measured rates, and the program that measures them."""

import subprocess
import sys

import pytest
from paths import ROOT

from configs import capacity
from regcls_jax.study.runs import expand


def test_costs_from_rates():
    import capacity_cost
    import measure

    config = capacity.get_config("reduced").to_dict()
    counts = capacity_cost.trainings_by_shape(config)
    assert sum(counts.values()) == len(expand(config))
    shape = capacity_cost.Shape("adam", (6, 4), 0)
    assert counts[shape] == 2 * 10 * 3 * 5  # data sets, rates, s
    costs = capacity_cost.cost_table({shape: 600}, {shape: 84.0}, 2560)
    # 84 batches in an epoch of 21,705 samples, 10 in one of 2,560: 10 trainings a minute.
    assert costs["trainings_per_minute"].item() == pytest.approx(10.0, rel=1e-12)
    assert costs["hours"].item() == pytest.approx(1.0, rel=1e-12)
    # Layers 1x6, 6x4, 4x1; 6 products each, no gradient of the inputs.
    flop = (6 * (6 + 24 + 4) - 2 * 6) * 84 * 256 * 80
    assert costs["pflop"].item() == pytest.approx(600 * flop / 1e15, rel=1e-12)
    assert measure.gflop_of_training(0, 21_705, (6, 4)) == pytest.approx(flop / 1e9, rel=1e-12)


@pytest.mark.parametrize("setting", [{"epochs": 2}, {"balanced": True, "classes": 4}, {"regression": "bmc"}])
def test_what_was_not_measured_has_no_cost(setting):
    import capacity_cost

    config = {"data": {"functions": 3, "repetitions": 5}, "arms": {"reg": {"lam": 1.0}, "odd": setting}}
    with pytest.raises(ValueError, match=f"arm 'odd': costs are measured with {next(iter(setting))} = "):
        capacity_cost.trainings_by_shape(config)


TINY = """
from ml_collections import ConfigDict

def get_config():
    arms = {"reg": {"hidden": (6, 4), "learning_rate": (1e-3, 1e-2)}, "reg_cls": {"classes": 4, "optimizer": "sgd"}}
    return ConfigDict({"name": "tiny", "data": {"functions": 3, "repetitions": 5}, "arms": arms})
"""


def test_the_cost_program_runs(tmp_path):
    (tmp_path / "tiny.py").write_text(TINY)
    command = [sys.executable, ROOT / "benchmarks" / "capacity_cost.py", "--samples=256"]
    command += ["--config=tiny.py", "--output=cost.md"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout == (tmp_path / "cost.md").read_text()
    assert f"**{3 * 3 * 5 * 4 * 3} trainings: " in done.stdout  # 3 settings, 15 sets of 4 samplings, 3 scenarios
    assert "computed, not measured" in done.stdout
