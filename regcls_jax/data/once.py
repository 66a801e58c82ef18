"""Preparing a data set once: never two at a time, and what was prepared stays until there is something new."""

import contextlib
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from regcls_jax.data.places import LABELS
from regcls_jax.store.claims import open_claims

# What TFDS calls the folder of an unfinished preparation.
UNFINISHED = "incomplete.*"
# Beside the folder of a data set: what it was before it is prepared again, and who prepares it.
BEFORE, CLAIMS = "before", "claims"
REMEDY = "give --overwrite to prepare it again"


def check_folder(images: str | os.PathLike | None, folder: Path) -> None:
    """Raises NotADirectoryError where the source of the data set in `folder` is given, but is not there."""
    if images is not None and not Path(images).exists():
        there = f"; what was prepared before is in {folder}, and another folder needs --overwrite"
        raise NotADirectoryError(f"there is no folder {images}{there if is_prepared(folder) else ''}")


def is_prepared(folder: Path) -> bool:
    """Whether a data set was prepared in this folder."""
    return (folder / LABELS).exists()


def make_once(folder: Path, make: Callable[[], None], overwrite: bool) -> bool:
    """Calls `make`, which fills `folder`, unless that was done before or it is to be done again; whether it did."""
    if is_prepared(folder) and not overwrite:
        return False
    with open_claims(folder.parent / CLAIMS) as claims:
        if not claims.take(folder.name):
            raise OSError(f"{folder} is being prepared by another process")
        before = folder.with_name(BEFORE)
        if before.exists():  # a process was killed while it prepared again
            _settle(before, folder)
            if is_prepared(folder) and not overwrite:
                return False
        for leftover in folder.parent.glob(UNFINISHED):
            shutil.rmtree(leftover)
        with _put_aside(folder, before):
            make()
    return True


@contextlib.contextmanager
def _put_aside(folder: Path, before: Path) -> Iterator[None]:
    """Makes way for a new `folder`. An old one is `before` meanwhile, and comes back if there is no new one then."""
    if folder.exists():
        folder.rename(before)
    try:
        yield
    finally:
        if before.exists():
            _settle(before, folder)


def _settle(before: Path, folder: Path) -> None:
    # TFDS renames its folder when everything in it is complete: one that exists is a whole one.
    if folder.exists():
        shutil.rmtree(before)
    else:
        before.rename(folder)
