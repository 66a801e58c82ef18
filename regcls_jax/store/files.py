"""Writing files so that a reader, or a crash at any moment, finds the old file or the whole new one; reading JSON."""

import contextlib
import json
import os
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any


def write_atomic(path: str | os.PathLike, data: bytes | memoryview | str) -> None:
    """Makes `path` hold exactly `data` (text as UTF-8).

    Raises OSError, naming `path`, if the folder is missing or the disk refuses; no temporary file is left behind.
    """
    _write(Path(path), data, os.replace)


def write_new(path: str | os.PathLike, data: bytes | memoryview | str) -> bool:
    """As `write_atomic`, but only where there is no `path` yet: of several processes one gets True and writes."""
    try:
        _write(Path(path), data, os.link)
    except FileExistsError:
        return False
    return True


def _write(path: Path, data: bytes | memoryview | str, publish: Callable[[Path, Path], None]) -> None:
    # Unique also among threads and hosts; a plain open() keeps the permissions that the umask grants to others.
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        with open(temporary, "xb") as file:
            file.write(data.encode() if isinstance(data, str) else data)
            file.flush()
            os.fsync(file.fileno())
        publish(temporary, path)
    except OSError as error:
        raise OSError(error.errno, f"cannot be written: {error.strerror or error}", str(path)) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def refresh(folder: Path) -> float:
    """The time by the clock of the file system that holds `folder` (seconds; comparable with `st_mtime`).

    Creates and removes an empty file there. Changing a folder makes a client of a network file system drop its cached
    listing, so that the next listing includes what other machines have written.
    """
    probe = folder / f".{uuid.uuid4().hex}.probe"
    with open(probe, "xb") as file:
        now = os.fstat(file.fileno()).st_mtime
    probe.unlink()
    return now


def read_json(path: str | os.PathLike) -> dict[str, Any]:
    """The JSON object in a file. Raises OSError, naming `path`, where there is none."""
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise OSError(f"{path} is not a readable JSON file: {error}") from error
    if not isinstance(content, dict):
        raise OSError(f"{path} is not a readable JSON file: it holds no object")
    return content
