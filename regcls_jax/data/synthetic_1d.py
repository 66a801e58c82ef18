"""The controlled 1-D data sets of the paper (section 2.1): what to ask for, the generator, the cache."""

from regcls_jax.data.cache import ensure, load, read
from regcls_jax.data.data_spec import NOISE_KINDS, SAMPLINGS, SCENARIOS, TRAINING_SEEDS, DataSpec
from regcls_jax.data.generator_1d import Dataset, Function, Source, Split, data_seeds, functions, make

__all__ = [
    "NOISE_KINDS",
    "SAMPLINGS",
    "SCENARIOS",
    "TRAINING_SEEDS",
    "DataSpec",
    "Dataset",
    "Function",
    "Source",
    "Split",
    "data_seeds",
    "ensure",
    "functions",
    "load",
    "make",
    "read",
]
