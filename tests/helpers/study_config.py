"""A study small enough for a test: two data sets, one class count per arm, two epochs."""

import copy

CONFIG = {
    "name": "fig3",
    "data": {"scenarios": ("clean",), "samplings": ("uniform", "severe"), "functions": 1, "repetitions": 2},
    "run": {"batch_size": 256, "epochs": 2, "weight_decay": 1e-3},
    "scenario": {"clean": {"lam": 1e2, "learning_rate": 1e-3}},
    "arms": {"reg": {"lam": 1.0}, "reg_cls": {"classes": (4, 16)}, "bal": {"classes": 16, "balanced": True}},
}


def small(**sections):
    """CONFIG with some sections' keys replaced: small(run={"epochs": 1})."""
    config = copy.deepcopy(CONFIG)
    for section, changes in sections.items():
        config[section] = {**config[section], **changes} if isinstance(changes, dict) else changes
    return config
