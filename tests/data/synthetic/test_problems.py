"""1-D problems: the splits, and the rows of many, medium and few training samples."""

import dataclasses

import numpy as np
import pytest

from regcls_jax.data.ranges import FEW, MANY, RANGES
from regcls_jax.data.synthetic.problems import data_specs, ensure, read
from regcls_jax.metrics.shots import SHOTS

DATA = {"scenarios": ("clean",), "samplings": ("severe",), "functions": 1, "repetitions": 1, "total": 20_000}


def test_errors_by_shots_group_the_same_rows_by_their_density(tmp_path):
    (spec,) = data_specs({**DATA, "by_shots": True})
    plain_spec = dataclasses.replace(spec, by_shots=False)
    ensure([spec], tmp_path, False)
    problem, plain = read(spec, tmp_path), read(plain_spec, tmp_path)
    assert plain.groups is None
    assert spec.columns() == plain_spec.columns()
    np.testing.assert_array_equal(problem.targets, plain.targets)
    train = problem.train_targets
    low, high = np.quantile(train, (0.01, 0.99))
    place = np.clip(((problem.targets - low) / (high - low) * RANGES).astype(int), 0, RANGES - 1)
    share = np.bincount(place[problem.splits["train"]], minlength=RANGES) * RANGES / len(train)
    shots = np.where(share > MANY, 0, np.where(share < FEW, 2, 1))
    # Targets on an edge may be rounded to either side.
    assert np.mean(problem.groups.of == shots[place]) > 0.999
    assert problem.groups.names == SHOTS
    assert set(problem.groups.of) == {0, 2}, "a severe peak leaves few elsewhere"


def test_by_shots_is_yes_or_no():
    with pytest.raises(ValueError, match="data.by_shots must be True or False, got 1"):
        data_specs({**DATA, "by_shots": 1})
