"""Files of PyTorch weights, written here byte by byte as torch.save lays them out."""

import collections
import io
import pickle
import zipfile

import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy

from regcls_jax.models.torch_files import read_state_dict

STORAGES = {"f4": "FloatStorage", "f2": "HalfStorage", "f8": "DoubleStorage", "i8": "LongStorage", "i4": "IntStorage"}


class Global:
    """Pickled as a reference to a global that is not installed here, such as torch.FloatStorage."""

    def __init__(self, module, name):
        self.module, self.name = module, name


class Tensor:
    """Pickled as torch.save pickles a tensor: a call of _rebuild_tensor_v2 on a persistent storage."""

    def __init__(self, key, values, size=None, stride=None, offset=0):
        self.key, self.values, self.offset = key, values, offset
        self.size = values.shape if size is None else size
        self.stride = tuple(n // values.itemsize for n in values.strides) if stride is None else stride


class Pickler(pickle._Pickler):
    """PyTorch's pickles, protocol 2. The pure-Python pickler lets globals be written by name."""

    def save(self, obj, save_persistent_id=True):
        if isinstance(obj, Global):
            self.write(pickle.GLOBAL + f"{obj.module}\n{obj.name}\n".encode())
        elif isinstance(obj, Tensor):
            dtype = obj.values.dtype
            storage = "BFloat16Storage" if dtype == ml_dtypes.bfloat16 else STORAGES[dtype.str[1:]]
            self.save(Global("torch._utils", "_rebuild_tensor_v2"))
            self.write(pickle.MARK)
            self.save(("storage", Global("torch", storage), obj.key, "cpu", obj.values.size))
            self.write(pickle.BINPERSID)
            for argument in (obj.offset, obj.size, obj.stride, False, collections.OrderedDict()):
                self.save(argument)
            self.write(pickle.TUPLE + pickle.REDUCE)
        else:
            super().save(obj, save_persistent_id)


def write_pth(path, content, storages=(), byteorder="little"):
    stream = io.BytesIO()
    Pickler(stream, 2).dump(content)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", stream.getvalue())
        archive.writestr("archive/byteorder", byteorder)
        for key, values in storages:
            archive.writestr(f"archive/data/{key}", values.tobytes())
        archive.writestr("archive/version", "3\n")
    return path


def pth_of(path, arrays, wrap=lambda state: state):
    tensors = {name: Tensor(str(i), values) for i, (name, values) in enumerate(arrays.items())}
    return write_pth(path, wrap(tensors), [(t.key, t.values) for t in tensors.values()])


ARRAYS = {
    "float": np.arange(6, dtype=np.float32).reshape(2, 3),
    "half": np.array([0.5, -2], np.float16),
    "double": np.array([1e-300]),
    "bfloat16": np.array([1.5, 3], ml_dtypes.bfloat16),
    "counter": np.array(7),
    "empty": np.zeros((0, 3), np.float32),
}


def assert_equal(got, expected):
    assert list(got) == list(expected)
    for name, values in expected.items():
        assert got[name].dtype == values.dtype
        np.testing.assert_array_equal(got[name], values)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: state,
        collections.OrderedDict,
        lambda state: {"epoch": 3, "model": "resnet50", "best_loss": 1.5, "state_dict": state},
        # The published codes keep NumPy's numbers beside it.
        lambda state: {"epoch": np.int64(3), "best_loss": np.float64(7.9), "model": "resnet50", "state_dict": state},
        lambda state: {"loss": np.float32(7.9), "model_state_dict": state},
        lambda state: {"net": state, "acc": 1.0},
        lambda state: {"model": state, "optimizer": {"lr": [1e-3], "step": Tensor("not stored", np.zeros(3))}},
    ],
)
def test_reads_what_torch_saves(tmp_path, wrap):
    assert_equal(read_state_dict(pth_of(tmp_path / "x.pth", ARRAYS, wrap)), ARRAYS)


def test_reads_views_of_a_storage(tmp_path):
    flat = np.arange(12, dtype=np.float32)
    views = {
        "transposed": Tensor("0", flat, (4, 3), (1, 4)),
        "part": Tensor("0", flat, (2, 2), (4, 1), 5),
        "expanded": Tensor("0", flat, (3, 2), (0, 1), 10),
    }
    expected = {"transposed": flat.reshape(3, 4).T, "part": flat.reshape(3, 4)[1:, 1:3], "expanded": [[10, 11]] * 3}
    got = read_state_dict(write_pth(tmp_path / "x.pt", views, [("0", flat)]))
    for name, values in expected.items():
        np.testing.assert_array_equal(got[name], values)


def test_reads_safetensors(tmp_path):
    path = tmp_path / "x.safetensors"
    safetensors.numpy.save_file(ARRAYS, path)
    got = read_state_dict(path)
    assert_equal({name: got[name] for name in ARRAYS}, ARRAYS)
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(ValueError, match=r"x\.safetensors is not a complete safetensors file"):
        read_state_dict(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (Global("os", "system"), "holds os.system"),
        ({"a": Global("torch.nn.modules.linear", "Linear")}, "holds torch.nn.modules.linear.Linear"),
        ({"a": Tensor("0", np.zeros(2, np.int32))}, "holds torch.IntStorage"),
        ({"a": Tensor("0", np.zeros(2, np.float32), (3,), (1,))}, "a reaches beyond the 2 values"),
        ({"a": Tensor("0", np.zeros(2, np.float32), (2,), (1,), -1)}, "a reaches beyond the 2 values"),
        ({"a": Tensor("1", np.zeros(2, np.float32))}, "not complete: archive/data/1 is missing"),
        ({"a": Tensor("0", np.zeros(3, np.float32))}, "archive/data/0 has 8 bytes, not 12"),
        ({"a": 1.5}, "entry 'a' is a float, not a tensor"),
        ({"a": np.float64(1.5)}, "entry 'a' is a Number, not a tensor"),
        (np.arange(3), "holds numpy"),
        ([1, 2], "holds a list, not a state dict"),
    ],
)
def test_refuses_what_is_no_state_dict(tmp_path, content, message):
    path = write_pth(tmp_path / "bad.pth", content, [("0", np.zeros(2, np.float32))])
    with pytest.raises(ValueError, match=r"bad\.pth") as error:
        read_state_dict(path)
    assert message in str(error.value)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", ["float", "half", "bfloat16"])
@pytest.mark.parametrize("kind", ["pth", "safetensors"])
def test_refuses_weights_that_are_not_finite(tmp_path, kind, name, value):
    arrays = {key: values.copy() for key, values in ARRAYS.items()}
    arrays[name].flat[1] = value
    arrays["module.FDS.running_var"] = np.full(3, np.nan, np.float32)
    path = tmp_path / f"x.{kind}"
    safetensors.numpy.save_file(arrays, path) if kind == "safetensors" else pth_of(path, arrays)
    with pytest.raises(ValueError, match=rf"x\.{kind} is of no use: {name} holds values that are not finite"):
        read_state_dict(path)


def test_a_pickle_of_numbers_calls_nothing(tmp_path):
    """What stands for NumPy's functions takes any arguments and does nothing with them."""
    stream = pickle.GLOBAL + b"_codecs\nencode\n" + pickle.MARK + pickle.GLOBAL + b"builtins\nprint\n"
    with zipfile.ZipFile(tmp_path / "x.pth", "w") as archive:
        archive.writestr("archive/data.pkl", stream + pickle.TUPLE + pickle.REDUCE + pickle.STOP)
    with pytest.raises(ValueError, match=r"x\.pth holds builtins\.print"):
        read_state_dict(tmp_path / "x.pth")


def test_refuses_damaged_and_foreign_files(tmp_path):
    path = tmp_path / "bad.pth"
    whole = pth_of(path, ARRAYS).read_bytes()
    damaged = bytearray(whole)
    damaged[whole.index(ARRAYS["float"].tobytes()) + 5] ^= 1
    legacy = pickle.dumps(0x1950A86A20F9469CFC6C, protocol=2)
    for content, message in [
        (whole[:-50], "not a complete PyTorch file"),
        (bytes(damaged), "not a complete PyTorch file: Bad CRC-32"),
        (b"", "not a complete PyTorch file"),
        (legacy, r"format before 1\.6.*save it again with torch\.save"),
    ]:
        path.write_bytes(content)
        with pytest.raises(ValueError, match=rf"bad\.pth.*{message}|bad\.pth is {message}"):
            read_state_dict(path)
    with pytest.raises(ValueError, match="big-endian"):
        read_state_dict(write_pth(path, {}, byteorder="big"))
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme", "")
    with pytest.raises(ValueError, match=r"holds 0 files \*/data\.pkl"):
        read_state_dict(path)
    with pytest.raises(FileNotFoundError):
        read_state_dict(tmp_path / "absent.pth")
