"""What a program says it runs on, and what it refuses to run on."""

import os
import subprocess
import sys

import pytest

SAY = """
import logging, sys
from absl import logging as absl_logging
from regcls_jax import devices
absl_logging.use_absl_handler()
absl_logging.set_verbosity(absl_logging.FATAL)  # as cli.run does
def connect():
    if sys.argv[1] == "alone":
        raise RuntimeError("DEADLINE_EXCEEDED: no answer")
    warn = logging.getLogger("jax._src.xla_bridge").warning
    warn("a GPU may be present")
try:
    print(devices.start(sys.argv[1], 2, connect))
except ValueError as error:
    print("error:", error)
"""


def say(platform, **environment):
    cleared = {name: value for name, value in os.environ.items() if name != "JAX_PLATFORMS"}
    command = [sys.executable, "-c", SAY, platform]
    done = subprocess.run(command, env={**cleared, **environment}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "a GPU may be present" in done.stderr, "JAX's own warnings are seen"
    return done.stdout


CPUS = "2 CPU devices (chosen by --platform or JAX_PLATFORMS)"


@pytest.mark.parametrize(
    ("platform", "environment", "line"),
    [
        ("cpu", {}, f"Running on {CPUS}"),
        ("any", {"JAX_PLATFORMS": "cpu"}, f"Running on {CPUS}"),
        ("gpu", {"JAX_PLATFORMS": "cpu"}, f"error: --platform=gpu: JAX finds only {CPUS}"),
    ],
)
def test_what_a_program_runs_on(platform, environment, line):
    assert say(platform, **environment) == f"{line}\n"


def test_an_accelerator_is_named_by_its_kind():
    from regcls_jax.devices import described

    class Device:
        device_kind = "NVIDIA H100 80GB HBM3"

    assert described([Device()], "gpu", "") == "1 NVIDIA H100 80GB HBM3 (gpu)"
    assert described([Device()] * 8, "gpu", "") == "8 NVIDIA H100 80GB HBM3 (gpu)"
    assert described([Device()], "cpu", "") == "1 CPU device (no GPU or TPU was found)"


def test_the_memory_is_that_of_the_smallest_device():
    from types import SimpleNamespace

    from regcls_jax.devices import LEAST_MEMORY, memory

    def device(platform, stats):
        return SimpleNamespace(platform=platform, memory_stats=lambda: stats)

    assert memory([device("gpu", {"bytes_limit": 7 << 33}), device("gpu", {"bytes_limit": 1 << 34})]) == 1 << 34
    assert memory([device("tpu", None)]) == LEAST_MEMORY
    assert memory([device("cpu", {"bytes_limit": 5})]) is None


def test_processes_that_cannot_be_joined_are_one_line():
    done = subprocess.run([sys.executable, "-c", SAY, "alone"], capture_output=True, text=True)
    assert done.stdout == "error: the processes cannot be joined: DEADLINE_EXCEEDED: no answer\n"
