"""Fig. 3: test MSE of reg and reg+cls over class counts, samplings and scenarios, with the controls the paper lacks.

    python launch/study.py --config=configs/fig3.py --workdir=runs/fig3                 # all of it
    python launch/study.py --config=configs/fig3.py:quick --workdir=runs/fig3-quick     # 280 trainings first
    python launch/study.py --config=configs/fig3.py:paired --workdir=runs/fig3-paired   # common initial weights
    python launch/study.py --config=configs/fig3.py:runlocal --workdir=runs/fig3-local  # seconds: does it run?

Recipe (published code; recipes 4.1 and 5.5): 10 functions x 5 repetitions x 4 samplings x 3 scenarios, about 21,000
training samples each; MLP 1-6-15-1 with a class head, Adam with coupled weight decay 1e-3 on everything, batch 256,
80 epochs, last epoch; lambda 1e2 / 1e3 / 1e4 and learning rate 1e-3 / 1e-2 / 1e-4 for clean / noisy / ood; uniform
classes over the range of the training targets; reg and reg+cls start from different weights; test on the uniform
sampling of the same function and repetition.
Where text and code differ: hidden = (6, 16), data.total = 30_000, data.peak_share = .75, data.noise_kind = "uniform"
are the text's readings.

Arms: reg; reg_cls with C classes; the controls reg_x_lambda (the regression loss times the same lambda, no classes),
reg_no_decay and reg_cls_no_decay (no weight decay). Expected (published, all C): clean severe .393 -> .270, noisy
severe .393 -> .236 test MSE; results/fig3/ has ours.
"""

from ml_collections import ConfigDict, config_dict

from regcls_jax.config import check_variant

CLASSES = (4, 16, 64, 256, 1024)


def shrink(config: ConfigDict) -> None:
    """Shrinks a study to the size of `runlocal`: one clean function, two samplings, two epochs."""
    config.data.functions, config.data.repetitions = 1, 1
    config.data.scenarios, config.data.samplings = ("clean",), ("uniform", "severe")
    config.run.epochs = 2


def get_config(variant: str = "full") -> ConfigDict:
    """The config of one variant: full, quick, paired or runlocal."""
    check_variant(__file__, variant, ("full", "quick", "paired", "runlocal"))
    config = ConfigDict()
    config.name = "fig3"
    config.chunk = 0  # runs trained side by side; 0 chooses by the size of the core's cache
    config.data = {
        "scenarios": ("clean", "noisy", "ood"),
        "samplings": ("uniform", "mild", "moderate", "severe"),
        "functions": 10,
        "repetitions": 5,
        "noise": (0.1,),
        "noise_kind": "gaussian",
        "total": 60_000,
        "peak_share": config_dict.placeholder(float),
    }
    config.run = {
        "hidden": (6, 15),
        "optimizer": "adam",
        "decay": "coupled",
        "weight_decay": 1e-3,
        "initial_weights": "separate",
        "batch_size": 256,
        "epochs": 80,
    }
    config.scenario = {
        "clean": {"lam": 1e2, "learning_rate": 1e-3},
        "noisy": {"lam": 1e3, "learning_rate": 1e-2},
        "ood": {"lam": 1e4, "learning_rate": 1e-4},
    }
    config.arms = {
        "reg": {"lam": 1.0},
        "reg_x_lambda": {},
        "reg_no_decay": {"lam": 1.0, "weight_decay": 0.0},
        "reg_cls": {"classes": CLASSES},
        "reg_cls_no_decay": {"classes": 64, "weight_decay": 0.0},
    }
    if variant == "quick":
        # Many repetitions of few cells, so that intervals say something. 256 and 1024 classes would double the time.
        config.data.functions, config.data.repetitions = 5, 4
        config.data.scenarios, config.data.samplings = ("clean",), ("uniform", "severe")
        config.arms.reg_cls.classes = CLASSES[:3]
    elif variant == "paired":
        config.run.initial_weights = "paired"
    elif variant == "runlocal":
        shrink(config)
        config.arms.reg_cls.classes = (4, 64)
    return config
