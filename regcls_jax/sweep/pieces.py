"""What a sweep is made of: configs, each with the program that trains it, its folder and what it will train."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from regcls_jax import config_file
from regcls_jax.config import check_name
from regcls_jax.loop import tasks
from regcls_jax.loop.start import check_starts, run_folder
from regcls_jax.store.files import CHECKSUM, signed
from regcls_jax.store.workdir import check_no_study, share_workdir
from regcls_jax.study import runs as study

STUDY, TRAIN = "study", "train"


@dataclasses.dataclass(frozen=True)
class Piece:
    """One config of a sweep.

    Attributes:
      program: STUDY or TRAIN, the launch program that trains it.
      config: <path>.py[:variant], as given.
      changes: the fields of it that the command line set (`config_file.change`).
      folder: its work directory, below that of the sweep; "" for the same.
      content: of the config with its changes.
      trainings: how many it has.
      runs: of TRAIN, their folders below `folder`.
    """

    program: str
    config: str
    changes: dict[str, str | None]
    folder: str
    content: dict[str, Any]
    trainings: int
    runs: tuple[str, ...] = ()


def read_config(given: str, changes: Mapping[str, str | None]) -> tuple[str, dict[str, Any]]:
    """The program of a config, and what that has with its changes: trainings of the loop have seeds, studies none.

    Raises the errors of `config_file.load` and `config_file.change`.
    """
    content = config_file.load(given)
    program, fields = (TRAIN, tasks.every_field()) if "seeds" in content else (STUDY, study.ARM_FIELDS)
    return program, config_file.change(content, changes, fields)


def digest(config: Mapping[str, Any]) -> str:
    """What tells a config, before or after it was written as JSON, from another one."""
    return signed(config)[CHECKSUM]


def plan(given: Sequence[str], changes: Mapping[str, str | None], workdir: Path) -> list[Piece]:
    """The pieces of a sweep: one config has `workdir` itself, several a folder each below it. Writes nothing.

    Raises ValueError where a config has a mistake, two have one folder, or a folder of trainings holds something else.
    """
    folders = [folder_name(config) if len(given) > 1 else "" for config in given]
    if len(set(folders)) < len(given):
        raise ValueError(f"several configs would be trained in one folder of {workdir}: {', '.join(given)}")
    return [_piece(config, changes, folder, workdir) for config, folder in zip(given, folders, strict=True)]


def settle(pieces: Sequence[Piece], workdir: Path) -> None:
    """Makes the folders of studies. Raises the errors of `share_workdir`, such as of a folder with another config."""
    for piece in pieces:
        if piece.program == STUDY:
            share_workdir(workdir / piece.folder, piece.content)


def folder_name(config: str) -> str:
    """The folder of one of several configs: fig3-quick of configs/fig3.py:quick."""
    path, _, variant = config.partition(":")
    name = "-".join(filter(None, (Path(path).stem, variant)))
    check_name("the folder of a config", name)
    return name


def _piece(given: str, changes: Mapping[str, str | None], folder: str, workdir: Path) -> Piece:
    program, content = read_config(given, changes)
    names: tuple[str, ...] = ()
    try:
        if program == STUDY:
            trainings = len(study.expand(content))
        else:
            runs = tasks.expand(content)
            check_no_study(workdir / folder)
            check_starts(runs, workdir / folder)
            trainings, names = len(runs), tuple(run_folder(Path(), run.arm, run.seed).as_posix() for run in runs)
    except ValueError as error:
        raise ValueError(f"{given}: {error}") from None
    return Piece(program, given, dict(changes), folder, content, trainings, names)
