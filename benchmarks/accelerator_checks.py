"""Does a device compute what a CPU does? A check is a record: what was compared, how far it is, how far it may be.

Numbers are compared with the same program on the CPU, in float32 throughout: by default an accelerator multiplies
float32 with fewer digits (TF32, bfloat16), which would hide a fault as large as that.
"""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import measure
import numpy as np
from measure import Record
from worker import Worker

from regcls_jax.store.rows import read_rows

ROOT = Path(__file__).parents[1]
PRECISE = {"JAX_DEFAULT_MATMUL_PRECISION": "highest"}
# Steps on a CPU are few: compiling them takes longer than they do.
QUICKLY_COMPILED = {"XLA_FLAGS": "--xla_backend_optimization_level=1"}
# Largest relative difference of a test error after 168 steps, and of a loss in one of the first steps.
ROWS_LIMIT, STEPS_LIMIT = 0.01, 0.01
# The same of bfloat16 against float32 on the same device.
BFLOAT16_LIMIT = 0.05
STEPS = 3
IMAGE = {"depth": 18, "width": 8, "image_size": 32, "batch_size": 16, "classes": 10}
DEPTH = {"layers": 18, "width": 8, "image_height": 64, "image_width": 64, "batch_size": 8, "classes": 10}
RUNS = {"image": IMAGE, "depth": DEPTH}


def check(name: str, found: float, limit: float) -> Record:
    """A check that passes if `found` is at most `limit`; NaN does not."""
    return {"check": name, "found": float(found), "limit": limit, "passed": bool(found <= limit)}


def largest_difference(found: Sequence[float], expected: Sequence[float]) -> float:
    """Largest relative difference; NaN where a number is not finite."""
    first, second = np.asarray(found, float), np.asarray(expected, float)
    return float(np.max(np.abs(first - second) / np.abs(second))) if np.isfinite([first, second]).all() else np.nan


def study(folder: Path, config: str, environment: dict[str, str]) -> subprocess.Popen:
    """Starts a study in a folder."""
    command = [sys.executable, ROOT / "launch" / "study.py", f"--config={config}", f"--workdir={folder}"]
    command += [f"--cache_dir={folder.parent / 'cache'}", "--devices=1"]
    return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def finish(process: subprocess.Popen) -> None:
    """Waits for a study; OSError with the last line that it wrote if it fails."""
    try:
        _, errors = process.communicate()
    finally:
        process.kill()
    if process.returncode:
        raise OSError(f"launch/study.py ended with status {process.returncode}: {(errors.splitlines() or [''])[-1]}")


def killed_and_resumed(folder: Path, config: str, environment: dict[str, str]) -> None:
    """A study that is killed when its first rows are there, and given again."""
    process = study(folder, config, environment)
    try:
        while process.poll() is None and not list((folder / "rows").glob("0*")):
            time.sleep(0.02)
    finally:
        process.kill()
        process.communicate()
    finish(study(folder, config, environment))


def study_checks(folder: Path, config: str, environment: dict[str, str]) -> list[Record]:
    """Rows against those of the CPU, and after kill -9 and the same command again against those of the device."""
    finish(study(folder / "cpu", config, environment | PRECISE | {"JAX_PLATFORMS": "cpu"}))
    finish(study(folder / "device", config, environment | PRECISE))
    killed_and_resumed(folder / "resumed", config, environment | PRECISE)
    rows = {
        name: read_rows(folder / name).sort_values(["run", "arm", "sampling", "split"], ignore_index=True)
        for name in ("cpu", "device", "resumed")
    }
    trained = rows["cpu"]["run"] >= 0
    difference = largest_difference(rows["device"]["mse"][trained], rows["cpu"]["mse"][trained])
    other = (rows["device"].fillna(0) != rows["resumed"].fillna(0)).any(axis=1).sum()
    return [
        check(f"study, MSE of {trained.sum()} rows against the CPU, relative", difference, ROWS_LIMIT),
        check("study, rows that differ after kill -9 and resumption", other, 0),
    ]


def step_checks(start: Callable[..., Worker], devices: int, environment: dict[str, str]) -> Iterator[Record]:
    """Losses of image and depth steps against the CPU, and bfloat16 against float32 on the device.

    Args:
      start: (environment) -> a worker of accelerator_worker.py.
      devices: how many there are: a batch is a multiple of it.
      environment: of the worker on the device.
    """
    for kind, settings in RUNS.items():
        run = settings | {"batch_size": settings["batch_size"] * devices}
        request = {"task": "steps", "kind": kind, "count": STEPS}
        with start(**PRECISE, **QUICKLY_COMPILED, JAX_PLATFORMS="cpu") as cpu:
            expected = cpu.ask(run=run, **request)["losses"]
        with start(**PRECISE | environment) as device:
            losses = device.ask(run=run, **request)["losses"]
            half = device.ask(run=run | {"dtype": "bfloat16"}, **request)["losses"]
        name = f"{kind} step, loss of {len(losses)} steps"
        yield check(f"{name} against the CPU, relative", largest_difference(losses, expected), STEPS_LIMIT)
        difference = largest_difference(half, losses)
        yield check(f"{name} in bfloat16 against float32, relative", difference, BFLOAT16_LIMIT)


def device_worker(**environment: str) -> Worker:
    """A process on the devices that JAX finds, or is told to use."""
    chosen = {"JAX_PLATFORMS": os.environ.get("JAX_PLATFORMS", "")} | environment
    return Worker("accelerator_worker.py", measure.CPUS, **chosen)
