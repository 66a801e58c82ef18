"""Reports of any number of studies as one HTML page that needs nothing beside itself: no network, no other file."""

import base64
import json
import re
from collections.abc import Iterator, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2
import markdown_it
import pandas as pd
from markupsafe import Markup

import regcls_jax
from regcls_jax.report import tables
from regcls_jax.report.captions import caption
from regcls_jax.report.tables import Report, Slider

# Without raw HTML: notes are ours, but names of arms and folders are the user's.
_MARKDOWN = markdown_it.MarkdownIt("js-default")


def _duration(meta: dict[str, Any]) -> str:
    """The seconds of training in meta.json as a reader says them; a dash where none were noted."""
    if "seconds" not in meta:
        return "–"
    minutes = meta["seconds"] / 60
    return f"{minutes:.0f} min" if minutes >= 1 else f"{meta['seconds']:.0f} s"


def _grid(title: str, frame: pd.DataFrame, slider: Slider | None = None) -> dict[str, Any]:
    """What the template makes a table of; `steps` are attributes of columns."""
    steps = slider.columns if slider else ()
    places = {name: place for place, name in enumerate(name for name in frame.columns if name in steps)}
    return {
        "title": title,
        "slider": slider.name if slider and places else None,
        "names": list(frame.columns),
        "steps": [Markup(f' data-step="{places[name]}"') if name in places else "" for name in frame.columns],
        "lines": tables.cells(frame),
    }


def _tables(made: Sequence[tables.Table], study: str) -> Iterator[dict[str, Any]]:
    """What is short enough for a console stands open, the whole behind one click."""
    for number, table in enumerate(made):
        whole = table.console is None or not table.console.equals(table.frame)
        yield {
            "title": table.title,
            "anchor": f"{study}-table-{number}",
            "note": Markup(_MARKDOWN.render(table.note)),
            "short": None if table.console is None else _grid(table.title, table.console, table.slider),
            "full": _grid(table.title, table.frame, table.slider) if whole else None,
            "summary": f"{'Table' if table.console is None else 'All columns'}, {len(table.frame)} lines",
        }


def _figures(report: Report, study: str) -> Iterator[dict[str, str]]:
    """Each figure as a data URI: inside <img> the ids of one SVG cannot meet those of another."""
    for name, data in report.figures.items():
        if name.endswith(".svg"):
            stem = Path(name).stem
            yield {
                "name": stem.replace("_", " "),
                "anchor": f"{study}-{stem}",
                "caption": caption(report.name, stem),
                "uri": f"data:image/svg+xml;base64,{base64.b64encode(data).decode()}",
            }


def _study(anchor: str, folder: str, report: Report) -> dict[str, Any]:
    return {
        "anchor": anchor,
        "folder": folder,
        # Two folders may hold one study in two variants: the folder's name tells them apart.
        "label": Path(folder).resolve().name,
        "report": report,
        "headlines": re.findall(r"\*\*(.+?)\*\*", report.verdict),
        "verdict": Markup(_MARKDOWN.render(report.verdict)),
        "remarks": Markup(_MARKDOWN.render(report.remarks)),
        "figures": list(_figures(report, anchor)),
        "tables": list(_tables(report.tables, anchor)),
        "config": json.dumps(report.config, indent=1),
        "facts": json.dumps(report.meta, indent=1),
    }


def _overview(studies: Sequence[dict[str, Any]]) -> pd.DataFrame:
    metas = [study["report"].meta for study in studies]
    return pd.DataFrame(
        {
            "study": [study["label"] for study in studies],
            "trainings": [f"{meta['trainings']:,}" if "trainings" in meta else "–" for meta in metas],
            "time": [_duration(meta) for meta in metas],
            "machine": [meta.get("machine", "–") for meta in metas],
            "folder": [study["folder"] for study in studies],
        }
    )


def _asset(name: str) -> Markup:
    return Markup(resources.files("regcls_jax.report").joinpath(name).read_text(encoding="utf-8"))


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
    studies = [_study(f"study-{number}", folder, report) for number, (folder, report) in enumerate(reports)]
    return environment.get_template("page.html.j2").render(
        title=title,
        version=regcls_jax.__version__,
        studies=studies,
        overview=_grid("Studies", _overview(studies)),
        css=_asset("page.css"),
        js=_asset("page.js"),
    )
