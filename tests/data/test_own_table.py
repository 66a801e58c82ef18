"""Tables of a user's own: what is read, and one line with column, row and remedy for what cannot be trained on."""

import decimal
import gzip

import numpy as np
import pandas as pd
import pytest

from regcls_jax.data.own_table import LEAST_ROWS, MOST_CATEGORIES, read_table

ROWS = 60


def frame(**columns):
    generator = np.random.default_rng(0)
    made = {"a": generator.normal(size=ROWS), "kind": np.resize(["x", "y", "z"], ROWS)}
    return pd.DataFrame({**made, "y": generator.normal(size=ROWS), **columns})


def write(folder, table, name="table.csv"):
    table.to_csv(folder / name, index=False)
    return folder / name


def changed(values, row, value):
    values = list(values)
    values[row - 1] = value
    return values


def test_numbers_categories_and_targets(tmp_path):
    table = frame(b=changed(range(ROWS), 3, np.nan), flag=np.resize([True, False], ROWS), who=np.arange(ROWS) // 6)
    table.loc[4, "kind"] = None
    found = read_table(write(tmp_path, table), ["y"], group="who", drop=["a"])
    assert found.names == ("b", "flag", "kind")
    assert np.flatnonzero(np.isnan(found.numbers[:, 0])).tolist() == [2]
    np.testing.assert_array_equal(found.numbers[:, 1], table["flag"])
    assert (found.sizes, found.categories[:5, 0].tolist()) == ((3,), [0, 1, 2, 0, -1])
    np.testing.assert_allclose(found.targets[:, 0], table["y"])
    np.testing.assert_array_equal(found.groups, table["who"])
    assert found.target_names == ("y",)


@pytest.mark.parametrize("name", ["table.csv", "table.tsv", "table.csv.gz", "table.parquet"])
def test_every_kind_of_file_holds_the_same_table(tmp_path, name):
    expected = read_table(write(tmp_path, frame(), "first.csv"), ["y", "a"])
    path = tmp_path / name
    if name.endswith("parquet"):
        pytest.importorskip("pyarrow")
        frame().to_parquet(path)
    else:
        frame().to_csv(path, index=False, sep="\t" if "tsv" in name else ",")
    found = read_table(path, ["y", "a"])
    np.testing.assert_allclose(found.targets, expected.targets)
    np.testing.assert_array_equal(found.categories, expected.categories)


def test_features_of_two_targets(tmp_path):
    generator = np.random.default_rng(0)
    x, y = generator.normal(size=(ROWS, 3)), generator.normal(size=(ROWS, 2))
    np.savez(tmp_path / "f.npz", x=x, y=y)
    found = read_table(tmp_path / "f.npz", [])
    np.testing.assert_array_equal(found.numbers, x)
    assert (found.target_names, found.names) == (("y0", "y1"), ("x0", "x1", "x2"))
    assert read_table(tmp_path / "f.npz", ["up", "down"]).target_names == ("up", "down")
    np.savez(tmp_path / "g.npz", x=x, y=y[:, 0])
    assert read_table(tmp_path / "g.npz", []).target_names == ("y",)


BAD = {
    "no such column": (frame(), {"targets": ["yy"]}, "has no column 'yy' (target); did you mean y?"),
    "no such group": (frame(), {"group": "person"}, "has no column 'person' (group); its columns are a, kind, y"),
    "no target": (frame(), {"targets": []}, "name the column to predict; its columns are a, kind, y"),
    "a target twice": (frame(), {"targets": ["y", "y"]}, "name one twice"),
    "missing target": (
        frame(y=changed(range(ROWS), 17, np.nan)),
        {},
        "column 'y', row 17: no target; remove the 1 row(s) without one",
    ),
    "constant target": (frame(y=np.full(ROWS, 3.0)), {}, "column 'y': every target is 3; there is nothing to predict"),
    "infinite target": (frame(y=changed(range(ROWS), 5, np.inf)), {}, "column 'y', row 5: the target is inf"),
    "text target": (
        frame(y=changed([*map(str, range(ROWS))], 9, "many")),
        {},
        "column 'y', row 9: the target 'many' is no number",
    ),
    "two rows": (frame()[:2], {}, f"has 2 row(s); at least {LEAST_ROWS} are needed"),
    "no value": (frame(b=np.full(ROWS, np.nan)), {}, "column 'b' has no value in any row; drop it (--drop=b)"),
    "infinite": (frame(b=changed(range(ROWS), 8, -np.inf)), {}, "column 'b', row 8: infinite"),
    "names of rows": (frame(id=[f"row{n}" for n in range(ROWS)]), {}, "column 'id': 60 different texts in 60 rows"),
    "leak": (frame(b=2 * frame()["y"] - 1), {}, "column 'b' repeats the target 'y'"),
    "leak of a category": (
        frame(y=np.resize([1.0, 2.0, 5.0], ROWS)),
        {},
        "column 'kind' repeats the target 'y' (it explains 100.0000 % of it): a leak",
    ),
    "dates": (
        frame(day=pd.date_range("2020-01-01", periods=ROWS).astype(str)),
        {},
        "column 'day', row 1: dates such as 2020-01-01 are no inputs",
    ),
    "a bad cell among numbers": (
        frame(b=changed([*map(str, range(ROWS))], 12, "?")),
        {},
        "column 'b', row 12: '?' is no number, as 1 of its cells; leave them empty",
    ),
    "durations": (
        frame(b=[f"{n} days 01:02:03" for n in range(ROWS)]),
        {},
        "column 'b': 60 different texts in 60 rows",
    ),
    "too large": (frame(b=changed(np.arange(ROWS) * 1.0, 7, 1e39)), {}, "column 'b', row 7: infinite"),
    "a target with an offset": (
        frame(y=1.7e9 + np.arange(ROWS)),
        {},
        "column 'y': targets from 1700000000 to 1700000059 are not told apart in float32; subtract a constant",
    ),
    "the target dropped": (frame(), {"drop": ["y"]}, "column 'y' cannot be dropped: it is the target or the group"),
    "nothing to predict from": (frame()[["y"]], {}, "has no column besides y to predict from"),
    "group without a value": (
        frame(who=changed([*"ab" * 30], 4, None)),
        {"group": "who"},
        "column 'who', row 4: a row has no group",
    ),
    "group and target": (frame(), {"group": "y"}, "column 'y' cannot be both the target and the group"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_mistake_names_column_row_and_remedy(tmp_path, name):
    table, options, message = BAD[name]
    path = write(tmp_path, table)
    options = {"targets": ["y"], **options}
    with pytest.raises(ValueError, match="column|row|name") as caught:
        read_table(path, options.pop("targets"), **options)
    assert message in str(caught.value)
    assert str(caught.value).startswith((str(path), "the target columns"))
    assert "\n" not in str(caught.value)


def test_decimals_are_numbers_and_fractions_are_no_dates(tmp_path):
    pytest.importorskip("pyarrow")
    amount = [decimal.Decimal(n) / 4 for n in range(ROWS)]
    table = frame(amount=amount, size=np.resize(["1/2", "3/4", "1/8"], ROWS))
    table.to_parquet(tmp_path / "t.parquet")
    found = read_table(tmp_path / "t.parquet", ["y"])
    np.testing.assert_allclose(found.numbers[:, found.names.index("amount")], np.arange(ROWS) / 4)
    assert found.sizes == (3, 3)
    np.testing.assert_allclose(read_table(tmp_path / "t.parquet", ["amount"]).targets[:, 0], np.arange(ROWS) / 4)


def test_two_known_values_repeat_no_target(tmp_path):
    table = frame(b=np.where(np.arange(ROWS) < 2, np.arange(ROWS), np.nan))
    assert "b" in read_table(write(tmp_path, table), ["y"]).names


def test_names_are_read_without_the_spaces_around_them(tmp_path):
    (tmp_path / "t.csv").write_text("a, y\n" + "".join(f"{n % 7}, {n}\n" for n in range(ROWS)))
    assert read_table(tmp_path / "t.csv", ["y"]).target_names == ("y",)


def test_a_million_categories_are_refused_at_once(tmp_path):
    several = 3 * MOST_CATEGORIES
    table = pd.DataFrame({"id": [f"u{n}" for n in range(several)], "y": np.arange(several) % 7 + 0.5})
    with pytest.raises(ValueError, match=r"3,000 different texts in 3,000 rows, such as 'u0'; it names rows"):
        read_table(write(tmp_path, table), ["y"])


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("empty.csv", b"", "empty.csv is empty"),
        ("t.csv", b",b\n" + b"0,2\n" * ROWS, "t.csv: column 1 has no name; if it holds the row numbers of a saved"),
        ("t.csv", b"a,b,a\n" + b"1,2,3\n" * ROWS, "t.csv has two columns 'a'; rename one"),
        ("t.csv", b"a,b\n" + b"1,2,3\n" * ROWS, "its rows have more cells than the header has names (2)"),
        ("t.csv", b"a,b\n1,2\n" + b"1,2,3\n" * ROWS, "cannot be read as a table"),
        ("t.csv", b"\xff\xfe\x00a", "cannot be read as a table"),
        ("t.csv.gz", gzip.compress(b"a,b\n1,2\n", mtime=0)[:-8], "cannot be read as a table"),
        ("t.xlsx", b"", "a table is a file .csv, .tsv"),
        ("t.parquet", b"PAR1", "t.parquet is no readable Parquet file|needs pyarrow"),
        ("t.npz", b"PK", "t.npz is no readable .npz file"),
        ("t.npz", b"PK\x03\x04" + bytes(40), "t.npz is no readable .npz file"),
    ],
)
def test_a_file_that_is_no_table(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match="t") as caught:
        read_table(tmp_path / name, ["b"])
    assert any(part in str(caught.value) for part in message.split("|")), caught.value


@pytest.mark.parametrize(
    ("arrays", "options", "message"),
    [
        ({"x": np.zeros((ROWS, 2))}, {}, "has no array 'y'; it holds x"),
        ({"x": np.zeros((ROWS, 2)), "y": np.zeros(3)}, {}, "and y [n] or [n, t], got (60, 2) and (3,)"),
        ({"x": np.full((ROWS, 2), "a"), "y": np.zeros(ROWS)}, {}, "x holds <U1, not numbers"),
        ({"x": np.zeros((ROWS, 2)), "y": np.arange(ROWS)}, {"targets": ["a", "b"]}, "y has 1 columns, but 2 target"),
        ({"x": np.zeros((ROWS, 2)), "y": np.arange(ROWS)}, {"group": "who"}, "has no named columns"),
        ({"x": np.arange(ROWS)[:, None], "y": np.arange(ROWS)}, {}, "column 'x0' repeats the target 'y'"),
    ],
)
def test_features_that_cannot_be_trained_on(tmp_path, arrays, options, message):
    np.savez(tmp_path / "f.npz", **arrays)
    options = {"targets": [], **options}
    with pytest.raises(ValueError, match="f.npz") as caught:
        read_table(tmp_path / "f.npz", options.pop("targets"), **options)
    assert message in str(caught.value)


def test_there_is_no_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no file"):
        read_table(tmp_path / "none.csv", ["y"])
