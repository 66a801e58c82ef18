"""Writing files so that a reader, or a crash at any moment, finds the old file or the whole new one; checked JSON.

Damage is found when a file is read: JSON carries a checksum, and CSV files are gzipped, which have one (store/rows.py).
"""

import contextlib
import hashlib
import json
import os
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np


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


CHECKSUM = "checksum"


def _checksum(content: Mapping[str, Any]) -> str:
    # As it reads back: tuples are lists, keys are text.
    text = json.dumps(json.loads(json.dumps(content)), sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def signed(content: Mapping[str, Any]) -> dict[str, Any]:
    """`content`, a JSON object, with a last entry that is the checksum of the others."""
    return {**content, CHECKSUM: _checksum(content)}


def verified(content: Any) -> dict[str, Any]:
    """What `signed` was given, or an object without a checksum. Raises ValueError where a checksum does not fit."""
    if not isinstance(content, dict):
        raise ValueError("it holds no object")
    own = {key: value for key, value in content.items() if key != CHECKSUM}
    if CHECKSUM in content and content[CHECKSUM] != _checksum(own):
        raise ValueError("it was changed or damaged (its checksum does not fit)")
    return own


def digest(*arrays: np.ndarray) -> str:
    """A digest of arrays: types, shapes and content."""
    found = hashlib.blake2b(digest_size=16)
    for array in arrays:
        found.update(f"{array.dtype.str} {array.shape}".encode())
        found.update(np.ascontiguousarray(array).data)  # not tobytes(): a copy
    return found.hexdigest()


def to_json(content: Mapping[str, Any], indent: int | None = 2) -> str:
    """The `signed` content as text, ending in a line break."""
    return json.dumps(signed(content), indent=indent) + "\n"


def from_json(text: str) -> dict[str, Any]:
    """What `to_json` was given. Raises ValueError for text that is no JSON object or does not fit its checksum."""
    return verified(json.loads(text))


def read_json(path: str | os.PathLike) -> dict[str, Any]:
    """The JSON object in a file (`from_json`). Raises OSError, naming `path`, where there is none or it is damaged."""
    try:
        return from_json(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise OSError(f"{path} is not a readable JSON file: {error}") from error
