"""Table 5: progress of cooking videos (Breakfast), beside the predictors that need no features.

    python launch/study.py --config=configs/tab5.py --config.data.features=FOLDER --workdir=runs/tab5a
    python launch/study.py --config=configs/tab5.py:absolute --config.data.features=FOLDER --workdir=runs/tab5b
    python launch/study.py --config=configs/tab5.py:quick --workdir=runs/tab5-quick       # five real videos
    python launch/study.py --config=configs/tab5.py:runlocal --workdir=runs/tab5-local    # does it run?
    python launch/report.py --workdir=runs/tab5a

FOLDER holds the IDT features of Kukleva et al. (2019), a .txt or .npy file per video, 64 numbers a frame; they are read
once, into --cache_dir. The targets are the share of the video that is over (Table 5a) or, `absolute`, the number of the
frame (5b): 10 tasks, 4 splits by person, 3 seeds each. `quick` leaves one of five persons out.

Arms: random, untrained; sigmoid, the network of Kukleva et al. (64-40-20-1, weights N(0, .01)); reg, reg_x_lambda,
reg_cls, reg_cls_bal with ReLU, lambda of the paper (100 for shares, 10 for frames) and its sum of squares over a batch
of 40 frames. reg_published and reg_cls_published are what the released code trains: never the ReLU network, and its
demo has lambda .001 and rate 1e-4 (recipes 4.6-1 and 4.6-6). reg_mean and reg_cls_mean have the mean of squares, which
gives lambda the meaning that it has everywhere else here. Adam 1e-3, a tenth after 30 of 40 epochs, decay 1e-4, last
epoch. Validation: a third of the training videos, drawn once (the released code drew frames: data.validation "frames").

Published, RMSE in % on S1: random 58.5, Kukleva et al. 31.2, reg 32.6, reg+cls 28.7. The constant 0.5 has 28.87.
"""

from typing import Any

from ml_collections import ConfigDict

from regcls_jax.config import check_variant

SIGMOID = {"activation": "sigmoid", "initializer": "normal_0.01"}
# What the released code trains, whatever network is asked for.
PUBLISHED = {**SIGMOID, "learning_rate": 1e-4}
# By target: lambda of the paper, and the ends of the classes (None: the last training frame).
PAPER: dict[str, tuple[float, float | None]] = {"relative": (100.0, 1.0), "absolute": (10.0, None)}


def arms(lam: float) -> dict[str, dict[str, Any]]:
    """The arms, with the lambda of the paper."""
    return {
        "random": {**SIGMOID, "epochs": 0, "boundaries": ()},
        "sigmoid": SIGMOID,
        "reg": {},
        "reg_x_lambda": {"lam": lam},
        "reg_cls": {"lam": lam, "classes": 100},
        "reg_cls_bal": {"lam": lam, "classes": 100, "balanced": True},
        "reg_published": PUBLISHED,
        "reg_cls_published": {**PUBLISHED, "lam": 1e-3, "classes": 100},
        "reg_mean": {"reduction": "mean"},
        "reg_cls_mean": {"reduction": "mean", "lam": lam, "classes": 100},
    }


def get_config(variant: str = "full") -> ConfigDict:
    """The config of one variant: full (Table 5a), absolute (5b), quick (five videos), runlocal."""
    check_variant(__file__, variant, ("full", "absolute", "quick", "runlocal"))
    target = "absolute" if variant == "absolute" else "relative"
    lam, high = PAPER[target]
    config = ConfigDict()
    config.name = "tab5"
    config.data = {"source": "breakfast", "features": "features", "targets": target, "repetitions": 3}
    config.run = {
        **{"hidden": (40, 20), "activation": "relu", "initializer": "torch_uniform"},
        **{"reduction": "sum", "rounding": "round", "low": 0.0, "high": high},
        **{"learning_rate": 1e-3, "weight_decay": 1e-4, "boundaries": (30,), "batch_size": 40, "epochs": 40},
    }
    config.arms = arms(lam)
    # Runs of one seed share the order of their samples, which is large where a task has a million frames.
    config.chunk = 2
    if variant in ("quick", "runlocal"):
        config.data.features = "../shared/data/breakfast_coffee_5videos.tar.gz"
        config.data.tasks, config.data.folds = ("coffee",), ("P03", "P05", "P06", "P08", "P09")
        config.predictions = True
    if variant == "runlocal":
        config.data.repetitions = 1
        config.run.update({"epochs": 2, "boundaries": ()})
        config.arms.random.boundaries = ()
    return config
