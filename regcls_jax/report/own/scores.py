"""How every arm does on the user's own table, of the settings that validation chose: errors by ranges of the target."""

from typing import NamedTuple

import numpy as np
import pandas as pd

from regcls_jax.store.groups import GroupResults

# One test fold, and one evaluation of it.
FOLD = ["target", "repetition", "fold"]
EVALUATION = [*FOLD, "arm", "run", "split"]
MEASURES = {
    "mae": "MAE",
    "rmse": "RMSE",
    "balanced_mae": "balanced MAE",
    "rare_mae": "MAE, rare targets",
}
# By how many training rows there are of a target.
OF_SHOTS = {"many_mae": "many", "medium_mae": "medium", "rare_mae": "few"}
# What the settings of an arm are chosen by, on the validation set; and how the arms of a family are.
SELECT = "mae"
PLAIN, CLASSES, WEIGHTING, REFERENCE = "plain", "classes", "weighting", "reference"
SOFT, ORDINAL, FEATURES, TRAINING = "soft classes", "ordinal heads", "shaped features", "other training"
SPREAD = "heads with a spread"
NETWORKS = (PLAIN, CLASSES, SOFT, ORDINAL, FEATURES, SPREAD, WEIGHTING, TRAINING)
# The kind of an auxiliary loss, but for classification.
OF_AUXILIARY = {
    **dict.fromkeys(("hl_gauss", "two_hot", "sord", "membership"), SOFT),
    **dict.fromkeys(("squared_emd", "corn", "coral"), ORDINAL),
    **dict.fromkeys(("ordinal_entropy", "ranksim", "conr", "rank_n_contrast"), FEATURES),
    **dict.fromkeys(("uvote", "evidential"), SPREAD),
}


class Scores(NamedTuple):
    """`chosen`: a line per test fold and arm, with `run`, `validation` (its validation MAE), MEASURES on the test fold,
    and `tried`, its settings that had a finite validation error; `families`: arm -> its kind.

    A kind of networks stands among the arms, too: on every fold it is its arm with the lowest validation MAE there,
    named in `of_family`. (An arm must not be chosen by all folds together: they validate on each other's test rows.)
    """

    chosen: pd.DataFrame
    families: dict[str, str]

    def of(self, target: str, measure: str) -> pd.DataFrame:
        """A measure on every test fold of a target, [folds, arms]."""
        part = self.chosen[self.chosen["target"] == target]
        found = part.pivot(index=["repetition", "fold"], columns="arm", values=measure)
        return found.reindex(columns=[*self.families, *self.kinds])

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of networks that the study has; plain ones, which all are compared with, even where it has none."""
        return tuple(kind for kind in NETWORKS if kind == PLAIN or kind in self.families.values())

    def usual(self, target: str, family: str) -> str | None:
        """The arm that a family is on most folds; None where none of them has an error."""
        own = self.chosen[(self.chosen["target"] == target) & (self.chosen["arm"] == family)]
        names = own["of_family"].dropna()
        return None if names.empty else str(names.mode().iloc[0])


def measures(errors: pd.DataFrame) -> pd.DataFrame:
    """MEASURES and OF_SHOTS of every evaluation, from its errors by range of the target: a line per EVALUATION.

    Balanced: the mean over the ranges that have rows; rare: over the rows of ranges called "few". NaN where no row is.
    """
    shot = errors["group"].str.split().str[-1]
    of_shots = {
        part: values.where(shot == name, 0)
        for name in OF_SHOTS.values()
        for part, values in ((f"{name}_n", errors["n"]), (f"{name}_absolute", errors["mae"] * errors["n"]))
    }
    sums = pd.DataFrame(
        {
            **{name: errors[name] for name in (*EVALUATION, "n")},
            "absolute": errors["mae"] * errors["n"],
            "squared": errors["mse"] * errors["n"],
            "of_range": errors["mae"],
            **of_shots,
        }
    )
    sums["lost"] = errors["mae"].isna()
    found = sums.groupby(EVALUATION, sort=False, observed=True)
    total, of_range = found[["n", "absolute", "squared", *of_shots]].sum(min_count=1), found["of_range"]
    # A range whose predictions diverged must not count as one without errors.
    lost = found["lost"].any()
    total = total.mask(lost)
    with np.errstate(invalid="ignore", divide="ignore"):
        return pd.DataFrame(
            {
                "mae": total["absolute"] / total["n"],
                "rmse": np.sqrt(total["squared"] / total["n"]),
                "balanced_mae": of_range.mean().mask(lost),
                **{name: total[f"{shot}_absolute"] / total[f"{shot}_n"] for name, shot in OF_SHOTS.items()},
                "rare_n": found["few_n"].sum(),
            }
        ).reset_index()


def family_of(run: pd.Series) -> str:
    """The kind of an arm, of one of its rows."""
    if run["run"] < 0:
        return REFERENCE
    if run["classes"] > 0 or (run.get("auxiliary") or "classification") != "classification":
        return OF_AUXILIARY.get(run.get("auxiliary"), CLASSES)
    if run.get("mixup", 0) > 0 or run.get("sam_rho", 0) > 0:
        return TRAINING
    return PLAIN if run["reweight"] == "none" and run["regression"] == "squared_error" else WEIGHTING


def scores(rows: pd.DataFrame, groups: GroupResults) -> Scores:
    """Of every arm and test fold the setting with the lowest validation MAE, and how it does on the test fold.

    Args:
      rows: test rows of the study.
      groups: errors by range of the target, on val and test.
    """
    found = measures(groups.errors)
    valid, test = (found[found["split"] == split].drop(columns="split") for split in ("val", "test"))
    keys = [*FOLD, "arm"]
    finite = valid[np.isfinite(valid[SELECT])].rename(columns={SELECT: "validation"})
    best = finite.loc[finite.groupby(keys)["validation"].idxmin(), [*keys, "run", "validation"]]
    tried = finite.groupby(keys).size().rename("tried").reset_index()
    every = test[keys].drop_duplicates()
    chosen = every.merge(best, "left", keys).merge(tried, "left", keys).merge(test, "left", [*keys, "run"])
    first = rows.drop_duplicates("arm")
    families = {str(arm): family for arm, family in zip(first["arm"], first.apply(family_of, axis=1), strict=True)}
    kind = chosen["arm"].map(families)
    parts = [chosen]
    for family in dict.fromkeys(families.values()):
        own = chosen[(kind == family) & chosen["validation"].notna()]
        if family != REFERENCE and len(own):
            best = own.loc[own.groupby(FOLD)["validation"].idxmin()]
            parts.append(best.assign(of_family=best["arm"], arm=family))
    return Scores(pd.concat(parts, ignore_index=True), families)
