"""The analytic cost of a ResNet, the time computed from it, and the program that measures and reports both."""

import importlib.util
import subprocess
import sys

import jax
import jax.numpy as jnp
import pytest
from paths import ROOT

from regcls_jax.loop.age import AgeRun

PROGRAM = ROOT / "benchmarks" / "resnet50.py"


@pytest.fixture
def resnet_cost():
    import resnet_cost

    return resnet_cost


# Parameters and "GFLOPS" (multiply-adds) as torchvision documents them for 1,000 classes at 224 x 224.
@pytest.mark.parametrize(
    ("depth", "parameters", "giga_multiply_adds"),
    [(18, 11_689_512, 1.81), (50, 25_557_032, 4.09)],
)
def test_counts_are_those_of_torchvision(resnet_cost, depth, parameters, giga_multiply_adds):
    net = resnet_cost.network(AgeRun(arm="a", seed=0, depth=depth, classes=1000))
    features = 512 if depth < 50 else 2048
    assert net.parameters - (features + 1) == parameters  # less the value head
    assert round((resnet_cost.forward_flop(net.layers) / 2 - features) / 1e9, 2) == giga_multiply_adds
    assert len(net.layers) == depth + 1 + (3 if depth < 50 else 4)  # two heads instead of one, and the shortcuts


def test_training_counts_are_those_of_xla(resnet_cost):
    """XLA counts what lies on the image, not on its padding, in the layer and in both of its gradients."""
    shapes = [((20, 20, 3), (10, 10, 8), 7, 2), ((10, 10, 8), (5, 5, 6), 3, 2), ((5, 5, 6), (5, 5, 4), 3, 1)]
    layers = [resnet_cost.Layer("", inputs, out, (kernel,) * 2, stride) for inputs, out, kernel, stride in shapes]

    def forward(weights, x):
        for layer, weight in zip(layers, weights, strict=True):
            padding = [(layer.kernel[0] // 2,) * 2] * 2
            names = ("NHWC", "HWIO", "NHWC")
            x = jax.lax.conv_general_dilated(x, weight, (layer.stride,) * 2, padding, dimension_numbers=names)
        return x

    def backward(weights, x, cotangent):
        result, pull = jax.vjp(lambda weights: forward(weights, x), weights)
        return result, pull(cotangent)

    weights = [jnp.zeros((*layer.kernel, layer.inputs[-1], layer.outputs[-1])) for layer in layers]
    images = jnp.zeros((1, *layers[0].inputs))
    counted = jax.jit(forward).lower(weights, images).cost_analysis()["flops"]
    assert counted == resnet_cost.forward_flop(layers, padding=False)
    cotangent = jnp.zeros((1, *layers[-1].outputs))
    counted = jax.jit(backward).lower(weights, images, cotangent).cost_analysis()["flops"]
    assert counted == resnet_cost.training_flop(layers, padding=False)
    # With padding: two per output value and weight it sees.
    assert resnet_cost.forward_flop(layers) == 2 * (100 * 8 * 49 * 3 + 25 * 6 * 9 * 8 + 25 * 4 * 9 * 6)


def test_time_from_peak_and_utilisation(resnet_cost):
    accelerators = [resnet_cost.parse_accelerator("one, fast=2"), resnet_cost.Accelerator("slow", 1.0)]
    frame = resnet_cost.times(1e9, 7_200_000, accelerators, [0.5], [1, 4], 300.0)
    assert frame["accelerator"].tolist() == ["one, fast", "one, fast", "slow", "slow"]
    assert frame["images_per_second"].tolist() == pytest.approx([1000, 4000, 500, 2000], rel=1e-12)
    assert frame["hours"].tolist() == pytest.approx([2, 0.5, 4, 1], rel=1e-12)
    assert frame["decoders"].tolist() == [4, 14, 2, 7]


@pytest.mark.parametrize("text", ["A100", "=312", "A100=", "A100=fast", "A100=0", "A100=-1", "A100=nan", "A100=inf"])
def test_an_accelerator_needs_a_name_and_a_rate(resnet_cost, text):
    with pytest.raises(ValueError, match=f"'{text}' is not name=TFLOP/s"):
        resnet_cost.parse_accelerator(text)


@pytest.mark.parametrize(("depth", "classes"), [(18, 0), (50, 10)])
def test_the_network_in_pytorch_is_the_same(resnet_cost, depth, classes):
    pytest.importorskip("torch")
    import torch_resnet_worker

    run = AgeRun(arm="a", seed=0, depth=depth, classes=classes, width=8, image_size=32, batch_size=4)
    training = torch_resnet_worker.Training(run, "channels_last")
    ours = resnet_cost.network(run)
    assert sum(parameter.numel() for parameter in training.net.parameters()) == ours.parameters
    shapes = [tuple(p.shape[i] for i in (2, 3, 1, 0)) for p in training.net.parameters() if p.ndim == 4]
    expected = [(*layer.kernel, layer.inputs[-1], layer.outputs[-1]) for layer in ours.layers if layer.kernel]
    assert sorted(shapes) == sorted(expected)


TINY = """
from ml_collections import ConfigDict

def get_config():
    run = {"depth": 18, "width": 4, "image_size": 32, "batch_size": 8, "epochs": 2}
    return ConfigDict({"name": "tiny", "run": run, "arms": {"small": {"classes": 10}}, "seeds": (0,)})
"""


def run_program(folder, *arguments):
    (folder / "tiny.py").write_text(TINY)
    command = [sys.executable, PROGRAM, "--config=tiny.py", *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=folder)


def test_the_program_reports_every_section(tmp_path):
    arguments = ["--step_batch_sizes=8", "--steps=1", "--output=speed.md", "--accelerators=abacus=1e-6"]
    arguments += ["--images=30", "--pixels=40", "--workers=0", "--batch_size=8", "--batches=1", "--turns=1"]
    done = run_program(tmp_path, *arguments)
    assert done.returncode == 0, done.stderr
    assert done.stdout == (tmp_path / "speed.md").read_text()
    assert [line for line in done.stdout.splitlines() if line.startswith("#")] == [
        "# Throughput of small, ResNet-18",
        "## Step (measured)",
        "## Compiled step against the analytic count",
        "## Input pipeline (measured)",
        "## Time of the published training (COMPUTED)",
    ]
    assert "**Computed, not measured**: 2 epochs x 191,509 images" in done.stdout
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in done.stdout.splitlines() if line[:1] == "|"]
    devices = [row[:4] for row in cells if row[0] == "abacus"]
    assert devices == [["abacus", "1e-06", count, share] for count in "18" for share in ("15%", "30%")]
    shares = {row[0]: float(row[2]) for row in cells if row[0].startswith(("of these, not", "XLA"))}
    # Every multiply-add on the image, and on top what else there is to do; 32 pixels are mostly padding at the end.
    assert shares["of these, not with padding zeros"] < shares["XLA, as lowered"] < 1


@pytest.mark.skipif(importlib.util.find_spec("torch") is not None, reason="PyTorch is installed")
def test_no_comparison_without_pytorch(tmp_path):
    done = run_program(tmp_path, "--torch")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "error: --torch: PyTorch is not installed; pip install -e '.[bench]'\n"


def test_mistakes_are_said_before_measuring(tmp_path):
    done = run_program(tmp_path, "--output=none/speed.md")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "error: --output=none/speed.md: there is no folder none\n"
