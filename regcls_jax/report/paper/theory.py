"""Section 2.2 in training: the gap between balanced and imbalanced NLL, and whether the cross-entropy stands for it."""

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from regcls_jax.report import tables
from regcls_jax.report.drawing import BANDS, FONTS, finish_figure
from regcls_jax.report.effects import Question, effects
from regcls_jax.report.palette import GREY, STYLES
from regcls_jax.report.paper.fig4 import COMPARISONS
from regcls_jax.report.paper.published import CELL, SAMPLINGS, sort_cells
from regcls_jax.report.statistics import KEYS, compare, finite_mean, paired
from regcls_jax.report.tables import Table, label, number
from regcls_jax.report.verdicts import balance_of, best_verdict, effects_verdict, widest
from regcls_jax.store.traces import ARM, TRAINING, TraceResults, summarise

SPLITS = {
    "val_balanced": "the uniform sampling (val_balanced), which is balanced data",
    "val": "the training's own sampling (val)",
}
TITLES = {
    "mse": "MSE",
    "balanced_nll": "balanced NLL",
    "imbalanced_nll": "imbalanced NLL",
    "l_extra_gaussian": "gap (Eq. 8)",
    "l_extra_softmax": "Eq. 9",
    "cross_entropy": "cross-entropy (Eq. 11)",
    "assumption_gap": "Eq. 11 − Eq. 9",
    "true_class_share": "true class's share",
    "correlation_softmax": "corr. Eq. 8, 9",
    "correlation_cross_entropy": "corr. Eq. 8, 11",
}
# What contains the class prior p~ of Eq. 9: marked where classes differ in width.
OF_CLASS_PRIOR = ("l_extra_softmax", "assumption_gap", "true_class_share", "correlation_softmax")
BIASED = "†"
# The rows of the figure.
CURVES = ("mse", "l_extra_gaussian", "l_extra_softmax", "cross_entropy", "true_class_share")
SHOWN = ("reg", "reg_x_lambda", "reg_cls", "reg_cls_bal")
LINES = {4: (0, (1, 1))}  # of a class arm; solid for more classes
VARIANCE = {"mse": "the model's own MSE on its training split", "lambda": "1 / (2λ), as Eq. 3 reads λ"}


def _variance(final: pd.DataFrame) -> str:
    return " or ".join(VARIANCE[name] for name in sorted(final["trace"].unique()))


def _means_table(rows: pd.DataFrame, final: pd.DataFrame, split: str) -> Table:
    means = tables.in_order(summarise(final[final["split"] == split]), [*CELL, "arm", "classes"])
    frame = means[CELL].assign(
        arm=means["arm"].map(label),
        classes=[str(classes or "–") for classes in means["classes"]],
    )
    frame["runs"] = means["runs"].astype(str)
    if means["trace"].nunique() > 1:
        frame["σ²"] = means["trace"]
    for name, title in TITLES.items():
        pairs = zip(means[name], means[f"{name}_std"], strict=True)
        signed = name not in ("mse", "cross_entropy", "assumption_gap", "true_class_share")
        frame[title] = [f"{number(m, sign=signed)} ± {number(s)}" if np.isfinite(m) else "–" for m, s in pairs]
        if name in OF_CLASS_PRIOR:
            frame[title] += np.where(means["balanced"], f" {BIASED}", "")
    frame = frame.join(tables.trivial_text(rows[rows["split"] == split], CELL), on=CELL)
    note = (
        f"After the last epoch, on {SPLITS[split]}; mean ± standard deviation over functions and repetitions, in nats. "
        f"σ² is {_variance(final)}. Balanced NLL = imbalanced NLL + gap (Eq. 6): a gap below 0 says that targets are "
        "rarer in training than the model expects, and the balanced NLL is the lower of the two. The share of the true "
        "class in Σ p p̃ is 1 iff Eq. 10 holds. Correlations are over the samples of a model. Eq. 9 leaves "
        "out samples of classes that no training target is in "
        f"({100 * np.nanmax([0, *means['unseen']]):.2g} % of a cell at most). Constant and median: their MSE."
    )
    if means["balanced"].any():
        note += (
            f" {BIASED} Equalised classes differ in width, so that Eq. 9 over their masses is biased: it tends to 0 as "
            "the masses become equal, however imbalanced p̃ is. What rests on it does not compare with other arms."
        )
    return Table(f"Section 2.2 on {split}", note, frame, frame.drop(columns=[TITLES["imbalanced_nll"]]))


def log_variance(final: pd.DataFrame) -> pd.Series:
    """log σ² of the model in every line of `TraceResults.final`, as its `trace` says: training MSE, or 1 / (2λ)."""
    training = final[final["split"] == TRAINING].set_index("run")["mse"]
    return np.log(final["run"].map(training).where(final["trace"] == "mse", 1 / (2 * final["lam"])))


def pairs_of(quantity: str, lines: pd.DataFrame, arm: str, baseline: str) -> pd.DataFrame:
    """The runs of two arms paired as `statistics.paired` does, by a column of `lines` in place of the MSE.

    lines: those of `TraceResults.final` on one split.
    """
    return paired(lines.assign(mse=lines[quantity]), arm, baseline, [*KEYS, "trace"])


def _compared(lines: pd.DataFrame, arm: str, baseline: str) -> pd.DataFrame:
    """Pairs of the gap, with the differences of its size and of log σ²."""
    pairs, fits = (pairs_of(name, lines, arm, baseline) for name in ("l_extra_gaussian", "log_variance"))
    return pairs.assign(size=pairs["arm"].abs() - pairs["baseline"].abs(), fit=fits["arm"] - fits["baseline"])


def _fits(pairs: pd.DataFrame, baseline: str) -> str:
    rank = pairs[["size", "fit"]].corr(method="spearman").iloc[0, 1]
    return f"against {label(baseline)} {number(finite_mean(pairs['fit']), sign=True)} ({number(rank, sign=True)})"


def _comparisons_table(rows: pd.DataFrame, final: pd.DataFrame, split: str) -> list[Table]:
    found = []
    against: dict[str, list[pd.DataFrame]] = {}
    lines = final.assign(log_variance=log_variance(final))
    lines = lines[lines["split"] == split]
    for scenario, sampling in sort_cells(lines[CELL].drop_duplicates()).itertuples(index=False):
        cell = lines[(lines[CELL] == [scenario, sampling]).all(axis=1)]
        for arm, baseline in COMPARISONS:
            if not {arm, baseline} <= set(cell["arm"]):
                continue
            for classes, pairs in _compared(cell, arm, baseline).groupby("classes"):
                against.setdefault(baseline, []).append(pairs)
                sizes = compare(pairs.assign(arm=pairs["arm"].abs(), baseline=pairs["baseline"].abs()))
                found.append(
                    {"scenario": scenario, "sampling": sampling, "arm": label(arm), "classes": str(classes or "–")}
                    | {"baseline": label(baseline), "pairs": str(sizes.n), "diverged": str(sizes.diverged)}
                    | _cells("gap", compare(pairs))
                    | _cells("size of the gap", sizes)
                    | {"smaller %": tables.percent(sizes.rate), "log σ²": number(finite_mean(pairs["fit"]), sign=True)}
                )
    if not found:
        return []
    frame = pd.DataFrame(found).join(tables.trivial_text(rows[rows["split"] == split], CELL), on=CELL)
    note = (
        f"arm − baseline after the last epoch, on {SPLITS[split]}: of the gap between balanced and imbalanced NLL (the "
        "mean of Eq. 8 over the samples, of either sign; a difference below 0 says that the arm's lies lower, not that "
        "it is better), of its absolute value (below 0: the arm's gap is smaller, in the share of pairs that follows), "
        "and of log σ² (below 0: the arm has the smaller σ²). In brackets the 95 % interval over functions and "
        f"repetitions. σ² is {_variance(final)}. A better fit changes Eq. 8 without any classes (rows of reg×λ − reg). "
        "Mean difference of log σ² over all pairs, in brackets its rank correlation with that of the gap's size: "
        f"{', '.join(_fits(pd.concat(parts), baseline) for baseline, parts in against.items())}. Arms differ from reg "
        "in λ too, so that only rows against reg×λ speak about classes, best where log σ² differs by about 0. Constant "
        "and median: their MSE."
    )
    return [Table(f"Is the gap smaller with classes, or with a better fit? On {split}", note, frame, frame)]


def _cells(name: str, result: tables.Comparison) -> dict[str, str]:
    return {name: number(result.difference, sign=True), f"{name}, two-way 95 %": tables.interval(result.two_way)}


def theory_tables(rows: pd.DataFrame, results: TraceResults) -> list[Table]:
    """Per split of `SPLITS`: the quantities of every cell and arm, and paired comparisons of the gap.

    Args:
      rows: result rows of those splits, for the trivial predictors.
      results: what `store.traces.read_trace` returns, of a study or of its export.

    Raises:
      ValueError: runs that should pair up do not.
    """
    made = [_means_table(rows, results.final, split) for split in SPLITS]
    return made + [table for split in SPLITS for table in _comparisons_table(rows, results.final, split)]


def theory_verdict(rows: pd.DataFrame, results: TraceResults) -> str:
    """Whether classes make the gap of Eq. 8 smaller than reg, and than reg×λ, on balanced data: the imbalanced cells.

    Args:
      rows: as `theory_tables`.
      results: likewise.
    """
    final = results.final[results.final["split"] == "val_balanced"]
    sizes = final.assign(mse=final["l_extra_gaussian"].abs())
    group = widest(sizes)
    question = Question(keys=(*KEYS, "trace"))
    pairs = [("reg_cls", baseline) for baseline in ("reg", "reg_x_lambda")]
    found = effects(question, [group], pairs)
    where = f" in the size of the gap between balanced and imbalanced NLL (Eq. 8) on {balance_of(group)} data"
    return effects_verdict(found, error="|gap| (nats)", where=where) or best_verdict(
        rows[rows["split"] == "val_balanced"], title="MSE on val_balanced", split="val_balanced"
    )


def _curve(axes: Axes, part: pd.DataFrame, quantity: str, arm: str, classes: int) -> None:
    style = {key: value for key, value in STYLES[arm].items() if not key.startswith("marker")}
    if classes in LINES:
        style["linestyle"] = LINES[classes]
    part = part.sort_values("epoch")
    epochs, means, deviations = (part[name].to_numpy(float) for name in ("epoch", quantity, f"{quantity}_std"))
    axes.fill_between(epochs, means - deviations, means + deviations, color=style["color"], alpha=0.1, linewidth=0)
    axes.plot(epochs, means, label=_name(arm, classes), **style)


def _name(arm: str, classes: int) -> str:
    return f"{label(arm)}, {classes}" if classes else label(arm)


def theory_figure(results: TraceResults, split: str = "val_balanced") -> Figure:
    """The quantities over epochs, mean ± standard deviation over runs: quantities in rows, cells in columns.

    Args:
      results: what `store.traces.read_trace` returns, of a study or of its export.
      split: where they were measured.

    Raises:
      ValueError: a scenario or sampling that the paper does not have.
    """
    summary = results.curves
    summary = summary[(summary["split"] == split) & summary["arm"].isin(SHOWN)]
    cells = sort_cells(summary[CELL].drop_duplicates())
    cells = cells[cells["sampling"].isin((SAMPLINGS[0], SAMPLINGS[-1]))] if len(cells) > 4 else cells
    by_arm = [name for name in ARM if name not in CELL]
    with matplotlib.rc_context(FONTS):
        figure = Figure(figsize=(3.1 * len(cells) + 0.8, 2.1 * len(CURVES) + 1.2), layout="constrained")
        grid = figure.subplots(len(CURVES), len(cells), sharex=True, sharey="row", squeeze=False)
        for quantity, row in zip(CURVES, grid, strict=True):
            row[0].set_ylabel(TITLES[quantity])
            for (scenario, sampling), axes in zip(cells.itertuples(index=False), row, strict=True):
                cell = summary[(summary[CELL] == [scenario, sampling]).all(axis=1)]
                for _, part in cell.groupby(by_arm, sort=True):
                    if part[quantity].notna().any():
                        _curve(axes, part, quantity, part["arm"].iloc[0], int(part["classes"].iloc[0]))
                if quantity.startswith("l_extra"):
                    axes.axhline(0, color=GREY, linewidth=0.8)
                axes.set_title(f"{scenario} · {sampling}" if quantity == CURVES[0] else "")
                axes.grid(axis="y", alpha=0.25)
                axes.spines[["top", "right"]].set_visible(False)
        order = [_name(arm, c) for arm in SHOWN for c in sorted(summary.loc[summary["arm"] == arm, "classes"].unique())]
        finish_figure(
            figure, grid.flat, order, "epoch", f"on {split} (in nats, but for MSE and share)", bands=BANDS["std"]
        )
    return figure
