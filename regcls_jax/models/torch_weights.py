"""PyTorch's weights without PyTorch: its names and layouts, torchvision's and the published codes', in flax."""

import re
import warnings
from collections.abc import Mapping
from typing import Any, Literal

import flax.traverse_util
import jax.numpy as jnp
import numpy as np
from jax import Array

from regcls_jax.models.torch_files import SMOOTHING

FlaxPath = tuple[str, ...]

# Modules that PyTorch names otherwise than the rules of flax_path: torchvision's head, those of the published codes for
# ages and for depth, without classes and with them.
HEADS = {
    "fc": "value_head",
    "linear": "value_head",
    "linear_cls": "class_head",
    "R.conv2": "value_head",
    "R.reg": "value_head",
    "R.cls.0": "class_head.up",
    "R.cls.2": "class_head.logits",
}
# The last layers of a network, its submodules at the top: they may be left as they are where the trunk is loaded.
LAST_LAYERS = ("value_head", "class_head")
# What wrappers of a model put before the names of its entries.
PREFIXES = ("module.", "_orig_mod.", "model.")
_LEAVES = {
    "weight": ("params", "kernel"),
    "bias": ("params", "bias"),
    "running_mean": ("batch_stats", "mean"),
    "running_var": ("batch_stats", "var"),
}


def flax_path(key: str, ndim: int) -> FlaxPath:
    """Where the entry `key` of a state dict, of `ndim` axes, lives in flax variables; () where flax has no such thing.

    "layer1.0.downsample.1.running_var" -> ("batch_stats", "layer1_0", "downsample_1", "var"): a number joins the name
    before it, a leaf follows _LEAVES (a weight of one axis is a norm's scale), a head follows HEADS.
    """
    module, _, leaf = key.rpartition(".")
    modules = re.sub(r"\.(\d+)(?=\.|$)", r"_\1", HEADS.get(module, module)).split(".")
    if leaf not in _LEAVES:
        return ()
    collection, name = _LEAVES[leaf]
    if (leaf, ndim) == ("weight", 1):
        name = "scale"
    return (collection, *modules, name)


def flax_layout(entry: np.ndarray) -> np.ndarray:
    """Convolutions [out, in, kh, kw] -> [kh, kw, in, out], linear layers [out, in] -> [in, out], others as they are.

    Transposed convolutions, [in, out, kh, kw], become [kh, kw, out, in], which is flax's layout with transpose_kernel.
    """
    axes = {4: (2, 3, 1, 0), 2: (1, 0)}
    return entry.transpose(axes[entry.ndim]) if entry.ndim in axes else entry


def from_state_dict(
    state: Mapping[str, np.ndarray],
    variables: Mapping[str, Any],
    *,
    heads: Literal["require", "keep"] = "require",
) -> dict[str, Any]:
    """`variables` ({"params", "batch_stats"}, initialised) with the values of a state dict, in its own types.

    `state`: name -> array in PyTorch's layout, every name perhaps under PREFIXES (DataParallel, torch.compile,
    Lightning); counters ("num_batches_tracked") are skipped, statistics of feature smoothing with a warning. With
    heads="keep" a head that `state` lacks, or has in another shape (ImageNet's 1000 classes), stays as initialised and
    one that `variables` lacks is skipped; the trunk must fit.
    Raises ValueError naming keys and shapes for whatever is missing, unexpected, given twice, misshapen or no float.
    """
    if heads not in ("require", "keep"):
        raise ValueError(f'heads must be "require" or "keep", got {heads!r}')
    template: dict[FlaxPath, Array] = flax.traverse_util.flatten_dict(dict(variables))
    found, problems = _by_path(state)
    for path in template.keys() - found.keys():
        problems[path] = f"{'/'.join(path)} of shape {template[path].shape} is missing"
    for path, (key, entry) in found.items():
        if path not in template:
            problems[path] = f"{key} of shape {_torch_shape(entry.shape)} is unexpected"
        elif entry.shape != template[path].shape:
            # Both in PyTorch's layout, which is the one that the reader of the message can look up.
            expected = _torch_shape(template[path].shape)
            problems[path] = f"{key} has shape {_torch_shape(entry.shape)}, not {expected}"
        elif not jnp.issubdtype(entry.dtype, jnp.floating):
            problems[path] = f"{key} holds {entry.dtype}, not floating-point numbers"
    # A head is kept as a whole: a foreign bias may fit by chance where the kernel does not.
    kept = {path[:2] for path in problems if path[1] in LAST_LAYERS} if heads == "keep" else set()
    messages = sorted(message for path, message in problems.items() if path[:2] not in kept)
    if messages:
        more = f"; and {len(messages) - 5} more" if len(messages) > 5 else ""
        raise ValueError(f"the state dict does not fit the model: {'; '.join(messages[:5])}{more}")
    loaded = {
        path: leaf if path[:2] in kept else jnp.asarray(found[path][1], leaf.dtype) for path, leaf in template.items()
    }
    return flax.traverse_util.unflatten_dict(loaded)


def without_class_head(state: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """A state dict less the entries of a class head."""
    prefix = _prefix(list(state))
    return {
        key: entry
        for key, entry in state.items()
        if "class_head" not in flax_path(key.removeprefix(prefix), np.ndim(entry))
    }


def is_of_encoder(state: Mapping[str, np.ndarray], encoder: str) -> bool:
    """Whether `state` is of the encoder of a network alone, such as ImageNet's: no name is under `encoder`.

    `encoder` is the submodule of the network that it would be loaded into; "" has none.
    """
    prefix = _prefix(list(state))
    return bool(encoder) and not any(key.removeprefix(prefix).startswith(f"{encoder}.") for key in state)


def encoder_from_state_dict(state: Mapping[str, np.ndarray], variables: Mapping[str, Any], encoder: str) -> dict:
    """As `from_state_dict`, of a state dict of the submodule `encoder` alone; a head on it ("fc") is left out."""
    inner = {collection: tree[encoder] for collection, tree in variables.items()}
    loaded = from_state_dict(state, inner, heads="keep")
    return {collection: {**tree, encoder: loaded[collection]} for collection, tree in variables.items()}


def _torch_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    return (*shape[:-3:-1], *shape[:-2]) if len(shape) > 1 else shape


def _by_path(state: Mapping[str, np.ndarray]) -> tuple[dict[FlaxPath, tuple[str, np.ndarray]], dict[FlaxPath, str]]:
    """Per flax path: (key, array in flax's layout); per path of a key that has none or shares one: what is wrong."""
    prefix = _prefix(list(state))
    found: dict[FlaxPath, tuple[str, np.ndarray]] = {}
    problems: dict[FlaxPath, str] = {}
    smoothing = [key for key in state if f".{SMOOTHING}" in f".{key}"]
    if smoothing:
        warnings.warn(
            f"{len(smoothing)} statistics of feature smoothing ({smoothing[0]}, ...) are ignored", stacklevel=3
        )
    for key, entry in state.items():
        if key.endswith("num_batches_tracked") or key in smoothing:
            continue
        path = flax_path(key.removeprefix(prefix), np.ndim(entry))
        if not path:
            problems["", key] = f"{key} of shape {np.shape(entry)} is unexpected"
        elif path in found:
            problems["", key] = f"{key} and {found[path][0]} both map to {'/'.join(path)}"
        else:
            found[path] = key, flax_layout(np.asarray(entry))
    return found, problems


def _prefix(keys: list[str]) -> str:
    """What wrappers have put before all of the names, one after the other."""
    found = ""
    while keys and (more := next((p for p in PREFIXES if all(key.startswith(found + p) for key in keys)), "")):
        found += more
    return found
