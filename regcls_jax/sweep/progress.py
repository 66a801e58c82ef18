"""How far a sweep is, from its work directory alone: whatever machine its tasks run on, killed or not."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import tqdm

from regcls_jax.store.claims import count_owners
from regcls_jax.store.workdir import CLAIMS, in_use
from regcls_jax.study.parts import Finished
from regcls_jax.sweep.pieces import STUDY, Piece


class Progress(NamedTuple):
    """Trainings that are done and all, and how many processes are at work."""

    done: int
    total: int
    processes: int


def ended_tasks(logs: Path, since: float) -> list[Path]:
    """What each task said (its .err) that was submitted at the time `since` or later, once all of them have ended.

    Until then none. By submitit's files: a task writes a result when it ends or fails, not where it is killed, which
    Slurm requeues.
    """
    submitted = [path for path in logs.glob("*_submitted.pkl") if path.stat().st_mtime >= since]
    tasks = sorted(path.name.removesuffix("_submitted.pkl") for path in submitted)
    if not all(any(logs.glob(f"{task}_*_result.pkl")) for task in tasks):
        return []
    return [logs / f"{task}_0_log.err" for task in tasks]


def last_line(said: str) -> str:
    """The last line of what a task that failed said."""
    return next((line for line in reversed(said.split("\n")) if line.strip()), "it was killed")


class Watcher:
    """Looks at a sweep again and again; files of rows are read once."""

    def __init__(self, workdir: Path, pieces: Sequence[Piece]) -> None:
        self._workdir, self._pieces = workdir, pieces
        self._finished = {piece.folder: Finished(workdir / piece.folder / "rows") for piece in pieces}

    def look(self) -> Progress:
        """How far it is now. Raises the errors of `rows.runs_of_file`."""
        done, processes = 0, 0
        for piece in self._pieces:
            folder = self._workdir / piece.folder
            if piece.program == STUDY:
                finished = self._finished[piece.folder]
                if (folder / "rows").exists():
                    finished.look()
                done += len(finished.runs)
                processes += count_owners(folder / CLAIMS)
            else:
                done += sum((folder / run / "rows.csv.gz").exists() for run in piece.runs)
                processes += sum(in_use(folder / run) for run in piece.runs)
        return Progress(done, sum(piece.trainings for piece in self._pieces), processes)


def follow(watcher: Watcher, ended: Callable[[], bool] = lambda: False, every: float = 2.0) -> Progress:
    """Shows one line until all is done, or until `ended`; looks every so many seconds. Returns the last look."""
    now = watcher.look()
    with tqdm.tqdm(total=now.total, initial=now.done, unit="training") as bar:
        while now.done < now.total:
            last = ended()  # before the look: what was done when it ended is seen
            now = watcher.look()
            bar.n = now.done
            bar.set_postfix_str(f"{now.processes} at work")
            if last:
                break
            if now.done < now.total:
                time.sleep(every)
    return now
