"""Fig. 4: validation MSE of reg+cls over lambda and class counts, with the control that scales reg by the same lambda.

    python launch/study.py --config=configs/fig4.py --workdir=runs/fig4                 # about 70 min on two cores
    python launch/study.py --config=configs/fig4.py:quick --workdir=runs/fig4-quick     # 3 min: a small one first
    python launch/study.py --config=configs/fig4.py:runlocal --workdir=runs/fig4-local  # seconds: does it run?

configs/tab1.py trains all of this and the balanced classes of Table 1, and its report holds Fig. 4 as well: run this
one only where Fig. 4 is all that is wanted.

Recipe (paper sections 2.1 and 3.1; recipes 4.1): 10 functions x 3 repetitions x 4 samplings, scenarios clean and noisy
with their published learning rates 1e-3 and 1e-2; eight lambda; MLP 1-6-15-1 with a class head, Adam with coupled
weight decay 1e-3 on everything, batch 256, 80 epochs, last epoch; reg and reg+cls start from different weights. The
paper evaluates "on the validation set", in the published code that of the training's own sampling: `val`. The report
adds the validation set of the uniform sampling, `val_balanced`, which is what the test set looks like.

Arms: reg (lambda 1, as published); reg_cls; the controls reg_x_lambda (the regression loss times lambda, no classes:
weight decay is coupled, so lambda alone is a weaker decay) and reg_no_decay.
Expected (published): the best lambda is 1e2 for clean and 1e3 for noisy data; there is a lambda at which reg+cls beats
reg where the sampling is imbalanced.
"""

from ml_collections import ConfigDict

CLASSES = (4, 16, 64, 256, 1024)
LAMBDAS = (1e-3, 1e-2, 1e-1, 1.0, 1e1, 1e2, 1e3, 1e4)


def get_config(variant: str = "full") -> ConfigDict:
    """The config of one variant: full, quick or runlocal."""
    config = ConfigDict()
    config.name = "fig4"
    config.data = {
        "scenarios": ("clean", "noisy"),
        "samplings": ("uniform", "mild", "moderate", "severe"),
        "functions": 10,
        "repetitions": 3,
        "noise": (0.1,),
        "noise_kind": "gaussian",
        "total": 60_000,
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
    config.scenario = {"clean": {"learning_rate": 1e-3}, "noisy": {"learning_rate": 1e-2}}
    config.arms = {
        "reg": {"lam": 1.0},
        "reg_x_lambda": {"lam": LAMBDAS},
        "reg_no_decay": {"lam": 1.0, "weight_decay": 0.0},
        "reg_cls": {"lam": LAMBDAS, "classes": CLASSES},
    }
    if variant == "quick":
        config.data.functions, config.data.repetitions = 3, 2
        config.arms.reg_cls.classes = (4, 16, 64)
    elif variant == "runlocal":
        config.data.functions, config.data.repetitions = 1, 1
        config.data.scenarios, config.data.samplings = ("clean",), ("uniform", "severe")
        config.run.epochs = 2
        config.arms.reg_x_lambda.lam = config.arms.reg_cls.lam = (1.0, 1e2)
        config.arms.reg_cls.classes = (4, 64)
    elif variant != "full":
        raise ValueError(f"unknown variant {variant!r} of configs/fig4.py; one of full, quick, runlocal")
    return config
