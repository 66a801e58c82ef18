"""Traces on disk: summaries, the choice of runs, exports, and files that are not what they should be."""

import numpy as np
import pandas as pd
import pytest
from trace_lines import SPLITS, results, synthetic_trace

from regcls_jax.store.rows import write_csv_atomic
from regcls_jax.store.traces import (
    SUMMARY_COLUMNS,
    TRACE_COLUMNS,
    TraceResults,
    export_files,
    read_trace,
    summarise,
)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """The synthetic trace as a work directory and as its export."""
    work, export = (tmp_path_factory.mktemp(name) for name in ("work", "export"))
    (work / "trace").mkdir()
    write_csv_atomic(synthetic_trace(), work / "trace" / "a.csv.gz")
    for name, frame in export_files(read_trace(work), ("val",)).items():
        write_csv_atomic(frame, export / name)
    return work, export


@pytest.fixture(scope="module")
def trace(folders):
    """Its lines as plain pandas reads them."""
    return pd.read_csv(folders[0] / "trace" / "a.csv.gz")


def test_curves_are_means_over_runs_and_the_final_lines_are_all_runs(folders, trace):
    curves, final = read_trace(folders[0])
    assert len(curves) == 2 * 4 * 3 * 4  # samplings, models, epochs, splits
    here = "sampling == 'severe' and classes == 4 and epoch == 1 and split == 'val'"
    cell, (_, line) = trace.query(here), *curves.query(here).iterrows()
    assert line["runs"] == len(cell) == 6
    assert line["cross_entropy"] == pytest.approx(cell["cross_entropy"].mean())
    assert line["cross_entropy_std"] == pytest.approx(cell["cross_entropy"].std(ddof=1))
    lost = trace.assign(mse=trace["mse"].where(trace["run"] > 0, np.inf))
    assert summarise(lost)["runs"].min() == 5
    assert np.isfinite(summarise(lost)["mse"]).all()
    assert final["epoch"].unique().tolist() == [2]
    assert len(final) == 48 * len(SPLITS)


def test_an_export_has_rounded_curves_and_exact_final_lines(folders, trace):
    (curves, final), (short, lines) = map(read_trace, folders)
    assert list(short) == list(SUMMARY_COLUMNS)
    wanted = curves[curves["split"] == "val"].reset_index(drop=True)
    pd.testing.assert_frame_equal(short, wanted, rtol=5e-6)
    assert (short["balanced_nll"].map(lambda value: len(f"{value:.12g}".lstrip("0."))) <= 6).all()
    kept = final[final["split"].isin(["val", "train"])].reset_index(drop=True)
    pd.testing.assert_frame_equal(lines, kept[list(TRACE_COLUMNS)], check_exact=True)
    long = summarise(pd.concat([trace[trace["epoch"] == 0].assign(epoch=epoch) for epoch in range(83)]))
    epochs = export_files(TraceResults(long, final), ("val",))["trace.csv.gz"]["epoch"]
    assert epochs.unique().tolist() == [*range(11), *range(15, 81, 5), 82]


def test_only_the_runs_that_are_asked_for(folders, trace):
    complete = set(trace.loc[trace["arm"] == "reg", "run"])
    curves, final = read_trace(folders[0], complete)
    assert set(final["run"]) == complete
    pd.testing.assert_frame_equal(curves, summarise(trace[trace["arm"] == "reg"]))
    assert set(read_trace(folders[1], complete).final["run"]) == complete
    for folder in folders:
        with pytest.raises(ValueError, match=rf"{folder.name}: run 98 has no trace \(2 of 14 runs have none\)"):
            read_trace(folder, complete | {99, 98})


def test_bad_traces_are_named(trace, tmp_path):
    with pytest.raises(OSError, match="holds no trace"):
        read_trace(tmp_path)
    write_csv_atomic(results(trace).curves, tmp_path / "trace.csv.gz")
    with pytest.raises(OSError, match=r"trace_final\.csv\.gz is not a readable CSV"):
        read_trace(tmp_path)
    (tmp_path / "trace").mkdir()
    path = tmp_path / "trace" / "a.csv.gz"
    write_csv_atomic(trace.drop(columns="unseen"), path)
    with pytest.raises(ValueError, match=r"a\.csv\.gz lacks the column\(s\) unseen"):
        read_trace(tmp_path)
    write_csv_atomic(trace.assign(epoch="two"), path)
    with pytest.raises(ValueError, match=r"a\.csv\.gz: column epoch has a value that is not a number"):
        read_trace(tmp_path)
    write_csv_atomic(trace.iloc[1:], path)
    with pytest.raises(OSError, match=r"a\.csv\.gz is incomplete: epochs or splits of run 0 are missing"):
        read_trace(tmp_path)
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(OSError, match=r"a\.csv\.gz is not a readable CSV"):
        read_trace(tmp_path)
    for name in ("a", "b"):
        write_csv_atomic(trace[trace["run"] == 3], tmp_path / "trace" / f"{name}.csv.gz")
    with pytest.raises(ValueError, match="the trace of run 3 is in two files"):
        read_trace(tmp_path)
