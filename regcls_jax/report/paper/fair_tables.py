"""The tables of fair tuning: test MSE of the picks, paired comparisons, what was picked, and what the budget does."""

import numpy as np
import pandas as pd

from regcls_jax.report import tables
from regcls_jax.report.effects import TOO_NARROW, TWO_WAY, Effect, effect_lines, effects_table
from regcls_jax.report.paper import fair
from regcls_jax.report.paper.edges import edge
from regcls_jax.report.paper.fair import BASELINE, FINE, PICKED_ON, SELECTION
from regcls_jax.report.statistics import finite_mean
from regcls_jax.report.tables import Slider, Table, label, number
from regcls_jax.report.verdicts import TWO_WAY as INTERVALS
from regcls_jax.report.verdicts import loss_verdict

Trivial = dict[tuple[str, ...], dict[str, str]]
LARGE_LAMBDA = 1e3  # the published λ of the noisy data


def _trivial(rows: pd.DataFrame) -> Trivial:
    """The cells constant and median of every group: their mean test MSE."""
    test = rows[(rows["split"] == "test") & rows["arm"].isin(tables.TRIVIAL)]
    return {
        tuple(names.values()): {arm: number(finite_mean(part.loc[part["arm"] == arm, "mse"])) for arm in tables.TRIVIAL}
        for names, part in fair.groups(test)
    }


def _pooled_lines(frame: pd.DataFrame) -> pd.Series:
    """Which lines are for a console: what pools most, uniform against imbalanced."""
    return (frame["scenario"] == frame["scenario"].iloc[0]) & frame["sampling"].isin(fair.TWO)


def _lost(picks: dict[str, pd.DataFrame], runs: pd.DataFrame) -> str:
    """How many trainings diverged, and for how many data sets nothing was left to pick, per arm."""
    diverged = ~np.isfinite(runs["validation"]) | ~np.isfinite(runs["mse"])
    by_arm = diverged.groupby(runs["arm"]).agg(["sum", "size"])
    text = [f"{label(arm)} {lost:,} of {size:,}" for arm, lost, size in by_arm.itertuples()]
    none = [
        f"{int(np.isinf(part['validation']).sum())} of {len(part)} ({PICKED_ON[on]}, {label(arm)})"
        for on, picked in picks.items()
        for arm, part in picked.groupby("arm")
        if np.isinf(part["validation"]).any()
    ]
    return f"Diverged trainings: {'; '.join(text)}. Data sets on which an arm has no pick: {'; '.join(none) or 'none'}."


def _means_table(picks: dict[str, pd.DataFrame], runs: pd.DataFrame, trivial: Trivial, budget: int) -> Table:
    lines = []
    for on, picked in picks.items():
        for names, part in fair.groups(picked):
            line = {"picked on": PICKED_ON[on], **names}
            means = {label(arm): number(finite_mean(mse)) for arm, mse in part.groupby("arm")["mse"]}
            data_sets = {"data sets": str(len(part.drop_duplicates(fair.DATA_SET)))}
            lines.append(line | data_sets | means | trivial[tuple(names.values())])
    frame = pd.DataFrame(lines)
    note = (
        f"Mean test MSE of the pick: per data set and arm, {budget} trainings each, the one with the lowest MSE on the "
        "validation set of the training's own sampling (own val) or of the uniform sampling (uniform val). Oracle: "
        "picked on the test set itself, which nobody can; a bound on what tuning gives, not a result. On the uniform "
        f"sampling both validation sets are the same. {_lost(picks, runs)}"
    )
    return Table("Test MSE after fair tuning", note, frame, frame[_pooled_lines(frame)])


def _comparisons_table(picks: dict[str, pd.DataFrame], trivial: Trivial) -> list[Table]:
    def more(effect: Effect) -> dict[str, str]:
        return {
            "difference": fair.precise(effect.result.difference),
            "difference, two-way 95 %": fair.precise_interval(effect.result.two_way),
            "median difference": fair.precise(fair.median_difference(effect.pairs)),
            "verdict": fair.verdict(effect.result.two_way),
            **trivial[tuple(effect.names.values())],
        }

    found = {on: fair.comparisons(picks[on]) for on in SELECTION}
    answers = [fair.answer(of_split, on) for on, of_split in found.items()]
    frame = pd.concat([effect_lines(of_split, more=more) for of_split in found.values()], ignore_index=True)
    if frame.empty:
        return []
    frame.insert(0, "picked on", [PICKED_ON[on] for on, of_split in found.items() for _ in of_split])
    post_hoc = (
        f"{label(FINE)} is post hoc: the arm was added after the result of the other three was seen."
        if label(FINE) in set(frame["arm"])
        else ""
    )
    note = "\n\n".join(
        [
            *filter(None, [*answers, post_hoc]),
            "Test MSE of the picks, paired by function, repetition and seed. The verdict is about the two-way "
            f"interval. {TWO_WAY}; {TOO_NARROW}. Constant and median: their test MSE.",
        ]
    )
    return effects_table("What classification is worth after fair tuning", note, frame, _pooled_lines(frame))


def _shares(values: pd.Series, decades: float = 0.0) -> str:
    """The share of every value; positive ones are rounded to a power of ten in steps of `decades`, unless that is 0."""
    if decades:
        exponents = (np.log10(values.where(values > 0)) / decades).round() * decades
        # One digit: half a decade is 3.
        values = (10.0**exponents).map("{:.0e}".format).astype(float).fillna(0.0)
    shares = values.map("{:g}".format).value_counts(normalize=True).sort_index(key=lambda texts: texts.astype(float))
    return ", ".join(f"{value}: {100 * share:.0f} %" for value, share in shares.items())


def _settings(runs: pd.DataFrame) -> pd.DataFrame:
    """What is reported of the settings of runs, under the signs that the column `at the edge` uses."""
    decay = runs["weight_decay"] / runs["scale"]
    return pd.DataFrame({"lr": runs["learning_rate"], "decay": decay, "λ": runs["lam"], "classes": runs["classes"]})


def _edge_shares(picked: pd.DataFrame, tried: pd.DataFrame) -> str:
    """The share of picks at either end of each setting's range; both frames as from `_settings`."""
    found = []
    for name in picked:
        marks = edge(picked[name], tried[name])
        found += [f"{name}{sign} {100 * share:.0f} %" for sign in "−+" if (share := (marks == sign).mean()) > 0]
    return ", ".join(found) or "–"


def _large_lambdas(picks: dict[str, pd.DataFrame]) -> str:
    """A sentence on how often the class loss was made to outweigh the squared error, on the imbalanced samplings."""
    shares = []
    for on in SELECTION:
        made = picks[on][np.isfinite(picks[on]["validation"]) & (picks[on]["classes"] > 0)]
        large = made[made["sampling"] != "uniform"].assign(large=lambda lines: lines["lam"] >= LARGE_LAMBDA)
        for arm, share in large.groupby("arm")["large"].mean().items():
            shares.append(f"{label(arm)} {100 * share:.0f} % ({PICKED_ON[on]})")
    if not shares:
        return ""
    return f" Of the picks on imbalanced samplings, λ is at least {LARGE_LAMBDA:g} in: {', '.join(shares)}."


def _settings_table(picks: dict[str, pd.DataFrame], runs: pd.DataFrame, trivial: Trivial) -> Table:
    tried = {arm: _settings(part) for arm, part in runs.groupby("arm")}
    lines = []
    for on in SELECTION:
        for names, part in fair.groups(picks[on]):
            if names["sampling"] not in fair.TWO:
                continue
            for arm, picked in tables.in_order(part, ["arm"]).groupby("arm", sort=False):
                made = _settings(picked[np.isfinite(picked["validation"])])
                line = {"picked on": PICKED_ON[on], **names, "arm": label(arm)}
                line["learning rate"] = _shares(made["lr"], 0.5)
                line["decay / scale"] = _shares(made["decay"], 1.0)
                line["λ"] = _shares(made["λ"], 1.0)
                line["classes"] = _shares(made["classes"])
                line["at the edge"] = _edge_shares(made, tried[arm])
                line["test MSE"] = number(finite_mean(picked["mse"]))
                lines.append(line | trivial[tuple(names.values())])
    note = (
        "Share of data sets on which a value was picked, rounded to half a decade (learning rate) or a decade "
        "(decay / scale, λ). Under Adam with coupled decay only decay / scale matters. reg has no λ of its own (1) and "
        "no classes (0). At the edge: share of picks with the smallest (−) or largest (+) value that the arm tried; "
        "where it is large, the grid does not bracket the optimum. A decay of 0 is no edge: nothing lies below it."
        f"{_large_lambdas(picks)} Constant and median: their test MSE."
    )
    return Table("Which settings were picked", note, pd.DataFrame(lines), None)


def _shown(budget: int) -> list[int]:
    return [*(2**power for power in range(budget.bit_length()) if 2**power < budget), budget]


def _budget_tables(rows: pd.DataFrame, trivial: Trivial) -> list[Table]:
    means, differences = [], []
    for on in SELECTION:
        curves = fair.budget_curves(rows, on)
        shown = _shown(curves.columns[-1])
        for names, part in fair.widest_groups(curves.reset_index()):
            part = part.set_index(curves.index.names)
            line, beside = {"picked on": PICKED_ON[on], **names}, trivial[tuple(names.values())]
            levels = fair.curve_means(part)[shown]
            for arm in tables.in_order(levels.reset_index(), ["arm"])["arm"]:
                name = line | {"arm": label(arm)}
                numbers = {f"{b} runs": number(levels.loc[arm, b]) for b in shown}
                means.append(name | numbers | beside)
                if arm != BASELINE:
                    found = fair.curve_differences(part[shown], arm)
                    cells = {
                        f"{b} runs": f"{number(at.difference, sign=True)} {tables.interval(at)}"
                        for b, at in zip(shown, found.itertuples(), strict=True)
                    }
                    differences.append(name | cells | beside)
    note = (
        "The expected test MSE of the pick had only so many of the runs been trained: exact, over all subsets of that "
        "size. The last column is the study itself. Constant and median: their test MSE."
    )
    slider = Slider("budget", tuple(f"{budget} runs" for budget in shown))
    made = [Table("Test MSE over the budget", note, pd.DataFrame(means), None, slider)]
    if differences:
        frame = pd.DataFrame(differences)
        note = f"Arm − {label(BASELINE)} at equal budgets, with the two-way 95 % interval. {note}"
        title = f"Difference from {label(BASELINE)} over the budget"
        made.append(Table(title, note, frame, frame[_pooled_lines(frame)], slider))
    return made


def fair_tables(rows: pd.DataFrame) -> list[Table]:
    """All tables of the study.

    Args:
      rows: its rows of the splits val, val_balanced and test.

    Raises:
      ValueError: a split or reg is missing, budgets differ, or picks do not pair up.
    """
    picks = {on: fair.select(rows, on) for on in PICKED_ON}
    runs = fair.candidates(rows, SELECTION[0])
    trivial = _trivial(rows)
    budget = len(runs) // len(picks["test"])
    made = [*_comparisons_table(picks, trivial), _means_table(picks, runs, trivial, budget)]
    return [*made, _settings_table(picks, runs, trivial), *_budget_tables(rows, trivial)]


def fair_verdict(rows: pd.DataFrame) -> str:
    """What reg+cls is worth where every arm was tuned with the same budget, picked on the training's own sampling.

    Args:
      rows: as `fair_tables`.
    """
    picks = fair.select(rows, SELECTION[0]).assign(classes=0)
    trivial = rows[(rows["split"] == "test") & rows["arm"].isin(tables.TRIVIAL)]
    note = f"every arm tuned with the same budget, picked on {PICKED_ON[SELECTION[0]]}; {INTERVALS}"
    return loss_verdict(pd.concat([picks, trivial]), (BASELINE, fair.FINE), note)
