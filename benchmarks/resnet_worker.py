"""Measures time and memory of the training step of an image run: the loop's own jitted, donated step on one device."""

import functools
import time
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from resnet_cost import image_run
from worker import Answer, serve, timed

from regcls_jax.data.images.splits import ImageSplit
from regcls_jax.data.imdb_wiki import train_counts
from regcls_jax.data.prepared import Prepared
from regcls_jax.devices import configure_cpu
from regcls_jax.loop.age import AgeRun
from regcls_jax.loop.mesh import data_mesh, replicated, to_devices
from regcls_jax.loop.start import state_template
from regcls_jax.loop.steps import Engine, init_state, make_engine, train_step


def published_engine(run: AgeRun) -> Engine:
    """The engine of a run on ages as IMDB-WIKI-DIR has them, whatever its data set."""
    counts = train_counts()
    ages = np.repeat(np.arange(len(counts), dtype=np.float32), counts)
    return make_engine(
        run, Prepared("ages", "age", "years", "", {"train": ImageSplit(None, ages, np.empty(len(ages)))})
    )


def noise(run: AgeRun) -> dict[str, np.ndarray]:
    """A batch of noise with ages."""
    generator = np.random.default_rng(0)
    shape = (run.batch_size, run.image_size, run.image_size, 3)
    return {
        "input": generator.integers(0, 256, shape, dtype=np.uint8),
        "target": generator.integers(0, 100, run.batch_size).astype(np.float32),
        "mask": np.ones(run.batch_size, bool),
    }


class Program:
    """The compiled step of an engine, and a batch on the device."""

    def __init__(self, engine: Engine, rows: dict[str, np.ndarray]) -> None:
        self.engine = engine
        self.mesh = data_mesh()
        self.batch = to_devices(self.mesh, rows)
        step = jax.jit(
            functools.partial(train_step, self.engine), donate_argnums=0, out_shardings=replicated(self.mesh)
        )
        self.lowered = step.lower(state_template(self.engine, self.mesh), self.batch)
        clock = time.perf_counter()
        self.step = self.lowered.compile()
        self.compile_seconds = time.perf_counter() - clock


class Training:
    """A program and its state after some steps."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.state = jax.device_put(init_state(self.program.engine), replicated(self.program.mesh))
        self.advance()

    def advance(self) -> None:
        self.state, self.terms = self.program.step(self.state, self.program.batch)
        jax.block_until_ready((self.state, self.terms))


# One at a time: a state and the activations of a step fill gigabytes.
@functools.lru_cache(maxsize=1)
def program(run: AgeRun) -> Program:
    """The step of a run on ages."""
    return Program(published_engine(run), noise(run))


@functools.lru_cache(maxsize=1)
def training(run: AgeRun) -> Training:
    """The training of a run on ages."""
    return Training(program(run))


def answer(run: Mapping[str, Any], task: str) -> Answer:
    """Seconds and core-seconds of one step (`task` "step"), or XLA's cost figures of the program ("cost").

    The first request of a run compiles it and, for "step", makes one step, before any clock starts.
    """
    if task == "cost":
        compiled = program(image_run(run))
        memory = compiled.step.memory_analysis()
        return {
            "lowered_flop": compiled.lowered.cost_analysis()["flops"],
            "compiled_flop": compiled.step.cost_analysis()["flops"],
            "compile_seconds": compiled.compile_seconds,
            "argument_bytes": memory.argument_size_in_bytes,
            "alias_bytes": memory.alias_size_in_bytes,
            "temporary_bytes": memory.temp_size_in_bytes,
        }
    return timed(training(image_run(run)).advance)


if __name__ == "__main__":
    configure_cpu(1)
    serve(answer)
