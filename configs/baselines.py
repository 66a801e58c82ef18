"""Methods made for imbalance beside reg and reg+cls on the 1-D data: what is the classification loss worth? (Ours.)

    python launch/study.py --config=configs/baselines.py --workdir=runs/baselines              # 9 min on two cores
    python launch/study.py --config=configs/baselines.py:quick --workdir=runs/baselines-quick
    python launch/study.py --config=configs/baselines.py:runlocal --workdir=runs/baselines-local

Data, model and optimiser as in Fig. 3, clean and noisy; paired initial weights. Balanced MSE (Ren et al. 2022) as GAI
with 8 Gaussians, BMC and BNI over 100 buckets, the noise scale learned from .1 (target units) at .01; inverse and
square-root-inverse weighting over 100 buckets, and LDS (gaussian, 5, 2) on the latter. Every method twice: with its
loss as it is, and times the lambda of reg+cls: under coupled weight decay the size of a loss is a hyperparameter.
(The published Balanced MSE multiplies its loss by 2 sigma^2, so it is as large as the squared error.)
reg+cls with 4, 16 and 64 classes, imbalanced and balanced. 10 functions x 3 repetitions: 4,800 trainings, 9 minutes on
two busy cores, half of it BMC and BNI.
"""

from typing import Any

from ml_collections import ConfigDict

from configs import fig3
from regcls_jax.config import check_variant

CLASSES = (4, 16, 64)
METHODS: dict[str, dict[str, Any]] = {
    "reg": {},
    "gai": {"regression": "gai"},
    "bni": {"regression": "bni"},
    "bmc": {"regression": "bmc"},
    "inverse": {"reweight": "inverse"},
    "sqrt_inv": {"reweight": "sqrt_inv"},
    "lds": {"reweight": "sqrt_inv", "lds": True},
}


def get_config(variant: str = "full") -> ConfigDict:
    """The config of one variant: full, quick or runlocal."""
    check_variant(__file__, variant, ("full", "quick", "runlocal"))
    config = fig3.get_config("full")
    config.name = "baselines"
    config.data.scenarios, config.data.repetitions = ("clean", "noisy"), 3
    config.run.initial_weights = "paired"
    config.run.noise_sigma = 0.1
    config.arms = {name: {"lam": 1.0, **arm} for name, arm in METHODS.items()}
    config.arms.update({f"{name}_x_lambda": arm for name, arm in METHODS.items()})
    config.arms.reg_cls = {"classes": CLASSES}
    config.arms.reg_cls_bal = {"classes": CLASSES, "balanced": True}
    if variant == "quick":
        config.data.functions, config.data.repetitions = 2, 2
    elif variant == "runlocal":
        fig3.shrink(config)
    return config
