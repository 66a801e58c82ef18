"""How several processes divide a study: each claims the chunks that it trains.

Chunks are claimed, not parts: chunks depend on the runs only, whereas processes with different numbers of devices, or
that join when some chunks are done, cut their parts differently.
"""

import contextlib
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import FrameType

from regcls_jax.store.claims import Claims
from regcls_jax.store.files import refresh
from regcls_jax.store.rows import runs_of_file
from regcls_jax.study.plan import Part

# Seconds between two checks for results of other processes, when there is nothing else to do.
PATIENCE = 1.0


class Finished:
    """Tracks the runs that have rows in a folder (`runs`, by number); every file is read once."""

    def __init__(self, rows: Path) -> None:
        self.runs: set[int] = set()
        self._rows = rows
        self._seen: set[str] = set()

    def look(self) -> None:
        """Adds what this or other processes finished since the last look. Raises the errors of `rows.runs_of_file`."""
        refresh(self._rows)
        for path in self._rows.glob("*.csv.gz"):
            if path.name not in self._seen:
                self.runs |= runs_of_file(path)
                self._seen.add(path.name)


def file_name(part: Part) -> str:
    """The name of a part's rows. Parts without a common chunk, however cut, start with different runs."""
    return f"{part.runs[0]:07d}-{part.runs[-1]:07d}.csv.gz"


def claimed_parts(
    planned: Sequence[Sequence[Part]],
    claims: Claims,
    finished: Finished,
    wait: Callable[[int], None] = lambda missing: time.sleep(PATIENCE),
) -> Iterator[tuple[int, Part] | None]:
    """Claims and yields, one after another, the parts that this process is to train, until all runs are finished.

    The devices keep training while the next part is sought. Parts that other processes are working on come last, if
    those have given them up by then.

    Args:
      planned: the parts of the study, one list per shape.
      claims: of this process.
      finished: the runs that have rows.
      wait: called with the number of missing runs, all claimed by other processes; returns after a while.

    Yields:
      (index of the shape, part), or None if all that is left is claimed by other processes or trained but not yet
      published by this one, which must publish it before it asks again, because others may be waiting for it.
    """
    everything = {number for parts in planned for part in parts for number in part.runs}
    first_round = True
    while not everything <= finished.runs:
        took = False
        for shape, parts in enumerate(planned):
            for part in parts:
                claimed = _claim(part, claims, finished, whole=first_round)
                if claimed is not None:
                    took = True
                    yield shape, claimed
        yield None
        finished.look()
        missing = len(everything - finished.runs)
        if missing and not (took or first_round):
            wait(missing)
        first_round = False


def release(part: Part, claims: Claims) -> None:
    """Releases the claims of a part."""
    for chunk in part.chunks:
        claims.release(_claim_name(chunk))


def holds(part: Part, claims: Claims) -> bool:
    """Whether this process still holds the claims of all chunks of a part."""
    return all(claims.holds(_claim_name(chunk)) for chunk in part.chunks)


def _claim(part: Part, claims: Claims, finished: Finished, whole: bool) -> Part | None:
    """The chunks of a part that could be claimed; None if `whole` and another process holds its first chunk.

    Otherwise, processes that reach a part at the same time would take alternate chunks of it, and the missing chunks of
    a part cost as much as the others.
    """
    left = part.without(finished.runs)
    if left is None:
        return None
    elsewhere: set[int] = set()
    mine = []
    for chunk in left.chunks:
        if claims.take(_claim_name(chunk)):
            mine.append(chunk)
        elif whole and not mine:
            return None
        else:
            elsewhere.update(chunk)
    if mine:
        finished.look()  # chunks that were finished and released since the last look
    for chunk in mine:
        if finished.runs.issuperset(chunk):
            claims.release(_claim_name(chunk))
    return left.without(finished.runs | elsewhere)


def _claim_name(chunk: Sequence[int]) -> str:
    return f"{chunk[0]:07d}"


@contextlib.contextmanager
def sigterm_as_interrupt() -> Iterator[Callable[[], None]]:
    """Turns SIGTERM (a scheduler takes the machine away) into KeyboardInterrupt(SIGTERM), so that claims are released.

    Yields a function to call now and then: it raises what could not be raised when the signal came. Without effect
    outside the main thread, which alone can handle signals.
    """
    received: list[int] = []

    def check() -> None:
        if received:
            raise KeyboardInterrupt(received[0])

    def interrupt(number: int, frame: FrameType | None) -> None:
        received.append(number)
        # Python ignores, but prints, what is raised inside JAX's callback of the garbage collector.
        if frame is None or frame.f_code.co_name != "_xla_gc_callback":
            check()

    if threading.current_thread() is not threading.main_thread():
        yield check
        return
    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield check
    finally:
        signal.signal(signal.SIGTERM, before)
