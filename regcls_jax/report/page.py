"""Reports of any number of studies as one HTML page that needs nothing beside itself: no network, no scripts."""

import base64
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import jinja2
import markdown_it
import pandas as pd
from markupsafe import Markup

import regcls_jax
from regcls_jax.report import tables
from regcls_jax.report.tables import Report

# Without raw HTML: notes are ours, but names of arms and folders are the user's.
_MARKDOWN = markdown_it.MarkdownIt("js-default")


def _duration(meta: dict[str, Any]) -> str:
    """The seconds of training in meta.json as a reader says them; a dash where none were noted."""
    if "seconds" not in meta:
        return "–"
    minutes = meta["seconds"] / 60
    return f"{minutes:.0f} min" if minutes >= 1 else f"{meta['seconds']:.0f} s"


def _html(frame: pd.DataFrame) -> Markup:
    return Markup(frame.to_html(index=False, border=0, justify="left"))


def _tables(made: Sequence[tables.Table]) -> Iterator[dict[str, Any]]:
    """What is short enough for a console stands open, the whole behind one click."""
    for table in made:
        whole = table.console is None or not table.console.equals(table.frame)
        yield {
            "title": table.title,
            "note": Markup(_MARKDOWN.render(table.note)),
            "short": None if table.console is None else _html(table.console),
            "full": _html(table.frame) if whole else None,
            "summary": f"{'Table' if table.console is None else 'All columns'}, {len(table.frame)} lines",
        }


def _figures(report: Report) -> Iterator[tuple[str, str]]:
    """Each figure as a data URI: inside <img> the ids of one SVG cannot meet those of another."""
    for name, data in report.figures.items():
        if name.endswith(".svg"):
            yield Path(name).stem, f"data:image/svg+xml;base64,{base64.b64encode(data).decode()}"


def page(reports: Sequence[tuple[str, Report]], title: str = "Does classification help regression?") -> str:
    """One page of the reports of some studies, in the order given.

    Args:
      reports: for each study its folder, as it is to be shown, and its report (`build.build`).
      title: of the page.

    Raises:
      ValueError: there is no study.
    """
    if not reports:
        raise ValueError("a page needs at least one study")
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("regcls_jax.report", ""),
        autoescape=True,
        trim_blocks=True,
        undefined=jinja2.ChainableUndefined,
    )
    studies = [
        {
            "anchor": f"study-{number}",
            "folder": folder,
            # Two folders may hold one study in two variants: the folder's name tells them apart.
            "label": Path(folder).resolve().name,
            "report": report,
            "trainings": f"{report.meta['trainings']:,}" if "trainings" in report.meta else "–",
            "time": _duration(report.meta),
            "verdict": Markup(_MARKDOWN.render(report.verdict)),
            "remarks": Markup(_MARKDOWN.render(report.remarks)),
            "figures": list(_figures(report)),
            "tables": list(_tables(report.tables)),
            "config": json.dumps(report.config, indent=1),
            "facts": json.dumps(report.meta, indent=1),
        }
        for number, (folder, report) in enumerate(reports)
    ]
    return environment.get_template("page.html.j2").render(title=title, version=regcls_jax.__version__, studies=studies)
