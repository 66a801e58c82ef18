"""From a study's work directory to its report: tables, figure, and the export that goes into `results/`."""

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
from matplotlib.figure import Figure

from regcls_jax.files import read_json, write_atomic
from regcls_jax.report import tables
from regcls_jax.report.fig3 import fig3_tables
from regcls_jax.report.fig4 import VALIDATION, fig4_tables
from regcls_jax.report.fig5 import fig5_tables
from regcls_jax.report.figures import fig3_figure, fig5_figure, render
from regcls_jax.report.generic import generic_tables
from regcls_jax.report.lambda_figure import fig4_figure
from regcls_jax.report.published import CELL
from regcls_jax.report.rows import METRICS, RUN, diverged, read_rows, write_csv_atomic
from regcls_jax.report.tab1 import tab1_tables
from regcls_jax.training.grid import expand


class Study(NamedTuple):
    """What one table or figure of the paper is reported with; both functions take the study's rows of `splits`.

    `settings` are the columns in which runs of one arm, cell and class count may differ.
    """

    tables: Callable[[pd.DataFrame], list[tables.Table]]
    figure: Callable[[pd.DataFrame, str], Figure] | None
    splits: tuple[str, ...] = ("test",)
    settings: tuple[str, ...] = ()


# Of a study that is none of the paper's.
GENERIC = Study(generic_tables, None)
# A further study registers here under the `name` of its config.
STUDIES = {
    "fig3": Study(fig3_tables, fig3_figure),
    "fig4": Study(fig4_tables, fig4_figure, (*VALIDATION, "test"), ("lam",)),
    "tab1": Study(tab1_tables, fig4_figure, (*VALIDATION, "test"), ("lam",)),
    "fig5": Study(fig5_tables, fig5_figure, settings=("noise",)),
    "baselines": GENERIC,
}


def choose(name: str | None, rows: pd.DataFrame) -> Study:
    """The report of the study `name`, or GENERIC where it has none or its runs differ in more than the paper's do."""
    study = STUDIES.get(name, GENERIC) if name else GENERIC
    known = [*CELL, "arm", "function", "repetition", "seed", "classes", "split", *study.settings]
    return GENERIC if rows.duplicated(known).any() else study


def _diverged_note(rows: pd.DataFrame) -> str:
    lost = diverged(rows)
    if lost.empty:
        return "No run diverged."
    return (
        f"**{len(lost)} run(s) diverged** (NaN or infinite error). They lose every comparison and are "
        f"left out of means:\n\n{tables.markdown(lost)}"
    )


def _page(name: str, rows: pd.DataFrame, meta: dict[str, Any], made: list[tables.Table]) -> str:
    runs = len(rows.drop_duplicates(list(RUN)))
    facts = [f"- {key}: {value if isinstance(value, str) else json.dumps(value)}" for key, value in meta.items()]
    head = [
        f"# {name}",
        f"{runs} trained models and trivial predictors. {tables.SIGNS}",
        _diverged_note(rows),
    ]
    body = [part for table in made for part in (f"## {table.title}", table.note, tables.markdown(table.frame))]
    return "\n\n".join([*head, "\n".join(facts), *body]) + "\n"


def _console(table: tables.Table) -> str:
    if table.console is None:
        return ""
    return f"\n{table.title}\n{table.note}\n{tables.markdown(table.console)}"


def export_rows(rows: pd.DataFrame, splits: Sequence[str] = ("test",)) -> pd.DataFrame:
    """The rows worth committing: the splits that are reported, metrics rounded to six significant digits."""
    kept = rows[rows["split"].isin(splits)].copy()
    for name in METRICS:
        kept[name] = [float(f"{value:.6g}") for value in kept[name]]
    return kept.sort_values([*RUN, "split"]).reset_index(drop=True)


def report(workdir: str | os.PathLike, *, shading: str = "std", export: str | os.PathLike | None = None) -> str:
    """Writes `workdir/report/`: table.md and, for the paper's figures, figure.png and figure.svg.

    Cells, class counts and arms that a study does not hold are left out; half of a comparison is an error.

    Args:
      workdir: holds config.json (with `name`), the rows, and meta.json; an exported folder serves as well.
      shading: "std" or "paper", see `statistics.shading`.
      export: a folder that gets table.md, figure.png, figure.svg, rows.csv.gz, config.json and meta.json.

    Returns:
      The compact tables as text for a console.

    Raises:
      OSError: something cannot be read or written (the message names it).
      ValueError: the study is unfinished, rows are malformed, or runs that should pair up do not.
    """
    workdir = Path(workdir)
    config = read_json(workdir / "config.json")
    # Without the times of a study killed before it noted any, its rows are as good.
    meta = read_json(workdir / "meta.json") if (workdir / "meta.json").exists() else {}
    rows = read_rows(workdir)
    missing = len(expand(config)) - rows.loc[rows["run"] >= 0, "run"].nunique()
    if missing:
        raise ValueError(f"{workdir}: {missing} trainings are still to be done; run launch/study.py on it again")
    study = choose(config.get("name"), rows)
    for split in study.splits:
        if not (rows["split"] == split).any():
            raise ValueError(f"{workdir}: none of the {len(rows)} result rows is of the {split} split.")
    reported = rows[rows["split"].isin(study.splits)]
    made = study.tables(reported)
    files = {"table.md": _page(config.get("name", "study"), rows, meta, made).encode()}
    if study.figure is not None:
        files |= {f"figure.{kind}": data for kind, data in render(study.figure(reported, shading)).items()}
    for folder in [workdir / "report"] + ([Path(export)] if export is not None else []):
        folder.mkdir(parents=True, exist_ok=True)
        for part, data in files.items():
            write_atomic(folder / part, data)
    if export is not None:
        write_csv_atomic(export_rows(rows, study.splits), Path(export) / "rows.csv.gz")
        for part, content in (("config.json", config), ("meta.json", meta)):
            write_atomic(Path(export) / part, json.dumps(content, indent=2) + "\n")
    where = f"\nReport: {workdir / 'report'}" + (f"; exported to {export}" if export is not None else "")
    return "\n".join([tables.SIGNS, _diverged_note(rows), *filter(None, map(_console, made)), where])
