"""Claims decide which of several processes does a piece of work, on one machine or on many that share a folder.

A claim is a hard link: creating it either succeeds or fails because the name is taken, even on network file systems,
where locks are unreliable. All claims of a process are links to one file that identifies it and whose modification time
is its heartbeat, so a single touch renews all of them.

A process that finds a claim of a dead owner takes it over. An owner is dead if its process has ended (same machine), or
if its last heartbeat is more than `ABANDONED` seconds ago by the clock of the file system (another machine), or at once
if it was an earlier start of this very Slurm job: Slurm starts a job again once all of it has ended. An owner that was
only suspended, or cut off, must check with `holds` before it publishes, and drop results of lost claims.
"""

import contextlib
import json
import os
import platform
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from regcls_jax.store.files import refresh

# Seconds between heartbeats, and without one until an owner on another machine counts as dead.
HEARTBEAT = 30.0
ABANDONED = 600.0
# In place of the start time of a process that this user may not see.
HIDDEN = "hidden"


class Owner(NamedTuple):
    """The owner of a claim; `renewed` is its last heartbeat (`st_mtime`).

    `job` and `restart`: of Slurm, which job it belongs to and how often that had been requeued; "" and 0 elsewhere.
    """

    id: str
    host: str
    pid: int
    started: str
    renewed: float
    job: str = ""
    restart: int = 0

    @property
    def gone(self) -> bool | None:
        """Whether its process has ended; None where that cannot be seen from here."""
        job, restart = _slurm_job()
        if job and self.job == job and self.restart < restart:
            return True
        if not self.started or self.host != _host():
            return None
        return _started(self.pid) not in (self.started, HIDDEN)


class Claims:
    """The claims of one process in a folder; see `open_claims`."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.id = folder, uuid.uuid4().hex[:16]
        self._owner = folder / f".{self.id}"
        self._closed = threading.Event()
        self._heartbeat = threading.Thread(target=self._renew, name="claims", daemon=True)

    def take(self, name: str) -> bool:
        """Claims `name`: True if this process now holds it (or already did), False if another one does."""
        path = self.folder / name
        if self._link(path):
            return True
        there = _read(path)
        if there is None:
            return False  # released just now
        if there.id == self.id:
            return True
        if not _abandoned(there, self.folder):
            return False
        # Only one process at a time may replace this claim: otherwise a slow one, which saw the old claim, could
        # overwrite the new claim of a faster one.
        turn = f"{name}~{there.id}"
        if not self.take(turn):
            return False
        try:
            now = _read(path)
            if now is None or now.id != there.id:
                return False
            temporary = self.folder / f".{uuid.uuid4().hex}"
            self._link(temporary)
            os.replace(temporary, path)
            return True
        finally:
            self.release(turn)

    def holds(self, name: str) -> bool:
        """Whether this process still holds a claim; False if another one took it over."""
        there = _read(self.folder / name)
        return there is not None and there.id == self.id

    def release(self, name: str) -> None:
        """Releases a claim; does nothing if it is not held."""
        if self.holds(name):
            (self.folder / name).unlink(missing_ok=True)

    def _open(self) -> None:
        while True:
            self.folder.mkdir(parents=True, exist_ok=True)
            try:
                self._write_owner()
                break
            except FileNotFoundError:
                continue  # another process, the last to leave, has just removed the folder
        self._heartbeat.start()
        self._clear_dead_owners()

    def _write_owner(self) -> None:
        job, restart = _slurm_job()
        content = {"id": self.id, "host": _host(), "pid": os.getpid(), "started": _started(os.getpid())}
        content |= {"job": job, "restart": restart}
        self._owner.write_text(json.dumps(content) + "\n", encoding="utf-8")

    def _close(self) -> None:
        self._closed.set()
        # Its own claims, and those that dead processes left behind.
        for path in self.folder.glob("[!.]*"):
            if self.take(path.name):
                self.release(path.name)
        self._clear_dead_owners()
        self._owner.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            self.folder.rmdir()  # fails while other processes are here

    def _clear_dead_owners(self) -> None:
        for path in self.folder.glob(".*"):
            owner = _read(path)
            if owner is not None and _abandoned(owner, self.folder):
                path.unlink(missing_ok=True)

    def _renew(self) -> None:
        while not self._closed.wait(HEARTBEAT):
            with contextlib.suppress(OSError):  # the file system may be away for a moment
                os.utime(self._owner)

    def _link(self, path: Path) -> bool:
        try:
            os.link(self._owner, path)
        except FileExistsError:
            return False
        except FileNotFoundError:
            # This process gave no sign of life for long, and another one cleared it away; its old claims are stale.
            self._write_owner()
            return self._link(path)
        except OSError as error:
            reason = f"cannot be claimed (this needs a file system with hard links): {error.strerror}"
            raise OSError(error.errno, reason, str(path)) from error
        return True


@contextlib.contextmanager
def open_claims(folder: Path) -> Iterator[Claims]:
    """Lets this process claim names in `folder` (created if missing); all its claims end with the `with` block.

    A killed process leaves its claims behind; the next process that wants one takes it over.
    """
    claims = Claims(folder)
    claims._open()
    try:
        yield claims
    finally:
        claims._close()


def is_claimed(folder: Path, name: str) -> bool:
    """Whether a live process holds `name`."""
    owner = _read(folder / name)
    return owner is not None and not _abandoned(owner, folder)


def count_owners(folder: Path) -> int:
    """How many live processes have their claims in a folder, be it that they hold none at the moment."""
    owners = filter(None, (_read(path) for path in folder.glob(".*") if path.is_file()))
    return len({owner.id for owner in owners if owner.id and not _abandoned(owner, folder)})


def _abandoned(owner: Owner, folder: Path) -> bool:
    gone = owner.gone
    return refresh(folder) - owner.renewed > ABANDONED if gone is None else gone


def _read(path: Path) -> Owner | None:
    """The owner of a claim; one without an id if the file is damaged. None if there is no claim."""
    try:
        with open(path, encoding="utf-8") as file:  # opening makes a network file system look at the server's times
            text, renewed = file.read(), os.fstat(file.fileno()).st_mtime
    except FileNotFoundError:
        return None
    try:
        return Owner(**json.loads(text), renewed=renewed)
    except (ValueError, TypeError):
        return Owner("", "", 0, "", renewed)


def _host() -> str:
    """Identifies this machine since its last boot, and the PID namespace of this process (containers)."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{platform.node()} {boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return platform.node()


def _slurm_job() -> tuple[str, int]:
    """Which Slurm job this process belongs to ("" for none), and how often that was requeued."""
    number, cluster = os.environ.get("SLURM_JOB_ID", ""), os.environ.get("SLURM_CLUSTER_NAME", "")
    return f"{cluster} {number}" if number else "", int(os.environ.get("SLURM_RESTART_COUNT") or 0)


def _started(pid: int) -> str:
    """When a process started (clock ticks since boot); "" if it has ended, or if there is no /proc."""
    try:
        # The name of the program, in brackets, may hold anything; after it come the state and, as field 22, the time.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return HIDDEN if _is_hidden(pid) else ""
    return "" if fields[0] in ("Z", "X") else fields[19]


def _is_hidden(pid: int) -> bool:
    if not Path("/proc/self").exists():
        return False
    try:
        os.kill(pid, 0)  # sends nothing
    except PermissionError:
        return True
    except OSError:
        return False
    return False
