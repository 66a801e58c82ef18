"""Tables of an image study: test errors beside the trivial predictors, paired differences, the published numbers."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
import pandas as pd

from regcls_jax.metrics.relevance import phi, relevance, sera_per_row
from regcls_jax.metrics.scalar import balanced_errors, pearson, spearman
from regcls_jax.metrics.shots import SHOTS
from regcls_jax.report.candidates import candidate_table, choose_candidates
from regcls_jax.report.effects import Group, Question, difference_text, effects, spread
from regcls_jax.report.images.study import GROUPS, ImageStudy, Target
from regcls_jax.report.paper.published import AGES, published_ages
from regcls_jax.report.tables import TRIVIAL, Table, label, number
from regcls_jax.report.trainings import TRIVIAL_SEED, control_of

WHOLE = {"MAE": "mae", "MSE": "mse", "GM": "gm", "bMAE": "bmae"}
QUESTION = Question("error", ("seed", "place"), ("place", "seed"), shared="seed")


def test_table(study: ImageStudy) -> Table:
    """Test errors of every arm, mean ± std over seeds, and of the trivial predictors."""
    test = study.rows[study.rows["split"] == "test"]
    trivial = test[test["seed"] == TRIVIAL_SEED]
    oracles = sorted(set(trivial["arm"]) - set(TRIVIAL), key=lambda name: (len(name), name))
    name, unit, decimals = study.target.name, study.target.unit, study.target.decimals + 1
    lines = []
    for arm in (*study.configs, *TRIVIAL, *oracles):
        rows = test[(test["arm"] == arm) & ((test["seed"] == TRIVIAL_SEED) == (arm not in study.configs))]
        line = {"arm": label(arm), "seeds": str(rows["seed"].nunique()) if arm in study.configs else "–"}
        shots = dict(list(rows.groupby("shot")))
        line |= {title: spread(shots["all"][metric], decimals) for title, metric in WHOLE.items()}
        lines.append(line | {f"MAE {shot}": spread(shots[shot]["mae"], decimals) for shot in SHOTS})
    sizes = ", ".join(f"{int(member.sum()):,} {shot}" for shot, member in study.target.groups(study.values).items())
    units = f"In {unit} (MSE in {unit}²), mean" if unit else "Mean"
    note = (
        f"{units} ± standard deviation over seeds, on {sizes} test images; training on "
        f"{int(study.target.counts.sum()):,}. GM: geometric mean of |error|, 0 as "
        f"soon as one error is 0 (the median predictor hits some {name}s exactly); bMAE: mean over {name}s of the MAE "
        f"at that {name}. constant, median: of the training {name}s; oracle_bin_C: knows the class of the true {name} "
        f"among C, and predicts the mean of the training {name}s in it."
    )
    frame = pd.DataFrame(lines)
    return Table(f"Test errors on {study.name}", note, frame, frame)


def signs(target: Target) -> str:
    """How a difference is read."""
    return f"Differences are arm − baseline in absolute error{target.in_unit}: negative means that the arm is better."


def error_groups(study: ImageStudy, arms: Iterable[str]) -> list[Group]:
    """The absolute errors of some arms on every test image, of all and of each shot, and (bMAE) by value of the target.

    The rows have arm, seed, place (the image or the value) and error. The median predictor
    has every seed.
    """
    found = {arm: study.predictions(arm) for arm in arms if arm in study.configs}
    if "median" in arms:
        median = np.full(len(study.values), study.target.median)
        found["median"] = dict.fromkeys({seed for _, seed in study.found}, median)
    errors = {(arm, seed): np.abs(values - study.values) for arm, own in found.items() for seed, values in own.items()}

    def long(errors: Mapping[tuple[str, int], np.ndarray], places: np.ndarray) -> pd.DataFrame:
        pieces = [
            pd.DataFrame({"arm": arm, "seed": seed, "place": places, "error": values})
            for (arm, seed), values in errors.items()
        ]
        return pd.concat(pieces, ignore_index=True)

    groups = []
    for name, member in study.target.groups(study.values).items():
        own = {run: values[member] for run, values in errors.items()}
        groups.append(Group({"group": name}, long(own, np.flatnonzero(member))))
    values, place = np.unique(study.target.buckets(study.values), return_inverse=True)
    by_value = {run: np.bincount(place, row) / np.bincount(place) for run, row in errors.items()}
    return [*groups, Group({"group": "bMAE"}, long(by_value, values))]


def difference_frame(study: ImageStudy, pairs: Sequence[tuple[str, str]]) -> pd.DataFrame:
    """Mean difference and 95 % interval of every pair (arm, baseline) over the seeds that both have, groups across."""
    if not pairs:
        return pd.DataFrame()
    arms = dict.fromkeys(name for pair in pairs for name in pair)
    lines: dict[tuple[str, str], dict[str, str]] = {}
    groups = error_groups(study, arms)
    for effect in effects(QUESTION, groups, pairs):
        line = {
            "arm": label(effect.arm),
            "baseline": label(effect.baseline),
            "seeds": str(effect.pairs["seed"].nunique()),
        }
        line = lines.setdefault((effect.arm, effect.baseline), line | {name["group"]: "–" for name, _ in groups})
        line[effect.names["group"]] = difference_text(effect, study.target.decimals + 1)
    return pd.DataFrame(lines.values())


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
    name, unit = study.target.name, study.target.unit
    note = (
        f"Mean difference of the absolute error ({unit}{', ' if unit else ''}negative: the arm is better) over test "
        "images and the seeds that both have, with the 95 % interval over seeds and test images (crossed variance "
        f"components with Satterthwaite's t; no interval for one seed). bMAE: over seeds and {name}s."
    )
    tables: list[Table] = []
    for title, pairs in _pairs(study):
        frame = difference_frame(study, pairs)
        if len(frame):
            tables.append(Table(title, "Made as the table before." if tables else note, frame, frame))
    return tables


def published_table(study: ImageStudy) -> Table:
    """The published numbers of IMDB-WIKI-DIR or AgeDB-DIR beside ours, one line per arm, source and metric."""
    test = study.rows[(study.rows["split"] == "test") & (study.rows["seed"] != TRIVIAL_SEED)]
    lines = []
    for (source, arm, metric), part in published_ages(study.name).groupby(["source", "arm", "metric"], sort=False):
        line = {"arm": label(arm), "source": source, "metric": {"mae": "MAE", "mse": "MSE", "bmae": "bMAE"}[metric]}
        stated = part.set_index("shot")
        own = test[test["arm"] == arm]
        for shot in GROUPS:
            theirs = "–"
            if shot in stated.index:
                mean, std = stated.loc[shot, "mean"], stated.loc[shot, "std"]
                theirs = number(mean, decimals=2) + (f" ± {number(std, decimals=2)}" if np.isfinite(std) else "")
            line[f"{shot}, published"] = theirs
            line[f"{shot}, here"] = spread(own.loc[own["shot"] == shot, metric], 2) if len(own) else "–"
        lines.append(line)
    note = (
        "What the paper (tables; mean ± standard deviation over 3 repetitions) and the authors of the methods state "
        "(their READMEs, logs and articles). bMAE: balanced MAE. A dash: not published, or not trained here."
    )
    frame = pd.DataFrame(lines)
    return Table("Published numbers", note, frame, None)


def rank_table(study: ImageStudy) -> Table:
    """How the order of the predictions is that of the targets, and the errors of balanced and of extreme targets."""
    target, values = study.target, study.values
    try:
        weights, without = phi(relevance(np.repeat(target.centres, target.counts.astype(int))), values), ""
    except ValueError as error:  # of some targets a box plot tells no extremes apart
        weights, without = None, f" No SERA: {error}."
    median = np.full(len(values), target.median)
    lines = []
    for arm in (*study.configs, "median"):
        every = [median] if arm == "median" else list(study.predictions(arm).values())
        found: dict[str, list[float]] = {
            "Pearson": [float(pearson(one, values)) for one in every],
            "Spearman": [float(spearman(one, values)) for one in every],
            "bRMSE": [float(balanced_errors(one, values, target.edges).rmse) for one in every],
            "SERA": [] if weights is None else [sera_per_row(one, values, weights) for one in every],
        }
        decimals = {"Pearson": 3, "Spearman": 3, "bRMSE": target.decimals + 1, "SERA": target.decimals + 1}
        cells = {
            name: spread(pd.Series(several), decimals[name]) if np.isfinite(several).any() else "–"
            for name, several in found.items()
        }
        lines.append({"arm": label(arm), **cells})
    name, unit = target.name, target.unit
    note = (
        "Mean ± standard deviation over seeds, on the test images; a constant has no correlation. "
        f"bRMSE{f' ({unit})' if unit else ''}: root of the mean over {name}s of the MSE at that {name}. "
        f"SERA{f' ({unit}²)' if unit else ''}: mean squared error, weighted by how extreme the {name} is: 0 at the "
        f"training median, 1 beyond the whiskers of the box plot of the training {name}s, in buckets.{without}"
    )
    frame = pd.DataFrame(lines)
    return Table("Order, balance and extremes", note, frame, None)


def _candidates(study: ImageStudy) -> list[Table]:
    rows = study.rows[(study.rows["shot"] == "all") & (study.rows["seed"] != TRIVIAL_SEED)]
    _, chosen = choose_candidates(study.configs, study.rows)
    rest = "The other tables show all of them."
    return candidate_table(study.configs, rows, chosen, "mae", rest, study.target.decimals + 1)


def image_tables(study: ImageStudy) -> list[Table]:
    """All tables of an image study."""
    published = [published_table(study)] if study.name in AGES else []
    return [test_table(study), *_candidates(study), *difference_tables(study), rank_table(study), *published]
