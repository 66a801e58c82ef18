"""A study's folder: one config, one process at a time, finished rows, and how long they took."""

import contextlib
import importlib.metadata
import json
import os
import platform
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import filelock

from regcls_jax.devices import cores
from regcls_jax.store.files import read_json, write_atomic

VERSIONS = ("regcls_jax", "jax", "jaxlib", "flax", "optax", "numpy")


class WorkdirInUse(OSError):
    """Another process holds the folder."""


def in_use(path: str | os.PathLike) -> bool:
    """Whether another process holds the folder."""
    try:
        with filelock.FileLock(Path(path) / ".lock", timeout=0):
            return False
    except filelock.Timeout:
        return True
    except OSError:
        return False  # there is no such folder


@contextlib.contextmanager
def open_workdir(path: str | os.PathLike, config: Mapping[str, Any]) -> Iterator[Path]:
    """Makes (or reopens) the folder of a study and holds its lock inside the `with` block.

    Raises OSError where the folder cannot be written or another process holds it, ValueError where it holds the
    results of another config (naming a key that differs). Nothing in it is ever overwritten by another study.
    """
    workdir = Path(path)
    try:
        workdir.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(workdir / ".lock", timeout=0)
        lock.acquire()
    except filelock.Timeout:
        raise WorkdirInUse(f"workdir {workdir} is in use by another process; wait for it or choose another") from None
    except OSError as error:
        raise OSError(f"workdir {workdir} cannot be written: {error.strerror or error}") from None
    try:
        _claim(workdir, json.loads(json.dumps(config)))
        for leftover in workdir.glob("**/.*.tmp"):
            leftover.unlink()  # of a process that was killed while writing; nobody else is here
        yield workdir
    finally:
        lock.release()


def _claim(workdir: Path, config: dict[str, Any]) -> None:
    """Writes config.json, or compares with the one that is there."""
    path = workdir / "config.json"
    if not path.exists():
        write_atomic(path, json.dumps(config, indent=2) + "\n")
        return
    there, wanted = _flatten(read_json(path)), _flatten(config)
    for key in sorted({*there, *wanted}):
        if there.get(key) != wanted.get(key):
            raise ValueError(
                f"workdir {workdir} holds the results of another config: {key} is {there.get(key)!r} there and "
                f"{wanted.get(key)!r} here; choose another workdir"
            )


def _flatten(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in config.items():
        flat.update(_flatten(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {prefix + key: value})
    return flat


def note_time(workdir: Path, command: str, classes: int, trainings: int, seconds: float) -> float:
    """Adds a finished part to meta.json, beside command, versions and machine; returns its trainings per minute.

    Kept apart from the rows, which an interrupted and resumed study must reproduce to the last bit.
    """
    path = workdir / "meta.json"
    meta = read_json(path) if path.exists() else {}
    times = meta.get("times", {})
    before = times.get(str(classes), {"trainings": 0, "seconds": 0.0})
    times[str(classes)] = {
        "trainings": before["trainings"] + trainings,
        "seconds": round(before["seconds"] + seconds, 3),
    }
    facts = {
        "command": command,
        "trainings": sum(entry["trainings"] for entry in times.values()),
        "seconds": round(sum(entry["seconds"] for entry in times.values()), 3),
        "machine": f"{platform.machine()}, {cores()} cores, {platform.system()}",
        "versions": {name: importlib.metadata.version(name) for name in VERSIONS},
        "times": times,
    }
    write_atomic(path, json.dumps(facts, indent=2) + "\n")
    return 60 * trainings / seconds
