"""The study engine: trains every run of a config, writes rows as it goes, and resumes where it was stopped.

Several processes may work on one study, on one machine or on many that share its folder (see `parts`).
"""

import os
import sys
import time
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import pandas as pd
import tqdm

from regcls_jax.data.source import Problem, Source, Spec
from regcls_jax.data.sources import source_of
from regcls_jax.devices import memory
from regcls_jax.store.claims import Claims, open_claims
from regcls_jax.store.files import digest, read_json, to_json, write_new
from regcls_jax.store.meta import note_time
from regcls_jax.store.rows import TRIVIAL_FILE, write_csv_atomic
from regcls_jax.store.workdir import CHUNKS_FILE, CLAIMS, DATA_FILE, share_workdir
from regcls_jax.study import parts
from regcls_jax.study.arrays import Read, Sizes
from regcls_jax.study.pipeline import trained_parts
from regcls_jax.study.plan import Part, Sized, check, measure, plan
from regcls_jax.study.rows import Row, part_groups, part_predictions, part_rows, part_trace, trivial
from regcls_jax.study.runs import Run, TrainingSet, expand
from regcls_jax.targets import misfit

# What is written beside the rows of a part, into folders of these names.
BESIDES = ("trace", "groups", "predictions")


def run_study(
    config: Mapping[str, Any],
    workdir: str | os.PathLike,
    cache_dir: str | os.PathLike,
    *,
    command: str = "",
    progress: bool = True,
) -> int:
    """Trains the runs of a study that have no rows yet; returns how many it trained.

    Rows go to workdir/rows, traces to workdir/trace, errors by group to workdir/groups and predictions to
    workdir/predictions, one file per part, written atomically; after a kill, the same call resumes and ends with the
    same files. Several processes given the same study share its runs and return when all rows are written: the same
    rows, perhaps divided into other files.

    Args:
      config: the study; see `runs.expand`.
      workdir: folder of the results.
      cache_dir: folder of generated data sets.
      command: noted beside the results.
      progress: whether to show progress bars, and a note where classes fit their training sets badly.

    Raises:
      ValueError: an invalid config or data that cannot be trained on.
      OSError: something cannot be written.
    """
    runs, predictions = expand(config), config.get("predictions", False)
    folder = share_workdir(workdir, config)
    (folder / "rows").mkdir(exist_ok=True)
    finished = parts.Finished(folder / "rows")
    finished.look()
    trained = 0
    if len(finished.runs) < len(runs) or not (folder / "rows" / TRIVIAL_FILE).exists():
        with parts.sigterm_as_interrupt() as check_stop, open_claims(folder / CLAIMS) as claims:
            # Others see this process from now on: the folder is that of this study, unless another took it just before.
            share_workdir(workdir, config)
            source, _ = source_of(config.get("data", {}))
            sizes, read = _prepare(runs, source, folder, Path(cache_dir), progress, predictions=predictions)
            devices = jax.devices()
            room = _memory(folder, memory(devices), begun=bool(finished.runs), progress=progress)
            planned = plan(runs, sizes, devices=len(devices), memory=room, chunk=config.get("chunk", 0))
            with tqdm.tqdm(total=len(runs), initial=len(finished.runs), unit="run", disable=not progress) as bar:

                def wait(missing: int) -> None:
                    bar.set_postfix_str(f"waiting for {missing} trainings of other processes")
                    bar.update(len(finished.runs) - bar.n)
                    time.sleep(parts.PATIENCE)
                    check_stop()

                mine = parts.claimed_parts(planned, claims, finished, wait)
                keep_values = any(sized.grouped for sized in sizes.values()) or predictions
                for made in trained_parts(mine, planned, runs, sizes, read, keep_values=keep_values):
                    part = made.part
                    besides = {
                        "trace": part_trace(made, runs, sizes),
                        "groups": part_groups(made, runs, sizes, read),
                        "predictions": part_predictions(made, runs, sizes, read) if predictions else None,
                    }
                    if _publish(part, part_rows(made, runs, sizes, read), besides, folder, claims):
                        trained += len(part.runs)
                        rate = note_time(folder, claims.id, command, part.shape.classes, len(part.runs), made.seconds)
                        bar.set_postfix_str(f"{rate:.0f} trainings/min with {part.shape.classes} classes")
                    finished.look()
                    bar.update(len(finished.runs) - bar.n)
                    check_stop()
    _remove_unfinished(folder)
    return trained


def _memory(folder: Path, here: int | None, begun: bool, progress: bool) -> int | None:
    """The memory that a study's chunks are chosen by: that of its first process, whatever the others run on.

    `here` is that of this process. Earlier versions, which did not note it, ran on CPUs.
    """
    path = folder / CHUNKS_FILE
    write_new(path, to_json({"memory": None if begun else here}))
    there = read_json(path)["memory"]
    if progress and there is None and here is not None:
        tqdm.tqdm.write("Note: this study was begun on a CPU: few trainings at a time, as there", file=sys.stderr)
    if progress and there is not None and (here is None or here < there):
        told = "this study was begun on a device of more memory: many trainings at a time, as there"
        tqdm.tqdm.write(f"Note: {told}; where that is too much, start it anew in another workdir", file=sys.stderr)
    return there


def _publish(
    part: Part, rows: Sequence[Row], besides: Mapping[str, pd.DataFrame | None], folder: Path, claims: Claims
) -> bool:
    """Writes the results of a part and releases its claims; returns whether it wrote them.

    Nothing is written if another process took over one of the claims because this one seemed dead (suspended, or cut
    off from the folder): the other process trains those runs again. Chunks that were not taken over are free for the
    next process.
    """
    still_mine = parts.holds(part, claims)
    if still_mine:
        name = parts.file_name(part)
        for kind, frame in besides.items():
            if frame is not None:
                (folder / kind).mkdir(exist_ok=True)
                write_csv_atomic(frame, folder / kind / name)
        # After all else: a part counts as finished once its rows exist.
        write_csv_atomic(pd.DataFrame(rows), folder / "rows" / name)
    parts.release(part, claims)
    return still_mine


def _remove_unfinished(folder: Path) -> None:
    """Removes what killed processes left behind; call it once the rows of all runs exist.

    These are partly written files, and traces and the like without rows, whose runs were trained again in parts that
    were cut differently.
    """
    leftovers = [*folder.glob("rows/.*.tmp")]
    for kind in BESIDES:
        leftovers += folder.glob(f"{kind}/.*.tmp")
        leftovers += (path for path in folder.glob(f"{kind}/*.csv.gz") if not (folder / "rows" / path.name).exists())
    for path in leftovers:
        path.unlink(missing_ok=True)


def _check_data(folder: Path, digests: Mapping[Spec, str]) -> None:
    """Notes what the study is trained on. Raises ValueError, naming the first problem that is not as it was noted."""
    path = folder / DATA_FILE
    if write_new(path, to_json({str(spec.content()): found for spec, found in digests.items()})):
        return
    before = read_json(path)
    for spec, found in digests.items():
        if before.get(str(spec.content())) != found:
            raise ValueError(
                f"{folder}: the data of {spec.name} are not those that this study began with; choose another workdir"
            )


def _prepare(
    runs: Sequence[Run], source: Source, folder: Path, cache_dir: Path, progress: bool, *, predictions: bool
) -> tuple[Sizes, Read]:
    """Makes the data, notes their digests, measures all training sets, writes the rows of the trivial predictors."""
    by_problem: dict[Spec, list[TrainingSet]] = {}
    for trained_on in dict.fromkeys(run.trained_on for run in runs):
        by_problem.setdefault(trained_on.data, []).append(trained_on)
    source.ensure([*by_problem], cache_dir, progress)

    def read(spec: Spec) -> Problem:
        return source.read(spec, cache_dir)

    sizes: dict[TrainingSet, Sized] = {}
    lines: list[Row] = []
    by_group: list[pd.DataFrame] = []
    data: dict[Hashable, str] = {}  # specs of equal `shared` have the same inputs and targets: digest them once
    digests: dict[Spec, str] = {}
    checked: set[str] = set()
    odd: list[str] = []
    known = (folder / "rows" / TRIVIAL_FILE).exists()
    for spec, sets in tqdm.tqdm(by_problem.items(), desc="classes", disable=not progress, leave=False):
        problem = read(spec)
        if spec.shared not in data:
            data[spec.shared] = digest(problem.inputs, problem.targets)
        digests[spec] = f"{data[spec.shared]} {' '.join(problem.splits)} {digest(*problem.splits.values())}"
        if digests[spec] not in checked:
            check(spec.name, problem)
            checked.add(digests[spec])
        sizes.update((trained_on, measure(trained_on, problem)) for trained_on in sets)
        found = (misfit(sizes[trained_on].bins, problem.train_targets) for trained_on in sets)
        odd += (f"{spec.name}: {text}" for text in found if text)
        if predictions and problem.targets.ndim > 1:
            raise ValueError(f"{spec.name}: predictions are kept of one target, not of vectors")
        if not known:
            untrained = trivial(spec, problem, source.predictors(spec, problem))
            lines += untrained.rows
            by_group += [] if untrained.groups is None else [untrained.groups]
    _check_data(folder, digests)
    if odd and progress:
        tqdm.tqdm.write(f"Note: classes fit {len(odd)} of {len(sizes)} training sets badly; {odd[0]}", file=sys.stderr)
    if not known:
        if by_group:
            (folder / "groups").mkdir(exist_ok=True)
            write_csv_atomic(pd.concat(by_group), folder / "groups" / TRIVIAL_FILE)
        write_csv_atomic(pd.DataFrame(lines), folder / "rows" / TRIVIAL_FILE)
    return sizes, read
