"""Synthetic rows of a study that tunes every arm with an equal budget."""

import itertools

import numpy as np
import pandas as pd
from report_rows import complete

from regcls_jax.report.paper import fair

SCENARIOS, SAMPLINGS, FUNCTIONS, REPETITIONS, BUDGET = ("clean", "noisy"), ("uniform", "mild", "severe"), 3, 2, 5
SPLITS = ("val", "val_balanced", "test")
ARMS = ("reg", "reg_cls", "reg_cls_bal")
KEYS = [*fair.DATA_SET, "arm"]


def study(seed=0, arms=ARMS):
    """Random errors of BUDGET runs per data set and arm, and the trivial predictors."""
    members = [*itertools.product(arms, range(BUDGET)), ("constant", 0), ("median", 0)]
    cells = itertools.product(SPLITS, SCENARIOS, SAMPLINGS, range(FUNCTIONS), range(REPETITIONS), members)
    frame = pd.DataFrame([(*cell, *member) for *cell, member in cells])
    frame.columns = ["split", "scenario", "sampling", "function", "repetition", "arm", "draw"]
    frame["mse"] = np.random.default_rng(seed).lognormal(size=len(frame))
    frame["noise"] = np.where(frame["scenario"] == "noisy", 0.1, 0.0)
    classes = frame["arm"].str.startswith("reg_cls")
    frame["classes"] = np.where(classes, np.array([4, 16, 64])[frame["draw"] % 3], 0)
    frame["lam"] = np.where(classes, 10.0 ** (frame["draw"] - 2), 1.0)
    return complete(frame.assign(balanced=frame["arm"] == "reg_cls_bal", scale=10.0 ** (frame["draw"] % 2)))


def shifted(shift, arm="reg_cls", spread=0.0):
    """Rows in which the pick of every arm tests as .5, that of `arm` as .5 + shift ± spread."""
    rows = study()
    test = rows["split"] == "test"
    rows.loc[test, "mse"] = 0.5
    mine = test & (rows["arm"] == arm)
    # The same for all runs of a data set; zero mean over the repetitions of every function.
    rows.loc[mine, "mse"] += shift + spread * (2 * rows.loc[mine, "repetition"] - 1)
    return rows


def one(rows, arm="reg", split="val"):
    """Which rows are of an arm on one data set."""
    where = {"scenario": "noisy", "sampling": "mild", "function": 1, "repetition": 1, "arm": arm, "split": split}
    return (rows[list(where)] == list(where.values())).all(axis=1)
