"""Processes that measure: each request and each answer is one line of JSON.

Everything measured runs in a process of its own, so that each has its own cores, thread pools and XLA flags, and two
that are compared can take turns without compiling again.
"""

import functools
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

Answer = dict[str, Any]


class Worker:
    """A running script of this folder, pinned to some cores; a context manager that ends it."""

    def __init__(self, script: str, cpus: Iterable[int], **environment: str) -> None:
        """Starts `script`, which calls `serve`; XLA flags come from the engine and `environment`, not from the user."""
        inherited = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"}
        self._script = script
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name(script))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=inherited | {"JAX_PLATFORMS": "cpu"} | environment,
            # Before Python starts: thread pools are sized by the cores they see first.
            preexec_fn=functools.partial(os.sched_setaffinity, 0, list(cpus)),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    def start(self, request: Mapping[str, Any]) -> None:
        """Sends a request without waiting for its answer."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()

    def finish(self) -> Answer:
        """The answer to the last request. Raises OSError if the process ended instead (its stderr says why)."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise OSError(f"benchmarks/{self._script} ended with status {self._process.wait()} instead of an answer")
        return json.loads(line)

    def ask(self, **request: Any) -> Answer:
        """The answer to a request."""
        self.start(request)
        return self.finish()


def ask_together(workers: Sequence[Worker], **request: Any) -> list[Answer]:
    """The answers of several workers that were asked the same at the same time."""
    for worker in workers:
        worker.start(request)
    return [worker.finish() for worker in workers]


def timed(advance: Callable[[], None]) -> Answer:
    """Seconds and core-seconds of one step."""
    clock, used = time.perf_counter(), time.process_time()
    advance()
    return {"seconds": time.perf_counter() - clock, "core_seconds": time.process_time() - used}


def serve(measure: Callable[..., Answer]) -> None:
    """Answers every request on stdin with `measure(**request)` on stdout, until stdin ends."""
    for line in sys.stdin:
        print(json.dumps(measure(**json.loads(line))), flush=True)
