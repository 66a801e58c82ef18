"""Tables of an image study: test errors beside the trivial predictors, paired differences, the published numbers."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd

from regcls_jax.metrics.shots import SHOTS, shot_groups
from regcls_jax.report.images.rows import TRIVIAL_SEED, ImageStudy
from regcls_jax.report.paper.published import published_imdb_wiki
from regcls_jax.report.statistics import two_way_bootstrap_mean
from regcls_jax.report.tables import TRIVIAL, Table, interval, number

GROUPS = ("all", *SHOTS)
SIGNS = "Differences are arm − baseline in absolute error (years): negative means that the arm is better."
# What a resampling draws of the test images at most: its memory is 80 kB for each.
BLOCKS = 1000
# What the head for classes or memberships consists of: arms that differ in nothing else show what it does.
HEAD = {"classes", "balanced", "rounding", "low", "high", "auxiliary", "membership_sigma", "lam", "scale"}
# What only says that soft memberships are regressed instead of classes classified.
TARGETS = {"auxiliary", "membership_sigma", "lam", "scale"}
NO_SETTING = {"arm", "seed", "workers"}  # names, and what changes no number


def _spread(values: pd.Series, decimals: int = 2) -> str:
    """Mean ± standard deviation over seeds (ddof 1); the mean alone where there is one seed."""
    text = number(values.mean(), decimals=decimals)
    return f"{text} ± {number(values.std(), decimals=decimals)}" if len(values) > 1 and text != "–" else text


def _test_cells(rows: pd.DataFrame) -> dict[str, str]:
    shots = {shot: rows[rows["shot"] == shot] for shot in GROUPS}
    cells = {"MAE": "mae", "MSE": "mse", "GM": "gm", "bMAE": "bmae"}
    whole = {name: _spread(shots["all"][metric]) for name, metric in cells.items()}
    return whole | {f"MAE {shot}": _spread(shots[shot]["mae"]) for shot in SHOTS}


def _places(study: ImageStudy) -> dict[str, np.ndarray]:
    """Which test images [n] are in each group."""
    years = study.ages.astype(int)
    counts = np.pad(study.train_counts, (0, max(0, years.max() + 1 - len(study.train_counts))))
    groups = {name: member[years] for name, member in shot_groups(counts).items()}
    return {"all": np.ones(len(years), bool), **groups}


def test_table(study: ImageStudy) -> Table:
    """Test errors of every arm, mean ± std over seeds, and of the trivial predictors."""
    test = study.rows[study.rows["split"] == "test"]
    trivial = test[test["seed"] == TRIVIAL_SEED]
    oracles = sorted(set(trivial["arm"]) - set(TRIVIAL), key=lambda name: (len(name), name))
    lines = []
    for arm in (*study.configs, *TRIVIAL, *oracles):
        rows = test[(test["arm"] == arm) & ((test["seed"] == TRIVIAL_SEED) == (arm not in study.configs))]
        seeds = str(rows["seed"].nunique()) if arm in study.configs else "–"
        lines.append({"arm": arm, "seeds": seeds, **_test_cells(rows)})
    sizes = ", ".join(f"{int(member.sum()):,} {name}" for name, member in _places(study).items())
    note = (
        f"In years (MSE in years²), mean ± standard deviation over seeds, on {sizes} test images; training on "
        f"{int(study.train_counts.sum()):,}. GM: geometric mean of |error|, 0 as "
        "soon as one error is 0 (the median predictor hits some ages exactly); bMAE: mean over ages of the MAE at that "
        "age. constant, median: of the training ages; oracle_bin_C: knows the class of the true age among C, and "
        "predicts the mean of the training ages in it."
    )
    frame = pd.DataFrame(lines)
    return Table(f"Test errors on {study.dataset}", note, frame, frame)


def control_of(arm: str, configs: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """The arms that differ from an arm with an auxiliary head in that head alone, by what the comparison asks.

    "no head" trains the same without one, "memberships" regresses soft memberships instead of classifying; the first
    of several.
    """
    own = configs[arm]
    found: dict[str, str] = {}
    for name, other in configs.items():
        differs = {key for key, value in own.items() if other.get(key) != value} - NO_SETTING
        if name == arm or not own["classes"]:
            continue
        if not other["classes"] and differs <= HEAD:
            found.setdefault("no head", name)
        if own["auxiliary"] == "classification" and other["auxiliary"] != own["auxiliary"] and differs <= TARGETS:
            found.setdefault("memberships", name)
    return found


def median_age(train_counts: np.ndarray) -> float:
    """The median of training ages from their histogram [K] per whole year: exact for whole ages."""
    return float(np.median(np.repeat(np.arange(len(train_counts)), train_counts)))


def _blocks(n: int) -> np.ndarray:
    """A block [n] for each of n images: its own, or one of `BLOCKS` drawn at random, equally large ones."""
    return np.random.default_rng(0).permutation(n) % BLOCKS if n > BLOCKS else np.arange(n)


def _difference(values: np.ndarray, units: np.ndarray) -> str:
    """Mean of differences [seeds, n] and its interval over seeds and units, of which each of the n has one."""
    if not values.size:
        return "–"
    # Units first: the resampled sums are then [resamples, seeds], not [resamples, units].
    seeds = np.repeat(np.arange(len(values)), values.shape[1])
    ends = two_way_bootstrap_mean(values.ravel(), np.tile(units, len(values)), seeds)
    return f"{number(values.mean(), sign=True, decimals=2)} {interval(ends, decimals=2)}"


def difference_cells(arm: np.ndarray, baseline: np.ndarray, study: ImageStudy) -> dict[str, str]:
    """Mean difference and 95 % interval of two sets of absolute errors [seeds, n], paired, per group and for bMAE."""
    differences = arm - baseline
    cells = {}
    for name, member in _places(study).items():
        values = differences[:, member]
        cells[name] = _difference(values, _blocks(values.shape[1]))
    ages, place = np.unique(study.ages.astype(int), return_inverse=True)
    by_age = np.stack([np.bincount(place, row) / np.bincount(place) for row in differences])
    return cells | {"bMAE": _difference(by_age, ages)}


def _paired_line(study: ImageStudy, arm: str, baseline: str) -> dict[str, str] | None:
    """One comparison over the seeds that both have; None where there is none. The median predictor has every seed."""
    mine = study.predictions(arm)
    if baseline == "median":
        other = dict.fromkeys(mine, np.full(len(study.ages), median_age(study.train_counts)))
    else:
        other = study.predictions(baseline)
    seeds = sorted(set(mine) & set(other))
    if not seeds:
        return None
    errors = [np.abs(np.stack([found[seed] for seed in seeds]) - study.ages) for found in (mine, other)]
    return {"arm": arm, "baseline": baseline, "seeds": str(len(seeds)), **difference_cells(*errors, study)}


def _pairs(study: ImageStudy) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """The titles and the pairs (arm, baseline) of the tables of differences."""
    configs = study.configs
    yield "Against reg", [(arm, "reg") for arm in configs if arm != "reg" and "reg" in configs]
    controls = {arm: control_of(arm, configs) for arm in configs}
    without = [(arm, found["no head"]) for arm, found in controls.items() if found.get("no head", "reg") != "reg"]
    yield "Against the same training without the auxiliary head", without
    soft = [(arm, found["memberships"]) for arm, found in controls.items() if "memberships" in found]
    yield "Classifying against regressing soft memberships", soft
    yield "Against the median predictor", [(arm, "median") for arm in configs]


def difference_tables(study: ImageStudy) -> list[Table]:
    """Paired differences of the absolute test error: against reg, the controls of each arm, and the median."""
    note = (
        "Mean difference of the absolute error (years, negative: the arm is better) over test images and the seeds "
        "that both have, with the 95 % two-way bootstrap interval over seeds and test images (no interval for one "
        f"seed). More than {BLOCKS:,} images of a group are resampled in {BLOCKS:,} random blocks. bMAE: over seeds "
        "and ages, resampled as a whole."
    )
    tables = []
    for title, pairs in _pairs(study):
        lines = [line for pair in pairs if (line := _paired_line(study, *pair))]
        if lines:
            frame = pd.DataFrame(lines)
            tables.append(Table(title, "Made as the table before." if tables else note, frame, frame))
    return tables


def published_table(study: ImageStudy) -> Table:
    """The published numbers of IMDB-WIKI-DIR beside ours, one line per arm, source and metric."""
    test = study.rows[(study.rows["split"] == "test") & (study.rows["seed"] != TRIVIAL_SEED)]
    lines = []
    for (source, arm, metric), part in published_imdb_wiki().groupby(["source", "arm", "metric"], sort=False):
        line = {"arm": arm, "source": source, "metric": {"mae": "MAE", "mse": "MSE", "bmae": "bMAE"}[metric]}
        stated = part.set_index("shot")
        own = test[test["arm"] == arm]
        for shot in GROUPS:
            theirs = "–"
            if shot in stated.index:
                mean, std = stated.loc[shot, "mean"], stated.loc[shot, "std"]
                theirs = number(mean, decimals=2) + (f" ± {number(std, decimals=2)}" if np.isfinite(std) else "")
            line[f"{shot}, published"] = theirs
            line[f"{shot}, here"] = _spread(own.loc[own["shot"] == shot, metric]) if len(own) else "–"
        lines.append(line)
    note = (
        "Tables 3 and 4 of the paper (mean ± standard deviation over 3 repetitions) and the READMEs of the baselines' "
        "own code (Yang et al.: LDS, FDS; Ren et al.: Balanced MSE, whose numbers are balanced MAE). A dash: not "
        "published, or not trained here."
    )
    frame = pd.DataFrame(lines)
    return Table("Published numbers", note, frame, None)


def image_tables(study: ImageStudy) -> list[Table]:
    """All tables of an image study."""
    published = [published_table(study)] if study.dataset == "imdb_wiki_dir" else []
    return [test_table(study), *difference_tables(study), *published]
