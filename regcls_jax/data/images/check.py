"""Decodes every image once, before anything is trained on it. What was checked before a stop is not checked again."""

import concurrent.futures
import hashlib
import json
import math
import os
from collections.abc import Callable, Hashable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import tqdm

from regcls_jax.data.images.decoding import decode_rgb, is_rotated
from regcls_jax.data.images.files import ImageFiles
from regcls_jax.devices import cores
from regcls_jax.store.files import read_json, to_json, write_atomic

CHECK_VERSION = 2
# About a second of work at 224 pixels, so that a stop costs no more than that.
CHUNK = 500
# Share of the images, rounded up, that may be missing or corrupt.
MAX_SKIPPED = 0.001
# How many unusable images an error names; all are in the file.
NAMED = 5
UNUSABLE = "unusable.json"


class Checked(NamedTuple):
    """Of the usable images, a digest of their bytes; of the others, what is wrong with them; both by name.

    `rotated` are the usable images that viewers show turned, by their EXIF data.
    """

    digests: dict[str, str]
    faults: dict[str, str]
    rotated: list[str]


class Files(Protocol):
    """What is checked, by name; see `ImageFiles`."""

    def stamp(self, name: str) -> Hashable: ...


def usable_image(images: ImageFiles, name: str) -> bytes:
    """The content of an image that can be decoded. Raises ValueError, saying what is wrong, if it cannot be."""
    return decodable(images, name, decode_rgb)[0]


def decodable(files: ImageFiles, name: str, decode: Callable[[bytes], Any]) -> tuple[bytes, Any]:
    """The content of a file and what `decode` makes of it. Raises ValueError, saying what is wrong, if it cannot."""
    try:
        data = files.read(name)
    except FileNotFoundError:
        raise ValueError("missing") from None
    except OSError as error:
        raise ValueError(f"unreadable: {error}") from error
    try:
        return data, decode(data)
    except ValueError as error:
        raise ValueError(f"corrupt: {error}") from error


def check_images(
    images: Files,
    names: Sequence[str],
    folder: str | os.PathLike,
    *,
    usable: Callable[[Any, str], bytes] = usable_image,
    workers: int | None = None,
    progress: bool = False,
) -> Checked:
    """Reads and decodes images.

    Args:
      images: where they are.
      names: which of them.
      folder: made if missing; gets one small file per 500 images. Their results are taken from there as long as those
        images keep their size and checksum (in an archive) or time (in a folder).
      usable: (images, name) -> the content, or ValueError with what is wrong with it.
      workers: threads; one per processor if None.
      progress: whether to show a progress bar on stderr.

    Raises:
      OSError: a result cannot be written; the message names the file.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    chunks = [names[start : start + CHUNK] for start in range(0, len(names), CHUNK)]
    checked = Checked({}, {}, [])
    # Threads: the decoders release the interpreter lock.
    executor = concurrent.futures.ThreadPoolExecutor(workers or cores())
    try:
        running = [executor.submit(_check_chunk, images, chunk, folder, usable) for chunk in chunks]
        with tqdm.tqdm(total=len(names), desc="Checking", unit=" images", disable=not progress) as bar:
            for chunk, done in zip(chunks, running, strict=True):
                digests, faults, rotated = done.result()
                checked.digests.update(digests)
                checked.faults.update(faults)
                checked.rotated.extend(rotated)
                bar.update(len(chunk))
    finally:
        executor.shutdown(cancel_futures=True)
    return checked


def _check_chunk(images: Files, names: Sequence[str], folder: Path, usable: Callable[[Any, str], bytes]) -> Checked:
    key = json.dumps([CHECK_VERSION, [[name, images.stamp(name)] for name in names]])
    path = folder / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.json"
    try:
        content = read_json(path)
        return Checked(content["digests"], content["faults"], content["rotated"])
    except (OSError, KeyError):  # none yet, or not one of ours
        pass
    checked = Checked({}, {}, [])
    for name in names:
        try:
            data = usable(images, name)
        except ValueError as error:
            checked.faults[name] = str(error)
            continue
        checked.digests[name] = hashlib.blake2b(data, digest_size=16).hexdigest()
        if is_rotated(data):
            checked.rotated.append(name)
    # A missing image may be put in place before the next attempt, and is found missing at no cost.
    write_atomic(path, to_json(checked._asdict(), indent=None))
    return checked


def check_most(
    images: Files,
    names: Sequence[str],
    folder: Path,
    max_skipped: float,
    *,
    usable: Callable[[Any, str], bytes] = usable_image,
    samples: str = "images",
) -> Checked:
    """`check_images`, with progress, of `samples`: what they are called.

    Raises:
      ValueError: more of them than `max_skipped` allows cannot be used; the message names the first, and a file.
    """
    checked = check_images(images, names, folder, usable=usable, progress=True)
    limit = math.ceil(max_skipped * len(names))
    if len(checked.faults) > limit:
        listing = folder / UNUSABLE
        write_atomic(listing, to_json(checked.faults))
        first = ", ".join(f"{name} ({fault})" for name, fault in list(checked.faults.items())[:NAMED])
        raise ValueError(
            f"{len(checked.faults)} of {len(names)} {samples} cannot be used, and at most {limit} may be skipped; "
            f"all are listed in {listing}; first: {first}"
        )
    return checked
