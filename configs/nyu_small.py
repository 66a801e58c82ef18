"""Depth from real pictures on a laptop: 363 pairs of NYU, from scratch, and whether classes help there.

    python launch/prepare.py --depth_images=../shared/data/nyu_depth_363pairs.tar --depth_scale=1/25.5 --name=nyu_small
    python launch/train.py --config=configs/nyu_small.py:quick --workdir=runs/nyu_small-quick    # three arms
    python launch/train.py --config=configs/nyu_small.py --workdir=runs/nyu_small                # all, two seeds
    python launch/train.py --config=configs/nyu_small.py:runlocal --workdir=runs/nyu_small-local # does it run?
    python launch/report.py --workdir=runs/nyu_small

The network of configs/nyud2.py on a ResNet-18 at an eighth of its width, at 96 x 128 pixels (depths at 48 x 64): 254
pictures and two cores allow no more. Adam 3e-3 without decay, batch 16, rate falling to 0 over 16 epochs. Classes
over [0, 10] m; classes, weights and shots from the pixels of the training pictures. Train, val (36) and test (73) are
drawn by picture, with a seed. Start the command once per core: the processes share the trainings.

Arms: reg; reg_std, whose value head predicts standard deviations around the training mean; reg_cls_10, reg_cls_100 and
reg_cls_bal_10 with classes on top of that, each trained with three lambda, of which the report takes the one with the
lowest validation error; lds, weights by the smoothed density. What each has to beat is pixel_mean, for every pixel the
mean over the training pictures.

All of it took 73 minutes on two busy cores (quick: 3.5 on quiet ones); tables in results/nyu_small/: test RMSE reg
1.147 m, reg_std 1.123, reg_cls_10 1.167, reg_cls_100 1.115, reg_cls_bal_10 1.116, lds 1.212; pixel_mean 1.121, constant
1.264. Nothing is clearly better than pixel_mean over all pixels, and no class count than reg_std. reg_std alone, one
seed each, had test (validation) RMSE 1.05 (1.17; batch 8, 2e-3), 1.12 (1.09; the same, 28 epochs), 1.10 (1.16; 64 x 84,
40 epochs), 1.07 (1.08; 116 x 152, 1e-3, 20 epochs), 1.09 (1.17; 1e-3), 1.09 (1.13; 3e-3), 1.14 (1.10; 116 x 152, batch
8, 1e-3): 36 and 73 pictures tell no setting from another, and 254 are what limits all of them.
"""

from typing import Any

from ml_collections import ConfigDict

from regcls_jax.config import check_variant

STANDARDISED = {"output": "standardised", "loss_in": "std"}
CLASSES: dict[str, Any] = {"lam": (0.1, 1.0, 10.0), **STANDARDISED}
ARMS: dict[str, dict[str, Any]] = {
    "reg": {},
    "reg_std": STANDARDISED,
    "reg_cls_10": {"classes": 10, **CLASSES},
    "reg_cls_100": {"classes": 100, **CLASSES},
    "reg_cls_bal_10": {"classes": 10, "balanced": True, **CLASSES},
    "lds": {"reweight": "sqrt_inv", "lds": True, **STANDARDISED},
}


def get_config(variant: str = "full") -> ConfigDict:
    """The config of one variant: full, quick, runlocal, or one arm by its name."""
    check_variant(__file__, variant, ("full", "quick", "runlocal", *ARMS))
    config = ConfigDict()
    config.name = "nyu_small"
    config.seeds = (0, 1)
    config.run = {
        **{"task": "depth", "dataset": "nyu_small", "counts": "own", "workers": 0},
        **{"image_height": 96, "image_width": 128, "augment": True},
        **{"layers": 18, "width": 8, "dtype": "float32", "init_from": ""},
        **{"regression": "squared_error", "low": 0.0, "high": 10.0, "rounding": "round"},
        **{"buckets": 100, "bucket_low": 0.0, "bucket_high": 10.0, "lds_boundary": "reflect"},
        **{"optimizer": "adam", "learning_rate": 3e-3, "weight_decay": 0.0, "schedule": "cosine", "boundaries": ()},
        **{"batch_size": 16, "accumulate": 1, "epochs": 16, "select": "rmse"},
    }
    config.arms = ARMS
    if variant in ARMS:
        config.arms = {variant: ARMS[variant]}
    elif variant == "quick":
        config.seeds = (0,)
        config.run.update({"epochs": 5})
        config.arms = {"reg": ARMS["reg"], "reg_std": ARMS["reg_std"], "reg_cls_10": {**ARMS["reg_cls_10"], "lam": 1.0}}
    elif variant == "runlocal":
        config.seeds = (0,)
        config.run.update({"width": 4, "image_height": 64, "image_width": 84, "epochs": 2})
        config.arms = {"reg": ARMS["reg"], "reg_cls_10": {**ARMS["reg_cls_10"], "lam": 1.0}}
    return config
