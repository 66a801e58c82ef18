"""All trainings of a config, one after another, each in its own folder; other processes may take some."""

import collections
import contextlib
import dataclasses
import enum
import functools
import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

from regcls_jax.loop.epochs import Stopped, train_run
from regcls_jax.loop.runs import LoopRun
from regcls_jax.loop.start import check_starts, run_folder, untrained_start
from regcls_jax.loop.tasks import expand, task_of
from regcls_jax.store.workdir import WorkdirInUse, check_no_study, in_use, open_workdir


def train_all(
    config: Mapping[str, Any],
    workdir: str | os.PathLike,
    data_dir: str | os.PathLike,
    *,
    command: str,
    save_minutes: float = 10.0,
) -> str:
    """Trains what is not finished of a config (`expand`) into `workdir`/<arm>/seed<k>; says what it did.

    A run that another process is training, or whose start another one is training, is left to it, so the same command
    started twice shares the work. SIGTERM saves and ends with KeyboardInterrupt(SIGTERM), after the step, evaluation or
    statistics pass that is running. Raises as `expand`, `check_no_study`, `check_starts`, the task's `load` and
    `train_run` do.
    """
    runs = expand(config)
    check_no_study(workdir)
    check_starts(runs, Path(workdir))
    some = {(run.task, run.dataset): run for run in runs}
    data = {key: task_of(run).load(run.dataset, data_dir) for key, run in some.items()}
    verdicts = collections.Counter[Verdict]()
    with _until_terminated() as stop:
        for run in runs:
            folder = run_folder(Path(workdir), run.arm, run.seed)
            with contextlib.ExitStack() as lock:
                verdict = _everywhere(functools.partial(_decide, run, Path(workdir), lock))
                verdicts[verdict] += 1
                if verdict is not Verdict.TRAIN:
                    continue
                try:
                    train_run(
                        run, data[run.task, run.dataset], folder, command=command, save_minutes=save_minutes, stop=stop
                    )
                except Stopped:
                    raise KeyboardInterrupt(signal.SIGTERM) from None
    done = ", ".join(f"{verdicts[verdict]} {verdict.value}" for verdict in Verdict if verdicts[verdict])
    return f"{len(runs)} trainings: {done}.\nReport: python launch/report.py --workdir={workdir}"


class Verdict(enum.Enum):
    """What becomes of a run in this process."""

    TRAIN = "trained now"
    FINISHED = "finished before"
    ELSEWHERE = "left to another process"


def _decide(run: LoopRun, workdir: Path, lock: contextlib.ExitStack) -> Verdict:
    """Takes the lock of a run that is to be trained here. OSError where the arm that it starts from is not trained."""
    folder = run_folder(workdir, run.arm, run.seed)
    settings = dataclasses.asdict(run)
    del settings["workers"]  # changes no number, so a run may go on with others
    fields = [field for field in dataclasses.fields(run) if field.name in settings]
    defaults = {field.name: field.default for field in fields if field.default is not dataclasses.MISSING}
    try:
        lock.enter_context(open_workdir(folder, settings, defaults))
    except WorkdirInUse:
        return Verdict.ELSEWHERE
    if (folder / "rows.csv.gz").exists():
        return Verdict.FINISHED
    if start := untrained_start(run, workdir):
        if in_use(start):
            return Verdict.ELSEWHERE
        raise OSError(
            f"arm {run.arm!r} starts from arm {run.init_from!r} with seed {run.seed}, which is not trained in {start}"
        )
    return Verdict.TRAIN


def _everywhere(decide: Callable[[], Verdict]) -> Verdict:
    """The first host's decision on every host: their looks at locks and files may differ, what they train must not."""
    if jax.process_count() == 1:
        return decide()
    verdicts, error, number = tuple(Verdict), None, -1
    if jax.process_index() == 0:
        try:
            number = verdicts.index(decide())
        except (OSError, ValueError) as caught:
            error = caught
    number = int(multihost_utils.broadcast_one_to_all(np.int32(number)))
    if error is not None:
        raise error
    if number < 0:
        raise OSError("the first host cannot train this run; its message says why")
    return verdicts[number]


@contextlib.contextmanager
def _until_terminated() -> Iterator[Callable[[], bool]]:
    """Whether SIGTERM has come (a scheduler takes the machine away). Only the main thread can listen for it.

    Of several hosts each needs to know of a signal to any: JAX listens there (`epochs.stop_everywhere`).
    """
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread() or jax.process_count() > 1:
        yield asked.is_set
        return
    before = signal.signal(signal.SIGTERM, lambda *_: asked.set())
    try:
        yield asked.is_set
    finally:
        signal.signal(signal.SIGTERM, before)
