"""The report on pairs of sentences, against plain NumPy: which run is chosen, errors by shot, correlations."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from regcls_jax.report.sts_b_dir import chosen_runs, difference, sts_figure, sts_tables
from regcls_jax.store.groups import GroupResults

SHOTS = np.array(["many"] * 60 + ["medium"] * 30 + ["few"] * 10)
NOISE = {"reg": 0.8, "lds": 0.5}


@pytest.fixture(scope="module")
def study():
    """Two settings per arm and seed, the second better on the dev set: rows, errors and predictions; the truth."""
    generator = np.random.default_rng(0)
    truth = generator.uniform(0, 5, 100)
    rows, errors, predictions, number = [], [], [], 0
    for repetition in range(3):
        for arm, noise in NOISE.items():
            for setting in range(2):
                predicted = truth + noise * (2 - setting) * generator.normal(size=100)
                common = {"run": number, "arm": arm, "repetition": repetition}
                rows += [{**common, "split": "val", "mse": 2.0 - setting}, {**common, "split": "test", "mse": setting}]
                for shot in np.unique(SHOTS):
                    error = (predicted - truth)[shot == SHOTS]
                    scores = {"n": len(error), "mse": np.mean(error**2), "mae": np.mean(np.abs(error))}
                    errors.append({**common, "split": "test", "group": f"00 {shot}", **scores})
                group = np.char.add("00 ", SHOTS)
                predictions.append(
                    pd.DataFrame({"run": number, "arm": arm, "group": group, "truth": truth, "prediction": predicted})
                )
                number += 1
        common = {"run": -1, "arm": "constant", "repetition": repetition}
        rows.append({**common, "split": "val", "mse": 9.0})
        errors += [
            {**common, "split": "test", "group": f"00 {shot}", "n": (shot == SHOTS).sum(), "mse": 2.0, "mae": 1.0}
            for shot in np.unique(SHOTS)
        ]
    return pd.DataFrame(rows), GroupResults(pd.DataFrame(errors), pd.concat(predictions, ignore_index=True)), truth


def test_the_dev_set_chooses_and_errors_are_pooled_by_shot(study):
    rows, groups, truth = study
    found = chosen_runs(rows, groups)
    assert sorted(found.pairs["run"].unique()) == [1, 3, 5, 7, 9, 11]
    for (arm, repetition), own in found.pairs.groupby(["arm", "repetition"]):
        squared = (own["prediction"].to_numpy() - truth) ** 2
        errors = found.errors[(found.errors["arm"] == arm) & (found.errors["repetition"] == repetition)]
        by_group = errors.set_index("group")["mse"]
        assert by_group["all"] == pytest.approx(squared.mean())
        assert by_group["few"] == pytest.approx(squared[SHOTS == "few"].mean())


def test_the_difference_to_reg_is_of_the_same_pairs(study):
    rows, groups, truth = study
    found = chosen_runs(rows, groups)
    squared = {
        arm: np.stack([(one["prediction"].to_numpy() - truth) ** 2 for _, one in own.groupby("repetition")])
        for arm, own in found.pairs.groupby("arm")
    }
    mean, ends = difference(found, "lds", "all")
    assert mean == pytest.approx((squared["lds"] - squared["reg"]).mean())
    assert ends.low < mean < ends.high < 0


def test_tables_have_published_numbers_and_correlations(study):
    rows, groups, _ = study
    errors, correlations, differences = sts_tables(rows, groups)
    assert errors.frame["arm"].tolist()[:3] == ["reg", "LDS", "constant"]
    assert errors.frame.set_index("arm").loc["FDS (published)", "MSE few"] == "1.086"
    found = chosen_runs(rows, groups).pairs
    own = [one for _, one in found[found["arm"] == "lds"].groupby("repetition")]
    pearson = np.mean([np.corrcoef(one["truth"], one["prediction"])[0, 1] for one in own])
    spearman = np.mean([stats.spearmanr(one["truth"], one["prediction"]).statistic for one in own])
    line = correlations.frame.set_index("arm").loc["LDS"]
    assert line["Pearson all"].startswith(f"{pearson:.3f} ± ")
    assert line["Spearman all"].startswith(f"{spearman:.3f} ± ")
    assert differences.frame["arm"].tolist() == ["LDS"]
    assert len(sts_figure(rows, groups).axes) == 4
