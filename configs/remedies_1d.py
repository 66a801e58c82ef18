"""Which remedy for imbalance helps on the paper's 1-D data? The arms of configs/remedies.py, at equal tuning. (Ours.)

    python launch/study.py --config=configs/remedies_1d.py --workdir=runs/remedies_1d
    python launch/study.py --config=configs/remedies_1d.py:quick --workdir=runs/remedies_1d-quick    # two functions
    python launch/study.py --config=configs/remedies_1d.py:runlocal --workdir=runs/remedies_1d-local # does it run?
    python launch/report.py --workdir=runs/remedies_1d

Three imbalanced samplings, clean and noisy, 10 functions, one repetition: 60 data sets of a third of the published size
(much smaller ones are hardly imbalanced: every bin of the target has a least number of samples). The published network
and ReLU, but 30 epochs of batches of 64 (losses on features compare all pairs of a batch), decoupled decay and a
standardised target for all arms but reg. Per data set and arm six settings are drawn from the arm's grid;
the one with the lowest MSE on the (imbalanced) validation set is tested once, on uniformly sampled targets, as a whole
and by how many training samples there are of a target.
9,000 trainings. Run here with half of the functions (4,500; 47 minutes on two busy cores): results/remedies/1d/.
"""

from ml_collections import ConfigDict

from configs import fig3, remedies
from regcls_jax.config import check_variant


def get_config(variant: str = "full") -> ConfigDict:
    """The config of one variant: full, quick or runlocal."""
    check_variant(__file__, variant, ("full", "quick", "runlocal"))
    config = fig3.get_config("full")
    config.name = "remedies_1d"
    config.budget = 6
    config.data.scenarios, config.data.samplings = ("clean", "noisy"), ("mild", "moderate", "severe")
    config.data.functions, config.data.repetitions, config.data.total = 10, 1, 20_000
    config.data.by_shots = True
    config.scenario = {}
    config.run = {
        **{"hidden": (6, 15), "initial_weights": "paired", "program": "shared", "schedule": "cosine"},
        **{"learning_rate": (3e-3, 1e-2, 3e-2), "weight_decay": (0.0, 1e-3, 1e-2, 1e-1), "decay": "decoupled"},
        **{"batch_size": 64, "epochs": 30},
    }
    config.arms = remedies.ARMS
    if variant == "quick":
        config.data.functions = 2
        config.budget = 1
    elif variant == "runlocal":
        fig3.shrink(config)
        config.data.samplings = ("severe",)
        config.budget = 1
    return config
