"""Losses as pure functions of arrays, and their registries by name (`registry.py`)."""

from regcls_jax.losses.balanced_mse import bmc, bni, gai
from regcls_jax.losses.classification import cross_entropy, membership_error, memberships
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
    "cross_entropy",
    "focal_absolute_error",
    "focal_squared_error",
    "gai",
    "gaussian_nll",
    "huber",
    "membership_error",
    "memberships",
    "squared_error",
]
