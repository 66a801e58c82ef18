"""Synthetic traces for the tests of their files and reports."""

import numpy as np
import pandas as pd

from regcls_jax.store.traces import QUANTITIES, TRACE_COLUMNS, TraceResults, summarise

ARMS = {("reg", 0): 1.0, ("reg_x_lambda", 0): 100.0, ("reg_cls", 4): 100.0, ("reg_cls", 64): 100.0}
SPLITS = ["train", "val", "val_balanced", "test"]


def synthetic_trace():
    """3 functions x 2 repetitions, 2 samplings, epochs 0 to 2; the gap is -1 + noise for reg, half with classes."""
    rng = np.random.default_rng(0)
    lines = []
    for sampling in ("severe", "uniform"):
        for function, repetition in np.ndindex(3, 2):
            for number, ((arm, classes), lam) in enumerate(ARMS.items()):
                run = {"run": len(lines) // 12, "arm": arm, "classes": classes, "classes_kept": classes, "lam": lam}
                run |= {"scenario": "clean", "sampling": sampling, "noise": 0.0, "balanced": False, "trace": "mse"}
                run |= {"function": function, "repetition": repetition, "seed": repetition, "scale": 1.0}
                run |= {"learning_rate": 1e-3, "weight_decay": 1e-3}
                for epoch in range(3):
                    for split in SPLITS:
                        values = dict(zip(QUANTITIES, rng.uniform(0.1, 0.2, len(QUANTITIES)), strict=True))
                        values["l_extra_gaussian"] -= 1.0 if not classes else 0.5
                        values |= {name: np.nan for name in QUANTITIES[4:] if not classes}
                        lines.append({**run, "epoch": epoch, "split": split, **values, "mse": 0.3 + 0.1 * number})
    return pd.DataFrame(lines)[list(TRACE_COLUMNS)].astype(dict.fromkeys(QUANTITIES, np.float32))


def results(trace):
    return TraceResults(summarise(trace), trace[trace["epoch"] == 2])
