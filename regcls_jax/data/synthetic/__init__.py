"""The controlled 1-D data sets of the paper (section 2.1): what to ask for, the generator, the cache."""

from regcls_jax.data.synthetic.cache import ensure, load, read
from regcls_jax.data.synthetic.generator import Dataset, Function, Source, Split, data_seeds, functions, make
from regcls_jax.data.synthetic.spec import NOISE_KINDS, SAMPLINGS, SCENARIOS, TRAINING_SEEDS, DataSpec

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
