"""Losses as pure functions of arrays, and their registries by name (`registry.py`)."""

from regcls_jax.losses.balanced_mse import bmc, bni, gai, gai_vectors
from regcls_jax.losses.classification import cross_entropy, membership_error, memberships
from regcls_jax.losses.conr import conr
from regcls_jax.losses.heads import evidential_nll, evidential_value, laplace_nll, uvote, uvote_value
from regcls_jax.losses.ordinal import (
    coral,
    coral_probabilities,
    corn,
    corn_probabilities,
    soft_squared_emd,
    squared_emd,
)
from regcls_jax.losses.ordinal_entropy import ordinal_entropy
from regcls_jax.losses.rank_n_contrast import rank_n_contrast, rank_n_contrast_bound
from regcls_jax.losses.ranksim import ranksim
from regcls_jax.losses.regression import (
    absolute_error,
    check_pair,
    focal_absolute_error,
    focal_squared_error,
    gaussian_nll,
    huber,
    squared_error,
)
from regcls_jax.losses.soft_targets import hl_gauss, soft_cross_entropy, sord, two_hot

__all__ = [
    "absolute_error",
    "bmc",
    "bni",
    "check_pair",
    "conr",
    "coral",
    "coral_probabilities",
    "corn",
    "corn_probabilities",
    "cross_entropy",
    "evidential_nll",
    "evidential_value",
    "focal_absolute_error",
    "focal_squared_error",
    "gai",
    "gai_vectors",
    "gaussian_nll",
    "hl_gauss",
    "huber",
    "laplace_nll",
    "membership_error",
    "memberships",
    "ordinal_entropy",
    "rank_n_contrast",
    "rank_n_contrast_bound",
    "ranksim",
    "soft_cross_entropy",
    "soft_squared_emd",
    "sord",
    "squared_emd",
    "squared_error",
    "two_hot",
    "uvote",
    "uvote_value",
]
