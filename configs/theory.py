"""Section 2.2 in training: L_extra (Eq. 8), its form over classes (Eq. 9) and the cross-entropy (Eq. 11). (Ours.)

    python launch/study.py --config=configs/theory.py --workdir=runs/theory              # 15 min on two busy cores
    python launch/study.py --config=configs/theory.py:quick --workdir=runs/theory-quick
    python launch/study.py --config=configs/theory.py:runlocal --workdir=runs/theory-local
    python launch/study.py --config=configs/theory.py:lambda --workdir=runs/theory-lambda

Data, model and optimiser as in Fig. 3, clean and noisy, 3 repetitions; paired initial weights. After every epoch, on
every split: balanced and imbalanced NLL, their gap by Eq. 8 and Eq. 9, the cross-entropy, and how far the classifier is
from the assumption of Eq. 10. p~(y) is a mixture of 8 Gaussians fitted to the training targets; sigma^2 is the model's
own MSE on its training split, under which the likelihoods of two models compare; `lambda` takes 1 / (2 lambda) instead,
what Eq. 3 says that the weight of the regression loss means.

Arms: reg, reg_x_lambda, reg_cls with 4 and 64 classes, reg_cls_bal with 64 before equalisation. If the paper's argument
holds, the gap between the two NLL on balanced data is smaller for reg_cls than for reg, and falls with its
cross-entropy, sample by sample too.
"""

from ml_collections import ConfigDict

from configs import fig3
from regcls_jax.config import check_variant


def get_config(variant: str = "full") -> ConfigDict:
    """The config of one variant: full, quick, runlocal or lambda."""
    check_variant(__file__, variant, ("full", "quick", "runlocal", "lambda"))
    config = fig3.get_config("full")
    config.name = "theory"
    config.data.scenarios = ("clean", "noisy")
    config.data.repetitions = 3
    config.run.initial_weights = "paired"
    config.run.trace = "mse"
    config.arms = {
        "reg": {"lam": 1.0},
        "reg_x_lambda": {},
        "reg_cls": {"classes": (4, 64)},
        "reg_cls_bal": {"classes": 64, "balanced": True},
    }
    if variant == "quick":
        config.data.functions, config.data.repetitions = 2, 2
    elif variant == "lambda":
        config.run.trace = "lambda"
    elif variant == "runlocal":
        fig3.shrink(config)
    return config
