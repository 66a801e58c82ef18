"""Checks and measures this project on the devices that JAX finds, in at most 8 minutes, and writes a table of it.

python benchmarks/accelerator.py --output=accelerator.md        # and accelerator.json beside it
JAX_PLATFORMS=cpu python benchmarks/accelerator.py              # small, as on any CPU

What the time does not suffice for is listed as not finished; a check that fails ends the program with status 1.
"""

import contextlib
import dataclasses
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import accelerator_checks as checks
import measure
import pandas as pd
from absl import flags
from generated import generated_split, pipeline_rate
from measure import Record, spread
from sections import spread_cell

from regcls_jax import cli
from regcls_jax.data.batches import READY
from regcls_jax.data.images.pipeline import train_batches
from regcls_jax.report.tables import markdown
from regcls_jax.store.files import to_json, write_atomic
from regcls_jax.store.meta import facts

MINUTES = flags.DEFINE_float("minutes", 8, "Time for all of it.", lower_bound=0.1)
OUTPUT = flags.DEFINE_string("output", None, "Markdown file to write; the numbers go beside it, as .json.")

DTYPES = ("float32", "bfloat16")
STUDY = str(checks.ROOT / "configs" / "fig3.py:runlocal")


@dataclasses.dataclass(frozen=True)
class Effort:
    """What is measured: `runs` are steps of the loop by kind, with the batch of one device, in an `environment`."""

    classes: tuple[int, ...]
    samples: int
    runs: dict[str, dict[str, Any]]
    images: int  # generated for the input
    image_size: int
    workers: tuple[int, ...]
    repetitions: int
    environment: dict[str, str]


# The steps of the checks, compiled before: their rates say that they run, not how fast a CPU is.
ON_CPU = Effort((0, 64), 2560, checks.RUNS, 60, 64, (0,), 2, checks.PRECISE | checks.QUICKLY_COMPILED)
ON_ACCELERATOR = Effort(
    classes=(0, 4, 16, 64, 256, 1024),
    samples=measure.REFERENCE_SAMPLES,
    runs={"image": {"depth": 50, "batch_size": 128, "classes": 100}, "depth": {"batch_size": 16, "classes": 100}},
    images=600,
    image_size=224,
    workers=(0, min(8, len(measure.CPUS))),
    repetitions=5,
    environment={},
)


def study_rates(effort: Effort) -> Iterator[Record]:
    """Trainings of Fig. 3's model a minute, by classes."""
    for classes in effort.classes:
        with checks.device_worker() as device:
            found = device.ask(task="trainings", samples=effort.samples, classes=classes, calls=effort.repetitions)
        rate = spread(60 * found["trainings"] / seconds for seconds in found["seconds"])
        what = f"{classes} classes, {found['chunk']} side by side, {effort.samples:,} samples"
        yield {"measured": what, "unit": "trainings/min", "rate": rate, **memory(found)}


def step_rates(effort: Effort, devices: int) -> Iterator[Record]:
    """Images that the steps of the loop train on in a second."""
    for kind, settings in effort.runs.items():
        for dtype in DTYPES:
            run = settings | {"batch_size": settings["batch_size"] * devices, "dtype": dtype}
            with checks.device_worker(**effort.environment) as device:
                found = device.ask(task="steps", kind=kind, run=run, count=effort.repetitions)
            rate = spread(run["batch_size"] / seconds for seconds in found["seconds"])
            what = f"{kind} step, {', '.join(f'{name} {value}' for name, value in run.items())}"
            yield {"measured": what, "unit": "images/s", "rate": rate, **memory(found)}


def input_rates(effort: Effort) -> Iterator[Record]:
    """Images that the input pipeline makes in a second, on the host."""
    batch_size = min(64, effort.images // 3)
    with generated_split(effort.images, 256) as split:
        for workers in effort.workers:
            batches = train_batches(split, image_size=effort.image_size, batch_size=batch_size, seed=0, workers=workers)
            warm = 3 * READY * max(workers, 1)
            try:
                rates = [pipeline_rate(batches, warm, 4) for _ in range(effort.repetitions)]
            finally:
                batches.close()
            what = f"input, JPEGs of 256 to {effort.image_size} pixels, {workers} worker processes"
            yield {"measured": what, "unit": "images/s", "rate": spread(rates)}


def memory(found: Record) -> Record:
    """What an answer says of memory."""
    return {name: found.get(name) for name in ("temporary_bytes", "peak_bytes", "limit_bytes")}


def gigabytes(size: float | None) -> str:
    """A cell of memory."""
    return "" if size is None or pd.isna(size) else f"{size / 1e9:.2f}"


def page(numbers: Record) -> str:
    """All records as Markdown."""
    made = numbers["versions"]
    parts = [
        f"# On {numbers['device']['line']}",
        f"`{numbers['command']}`; {numbers['machine']}; {', '.join(f'{name} {made[name]}' for name in made)}.",
        "## Checks",
    ]
    if numbers["device"]["platform"] == "cpu":
        parts.append("This is a CPU: it is compared with itself, and its steps are compiled with few optimisations.")
    checked = pd.DataFrame(numbers["checks"])
    if len(checked):
        checked[["found", "limit"]] = checked[["found", "limit"]].map("{:.2g}".format)
        checked["passed"] = checked["passed"].map({True: "yes", False: "NO"})
        parts.append(markdown(checked))
    rows = [
        {
            "measured": record["measured"],
            "rate": spread_cell(record["rate"], 0 if record["rate"]["median"] >= 100 else 1),
            "unit": record["unit"],
            **{f"GB, {name}": gigabytes(record.get(f"{name}_bytes")) for name in ("temporary", "peak", "limit")},
        }
        for record in numbers["rates"]
    ]
    parts += ["## Rates", "Medians and ranges. Memory: temporary by the compiler, peak and limit by the device."]
    parts += [markdown(pd.DataFrame(rows))] if rows else []
    parts += [f"Not finished in time: {'; '.join(numbers['unfinished'])}."] if numbers["unfinished"] else []
    others = f"while other programs used {100 * numbers['others_share']:.0f} % of the cores"
    parts.append(f"Took {numbers['seconds']:.0f} s, {others}.")
    return "\n\n".join(parts) + "\n"


class OutOfTime(BaseException):
    """The time of the whole benchmark is over; no stage may take it for an error of its own."""


@contextlib.contextmanager
def at_most(seconds: float) -> Iterator[None]:
    """Raises OutOfTime inside the `with` block once its time is over."""

    def over(number: int, frame: FrameType | None) -> None:
        raise OutOfTime

    before = signal.signal(signal.SIGALRM, over)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


# By name: the list that its records go to, and what yields them.
Stages = dict[str, tuple[str, Callable[[], Iterable[Record]]]]


def stages(effort: Effort, folder: Path, devices: int) -> Stages:
    """What is done in turn; `folder` is for the studies."""
    return {
        "steps against the CPU": (
            "checks",
            lambda: checks.step_checks(checks.device_worker, devices, effort.environment),
        ),
        "study against the CPU": ("checks", lambda: checks.study_checks(folder, STUDY, dict(os.environ))),
        "trainings a minute": ("rates", lambda: study_rates(effort)),
        "images a second": ("rates", lambda: step_rates(effort, devices)),
        "input": ("rates", lambda: input_rates(effort)),
    }


def work_through(todo: Stages, seconds: float) -> Record:
    """The records of all stages that could be finished, `checks` and `rates`, and the names of the others."""
    found: Record = {"checks": [], "rates": [], "unfinished": [*todo]}
    with contextlib.suppress(OutOfTime), at_most(seconds):
        for name, (kind, work) in todo.items():
            print(f"{name} ...", file=sys.stderr, flush=True)
            try:
                for record in work():
                    found[kind].append(record)
            except OSError as error:
                # A process that ended, such as for want of memory; those of other stages may do.
                found["checks"].append(checks.check(f"{name}: {error}", float("nan"), 0))
            found["unfinished"].remove(name)
    return found


def main() -> None:
    output = measure.output_file(OUTPUT.value)
    clock, before = time.monotonic(), measure.cpu_times()
    with tempfile.TemporaryDirectory() as folder:
        # What one process compiled serves the others.
        os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", f"{folder}/compiled")
        os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
        with checks.device_worker() as worker:
            device = worker.ask(task="device")
        effort = ON_CPU if device["platform"] == "cpu" else ON_ACCELERATOR
        left = 60 * MINUTES.value - (time.monotonic() - clock)
        numbers = work_through(stages(effort, Path(folder), device["count"]), left)
    numbers |= {"device": device, **facts(cli.command()), "seconds": time.monotonic() - clock}
    numbers |= {"others_share": measure.others_share(before, measure.cpu_times())}
    text = page(numbers)
    print(text, end="")
    if output:
        write_atomic(output, text)
        write_atomic(output.with_suffix(".json"), to_json(numbers))
    if failed := [record["check"] for record in numbers["checks"] if not record["passed"]]:
        raise ValueError(f"{len(failed)} of {len(numbers['checks'])} checks failed: {'; '.join(failed)}")


if __name__ == "__main__":
    cli.run(main)
