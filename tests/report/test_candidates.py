"""Candidates of an arm: validation decides, by the metric that selected epochs, or the MSE where none did."""

import pandas as pd
import pytest

from regcls_jax.report.candidates import candidate_table, choose_candidates

CONFIGS = {f"cls_{lam}": {"candidate_for": "cls", "select": "mse", "lam": lam} for lam in (0.1, 1.0)}


@pytest.fixture
def rows():
    """The second candidate has the lower validation MSE, and the higher MAE everywhere."""
    lines = [
        {"arm": arm, "seed": seed, "split": split, "shot": "all", "mse": mse + seed, "mae": mae}
        for arm, mse, mae in (("cls_0.1", 9.0, 2.0), ("cls_1.0", 8.0, 3.0))
        for seed in (0, 1)
        for split in ("val", "test")
    ]
    return pd.DataFrame(lines)


@pytest.mark.parametrize("select", ["mse", "last"])
def test_the_metric_of_the_epochs_decides(rows, select):
    configs = {arm: {**config, "select": select} for arm, config in CONFIGS.items()}
    found, chosen = choose_candidates(configs, rows)
    assert (list(found), chosen) == (["cls"], {"cls": "cls_1.0"})
    (table,) = candidate_table(configs, rows, chosen, "mae", "More.", 1)
    lines = table.frame.set_index("candidate")
    assert lines["taken"].to_dict() == {"cls_0.1": "", "cls_1.0": "yes"}
    assert lines["validation MSE"].to_dict() == {"cls_0.1": "9.5 ± 0.7", "cls_1.0": "8.5 ± 0.7"}
    assert lines["test MAE"].tolist() == ["2.0 ± 0.0", "3.0 ± 0.0"]
    assert table.note.endswith("test error. More.")


def test_no_candidates_no_table(rows):
    alone = {"cls_0.1": {"candidate_for": "", "select": "mse", "lam": 0.1}}
    assert candidate_table(alone, rows, choose_candidates(alone, rows)[1], "mae", "") == []
