"""Images of your own, with a number each: what do classes, balance and weights do for that regression?

    python launch/prepare.py --table=houses.csv --images=photos --target=price --unit=EUR --name=houses
    python launch/train.py --config=configs/own_images.py:quick --config.run.dataset=houses --workdir=runs/houses-quick
    python launch/train.py --config=configs/own_images.py --config.run.dataset=houses --workdir=runs/houses
    python launch/report.py --workdir=runs/houses
    python launch/predict.py --run=runs/houses/reg_cls_100/seed0 --images=new_photos --out=predictions.csv

The table has a row per image: a column `path` (or --path_column) below --images, the target, any number, and maybe a
column `split` of train, val and test; without one val and test are drawn, balanced over the target. Does it run?

    python launch/train.py --config=configs/own_images.py:runlocal --config.run.dataset=houses --workdir=runs/local

Everything follows from the training targets: classes and the buckets of shots and weights are equal parts of their
range; the output starts at their mean; errors are trained in their standard deviations (`loss_in`), so that lambda
means the same for euros and for grams: 1 here is near the published .1 in years. Tables and figures are in the
target's unit.
The network is as small as that of configs/utkface.py, for a laptop: 64 x 64 pixels, ResNet-18 at a quarter of its
width, 20 epochs; 10,000 images take about 15 minutes a training on two cores (computed from the rate there). On a GPU:
--config.run.image_size=224 --config.run.padding=16 --config.run.depth=50 --config.run.width=64 --config.run.workers=8.
Arms: reg; reg_cls_100, reg_cls_bal_100, 100 classes, uniform or equalised; lds, weights by the smoothed density.
"""

from ml_collections import ConfigDict

from regcls_jax.config import check_variant

CLASSES = {"classes": 100, "lam": 1.0}
ARMS = {
    "reg": {},
    "reg_cls_100": CLASSES,
    "reg_cls_bal_100": {**CLASSES, "balanced": True},
    "lds": {"reweight": "sqrt_inv", "lds": True},
}


def get_config(variant: str = "full") -> ConfigDict:
    """The config of one variant: full, quick, runlocal, or one arm by its name."""
    check_variant(__file__, variant, ("full", "quick", "runlocal", *ARMS))
    config = ConfigDict()
    config.name = "own_images"
    config.seeds = (0, 1, 2)
    config.run = {
        **{"task": "scalar", "dataset": "houses", "image_size": 64, "padding": 4, "flip": True, "workers": 0},
        **{"depth": 18, "width": 16, "dtype": "float32", "init_from": ""},
        **{"regression": "absolute_error", "output": "standardised", "loss_in": "std", "buckets": 50},
        **{"optimizer": "adam", "learning_rate": 1e-3, "weight_decay": 0.0, "boundaries": (14, 18)},
        **{"batch_size": 128, "accumulate": 1, "epochs": 20, "select": "mae"},
    }
    config.arms = ARMS
    if variant in ARMS:
        config.arms = {variant: ARMS[variant]}
    elif variant == "quick":
        config.seeds = (0,)
        config.run.update({"epochs": 5, "boundaries": (4,)})
        config.arms = {arm: ARMS[arm] for arm in ("reg", "reg_cls_100", "lds")}
    elif variant == "runlocal":
        config.seeds = (0,)
        config.run.update({"width": 8, "image_size": 32, "epochs": 2, "boundaries": (), "batch_size": 32})
        config.arms = {arm: ARMS[arm] for arm in ("reg", "reg_cls_100")}
    return config
