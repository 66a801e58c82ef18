"""A study of Fig. 3 made up: its rows, and its folder."""

import json
from itertools import product

import numpy as np
import pandas as pd
from report_rows import ROW_COLUMNS

from regcls_jax.store.rows import write_csv_atomic

EFFECT = {"uniform": 0.99, "mild": 0.9, "moderate": 0.85, "severe": 0.7}
ARMS = {
    ("reg", 0): lambda effect: 1.0,
    ("reg_x_lambda", 0): lambda effect: 0.97,
    ("reg_no_decay", 0): lambda effect: 0.98,
    ("reg_cls", 4): lambda effect: effect,
    ("reg_cls", 64): lambda effect: effect - 0.02,
    ("reg_cls_no_decay", 64): lambda effect: effect - 0.01,
    ("constant", 0): lambda effect: 2.0,
    ("median", 0): lambda effect: 2.2,
}


def study(scenarios=("clean", "noisy", "ood"), samplings=tuple(EFFECT), functions=3, repetitions=2):
    """Test rows whose arms are fixed multiples of a reg error of .4 that varies a little from run to run."""
    lines = []
    for scenario, sampling, function, repetition in product(scenarios, samplings, range(functions), range(repetitions)):
        level = 0.4 + 0.02 * function + 0.01 * repetition
        for (arm, classes), factor in ARMS.items():
            mse = level * factor(EFFECT[sampling])
            lines.append((arm, scenario, sampling, function, repetition, 100 * repetition, classes, mse))
    named = ["arm", "scenario", "sampling", "function", "repetition", "seed", "classes", "mse"]
    frame = pd.DataFrame(lines, columns=named).assign(noise=0.0, split="test", n=100, balanced=False)
    frame = frame.assign(classes_kept=frame["classes"], mae=frame["mse"] ** 0.5)
    frame["run"] = np.where(frame["arm"].isin(["constant", "median"]), -1, np.arange(len(frame)))
    return frame.reindex(columns=ROW_COLUMNS).fillna({"lam": 1.0, "scale": 1.0}).fillna(1e-3)


def write_study(folder, rows=None, name="fig3"):
    rows = study(("clean",), ("mild", "severe")) if rows is None else rows
    (folder / "rows").mkdir(parents=True)
    for arm, part in rows.groupby("arm"):
        write_csv_atomic(pd.concat([part, part.assign(split="train", mse=9.0)]), folder / "rows" / f"{arm}.csv.gz")
    data = {"scenarios": sorted(set(rows["scenario"])), "samplings": sorted(set(rows["sampling"]))}
    data |= {"functions": int(rows["function"].max()) + 1, "repetitions": int(rows["repetition"].max()) + 1}
    arms = {arm: {"classes": tuple(set(part["classes"]))} for arm, part in rows[rows["run"] >= 0].groupby("arm")}
    config = {"name": name, "data": data, "run": {}, "scenario": {}, "arms": arms}
    (folder / "config.json").write_text(json.dumps(config, default=int))
    (folder / "meta.json").write_text(json.dumps({"command": "study --x", "versions": {"jax": "0"}}))
    return folder
