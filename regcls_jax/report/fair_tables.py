"""The tables of fair tuning: test MSE of the picks, paired comparisons, what was picked, and what the budget does."""

import numpy as np
import pandas as pd

from regcls_jax.report import fair, tables
from regcls_jax.report.fair import BASELINE, PICKED_ON, POOLED, SELECTION
from regcls_jax.report.statistics import finite_mean
from regcls_jax.report.tables import Table, label, number

Trivial = dict[tuple[str, str], dict[str, str]]


def _trivial(rows: pd.DataFrame) -> Trivial:
    """The cells constant and median of every group: their mean test MSE."""
    test = rows[(rows["split"] == "test") & rows["arm"].isin(tables.TRIVIAL)]
    return {
        (scenario, sampling): {arm: number(finite_mean(part.loc[part["arm"] == arm, "mse"])) for arm in tables.TRIVIAL}
        for scenario, sampling, part in fair.groups(test)
    }


def _pooled_lines(frame: pd.DataFrame) -> pd.DataFrame:
    """The lines for a console: what pools most, uniform against imbalanced."""
    widest = frame["scenario"].iloc[0]
    return frame[(frame["scenario"] == widest) & frame["sampling"].isin(["uniform", POOLED])]


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
        for scenario, sampling, part in fair.groups(picked):
            line = {"picked on": PICKED_ON[on], "scenario": scenario, "sampling": sampling}
            means = {label(arm): number(finite_mean(mse)) for arm, mse in part.groupby("arm")["mse"]}
            data_sets = {"data sets": str(len(part.drop_duplicates(fair.DATA_SET)))}
            lines.append(line | data_sets | means | trivial[scenario, sampling])
    frame = pd.DataFrame(lines)
    note = (
        f"Mean test MSE of the pick: per data set and arm, {budget} trainings each, the one with the lowest MSE on the "
        "validation set of the training's own sampling (own val) or of the uniform sampling (uniform val). Oracle: "
        "picked on the test set itself, which nobody can; a bound on what tuning gives, not a result. On the uniform "
        f"sampling both validation sets are the same. {_lost(picks, runs)}"
    )
    return Table("Test MSE after fair tuning", note, frame, _pooled_lines(frame))


def _comparisons_table(picks: dict[str, pd.DataFrame], trivial: Trivial) -> list[Table]:
    lines, answers = [], []
    for on in SELECTION:
        found = fair.comparisons(picks[on])
        answers.append(fair.answer(found, on))
        for scenario, sampling, arm, baseline, result in found:
            line = {"picked on": PICKED_ON[on], "scenario": scenario, "sampling": sampling}
            line |= {"arm": label(arm), "baseline": label(baseline)} | tables.comparison_cells(result)
            lines.append(line | {"verdict": fair.verdict(result.two_way)} | trivial[scenario, sampling])
    if not lines:
        return []
    frame = pd.DataFrame(lines)
    note = "\n\n".join(
        [
            *filter(None, answers),
            "Test MSE of the picks, paired by function, repetition and seed. The verdict is about the two-way "
            "bootstrap over functions and repetitions, which runs share; the other intervals take pairs as independent "
            "and are too narrow. Constant and median: their test MSE.",
        ]
    )
    short = _pooled_lines(frame).drop(columns=["paired bootstrap 95 %", "Wilson 95 %"])
    return [Table("What classification is worth after fair tuning", note, frame, short)]


def _shares(values: pd.Series) -> str:
    shares = values.map("{:g}".format).value_counts(normalize=True).sort_index(key=lambda texts: texts.astype(float))
    return ", ".join(f"{value}: {100 * share:.0f} %" for value, share in shares.items())


def _settings_table(picks: dict[str, pd.DataFrame], trivial: Trivial) -> Table:
    lines = []
    for on in SELECTION:
        for scenario, sampling, part in fair.groups(picks[on]):
            if sampling not in ("uniform", POOLED):
                continue
            for arm, picked in tables.in_order(part, ["arm"]).groupby("arm", sort=False):
                made = picked[np.isfinite(picked["validation"])]
                line = {"picked on": PICKED_ON[on], "scenario": scenario, "sampling": sampling, "arm": label(arm)}
                line["learning rate"] = _shares(made["learning_rate"])
                line["decay / scale"] = _shares(made["weight_decay"] / made["scale"])
                line["λ"] = _shares(made["lam"])
                line["classes"] = _shares(made["classes"])
                line["test MSE"] = number(finite_mean(picked["mse"]))
                lines.append(line | trivial[scenario, sampling])
    note = (
        "Share of data sets on which a value was picked. Under Adam with coupled decay only decay / scale matters. "
        "reg has no λ of its own (1) and no classes (0). Constant and median: their test MSE."
    )
    return Table("Which settings were picked", note, pd.DataFrame(lines), None)


def _shown(budget: int) -> list[int]:
    return [*(2**power for power in range(budget.bit_length()) if 2**power < budget), budget]


def _budget_tables(rows: pd.DataFrame, trivial: Trivial) -> list[Table]:
    means, differences = [], []
    for on in SELECTION:
        curves = fair.budget_curves(rows, on)
        shown = _shown(curves.columns[-1])
        for scenario, sampling, part in fair.widest_groups(curves.reset_index()):
            part = part.set_index(curves.index.names)
            line = {"picked on": PICKED_ON[on], "scenario": scenario, "sampling": sampling}
            levels = fair.curve_means(part)[shown]
            for arm in tables.in_order(levels.reset_index(), ["arm"])["arm"]:
                name = line | {"arm": label(arm)}
                numbers = {f"{b} runs": number(levels.loc[arm, b]) for b in shown}
                means.append(name | numbers | trivial[scenario, sampling])
                if arm != BASELINE:
                    found = fair.curve_differences(part[shown], arm)
                    cells = {
                        f"{b} runs": f"{number(at.difference, sign=True)} {tables.interval(at)}"
                        for b, at in zip(shown, found.itertuples(), strict=True)
                    }
                    differences.append(name | cells | trivial[scenario, sampling])
    note = (
        "The expected test MSE of the pick had only so many of the runs been trained: exact, over all subsets of that "
        "size. The last column is the study itself. Constant and median: their test MSE."
    )
    made = [Table("Test MSE over the budget", note, pd.DataFrame(means), None)]
    if differences:
        frame = pd.DataFrame(differences)
        note = f"Arm − {label(BASELINE)} at equal budgets, with the two-way 95 % bootstrap interval. {note}"
        made.append(Table(f"Difference from {label(BASELINE)} over the budget", note, frame, _pooled_lines(frame)))
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
    return [*made, _settings_table(picks, trivial), *_budget_tables(rows, trivial)]
