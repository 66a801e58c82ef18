"""Should I add a classification loss to my regression? The arms that launch/advise.py compares on a table. (Ours.)

    python launch/advise.py --data=table.csv --target=COLUMN --workdir=runs/own     # fills in data, epochs and batch
    python launch/advise.py --data=table.csv --target=COLUMN --workdir=runs/own --config=configs/own.py:quick
    python launch/advise.py --data=table.csv --target=COLUMN --workdir=runs/own --config=configs/own.py:runlocal

Every arm gets the same budget: so many settings, drawn per fold from its grid; the one with the lowest validation MAE
is tested once. The network has two hidden layers; inputs are standardised by the training rows of a fold, and the epoch
with the lowest validation MSE counts.

Plain regression: reg (the value head predicts target units), reg_x_lambda (its loss times lambda), reg_std (it predicts
standard deviations). With classes, on top of reg_std: reg_cls (uniform classes), reg_cls_bal (equalised, Eq. 12 and
13), cls_head (as reg_cls, but what predicts is the class head). Weighting, which needs targets alone, likewise:
sqrt_inv, lds, focal (by the error), and Balanced MSE with the density in buckets, bni (GAI's mixture depends on the
unit of the target). Ridge regression and gradient boosting of scikit-learn stand beside them.
"""

from typing import Any

from ml_collections import ConfigDict

from regcls_jax.config import check_variant

STANDARDISED = {"output": "standardised", "loss_in": "std"}
CLASSES = {**STANDARDISED, "lam": (0.1, 1.0, 10.0, 100.0), "classes": (8, 16, 48)}
NOISE = {"output": "standardised", "noise_in": "std", "noise_sigma": (0.1, 0.3, 1.0)}
ARMS: dict[str, dict[str, Any]] = {
    "reg": {},
    "reg_x_lambda": {"lam": (0.01, 0.1, 10.0, 100.0)},
    "reg_std": STANDARDISED,
    "reg_cls": CLASSES,
    "reg_cls_bal": {**CLASSES, "balanced": True},
    "cls_head": {**CLASSES, "decoded": ("expectation", "median")},
    "sqrt_inv": {**STANDARDISED, "reweight": "sqrt_inv"},
    "lds": {**STANDARDISED, "reweight": "sqrt_inv", "lds": True},
    "focal": {**STANDARDISED, "regression": "focal_squared_error"},
    "bni": {**NOISE, "regression": "bni"},
}


def get_config(variant: str = "full") -> ConfigDict:
    """The config of one variant: full, quick (the six arms that the verdict needs most, three settings), runlocal."""
    check_variant(__file__, variant, ("full", "quick", "runlocal"))
    config = ConfigDict()
    config.name = "own"
    config.data = {"source": "own"}
    config.run = {
        **{"hidden": (64, 32), "inputs": "standardised", "best_on": "val", "schedule": "cosine"},
        **{"learning_rate": (1e-3, 3e-3, 1e-2), "weight_decay": (0.0, 1e-3, 1e-2, 1e-1), "decay": "decoupled"},
        "program": "shared",
    }
    config.arms = ARMS
    config.budget = 6
    if variant != "full":
        config.arms = {arm: ARMS[arm] for arm in ("reg", "reg_std", "reg_cls", "reg_cls_bal", "cls_head", "lds")}
        config.budget = 3
    if variant == "runlocal":
        config.data.repetitions, config.data.folds = 1, 2
        config.run.update({"hidden": (8,), "epochs": 3, "batch_size": 16})
    return config
