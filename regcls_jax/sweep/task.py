"""One task of a sweep: runs the programs of all its pieces, and stops them in time when the cluster takes it away."""

import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

from regcls_jax.sweep.record import Record, check_config, check_versions, read_record, settings

# Of Slurm: the seconds between its warning (SIGUSR2) and the end of a job, and those that a program has to stop.
WARNING = 120
STOPPING = 90.0
# Seconds that a task waits to be requeued, or ended, once Slurm has stopped its program.
GRACE = 600.0
# Runs a command that takes no notice of the warning, which is for the task.
UNWARNED = ("sh", "-c", 'trap "" USR2; exec "$@"', "sh")


class Task:
    """What submitit runs, and what it calls (`checkpoint`) before a job ends by time or preemption and is requeued.

    Args:
      record: path of the sweep's record.
      number: of this task; it begins with another piece than the one before, and goes on to all.
    """

    def __init__(self, record: str, number: int) -> None:
        self.record, self.number = record, number
        self._program: subprocess.Popen | None = None

    def __call__(self) -> None:
        """Trains what is left. Raises RuntimeError for a program that failed, after all others have run."""
        record = read_record(Path(self.record))
        os.chdir(record.cwd)
        check_versions(record)
        failed = []
        for index in order(len(record.pieces), self.number):
            try:
                check_config(record.pieces[index])
                self._run(record, index)
            except (ValueError, OSError) as error:
                failed.append(str(error))
        if failed:
            raise RuntimeError("; ".join(failed))

    def checkpoint(self) -> Any:
        """Stops the program, whose work so far is on disk; returns what goes on after the requeue."""
        from submitit.helpers import DelayedSubmission

        if self._program is not None:
            stop(self._program.pid)
        return DelayedSubmission(Task(self.record, self.number))

    def _run(self, record: Record, index: int) -> None:
        """Runs the program of a piece. Raises ChildProcessError where it fails."""
        command = record.commands[index]
        here = settings(os.environ)
        kept = {name: value for name, value in os.environ.items() if name not in here}
        on_slurm = os.environ.get("SUBMITIT_EXECUTOR") == "slurm"  # a local task may run inside of an allocation
        print(f"Task {self.number}: {' '.join(command)}", flush=True)
        # Slurm signals every process of a task; elsewhere Ctrl-C is for this one, which stops the program once.
        self._program = program = subprocess.Popen(
            [*UNWARNED, *command], env=kept | record.environment, start_new_session=not on_slurm
        )
        try:
            # Unlike `wait`, leaves it to a signal's handler, `checkpoint`, to look, too.
            os.waitid(os.P_PID, program.pid, os.WEXITED | os.WNOWAIT)
        except KeyboardInterrupt:
            stop(program.pid)
            raise
        self._program = None
        status = program.wait()
        if status == 128 + signal.SIGTERM and on_slurm:
            # Slurm requeues a job that it preempts only if that does not end by itself meanwhile.
            print("Stopped by Slurm; waiting to be requeued, or ended.", flush=True)
            time.sleep(GRACE)
        if status:
            ended = f"was killed by signal {-status}" if status < 0 else f"ended with exit status {status}"
            raise ChildProcessError(f"{record.pieces[index].config} {ended}; see above")


def order(pieces: int, number: int) -> list[int]:
    """The pieces that a task works on, one after another: all of them, every task from another one on."""
    return [(number + index) % pieces for index in range(pieces)]


def stop(pid: int, seconds: float = STOPPING) -> None:
    """Ends a child process by SIGTERM, or after so many seconds by SIGKILL; does not reap it."""
    os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + seconds
    while os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is None:
        if time.monotonic() > deadline:
            os.kill(pid, signal.SIGKILL)
        time.sleep(0.1)
