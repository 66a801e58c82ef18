"""STS-B-DIR: the similarity of two sentences from word vectors, at the published splits and metrics. (Features: ours.)

    pip install -e '.[text]'        # WordLlama, which ships the word vectors
    python launch/study.py --config=configs/sts_b_dir.py --config.data.folder=FOLDER --workdir=runs/sts_b_dir
    python launch/study.py --config=configs/sts_b_dir.py:quick --workdir=runs/sts-quick          # four arms, one seed
    python launch/study.py --config=configs/sts_b_dir.py:runlocal --workdir=runs/sts-local       # does it run?
    python launch/report.py --workdir=runs/sts_b_dir

FOLDER holds train_new.tsv, dev_new.tsv and test_new.tsv of Yang et al. (2021): 5,249, 1,000 and 1,000 pairs, the last
two even over the score. The published network is a BiLSTM on GloVe; here a pair is |u - v|, u v and the cosine of two
sentences' mean word vectors, and a network of two hidden layers predicts from these.

Arms are those of configs/own.py and lds_inverse, LDS of the inverse density, as published; all densities are over the
published 50 buckets of [0, 5]. Each arm has six settings a
seed, drawn from its grid, of which the one with the lowest MSE on the dev set is tested. Three seeds. Focal-R has the
published beta (20 for scores over 5, so 4 here).
"""

from typing import Any

from ml_collections import ConfigDict

from configs.own import ARMS
from regcls_jax.config import check_variant

BUCKETS = {"buckets": 50, "bucket_low": 0.0, "bucket_high": 5.0}
LDS: dict[str, Any] = {"output": "standardised", "loss_in": "std", "lds": True}


def get_config(variant: str = "full") -> ConfigDict:
    """The config of one variant: full; quick (four arms, one seed); runlocal (these, tiny)."""
    check_variant(__file__, variant, ("full", "quick", "runlocal"))
    config = ConfigDict()
    config.name = "sts_b_dir"
    config.data = {"source": "sts_b_dir"}
    config.run = {
        **{"hidden": (128, 64), "inputs": "standardised", "best_on": "val", "schedule": "cosine", "program": "shared"},
        **{"learning_rate": (3e-4, 1e-3, 3e-3), "weight_decay": (1e-3, 1e-2, 1e-1, 1.0), "decay": "decoupled"},
        **{"epochs": 30, "batch_size": 64, **BUCKETS},
    }
    config.arms = {
        **ARMS,
        "lds": {**LDS, "reweight": "sqrt_inv"},
        "lds_inverse": {**LDS, "reweight": "inverse"},
        "focal": {"output": "standardised", "regression": "focal_squared_error", "focal_beta": 4.0},
    }
    config.budget, config.predictions = 6, True
    if variant != "full":
        config.arms = {arm: config.arms[arm] for arm in ("reg", "reg_std", "reg_cls", "lds")}
        config.data.repetitions = 1
    if variant == "runlocal":
        config.budget = 2
        config.run.update({"epochs": 2, "hidden": (8,)})
    return config
