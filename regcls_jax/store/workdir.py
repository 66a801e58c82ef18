"""A study's folder: one config, and one or more processes that share its work."""

import contextlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from regcls_jax.store.claims import ABANDONED, is_claimed, open_claims
from regcls_jax.store.files import read_json, refresh, to_json, write_new

# The folder of claims, and the name of the claim of a process that wants the whole workdir to itself.
CLAIMS, WHOLE = "claims", "whole"


class WorkdirInUse(OSError):
    """Another process holds the folder."""


def in_use(path: str | os.PathLike) -> bool:
    """Whether a process holds the whole folder (`open_workdir`)."""
    return is_claimed(Path(path) / CLAIMS, WHOLE)


def share_workdir(path: str | os.PathLike, config: Mapping[str, Any]) -> Path:
    """Makes (or reopens) the folder of a study that several processes may work on.

    Raises OSError where the folder cannot be written, ValueError where it holds the results of another config (naming a
    key that differs). Nothing in it is ever overwritten by another study.
    """
    workdir = Path(path)
    with _naming(workdir):
        workdir.mkdir(parents=True, exist_ok=True)
        now = refresh(workdir)
    _settle(workdir, config)
    # Left by processes that were killed while writing: no write takes this long.
    _remove_leftovers(workdir, before=now - ABANDONED)
    return workdir


@contextlib.contextmanager
def open_workdir(path: str | os.PathLike, config: Mapping[str, Any]) -> Iterator[Path]:
    """As `share_workdir`, for this process alone until the `with` block ends; raises WorkdirInUse if another has it."""
    workdir = Path(path)
    with contextlib.ExitStack() as stack:
        with _naming(workdir):
            claims = stack.enter_context(open_claims(workdir / CLAIMS))
        if not claims.take(WHOLE):
            raise WorkdirInUse(f"workdir {workdir} is in use by another process; wait for it or choose another")
        _settle(workdir, config)
        _remove_leftovers(workdir)
        yield workdir


@contextlib.contextmanager
def _naming(workdir: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OSError(f"workdir {workdir} cannot be written: {error.strerror or error}") from None


def _remove_leftovers(workdir: Path, before: float = float("inf")) -> None:
    for leftover in workdir.glob("**/.*.tmp"):
        with contextlib.suppress(FileNotFoundError):  # another process may be faster
            if leftover.stat().st_mtime < before:
                leftover.unlink()


def _settle(workdir: Path, config: Mapping[str, Any]) -> None:
    """Writes config.json, or checks that the one in the folder is the same."""
    path = workdir / "config.json"
    if not path.exists() and write_new(path, to_json(config)):
        return
    there, wanted = _flatten(read_json(path)), _flatten(json.loads(json.dumps(config)))
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
