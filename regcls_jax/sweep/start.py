"""Starts a sweep, after everything that can be wrong was looked at, and shows how far one is."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from regcls_jax import shipped
from regcls_jax.sweep import pieces, record, submit
from regcls_jax.sweep.pieces import Piece
from regcls_jax.sweep.progress import Progress, Watcher, ended_tasks, follow, last_line
from regcls_jax.sweep.task import Task


def start(
    configs: Sequence[str],
    changes: Mapping[str, str | None],
    workdir: Path,
    request: submit.Request,
    programs: Path,
) -> str:
    """Submits what is not trained yet; on this machine also waits for it. Returns what to say.

    Args:
      configs: <path>.py[:variant], as given.
      changes: fields of all of them that the command line set.
      workdir: of the sweep.
      request: what it is to have.
      programs: the folder launch/.

    Raises:
      ValueError, OSError: a mistake in any of these, found before anything is submitted; or a task on this machine
        failed.
    """
    planned = pieces.plan(configs, changes, workdir)
    submit.check(request, planned)
    pieces.settle(planned, workdir)
    watcher = Watcher(workdir, planned)
    if (now := watcher.look()).done == now.total:
        return _done(workdir, planned, now)
    commands = [submit.command(piece, workdir, request, programs) for piece in planned]
    path = record.write_record(workdir, record.make_record(planned, commands))
    tasks = [Task(str(path.resolve()), number) for number in range(request.tasks)]
    logs = workdir / record.FOLDER / record.LOGS
    jobs = submit.submit(request, logs, tasks, name=workdir.resolve().name)
    left = f"{now.total - now.done} of {now.total} trainings left to do"
    if request.cluster == submit.LOCAL:
        print(f"{len(jobs)} tasks here: {left}. Logs: {logs}", flush=True)
        return _done(workdir, planned, submit.stay(jobs, watcher))
    return (
        f"{len(jobs)} tasks as job {jobs[0].job_id.partition('_')[0]} of Slurm: {left}. Logs: {logs}\n"
        f"Progress: {shipped.typed('sweep')} --watch --workdir={workdir}"
    )


def watch(workdir: Path) -> str:
    """Shows the progress of what was submitted last to a work directory, until it is done. Returns what to say then.

    Raises ValueError where nothing was submitted, ChildProcessError where all tasks have ended and something is not
    done, and the errors of `Watcher.look`.
    """
    newest = record.newest_record(workdir)
    submitted, since = record.read_record(newest).pieces, newest.stat().st_mtime
    logs = workdir / record.FOLDER / record.LOGS
    now = follow(Watcher(workdir, submitted), ended=lambda: bool(ended_tasks(logs, since)))
    if now.done < now.total:
        said = ended_tasks(logs, since)[0]
        raise ChildProcessError(
            f"all tasks have ended, and {now.total - now.done} of {now.total} trainings are not done: "
            f"{last_line(said.read_text())} (more in {said})"
        )
    return _done(workdir, submitted, now)


def _done(workdir: Path, planned: Sequence[Piece], now: Progress) -> str:
    said = f"{now.done} of {now.total} trainings are done."
    return "\n".join(
        [said, *(f"Report: {shipped.typed('report')} --workdir={workdir / piece.folder}" for piece in planned)]
    )
