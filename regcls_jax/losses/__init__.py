"""Losses as pure functions of arrays, and their registries by name (`registry.py`)."""

from regcls_jax.losses.balanced_mse import bmc, bni, gai
from regcls_jax.losses.classification import cross_entropy, membership_error, memberships
from regcls_jax.losses.conr import conr
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

__all__ = [
    "absolute_error",
    "bmc",
    "bni",
    "check_pair",
    "conr",
    "cross_entropy",
    "focal_absolute_error",
    "focal_squared_error",
    "gai",
    "gaussian_nll",
    "huber",
    "membership_error",
    "memberships",
    "ordinal_entropy",
    "rank_n_contrast",
    "rank_n_contrast_bound",
    "ranksim",
    "squared_error",
]
