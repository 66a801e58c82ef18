"""Synthetic folders of depth trainings, as launch/train.py leaves them, for the tests of their report."""

import dataclasses
import json

import numpy as np
import pandas as pd

from regcls_jax.loop.depth import DepthRun
from regcls_jax.metrics.depth import depth_metrics, published_groups
from regcls_jax.metrics.shots import SHOTS

IMAGES, PIXELS = 6, 50
TRIVIAL = {"constant": 1.5, "median": 1.6, "pixel_mean": 1.2}
# Error of each arm in m; candidates of cls differ in validation and in test.
ARMS = {
    "reg": ({}, 1.0, 1.0),
    "cls_lam_0.1": ({"classes": 10, "lam": 0.1, "candidate_for": "cls"}, 0.9, 0.7),
    "cls_lam_1.0": ({"classes": 10, "lam": 1.0, "candidate_for": "cls"}, 0.8, 0.9),
    "lds": ({"reweight": "inverse", "lds": True}, 1.1, 1.1),
}


def sums_of(error, seed=0):
    """Sums [n, 3, 8] of images whose errors scatter around one size."""
    generator = np.random.default_rng([seed, int(1000 * error)])
    errors = error * generator.uniform(0.8, 1.2, (IMAGES, len(SHOTS), PIXELS))
    terms = [errors**2, errors, errors / 3, errors / 9, errors < 1, errors < 2, errors < 3, np.ones_like(errors)]
    return np.stack([term.sum(-1) for term in terms], -1).astype(np.float32)


def buckets_of(error):
    counts = np.full(100, 20.0)
    return np.stack([counts * error**2, counts * error, counts], -1).astype(np.float32)


def rows_of(arm, seed, split, sums, selected_on="val"):
    lines = depth_metrics(sums)
    return [
        {"arm": arm, "seed": seed, "split": split, "shot": shot, "selected_on": selected_on, **found}
        for shot, found in lines.items()
    ]


def write_depth_run(workdir, arm, seed, *, dataset="rooms", finished=True, also=False):
    settings, valid, test = ARMS[arm]
    folder = workdir / arm / f"seed{seed}"
    folder.mkdir(parents=True)
    run = DepthRun(arm=arm, seed=seed, dataset=dataset, **settings)
    (folder / "config.json").write_text(json.dumps(dataclasses.asdict(run)))
    if not finished:
        return folder
    sums = sums_of(test, seed)
    rows = [*rows_of(arm, seed, "val", sums_of(valid, seed)), *rows_of(arm, seed, "test", sums)]
    for name, error in TRIVIAL.items():
        rows += [*rows_of(name, -1, "val", sums_of(error)), *rows_of(name, -1, "test", sums_of(error))]
    if also:
        rows += rows_of(arm, seed, "test", sums_of(test - 0.1, seed), "test")
    frame = pd.DataFrame(rows)
    (frame if also else frame.drop(columns="selected_on")).to_csv(folder / "rows.csv.gz", index=False, na_rep="nan")
    generator = np.random.default_rng(0)
    depths = generator.uniform(1, 9, (2, 8, 10)).astype(np.float32)
    depths[0, 0] = np.nan
    arrays = {
        "bucket_edges": np.linspace(0, 10, 101, dtype=np.float32),
        "bucket_groups": published_groups(),
        "train_counts": np.arange(100) * 50,
        "test_sums": sums,
        "test_bucket_sums": buckets_of(test),
        "val_sums": sums,
        "shown_pictures": generator.integers(0, 255, (2, 16, 20, 3)).astype(np.uint8),
        "shown_depths": depths,
        "shown_predictions": depths + 1,
    }
    for name, error in TRIVIAL.items():
        arrays |= {f"test_{name}_sums": sums_of(error), f"test_{name}_bucket_sums": buckets_of(error)}
    np.savez_compressed(folder / "predictions.npz", **arrays)
    meta = {"seconds": 10.0, "best_epoch": 3, "command": "python launch/train.py", "machine": "x86_64", "versions": {}}
    (folder / "meta.json").write_text(json.dumps({**meta, "target": "depth", "unit": "m"}))
    return folder


def write_depth_runs(workdir, arms=tuple(ARMS), seeds=(0, 1, 2), **options):
    for arm in arms:
        for seed in seeds:
            write_depth_run(workdir, arm, seed, **options)
    return workdir
