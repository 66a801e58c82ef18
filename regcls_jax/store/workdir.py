"""A study's folder: one config, and one or more processes that share its work."""

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from regcls_jax.store.claims import ABANDONED, count_owners, is_claimed, open_claims
from regcls_jax.store.files import from_json, read_json, refresh, to_json, write_atomic, write_new
from regcls_jax.store.rows import TRIVIAL_FILE

# The folder of claims, and the name of the claim of a process that wants the whole workdir to itself.
CLAIMS, WHOLE = "claims", "whole"
# What a folder holds before its first result: empty folders of results, metrics that are of no checkpoint, and the rows
# of a study's trivial predictors, which take no training.
RESULTS = ("rows", "trace", "checkpoints")
TRIVIAL = f"rows/{TRIVIAL_FILE}"
# Digests of the data that a study is trained on.
DATA_FILE = "data.json"
# What the chunks of a study are chosen by.
CHUNKS_FILE = "chunks.json"
BEFORE_RESULTS = {"config.json", DATA_FILE, CHUNKS_FILE, CLAIMS, "metrics.jsonl", "tensorboard", *RESULTS}


class WorkdirInUse(OSError):
    """Another process holds the folder."""


def in_use(path: str | os.PathLike) -> bool:
    """Whether a process holds the whole folder (`open_workdir`)."""
    return is_claimed(Path(path) / CLAIMS, WHOLE)


def share_workdir(path: str | os.PathLike, config: Mapping[str, Any]) -> Path:
    """Makes (or reopens) the folder of a study that several processes may work on.

    Raises OSError where the folder cannot be written, ValueError where it holds the results of another config (naming a
    key that differs) or trainings of the loop. No result in it is ever overwritten by another study: only one that
    failed before its first result makes way.
    """
    workdir = Path(path)
    with _naming(workdir):
        workdir.mkdir(parents=True, exist_ok=True)
        now = refresh(workdir)
    if next(workdir.glob("*/seed*/config.json"), None):
        raise ValueError(f"workdir {workdir} holds trainings of launch/train.py; choose another workdir for a study")
    _settle(workdir, config, others=lambda: count_owners(workdir / CLAIMS) > 0)
    # Left by processes that were killed while writing: no write takes this long.
    _remove_leftovers(workdir, before=now - ABANDONED)
    return workdir


@contextlib.contextmanager
def open_workdir(
    path: str | os.PathLike, config: Mapping[str, Any], defaults: Mapping[str, Any] | None = None
) -> Iterator[Path]:
    """As `share_workdir`, for this process alone until the `with` block ends; raises WorkdirInUse if another has it.

    A config that an earlier version wrote may lack keys: these had the values `defaults`.
    """
    workdir = Path(path)
    with contextlib.ExitStack() as stack:
        with _naming(workdir):
            claims = stack.enter_context(open_claims(workdir / CLAIMS))
        if not claims.take(WHOLE):
            raise WorkdirInUse(f"workdir {workdir} is in use by another process; wait for it or choose another")
        _settle(workdir, config, defaults=defaults or {})
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


def check_no_study(workdir: str | os.PathLike) -> None:
    """Raises ValueError where a folder, meant for trainings of the loop, is that of a study or of one training."""
    path = Path(workdir) / "config.json"
    content = read_json(path) if path.exists() else {}
    for key, kind in (("arms", "a study of launch/study.py"), ("arm", "one training, <workdir>/<arm>/seed<k>")):
        if key in content:
            raise ValueError(f"workdir {workdir} is the folder of {kind}; choose another workdir")


def _settle(
    workdir: Path,
    config: Mapping[str, Any],
    others: Callable[[], bool] = lambda: False,
    defaults: Mapping[str, Any] = {},
) -> None:
    """Writes config.json, or checks that the one in the folder is the same; without results it is replaced.

    `others` tells whether other processes are at work, whose results may be on their way.
    """
    path = workdir / "config.json"
    text = to_json(config)
    if not path.exists() and write_new(path, text):
        return
    content = read_json(path)
    known = from_json(to_json(defaults)) if "arm" in content else {}
    there, wanted = _flatten({**known, **content}), _flatten(from_json(text))
    differing = [key for key in sorted({*there, *wanted}) if there.get(key) != wanted.get(key)]
    if not differing:
        return
    ours = "arms" in content or "arm" in content  # other programs have files of this name, too
    if ours and _is_bare(workdir) and not others():
        for name in (TRIVIAL, DATA_FILE, CHUNKS_FILE):
            (workdir / name).unlink(missing_ok=True)
        write_atomic(path, text)
        return
    key = differing[0]
    raise ValueError(
        f"workdir {workdir} holds the results of another config: {key} is {there.get(key)!r} there and "
        f"{wanted.get(key)!r} here; choose another workdir"
    )


def _is_bare(workdir: Path) -> bool:
    """Whether a folder holds nothing but what an attempt leaves that failed before its first result."""
    names = {entry.name for entry in workdir.iterdir() if not entry.name.startswith(".")}
    results = (entry for name in RESULTS for entry in (workdir / name).glob("[!.]*"))
    return names <= BEFORE_RESULTS and all(entry == workdir / TRIVIAL for entry in results)


def _flatten(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in config.items():
        flat.update(_flatten(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {prefix + key: value})
    return flat
