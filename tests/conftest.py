"""Every test sees four simulated CPU devices and strict rank promotion."""

import os

# XLA:CPU sizes the pool that its collectives wait on by the core count: four devices deadlock on two cores without it.
os.environ.setdefault("NPROC", "16")
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("MPLBACKEND", "agg")

import jax
import pytest

jax.config.update("jax_num_cpu_devices", 4)
jax.config.update("jax_numpy_rank_promotion", "raise")


@pytest.fixture
def golden():
    """The folder of golden numbers (provenance: tests/golden/README.md)."""
    from pathlib import Path

    return Path(__file__).parent / "golden"
