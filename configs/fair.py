"""Fair tuning: reg and reg+cls, each with its own best setting under an equal budget of trainings. (Ours.)

    python launch/study.py --config=configs/fair.py --workdir=runs/fair                 # 22 min computed, two cores
    python launch/study.py --config=configs/fair.py:quick --workdir=runs/fair-quick     # 3 min: a small one first
    python launch/study.py --config=configs/fair.py:runlocal --workdir=runs/fair-local  # a minute: does it run?

Does classification help when nobody's baseline is handicapped, and where? For every data set (clean and noisy, four
samplings, 10 functions x 3 repetitions) and every arm, 32 settings are drawn from the grid below without replacement.
The report picks the one with the lowest MSE on `val` (the training's own, imbalanced sampling) or on `val_balanced`
(uniform sampling), looks at its test MSE once, and pairs the arms. Data, model and optimiser as in Fig. 3; paired
initial weights.

reg has no lambda of its own: it would be one more factor of `scale`. Under Adam with coupled decay only decay / scale
matters (up to Adam's epsilon), so `scale` is what lets reg outweigh the decay as lambda lets reg+cls; decay / scale is
0 or 1e-8 to 1e-3 for every arm. reg has 40 combinations, of which 32 nearly exhaust 35 that differ; reg_cls and
reg_cls_bal have 840 each. Does that variety alone help, as more lottery tickets would? The control reg_fine is reg
with 840 combinations, too: the same ranges of learning rate and scale in finer steps. It is post hoc: it was added
after the result of the other three arms was seen.

The published settings (reg: lambda 1; reg+cls: 1e2 clean, 1e3 noisy; decay 1e-3, learning rate 1e-3 clean, 1e-2 noisy,
scale 1) are in the grids.

30,720 trainings. Cost computed from the measured 2,785 / 1,572 / 1,087 / 509 trainings a minute at 0 / 4 / 16 / 64
classes: reg and reg_fine 2.8 min each, reg_cls 9.0, reg_cls_bal 7.1 (equalisation leaves fewer classes); compilation is
not in it.
"""

import numpy as np
from ml_collections import ConfigDict

from configs import fig3
from regcls_jax.config import check_variant

SHARED = {
    "lam": 1.0,
    "learning_rate": (3e-4, 1e-3, 3e-3, 1e-2, 3e-2),
    "weight_decay": (0.0, 1e-5, 1e-4, 1e-3),
    "scale": (1.0, 1e3),
}
FINE = {
    "learning_rate": tuple(np.geomspace(3e-4, 3e-2, 14).round(6).tolist()),
    "scale": tuple(np.geomspace(1.0, 1e3, 15).round(3).tolist()),
}
CLASSES = {"lam": (1e-2, 1e-1, 1.0, 1e1, 1e2, 1e3, 1e4), "classes": (4, 16, 64)}


def get_config(variant: str = "full") -> ConfigDict:
    """The config of one variant: full, quick or runlocal."""
    check_variant(__file__, variant, ("full", "quick", "runlocal"))
    config = fig3.get_config("full")
    config.name = "fair"
    config.budget = 32
    config.data.scenarios, config.data.repetitions = ("clean", "noisy"), 3
    config.run.initial_weights = "paired"
    config.scenario = {}  # the arms set these fields themselves
    config.arms = {
        "reg": SHARED,
        "reg_fine": {**SHARED, **FINE},
        "reg_cls": {**SHARED, **CLASSES},
        "reg_cls_bal": {**SHARED, **CLASSES, "balanced": True},
    }
    if variant == "quick":
        config.data.functions, config.data.repetitions = 5, 2
        config.budget = 12
    elif variant == "runlocal":
        fig3.shrink(config)
        config.budget = 4
    return config
