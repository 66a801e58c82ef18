"""Scalars of a training as JSON lines and for TensorBoard, consistent with the checkpoint that a run continues from."""

import json
import os
from collections.abc import Mapping
from pathlib import Path

import tensorboardX

from regcls_jax.store.files import write_atomic

LINES = "metrics.jsonl"


class MetricsWriter:
    """Appends to `folder`/metrics.jsonl and to `folder`/tensorboard."""

    def __init__(self, folder: str | os.PathLike, step: int) -> None:
        """Opens the files of a run that continues after `step`; what is later there is dropped: it comes again."""
        path = Path(folder) / LINES
        if path.exists():
            lines = [line for line in path.read_text(encoding="utf-8").splitlines() if _is_kept(line, step)]
            write_atomic(path, "".join(f"{line}\n" for line in lines))
        self._file = open(path, "a", encoding="utf-8", buffering=1)  # a line at a time
        self._board = tensorboardX.SummaryWriter(str(Path(folder) / "tensorboard"), purge_step=step + 1)

    def write(self, step: int, scalars: Mapping[str, float]) -> None:
        """One line and one point per scalar."""
        self._file.write(json.dumps({"step": step, **scalars}) + "\n")
        for name, value in scalars.items():
            self._board.add_scalar(name, value, step)

    def close(self) -> None:
        """Flushes both."""
        self._file.close()
        self._board.close()


def _is_kept(line: str, step: int) -> bool:
    try:
        return json.loads(line)["step"] <= step
    except ValueError:
        return False  # the last line of a process that was killed while writing it
