"""Tables of a depth study: test errors beside the trivial predictors, candidates, paired differences, the paper's."""

import operator
from collections.abc import Iterator

import numpy as np
import pandas as pd

from regcls_jax.report.candidates import candidate_table
from regcls_jax.report.depth.study import GROUPS, TRIVIAL, DepthStudy, squared_errors
from regcls_jax.report.effects import Effect, Group, Question, effects, spread
from regcls_jax.report.paper.published import published_nyud2
from regcls_jax.report.statistics import Interval
from regcls_jax.report.tables import Table, interval, label, number
from regcls_jax.report.trainings import TRIVIAL_SEED, control_of

QUESTION = Question("error", ("seed", "image"), ("image", "seed"), shared="seed")
OTHERS = {"MAE": "mae", "AbsRel": "abs_rel", "log10": "log10", "δ1": "delta1", "δ2": "delta2", "δ3": "delta3"}
# Plain regression for as long, and in batches as large, as the baselines' authors train (configs/nyud2.py).
UPSTREAM = "reg_upstream"
# What the test split selects, as Table 2 calls it.
SELECTED_ON_TEST = "RMSE-test"
SIGNS = "Differences are arm − baseline in RMSE (m): negative means that the arm is better."


def _test_rows(study: DepthStudy, arm: str, selected_on: str = "val") -> pd.DataFrame:
    rows = study.rows[(study.rows["split"] == "test") & (study.rows["selected_on"] == selected_on)]
    trained = study.chosen.get(arm, arm)
    return rows[(rows["arm"] == trained) & ((rows["seed"] == TRIVIAL_SEED) == (arm in TRIVIAL))]


def test_table(study: DepthStudy) -> Table:
    """Test errors of every arm, mean ± std over seeds, and of the trivial predictors."""
    lines = []
    twice = (study.rows["selected_on"] == "test").any()
    for arm in (*study.configs, *TRIVIAL):
        shots = dict(list(_test_rows(study, arm).groupby("shot")))
        line = {"arm": label(arm), "seeds": "–" if arm in TRIVIAL else str(len(study.seeds(arm)))}
        line |= {f"RMSE {group}": spread(shots[group]["rmse"]) for group in GROUPS}
        if twice:
            second = dict(list(_test_rows(study, arm, "test").groupby("shot")))
            line |= {f"{SELECTED_ON_TEST} {g}": spread(second[g]["rmse"]) if second else "–" for g in GROUPS}
        lines.append(line | {title: spread(shots["all"][metric]) for title, metric in OTHERS.items()})
    counts = _test_rows(study, "constant").set_index("shot")["count"]
    sizes = ", ".join(f"{int(counts[group]):,} {group}" for group in GROUPS)
    images = len(next(iter(study.sums.values())))
    also = f", in the columns {SELECTED_ON_TEST} on the test set itself, as in the paper's Table 2" if twice else ""
    note = (
        f"RMSE and MAE in m, mean ± standard deviation over seeds, on {sizes} pixels of {images} test images; the "
        f"epoch is the one with the lowest error on the validation set{also}. δk: share of pixels within a factor "
        "of 1.25^k. constant, median: of the training pixels; pixel_mean: of every pixel the mean over the training "
        "images."
    )
    frame = pd.DataFrame(lines)
    console = frame[["arm", "seeds", *(f"RMSE {group}" for group in GROUPS), "MAE", "δ1"]]
    return Table(f"Test errors on {study.name}", note, frame, console)


def _candidates(study: DepthStudy) -> list[Table]:
    shared = study.config["run"]
    configs = {arm: {**shared, **own} for arm, own in study.config["arms"].items()}
    rows = study.rows[(study.rows["shot"] == "all") & (study.rows["selected_on"] == "val")]
    rest = "The other tables show that one under the name of its arm."
    return candidate_table(configs, rows, study.chosen, "rmse", rest)


def error_groups(study: DepthStudy) -> list[Group]:
    """The squared errors of all arms and trivial predictors on every test image, a frame per group of pixels.

    The rows have arm, seed, image and error, the image's share in the MSE (m²); trivial predictors have every seed.
    """
    found = []
    for group in GROUPS:
        pieces = []
        for arm in (*study.configs, *TRIVIAL):
            for seed in study.seeds(arm):
                errors = squared_errors(study.sums[study.of(arm, seed)], group)
                piece = pd.DataFrame({"arm": arm, "seed": seed, "image": np.arange(len(errors)), "error": errors})
                pieces.append(piece)
        found.append(Group({"group": group}, pd.concat(pieces, ignore_index=True)))
    return found


def rmse_difference(effect: Effect) -> tuple[float, Interval]:
    """The difference of the roots of both MSEs over all pairs, and its interval.

    a − b = (a² − b²) / (a + b): the interval is that of the MSE, over the sum of both roots.
    """
    difference, ends = effect.difference
    roots = sum(float(np.sqrt(effect.pairs[name].mean())) for name in ("arm", "baseline"))
    return difference / roots, Interval(ends.low / roots, ends.high / roots)


def _pairs(study: DepthStudy) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """The titles and the pairs (arm, baseline) of the tables of differences."""
    configs = study.configs
    yield "Against reg", [(arm, "reg") for arm in configs if arm != "reg" and "reg" in configs]
    controls = {arm: control_of(arm, configs).get("no head", "reg") for arm in configs}
    without = [(arm, control) for arm, control in controls.items() if control != "reg"]
    yield "Against the same training without the auxiliary head", without
    schedule = operator.itemgetter("epochs", "batch_size", "accumulate", "boundaries")
    plain = configs.get(UPSTREAM)
    same = [arm for arm, config in configs.items() if plain and arm != UPSTREAM and schedule(config) == schedule(plain)]
    yield "Against reg as the baselines' authors train it", [(arm, UPSTREAM) for arm in same]
    yield "Against the mean of every pixel", [(arm, "pixel_mean") for arm in configs]


def difference_tables(study: DepthStudy) -> list[Table]:
    """Paired differences of the test RMSE: against reg, the controls of each arm, and the mean of every pixel."""
    note = (
        "Difference of the test RMSE (m; negative: the arm is better) over the test images and the seeds that both "
        "have, with the 95 % interval over seeds and test images (crossed variance components with Satterthwaite's t, "
        "of the MSE, over the sum of both RMSE; no interval for one seed)."
    )
    groups = error_groups(study)
    tables: list[Table] = []
    for title, pairs in _pairs(study):
        lines: dict[str, dict[str, str]] = {}
        for effect in effects(QUESTION, groups, pairs) if pairs else ():
            seeds = str(effect.pairs["seed"].nunique())
            line = {"arm": label(effect.arm), "baseline": label(effect.baseline), "seeds": seeds}
            line = lines.setdefault(effect.arm, line)
            mean, ends = rmse_difference(effect)
            line[effect.names["group"]] = f"{number(mean, sign=True)} {interval(ends)}" if np.isfinite(mean) else "–"
        if not lines:
            continue
        frame = pd.DataFrame(lines.values())
        tables.append(Table(title, "Made as the table before." if tables else note, frame, frame))
    return tables


def published_table(study: DepthStudy) -> Table:
    """The published RMSE of NYUD2-DIR beside ours, one line per arm, source and selection."""
    lines = []
    for (source, arm, selected_on), part in published_nyud2().groupby(["source", "arm", "selected_on"], sort=False):
        line = {"arm": label(arm), "source": source, "epoch by": {"val": "validation", "test": "test"}[selected_on]}
        stated, own = part.set_index("shot"), _test_rows(study, arm, selected_on)
        for shot in GROUPS:
            theirs = "–"
            if shot in stated.index:
                mean, std = stated.loc[shot, "mean"], stated.loc[shot, "std"]
                theirs = number(mean) + (f" ± {number(std)}" if np.isfinite(std) else "")
            line[f"{shot}, published"] = theirs
            line[f"{shot}, here"] = spread(own.loc[own["shot"] == shot, "rmse"]) if len(own) else "–"
        lines.append(line)
    note = (
        "RMSE (m) of Tables 2 and 4 of the paper (mean ± standard deviation over 3 repetitions) and of the READMEs of "
        "the baselines' own code (Yang et al.: LDS, FDS; Ren et al.: Balanced MSE), which select on the test set. A "
        "dash: not published, or not trained here. Those authors train on all images, also on the fifth of the scenes "
        "that validates here."
    )
    if not any(config["init_from"] for config in study.configs.values()):
        note += " **Trained from random weights here; all published numbers start from ImageNet's.**"
    return Table("Published numbers", note, pd.DataFrame(lines), None)


def depth_tables(study: DepthStudy) -> list[Table]:
    """All tables of a depth study."""
    published = [published_table(study)] if study.name == "nyud2" else []
    return [test_table(study), *_candidates(study), *difference_tables(study), *published]
