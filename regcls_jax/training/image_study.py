"""All trainings of an image config, one after another, each in its own folder; other processes may take some."""

import contextlib
import dataclasses
import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import jax

from regcls_jax.data.image_splits import load_splits
from regcls_jax.training.image_loop import Stopped, train_image_run
from regcls_jax.training.image_run import ImageRun, expand_images
from regcls_jax.training.image_start import run_folder
from regcls_jax.training.workdir import WorkdirInUse, open_workdir


def train_images(
    config: Mapping[str, Any],
    workdir: str | os.PathLike,
    data_dir: str | os.PathLike,
    *,
    command: str,
    save_minutes: float = 10.0,
) -> str:
    """Trains what is not finished of a config (`expand_images`) into `workdir`/<arm>/seed<k>; says what it did.

    A run that another process is training is left to it, so the same command started twice shares the work. SIGTERM
    saves and ends with KeyboardInterrupt. Raises as `expand_images`, `load_splits` and `train_image_run` do.
    """
    runs = expand_images(config)
    splits = {dataset: load_splits(dataset, data_dir) for dataset in dict.fromkeys(run.dataset for run in runs)}
    counts = {"trained now": 0, "finished before": 0, "left to another process": 0}
    with _until_terminated() as stop:
        for run in runs:
            folder = run_folder(Path(workdir), run.arm, run.seed)
            try:
                with _claimed(folder, run):
                    if (folder / "rows.csv").exists():
                        counts["finished before"] += 1
                        continue
                    train_image_run(
                        run, splits[run.dataset], folder, command=command, save_minutes=save_minutes, stop=stop
                    )
                    counts["trained now"] += 1
            except WorkdirInUse:
                counts["left to another process"] += 1
            except Stopped:
                raise KeyboardInterrupt from None
    done = ", ".join(f"{count} {what}" for what, count in counts.items() if count)
    return f"{len(runs)} trainings: {done}.\nReport: python launch/report.py --workdir={workdir}"


def _claimed(folder: Path, run: ImageRun) -> contextlib.AbstractContextManager[Any]:
    """The lock of a run's folder, which the first host holds for all of a multi-host run."""
    if jax.process_index() != 0:
        folder.mkdir(parents=True, exist_ok=True)
        return contextlib.nullcontext()
    return open_workdir(folder, dataclasses.asdict(run))


@contextlib.contextmanager
def _until_terminated() -> Iterator[Callable[[], bool]]:
    """Whether SIGTERM has come (a scheduler takes the machine away). Only the main thread can listen for it."""
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield asked.is_set
        return
    before = signal.signal(signal.SIGTERM, lambda *_: asked.set())
    try:
        yield asked.is_set
    finally:
        signal.signal(signal.SIGTERM, before)
