"""PyTorch weights: names, layouts, what does not fit; files written here byte by byte as torch.save lays them out."""

import collections
import io
import pickle
import zipfile

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy
from flax.traverse_util import flatten_dict
from torch_rule import torch_entry

from regcls_jax.models.resnet import BasicBlock, ResNet
from regcls_jax.models.torch_weights import (
    encoder_from_state_dict,
    flax_path,
    from_state_dict,
    is_of_encoder,
    read_state_dict,
    without_class_head,
)

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


@pytest.mark.parametrize(
    ("key", "ndim", "path"),
    [
        ("conv1.weight", 4, "params/conv1/kernel"),
        ("layer1.0.downsample.1.running_var", 1, "batch_stats/layer1_0/downsample_1/var"),
        ("layer3.22.bn2.weight", 1, "params/layer3_22/bn2/scale"),
        ("fc.bias", 1, "params/value_head/bias"),
        ("linear.weight", 2, "params/value_head/kernel"),
        ("linear_cls.weight", 2, "params/class_head/kernel"),
        ("D.up1.conv1_2.weight", 4, "params/D/up1/conv1_2/kernel"),
        ("R.conv0.weight", 4, "params/R/conv0/kernel"),
        ("R.conv2.weight", 4, "params/value_head/kernel"),
        ("R.reg.bias", 1, "params/value_head/bias"),
        ("R.cls.0.weight", 4, "params/class_head/up/kernel"),
        ("R.cls.2.bias", 1, "params/class_head/logits/bias"),
        ("FDS.epoch", 1, ""),
    ],
)
def test_names(key, ndim, path):
    assert "/".join(flax_path(key, ndim)) == path


MODEL = ResNet((1, 1), BasicBlock, 8, classes=3)
TORCH_SHAPES = {
    "conv1.weight": (8, 3, 7, 7),
    "layer1.0.conv1.weight": (8, 8, 3, 3),
    "layer1.0.conv2.weight": (8, 8, 3, 3),
    "layer2.0.conv1.weight": (16, 8, 3, 3),
    "layer2.0.conv2.weight": (16, 16, 3, 3),
    "layer2.0.downsample.0.weight": (16, 8, 1, 1),
    **{
        f"{norm}.{leaf}": (channels,)
        for norm, channels in [("bn1", 8), ("layer1.0.bn1", 8), ("layer1.0.bn2", 8)]
        + [("layer2.0.bn1", 16), ("layer2.0.bn2", 16), ("layer2.0.downsample.1", 16)]
        for leaf in ("weight", "bias", "running_mean", "running_var")
    },
    "linear.weight": (1, 16),
    "linear.bias": (1,),
    "linear_cls.weight": (3, 16),
    "linear_cls.bias": (3,),
}


def state(**shapes):
    """The whole state dict of MODEL; `shapes` with other shapes, or without what has shape None."""
    shapes = {**TORCH_SHAPES, **shapes}
    return {name: torch_entry(name, shape) for name, shape in shapes.items() if shape is not None}


@pytest.fixture(scope="module")
def variables():
    shapes = jax.eval_shape(MODEL.init, jax.random.key(0), jnp.zeros((1, 32, 32, 3)))
    return jax.tree.map(lambda leaf: jnp.full(leaf.shape, 9, leaf.dtype), shapes)


def test_every_entry_finds_its_place(variables):
    counters = {"bn1.num_batches_tracked": np.array(3)}
    loaded = from_state_dict({**state(), **counters}, variables)
    assert jax.tree.map(jnp.shape, loaded) == jax.tree.map(jnp.shape, variables)
    given = state()
    kernel = loaded["params"]["layer2_0"]["downsample_0"]["kernel"]
    assert kernel[0, 0, 5, 11] == given["layer2.0.downsample.0.weight"][11, 5, 0, 0]
    assert loaded["params"]["conv1"]["kernel"][6, 2, 1, 4] == given["conv1.weight"][4, 1, 6, 2]
    assert loaded["params"]["class_head"]["kernel"][7, 2] == given["linear_cls.weight"][2, 7]
    assert loaded["batch_stats"]["bn1"]["var"][3] == given["bn1.running_var"][3]
    total = sum(float(np.sum(values, dtype=np.float64)) for values in given.values())
    assert sum(np.asarray(leaf, np.float64).sum() for leaf in jax.tree.leaves(loaded)) == pytest.approx(total)


def test_prefixes_and_precisions(variables):
    expected = flatten_dict(from_state_dict(state(), variables))
    other = {f"module.{name}": values.astype(np.float64) for name, values in state().items()}
    for path, leaf in flatten_dict(from_state_dict(other, variables)).items():
        assert leaf.dtype == jnp.float32
        np.testing.assert_array_equal(leaf, expected[path])


@pytest.mark.parametrize(
    "prefix", ["_orig_mod.", "model.", "_orig_mod.module.", "module._orig_mod.", "model._orig_mod."]
)
def test_whatever_wraps_a_model(variables, prefix):
    got = from_state_dict({f"{prefix}{name}": values for name, values in state().items()}, variables)
    jax.tree.map(np.testing.assert_array_equal, got, from_state_dict(state(), variables))


# All buffers of the published module.
SMOOTHING = ["epoch", "running_mean", "running_var", "running_mean_last_epoch", "running_var_last_epoch"]
SMOOTHING += ["smoothed_mean_last_epoch", "smoothed_var_last_epoch", "num_samples_tracked"]


@pytest.mark.parametrize("prefix", ["", "module."])
def test_weights_of_an_encoder_alone(variables, prefix):
    """Into a network that has it as a submodule; the thousand classes of ImageNet are left out."""
    network = {name: {"E": tree, "value_head": {"kernel": jnp.zeros(3)}} for name, tree in variables.items()}
    given = {name.replace("linear_cls.", "fc."): entry for name, entry in state().items() if "linear." not in name}
    given = {f"{prefix}{name}": entry for name, entry in given.items()}
    assert is_of_encoder(given, "E")
    assert not is_of_encoder(given, "")
    assert not is_of_encoder({f"module.E.{name}": entry for name, entry in given.items()}, "E")
    loaded = encoder_from_state_dict(given, network, "E")
    expected = from_state_dict(state(), variables)
    for name, tree in expected.items():
        assert jax.tree.map(jnp.shape, loaded[name]) == jax.tree.map(jnp.shape, network[name])
        np.testing.assert_array_equal(loaded[name]["value_head"]["kernel"], 0)
        for module in tree.keys() - {"value_head", "class_head"}:
            jax.tree.map(np.testing.assert_array_equal, loaded[name]["E"][module], tree[module])
    with pytest.raises(ValueError, match=r"layer2.0.conv1.weight has shape \(8, 8, 3, 3\), not"):
        encoder_from_state_dict(state(**{"layer2.0.conv1.weight": (8, 8, 3, 3)}), network, "E")


def test_without_the_class_head():
    names = {"module.linear_cls.weight", "module.linear_cls.bias", "module.linear.bias"}
    given = {name: np.zeros((2, 2) if "weight" in name else 2, np.float32) for name in names}
    assert set(without_class_head(given)) == {"module.linear.bias"}
    given = {f"R.{name}": np.zeros((2, 2, 1, 1), np.float32) for name in ("cls.0.weight", "cls.2.weight", "reg.weight")}
    assert set(without_class_head(given)) == {"R.reg.weight"}


@pytest.mark.parametrize(("prefix", "module"), [("", ""), ("module.", ""), ("module.", "R.")])
def test_statistics_of_feature_smoothing_are_ignored_with_a_warning(variables, prefix, module):
    given = {**state(), **{f"{module}FDS.{name}": np.ones((97, 16), np.float32) for name in SMOOTHING}}
    with pytest.warns(
        UserWarning, match=rf"^8 statistics of feature smoothing \({prefix}{module}FDS.epoch, ...\) are ignored$"
    ):
        got = from_state_dict({f"{prefix}{name}": values for name, values in given.items()}, variables)
    jax.tree.map(np.testing.assert_array_equal, got, from_state_dict(state(), variables))


@pytest.mark.parametrize("heads", ["require", "keep"])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"conv1.weight": None}, r"params/conv1/kernel of shape \(7, 7, 3, 8\) is missing"),
        ({"bn1.running_var": None}, r"batch_stats/bn1/var of shape \(8,\) is missing"),
        ({"conv1.weight": (8, 1, 7, 7)}, r"conv1.weight has shape \(8, 1, 7, 7\), not \(8, 3, 7, 7\)"),
        ({"layer3.0.conv1.weight": (32, 16, 3, 3)}, r"layer3.0.conv1.weight of shape \(32, 16, 3, 3\) is unexpected"),
        ({"EMA.epoch": (1,)}, r"EMA.epoch of shape \(1,\) is unexpected"),
        ({"fc.bias": (1,)}, "fc.bias and linear.bias both map to params/value_head/bias"),
        ({name: None for name in TORCH_SHAPES if "layer" in name}, "and 20 more"),
    ],
)
def test_what_does_not_fit_the_trunk(variables, heads, change, message):
    with pytest.raises(ValueError, match=f"does not fit the model: .*{message}"):
        from_state_dict(state(**change), variables, heads=heads)


@pytest.mark.parametrize(
    ("change", "kept", "message"),
    [
        ({"linear_cls.weight": None, "linear_cls.bias": None}, "class_head", "params/class_head/bias"),
        ({"linear.weight": (1000, 16), "linear.bias": (1000,)}, "value_head", r"linear.bias has shape \(1000,\), not"),
        ({"linear.weight": (1, 12)}, "value_head", r"linear.weight has shape \(1, 12\), not \(1, 16\)"),
    ],
)
def test_a_head_that_does_not_fit_is_kept_whole_on_request(variables, change, kept, message):
    with pytest.raises(ValueError, match=message):
        from_state_dict(state(**change), variables)
    expected = from_state_dict(state(), variables)
    expected["params"][kept] = variables["params"][kept]
    got = from_state_dict(state(**change), variables, heads="keep")
    jax.tree.map(np.testing.assert_array_equal, got, expected)


def test_other_bad_input(variables):
    with pytest.raises(ValueError, match="bn1.bias holds int64"):
        from_state_dict({**state(), "bn1.bias": np.zeros(8, np.int64)}, variables)
    with pytest.raises(ValueError, match='"require" or "keep", got \'drop\''):
        from_state_dict(state(), variables, heads="drop")
