"""PyTorch's weights without PyTorch: its files, and its names and layouts (torchvision's), as flax variables."""

import collections
import functools
import os
import pickle
import re
import warnings
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

import flax.traverse_util
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import safetensors
import safetensors.numpy
from jax import Array

FlaxPath = tuple[str, ...]

# What files of PyTorch weights end in.
TORCH_SUFFIXES = (".pth", ".pt", ".tar", ".safetensors")

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
# Under these, checkpoints keep the state dict; before the names in it, wrappers of the model put these.
WRAPPERS = ("state_dict", "model_state_dict", "net", "model")
PREFIXES = ("module.", "_orig_mod.", "model.")
# Running statistics of feature distribution smoothing in the published codes: training needs them, a prediction not.
SMOOTHING = "FDS."
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


_DTYPES = {
    "FloatStorage": np.float32,
    "HalfStorage": np.float16,
    "DoubleStorage": np.float64,
    "BFloat16Storage": ml_dtypes.bfloat16,
    "LongStorage": np.int64,
}


class _Tensor(NamedTuple):
    """A view into a stored array, read later: optimiser states, twice the size of the weights, are never read."""

    storage: Any
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]


def read_state_dict(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """The state dict in a .safetensors, .pth, .pt or .tar file: name -> array in PyTorch's layout.

    Zip files as torch.save writes them since 1.6 hold the state dict itself or a checkpoint with one under one of
    WRAPPERS; float16/32/64, bfloat16 and int64 tensors. Only PyTorch's tensors and plain containers are unpickled;
    NumPy's numbers, such as a best loss, are passed over. Arrays may be read-only views.
    Raises OSError where the file cannot be read, ValueError naming it where it is no such file, is incomplete, in the
    format before 1.6 (the message says how to convert it), holds anything else, or a weight that is not finite (the
    message names it).
    """
    state = _read_file(Path(path))
    for key, values in state.items():
        if jnp.issubdtype(values.dtype, jnp.floating) and SMOOTHING not in key and not np.isfinite(values).all():
            raise ValueError(f"{path} is of no use: {key} holds values that are not finite")
    return state


def _read_file(path: Path) -> dict[str, np.ndarray]:
    with path.open("rb") as file:
        start = file.read(2)
    if path.suffix == ".safetensors":
        try:
            return safetensors.numpy.load_file(path)
        except safetensors.SafetensorError as error:
            raise ValueError(f"{path} is not a complete safetensors file: {error}") from error
    if start == b"\x80\x02":
        raise ValueError(
            f"{path} is in PyTorch's format before 1.6, which only PyTorch can read: save it again with"
            " torch.save(torch.load(old, map_location='cpu'), new) of PyTorch 1.6 or later"
        )
    try:
        with zipfile.ZipFile(path) as archive:
            return _read_archive(path, archive)
    except (zipfile.BadZipFile, EOFError) as error:
        raise ValueError(f"{path} is not a complete PyTorch file: {error}") from error


def _read_archive(path: Path, archive: zipfile.ZipFile) -> dict[str, np.ndarray]:
    pickles = [name for name in archive.namelist() if name.endswith("/data.pkl") and name.count("/") == 1]
    if len(pickles) != 1:
        raise ValueError(f"{path} is not a PyTorch file: it holds {len(pickles)} files */data.pkl, not 1")
    root = pickles[0].removesuffix("data.pkl")
    if f"{root}byteorder" in archive.namelist() and archive.read(f"{root}byteorder") != b"little":
        raise ValueError(f"{path} was saved on a big-endian machine, which is not supported")

    @functools.cache
    def storage(name: str, dtype: str, length: int) -> np.ndarray:
        try:
            data = archive.read(f"{root}data/{name}")
        except KeyError as error:
            raise ValueError(f"{path} is not complete: {root}data/{name} is missing") from error
        expected = length * np.dtype(_DTYPES[dtype]).itemsize
        if len(data) != expected:
            raise ValueError(f"{path} is not complete: {root}data/{name} has {len(data)} bytes, not {expected}")
        return np.frombuffer(data, _DTYPES[dtype])

    with archive.open(pickles[0]) as file:
        try:
            content = _Unpickler(file).load()
        except _ForeignContent as error:
            raise ValueError(
                f"{path} holds {error}; only plain containers and tensors of {', '.join(_DTYPES)} can be read"
            ) from error
        # A broken pickle can raise any exception; a bad zip file has a message of its own.
        except Exception as error:
            if isinstance(error, zipfile.BadZipFile):
                raise
            raise ValueError(f"{path} is not a readable PyTorch file: {error!r}") from error
    for name in WRAPPERS:
        # Published checkpoints also keep the model's name under "model".
        if isinstance(content, dict) and isinstance(content.get(name), dict):
            content = content[name]
            break
    if not isinstance(content, dict):
        raise ValueError(f"{path} holds a {type(content).__name__}, not a state dict")
    for key, value in content.items():
        if not (isinstance(key, str) and isinstance(value, _Tensor)):
            raise ValueError(f"{path} holds no state dict: entry {key!r} is a {type(value).__name__}, not a tensor")
    return {key: _array(path, key, value, storage) for key, value in content.items()}


def _array(path: Path, key: str, tensor: _Tensor, storage: Callable[..., np.ndarray]) -> np.ndarray:
    """The values of a tensor, as a view of what is stored. Raises ValueError if it reaches beyond that."""
    values = storage(*tensor.storage)
    size, stride = tensor.size, tensor.stride
    last = tensor.offset + sum((n - 1) * step for n, step in zip(size, stride, strict=False))
    whole = all(type(number) is int and number >= 0 for number in (tensor.offset, *size, *stride))
    if not whole or len(size) != len(stride) or (0 not in size and last >= len(values)):
        raise ValueError(f"{path} is damaged: {key} reaches beyond the {len(values)} values stored for it")
    itemsize = values.dtype.itemsize
    strides = tuple(step * itemsize for step in stride)
    return np.ndarray(size, values.dtype, values, 0 if 0 in size else tensor.offset * itemsize, strides)


class _ForeignContent(Exception):
    """A pickle refers to something that does not belong in a state dict."""


class Number:
    """Stands for a NumPy number, its type and its bytes: whatever a pickle makes of it, nothing is done."""

    def __init__(self, *_: Any) -> None:
        pass

    def __setstate__(self, _: Any) -> None:
        pass


# Numbers as NumPy 1 and NumPy 2 pickle them, under the protocol that PyTorch uses.
_NUMBERS = {
    ("numpy.core.multiarray", "scalar"),
    ("numpy._core.multiarray", "scalar"),
    ("numpy", "dtype"),
    ("_codecs", "encode"),
}


class _Unpickler(pickle.Unpickler):
    """Unpickles OrderedDict, and tensors as _Tensor, numbers of NumPy as Number; any other global is refused."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return collections.OrderedDict
        if (module, name) in _NUMBERS:
            return Number
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _rebuild_tensor
        if module == "torch" and name in _DTYPES:
            return name
        raise _ForeignContent(f"{module}.{name}")

    def persistent_load(self, identifier: Any) -> tuple[str, str, int]:
        """("storage", dtype, file name, device, number of values) -> (file name, dtype, number of values)."""
        kind, dtype, name, _, length = identifier
        if kind != "storage" or dtype not in _DTYPES:
            raise _ForeignContent(f"{kind} {dtype}")
        return name, dtype, length


def _rebuild_tensor(storage: Any, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_: Any) -> _Tensor:
    return _Tensor(storage, offset, size, stride)
