"""Measured records as Markdown: one section per measurement, printed and written alike."""

from collections.abc import Sequence

import pandas as pd
from measure import Record

from regcls_jax.report.tables import markdown
from regcls_jax.study.runs import Run


def spread_cell(values: Record, digits: int = 0) -> str:
    """Median (range)."""
    median, low, high = (f"{values[name]:,.{digits}f}" for name in ("median", "low", "high"))
    return f"{median} ({low}–{high})"


def on_cores(count: int) -> str:
    """1 core, 2 cores."""
    return f"{count} core" if count == 1 else f"{count} cores"


def throughput(records: Sequence[Record]) -> str:
    """The engine by class count, a table per number of samples, and the peak it is compared with."""
    peaks = {record["cores"]: record["peak_gflops"] for record in records}
    parts = [
        "## The study engine",
        "NumPy's float32 matrix product reaches "
        + " and ".join(f"{peak:.0f} GFLOP/s on {on_cores(count)}" for count, peak in peaks.items())
        + ". GFLOP/s count matrix products only.",
    ]
    for samples in dict.fromkeys(record["samples"] for record in records):
        rows: dict[int, dict[str, str]] = {}
        for record in records:
            if record["samples"] == samples:
                rows[record["classes"]] = rows.get(record["classes"], {}) | _throughput_cells(record)
        parts += [
            f"### {samples:,} samples × {Run.epochs} epochs",
            markdown(pd.DataFrame(list(rows.values()))),
        ]
    return "\n\n".join(parts)


def _throughput_cells(record: Record) -> dict[str, str]:
    where = on_cores(record["cores"])
    return {
        "classes": str(record["classes"]),
        "side by side": str(record["chunk"]),
        "compile s": f"{record['compile_seconds']:.1f}",
        f"trainings/min, {where}": spread_cell(record["per_minute"]),
        f"GFLOP/s, {where}": f"{record['gflops']:.0f}",
        f"% of peak, {where}": f"{100 * record['gflops'] / record['peak_gflops']:.0f}",
    }


def vector_width(records: Sequence[Record]) -> str:
    """512- against 256-bit vectors."""
    rows = [
        {
            "--xla_cpu_prefer_vector_width": str(record["bits"]),
            "trainings/min": spread_cell(record["per_minute"]),
        }
        for record in records
    ]
    classes, gain = records[0]["classes"], spread_cell(records[0]["gain"], 2)
    return "\n\n".join(
        [
            "## Vector width",
            f"{classes:,} classes, in turns. 512 over 256: {gain}.",
            markdown(pd.DataFrame(rows)),
        ]
    )


def against_torch(records: Sequence[Record]) -> str:
    """The engine against a PyTorch loop."""
    if not records:
        return "## PyTorch\n\nNot compared: PyTorch is not installed (pip install -e '.[bench]')."
    rows = [
        {
            "classes": str(record["classes"]),
            "PyTorch, core-seconds per training": spread_cell(record["torch_seconds"], 2),
            "engine, core-seconds per training": spread_cell(record["engine_seconds"], 3),
            "ratio": spread_cell(record["ratio"], 1),
        }
        for record in records
    ]
    note = f"{records[0]['samples']:,} samples × {Run.epochs} epochs, all cores busy either way, in turns."
    return "\n\n".join(["## PyTorch", note, markdown(pd.DataFrame(rows))])


def data_sets(record: Record) -> str:
    """Making and reading data sets."""
    return (
        f"## Data\n\n{record['made']} data sets made in {record['seconds']:.1f} s into an empty cache: all "
        f"{record['fig3_sets']} of Fig. 3 take {record['fig3_seconds']:.0f} s (scaled). Reading one takes "
        f"{record['read_milliseconds']:.1f} ms."
    )
