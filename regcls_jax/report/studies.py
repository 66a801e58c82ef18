"""What every table and figure of the paper, and of our own studies, is reported with: the registry of the reports."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import pandas as pd
from matplotlib.figure import Figure

from regcls_jax.report.drawing import fig3_figure, fig5_figure
from regcls_jax.report.generic import generic_figure, generic_tables, generic_verdict
from regcls_jax.report.own.figure import own_figure
from regcls_jax.report.own.tables import SIGNS as OWN_SIGNS
from regcls_jax.report.own.tables import own_tables, own_verdict
from regcls_jax.report.paper.baselines import baseline_figure, baseline_tables
from regcls_jax.report.paper.capacity import capacity_tables, capacity_verdict
from regcls_jax.report.paper.capacity_figure import heat_figure, size_figure
from regcls_jax.report.paper.coarsening import coarsening_figure, coarsening_table
from regcls_jax.report.paper.difference_figures import answer_figure, fig3_differences, fig5_differences
from regcls_jax.report.paper.fair_figure import budget_figure, differences_figure
from regcls_jax.report.paper.fair_tables import fair_tables, fair_verdict
from regcls_jax.report.paper.fig3 import fig3_tables
from regcls_jax.report.paper.fig4 import VALIDATION, fig4_tables, lambda_verdict
from regcls_jax.report.paper.fig5 import fig5_tables
from regcls_jax.report.paper.lambda_figure import fig4_figure
from regcls_jax.report.paper.published import CELL
from regcls_jax.report.paper.tab1 import tab1_tables
from regcls_jax.report.paper.tab5 import SIGNS as TAB5_SIGNS
from regcls_jax.report.paper.tab5 import tab5_tables, tab5_verdict
from regcls_jax.report.paper.tab5_figure import tab5_figure
from regcls_jax.report.paper.theory import SPLITS as THEORY_SPLITS
from regcls_jax.report.paper.theory import theory_figure, theory_tables, theory_verdict
from regcls_jax.report.remedies_1d import SIGNS as REMEDIES_SIGNS
from regcls_jax.report.remedies_1d import remedies_figure, remedies_tables, remedies_verdict
from regcls_jax.report.sts_b_dir import SIGNS as STS_SIGNS
from regcls_jax.report.sts_b_dir import sts_figure, sts_tables, sts_verdict
from regcls_jax.report.tables import SIGNS, Table
from regcls_jax.report.verdicts import best_verdict, loss_verdict
from regcls_jax.store.groups import group_files, read_groups
from regcls_jax.store.traces import export_files, read_trace
from regcls_jax.study.runs import ARM_FIELDS


class Besides(NamedTuple):
    """What a report reads besides the rows: `read(workdir, numbers of the runs)`, and of what that found `files(found,
    splits)`, frames by the names that they have in an export.
    """

    read: Callable[..., Any]
    files: Callable[..., dict[str, pd.DataFrame]]


TRACE = Besides(read_trace, export_files)
GROUPS = Besides(read_groups, group_files)


class Study(NamedTuple):
    """The report of one study; all functions take its rows of `splits`, figures also the shading.

    `figures` are named as the files that show them, `settings` are the columns in which runs of one arm, cell and class
    count may differ. What is read `besides` all functions take after the rows. `signs` tells how to read a difference;
    `keys` are the columns, besides arm, `repetition` and seed, in which runs must differ. The
    `verdict` says in Markdown what came out.
    """

    tables: Callable[..., list[Table]]
    figures: Mapping[str, Callable[..., Figure]] = {}
    splits: tuple[str, ...] = ("test",)
    settings: tuple[str, ...] = ()
    besides: Besides | None = None
    signs: str = SIGNS
    keys: tuple[str, ...] = (*CELL, "function", "classes")
    verdict: Callable[..., str] = best_verdict


# A further study registers here under the `name` of its config.
REPORTS: dict[str, Study] = {
    "fig3": Study(
        fig3_tables,
        {
            "answer": lambda rows, shading: answer_figure(rows),
            "figure": fig3_figure,
            "differences": lambda rows, shading: fig3_differences(rows),
        },
        verdict=loss_verdict,
    ),
    "fig4": Study(fig4_tables, {"figure": fig4_figure}, (*VALIDATION, "test"), ("lam",), verdict=lambda_verdict),
    "tab1": Study(tab1_tables, {"figure": fig4_figure}, (*VALIDATION, "test"), ("lam",), verdict=lambda_verdict),
    "fig5": Study(
        fig5_tables,
        {"figure": fig5_figure, "differences": lambda rows, shading: fig5_differences(rows)},
        settings=("noise",),
        verdict=loss_verdict,
    ),
    "fair": Study(
        fair_tables,
        {"figure": budget_figure, "differences": differences_figure},
        (*VALIDATION, "test"),
        ("lam", "scale", "learning_rate", "weight_decay"),
        verdict=fair_verdict,
    ),
    "capacity": Study(
        capacity_tables,
        {"figure": size_figure, "heat": heat_figure},
        (*VALIDATION, "test"),
        ("optimizer", "hidden", "learning_rate", "scale", "lam"),
        verdict=capacity_verdict,
    ),
    "theory": Study(
        lambda rows, trace: [*theory_tables(rows, trace), coarsening_table()],
        {
            "figure": lambda rows, trace, shading: theory_figure(trace),
            "coarsening": lambda rows, trace, shading: coarsening_figure(),
        },
        tuple(THEORY_SPLITS),
        besides=TRACE,
        signs="Differences are arm − baseline, in nats.",
        verdict=theory_verdict,
    ),
    "baselines": Study(baseline_tables, {"figure": baseline_figure}, verdict=loss_verdict),
    "own": Study(
        own_tables,
        {"figure": lambda rows, groups, shading: own_figure(rows, groups)},
        ("val", "test"),
        tuple(ARM_FIELDS),
        GROUPS,
        OWN_SIGNS,
        ("target", "fold"),
        own_verdict,
    ),
    "sts_b_dir": Study(
        sts_tables,
        {"figure": lambda rows, groups, shading: sts_figure(rows, groups)},
        ("val", "test"),
        tuple(ARM_FIELDS),
        GROUPS,
        STS_SIGNS,
        ("target",),
        sts_verdict,
    ),
    "remedies_1d": Study(
        remedies_tables,
        {"figure": lambda rows, groups, shading: remedies_figure(rows, groups)},
        ("val", "test"),
        tuple(ARM_FIELDS),
        Besides(read_groups, lambda found, splits: group_files(found, ("test",))),
        REMEDIES_SIGNS,
        keys=(*CELL, "function"),
        verdict=remedies_verdict,
    ),
    "tab5": Study(
        tab5_tables,
        {"figure": tab5_figure},
        besides=GROUPS,
        signs=TAB5_SIGNS,
        keys=("task", "fold"),
        verdict=tab5_verdict,
    ),
}


def choose(name: str | None, rows: pd.DataFrame) -> Study:
    """The report of the study `name`; the generic one where it has none or its runs differ in more than the study's."""
    if study := REPORTS.get(name or ""):
        settings = [name for name in study.settings if name in rows]  # earlier versions had fewer
        known = [*study.keys, "arm", "repetition", "seed", "split", *settings]
        if set(known) <= set(rows) and not rows.duplicated(known).any():
            return study
    figures = {"effects": lambda rows, shading: generic_figure(rows)}
    several = rows.loc[rows["run"] >= 0, "arm"].nunique() > 1
    return Study(generic_tables, figures if several else {}, verdict=generic_verdict if several else best_verdict)
