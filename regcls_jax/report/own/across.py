"""Which arm does best over several tables: changes against plain regression, mean ranks and their critical difference.

A problem is one target of one table; its errors are means over its test folds, each of the setting that validation
chose (see `scores`).
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from regcls_jax.imbalance import unevenness
from regcls_jax.report.build import TABLES, build
from regcls_jax.report.own.scores import NETWORKS, OF_SHOTS, PLAIN, Scores
from regcls_jax.report.own.tables import read_scores, shown_arms, targets_of
from regcls_jax.report.statistics import LEVEL, Interval, mean_interval, of_log_ratios
from regcls_jax.report.tables import TRIVIAL, Report
from regcls_jax.store.files import read_json
from regcls_jax.store.groups import GROUPS_FILE, GroupResults
from regcls_jax.store.rows import AGAIN, read_file

COLUMNS = ("problem", "imbalance", "target", "repetition", "fold", "arm", "kind", "mae", "rare_mae")
BESIDES = ("rmse", "balanced_mae", *(name for name in OF_SHOTS if name != "rare_mae"), "rare_n", "of_family")


class Problem(NamedTuple):
    """One target of one table: its name, how uneven its targets are (`imbalance.unevenness`), and its scores."""

    name: str
    imbalance: float
    scores: Scores
    target: str


def _of_report(workdir: Path, report: Report) -> list[Problem]:
    if GROUPS_FILE not in report.besides:
        raise ValueError(f"{workdir}: its arms differ in settings that the report of a table does not know")
    groups = GroupResults(report.besides[GROUPS_FILE], pd.DataFrame())
    found = read_scores(report.rows, groups)
    dataset = Path(str(report.rows["dataset"].iloc[0])).stem
    problems = []
    for target in targets_of(found):
        errors = groups.errors
        once = (errors["target"] == target) & (errors["split"] == "test") & (errors["arm"] == "constant")
        counts = errors[once & (errors["repetition"] == 0)].assign(place=lambda lines: lines["group"].str[:2])
        chosen = found.chosen[found.chosen["target"] == target]
        uneven = unevenness(counts.groupby("place")["n"].sum().to_numpy())
        problems.append(Problem(f"{dataset}: {target}", uneven, Scores(chosen, found.families), target))
    return problems


def _of_export(folder: Path) -> list[Problem]:
    rows = read_file(folder / "rows.csv.gz", COLUMNS, AGAIN)
    problems = []
    for name, own in rows.groupby("problem", sort=False):
        families = own.drop_duplicates("arm").set_index("arm")["kind"].to_dict()
        families = {arm: kind for arm, kind in families.items() if arm not in NETWORKS}
        problems.append(
            Problem(str(name), float(own["imbalance"].iloc[0]), Scores(own, families), own["target"].iloc[0])
        )
    return problems


def read_problems(workdirs: Sequence[str | os.PathLike]) -> list[Problem]:
    """The problems of studies of launch/advise.py, or of an export of several, evenest targets first.

    Raises:
      OSError: a folder holds no study.
      ValueError: a study is not finished or not one of a table, a problem comes twice, or arms differ.
    """
    problems: list[Problem] = []
    for workdir in map(Path, workdirs):
        name = read_json(workdir / "config.json").get("name")
        if name == TABLES:
            problems += _of_export(workdir)
        elif name == "own":
            problems += _of_report(workdir, build(workdir, figures=False))
        else:
            raise ValueError(f"{workdir} holds the study {name!r}; only those of launch/advise.py are compared")
    names = [problem.name for problem in problems]
    if twice := {name for name in names if names.count(name) > 1}:
        raise ValueError(f"{min(twice)} comes twice; give each table once, and tables that differ other file names")
    for problem in problems:
        if problem.scores.families != problems[0].scores.families:
            raise ValueError(
                f"{problem.name} and {problems[0].name} have other arms; compare what the same config made"
            )
    return sorted(problems, key=lambda problem: problem.imbalance)


def rows_of(problems: Sequence[Problem]) -> pd.DataFrame:
    """What `read_problems` reads back, COLUMNS and more: a line per problem, test fold and arm or kind of arms."""
    frames = []
    for problem in problems:
        kinds = {**problem.scores.families, **{family: family for family in problem.scores.kinds}}
        chosen = problem.scores.chosen
        frames.append(chosen.assign(problem=problem.name, imbalance=problem.imbalance, kind=chosen["arm"].map(kinds)))
    found = pd.concat(frames, ignore_index=True)
    return found[[*COLUMNS, *(name for name in BESIDES if name in found)]]


def means(problems: Sequence[Problem], measure: str) -> pd.DataFrame:
    """Mean test errors [problems, arms and kinds] over the folds that have the measure (some may have no rare row).

    NaN where an arm lacks its error on one of these folds, and where no fold has the measure.
    """
    known = [each for each in problems if measure in each.scores.chosen]  # exports of earlier versions have fewer
    by_fold = {each.name: each.scores.of(each.target, measure).dropna(how="all") for each in known}
    return pd.DataFrame({name: errors.mean(skipna=False) for name, errors in by_fold.items()}).T


class Ranks(NamedTuple):
    """`mean` rank of every arm, best first (1: lowest error), over `problems`; `p` of Friedman's test that all are
    alike; `critical`: Nemenyi's difference, below which two mean ranks do not differ at the level of 95 % (NaN for
    fewer than two problems).
    """

    mean: pd.Series
    problems: int
    p: float
    critical: float

    def alike(self) -> list[tuple[int, int]]:
        """The longest stretches of neighbours [first, last] in `mean` that do not differ; none is part of another."""
        if not np.isfinite(self.critical):
            return []
        ranks = self.mean.to_numpy()
        found: list[tuple[int, int]] = []
        for first in range(len(ranks)):
            last = int(np.searchsorted(ranks, ranks[first] + self.critical)) - 1
            if last > first and (not found or last > found[-1][1]):
                found.append((first, last))
        return found


def ranks(problems: Sequence[Problem], measure: str) -> Ranks:
    """Mean ranks of the arms that need training (Demsar 2006), over the problems that have the measure.

    An arm without a finite error on some fold has the last rank there.
    """
    arms = [arm for arm in shown_arms(problems[0].scores) if arm not in TRIVIAL]
    errors = means(problems, measure)[arms].dropna(how="all")
    count, many = errors.shape
    mean = errors.fillna(np.inf).rank(axis=1).mean().sort_values(kind="stable")
    if count < 2 or many < 3:
        return Ranks(mean, count, np.nan, np.nan)
    p = float(stats.friedmanchisquare(*errors.fillna(np.finfo(float).max).to_numpy().T).pvalue)
    width = stats.studentized_range.ppf(LEVEL, many, np.inf) / np.sqrt(2)
    return Ranks(mean, count, p, float(width * np.sqrt(many * (many + 1) / (6 * count))))


class Overall(NamedTuple):
    """The change of an error over all problems: the geometric mean of the ratios less 1, in per cent; its t interval
    over problems, which are taken to be a sample of such tables; and on how many the arm is better.
    """

    mean: float
    interval: Interval
    better: int
    problems: int


def overall(errors: pd.DataFrame, arm: str, baseline: str = PLAIN) -> Overall:
    """An arm, or a kind of arms, against a baseline over the problems on which both have an error, see `means`."""
    both = errors.reindex(columns=[arm, baseline]).dropna()
    ratios = np.log(both[arm] / both[baseline]).to_numpy()
    if not len(ratios):
        return Overall(np.nan, Interval(np.nan, np.nan), 0, 0)
    change = of_log_ratios(float(ratios.mean()), mean_interval(ratios))
    return Overall(*change, int((ratios < 0).sum()), len(ratios))
