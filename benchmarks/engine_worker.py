"""Times the study engine: trainings of Fig. 3's model on in-memory problems, through the engine's own functions."""

import functools
import time
from collections.abc import Callable, Sequence

import numpy as np
from worker import Answer, serve

from regcls_jax.data.source import Problem
from regcls_jax.data.synthetic.generator import functions
from regcls_jax.data.synthetic.spec import DataSpec
from regcls_jax.devices import configure_cpu, memory
from regcls_jax.study.chunks import chunk_size, cost_of
from regcls_jax.study.plan import measure, plan, shape_of
from regcls_jax.study.runs import Run

# As many data sets as Fig. 3 has of a sampling; further runs, which fill a large device, repeat them.
REPETITIONS, PROBLEMS = 5, 50
SPLITS = ("train", "val", "val_balanced", "test")


def problem(spec: DataSpec, samples: int) -> Problem:
    """A data set of `samples` in all four splits: the function of `spec` at uniform inputs."""
    x = np.random.default_rng((spec.function, spec.repetition)).uniform(-1, 1, (samples, 1))
    rows = np.arange(samples, dtype=np.int32)
    return Problem(x, functions(spec.function + 1)[spec.function](x[:, 0]), dict.fromkeys(SPLITS, rows))


@functools.cache
def compiled(
    samples: int, classes: int, chunks: int, hidden: tuple[int, ...], optimizer: str
) -> tuple[Callable[[], object], Answer]:
    """A call that trains `chunks` chunks per device, and facts about it (such as the compile time)."""
    import jax

    from regcls_jax.study import arrays
    from regcls_jax.study.train import train_runs

    def read(spec: DataSpec) -> Problem:
        return problem(spec, samples)

    def run(number: int) -> Run:
        function, repetition = divmod(number % PROBLEMS, REPETITIONS)
        data = DataSpec("clean", "mild", function, repetition)
        settings = {"classes": classes, "lam": 100.0, "hidden": hidden, "optimizer": optimizer}
        return Run(arm="benchmark", data=data, seed=data.seed, **settings)

    first = run(0)
    sized = measure(first.trained_on, read(first.data))
    room = memory(jax.devices())
    chunk = chunk_size(cost_of(shape_of(first, sized), sized.samples, sized.width), room)
    runs = [run(number) for number in range(chunks * chunk * jax.device_count())]
    sizes = {run.trained_on: measure(run.trained_on, read(run.data)) for run in runs}
    (parts,) = plan(runs, sizes, devices=jax.device_count(), memory=room)
    part = parts[0]
    padding = arrays.padding(parts, runs, sizes)

    arguments = arrays.build(part, padding, runs, sizes, read, jax.device_count())
    mesh = jax.make_mesh((jax.device_count(),), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    clock = time.perf_counter()
    program = train_runs.lower(*arguments, shape=part.shape, mesh=mesh).compile()
    seconds = time.perf_counter() - clock
    facts = {"trainings": len(part.runs), "chunk": part.chunk, "compile_seconds": seconds}
    return lambda: jax.block_until_ready(program(*arguments)), facts


def train(
    samples: int, classes: int, chunks: int, hidden: Sequence[int] = Run.hidden, optimizer: str = Run.optimizer
) -> Answer:
    """Seconds of one call, and the facts of `compiled`; the first call of a kind compiles before the clock starts."""
    call, facts = compiled(samples, classes, chunks, tuple(hidden), optimizer)
    clock = time.perf_counter()
    call()
    return {"seconds": time.perf_counter() - clock, **facts}


if __name__ == "__main__":
    configure_cpu()
    serve(train)
