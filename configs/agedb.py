"""AgeDB-DIR (12,208 / 2,140 / 2,140 images, ages 3 to 95): the remedies with the settings of their authors.

    python launch/train.py --config=configs/agedb.py:ranksim --workdir=runs/agedb                # any arm by its name
    python launch/train.py --config=configs/agedb.py --workdir=runs/agedb                        # all of them
    python launch/train.py --config=configs/agedb.py:quick --workdir=runs/agedb-quick            # one epoch, one seed
    python launch/train.py --config=configs/agedb.py:runlocal --workdir=runs/agedb-local         # does it run?

Needs the images: python launch/prepare.py --dataset=agedb_dir --manual_dir=<folder with agedb.csv and images>.
The recipe of configs/imdb_wiki.py (ResNet-50 from scratch, 224 x 224, Adam 1e-3, 90 epochs, rate x .1 at 60 and 80),
batch 256 and the epoch with the lowest validation MAE, as the authors of DIR have it; seeds 0 to 2. Its arms reg,
reg_cls_100, reg_cls_bal_100, sqrt_inv, lds, fds and lds_fds, and (recipes 2.5 to 2.34):
- ranksim: sqrt_inv, batch 64, 2.5e-4, 100 times the loss. conr: the same batch and rate, 2 x 4 times the loss.
- uvote: batch 64, two voters. Published: s heads at a tenth of the rate, weights of the heads drawn from N(0, .0001).
- evidential: VIR's head alone, batch 64, sqrt_inv and LDS; no smoothing of features, no decoder.
- rnc_features and rnc: ResNet-18, two views, 400 epochs of features alone (lam 1e-6 stands for 0), then a value head
  on them. Published otherwise: random resized crops, colour jitter and grey beside mirroring; no partial batches; rates
  that fall to .001 and .008 of themselves, here to 0; BatchNorm in evaluation mode for the value head, not in training.
- l1_400: plain L1 for as many epochs, the baseline that belongs to rnc.
- bsam: ResNet-18, sqrt_inv, radius .2, 400 epochs; published weights are not scaled to mean 1.
- hl_gauss and corn: 100 classes, lambda and scale of reg_cls_100; nothing is published for them.
Expected (MAE, all images; numbers of the authors, results/ has none of ours): LDS 7.67, FDS 7.69, LDS+FDS 7.47,
RankSim 6.91, VIR 7.12 (whole), Rank-N-Contrast 6.14 (second hand).
Not run here: needs the images and a GPU.
"""

from typing import Any

from ml_collections import ConfigDict

from configs import imdb_wiki
from regcls_jax.config import check_variant

PUBLISHED = imdb_wiki.METHODS
SHARED = ("reg", "reg_cls_100", "reg_cls_bal_100", "sqrt_inv", "lds", "fds", "lds_fds")
SMALL_BATCH = {"batch_size": 64, "learning_rate": 2.5e-4}
SGD = {"depth": 18, "optimizer": "sgd", "momentum": 0.9, "schedule": "cosine", "boundaries": ()}
LONG = {**SGD, "weight_decay": 1e-4, "epochs": 400}
METHODS: dict[str, dict[str, Any]] = {
    **{name: PUBLISHED[name] for name in SHARED},
    "ranksim": {"auxiliary": "ranksim", "ranksim_gamma": 100.0, "reweight": "sqrt_inv", **SMALL_BATCH},
    "conr": {"auxiliary": "conr", "lam": 0.125, "scale": 8.0, "views": 2, **SMALL_BATCH, "batch_size": 128},
    "uvote": {
        **{"auxiliary": "uvote", "decoded": "head", "lam": 1e-6, "batch_size": 64},
        **{"reweight": "inverse", "clip_low": 5.0, "clip_high": 1000.0},
    },
    "evidential": {
        **{"auxiliary": "evidential", "decoded": "head", "lam": 1e-6, "batch_size": 64},
        **{"reweight": "sqrt_inv", "lds": True},
    },
    "rnc_features": {
        **LONG,
        **{"auxiliary": "rank_n_contrast", "lam": 1e-6, "learning_rate": 0.5},
        **{"views": 2, "batch_size": 512, "select": "last"},
    },
    "rnc": {
        **SGD,
        **{"init_from": "rnc_features", "trainable": "value_head", "learning_rate": 0.05},
        **{"batch_size": 64, "epochs": 100},
    },
    "l1_400": {**LONG, "learning_rate": 0.2},
    "bsam": {**LONG, "reweight": "sqrt_inv", "sam_rho": 0.2, "learning_rate": 0.2},
    "hl_gauss": {**PUBLISHED["reg_cls_100"], "auxiliary": "hl_gauss", "decoded": "expectation"},
    "corn": {**PUBLISHED["reg_cls_100"], "auxiliary": "corn", "decoded": "expectation"},
}
LOCAL = ("uvote", "rnc_features", "rnc")


def get_config(variant: str = "full") -> ConfigDict:
    """The config of one variant: full, quick, runlocal, or one arm by its name."""
    check_variant(__file__, variant, ("full", "quick", "runlocal", *METHODS))
    config = imdb_wiki.get_config()
    config.name = "agedb"
    config.run.update({"dataset": "agedb_dir", "batch_size": 256, "select": "mae"})
    imdb_wiki.take_arms(config, variant, METHODS)
    if variant == "runlocal":
        imdb_wiki.shrink(config)
        small = {"epochs": 2, "batch_size": 64}
        config.arms = {arm: {**METHODS[arm], **small} for arm in LOCAL}
    return config
