"""From a study's work directory to its report: tables, figure, and the export that goes into `results/`."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
from matplotlib.figure import Figure

from regcls_jax.files import write_atomic
from regcls_jax.report import tables
from regcls_jax.report.fig3 import fig3_tables
from regcls_jax.report.figures import fig3_figure, render
from regcls_jax.report.rows import METRICS, RUN, diverged, read_rows, write_csv_atomic
from regcls_jax.training.grid import expand


class Study(NamedTuple):
    """What one table or figure of the paper is reported with; both functions take its test rows."""

    tables: Callable[[pd.DataFrame], list[tables.Table]]
    figure: Callable[[pd.DataFrame, str], Figure]


# A further study registers here under the `name` of its config.
STUDIES = {"fig3": Study(fig3_tables, fig3_figure)}


def _read_json(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise OSError(f"{path} is not a readable JSON file: {error}") from error


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


def export_rows(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows worth committing: the test split, metrics rounded to six significant digits."""
    test = rows[rows["split"] == "test"].copy()
    for name in METRICS:
        test[name] = [float(f"{value:.6g}") for value in test[name]]
    return test.sort_values(list(RUN)).reset_index(drop=True)


def report(workdir: str | os.PathLike, *, shading: str = "std", export: str | os.PathLike | None = None) -> str:
    """Writes `workdir/report/`: table.md, figure.png and figure.svg.

    Cells, class counts and arms that a study does not hold are left out; half of a comparison is an error.

    Args:
      workdir: holds config.json (with `name`), the rows, and meta.json; an exported folder serves as well.
      shading: "std" or "paper", see `statistics.shading`.
      export: a folder that gets table.md, figure.png, figure.svg, rows.csv.gz, config.json and meta.json.

    Returns:
      The compact tables as text for a console.

    Raises:
      OSError: something cannot be read or written (the message names it).
      ValueError: the study is unknown or unfinished, rows are malformed, or runs that should pair up do not.
    """
    workdir = Path(workdir)
    config = _read_json(workdir / "config.json")
    name = config.get("name")
    if name not in STUDIES:
        raise ValueError(f"{workdir}: no report for the study {name!r}; there is one for {', '.join(STUDIES)}.")
    meta = _read_json(workdir / "meta.json")
    rows = read_rows(workdir)
    missing = len(expand(config)) - rows.loc[rows["run"] >= 0, "run"].nunique()
    if missing:
        raise ValueError(f"{workdir}: {missing} trainings are still to be done; run launch/study.py on it again")
    test = rows[rows["split"] == "test"]
    if test.empty:
        raise ValueError(f"{workdir}: none of the {len(rows)} result rows is of the test split.")
    made = STUDIES[name].tables(test)
    page = _page(name, rows, meta, made).encode()
    files = {"table.md": page}
    files |= {f"figure.{kind}": data for kind, data in render(STUDIES[name].figure(test, shading)).items()}
    for folder in [workdir / "report"] + ([Path(export)] if export is not None else []):
        folder.mkdir(parents=True, exist_ok=True)
        for part, data in files.items():
            write_atomic(folder / part, data)
    if export is not None:
        write_csv_atomic(export_rows(rows), Path(export) / "rows.csv.gz")
        for part in ("config.json", "meta.json"):
            write_atomic(Path(export) / part, (workdir / part).read_bytes())
    where = f"\nReport: {workdir / 'report'}" + (f"; exported to {export}" if export is not None else "")
    return "\n".join([tables.SIGNS, _diverged_note(rows), *filter(None, map(_console, made)), where])
