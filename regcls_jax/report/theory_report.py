"""Section 2.2 in training: the gap between balanced and imbalanced NLL, and whether the cross-entropy stands for it."""

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from regcls_jax.report import tables
from regcls_jax.report.figures import FONTS, STYLES, finish_figure
from regcls_jax.report.published import CELL, SAMPLINGS, sort_cells
from regcls_jax.report.statistics import KEYS, compare, paired
from regcls_jax.report.tables import Table, label, number
from regcls_jax.report.trace_rows import ARM, is_summary, summarise

SPLITS = {
    "val_balanced": "the uniform sampling (val_balanced), which is balanced data",
    "val": "the training's own sampling (val)",
}
COMPARISONS = (
    ("reg_cls", "reg"),
    ("reg_cls", "reg_x_lambda"),
    ("reg_cls_bal", "reg"),
    ("reg_cls_bal", "reg_x_lambda"),
    ("reg_cls_bal", "reg_cls"),
    ("reg_x_lambda", "reg"),
)
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
# The rows of the figure.
CURVES = ("mse", "l_extra_gaussian", "l_extra_softmax", "cross_entropy", "true_class_share")
SHOWN = ("reg", "reg_x_lambda", "reg_cls", "reg_cls_bal")
LINES = {4: (0, (1, 1))}  # of a class arm; solid for more classes
VARIANCE = {"mse": "the model's own MSE on its training split", "lambda": "1 / (2λ), as Eq. 3 reads λ"}


def last_epoch(trace: pd.DataFrame, split: str) -> pd.DataFrame:
    """The lines of a trace or a summary after the last epoch, on one split."""
    return trace[(trace["split"] == split) & (trace["epoch"] == trace["epoch"].max())]


def _variance(trace: pd.DataFrame) -> str:
    return " or ".join(VARIANCE[name] for name in sorted(trace["trace"].unique()))


def _means_table(rows: pd.DataFrame, trace: pd.DataFrame, split: str) -> Table:
    final = tables.in_order(summarise(last_epoch(trace, split)), [*CELL, "arm", "classes"])
    frame = final[CELL].assign(
        arm=final["arm"].map(label),
        classes=[str(classes or "–") for classes in final["classes"]],
    )
    frame["runs"] = final["runs"].astype(str)
    if final["trace"].nunique() > 1:
        frame["σ²"] = final["trace"]
    for name, title in TITLES.items():
        pairs = zip(final[name], final[f"{name}_std"], strict=True)
        signed = name not in ("mse", "cross_entropy", "assumption_gap", "true_class_share")
        frame[title] = [f"{number(m, sign=signed)} ± {number(s)}" if np.isfinite(m) else "–" for m, s in pairs]
    frame = frame.join(tables.trivial_text(rows[rows["split"] == split], CELL), on=CELL)
    note = (
        f"After the last epoch, on {SPLITS[split]}; mean ± standard deviation over functions and repetitions, in nats. "
        f"σ² is {_variance(trace)}. Balanced NLL = imbalanced NLL + gap (Eq. 6). The share of the true class in "
        "Σ p p̃ is 1 iff Eq. 10 holds. Correlations are over the samples of a model. Eq. 9 leaves out samples of "
        f"classes that no training target is in ({100 * np.nanmax([0, *final['unseen']]):.2g} % of a cell at most). "
        "Constant and median: their MSE."
    )
    return Table(f"Section 2.2 on {split}", note, frame, frame.drop(columns=[TITLES["imbalanced_nll"]]))


def gap_pairs(final: pd.DataFrame, arm: str, baseline: str) -> pd.DataFrame:
    """The runs of two arms paired as `statistics.paired` does, by their gap (the mean of Eq. 8) in place of the MSE.

    final: the lines of a trace after one epoch, on one split.
    """
    return paired(final.assign(mse=final["l_extra_gaussian"]), arm, baseline, [*KEYS, "trace"])


def _comparisons_table(rows: pd.DataFrame, trace: pd.DataFrame, split: str) -> list[Table]:
    found = []
    trace = last_epoch(trace, split)
    for scenario, sampling in sort_cells(trace[CELL].drop_duplicates()).itertuples(index=False):
        cell = trace[(trace[CELL] == [scenario, sampling]).all(axis=1)]
        for arm, baseline in COMPARISONS:
            if not {arm, baseline} <= set(cell["arm"]):
                continue
            for classes, pairs in gap_pairs(cell, arm, baseline).groupby("classes"):
                sizes = compare(pairs.assign(arm=pairs["arm"].abs(), baseline=pairs["baseline"].abs()))
                found.append(
                    {"scenario": scenario, "sampling": sampling, "arm": label(arm), "classes": str(classes or "–")}
                    | {"baseline": label(baseline), "pairs": str(sizes.n), "diverged": str(sizes.diverged)}
                    | _cells("gap", compare(pairs))
                    | _cells("size of the gap", sizes)
                    | {"smaller %": tables.percent(sizes.rate)}
                )
    if not found:
        return []
    frame = pd.DataFrame(found).join(tables.trivial_text(rows[rows["split"] == split], CELL), on=CELL)
    note = (
        f"arm − baseline after the last epoch, on {SPLITS[split]}: of the gap between balanced and imbalanced NLL (the "
        "mean of Eq. 8 over the samples, of either sign), and of its absolute value; negative: the arm's is smaller, "
        "in the share of pairs that follows. In brackets the 95 % bootstrap over functions and repetitions. σ² is "
        f"{_variance(trace)}. Constant and median: their MSE."
    )
    return [Table(f"Is the gap smaller with classes? On {split}", note, frame, frame)]


def _cells(name: str, result: tables.Comparison) -> dict[str, str]:
    return {name: number(result.difference, sign=True), f"{name}, two-way 95 %": tables.interval(result.two_way)}


def theory_tables(rows: pd.DataFrame, trace: pd.DataFrame) -> list[Table]:
    """Per split of `SPLITS`: the quantities of every cell and arm, and paired comparisons of the gap.

    Args:
      rows: result rows of those splits, for the trivial predictors.
      trace: what `trace_rows.read_trace` returns; a summary has no runs to compare.

    Raises:
      ValueError: runs that should pair up do not.
    """
    made = [_means_table(rows, trace, split) for split in SPLITS]
    if not is_summary(trace):
        made += [table for split in SPLITS for table in _comparisons_table(rows, trace, split)]
    return made


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


def theory_figure(trace: pd.DataFrame, split: str = "val_balanced") -> Figure:
    """The quantities over epochs, mean ± standard deviation over runs: quantities in rows, cells in columns.

    Args:
      trace: what `trace_rows.read_trace` returns, a summary too.
      split: where they were measured.

    Raises:
      ValueError: a scenario or sampling that the paper does not have.
    """
    summary = summarise(trace)
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
                    axes.axhline(0, color="#737373", linewidth=0.8)
                axes.set_title(f"{scenario} · {sampling}" if quantity == CURVES[0] else "")
                axes.grid(axis="y", alpha=0.25)
                axes.spines[["top", "right"]].set_visible(False)
        order = [_name(arm, c) for arm in SHOWN for c in sorted(summary.loc[summary["arm"] == arm, "classes"].unique())]
        finish_figure(figure, grid.flat, order, "epoch", f"on {split} (in nats, but for MSE and share)")
    return figure
