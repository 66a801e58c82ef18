"""Which parts of a study this process trains when several divide the work: it claims every chunk that it trains.

Chunks are the unit of claims as they are of numerics: they depend on the runs only, whereas processes with different
numbers of devices, or that come when some chunks are done, cut their parts differently.
"""

import contextlib
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from regcls_jax.store.claims import Claims
from regcls_jax.store.files import refresh
from regcls_jax.store.rows import runs_of_file
from regcls_jax.study.plan import Part

# Seconds between two looks at what other processes have done, when there is nothing else to do.
PATIENCE = 1.0


class Finished:
    """The numbers of the runs whose rows stand in a folder, `runs`; every file of rows is read once."""

    def __init__(self, rows: Path) -> None:
        self.runs: set[int] = set()
        self._rows = rows
        self._seen: set[str] = set()

    def look(self) -> None:
        """Adds what was finished since the last look, here or by other processes. Raises as `finished_runs`."""
        refresh(self._rows)
        for path in self._rows.glob("*.csv"):
            if path.name not in self._seen:
                self.runs |= runs_of_file(path)
                self._seen.add(path.name)


def file_name(part: Part) -> str:
    """The name of a part's rows. Parts without a common chunk, however cut, begin with different runs."""
    return f"{part.runs[0]:07d}-{part.runs[-1]:07d}.csv"


def claimed_parts(
    planned: Sequence[Sequence[Part]],
    claims: Claims,
    finished: Finished,
    wait: Callable[[int], None] = lambda missing: time.sleep(PATIENCE),
) -> Iterator[tuple[int, Part] | None]:
    """Claims and yields, one after another, the parts that this process is to train, until all runs are finished.

    Whoever asks for the next part goes on training while the answer is sought. Parts that other processes are at come
    last, if those have given up by then.

    Args:
      planned: the parts of the study, one list per shape.
      claims: of this process.
      finished: the runs whose rows stand.
      wait: called with the number of missing runs, all claimed by other processes; returns after a while.

    Yields:
      (index of the shape, part) or None: nothing is left but what other processes are at, or this one has not published
      yet; it must do so before it asks again, because others may be waiting for it.
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
    """Gives the claims of a part back."""
    for chunk in part.chunks:
        claims.release(_claim_name(chunk))


def holds(part: Part, claims: Claims) -> bool:
    """Whether all of a part is still claimed by this process."""
    return all(claims.holds(_claim_name(chunk)) for chunk in part.chunks)


def _claim(part: Part, claims: Claims, finished: Finished, whole: bool) -> Part | None:
    """What can be claimed of a part; nothing if `whole` and another process is at its first chunk.

    Processes that come to a part at the same time would otherwise take every other chunk of it, and what is missing
    of a part costs as much as what is there.
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
        finished.look()  # chunks that were finished, and given back, since the last look
    for chunk in mine:
        if finished.runs.issuperset(chunk):
            claims.release(_claim_name(chunk))
    return left.without(finished.runs | elsewhere)


def _claim_name(chunk: Sequence[int]) -> str:
    return f"{chunk[0]:07d}"


@contextlib.contextmanager
def sigterm_as_interrupt() -> Iterator[None]:
    """SIGTERM (a scheduler takes the machine away) raises KeyboardInterrupt, so that claims are given back.

    Only the main thread can listen for it.
    """

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
