"""Writing files so that a reader, or a crash at any moment, finds the old file or the whole new one."""

import contextlib
import os
import uuid
from pathlib import Path


def write_atomic(path: str | os.PathLike, data: bytes | memoryview | str) -> None:
    """Makes `path` hold exactly `data` (text as UTF-8).

    Raises OSError, naming `path`, where the folder is missing or the disk refuses; nothing is left behind then.
    """
    path = Path(path)
    # Unique also among threads and hosts; a plain open() keeps the permissions that the umask grants to others.
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        with open(temporary, "xb") as file:
            file.write(data.encode() if isinstance(data, str) else data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        raise OSError(error.errno, f"cannot be written: {error.strerror or error}", str(path)) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
