"""The tables of the capacity study: what the class loss is worth at the best setting, per size and optimiser."""

from typing import NamedTuple

import numpy as np
import pandas as pd

from regcls_jax.report import tables
from regcls_jax.report.paper.edges import edge
from regcls_jax.report.paper.fair import best_of
from regcls_jax.report.paper.fig4 import VALIDATION
from regcls_jax.report.statistics import FACTORS, Comparison, Interval, compare, finite_mean, mean_difference, paired
from regcls_jax.report.tables import Table, label, number, percent
from regcls_jax.report.verdicts import best_verdict, trivial_levels

PANEL = ["scenario", "sampling", "optimizer", "units"]
SETTING = ["learning_rate", "scale", "lam"]
SYMBOLS = dict(zip(SETTING, ("lr", "s", "λ"), strict=True))
OPTIMIZERS = {"adam": "Adam", "sgd": "SGD"}
ARMS = ("reg", "reg_cls")


class Worth(NamedTuple):
    """reg+cls against reg at their best settings, in one panel; `ends` is the 95 % interval of the difference."""

    panel: tuple[str, str, str, int]
    reg: float
    reg_cls: float
    result: Comparison
    ends: Interval


class EqualBudget(NamedTuple):
    """reg+cls − reg in one panel had both tried only `budget` settings; `ends` is the 95 % interval."""

    panel: tuple[str, str, str, int]
    budget: int
    difference: float
    ends: Interval


def trained_rows(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of reg and reg+cls, with `units`, the size of the last hidden layer.

    An arm may be split by optimiser, because a thinned grid differs between them: reg_sgd is reg, trained with SGD.
    """
    trained = rows[rows["run"] >= 0]
    trained = trained.assign(
        arm=trained["arm"].str.removesuffix("_sgd"),
        # One layer is a number to a reader of CSV, and a float if other rows of the file have none.
        units=trained["hidden"].astype(str).str.rsplit("-", n=1).str[-1].astype(float).astype(int),
    )
    return trained[trained["arm"].isin(ARMS)]


def setting_means(trained: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    """The mean MSE of every setting over all runs that share `by`, arm and setting.

    Args:
      trained: what `trained_rows` returns, of one validation split.
      by: columns, such as PANEL.

    Returns:
      by, arm, SETTING, mse (infinite where a run diverged, so that no such setting is ever the best), diverged (runs).
    """
    lost = ~np.isfinite(trained["mse"])
    trained = trained.assign(mse=trained["mse"].where(~lost, np.inf), diverged=lost)
    return trained.groupby([*by, "arm", *SETTING], as_index=False).agg(
        mse=("mse", "mean"), diverged=("diverged", "sum")
    )


def best_settings(trained: pd.DataFrame) -> pd.DataFrame:
    """The setting of the lowest mean MSE over functions, seeds and class counts, per panel and arm.

    Args:
      trained: what `trained_rows` returns, of one validation split.

    Returns:
      PANEL, arm, SETTING, mse, and of all settings of that arm: settings, lost (with a diverged run), diverged (runs).
      An arm that diverged somewhere at every setting has none and is left out.
    """
    means = setting_means(trained, PANEL)
    by = [*PANEL, "arm"]
    best = means.sort_values("mse", kind="stable").drop_duplicates(by)
    tried = means.groupby(by).agg(
        settings=("mse", "size"), lost=("diverged", np.count_nonzero), diverged=("diverged", "sum")
    )
    best = best.drop(columns="diverged").join(tried, on=by)
    return tables.in_order(best[np.isfinite(best["mse"])], by)


def at_best(trained: pd.DataFrame, best: pd.DataFrame) -> pd.DataFrame:
    """The rows of every panel and arm at the setting that `best_settings` chose for it."""
    keys = [*PANEL, "arm", *SETTING]
    return trained.merge(best[keys], on=keys)


def _factors(pairs: pd.DataFrame) -> tuple[str, ...]:
    """With one repetition there are functions alone that runs share."""
    return FACTORS if pairs["repetition"].nunique() > 1 else FACTORS[:1]


def worth(chosen: pd.DataFrame) -> list[Worth]:
    """reg+cls against reg in every panel that has both, from the test rows at their best settings.

    Raises:
      ValueError: runs that should pair up do not.
    """
    found = []
    for panel in tables.in_order(chosen[PANEL].drop_duplicates(), PANEL).itertuples(index=False, name=None):
        cell = chosen[(chosen[PANEL] == list(panel)).all(axis=1)]
        if set(ARMS) <= set(cell["arm"]):
            pairs = paired(cell, "reg_cls", "reg")
            result = compare(pairs, _factors(pairs))
            reg, reg_cls = (finite_mean(cell.loc[cell["arm"] == arm, "mse"]) for arm in ARMS)
            found.append(Worth(panel, reg, reg_cls, result, result.two_way))
    return found


def _expected_picks(validation: pd.DataFrame, test: pd.DataFrame) -> pd.DataFrame:
    """`fair.best_of` for one arm in one panel: a line per function and repetition, a column per number of settings.

    The settings are picked by their mean over all validation runs, as in `best_settings`; lost ones never are.
    """
    decides = setting_means(validation, PANEL).set_index(SETTING)["mse"]
    errors = test.assign(mse=test["mse"].where(np.isfinite(test["mse"]), np.inf))
    errors = errors.groupby(["function", "repetition", *SETTING])["mse"].mean().unstack(SETTING)
    means = np.broadcast_to(decides.loc[errors.columns], errors.shape)
    expected = best_of(means, errors.to_numpy())
    return pd.DataFrame(expected, errors.index, range(1, expected.shape[1] + 1))


def at_equal_budgets(validation: pd.DataFrame, test: pd.DataFrame) -> list[EqualBudget]:
    """reg+cls against reg in every panel, each picking from as many settings as the smaller grid of the two has.

    The larger grid is the expected pick over all its subsets of that size: what more settings give by chance is out.

    Args:
      validation, test: what `trained_rows` returns, of one validation split and of the test split.
    """
    by = [*PANEL, "arm"]
    validated, tested = (dict(list(part.groupby(by))) for part in (validation, test))
    found = []
    for panel in tables.in_order(test[PANEL].drop_duplicates(), PANEL).itertuples(index=False, name=None):
        if not all((*panel, arm) in part for part in (validated, tested) for arm in ARMS):
            continue
        reg, reg_cls = (_expected_picks(validated[*panel, arm], tested[*panel, arm]) for arm in ARMS)
        budget = min(reg.shape[1], reg_cls.shape[1])
        pairs = pd.DataFrame({"arm": reg_cls[budget], "baseline": reg[budget]}).reset_index()
        found.append(EqualBudget(panel, budget, *mean_difference(pairs, _factors(pairs))))
    return found


def verdict(found: list[Worth] | list[EqualBudget]) -> str:
    """A Markdown list, per scenario, sampling and optimiser: where the interval excludes zero, and which way."""
    groups: dict[tuple[str, str, str], dict[str, list[str]]] = {}
    for each in found:
        (scenario, sampling, optimizer, units), (low, high) = each.panel, each.ends
        sizes = groups.setdefault((scenario, sampling, optimizer), {"better": [], "worse": [], "undecided": []})
        sizes["better" if high < 0 else "worse" if low > 0 else "undecided"].append(str(units))
    lines = []
    for (scenario, sampling, optimizer), sizes in groups.items():
        parts = [f"{verb} at {', '.join(at)}" for verb, at in sizes.items() if at]
        lines.append(f"- {OPTIMIZERS[optimizer]}, {scenario} {sampling}: reg+cls is {', '.join(parts)}.")
    return "\n".join(lines)


def budgets(best: pd.DataFrame) -> str:
    """In words, per optimiser: how many settings each arm tried."""
    tried = best.groupby(["optimizer", "arm"])["settings"].unique().map(lambda counts: "/".join(map(str, counts)))
    texts = []
    for optimizer, arms in tried.groupby("optimizer"):
        counts = [f"{label(arm)} {count}" for (_, arm), count in arms.items()]
        texts.append(f"{OPTIMIZERS[optimizer]}: {', '.join(counts)}")
    return "; ".join(texts)


def _panel_cells(panel: tuple[str, str, str, int]) -> dict[str, str]:
    scenario, sampling, optimizer, units = panel
    return {
        "scenario": scenario,
        "sampling": sampling,
        "optimiser": OPTIMIZERS.get(optimizer, optimizer),
        "hidden": str(units),
    }


def _worth_table(
    found: list[Worth], equal: list[EqualBudget], best: pd.DataFrame, rows: pd.DataFrame, split: str
) -> list[Table]:
    if not found:
        return []
    fair = {each.panel: each for each in equal}
    lines = []
    for panel, reg, reg_cls, result, ends in found:
        line = _panel_cells(panel) | {label("reg"): number(reg), label("reg_cls"): number(reg_cls)}
        line |= {"difference": number(result.difference, sign=True), "95 %": tables.interval(ends)}
        same = fair[panel]
        line |= {"at equal budgets": number(same.difference, sign=True), "95 %, equal": tables.interval(same.ends)}
        line |= {"settings": str(same.budget), "wins %": percent(result.rate)}
        line |= {"Wilson 95 %": tables.share_interval(result.wilson)}
        lines.append(line | {"pairs": str(result.n)})
    frame = pd.DataFrame(lines).join(tables.trivial_text(rows, PANEL[:2]), on=PANEL[:2])
    factors = "functions and repetitions" if rows["repetition"].nunique() > 1 else "functions (one repetition)"
    note = (
        f"Mean test MSE, each arm at the learning rate, s and λ of its lowest mean MSE on {VALIDATION[split]}, chosen "
        f"per sampling, optimiser and size. 95 % of the difference: over {factors}. Where it excludes "
        f"zero, and which way:\n\n{verdict(found)}\n\nThe arms do not try equally many settings ({budgets(best)}), and "
        "the one that tries more finds a lower minimum by chance alone. At equal budgets each picks from as many "
        "settings as the arm with fewer has (column settings; the mean over all subsets of that size):\n\n"
        f"{verdict(equal)}\n\nOne interval in twenty excludes zero by chance. The authors' note: with Adam "
        "classification helps large models, with SGD small ones. Constant and median: their test MSE."
    )
    return [Table(f"Reg+cls against reg at their best settings on {split}", note, frame, frame)]


def at_the_edge(best: pd.DataFrame, trained: pd.DataFrame) -> list[str]:
    """For every line of `best`, which of its values are the smallest (−) or largest (+) that its arm tried; a dash."""
    grids = {key: part[SETTING] for key, part in trained.groupby(["optimizer", "arm"])}
    texts = []
    for line in best.itertuples(index=False):
        tried = grids[line.optimizer, line.arm]
        marks = []
        for name in SETTING:
            if sign := edge(pd.Series([getattr(line, name)]), tried[name]).iloc[0]:
                marks.append(SYMBOLS[name] + sign)
        texts.append(" ".join(marks) or "–")
    return texts


def _settings_table(best: pd.DataFrame, trained: pd.DataFrame, rows: pd.DataFrame, split: str) -> Table:
    frame = pd.DataFrame([_panel_cells(panel) for panel in best[PANEL].itertuples(index=False, name=None)])
    frame["arm"] = best["arm"].map(label)
    for name in SETTING:
        frame[SYMBOLS[name]] = best[name].map("{:g}".format)
    frame.loc[best["arm"] == "reg", SYMBOLS["lam"]] = "–"
    frame["at the edge"] = at_the_edge(best, trained)
    frame["validation MSE"] = best["mse"].map(number)
    for name, title in {"settings": "settings", "lost": "lost", "diverged": "runs diverged"}.items():
        frame[title] = best[name].astype(str)
    frame = frame.join(tables.trivial_text(rows, PANEL[:2]), on=PANEL[:2])
    note = (
        f"The setting of the lowest mean MSE over functions, seeds and class counts on {VALIDATION[split]}; s scales "
        "the whole loss. At the edge: a value that is the smallest (−) or largest (+) of the grid of that arm and "
        "optimiser. Settings: how many were tried; lost: those with a diverged run, which are never chosen. Constant "
        "and median: their test MSE."
    )
    return Table(f"Best settings on {split}", note, frame, None)


def capacity_tables(rows: pd.DataFrame) -> list[Table]:
    """Per validation set: what reg+cls is worth on the test set at the best settings, and which settings those are.

    Args:
      rows: the study's rows of the splits val, val_balanced and test.

    Raises:
      ValueError: runs that should pair up do not.
    """
    trained = trained_rows(rows)
    test = rows[rows["split"] == "test"]
    tested = trained[trained["split"] == "test"]
    made, settings = [], []
    for split in VALIDATION:
        part = trained[trained["split"] == split]
        best = best_settings(part)
        made += _worth_table(worth(at_best(tested, best)), at_equal_budgets(part, tested), best, test, split)
        settings.append(_settings_table(best, part, test, split))
    return made + settings


def capacity_verdict(rows: pd.DataFrame) -> str:
    """In how many panels (sampling, optimiser, size) reg+cls is better at equal budgets, and in how many worse.

    Args:
      rows: as `capacity_tables`.
    """
    trained = trained_rows(rows)
    validation, test = (trained[trained["split"] == split] for split in ("val", "test"))
    found = at_equal_budgets(validation, test)
    if not found:
        return best_verdict(rows[rows["split"] == "test"])
    by_optimizer: dict[str, list[EqualBudget]] = {}
    for each in found:
        by_optimizer.setdefault(each.panel[2], []).append(each)
    sentences = []
    for optimizer, several in by_optimizer.items():
        better, worse = (sum(hit) for hit in zip(*((e.ends.high < 0, e.ends.low > 0) for e in several), strict=True))
        sentences.append(f"with {OPTIMIZERS[optimizer]} better in {better} and worse in {worse} of {len(several)}")
    return (
        f"**reg+cls against reg, by sampling and model size: {'; '.join(sentences)}.** Test MSE at equal budgets of "
        "settings, picked on val; counted is where the 95 % interval over functions and repetitions excludes zero, "
        f"which one in twenty does by chance. Trivial predictors: {trivial_levels(rows)}."
    )
