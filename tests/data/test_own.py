"""A user's table as folds: nothing of a test fold is seen, groups stay together, rare is what training rows are."""

import numpy as np
import pandas as pd
import pytest

from regcls_jax.data import own
from regcls_jax.data.own import encode, folds_of, own_specs, predictors, read
from regcls_jax.data.own_table import read_table
from regcls_jax.data.ranges import RANGES, ranges
from regcls_jax.metrics.shots import SHOTS

ROWS = 200


@pytest.fixture
def path(tmp_path):
    generator = np.random.default_rng(0)
    x = generator.normal(size=ROWS)
    frame = pd.DataFrame({"x": x, "kind": generator.choice([*"abcd"], ROWS), "who": np.arange(ROWS) // 4})
    frame["y"] = np.exp(x) + 0.1 * generator.normal(size=ROWS)
    frame["z"] = -x + 0.1 * generator.normal(size=ROWS)
    frame.loc[::7, "x"] = np.nan
    frame.to_csv(tmp_path / "table.csv", index=False)
    own.ensure([], "", False)
    return str(tmp_path / "table.csv")


def specs(path, **data):
    return own_specs({"path": path, "target": ("y",), "drop": ("who", "z"), **data})


def test_every_row_is_tested_once_in_a_repetition(path):
    made = specs(path, folds=4, repetitions=2)
    assert len(made) == 8
    assert len({spec.content() for spec in made}) == 8
    for repetition in (0, 1):
        tested = [folds_of(spec)["test"] for spec in made if spec.repetition == repetition]
        assert sorted(np.concatenate(tested)) == [*range(ROWS)]
    for spec in made:
        splits = folds_of(spec)
        assert sorted(np.concatenate([*splits.values()])) == [*range(ROWS)]
    assert not np.array_equal(folds_of(made[0])["test"], folds_of(made[4])["test"])


def test_rows_of_a_group_are_in_one_split(path):
    for spec in specs(path, drop=("z",), group="who"):
        groups = np.arange(ROWS) // 4
        found = [set(groups[rows]) for rows in folds_of(spec).values()]
        assert not found[0] & found[1]
        assert not (found[0] | found[1]) & found[2]
    with pytest.raises(ValueError, match="50 groups of column 'who' are too few for 60 folds; use fewer"):
        specs(path, drop=("z",), group="who", folds=60)


def test_folds_that_leave_too_few_rows_are_refused(path, tmp_path):
    with pytest.raises(ValueError, match="of 200 rows in 50 folds, 4 rows are left to test on; use fewer folds"):
        specs(path, folds=50)
    frame = pd.read_csv(path)
    frame["who"] = np.where(np.arange(ROWS) < 6, np.arange(ROWS), 99)  # nearly all are of one
    frame.to_csv(tmp_path / "other.csv", index=False)
    with pytest.raises(
        ValueError, match="of 7 groups of column 'who' in 5 folds, . rows are left to .* most of the rows"
    ):
        specs(str(tmp_path / "other.csv"), drop=("z",), group="who")


def test_what_test_rows_hold_changes_nothing_of_the_training(path):
    """Imputation, categories, ranges: as if the test rows were not there."""
    spec = specs(path)[0]
    splits = folds_of(spec)
    seen, rows = np.concatenate([splits["train"], splits["val"]]), splits["test"]
    first, found = read(spec, ""), predictors(spec, read(spec, ""))
    frame = pd.read_csv(path)
    frame.loc[rows, ["x", "y"]] = frame.loc[rows, ["x", "y"]] * 5 + 100
    frame.loc[rows, "kind"] = "new"
    frame.to_csv(path, index=False)
    own.ensure([], "", False)
    second, again = read(spec, ""), predictors(spec, read(spec, ""))
    width = min(first.inputs.shape[1], second.inputs.shape[1])  # a further category has a column, all 0
    np.testing.assert_array_equal(first.inputs[seen][:, :width], second.inputs[seen][:, :width])
    np.testing.assert_array_equal(second.inputs[seen][:, width:], 0)
    np.testing.assert_array_equal(first.groups.of[seen], second.groups.of[seen])
    assert first.groups.names == second.groups.names
    assert not np.array_equal(first.targets[rows], second.targets[rows])
    for name, values in found.items():
        np.testing.assert_allclose(values[seen], again[name][seen], rtol=1e-6)


def test_missing_numbers_and_unknown_categories(path):
    table = read_table(path, ["y"], drop=["who", "z"])
    train = np.flatnonzero(table.categories[:, 0] != 3)[:100]
    found = encode(table, train)
    missing = np.isnan(table.numbers[:, 0])
    median = np.nanmedian(table.numbers[train, 0])
    seen = table.numbers[train, 0]
    known = table.numbers[:, 0].clip(np.nanmin(seen), np.nanmax(seen))
    np.testing.assert_allclose(found[:, 0], np.where(missing, 0, known - median), rtol=1e-6)
    np.testing.assert_array_equal(found[:, 1], missing)
    assert found.shape[1] == 2 + 4
    # The fourth category is in no training row: all of its columns are 0.
    np.testing.assert_array_equal(found[table.categories[:, 0] == 3, 2:], 0)
    np.testing.assert_array_equal(found[train, 2:].sum(1), 1)


def test_a_column_that_is_constant_in_training_says_nothing(path):
    table = read_table(path, ["y"], drop=["who", "z"])
    numbers = np.where(np.arange(ROWS) < 100, 5.0, np.arange(ROWS))[:, None]
    found = encode(table._replace(numbers=numbers), np.arange(100))
    np.testing.assert_array_equal(found[:, 0], 0)


def test_a_stray_number_is_the_end_of_the_training_range(path):
    table = read_table(path, ["y"], drop=["who", "z"])
    numbers = np.arange(ROWS, dtype=float)[:, None]
    numbers[[150, 160], 0] = 1e9, -1e9
    found = encode(table._replace(numbers=numbers), np.arange(100))[:, 0]
    assert (found[150], found[160]) == (found[99], found[0])
    assert np.ptp(found) == 99


def test_an_offset_of_an_input_costs_no_digits(path):
    table = read_table(path, ["y"], drop=["who", "z"])
    moved = encode(table._replace(numbers=table.numbers + 2.0**40), np.arange(100))
    np.testing.assert_allclose(moved, encode(table, np.arange(100)), atol=1e-3)


def test_whole_numbers_have_a_range_each():
    edges, groups = ranges(np.repeat([1, 2, 3, 4, 5], 20))
    assert (len(edges), set(groups)) == (6, {1})
    np.testing.assert_array_equal(edges, [1, 1.5, 2.5, 3.5, 4.5, 5])
    _, groups = ranges(np.repeat([1, 2, 3, 4, 5], [3, 30, 30, 30, 7]))
    assert [SHOTS[group] for group in groups] == ["few", "medium", "medium", "medium", "few"]
    with pytest.raises(ValueError, match="all targets are 3"):
        ranges(np.full(9, 3.0))


def test_rare_ranges_are_those_with_few_training_rows():
    targets = np.concatenate([np.linspace(0, 1, 1000), np.linspace(1, 10, 50)])
    edges, groups = ranges(targets)
    assert len(edges) == RANGES + 1
    assert groups[0] == 0
    assert (groups[5:] == 2).all()
    _, groups = ranges(np.r_[np.zeros(9999), np.linspace(1, 2, 30)])  # quantiles that are equal
    assert groups[0] == 0


def test_the_references_do_better_than_a_constant(path):
    spec = specs(path)[0]
    problem = read(spec, "")
    test = problem.splits["test"]
    found = predictors(spec, problem)
    assert set(found) == {"ridge", "boosting"}
    constant = np.abs(problem.targets[test] - problem.train_targets.mean()).mean()
    for values in found.values():
        assert values.shape == (ROWS,)
        assert np.abs(values[test] - problem.targets[test]).mean() < 0.9 * constant


def test_several_targets_are_problems_of_their_own(path):
    made = specs(path, target=("y", "z"), drop=("who",))
    assert {spec.columns()["target"] for spec in made} == {"y", "z"}
    first, other = (next(spec for spec in made if spec.columns()["target"] == name) for name in ("y", "z"))
    np.testing.assert_array_equal(folds_of(first)["test"], folds_of(other)["test"])
    assert not np.array_equal(read(first, "").targets, read(other, "").targets)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"path": None}, "data.path must name a table, got None"),
        ({"path": "t.csv", "target": "y"}, "data.target must be a tuple of names of columns"),
        ({"path": "t.csv", "group": 3}, "data.group must be text, got 3"),
        ({"path": "t.csv", "folds": 1}, "data.folds must be an integer of at least 2"),
        ({"path": "t.csv", "validation": 1.0}, "data.validation must be a share"),
        ({"path": "t.csv", "fold": 3}, "unknown config key data.'fold'"),
    ],
)
def test_a_wrong_setting_is_named(data, message):
    with pytest.raises(ValueError, match=message):
        own_specs(data)
