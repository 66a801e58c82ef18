"""The study engine: trains every run of a config, writes rows as it goes, and continues where it was stopped."""

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import pandas as pd
import tqdm

from regcls_jax.data.source import Problem, Source, Spec
from regcls_jax.data.sources import source_of
from regcls_jax.store.rows import finished_runs, write_csv_atomic
from regcls_jax.store.workdir import note_time, open_workdir
from regcls_jax.study import arrays
from regcls_jax.study.arrays import Read, Sizes
from regcls_jax.study.plan import Part, Sized, measure, plan
from regcls_jax.study.rows import Row, part_rows, part_trace, trivial_rows
from regcls_jax.study.runs import Run, TrainingSet, expand
from regcls_jax.study.train import Trained, train_runs

Results = Iterator[tuple[Part, float, list[Row], pd.DataFrame | None]]


def run_study(
    config: Mapping[str, Any],
    workdir: str | os.PathLike,
    cache_dir: str | os.PathLike,
    *,
    command: str = "",
    progress: bool = True,
) -> int:
    """Trains what is not yet trained of a study (config: `runs.expand`) and returns how many trainings that was.

    Rows go to workdir/rows and traces to workdir/trace, one file per part, whole or not at all; the same call after a
    kill continues and ends with the same files. Raises ValueError for a config or data that make no sense, OSError for
    what cannot be written.
    """
    runs = expand(config)
    with open_workdir(workdir, config) as folder:
        (folder / "rows").mkdir(exist_ok=True)
        done = finished_runs(folder)
        if any(run.trace != "none" for run in runs):
            _clear_unfinished_traces(folder)
        if len(done) < len(runs):
            source, _ = source_of(config.get("data", {}))
            sizes, read = _prepare(runs, source, folder, Path(cache_dir), progress)
            devices = jax.devices()
            planned = plan(
                runs, sizes, platform=devices[0].platform, devices=len(devices), chunk=config.get("chunk", 0)
            )
            with tqdm.tqdm(total=len(runs), initial=len(done), unit="run", disable=not progress) as bar:
                for part, seconds, rows, trace in _results(planned, done, runs, sizes, read):
                    name = f"{part.runs[0]:07d}-{part.runs[-1]:07d}.csv"
                    if trace is not None:
                        write_csv_atomic(trace, folder / "trace" / f"{name}.gz")
                    # After the trace: a part is finished when its rows stand.
                    write_csv_atomic(pd.DataFrame(rows), folder / "rows" / name)
                    rate = note_time(folder, command, part.shape.classes, len(part.runs), seconds)
                    bar.set_postfix_str(f"{rate:.0f} trainings/min with {part.shape.classes} classes")
                    bar.update(len(part.runs))
    return len(runs) - len(done)


def _clear_unfinished_traces(folder: Path) -> None:
    """Makes folder/trace and removes what a killed process left there: files of parts whose rows do not stand.

    The part may be cut otherwise this time, and so be written under another name.
    """
    (folder / "trace").mkdir(exist_ok=True)
    for path in (folder / "trace").iterdir():
        if not (folder / "rows" / path.name.removesuffix(".gz")).exists():
            path.unlink()


def _prepare(runs: Sequence[Run], source: Source, folder: Path, cache_dir: Path, progress: bool) -> tuple[Sizes, Read]:
    """Makes the data, measures every training set and writes the rows of the trivial predictors."""
    by_problem: dict[Spec, list[TrainingSet]] = {}
    for trained_on in dict.fromkeys(run.trained_on for run in runs):
        by_problem.setdefault(trained_on.data, []).append(trained_on)
    source.ensure([*by_problem], cache_dir, progress)

    def read(spec: Spec) -> Problem:
        return source.read(spec, cache_dir)

    sizes: dict[TrainingSet, Sized] = {}
    trivial: list[Row] = []
    for spec, sets in tqdm.tqdm(by_problem.items(), desc="classes", disable=not progress, leave=False):
        problem = read(spec)
        sizes.update((trained_on, measure(trained_on, problem)) for trained_on in sets)
        trivial.extend(trivial_rows(spec, problem))
    write_csv_atomic(pd.DataFrame(trivial), folder / "rows" / "trivial.csv")
    return sizes, read


def _results(
    planned: Sequence[Sequence[Part]], done: set[int], runs: Sequence[Run], sizes: Sizes, read: Read
) -> Results:
    """Every part that is not done, trained: (part, seconds, rows, trace).

    While the devices train one part the host prepares the next, because their calls return before they are done.
    """
    mesh = jax.make_mesh((jax.device_count(),), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    running: tuple[Part, Trained] | None = None

    def results(part: Part, trained: Trained) -> tuple[list[Row], pd.DataFrame | None]:
        places = arrays.chunk_places(part, mesh.size)
        trace = part_trace(part, places, trained.trace, runs, sizes)
        return part_rows(part, places, trained.errors, runs, sizes), trace

    clock = time.monotonic()
    for parts in planned:
        padding = arrays.padding(parts, runs, sizes)
        for part in filter(None, (part.without(done) for part in parts)):
            arguments = arrays.build(part, padding, runs, sizes, read, mesh.size)
            started = part, train_runs(*arguments, shape=part.shape, mesh=mesh)
            if running is not None:
                made = results(*running)
                clock, before = time.monotonic(), clock
                yield running[0], clock - before, *made
            running = started
    if running is not None:
        made = results(*running)
        yield running[0], time.monotonic() - clock, *made
