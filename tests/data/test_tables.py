"""Tables as problems: folds partition the rows, share one copy of the data, and reach the report."""

import numpy as np
import pytest

from configs import diabetes
from regcls_jax.data import tables
from regcls_jax.data.tables import SOURCE, TableSpec
from regcls_jax.study.runs import expand

DATA = {"dataset": "diabetes", "folds": 5, "repetitions": 2}


def test_the_test_sets_of_a_repetition_partition_the_table():
    specs = SOURCE.specs(DATA)
    assert len(specs) == 10
    for repetition in (0, 1):
        problems = [SOURCE.read(spec, "") for spec in specs if spec.repetition == repetition]
        tested = np.concatenate([problem.splits["test"] for problem in problems])
        np.testing.assert_array_equal(np.sort(tested), np.arange(442))
        for problem in problems:
            every = np.concatenate(list(problem.splits.values()))
            np.testing.assert_array_equal(np.sort(every), np.arange(442))
            assert problem.inputs is problems[0].inputs
    first, second = (SOURCE.read(specs[number], "").splits["test"] for number in (0, 5))
    assert not np.array_equal(first, second)


def test_folds_differ_in_their_seed_and_are_the_same_every_time():
    specs = SOURCE.specs(DATA)
    assert len({spec.seed for spec in specs}) == len(specs)
    assert len({spec.shared for spec in specs}) == 1
    for spec in specs[:2]:
        one, two = SOURCE.read(spec, ""), SOURCE.read(TableSpec(*spec.content()), "")
        for name in one.splits:
            np.testing.assert_array_equal(one.splits[name], two.splits[name])


def test_the_table_is_scikit_learn_s():
    table = tables.load("diabetes")
    assert table.inputs.shape == (442, 10)
    assert (table.targets.min(), table.targets.max()) == (25, 346)
    assert tables.load("linnerud").inputs.shape == (20, 3)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dataset": "iris"}, "unknown data.dataset 'iris'; one of diabetes, linnerud"),
        ({"folds": 1}, "data.folds must be an integer of at least 2"),
        ({"repetitions": 0}, "data.repetitions must be an integer of at least 1"),
        ({"validation": 1.0}, "data.validation must be a share between 0 and 1"),
        ({"fold": 1}, "unknown config key data.'fold'"),
    ],
)
def test_bad_data_sections_are_one_clear_error(changes, message):
    with pytest.raises(ValueError, match=message):
        SOURCE.specs({**DATA, **changes})


def test_an_unknown_source_is_named():
    config = diabetes.get_config().to_dict()
    config["data"]["source"] = "tables"
    with pytest.raises(ValueError, match="unknown data.source 'tables'; one of synthetic_1d, table"):
        expand(config)
