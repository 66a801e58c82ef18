"""Scalars of a training as JSON lines and for TensorBoard, consistent with the checkpoint that a run continues from."""

import contextlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import tensorboardX

from regcls_jax.store.files import from_json, to_json, write_atomic

LINES = "metrics.jsonl"


class MetricsWriter:
    """Appends to `folder`/metrics.jsonl and to `folder`/tensorboard."""

    def __init__(self, folder: str | os.PathLike, step: int) -> None:
        """Opens the files of a run that continues after `step`; what is later there is dropped: it comes again.

        Raises OSError, naming file and line, where it is damaged.
        """
        self._path = path = Path(folder) / LINES
        if path.exists():
            lines = _lines(path, whole=False)
            write_atomic(path, "".join(f"{line}\n" for line, found in lines if found["step"] <= step))
        self._file = open(path, "a", encoding="utf-8", buffering=1)  # a line at a time
        self._board = tensorboardX.SummaryWriter(str(Path(folder) / "tensorboard"), purge_step=step + 1)

    def write(self, step: int, scalars: Mapping[str, float]) -> None:
        """One line and one point per scalar. Raises OSError, naming the file, where it cannot be written."""
        with self._writing():
            self._file.write(to_json({"step": step, **scalars}, indent=None))
        for name, value in scalars.items():
            self._board.add_scalar(name, value, step)

    def close(self) -> None:
        """Flushes both; raises as `write`."""
        with self._writing():
            self._board.close()
            self._file.close()

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise OSError(error.errno, f"cannot be written: {error.strerror or error}", str(self._path)) from error


def _lines(path: Path, whole: bool) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every line of a file of metrics, and what it says; unless the file is `whole`, the last line may be cut off."""
    lines = path.read_bytes().splitlines()
    for number, line in enumerate(lines, 1):
        try:
            text = line.decode()
            yield text, from_json(text)
        except ValueError as error:
            if number == len(lines) and not whole:
                return  # a process was killed while writing it
            raise OSError(f"{path}, line {number} is not readable: {error}; remove the line to go on") from error


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The lines of a metrics.jsonl. Raises OSError, naming file and line, for one that is damaged."""
    return [found for _, found in _lines(path, whole=True)]
