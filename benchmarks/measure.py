"""The measurements: every function returns raw records (dicts of numbers); what is compared takes turns."""

import collections
import contextlib
import dataclasses
import importlib.util
import itertools
import math
import os
import statistics
import tempfile
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from worker import Answer, Worker, ask_together

from regcls_jax.data.synthetic import cache
from regcls_jax.data.synthetic.problems import data_specs
from regcls_jax.study.runs import Run

Record = dict[str, Any]

CPUS = sorted(os.sched_getaffinity(0))
REFERENCE_SAMPLES = 10_000
FIG3_SAMPLES = 21_705
# Chunks per device in one call, so that every call takes about a second; one where not listed.
CHUNKS = {0: 4, 4: 3, 16: 2}
PEAK_SECONDS = 0.5


@dataclasses.dataclass(frozen=True)
class Effort:
    """How much is measured; `rounds` and `turns` are repetitions."""

    classes: tuple[int, ...] = (0, 4, 16, 64, 256, 1024)
    samples: tuple[int, ...] = (REFERENCE_SAMPLES, FIG3_SAMPLES)
    cores: tuple[int, ...] = tuple(sorted({1, len(CPUS)}))
    rounds: int = 3
    turns: int = 3
    compared: tuple[int, ...] = (4, 1024)
    functions: int = 2
    repetitions: int = 2


def output_file(given: str | None) -> Path | None:
    """The file of --output. Raises OSError, before anything is measured, where its folder is missing."""
    path = Path(given) if given else None
    if path and not path.parent.is_dir():
        raise OSError(f"--output={path}: there is no folder {path.parent}")
    return path


def engine(cores: int = len(CPUS), **environment: str) -> Worker:
    """A process with the engine, one device per core."""
    return Worker("engine_worker.py", CPUS[:cores], **environment)


def spread(values: Iterable[float]) -> Record:
    """Median and extremes."""
    values = sorted(values)
    return {"median": statistics.median(values), "low": values[0], "high": values[-1]}


def gflop_of_training(classes: int, samples: int, hidden: Sequence[int] = Run.hidden) -> float:
    """GFLOP of the matrix products of one training (otherwise the defaults of `Run`).

    A layer [in, out] costs 2 * in * out per sample forward, as much for the gradient of its weights and, except in the
    first layer, as much for that of its inputs. Biases, activations, losses, Adam and evaluation count nothing.
    """
    trunk = itertools.pairwise((1, *hidden))
    layers = [*trunk, (hidden[-1], 1), (hidden[-1], classes)]
    products = 6 * sum(math.prod(layer) for layer in layers) - 2 * math.prod(layers[0])
    return products * (samples // Run.batch_size * Run.batch_size) * Run.epochs / 1e9


def _train(worker: Worker, samples: int, classes: int) -> Answer:
    """The answer of an engine, and its trainings per minute."""
    answer = worker.ask(samples=samples, classes=classes, chunks=CHUNKS.get(classes, 1))
    return answer | {"per_minute": 60 * answer["trainings"] / answer["seconds"]}


def throughput(effort: Effort, on_all_cores: Worker) -> list[Record]:
    """Trainings per minute and GFLOP/s of the engine, beside the matrix-product peak: on one core and on all.

    The peak is the best round of one NumPy process per core, each with one thread and pinned to its core.
    """
    rates: dict[tuple[int, int, int], list[float]] = collections.defaultdict(list)
    peaks: dict[int, list[float]] = collections.defaultdict(list)
    facts: dict[tuple[int, int, int], Answer] = {}
    with contextlib.ExitStack() as stack:
        engines = {len(CPUS): on_all_cores}
        engines |= {count: stack.enter_context(engine(count)) for count in effort.cores if count not in engines}
        products = [stack.enter_context(Worker("peak_worker.py", [cpu], OPENBLAS_NUM_THREADS="1")) for cpu in CPUS]
        # Rounds over everything, so that a disturbance does not fall on all repetitions of one setting.
        for _ in range(effort.rounds):
            for count in effort.cores:
                answers = ask_together(products[:count], seconds=PEAK_SECONDS)
                peaks[count].append(sum(answer["gflops"] for answer in answers))
            for setting in itertools.product(effort.cores, effort.samples, effort.classes):
                count, samples, classes = setting
                facts[setting] = _train(engines[count], samples, classes)
                rates[setting].append(facts[setting]["per_minute"])
    return [
        {"cores": count, "samples": samples, "classes": classes, "per_minute": spread(several)}
        | {name: facts[count, samples, classes][name] for name in ("compile_seconds", "chunk", "trainings")}
        | {"gflops": statistics.median(several) / 60 * gflop_of_training(classes, samples)}
        | {"peak_gflops": max(peaks[count])}
        for (count, samples, classes), several in rates.items()
    ]


def vector_width(effort: Effort, wide: Worker) -> list[Record]:
    """Trainings per minute at the most classes with the engine's vector width and with XLA's default, in turns."""
    classes, samples = max(effort.classes), effort.samples[0]
    rates: dict[int, list[float]] = {512: [], 256: []}
    with engine(XLA_FLAGS="--xla_cpu_prefer_vector_width=256") as narrow:
        for _ in range(effort.turns):
            for bits, worker in ((512, wide), (256, narrow)):
                rates[bits].append(_train(worker, samples, classes)["per_minute"])
    gain = spread(wide / narrow for wide, narrow in zip(rates[512], rates[256], strict=True))
    return [
        {"bits": bits, "classes": classes, "samples": samples, "per_minute": spread(several), "gain": gain}
        for bits, several in rates.items()
    ]


def against_torch(effort: Effort, ours: Worker) -> list[Record]:
    """Core-seconds per training: a PyTorch process on every core against the engine on all cores, in turns.

    Nothing without PyTorch.
    """
    if importlib.util.find_spec("torch") is None:
        return []
    samples, records = effort.samples[0], []
    with contextlib.ExitStack() as stack:
        loops = [stack.enter_context(Worker("torch_worker.py", [cpu])) for cpu in CPUS]
        for classes in effort.compared:
            torch, own = [], []
            for _ in range(effort.turns):
                answers = ask_together(loops, samples=samples, classes=classes)
                torch.append(statistics.mean(answer["seconds"] for answer in answers))
                own.append(60 * len(CPUS) / _train(ours, samples, classes)["per_minute"])
            ratio = spread(theirs / mine for theirs, mine in zip(torch, own, strict=True))
            records.append(
                {"classes": classes, "samples": samples, "torch_seconds": spread(torch)}
                | {"engine_seconds": spread(own), "ratio": ratio}
            )
    return records


def data_sets(effort: Effort) -> Record:
    """Seconds to make Fig. 3's data sets in an empty cache, scaled from those of a few functions; time to read one."""
    specs = data_specs({"functions": effort.functions, "repetitions": effort.repetitions})
    with tempfile.TemporaryDirectory() as folder:
        clock = time.perf_counter()
        cache.ensure(specs, folder)
        made = time.perf_counter()
        for spec in specs:
            cache.read(spec, folder)
        read = time.perf_counter()
    every = len(data_specs({}))
    return {
        "made": len(specs),
        "seconds": made - clock,
        "fig3_sets": every,
        "fig3_seconds": (made - clock) * every / len(specs),
        "read_milliseconds": 1000 * (read - made) / len(specs),
    }


def others_share(before: Sequence[float], after: Sequence[float]) -> float:
    """The share of the machine's time that other programs used between two `cpu_times`, in [0, 1]."""
    busy, own, total = (late - early for early, late in zip(before, after, strict=True))
    return max(0.0, busy - own) / total


def cpu_times() -> tuple[float, float, float]:
    """Seconds of all cores so far: busy (Linux), busy for this program and its ended children, and in total."""
    with open("/proc/stat", encoding="ascii") as file:
        ticks = [int(value) for value in file.readline().split()[1:9]]
    idle = ticks[3] + ticks[4]
    own = os.times()
    hertz = os.sysconf("SC_CLK_TCK")
    return (sum(ticks) - idle) / hertz, sum(own[:4]), sum(ticks) / hertz
