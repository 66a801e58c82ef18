"""Hands the tasks of a sweep to submitit: an array of a Slurm cluster, or processes of this machine."""

import contextlib
import io
import re
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from regcls_jax.sweep.pieces import STUDY, TRAIN, Piece
from regcls_jax.sweep.progress import Progress, Watcher, follow, last_line
from regcls_jax.sweep.task import WARNING, Task

SLURM, LOCAL = "slurm", "local"
# submitit counts how often a task reached its time limit, and the local executor has no other end: never, for both.
REQUEUES = 1_000_000
FOREVER = 60 * 24 * 365


class Request(NamedTuple):
    """What is asked of a cluster.

    Attributes:
      cluster: SLURM or LOCAL.
      tasks: how many share the work.
      nodes: of a task; more than one for trainings over several hosts.
      cpus: cores of a process.
      gpus: of a task on each of its nodes.
      memory: GB on each node; 0 for what the cluster gives.
      minutes: after which Slurm ends a task, which is requeued and goes on.
      sbatch: further options of sbatch; True for one without a value.
      options: flags of the programs, cache_dir, data_dir and platform, where given.
    """

    cluster: str
    tasks: int
    nodes: int
    cpus: int
    gpus: int
    memory: float
    minutes: int
    sbatch: Mapping[str, str | bool]
    options: Mapping[str, str]


def check(request: Request, pieces: Sequence[Piece]) -> None:
    """Raises ValueError for a request that cannot be met, OSError where the cluster is not there."""
    if request.nodes > 1 and request.cluster == LOCAL:
        raise ValueError("--nodes is for Slurm; --cluster=local has one machine")
    if request.nodes > 1 and (other := [piece.config for piece in pieces if piece.program != TRAIN]):
        raise ValueError(f"--nodes spreads one training over hosts; {other[0]} is a study, which --tasks divides")
    if request.sbatch and request.cluster == LOCAL:
        raise ValueError("--sbatch is for Slurm")
    missing = [name for name in ("sbatch", "srun", "scontrol") if not shutil.which(name)]
    if missing and request.cluster == SLURM:
        raise OSError(f"there is no {missing[0]} here; submit where Slurm is, or try --cluster=local")
    try:
        import submitit  # noqa: F401
    except ImportError:
        raise ValueError("sweeps need submitit: pip install -e '.[cluster]'") from None


def sbatch_options(given: Sequence[str]) -> dict[str, str | bool]:
    """NAME=VALUE, or NAME alone, as `Request.sbatch` has them. ValueError for one that is neither."""
    found: dict[str, str | bool] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not re.fullmatch(r"[a-z][a-z-]*", name):
            raise ValueError(
                f"--sbatch={text} is no option of sbatch; write --sbatch=partition=gpu or --sbatch=exclusive"
            )
        found[name] = value if equals else True
    return found


def command(piece: Piece, workdir: Path, request: Request, programs: Path) -> list[str]:
    """What a task runs for a piece; `programs` is the folder launch/."""
    unread = {STUDY: "data_dir", TRAIN: "cache_dir"}[piece.program]
    own = {"devices": str(request.cpus)} if piece.program == STUDY else {}
    # A GPU that is asked for and not there is an error, not a CPU.
    chosen = ({"platform": "gpu"} if request.gpus else {}) | dict(request.options)
    flags = own | {name: value for name, value in chosen.items() if name != unread}
    changes = [
        f"--config.{path}" if typed is None else f"--config.{path}={typed}" for path, typed in piece.changes.items()
    ]
    return [
        *(sys.executable, str(programs / f"{piece.program}.py"), f"--config={piece.config}", *changes),
        *(f"--workdir={workdir / piece.folder}", *(f"--{name}={value}" for name, value in flags.items())),
        *(["--distributed"] if request.nodes > 1 else []),
    ]


def slurm_parameters(request: Request, name: str) -> dict[str, Any]:
    """What submitit's executor for Slurm is told.

    JAX wants one process per node on CPU, and with several nodes one per GPU (it gives each the GPU of its number).
    """
    several = request.nodes > 1 and request.gpus
    found: dict[str, Any] = {
        "job_name": name,
        "time": request.minutes,
        "nodes": request.nodes,
        "ntasks_per_node": request.gpus if several else 1,
        "cpus_per_task": request.cpus,
        "signal_delay_s": WARNING,
        "array_parallelism": request.tasks,
        "srun_args": [f"--cpus-per-task={request.cpus}"],  # srun does not take it from sbatch since Slurm 22.05
        "additional_parameters": {"requeue": True, **request.sbatch},
    }
    if request.gpus:
        found["gpus_per_node"] = request.gpus
    if request.memory:
        found["mem"] = f"{round(1024 * request.memory)}MB"
    return found


def local_parameters(request: Request, number: int) -> dict[str, Any]:
    """What submitit's local executor is told for one task, which gets GPUs of its own."""
    gpus = tuple(range(number * request.gpus, (number + 1) * request.gpus))
    return {"timeout_min": FOREVER, "gpus_per_node": request.gpus, "visible_gpus": gpus}


def submit(request: Request, logs: Path, tasks: Sequence[Task], name: str) -> list[Any]:
    """Submits the tasks; returns submitit's jobs. Raises OSError, with its message, where Slurm refuses them."""
    import submitit

    if request.cluster == LOCAL:
        local = submitit.LocalExecutor(logs)
        jobs = []
        for number, task in enumerate(tasks):
            local.update_parameters(**local_parameters(request, number))
            jobs.append(local.submit(task))
        return jobs
    slurm = submitit.SlurmExecutor(logs, max_num_timeout=REQUEUES)
    slurm.update_parameters(**slurm_parameters(request, name))
    try:
        with contextlib.redirect_stderr(io.StringIO()):  # submitit prints the message that it raises
            return slurm.submit_array(tasks)
    except submitit.core.utils.UncompletedJobError as error:
        raise OSError(f"sbatch refused the tasks: {error}") from None


def stay(jobs: Sequence[Any], watcher: Watcher) -> Progress:
    """Shows the progress of local jobs until they have ended; stops them where this process is interrupted.

    Raises ChildProcessError, with the last line that it said, where one failed.
    """
    try:
        follow(watcher, ended=lambda: all(job.done() for job in jobs))
        for job in jobs:
            job.wait()  # all is trained; reports are written
    except KeyboardInterrupt:
        for job in jobs:
            job.cancel()
        raise
    if failed := [job for job in jobs if job.exception() is not None]:
        last = last_line(failed[0].stderr() or "")
        raise ChildProcessError(f"{len(failed)} of {len(jobs)} tasks failed: {last} (more in {failed[0].paths.stderr})")
    return watcher.look()
