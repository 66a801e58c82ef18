"""From a study's work directory to its report: tables, figures, and the export that goes into `results/`."""

import collections
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from regcls_jax.report import tables
from regcls_jax.report.drawing import render
from regcls_jax.report.paper.published import CELL
from regcls_jax.report.studies import TRACE, choose
from regcls_jax.report.tables import Report
from regcls_jax.store.files import read_json, to_json, write_atomic
from regcls_jax.store.meta import read_meta
from regcls_jax.store.rows import METRICS, diverged, read_rows, run_columns, with_diverged, write_csv_atomic
from regcls_jax.study.runs import Run, expand

# The name of a comparison over several tables (launch/ranks.py).
TABLES = "tables"
# Diverged runs listed one by one; more are counted by arm and cell.
MAX_LISTED = 20


def _diverged_note(rows: pd.DataFrame) -> str:
    lost = diverged(rows)
    if lost.empty:
        return "No run diverged."
    listed = lost
    if len(lost) > MAX_LISTED:
        by = ["arm", *(name for name in ("dataset", *CELL) if name in lost)]
        listed = lost.groupby(by).size().rename("diverged").reset_index()
    return (
        f"**{len(lost)} run(s) diverged** (an error that is NaN, infinite, or over a million times that of the "
        f"constant predictor). They lose every comparison and are left out of means:\n\n{tables.markdown(listed)}"
    )


# Columns of the rows that must be as the config says.
SETTINGS = ("arm", "classes", "lam", "scale", "learning_rate", "weight_decay")


def _check_runs(workdir: Path, rows: pd.DataFrame, runs: Sequence[Run]) -> None:
    """Raises ValueError for the row of a run that the config does not ask for."""
    known = {tuple(getattr(run, name) for name in SETTINGS) for run in runs}
    for found in rows.loc[rows["run"] >= 0, ["run", *SETTINGS]].drop_duplicates().itertuples(index=False):
        if tuple(found[1:]) not in known:
            about = ", ".join(f"{name} {value}" for name, value in zip(SETTINGS, found[1:], strict=True))
            raise ValueError(f"{workdir}: run {found.run} ({about}) is not of this study's config.json")


def _complete(
    workdir: Path, rows: pd.DataFrame, config: Mapping[str, Any], unfinished: bool
) -> tuple[pd.DataFrame, str]:
    """The rows of the arms and class counts that are trained in full, and a remark on those that are not.

    Where every arm has a budget of trainings to choose from, an arm is whole or not at all.
    """
    runs = expand(config)
    wanted = collections.Counter((run.arm, run.classes) for run in runs)
    _check_runs(workdir, rows, runs)
    done = rows[rows["run"] >= 0].groupby(["arm", "classes"])["run"].nunique()
    lacking = {pair: count - int(done.get(pair, 0)) for pair, count in wanted.items() if done.get(pair, 0) < count}
    if not lacking:
        return rows, ""
    left = f"{sum(lacking.values())} of {wanted.total()} trainings are still to be done"
    if not unfinished:
        raise ValueError(f"{workdir}: {left}; run launch/study.py on it again")
    arms = {arm for arm, _ in lacking}
    dropped = {pair for pair in wanted if pair in lacking or (config.get("budget") and pair[0] in arms)}
    if not any(classes for _, classes in set(wanted) - dropped) and any(classes for _, classes in wanted):
        raise ValueError(f"{workdir}: no class count is complete yet, {left}; run launch/study.py on it again")
    names = [tables.label(arm) + (f" with {classes} classes" if classes else "") for arm, classes in sorted(dropped)]
    remark = f"**Unfinished: {left}.** Left out: {', '.join(names)}."
    return rows[[pair not in dropped for pair in zip(rows["arm"], rows["classes"], strict=True)]], remark


def export_rows(rows: pd.DataFrame, splits: Sequence[str] = ("test",)) -> pd.DataFrame:
    """The rows worth committing: the splits that are reported, metrics in the digits that a float32 has."""
    kept = (
        rows[rows["split"].isin(splits)]
        .astype(dict.fromkeys(METRICS, np.float32))
        .astype(dict.fromkeys(METRICS, float))
    )
    return kept.sort_values([*run_columns(rows), "split"]).reset_index(drop=True)


def build(
    workdir: str | os.PathLike, *, shading: str = "std", unfinished: bool = False, figures: bool = True
) -> Report:
    """The report of a study, nothing written.

    Cells, class counts and arms that a study does not hold are left out; half of a comparison is an error.

    Args:
      workdir: holds config.json (with `name`), the rows, and meta.json; an exported folder serves as well. Or the
        folder or export of an image study, see `images.report.read_study`.
      shading: "std" or "paper", see `statistics.shading`; image studies have none.
      unfinished: whether a study that is still being trained is reported, without the arms and class counts that lack
        a run, and saying so; otherwise it is an error.

    Raises:
      OSError: something cannot be read (the message names it).
      ValueError: the study is not finished, rows are malformed, or runs that should pair up do not.
    """
    workdir = Path(workdir)
    if not (workdir / "rows").is_dir():
        # What the training loop needs takes seconds and 250 MB to import, which a study need not wait for.
        from regcls_jax.report.kinds import kind_of

        if kind := kind_of(workdir):
            return kind.report(workdir, unfinished=unfinished, figures=figures)
    config = read_json(workdir / "config.json")
    if config.get("name") == TABLES:
        from regcls_jax.report.own.across_report import across_report  # which builds the studies it compares

        return across_report([workdir])
    # Without the times of a study killed before it noted any, its rows are as good.
    meta = read_meta(workdir)
    rows, missing = _complete(workdir, read_rows(workdir), config, unfinished)
    study = choose(config.get("name"), rows)
    for split in study.splits:
        if not (rows["split"] == split).any():
            raise ValueError(f"{workdir}: none of the {len(rows)} result rows is of the {split} split.")
    reported = export_rows(rows, study.splits)  # so that an export has the same report to the last digit
    counted = with_diverged(reported)
    besides = study.besides.read(workdir, set(rows.loc[rows["run"] >= 0, "run"])) if study.besides else None
    unseen = ""
    if study.besides is not TRACE and (workdir / "trace").exists():
        unseen = f"A trace was recorded ({workdir / 'trace'}); only the report of configs/theory.py shows one."
    given = (counted,) if besides is None else (counted, besides)
    made = study.tables(*given)
    drawn = study.figures if figures else {}
    return Report(
        name=config.get("name", "study"),
        config=config,
        meta=meta,
        rows=reported,
        besides={} if study.besides is None else study.besides.files(besides, study.splits),
        signs=study.signs,
        models=len(rows.drop_duplicates(run_columns(rows))),
        remarks="\n\n".join(filter(None, (missing, _diverged_note(with_diverged(rows)), unseen))),
        tables=made,
        figures={
            f"{stem}.{kind}": data
            for stem, draw in drawn.items()
            for kind, data in render(draw(*given, shading)).items()
        },
        verdict=study.verdict(*given),
    )


def text(report: Report) -> str:
    """A report as Markdown: what table.md holds."""
    facts = [f"- {key}: {value if isinstance(value, str) else json.dumps(value)}" for key, value in report.meta.items()]
    head = [
        f"# {report.name}",
        report.verdict,
        f"{report.models} trained models and trivial predictors. {report.signs}",
        report.remarks,
        "\n".join(facts),
    ]
    body = [part for table in report.tables for part in (f"## {table.title}", table.note, tables.markdown(table.frame))]
    return "\n\n".join([*head, *body]) + "\n"


def _console(table: tables.Table) -> str:
    if table.console is None:
        return ""
    return f"\n{table.title}\n{table.note}\n{tables.markdown(table.console)}"


def _write(report: Report, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for part, data in {"table.md": text(report).encode(), **report.figures}.items():
        write_atomic(folder / part, data)


def publish(report: Report, workdir: str | os.PathLike, *, export: str | os.PathLike | None = None) -> str:
    """Writes a report to `workdir/report/`: table.md, figures as PNG and SVG.

    Args:
      report: what `build` returned.
      workdir: the folder of the study.
      export: a folder that gets the same files, rows.csv.gz, trace or groups if there are any, config.json, meta.json.

    Returns:
      The compact tables as text for a console.

    Raises:
      OSError: something cannot be written (the message names it).
    """
    folder = Path(workdir) / "report"
    _write(report, folder)
    where = f"\nReport: {folder}"
    if export is not None:
        export = Path(export)
        _write(report, export)
        write_csv_atomic(report.rows, export / "rows.csv.gz")
        for part, frame in report.besides.items():
            write_csv_atomic(frame, export / part)
        for part, content in (("config.json", report.config), ("meta.json", report.meta)):
            write_atomic(export / part, to_json(content))
        where += f"; exported to {export}"
    return "\n".join(
        [f"{report.verdict}\n", report.signs, report.remarks, *filter(None, map(_console, report.tables)), where]
    )


def report(workdir: str | os.PathLike, *, shading: str = "std", export: str | os.PathLike | None = None) -> str:
    """`build` and `publish` in one; arguments, result and errors are theirs."""
    return publish(build(workdir, shading=shading), workdir, export=export)
