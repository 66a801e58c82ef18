"""Table 1: how often reg+cls beats reg, whatever lambda is, with imbalanced and with balanced classes."""

import numpy as np
import pandas as pd

from regcls_jax.report import tables
from regcls_jax.report.effects import TWO_WAY
from regcls_jax.report.paper.fig4 import CLASS_ARMS, VALIDATION, fig4_tables
from regcls_jax.report.paper.published import CELL, published_table1
from regcls_jax.report.statistics import FACTORS, KEYS, paired, rate_interval, win_rate, won
from regcls_jax.report.tables import Table, percent, share_interval

BASELINES = {"reg": "reg", "reg_x_lambda": "reg×λ"}
CLASSES = {"reg_cls": "imbalanced", "reg_cls_bal": "balanced"}
AVERAGE = "avg"


def pairs_over_lambda(rows: pd.DataFrame, arm: str, baseline: str) -> pd.DataFrame:
    """Pairs the runs of an arm, at every lambda, with those of a baseline (`statistics.paired`).

    Args:
      rows: rows of one split.
      arm: an arm with a grid of lambda.
      baseline: reg_x_lambda is paired at the arm's lambda; another has one lambda, which serves them all.

    Returns:
      The columns of `paired`, and `lam` of the arm.
    """
    partners = rows[rows["arm"] == baseline]
    pieces = []
    for lam, part in rows[rows["arm"] == arm].groupby("lam"):
        same = partners[partners["lam"] == lam] if baseline == "reg_x_lambda" else partners
        pieces.append(paired(pd.concat([part, same]), arm, baseline).assign(lam=lam))
    return pd.concat(pieces, ignore_index=True)


def win_rates(pairs: pd.DataFrame) -> pd.DataFrame:
    """Win rates per scenario and sampling, and pooled over the samplings.

    Args:
      pairs: what `pairs_over_lambda` returns.

    Returns:
      scenario, sampling ("avg": all), n, rate, and its 95 % intervals: wilson, and two_way, that over
      functions and repetitions. Shares.
    """
    lines = []
    both = pd.concat([pairs, pairs.assign(sampling=AVERAGE)])
    for (scenario, sampling), part in both.groupby(CELL):
        errors = part["arm"].to_numpy(float), part["baseline"].to_numpy(float)
        _, rate, wilson = win_rate(*errors)
        two_way = rate_interval(won(*errors), [part[name].to_numpy() for name in FACTORS])
        lines.append({"scenario": scenario, "sampling": sampling, "n": len(part), "rate": rate})
        lines[-1] |= {"wilson": wilson, "two_way": two_way}
    return pd.DataFrame(lines, columns=[*CELL, "n", "rate", "wilson", "two_way"])


def table1(rows: pd.DataFrame) -> pd.DataFrame:
    """Table 1 from the rows of one validation split, beside the paper's.

    Returns:
      One line per arm (reg_cls, reg_cls_bal), scenario and sampling ("avg": pooled), with n; what `win_rates` returns,
      against each baseline: with the suffixes `_reg` and `_reg_x_lambda`, the rate also with `_without_1` where lambda
      = 1 is left out as in the caption; published; and how often the trivial predictors beat reg: constant, median.
    """
    pieces = []
    for arm in CLASS_ARMS:
        if arm not in set(rows["arm"]):
            continue
        columns = []
        for baseline in BASELINES:
            pairs = pairs_over_lambda(rows, arm, baseline)
            columns.append(win_rates(pairs).set_index(CELL).add_suffix(f"_{baseline}"))
            without = win_rates(pairs[pairs["lam"] != 1]).set_index(CELL)
            columns.append(without["rate"].rename(f"rate_{baseline}_without_1"))
        piece = pd.concat(columns, axis=1).join(_published(rows, arm)).join(_trivial_rates(rows))
        pieces.append(piece.reset_index().assign(arm=arm))
    frame = pd.concat(pieces, ignore_index=True)
    frame["n"] = frame["n_reg"]
    return tables.in_order(frame, ["arm", *CELL])


def _published(rows: pd.DataFrame, arm: str) -> pd.Series:
    """The paper's shares for an arm; its average is that of the samplings that we ran."""
    theirs = published_table1()
    theirs = theirs[(theirs["arm"] == arm) & theirs["sampling"].isin(rows["sampling"])]
    theirs = pd.concat([theirs, theirs.assign(sampling=AVERAGE)])
    return theirs.groupby(CELL)["percent"].mean().rename("published") / 100


def _trivial_rates(rows: pd.DataFrame) -> pd.DataFrame:
    """How often the trivial predictors beat reg: they have no seed and no lambda to be paired on."""
    keys = [key for key in KEYS if key != "seed"]
    pairs = {arm: paired(rows, arm, "reg", keys) for arm in tables.TRIVIAL}
    return pd.DataFrame({arm: win_rates(part).set_index(CELL)["rate"] for arm, part in pairs.items()})


def _exact(share: float) -> str:
    return f"{100 * share:.2f}" if np.isfinite(share) else "–"


def _text(split: str, shares: pd.DataFrame) -> Table:
    frame = shares[CELL].copy()
    frame.insert(0, "classes", shares["arm"].map(CLASSES))
    frame["runs"] = shares["n"].astype(str)
    for baseline, name in BASELINES.items():
        frame[f"vs {name} %"] = shares[f"rate_{baseline}"].map(_exact)
        if baseline == "reg":
            frame["publ. %"] = shares["published"].map(_exact)
        frame[f"Wilson 95 % ({name})"] = shares[f"wilson_{baseline}"].map(share_interval)
        frame[f"two-way 95 % ({name})"] = shares[f"two_way_{baseline}"].map(share_interval)
    for baseline, name in BASELINES.items():
        frame[f"vs {name} %, λ ≠ 1"] = shares[f"rate_{baseline}_without_1"].map(_exact)
    for arm in tables.TRIVIAL:
        frame[arm] = shares[arm].map(percent)
    note = (
        f"Share of runs, over functions, repetitions, class counts and λ, with a lower MSE than the baseline on "
        f"{VALIDATION[split]}. reg has λ = 1; reg×λ has the λ of the run it is paired with, so it shows what is left "
        "when the baseline gets the same λ. The text counts eight λ, the caption seven (λ ≠ 1); the published "
        "percentages are whole numbers of 1,200 runs, which is eight. Wilson takes the pairs as independent, which "
        "runs sharing a function, a repetition or their baseline are not, and is too narrow. "
        f"{TWO_WAY}. Constant and median: how often these predictors beat reg, %."
    )
    short = frame.drop(columns=[f"Wilson 95 % ({name})" for name in BASELINES.values()])
    return Table(f"Table 1 on {split}", note, frame, short)


def tab1_tables(rows: pd.DataFrame) -> list[Table]:
    """Table 1 on either validation set, then the tables of Fig. 4.

    Args:
      rows: the study's rows of the splits val, val_balanced and test.

    Raises:
      ValueError: runs that should pair up do not.
    """
    made = [_text(split, table1(rows[rows["split"] == split])) for split in VALIDATION]
    return made + fig4_tables(rows)
