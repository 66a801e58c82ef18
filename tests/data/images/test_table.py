"""Tables of path, age and split: what is read, and every mistake named with its line and column."""

import gzip
import re

import numpy as np
import pytest

from regcls_jax.data.images.table import ImageTable, digest, read_image_table, split_by_target

ROWS = ["a/1.jpg,31,train", "a/2.jpg,0,val", "b/1.jpg,186,test", "b/2.jpg,40.5,train"]


def read_ages(path):
    return read_image_table(path, "age", least=0, most=200, split_needed=True)


def write(folder, rows, header="path,age,split"):
    path = folder / "faces.csv"
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


def test_reads_rows_in_order_without_clipping_ages(tmp_path):
    table = read_ages(write(tmp_path, ROWS))
    assert table.paths.tolist() == ["a/1.jpg", "a/2.jpg", "b/1.jpg", "b/2.jpg"]
    assert table.targets.dtype == np.float32
    np.testing.assert_array_equal(table.targets, [31, 0, 186, 40.5])
    assert table.splits.tolist() == ["train", "val", "test", "train"]
    train = table.split("train")
    assert train.paths.tolist() == ["a/1.jpg", "b/2.jpg"]
    np.testing.assert_array_equal(train.targets, [31, 40.5])


def test_ignores_other_columns_and_their_order(tmp_path):
    rows = [f"{split},7,{age},{path}" for path, age, split in (row.split(",") for row in ROWS)]
    table = read_ages(write(tmp_path, rows, "split,other,age,path"))
    assert table.paths.tolist() == ["a/1.jpg", "a/2.jpg", "b/1.jpg", "b/2.jpg"]


@pytest.mark.parametrize(
    ("row", "column", "value"),
    [
        ("c.jpg,,train", "age", ""),
        ("c.jpg,nan,train", "age", "nan"),
        ("c.jpg,inf,train", "age", "inf"),
        ("c.jpg,-1,train", "age", "-1"),
        ("c.jpg,old,train", "age", "old"),
        ("c.jpg,200.5,train", "age", "200.5"),
        ("c.jpg,2000000000,train", "age", "2000000000"),
        ("c.jpg,5,training", "split", "training"),
        ("c.jpg,5", "split", ""),
        (",5,train", "path", ""),
        ("a/2.jpg,5,train", "path", "a/2.jpg"),
        ("./a//2.jpg,5,train", "path", "./a//2.jpg"),
        (r"a\2.jpg,5,train", "path", r"a\2.jpg"),
        ("../c.jpg,5,train", "path", "../c.jpg"),
        ("a/../../c.jpg,5,train", "path", "a/../../c.jpg"),
        ("/data/c.jpg,5,train", "path", "/data/c.jpg"),
        (r"C:\c.jpg,5,train", "path", r"C:\c.jpg"),
        ("..,5,train", "path", ".."),
    ],
)
def test_names_file_line_column_and_value_of_a_mistake(tmp_path, row, column, value):
    path = write(tmp_path, [*ROWS, row])
    with pytest.raises(ValueError, match=f"^{re.escape(f'{path}, line 6, column {column!r}: {value!r} ')}"):
        read_ages(path)


def test_spaces_and_empty_lines_do_not_matter_but_are_counted(tmp_path):
    plain = read_ages(write(tmp_path, ROWS))
    spaced = [" , ".join(row.split(",")) for row in ROWS]
    path = write(tmp_path, ["", *spaced[:2], "", ",,", *spaced[2:], ""], "\n path , age,split ")
    for got, expected in zip(read_ages(path), plain, strict=True):
        np.testing.assert_array_equal(got, expected)
    with pytest.raises(ValueError, match="line 10, column 'age': 'old' is not a number from 0 to 200"):
        read_ages(write(tmp_path, ["", *spaced[:2], "", ",,", *spaced[2:], "c.jpg, old, val"], "\n path , age,split "))


def test_quotes_line_ends_bytes_first_and_compression_as_programs_write_them(tmp_path):
    plain = read_ages(write(tmp_path, ROWS))
    path = tmp_path / "other.csv"
    quoted = ["note,path,age,split", *(f'"two\nlines, ""{row[0]}""", "{row[:7]}",{row[8:]}' for row in ROWS)]
    path.write_bytes(b"\xef\xbb\xbf" + "\r\n".join(quoted).encode())
    (tmp_path / "packed.csv.gz").write_bytes(gzip.compress(path.read_bytes()))
    for name in ("other.csv", "packed.csv.gz"):
        for got, expected in zip(read_ages(tmp_path / name), plain, strict=True):
            np.testing.assert_array_equal(got, expected)
    path.write_text("\n".join([*quoted, 'x,c.jpg,"old",val']))
    with pytest.raises(ValueError, match="line 10, column 'age': 'old'"):
        read_ages(path)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (["c.jpg,5,train,more"], "line 6: 4 fields, but the header has 3"),
        (['"c.jpg,5,train'], "is no CSV table: "),
    ],
)
def test_a_row_that_is_no_row(tmp_path, rows, message):
    with pytest.raises(ValueError, match=message):
        read_ages(write(tmp_path, [*ROWS, *rows]))


def test_paths_come_in_one_spelling(tmp_path):
    table = read_ages(write(tmp_path, [rf".\{row}" if row[0] == "a" else f".//{row}" for row in ROWS]))
    assert table.paths.tolist() == ["a/1.jpg", "a/2.jpg", "b/1.jpg", "b/2.jpg"]


def test_refuses_a_column_that_comes_twice(tmp_path):
    with pytest.raises(ValueError, match="has more than one column 'age'"):
        read_ages(write(tmp_path, [f"{row},1" for row in ROWS], "path,age,split, age"))


def test_names_a_missing_column(tmp_path):
    path = write(tmp_path, ROWS, "path,years,split")
    with pytest.raises(ValueError, match=r"faces.csv has no column 'age'; it has path, years, split"):
        read_ages(path)


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_refuses_an_empty_split(tmp_path, split):
    path = write(tmp_path, [row for row in ROWS if not row.endswith(split)])
    with pytest.raises(ValueError, match=f"faces.csv, column 'split': no row is '{split}'"):
        read_ages(path)


def test_a_missing_or_empty_file_is_named(tmp_path):
    with pytest.raises(OSError, match=r"none\.csv"):
        read_ages(tmp_path / "none.csv")
    for content in ("", "\n\n"):
        (tmp_path / "empty.csv").write_text(content)
        with pytest.raises(ValueError, match=r"empty\.csv is no CSV table"):
            read_ages(tmp_path / "empty.csv")
    with pytest.raises(ValueError, match=r"faces\.csv, column 'split': no row is 'train'"):
        read_ages(write(tmp_path, []))


def test_any_number_is_a_target_and_the_split_may_be_missing(tmp_path):
    path = write(tmp_path, ["-3.5,x,a.png", "1e3,y,b.png", "0,z,c.png"], "price,town,photo")
    table = read_image_table(path, "price", path_column="photo")
    assert table.paths.tolist() == ["a.png", "b.png", "c.png"]
    assert table.targets.tolist() == [-3.5, 1000, 0]
    assert table.splits is None
    for wrong in ("nan", "inf", "1e39", "cheap", ""):
        with pytest.raises(ValueError, match=f"line 2, column 'price': '{wrong}' is not a finite number"):
            read_image_table(write(tmp_path, [f"{wrong},x,a.png"], "price,town,photo"), "price", path_column="photo")
    with pytest.raises(ValueError, match="has no column 'split'"):
        read_image_table(path, "price", path_column="photo", split_needed=True)


def targets_of(count, seed=0):
    return np.random.default_rng(seed).exponential(10, count).astype(np.float32) - 5


def split_targets(targets, seed=0):
    return split_by_target(ImageTable(np.arange(len(targets)).astype(str), targets), "mine", seed)


@pytest.mark.parametrize("count", [3, 10, 31, 200, 3000])
def test_val_and_test_are_alike_and_balanced_over_the_target(count):
    targets = targets_of(count)
    table = split_targets(targets)
    np.testing.assert_array_equal(table.targets, targets)
    sizes = {name: (table.splits == name).sum() for name in ("train", "val", "test")}
    assert sum(sizes.values()) == count
    assert 1 <= sizes["val"] == sizes["test"] <= max(count // 10, 1)
    if count < 200:
        return
    assert sizes["val"] > count // 20
    edges = np.linspace(targets.min(), targets.max(), min(count // 10, 50) + 1)
    counts = {name: np.histogram(table.split(name).targets, edges)[0] for name in ("train", "val", "test")}
    np.testing.assert_array_equal(counts["val"], counts["test"])
    whole = sum(counts.values())
    # As many of each bucket as the rarer ones allow, so the largest bucket is far below its share.
    assert counts["val"].max() / counts["val"].sum() < 0.6 * whole.max() / count
    assert (counts["val"] <= whole // 3).all()


def test_the_seed_decides_who_is_drawn():
    targets = targets_of(300)
    first, again, other = (split_targets(targets, seed).splits for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


@pytest.mark.parametrize("targets", [[1.0, 2.0], [3.0] * 9])
def test_what_cannot_be_split(targets):
    with pytest.raises(
        ValueError, match=f"mine: {len(targets)} images with {len(set(targets))} different targets and no column"
    ):
        split_targets(np.float32(targets))


def test_a_table_that_is_not_split_has_no_rows_of_a_split():
    table = ImageTable(np.array(["a.jpg"]), np.zeros(1, np.float32))
    assert table.rows(np.array([True])).splits is None
    with pytest.raises(ValueError, match="no splits"):
        table.split("train")


def test_the_digest_is_of_names_targets_and_splits():
    parts = {"train": (np.array(["a", "b"]), np.float32([1, 2])), "val": (np.array(["c"]), np.float32([3]))}
    first = digest(parts)
    assert first == digest({name: (names.copy(), targets.astype(float)) for name, (names, targets) in parts.items()})
    changed = [
        {**parts, "val": (np.array(["d"]), np.float32([3]))},
        {**parts, "val": (np.array(["c"]), np.float32([4]))},
        {**parts, "train": parts["val"], "val": parts["train"]},
        {**parts, "train": (np.array(["a,b"]), np.float32([1, 2]))},
    ]
    assert len({first, *map(digest, changed)}) == 5
