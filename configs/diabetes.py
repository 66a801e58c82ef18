"""A real table on the study engine: disease progression of 442 patients from ten measurements.

    python launch/study.py --config=configs/diabetes.py --workdir=runs/diabetes                 # a minute of CPU time
    python launch/study.py --config=configs/diabetes.py:quick --workdir=runs/diabetes-quick     # one repetition
    python launch/study.py --config=configs/diabetes.py:runlocal --workdir=runs/diabetes-local  # seconds: does it run?

The table that scikit-learn ships (Efron et al. 2004), 5-fold cross-validation repeated 6 times; a fifth of the
rows outside the test fold is the validation set, which selects the epoch. Inputs and targets are standardised by the
training rows; errors are in the units of the target (25 to 346).

Arms: reg; reg_x_lambda (its loss times .001, no classes); reg_cls with 8 and 16 classes between the 2 % and 98 %
quantiles of the training targets and lambda .001 (6 per standard score); lds (root of the inverse density, smoothed).
Measured here (test MSE, mean of 30 folds): constant 5969, reg 3228, reg_x_lambda the same (Adam with decoupled decay
does not see the scale of a loss), reg_cls 3250 with 8 classes and 3203 with 16, lds 3268; reg_cls - reg, both class
counts together, -2 [-143, +140] (folds overlap). So classes neither help nor harm here.
"""

from ml_collections import ConfigDict

from regcls_jax.config import check_variant


def get_config(variant: str = "full") -> ConfigDict:
    """The config of one variant: full, quick or runlocal."""
    check_variant(__file__, variant, ("full", "quick", "runlocal"))
    config = ConfigDict()
    config.name = "diabetes"
    config.chunk = 0  # runs trained side by side; 0 chooses by the size of the core's cache
    config.data = {"source": "table", "dataset": "diabetes", "folds": 5, "repetitions": 6, "validation": 0.2}
    config.run = {
        "inputs": "standardised",
        "output": "standardised",
        "hidden": (32, 32),
        "learning_rate": 3e-3,
        "weight_decay": 1e-3,
        "decay": "decoupled",
        "schedule": "cosine",
        "batch_size": 32,
        "epochs": 100,
        "best_on": "val",
        "low_quantile": 0.02,
        "high_quantile": 0.98,
        "buckets": 20,
    }
    config.arms = {
        "reg": {},
        "reg_x_lambda": {"lam": 1e-3},
        "reg_cls": {"lam": 1e-3, "classes": (8, 16)},
        "lds": {"reweight": "sqrt_inv", "lds": True},
    }
    if variant == "quick":
        config.data.repetitions = 1
    elif variant == "runlocal":
        config.data.repetitions, config.data.folds, config.run.epochs = 1, 2, 2
    return config
