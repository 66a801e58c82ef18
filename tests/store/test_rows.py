"""Result rows on disk: exact floats, reproducible bytes, clear errors, diverged runs listed."""

import gzip

import numpy as np
import pandas as pd
import pytest

from regcls_jax.store.rows import (
    COLUMNS,
    TRIVIAL_FILE,
    diverged,
    read_rows,
    runs_of_file,
    with_diverged,
    write_csv_atomic,
)


def frame_of(count, **columns):
    names = [*COLUMNS, "scenario", "sampling", "noise", "function", "repetition"]
    base = {name: np.zeros(count) for name in names}
    base |= {"arm": "reg", "scenario": "clean", "sampling": "mild", "split": "test"}
    base |= {"function": range(count), "run": range(count), "classes": 0, "balanced": False, "mse": 0.5}
    return pd.DataFrame(base | columns)[[*names, *(set(columns) - set(names))]]


def write(folder, frame, name="a.csv.gz"):
    """Rows of a part, beside those of a trivial predictor."""
    (folder / "rows").mkdir(exist_ok=True)
    write_csv_atomic(frame, folder / "rows" / name)
    write_csv_atomic(frame_of(1, arm="constant", run=-1), folder / "rows" / TRIVIAL_FILE)


def trained(workdir):
    rows = read_rows(workdir)
    return rows[rows["run"] >= 0].reset_index(drop=True)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_floats_round_trip_exactly(tmp_path, dtype):
    rng = np.random.default_rng(0)
    values = np.exp(rng.normal(0, 20, 2000)).astype(dtype)
    write(tmp_path, frame_of(2000, mse=values))
    np.testing.assert_array_equal(trained(tmp_path)["mse"].to_numpy().astype(dtype), values)


def test_files_are_concatenated_and_new_columns_pass_through(tmp_path):
    write(tmp_path, frame_of(2, run=[3, 4]), "b.csv.gz")
    write(tmp_path, frame_of(3, gm=np.arange(3.0)), "a.csv.gz")
    rows = trained(tmp_path)
    assert len(rows) == 5
    assert rows["gm"].tolist()[:3] == [0.0, 1.0, 2.0]


def test_an_export_reads_like_a_work_directory(tmp_path):
    rows = pd.concat([frame_of(1, arm="constant", run=-1), frame_of(4)], ignore_index=True)
    write_csv_atomic(rows, tmp_path / "rows.csv.gz")
    pd.testing.assert_frame_equal(read_rows(tmp_path), rows, check_dtype=False)


def test_gz_bytes_do_not_depend_on_time_or_place(tmp_path, monkeypatch):
    first, second = tmp_path / "a.csv.gz", tmp_path / "other.csv.gz"
    write_csv_atomic(frame_of(50), first)
    monkeypatch.setattr("time.time", lambda: 1e9)
    write_csv_atomic(frame_of(50), second)
    assert first.read_bytes() == second.read_bytes()
    assert gzip.decompress(first.read_bytes()).decode().startswith("run,arm,seed,")


def test_a_failed_write_keeps_the_old_file_and_no_temporary(tmp_path, monkeypatch):
    target = tmp_path / "x.csv.gz"
    target.write_text("old")

    def full(_):
        raise OSError("disk full")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="disk full"):
        write_csv_atomic(frame_of(2), target)
    assert [path.name for path in tmp_path.iterdir()] == ["x.csv.gz"]
    assert target.read_text() == "old"


def test_bad_files_are_named(tmp_path):
    with pytest.raises(OSError, match="no result rows"):
        read_rows(tmp_path)
    write(tmp_path, frame_of(2).drop(columns=["lam", "mse"]), "short.csv.gz")
    with pytest.raises(ValueError, match=r"short\.csv\.gz lacks the column\(s\) lam, mse"):
        read_rows(tmp_path)
    write(tmp_path, frame_of(2, mse=["0.1", "oops"]), "short.csv.gz")
    with pytest.raises(ValueError, match=r"short\.csv\.gz: column mse has a value that is not a number"):
        read_rows(tmp_path)
    (tmp_path / "rows" / "short.csv.gz").write_bytes(b"")
    with pytest.raises(OSError, match=r"short\.csv\.gz is not a readable CSV"):
        read_rows(tmp_path)
    (tmp_path / "rows" / "short.csv.gz").write_bytes(b"\xff\xfe\x00arm")
    with pytest.raises(OSError, match=r"short\.csv\.gz is not a readable CSV"):
        read_rows(tmp_path)
    write(tmp_path, frame_of(0), "short.csv.gz")
    with pytest.raises(OSError, match=r"short\.csv\.gz has no rows"):
        read_rows(tmp_path)


def test_a_cut_or_damaged_gzip_is_named(tmp_path):
    write_csv_atomic(frame_of(50), tmp_path / "rows.csv.gz")
    whole = (tmp_path / "rows.csv.gz").read_bytes()
    for broken in (whole[: len(whole) // 2], whole[:20] + b"\xff" * 20 + whole[40:]):
        (tmp_path / "rows.csv.gz").write_bytes(broken)
        with pytest.raises(OSError, match=r"rows\.csv\.gz is not a readable CSV"):
            read_rows(tmp_path)


def test_diverged_runs_are_kept_and_listed_once(tmp_path):
    bad = frame_of(4, mse=[0.1, np.nan, np.inf, 0.2], mae=[0.1, np.nan, 0.1, 0.1])
    write(tmp_path, bad, "test.csv.gz")
    write(tmp_path, bad.assign(split="train"), "train.csv.gz")
    rows = trained(tmp_path)
    assert len(rows) == 8
    lost = diverged(rows)
    assert lost["function"].tolist() == [1, 2]
    assert lost["splits"].tolist() == ["test train"] * 2
    assert diverged(frame_of(3)).empty


def test_a_run_that_diverged_to_a_finite_error_counts_as_diverged():
    rows = frame_of(4, mse=[9.99e29, 0.5, 2.0, 1.0], run=[0, 1, 2, -1], arm=["reg", "reg", "reg", "constant"])
    counted = with_diverged(rows)
    assert counted["mse"].tolist() == [np.inf, 0.5, 2.0, 1.0]
    assert diverged(counted)["run"].tolist() == [0]
    pd.testing.assert_frame_equal(with_diverged(rows[1:]), rows[1:])
    # In units in which errors are large, they are no divergence.
    large = rows.assign(mse=rows["mse"] * 1e6)
    assert diverged(with_diverged(large[1:])).empty


def test_an_arm_called_none_keeps_its_name(tmp_path):
    write(tmp_path, frame_of(1, arm="none"))
    assert trained(tmp_path)["arm"].tolist() == ["none"]


def test_a_run_with_fewer_rows_than_others_is_not_finished(tmp_path):
    (tmp_path / "rows").mkdir()
    rows = pd.concat([frame_of(2).assign(run=[0, 0]), frame_of(2).assign(run=[1, 1])], ignore_index=True)
    write_csv_atomic(rows, tmp_path / "rows" / "a.csv.gz")
    write_csv_atomic(frame_of(3).assign(run=-1), tmp_path / "rows" / "trivial.csv.gz")
    assert runs_of_file(tmp_path / "rows" / "a.csv.gz") == {0, 1}
    assert runs_of_file(tmp_path / "rows" / "trivial.csv.gz") == set()
    write_csv_atomic(rows.iloc[:-1], tmp_path / "rows" / "a.csv.gz")
    with pytest.raises(OSError, match=r"a\.csv\.gz is incomplete: rows of run 1 are missing"):
        runs_of_file(tmp_path / "rows" / "a.csv.gz")


def damaged(content, rng):
    """Content with one bit flipped, or cut off, at any place."""
    for _ in range(60):
        place = int(rng.integers(len(content)))
        flipped = bytearray(content)
        flipped[place] ^= 1 << int(rng.integers(8))
        yield bytes(flipped)
        yield content[:place]


def test_no_damage_of_a_file_gives_other_rows(tmp_path):
    write(tmp_path, frame_of(20, mse=np.random.default_rng(1).random(20)))
    path, whole = tmp_path / "rows" / "a.csv.gz", read_rows(tmp_path)
    content, refused = path.read_bytes(), []
    for bad in damaged(content, np.random.default_rng(0)):
        path.write_bytes(bad)
        try:
            found = read_rows(tmp_path)
        except OSError as error:
            refused.append(str(error))
        else:
            pd.testing.assert_frame_equal(found, whole)  # a header byte that says nothing of the content
    assert len(refused) > 100
    assert all(str(path) in line and "remove the file to train its runs again" in line for line in refused)


def test_each_row_is_there_once(tmp_path):
    write(tmp_path, frame_of(3))
    (tmp_path / "rows" / "copy.csv.gz").write_bytes((tmp_path / "rows" / "a.csv.gz").read_bytes())
    with pytest.raises(OSError, match=r"a\.csv\.gz and .*copy\.csv\.gz hold\(s\) rows of run 0 twice"):
        read_rows(tmp_path)
    (tmp_path / "rows" / "copy.csv.gz").unlink()
    write(tmp_path, pd.concat([frame_of(3), frame_of(2, split="val")]))
    with pytest.raises(OSError, match=r"a\.csv\.gz is incomplete: rows of run 2 are missing"):
        read_rows(tmp_path)
    write(tmp_path, frame_of(3))
    (tmp_path / "rows" / TRIVIAL_FILE).unlink()
    with pytest.raises(OSError, match=r"lacks the rows of the trivial predictors .*writes them again"):
        read_rows(tmp_path)


def test_rows_of_an_earlier_version_are_not_passed_over(tmp_path):
    (tmp_path / "rows").mkdir()
    frame_of(2).to_csv(tmp_path / "rows" / "a.csv", index=False)
    with pytest.raises(OSError, match=r"gzip those of an earlier version: gzip rows/\*\.csv"):
        read_rows(tmp_path)
