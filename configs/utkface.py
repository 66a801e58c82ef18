"""Age from real faces on a laptop: UTKFace at 64 x 64, and the controls that ask where a gain of reg+cls comes from.

    python launch/prepare.py --dataset=utkface --manual_dir=<folder with utkface64.zip>     # once, half a minute
    python launch/train.py --config=configs/utkface.py:quick --workdir=runs/utkface-quick   # 4 minutes: three arms
    python launch/train.py --config=configs/utkface.py --workdir=runs/utkface               # 7 arms x 3 seeds
    python launch/train.py --config=configs/utkface.py:remedies --workdir=runs/utkface-remedies # 13 trainings x 3 seeds
    python launch/train.py --config=configs/utkface.py:runlocal --workdir=runs/utkface-local # does it run?

CPU-sized: ResNet-18 at an eighth of its width, 8 epochs; the rest is the recipe of configs/imdb_wiki.py (L1 in years,
Adam 1e-3, batch 128, rate x .1 at epochs 5 and 7, lambda .1 for 100 classes over [0, 100] years, epoch with
the lowest validation MSE). Crops are padded by 4 of 64 pixels, as the paper's by 16 of 224. Validation and test are
balanced over ages as DIR makes them.
Start the command once per core: the processes share the trainings, and one core each is the fastest way to use two.

Arms: reg, reg_cls_100, reg_cls_bal_100, lds; and the controls
- reg_std, reg_cls_100_std: the value head predicts standard deviations around the training mean. The loss stays in
  years (under Adam its scale changes nothing), but the output need not climb from 0 to 33 years first.
- reg_member_100: the class head regresses soft class memberships, so a second task of the same size without classes.
Test MAE here (median predictor 24.20): reg 11.83, reg_cls_100 12.13, reg_cls_bal_100 13.69, reg_member_100 15.12,
reg_std 12.33, reg_cls_100_std 12.09, lds 10.80; tables in results/utkface/, what they say in docs/findings/faces.md.
52 minutes on two cores with tests beside it; `quick` (180,000 images) 4 minutes, computed from that rate.

remedies (docs/remedies.md; about 1 h 50 min on two cores, computed from that rate; run with 4 epochs,
results/remedies/utkface/): reg and reg_std; 100 classes with lambda .1, 1 and 10, each reported,
with its validation error to choose by; LDS; HL-Gauss and CORN, read from the class head; RankSim and
ConR at the ratios of their authors (100 and 2 x 4 times the loss in years),
Rank-N-Contrast beside the regression, with one view; UVOTE with two voters, in standard deviations.
Test MAE in 4 epochs: reg 13.28, reg_cls_100_lambda 13.67, hl_gauss 12.87, corn 13.07, uvote 12.91, lds 11.79.
"""

from typing import Any

from ml_collections import ConfigDict

from configs import agedb, imdb_wiki
from regcls_jax.config import check_variant

STANDARDISED = {"output": "standardised"}
PUBLISHED = imdb_wiki.METHODS
ARMS: dict[str, dict[str, Any]] = {
    "reg": {},
    "reg_cls_100": PUBLISHED["reg_cls_100"],
    "reg_cls_bal_100": PUBLISHED["reg_cls_bal_100"],
    "lds": {"reweight": "sqrt_inv", "lds": True},
    "reg_std": STANDARDISED,
    "reg_cls_100_std": {**PUBLISHED["reg_cls_100"], **STANDARDISED},
    "reg_member_100": {**PUBLISHED["reg_cls_100"], "auxiliary": "membership"},
}
# The whole loss as the published code weighs it: scale * (lam * L1 + auxiliary).
REMEDIES: dict[str, dict[str, Any]] = {
    **{name: ARMS[name] for name in ("reg", "reg_std", "lds")},
    "reg_cls_100_lambda": {"classes": 100, "lam": (0.1, 1.0, 10.0)},
    "hl_gauss": {**PUBLISHED["reg_cls_100"], "auxiliary": "hl_gauss", "decoded": "expectation"},
    "corn": {**PUBLISHED["reg_cls_100"], "auxiliary": "corn", "decoded": "expectation"},
    "ranksim": {"auxiliary": "ranksim", "ranksim_gamma": 100.0},
    "conr": {"auxiliary": "conr", "lam": 0.125, "scale": 8.0},
    "rank_n_contrast": {"auxiliary": "rank_n_contrast", "lam": (0.1, 1.0)},
    # Years are too far for its voters, which start at 0: in four epochs they were behind the median predictor.
    "uvote": agedb.METHODS["uvote"] | STANDARDISED | {"batch_size": 128},
}


def get_config(variant: str = "full") -> ConfigDict:
    """The config of one variant: full, quick, remedies, runlocal, or one arm by its name."""
    check_variant(__file__, variant, ("full", "quick", "remedies", "runlocal", *ARMS))
    config = imdb_wiki.get_config()
    config.name = "utkface"
    config.run.update({"dataset": "utkface", "image_size": 64, "padding": 4, "workers": 0})
    config.run.update({"depth": 18, "width": 8, "epochs": 8, "boundaries": (5, 7)})
    config.arms = ARMS
    if variant in ARMS:
        config.arms = {variant: ARMS[variant]}
    elif variant == "remedies":
        config.arms = REMEDIES
    elif variant == "quick":
        config.seeds = (0,)
        config.run.update({"epochs": 3, "boundaries": (2,)})
        config.arms = {arm: ARMS[arm] for arm in ("reg", "reg_cls_100", "reg_std")}
    elif variant == "runlocal":
        imdb_wiki.shrink(config)
    return config
