"""Synthetic rows of a small capacity study, and its picks by plain loops."""

import itertools

import numpy as np
import pandas as pd
from report_rows import complete

SIZES, RATES, SCALES, LAMBDAS = (4, 64), (1e-3, 1e-2), (1.0, 100.0), (0.1, 10.0)
SETTING = ["learning_rate", "scale", "lam"]
SPLITS, SAMPLINGS, FUNCTIONS = ("val", "val_balanced", "test"), ("uniform", "severe"), 4
ARMS = [("reg", "adam"), ("reg_cls", "adam"), ("reg_sgd", "sgd"), ("reg_cls_sgd", "sgd")]


def study(repetitions=1, seed=0):
    """Random errors in every setting, and the trivial predictors."""
    settings = [
        (arm, optimizer, size, rate, scale, lam)
        for (arm, optimizer), size, rate, scale in itertools.product(ARMS, SIZES, RATES, SCALES)
        for lam in (LAMBDAS if "cls" in arm else (1.0,))
    ]
    settings += [(arm, np.nan, 0, np.nan, np.nan, np.nan) for arm in ("constant", "median")]
    names = ["arm", "optimizer", "size", "learning_rate", "scale", "lam"]
    cells = itertools.product(SPLITS, SAMPLINGS, range(FUNCTIONS), range(repetitions), settings)
    frame = pd.DataFrame([(*cell, *setting) for *cell, setting in cells])
    frame.columns = ["split", "sampling", "function", "repetition", *names]
    frame["mse"] = np.random.default_rng(seed).lognormal(size=len(frame))
    frame["classes"] = np.where(frame["arm"].str.contains("cls"), 16, 0)
    rows = complete(frame.assign(scenario="clean"))
    hidden = [f"6-{size}" if size else np.nan for size in frame["size"]]
    return rows.assign(optimizer=frame["optimizer"], hidden=hidden)


def cell_of(rows, split, sampling, optimizer, size, arm):
    """The rows of an arm in one panel by plain conditions; `arm` is reg or reg_cls."""
    own = arm if optimizer == "adam" else f"{arm}_sgd"
    return rows[
        (rows["split"] == split)
        & (rows["sampling"] == sampling)
        & (rows["arm"] == own)
        & (rows["hidden"] == f"6-{size}")
    ]


def pick(part):
    """The setting of the lowest mean over functions and repetitions, by a loop."""
    means = {}
    for setting in itertools.product(RATES, SCALES, (*LAMBDAS, 1.0)):
        runs = part[(part[["learning_rate", "scale", "lam"]] == list(setting)).all(axis=1)]
        if len(runs) and np.isfinite(runs["mse"]).all():
            means[setting] = sum(runs["mse"]) / len(runs)
    best = min(means, key=means.get)
    return best, means[best]
