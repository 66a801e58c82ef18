"""The study engine: trains every run of a config, writes rows as it goes, and continues where it was stopped.

Several processes may work on one study, on one machine or on many that share its folder (see `parts`).
"""

import dataclasses
import functools
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pandas as pd
import tqdm

from regcls_jax.data.source import Problem, synthetic_problem, uniform_spec
from regcls_jax.data.synthetic import cache
from regcls_jax.data.synthetic.spec import DataSpec
from regcls_jax.metrics.errors import ErrorSums, trivial_predictors
from regcls_jax.store.claims import Claims, open_claims
from regcls_jax.store.meta import note_time
from regcls_jax.store.rows import write_csv_atomic
from regcls_jax.store.traces import TRACE_COLUMNS
from regcls_jax.store.workdir import CLAIMS, share_workdir
from regcls_jax.study import arrays as tables
from regcls_jax.study import parts
from regcls_jax.study.plan import Part, Sized, Task, measure, plan, task_of
from regcls_jax.study.runs import Run, expand
from regcls_jax.study.trace import Trace
from regcls_jax.study.train import train_grid

# Data sets kept in memory (1 MB each): what one part reads, and the uniform sampling that several are tested on.
MEMORY = 256

# What a trivial predictor has in the columns of a trained model.
NOTHING_TRAINED = {"seed": -1, "classes": 0, "classes_kept": 0, "balanced": False} | dict.fromkeys(
    ("lam", "scale", "learning_rate", "weight_decay"), float("nan")
)

Read = Callable[[DataSpec], Problem]
Sizes = Mapping[Task, Sized]
Row = dict[str, Any]


def run_study(
    config: Mapping[str, Any],
    workdir: str | os.PathLike,
    cache_dir: str | os.PathLike,
    *,
    command: str = "",
    progress: bool = True,
) -> int:
    """Trains what is not yet trained of a study (config: `grid.expand`); returns how many trainings it did.

    Rows go to workdir/rows and traces to workdir/trace, one file per part, whole or not at all; the same call after a
    kill continues and ends with the same files. Processes that are given the same study divide its trainings and end
    when all rows stand; these are the same, in other files perhaps. Raises ValueError for a config or data that make
    no sense, OSError for what cannot be written.
    """
    runs = expand(config)
    folder = share_workdir(workdir, config)
    for name in ("rows", "trace") if any(run.trace != "none" for run in runs) else ("rows",):
        (folder / name).mkdir(exist_ok=True)
    finished = parts.Finished(folder / "rows")
    finished.look()
    trained = 0
    if len(finished.runs) < len(runs):
        with parts.sigterm_as_interrupt(), open_claims(folder / CLAIMS) as claims:
            sizes, read = _prepare(runs, folder, Path(cache_dir), progress)
            devices = jax.devices()
            planned = plan(
                runs, sizes, platform=devices[0].platform, devices=len(devices), chunk=config.get("chunk", 0)
            )
            with tqdm.tqdm(total=len(runs), initial=len(finished.runs), unit="run", disable=not progress) as bar:

                def wait(missing: int) -> None:
                    bar.set_postfix_str(f"waiting for {missing} trainings of other processes")
                    bar.update(len(finished.runs) - bar.n)
                    time.sleep(parts.PATIENCE)

                mine = parts.claimed_parts(planned, claims, finished, wait)
                for part, seconds, rows, trace in _results(mine, planned, runs, sizes, read):
                    if _publish(part, rows, trace, folder, claims):
                        trained += len(part.runs)
                        rate = note_time(folder, claims.id, command, part.shape.classes, len(part.runs), seconds)
                        bar.set_postfix_str(f"{rate:.0f} trainings/min with {part.shape.classes} classes")
                    finished.look()
                    bar.update(len(finished.runs) - bar.n)
    _remove_unfinished(folder)
    return trained


def _publish(part: Part, rows: Sequence[Row], trace: pd.DataFrame | None, folder: Path, claims: Claims) -> bool:
    """Writes what a part gave and returns its claims.

    False, and nothing is written, where another process took one of them over, because this one gave no sign of life
    for long (suspended, or cut off from the folder): that one trains these runs again. What was not taken over is
    claimed again by whoever comes next.
    """
    still_mine = parts.holds(part, claims)
    if still_mine:
        name = parts.file_name(part)
        if trace is not None:
            write_csv_atomic(trace, folder / "trace" / f"{name}.gz")
        # After the trace: a part is finished when its rows stand.
        write_csv_atomic(pd.DataFrame(rows), folder / "rows" / name)
    parts.release(part, claims)
    return still_mine


def _remove_unfinished(folder: Path) -> None:
    """Removes what killed processes left of rows and traces; call it when the rows of all runs stand.

    These are files of which only the beginning was written, and traces of parts whose rows do not stand because they
    were trained again, in parts that were cut otherwise.
    """
    leftovers = [*folder.glob("rows/.*.tmp"), *folder.glob("trace/.*.tmp")]
    traces = folder.glob("trace/*.csv.gz")
    leftovers += (path for path in traces if not (folder / "rows" / path.name.removesuffix(".gz")).exists())
    for path in leftovers:
        path.unlink(missing_ok=True)


def _prepare(runs: Sequence[Run], folder: Path, cache_dir: Path, progress: bool) -> tuple[Sizes, Read]:
    """Makes the data, measures every task and writes the rows of the trivial predictors."""
    by_data: dict[DataSpec, list[Task]] = {}
    for task in dict.fromkeys(map(task_of, runs)):
        by_data.setdefault(task.data, []).append(task)
    cache.ensure([*by_data, *map(uniform_spec, by_data)], cache_dir, progress=progress)
    read_set = functools.lru_cache(maxsize=MEMORY)(lambda spec: cache.read(spec, cache_dir))

    def read(spec: DataSpec) -> Problem:
        return synthetic_problem(spec, read_set)

    sizes: dict[Task, Sized] = {}
    trivial: list[Row] = []
    for spec, tasks in tqdm.tqdm(by_data.items(), desc="classes", disable=not progress, leave=False):
        problem = read(spec)
        sizes.update((task, measure(task, problem)) for task in tasks)
        trivial.extend(_trivial_rows(spec, problem))
    if not (folder / "rows" / "trivial.csv").exists():
        write_csv_atomic(pd.DataFrame(trivial), folder / "rows" / "trivial.csv")
    return sizes, read


def _results(
    mine: Iterable[tuple[int, Part] | None],
    planned: Sequence[Sequence[Part]],
    runs: Sequence[Run],
    sizes: Sizes,
    read: Read,
) -> Iterator[tuple[Part, float, list[Row], pd.DataFrame | None]]:
    """Every part that comes from `claimed_parts`, trained: (part, seconds, rows, trace).

    While the devices train one part the host claims and prepares the next, because their calls return before they are
    done.
    """
    mesh = jax.make_mesh((jax.device_count(),), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    running: tuple[Part, tuple[ErrorSums, Trace | None]] | None = None
    padding = functools.cache(lambda shape: tables.padding(planned[shape], runs, sizes))

    def results(part: Part, trained: tuple[ErrorSums, Trace | None]) -> tuple[list[Row], pd.DataFrame | None]:
        places = tables.chunk_places(part, mesh.size)
        return _rows(part, places, trained[0], runs, sizes), _trace_frame(part, places, trained[1], runs, sizes)

    clock = time.monotonic()
    for claimed in mine:
        started = None
        if claimed is not None:
            shape, part = claimed
            if running is None:
                clock = time.monotonic()  # other processes may have been waited for
            arguments = tables.build(part, padding(shape), runs, sizes, read, mesh.size)
            started = part, train_grid(*arguments, shape=part.shape, mesh=mesh)
        if running is not None:
            made = results(*running)
            clock, before = time.monotonic(), clock
            yield running[0], clock - before, *made
        running = started


def _data_columns(spec: DataSpec) -> Row:
    return {**dataclasses.asdict(spec), "noise": spec.noise if spec.scenario == "noisy" else 0.0}


def _run_columns(number: int, run: Run, sized: Sized) -> Row:
    """What was trained. `trace` is not part of that: it says what was looked at."""
    columns = {"run": number, **vars(run), "hidden": "-".join(map(str, run.hidden))}
    del columns["data"], columns["trace"]
    return columns | _data_columns(run.data) | {"classes_kept": sized.bins.classes if sized.bins else 0}


def _members(part: Part, places: np.ndarray) -> Iterator[tuple[int, tuple[int, int]]]:
    """Every run number of a part, and its place in what the devices return."""
    for place, numbers in zip(places, part.chunks, strict=True):
        yield from ((number, (place, member)) for member, number in enumerate(numbers))


def _rows(part: Part, places: np.ndarray, sums: ErrorSums, runs: Sequence[Run], sizes: Sizes) -> list[Row]:
    """The result rows of a trained part: one per run and evaluation split."""
    count, mse, mae = map(np.asarray, (sums.count, sums.squared / sums.count, sums.absolute / sums.count))
    rows = []
    for number, at in _members(part, places):
        sized = sizes[task_of(runs[number])]
        columns = _run_columns(number, runs[number], sized)
        for split, name in enumerate(sized.splits):
            scores = {"n": count[at][split], "mse": mse[at][split], "mae": mae[at][split]}
            rows.append({**columns, "split": name, **scores})
    return rows


def _trace_frame(
    part: Part, places: np.ndarray, trace: Trace | None, runs: Sequence[Run], sizes: Sizes
) -> pd.DataFrame | None:
    """The trace of a trained part: one line per run, epoch (0: before training) and evaluation split."""
    if trace is None:
        return None
    quantities = {name: np.asarray(values) for name, values in trace._asdict().items()}
    frames = []
    for number, at in _members(part, places):
        sized = sizes[task_of(runs[number])]
        columns = _run_columns(number, runs[number], sized)
        named = {name: columns[name] for name in TRACE_COLUMNS if name in columns} | {"trace": runs[number].trace}
        epochs = np.repeat(np.arange(part.shape.epochs + 1), len(sized.splits))
        places_in_time = {"epoch": epochs, "split": list(sized.splits) * (part.shape.epochs + 1)}
        values = {name: array[at].ravel() for name, array in quantities.items()}
        frames.append(pd.DataFrame(places_in_time | values).assign(**named))
    return pd.concat(frames, ignore_index=True)[list(TRACE_COLUMNS)]


def _trivial_rows(spec: DataSpec, problem: Problem) -> list[Row]:
    """The rows of the trivial predictors on one data set; `run` -1 says that nothing was trained."""
    rows = []
    for arm, prediction in trivial_predictors(problem.train.y).items():
        for split, (_, targets) in problem.evals.items():
            error = prediction - targets
            scores = {"n": len(targets), "mse": np.mean(error**2), "mae": np.mean(np.abs(error))}
            rows.append({"run": -1, "arm": arm, **_data_columns(spec), **NOTHING_TRAINED, "split": split, **scores})
    return rows
