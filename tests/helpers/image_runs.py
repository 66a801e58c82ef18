"""Synthetic folders of image trainings, as launch/train.py leaves them, for the tests of their report."""

import dataclasses
import json
import math

import numpy as np
import pandas as pd

from regcls_jax.loop.age import AgeRun

ARMS = {
    "reg": {},
    "reg_cls_100": {"classes": 100, "scale": 10.0, "lam": 0.1},
    "reg_cls_bal_100": {"classes": 100, "balanced": True},
    "membership_100": {"classes": 100, "auxiliary": "membership"},
    "reg_std": {"output": "standardised"},
    "reg_cls_100_std": {"output": "standardised", "classes": 100},
    "lds": {"reweight": "sqrt_inv", "lds": True},
}


def train_counts():
    """A histogram over ages 0 to 90 with many-, medium- and few-shot ages; the median is 30."""
    counts = np.round(400 * np.exp(-0.5 * ((np.arange(91) - 30) / 16) ** 2)).astype(np.int64)
    counts[80:] = 0
    return counts


def naive_metrics(ages, predictions):
    """The five metrics by loops over samples and ages, in float64."""
    errors = [abs(float(p) - float(a)) for p, a in zip(predictions, ages, strict=True)]
    by_age = {}
    for error, age in zip(errors, ages, strict=True):
        by_age.setdefault(int(age), []).append(error)
    mse = sum(e * e for e in errors) / len(errors)
    return {
        "count": len(errors),
        "mae": sum(errors) / len(errors),
        "mse": mse,
        "rmse": mse**0.5,
        "gm": math.prod(e ** (1 / len(errors)) for e in errors),
        "bmae": sum(sum(part) / len(part) for part in by_age.values()) / len(by_age),
    }


def group_of(age):
    """The shot group of an age, by the rule of the benchmark."""
    counts = train_counts()
    count = counts[int(age)] if age < len(counts) else 0
    return "many" if count > 100 else "few" if count < 20 else "medium"


def rows_of(arm, seed, split, ages, predictions):
    """The rows of one predictor on one split: all, many, medium, few."""
    groups = np.array([group_of(age) for age in ages])
    lines = []
    for shot in ("all", "many", "medium", "few"):
        member = groups == shot if shot != "all" else np.ones(len(ages), bool)
        metrics = naive_metrics(ages[member], predictions[member])
        lines.append({"arm": arm, "seed": seed, "split": split, "shot": shot, **metrics})
    return lines


def ages_of_test(per_age):
    """Every age from 0 to 85, so that also ages without training images are tested."""
    return np.repeat(np.arange(86.0, dtype=np.float32), per_age)


def predict(arm, seed, ages):
    """What an arm predicts: shrunk towards 30 years, with noise; later arms of `ARMS` have smaller errors."""
    place = list(ARMS).index(arm)
    noise = np.random.default_rng((seed, place)).normal(0, 8 * 0.93**place, len(ages))
    return (30 + 0.8 * (ages - 30) + noise).astype(np.float32)


def write_run(workdir, arm, seed, *, dataset="utkface", per_age=3, finished=True, **settings):
    """One training's folder; without rows.csv.gz, meta.json and predictions.npz if it is not finished."""
    folder = workdir / arm / f"seed{seed}"
    folder.mkdir(parents=True)
    run = AgeRun(arm=arm, seed=seed, dataset=dataset, **settings)
    (folder / "config.json").write_text(json.dumps(dataclasses.asdict(run)))
    offset = 6 - 0.5 * list(ARMS).index(arm)
    lines = [{"step": 5, "epoch": 0.5, "loss": 3.0}]
    lines += [
        {"step": 10 * epoch, "epoch": epoch, "loss": 1.0, "val_mae": 20 / epoch + offset + 0.1 * seed, "val_mse": 9.0}
        for epoch in range(1, 6)
    ]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    if not finished:
        return folder
    ages = ages_of_test(per_age)
    predictions = predict(arm, seed, ages)
    counts = train_counts()
    training = np.repeat(np.arange(len(counts)), counts)
    rows = []
    for split in ("val", "test"):
        rows += rows_of(arm, seed, split, ages, predictions)
        for name, value in (("constant", training.mean()), ("median", np.median(training))):
            rows += rows_of(name, -1, split, ages, np.full(len(ages), value))
        rows += rows_of(f"oracle_bin_{run.classes or 100}", -1, split, ages, ages + 0.25)
    pd.DataFrame(rows).to_csv(folder / "rows.csv.gz", index=False, na_rep="nan")
    arrays = {"val_age": ages, "val_prediction": predictions, "test_age": ages, "test_prediction": predictions}
    np.savez_compressed(folder / "predictions.npz", train_counts=counts, **arrays)
    meta = {"seconds": 10.0 + seed, "images_per_second": 100.0, "best_epoch": 3 + seed, "epochs": 5}
    meta |= {"command": f"python launch/train.py --workdir={workdir}", "machine": "x86_64", "versions": {"jax": "0.10"}}
    (folder / "meta.json").write_text(json.dumps(meta))
    return folder


def write_runs(workdir, arms=tuple(ARMS), seeds=(0, 1, 2), **changes):
    """A folder of finished trainings of some of `ARMS`."""
    for arm in arms:
        for seed in seeds:
            write_run(workdir, arm, seed, **{**ARMS[arm], **changes})
    return workdir
