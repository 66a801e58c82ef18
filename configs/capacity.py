"""Capacity: for which model sizes, under Adam and under SGD, does the classification loss help at the best setting?

    python launch/study.py --config=configs/capacity.py:reduced --workdir=runs/capacity        # what we run: 8 min
    python launch/study.py --config=configs/capacity.py:quick --workdir=runs/capacity-quick    # minutes: a small one
    python launch/study.py --config=configs/capacity.py:runlocal --workdir=runs/capacity-local # seconds: does it run?
    python launch/study.py --config=configs/capacity.py --workdir=runs/capacity-full           # weeks: never run

The grid of the authors' later note on their 1-D data (recipes 4.1-17): 5, 9, 17, 33 and 65 hidden nodes, Adam and SGD,
learning rate 1e-5 to 1e-1, the whole loss scaled by s in 1e-4 to 1e4, lambda in 1e-4 to 1e4. Their finding: with Adam
classification helps large models only, with SGD small ones.
Our reading: 4 to 64 units and a bias, in the second hidden layer, the one that the published code sets (15 in
1-6-15-1); the first stays 6. The note gives neither SGD's momentum nor class counts: .9 and those of Fig. 3 are ours.
Clean data, samplings, decay, batches and epochs as in configs/fig3.py; initial weights paired.

Full: per data set and optimiser 5 sizes x 5 rates x 9 s = 225 trainings of reg, which has no lambda, and 225 x 9 lambda
x 5 class counts = 10,125 of reg+cls; times 2 optimisers, 4 samplings, 10 functions and 3 seeds: 2,484,000 trainings.
`python benchmarks/capacity_cost.py --config=configs/capacity.py` computes what they cost from rates it measures.

Reduced (ours), 8,200 trainings: uniform and severe, one seed, 16 classes, and rates, s and lambda thinned to where a
pilot on function 0 (sizes 4 and 64) found low errors: weight decay, which s does not multiply, asks for a large s, SGD
then for small rates. reg is cheap and has rates and s that reg+cls does not, so that thinning does not handicap it;
s x lambda of reg+cls lies in them, or beyond, where reg stays the same (Adam) or diverges (SGD). An arm per optimiser,
because their grids differ.
"""

from typing import Any

from ml_collections import ConfigDict

from configs import fig3
from regcls_jax.config import check_variant

SIZES = (4, 8, 16, 32, 64)
RATES = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1)
POWERS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 1e1, 1e2, 1e3, 1e4)  # of s, and of lambda
GRIDS: dict[str, dict[str, Any]] = {
    "reg": {"lam": 1.0, "learning_rate": RATES, "scale": POWERS},
    "reg_cls": {"classes": fig3.CLASSES, "learning_rate": RATES, "scale": POWERS, "lam": POWERS},
}
FULL: dict[str, dict[str, Any]] = {
    f"{arm}{suffix}": {"optimizer": optimizer, **grid}
    for optimizer, suffix in (("adam", ""), ("sgd", "_sgd"))
    for arm, grid in GRIDS.items()
}
THINNED: dict[str, dict[str, Any]] = {
    "reg": {"learning_rate": RATES[2:], "scale": POWERS[4:]},
    "reg_cls": {"classes": 16, "learning_rate": RATES[2:4], "scale": (1.0, 1e2), "lam": POWERS[4:]},
    "reg_sgd": {"learning_rate": RATES[:4], "scale": POWERS[4:]},
    "reg_cls_sgd": {
        "classes": 16,
        "learning_rate": RATES[:3],
        "scale": (1e1, 1e2, 1e3),
        "lam": (1.0, 1e1, 1e2),
    },
}


def get_config(variant: str = "full") -> ConfigDict:
    """The config of one variant: full, reduced, quick or runlocal."""
    check_variant(__file__, variant, ("full", "reduced", "quick", "runlocal"))
    config = fig3.get_config("full")
    config.name = "capacity"
    config.data.scenarios, config.data.repetitions = ("clean",), 3
    config.run.hidden = tuple((6, size) for size in SIZES)
    config.run.momentum = 0.9
    config.run.initial_weights = "paired"
    config.scenario = {}
    config.arms = FULL
    if variant == "full":
        return config
    config.data.samplings, config.data.repetitions = ("uniform", "severe"), 1
    arms = {arm: {**FULL[arm], **thinned} for arm, thinned in THINNED.items()}
    if variant != "reduced":
        config.data.functions = 2
        config.run.hidden = ((6, 4), (6, 64))
    if variant == "runlocal":
        config.data.functions, config.run.epochs = 1, 2
        for arm, grid in arms.items():
            one_or_two = {"lam": (1.0, 1e2)} if "cls" in arm else {"scale": (1e2, 1e3)}
            arms[arm] = {**grid, "learning_rate": 1e-3, "scale": 1e2, **one_or_two}
    config.arms = arms
    return config
