"""Which remedy for imbalance helps on a table? Losses, heads, weights and training, at equal tuning. (Ours.)

    python launch/advise.py --data=table.csv --target=COLUMN --workdir=runs/t/a --config=configs/remedies.py
    python launch/advise.py --data=table.csv --target=COLUMN --workdir=runs/t/b --config=configs/remedies.py:quick
    python launch/advise.py --data=table.csv --target=COLUMN --workdir=runs/t/c --config=configs/remedies.py:runlocal
    python launch/ranks.py --workdir=runs/t/a --workdir=... --out=runs/t/all        # over several tables

As configs/own.py (network, inputs, learning rates, decays; every arm the same number of settings a fold, the one with
the lowest validation MAE tested once), with what docs/remedies.md describes. All but reg predict standard deviations.

Classes (16; 8 to 48 for reg_cls and cls_head): reg_cls reads the value head, all others of a class head that head.
hl_gauss, two_hot and sord have soft memberships; squared_emd, corn and coral know the order. Features: ordinal_entropy,
ranksim, conr and rank_n_contrast, each beside the squared error, of one view. Heads with a spread: uvote (two voters)
and evidential (VIR's head alone), read from that head. Weights: inverse, sqrt_inv, lds, dense (DenseWeight); focal and
bni. Training: mixup (C-Mixup inside a batch), sam and bsam (with sqrt_inv).
"""

from typing import Any

from ml_collections import ConfigDict

from configs import own
from configs.own import STANDARDISED
from regcls_jax.config import check_variant

LAMBDAS = {"lam": (0.1, 1.0, 10.0, 100.0)}
HEAD = {**STANDARDISED, **LAMBDAS, "classes": 16, "decoded": ("expectation", "median")}
BESIDE = {**STANDARDISED, **LAMBDAS}
ARMS: dict[str, dict[str, Any]] = {
    **{name: own.ARMS[name] for name in ("reg", "reg_std", "reg_cls", "cls_head")},
    "hl_gauss": {**HEAD, "auxiliary": "hl_gauss", "hl_ratio": (0.5, 0.75, 1.5)},
    "two_hot": {**HEAD, "auxiliary": "two_hot"},
    "sord": {**HEAD, "auxiliary": "sord", "sord_alpha": (0.25, 0.5, 1.0)},
    "squared_emd": {**HEAD, "auxiliary": "squared_emd"},
    "corn": {**HEAD, "auxiliary": "corn"},
    "coral": {**HEAD, "auxiliary": "coral"},
    "ordinal_entropy": {**BESIDE, "auxiliary": "ordinal_entropy"},
    "ranksim": {**STANDARDISED, "auxiliary": "ranksim", "ranksim_gamma": (1e-4, 1e-3, 1e-2, 1e-1)},
    "conr": {**BESIDE, "auxiliary": "conr", "conr_distance": (0.1, 0.3, 1.0), "conr_temperature": (0.07, 0.2)},
    "rank_n_contrast": {**BESIDE, "auxiliary": "rank_n_contrast"},
    "uvote": {**BESIDE, "auxiliary": "uvote", "decoded": "head", "reweight": ("inverse", "sqrt_inv")},
    "evidential": {**BESIDE, "auxiliary": "evidential", "decoded": "head", "evidential_penalty": (0.01, 0.1)},
    "inverse": {**STANDARDISED, "reweight": "inverse"},
    **{name: own.ARMS[name] for name in ("sqrt_inv", "lds", "focal", "bni")},
    "dense": {**STANDARDISED, "reweight": "dense", "dense_alpha": (0.5, 0.75, 1.0)},
    "mixup": {**STANDARDISED, "mixup": (0.03, 0.1, 0.3, 1.0)},
    "sam": {**STANDARDISED, "sam_rho": (0.02, 0.05, 0.1, 0.2)},
    "bsam": {**STANDARDISED, "sam_rho": (0.02, 0.05, 0.1, 0.2), "reweight": "sqrt_inv"},
}
QUICK = ("reg", "reg_std", "reg_cls", "cls_head", "hl_gauss", "corn", "ranksim", "sqrt_inv", "mixup")


def get_config(variant: str = "full") -> ConfigDict:
    """The config of one variant: full, quick (nine arms, three settings), runlocal."""
    check_variant(__file__, variant, ("full", "quick", "runlocal"))
    config = own.get_config("runlocal" if variant == "runlocal" else "full")
    config.arms = ARMS
    if variant != "full":
        config.arms, config.budget = {arm: ARMS[arm] for arm in QUICK}, 3
    if variant == "runlocal":
        config.budget = 1
    return config
