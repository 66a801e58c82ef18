"""The deterministic weights that the published networks were filled with (golden/README.md)."""

import zlib

import numpy as np
from flax.traverse_util import flatten_dict

from regcls_jax.models.torch_weights import flax_path


def torch_entry(name, shape):
    """The float32 entry `name` of a PyTorch state dict, in PyTorch's layout `shape`."""
    z = np.random.RandomState(zlib.crc32(name.encode())).standard_normal(shape).astype(np.float32)
    if name.endswith("running_var"):
        entry = 1 + 0.1 * np.abs(z)
    elif len(shape) == 1 and name.endswith("weight"):
        entry = 1 + 0.1 * z
    elif len(shape) == 1:
        entry = 0.1 * z
    else:
        entry = 0.7 * z * np.sqrt(2 / np.prod(shape[1:]))
    return entry.astype(np.float32)


def torch_paths(names, variables):
    """Where the PyTorch parameters `names` live in flax `variables`: name -> path."""
    ndims = {path: len(leaf.shape) for path, leaf in flatten_dict(variables).items()}
    return {name: path for name in names for n in (1, 2, 4) if ndims.get(path := flax_path(name, n)) == n}


def torch_state(names, variables):
    """The state dict, by the rule, of a network with parameters `names`; shapes are those of `variables`."""
    shapes = {path: leaf.shape for path, leaf in flatten_dict(variables).items()}
    state = {}
    for name, path in torch_paths(names, variables).items():
        shape = shapes[path]
        state[name] = torch_entry(name, {4: shape[3:1:-1] + shape[:2], 2: shape[::-1]}.get(len(shape), shape))
        if path[-1] == "scale":
            for statistic in ("running_mean", "running_var"):
                key = name.removesuffix("weight") + statistic
                state[key] = torch_entry(key, shape)
    return state
