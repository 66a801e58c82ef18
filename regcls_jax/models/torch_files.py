"""The files that torch.save and safetensors write, read without PyTorch: a state dict, and nothing of it is run."""

import collections
import functools
import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import ml_dtypes
import numpy as np
import safetensors
import safetensors.numpy

# What files of PyTorch weights end in.
TORCH_SUFFIXES = (".pth", ".pt", ".tar", ".safetensors")
# Under these, checkpoints keep the state dict.
WRAPPERS = ("state_dict", "model_state_dict", "net", "model")
# Running statistics of feature distribution smoothing in the published codes: training needs them, a prediction not.
SMOOTHING = "FDS."

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
