"""Synthetic result rows and work directories for the tests of reports."""

import json
from xml.etree import ElementTree

import numpy as np
import pandas as pd

from regcls_jax.report.build import build, publish
from regcls_jax.report.page import page
from regcls_jax.store.rows import COLUMNS, write_csv_atomic

# What rows on the 1-D data have.
ROW_COLUMNS = ["scenario", "sampling", "noise", "function", "repetition", *COLUMNS]
TRIVIAL = ("constant", "median")
TRIVIAL_COLUMNS = ["seed", "lam", "scale", "learning_rate", "weight_decay"]


def complete(frame):
    """Fills in what a test does not care about; `run` numbers the trainings (one per line and split)."""
    trivial = frame["arm"].isin(TRIVIAL)
    defaults = {"noise": 0.0, "classes": 0, "balanced": False, "lam": 1.0, "split": "test", "n": 100}
    defaults |= {"scale": 1.0, "learning_rate": 1e-3, "weight_decay": 1e-3}
    frame = frame.assign(**{name: value for name, value in defaults.items() if name not in frame})
    frame["seed"] = 100 * frame["repetition"]
    if "classes_kept" not in frame:
        frame["classes_kept"] = frame["classes"]
    frame["mae"] = frame["mse"] ** 0.5
    frame["run"] = np.where(trivial, -1, frame.groupby("split").cumcount())
    frame = frame.astype(dict.fromkeys(TRIVIAL_COLUMNS, float))
    frame.loc[trivial, TRIVIAL_COLUMNS] = np.nan
    frame["seed"] = frame["seed"].fillna(-1).astype(int)
    return frame[ROW_COLUMNS]


def write_study(folder, rows, name):
    """A finished work directory whose config asks for exactly the trainings of `rows`."""
    (folder / "rows").mkdir(parents=True)
    write_csv_atomic(rows, folder / "rows" / "all.csv.gz")
    data = {"scenarios": sorted(set(rows["scenario"])), "samplings": sorted(set(rows["sampling"]))}
    data |= {"functions": int(rows["function"].max()) + 1, "repetitions": int(rows["repetition"].max()) + 1}
    data |= {"noise": sorted(set(rows.loc[rows["scenario"] == "noisy", "noise"])) or [0.1]}
    trained = rows[rows["run"] >= 0]
    arms = {
        arm: {"classes": sorted(set(part["classes"])), "lam": sorted(set(part["lam"]))}
        for arm, part in trained.groupby("arm")
    }
    config = {"name": name, "data": data, "run": {}, "scenario": {}, "arms": arms}
    (folder / "config.json").write_text(json.dumps(config, default=int))
    (folder / "meta.json").write_text(json.dumps({"command": "study --x"}))
    return folder


def round_trip(workdir, export):
    """Builds and publishes the report of a study; its export must give the same report, and both go on a page."""
    made = build(workdir)
    printed = publish(made, workdir, export=export)
    assert all(table.title in printed for table in made.tables if table.console is not None)
    assert {path.name for path in (workdir / "report").iterdir()} == {"table.md", *made.figures}
    again = build(export)
    assert [table.title for table in again.tables] == [table.title for table in made.tables]
    for first, second in zip(made.tables, again.tables, strict=True):
        pd.testing.assert_frame_equal(first.frame, second.frame)
        assert first.note == second.note
    assert set(again.figures) == set(made.figures)
    pd.testing.assert_frame_equal(again.rows, made.rows)
    assert page([(str(workdir), made), (str(export), again)]).count("data:image/svg") == len(made.figures)
    return made


def texts(svg):
    """The words of a figure, in order."""
    return [text.text for text in ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")]
