"""What crosses from the command that submits to its tasks, as a file that both read: commands, configs, environment.

A task may start hours later, on another machine, after a file or a package has changed; it must notice.
"""

import dataclasses
import os
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from regcls_jax.store.files import CHECKSUM, read_json, signed, to_json, write_atomic
from regcls_jax.store.meta import facts
from regcls_jax.sweep.pieces import Piece, digest, read_config

# The folder of a sweep in its work directory: records, and what submitit writes. No arm has a name that begins so.
FOLDER = ".sweep"
LOGS = "logs"
# Variables that decide what JAX does.
SETTINGS = ("JAX_", "XLA_", "NPROC")


@dataclasses.dataclass(frozen=True)
class Record:
    """A sweep as submitted.

    Attributes:
      pieces: what is trained.
      commands: of every piece, the program and its arguments.
      cwd: the folder that paths are relative to.
      versions: of Python and the packages that decide numbers.
      environment: variables that decide what JAX does.
    """

    pieces: tuple[Piece, ...]
    commands: tuple[tuple[str, ...], ...]
    cwd: str
    versions: dict[str, str]
    environment: dict[str, str]


def make_record(pieces: Sequence[Piece], commands: Sequence[Sequence[str]]) -> Record:
    """The record of a sweep that is submitted here and now."""
    given = tuple(map(tuple, commands))
    return Record(tuple(pieces), given, os.getcwd(), versions(), settings(os.environ))


def versions() -> dict[str, str]:
    """The versions that this process has of what decides numbers."""
    return {"python": platform.python_version(), **facts("")["versions"]}


def settings(environment: Mapping[str, str]) -> dict[str, str]:
    """The variables of an environment that decide what JAX does."""
    return {name: value for name, value in sorted(environment.items()) if name.startswith(SETTINGS)}


def write_record(workdir: Path, record: Record) -> Path:
    """Writes a record under a name of its own, which a later submission leaves alone; returns its path."""
    content = dataclasses.asdict(record)
    folder = workdir / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{signed(content)[CHECKSUM]}.json"
    write_atomic(path, to_json(content))
    return path


def read_record(path: Path) -> Record:
    """The record in a file. Raises OSError where there is none or it is damaged."""
    content: dict[str, Any] = read_json(path)
    pieces = tuple(Piece(**{**piece, "runs": tuple(piece["runs"])}) for piece in content["pieces"])
    return Record(**{**content, "pieces": pieces, "commands": tuple(map(tuple, content["commands"]))})


def newest_record(workdir: Path) -> Path:
    """The file of what was submitted last to a work directory. Raises ValueError where nothing was."""
    records = sorted((workdir / FOLDER).glob("[!.]*.json"), key=lambda path: path.stat().st_mtime)
    if not records:
        raise ValueError(f"{workdir} holds no sweep; launch/sweep.py --slurm, or --cluster=local, starts one")
    return records[-1]


def check_versions(record: Record) -> None:
    """Raises ValueError, naming the first version that is not that of the submission."""
    for name, here in versions().items():
        if record.versions.get(name) != here:
            raise ValueError(
                f"submitted with {name} {record.versions.get(name)}, and {platform.node()} has {here}: rows of one "
                "study must not mix versions; submit again, or install the same there"
            )


def check_config(piece: Piece) -> None:
    """Raises ValueError where the file of a config is another one than when the sweep was submitted."""
    if digest(read_config(piece.config, piece.changes)[1]) != digest(piece.content):
        raise ValueError(f"{piece.config} was changed after the sweep was submitted; submit again, to another workdir")
