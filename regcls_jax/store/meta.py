"""How results were made: command, versions, machine and times.

Kept apart from the rows, which an interrupted and resumed study must reproduce bit for bit.
"""

import collections
import importlib.metadata
import os
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from regcls_jax.devices import cores
from regcls_jax.store.files import read_json, to_json, write_atomic

VERSIONS = ("regcls_jax", "jax", "jaxlib", "flax", "optax", "numpy")


def facts(command: str) -> dict[str, Any]:
    """What every meta.json says: `command` as typed, machine, and versions of the packages that decide numbers."""
    return {
        "command": command,
        "machine": f"{platform.machine()}, {cores()} cores, {platform.system()}",
        "versions": {name: importlib.metadata.version(name) for name in VERSIONS},
    }


def note_time(workdir: Path, process: str, command: str, classes: int, trainings: int, seconds: float) -> float:
    """Adds finished trainings to workdir/meta/<process>.json; returns the trainings per minute.

    Every process of a study has a file of its own (`process` names it), so that none overwrites the notes of another;
    `read_meta` adds them up.
    """
    path = workdir / "meta" / f"{process}.json"
    path.parent.mkdir(exist_ok=True)
    times = read_json(path)["times"] if path.exists() else {}
    times = _sum_times([times, {str(classes): {"trainings": trainings, "seconds": seconds}}])
    meta = {**facts(command), **_totals(times), "times": times}
    write_atomic(path, to_json(meta))
    return 60 * trainings / seconds


def read_meta(workdir: str | os.PathLike) -> dict[str, Any]:
    """The notes of a study: its meta.json (an exported or older study) and those of its processes, merged.

    Trainings and seconds are summed over processes, even those that ran at the same time. Commands, machines and
    versions that differ are listed. Returns {} if there are no notes; raises OSError for a file that cannot be read.
    """
    workdir = Path(workdir)
    files = [*workdir.glob("meta.json"), *sorted(workdir.glob("meta/*.json"))]
    found = [read_json(path) for path in files]
    if len(found) < 2:
        return found[0] if found else {}
    times = _sum_times([meta["times"] for meta in found])
    versions = _distinct(found, "versions")
    return {
        "command": "; ".join(_distinct(found, "command")),
        **_totals(times),
        "machine": "; ".join(_distinct(found, "machine")),
        "versions": versions[0] if len(versions) == 1 else versions,
        "times": times,
    }


def _sum_times(several: Sequence[Mapping[str, Mapping[str, float]]]) -> dict[str, dict[str, float]]:
    """Trainings and seconds per class count."""
    total: dict[str, dict[str, float]] = collections.defaultdict(lambda: {"trainings": 0, "seconds": 0.0})
    for times in several:
        for classes, entry in times.items():
            total[classes]["trainings"] += entry["trainings"]
            total[classes]["seconds"] = round(total[classes]["seconds"] + entry["seconds"], 3)
    return dict(total)


def _totals(times: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    return {
        "trainings": sum(entry["trainings"] for entry in times.values()),
        "seconds": round(sum(entry["seconds"] for entry in times.values()), 3),
    }


def _distinct(found: Sequence[Mapping[str, Any]], key: str) -> list[Any]:
    """The different values of a key, in order."""
    different: list[Any] = []
    for meta in found:
        if meta[key] not in different:
            different.append(meta[key])
    return different
