"""The numbers the authors published, aggregated small enough to ship.

`numbers/fig3.csv` is `aggregate_fig3` of the authors' released per-run logs behind Fig. 3 (3,000 runs:
10 functions × 5 repetitions × 4 samplings × 5 class counts × 3 scenarios). Their rows are not reproducible
one by one, because the released code is not the one that wrote them (recipes 4.1-16): compare distributions.
`numbers/tab1.csv` is Table 1 as printed; the released code cannot make it (recipes 4.1-12).
`numbers/imdb_wiki.csv` is Table 3 and the age half of Table 4 as printed, and the numbers that the authors of LDS,
FDS and Balanced MSE give (recipes 2.17); `numbers/agedb.csv` what authors give for AgeDB-DIR; `numbers/nyud2.csv`
likewise Table 2 and the depth half of Table 4; `numbers/tab5.csv` Table 5 as printed.
"""

from importlib import resources

import numpy as np
import pandas as pd

from regcls_jax.report.statistics import shading

SCENARIOS = ("clean", "noisy", "ood")
SAMPLINGS = ("uniform", "mild", "moderate", "severe")
CELL = ["scenario", "sampling"]


def sort_cells(frame: pd.DataFrame) -> pd.DataFrame:
    """Orders lines as the paper's panels (scenario, `noise` if there, sampling, `classes` if there), renumbered.

    Raises:
      ValueError: a scenario or sampling that Fig. 3 does not have.
    """
    keys = []
    for name, known in zip(CELL, (SCENARIOS, SAMPLINGS), strict=True):
        if unknown := sorted(set(frame[name]) - set(known)):
            raise ValueError(f"Unknown {name} {unknown[0]!r}: Fig. 3 has {', '.join(known)}.")
        keys.append(frame[name].map(known.index))
    if "noise" in frame:
        keys.insert(1, frame["noise"])
    if "classes" in frame:
        keys.append(frame["classes"])
    return frame.iloc[np.lexsort(keys[::-1])].reset_index(drop=True)


def aggregate_fig3(runs: pd.DataFrame) -> pd.DataFrame:
    """Aggregates the released runs per cell and class count.

    Args:
      runs: one line per run with scenario, sampling, function, repetition, num_classes, reg_test_mse and
        reg_cls_test_mse (the authors trained a new reg for every class count).

    Returns:
      scenario, sampling, classes, n, wins and win_rate of reg+cls (strictly lower MSE), and for reg and
      reg_cls the mean, std (ddof 1), median and the shading of the published plot.
    """
    lines = []
    for (scenario, sampling, classes), part in runs.groupby([*CELL, "num_classes"]):
        wins = int((part["reg_cls_test_mse"] < part["reg_test_mse"]).sum())
        line = {"scenario": scenario, "sampling": sampling, "classes": classes, "n": len(part)}
        line |= {"wins": wins, "win_rate": wins / len(part)}
        for arm in ("reg", "reg_cls"):
            mse = part[f"{arm}_test_mse"]
            line |= {f"{arm}_mean": mse.mean(), f"{arm}_std": mse.std(), f"{arm}_median": mse.median()}
            line[f"{arm}_shading"] = shading(mse, part["function"], "paper")
        lines.append(line)
    return sort_cells(pd.DataFrame(lines)).round(8)  # the logs have six digits


def _shipped(name: str) -> pd.DataFrame:
    with resources.files("regcls_jax.report.paper").joinpath(f"numbers/{name}").open(encoding="utf-8") as file:
        return pd.read_csv(file, comment="#")


def published_fig3() -> pd.DataFrame:
    """The shipped aggregate of the published runs: the columns of `aggregate_fig3`, 60 lines."""
    return _shipped("fig3.csv")


def published_table1() -> pd.DataFrame:
    """Table 1 of the paper, 16 lines: scenario, sampling, arm (reg_cls or reg_cls_bal), percent of runs won."""
    return _shipped("tab1.csv")


# The files of the data sets of ages with published numbers.
AGES = {"imdb_wiki_dir": "imdb_wiki.csv", "agedb_dir": "agedb.csv"}


def published_ages(dataset: str) -> pd.DataFrame:
    """Published test errors on a data set of AGES, in years: source, arm, metric (mae, mse, bmae), shot, mean, std.

    One line per number; std (over 3 repetitions) is NaN where none is given.
    """
    return _shipped(AGES[dataset])


def published_nyud2() -> pd.DataFrame:
    """Published test RMSE on NYUD2-DIR (m): source, arm, selected_on (val or test), shot, mean, std; as above."""
    return _shipped("nyud2.csv")


def published_table5() -> pd.DataFrame:
    """Table 5 of the paper: target (of the rows), arm, fold, mean and std over tasks, in % or frames."""
    return _shipped("tab5.csv")
