"""The report of launch/ranks.py: studies of several tables as one."""

import os
from collections.abc import Sequence
from typing import Any

from regcls_jax.report.build import TABLES
from regcls_jax.report.drawing import render
from regcls_jax.report.own.across import read_problems, rows_of
from regcls_jax.report.own.across_figures import effects_figure, imbalance_figure, ranks_figure
from regcls_jax.report.own.across_tables import across_tables, answer
from regcls_jax.report.own.tables import SIGNS
from regcls_jax.report.tables import Report
from regcls_jax.store.meta import facts, read_meta


def across_report(workdirs: Sequence[str | os.PathLike], command: str = "") -> Report:
    """The comparison over the studies in `workdirs`, made by `command` ("": an export of one says); errors as
    `read_problems`.
    """
    problems = read_problems(workdirs)
    rows = rows_of(problems)
    figures = {
        "effects": effects_figure(problems),
        "ranks": ranks_figure(problems),
        "imbalance": imbalance_figure(problems),
    }
    meta: dict[str, Any] = facts(command) if command else read_meta(workdirs[0])
    if command:
        meta["studies"] = {os.path.normpath(workdir): _times(workdir) for workdir in workdirs}
    return Report(
        name=TABLES,
        config={"name": TABLES},
        meta=meta,
        rows=rows,
        besides={},
        signs=SIGNS,
        models=_trainings(meta),
        remarks="",
        tables=across_tables(problems),
        figures={f"{stem}.{kind}": data for stem, drawn in figures.items() for kind, data in render(drawn).items()},
        verdict=answer(problems),
    )


def _trainings(meta: dict[str, Any]) -> int:
    """The trainings of a study, or of all that an export compares."""
    own = int(meta.get("trainings", 0))
    return own + sum(_trainings(study) for study in meta.get("studies", {}).values())


def _times(workdir: str | os.PathLike) -> dict[str, Any]:
    """The command of a study, its trainings and their seconds."""
    found = read_meta(workdir)
    return {name: found[name] for name in ("command", "trainings", "seconds", "studies") if name in found}
