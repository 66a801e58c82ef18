"""Tables of path, age and split: what is read, and every mistake named with its line and column."""

import numpy as np
import pytest

from regcls_jax.data.images.table import read_age_table

ROWS = ["a/1.jpg,31,train", "a/2.jpg,0,val", "b/1.jpg,186,test", "b/2.jpg,40.5,train"]


def write(folder, rows, header="path,age,split"):
    path = folder / "faces.csv"
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


def test_reads_rows_in_order_without_clipping_ages(tmp_path):
    table = read_age_table(write(tmp_path, ROWS))
    assert table.paths.tolist() == ["a/1.jpg", "a/2.jpg", "b/1.jpg", "b/2.jpg"]
    assert table.ages.dtype == np.float32
    np.testing.assert_array_equal(table.ages, [31, 0, 186, 40.5])
    assert table.splits.tolist() == ["train", "val", "test", "train"]
    train = table.split("train")
    assert train.paths.tolist() == ["a/1.jpg", "b/2.jpg"]
    np.testing.assert_array_equal(train.ages, [31, 40.5])


def test_ignores_other_columns_and_their_order(tmp_path):
    rows = [f"{split},7,{age},{path}" for path, age, split in (row.split(",") for row in ROWS)]
    table = read_age_table(write(tmp_path, rows, "split,other,age,path"))
    assert table.paths.tolist() == ["a/1.jpg", "a/2.jpg", "b/1.jpg", "b/2.jpg"]


@pytest.mark.parametrize(
    ("row", "column", "value"),
    [
        ("c.jpg,,train", "age", ""),
        ("c.jpg,nan,train", "age", "nan"),
        ("c.jpg,inf,train", "age", "inf"),
        ("c.jpg,-1,train", "age", "-1"),
        ("c.jpg,old,train", "age", "old"),
        ("c.jpg,5,training", "split", "training"),
        (",5,train", "path", ""),
        ("a/2.jpg,5,train", "path", "a/2.jpg"),
    ],
)
def test_names_file_line_column_and_value_of_a_mistake(tmp_path, row, column, value):
    path = write(tmp_path, [*ROWS, row])
    with pytest.raises(ValueError, match=f"line 6, column '{column}': '{value}' ") as caught:
        read_age_table(path)
    assert str(path) in str(caught.value)


def test_names_a_missing_column(tmp_path):
    path = write(tmp_path, ROWS, "path,years,split")
    with pytest.raises(ValueError, match=r"faces.csv has no column 'age'; it has path, years, split"):
        read_age_table(path)


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_refuses_an_empty_split(tmp_path, split):
    path = write(tmp_path, [row for row in ROWS if not row.endswith(split)])
    with pytest.raises(ValueError, match=f"faces.csv, column 'split': no row is '{split}'"):
        read_age_table(path)


def test_a_missing_or_empty_file_is_named(tmp_path):
    with pytest.raises(OSError, match=r"none\.csv"):
        read_age_table(tmp_path / "none.csv")
    (tmp_path / "empty.csv").write_text("")
    with pytest.raises(ValueError, match=r"empty\.csv is no CSV table"):
        read_age_table(tmp_path / "empty.csv")
