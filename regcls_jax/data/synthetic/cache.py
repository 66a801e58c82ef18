"""1-D data sets on disk: made once, several at a time, and read in two milliseconds.

One uncompressed `.npz` (about 1 MB) per data set holds the inputs `x` and targets `y` of the three splits,
end to end, and their `sizes`. Its name carries a hash of everything that determines the content. Files appear
whole or not at all, so programs may share a folder without locks: at worst two of them make the same file.
"""

import concurrent.futures
import contextlib
import hashlib
import io
import itertools
import json
import os
import warnings
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import tqdm

from regcls_jax.checks import check_integer
from regcls_jax.data.synthetic.generator import GENERATOR_VERSION, Dataset, Source, Split, make
from regcls_jax.data.synthetic.spec import DataSpec
from regcls_jax.devices import cores
from regcls_jax.store.files import write_atomic


def load(
    specs: Sequence[DataSpec],
    cache_dir: str | os.PathLike,
    *,
    workers: int | None = None,
    progress: bool = False,
) -> dict[DataSpec, Dataset]:
    """The data sets of `specs`, 1 MB of memory each: `ensure`, then `read` (arguments and errors there)."""
    ensure(specs, cache_dir, workers=workers, progress=progress)
    return {spec: read(spec, cache_dir) for spec in specs}


def ensure(
    specs: Sequence[DataSpec],
    cache_dir: str | os.PathLike,
    *,
    workers: int | None = None,
    progress: bool = False,
) -> None:
    """Makes the data sets of `specs` that are not in the cache yet.

    Args:
      specs: the data sets wanted.
      cache_dir: folder of the cache, made if missing.
      workers: how many make data sets at the same time; one per processor if None.
      progress: whether to show a progress bar on stderr.

    Raises:
      ValueError: `workers` is not a positive integer.
      OSError: a file cannot be written; the message names it.
    """
    workers = cores() if workers is None else workers
    check_integer("workers", workers, 1)
    missing = {path: spec for spec in specs if not (path := path_of(spec, cache_dir)).exists()}
    # Sets of one function and repetition share draws, so they are one job.
    jobs = [list(job) for _, job in itertools.groupby(sorted(missing.values(), key=_source_of), _source_of)]
    # Threads, because nearly all the time goes to NumPy calls that release the interpreter lock: on two cores
    # they take 5 % longer than processes, without a fork beside JAX or a second import of __main__.
    executor = concurrent.futures.ThreadPoolExecutor(workers)
    try:
        running = [executor.submit(_make_job, job, Path(cache_dir)) for job in jobs]
        with tqdm.tqdm(total=len(missing), desc="1-D data sets", disable=not progress) as bar:
            for done in concurrent.futures.as_completed(running):
                bar.update(done.result())
    finally:
        executor.shutdown(cancel_futures=True)


def read(spec: DataSpec, cache_dir: str | os.PathLike) -> Dataset:
    """The data set of `spec` from the cache; made, and put there, if it is missing or damaged.

    Raises:
      OSError: the file cannot be read or written; the message names it.
    """
    path = path_of(spec, cache_dir)
    with _naming(path, "read"), contextlib.suppress(FileNotFoundError):
        content = path.read_bytes()
        try:
            return _decode(content)
        except Exception as error:  # zipfile and NumPy fail in many ways on damaged bytes
            warnings.warn(f"{path} is damaged ({error}) and is made again", stacklevel=2)
    dataset = make(spec)
    _write(path, dataset)
    return dataset


def path_of(spec: DataSpec, cache_dir: str | os.PathLike) -> Path:
    """The file of `spec`: readable in front, and a hash of everything that determines the content."""
    key = json.dumps([GENERATOR_VERSION, *spec.content()])
    digest = hashlib.sha256(key.encode()).hexdigest()[:16]
    name = f"{spec.scenario}-{spec.sampling}-f{spec.function}-r{spec.repetition}-{digest}.npz"
    return Path(cache_dir) / name


def _source_of(spec: DataSpec) -> tuple[int, int]:
    return spec.function, spec.repetition


def _make_job(specs: Sequence[DataSpec], cache_dir: Path) -> int:
    """Makes data sets of one function and repetition; returns how many."""
    source = Source(*_source_of(specs[0]))
    for spec in specs:
        path = path_of(spec, cache_dir)
        if not path.exists():  # another program may have made it since
            _write(path, source.make(spec))
    return len(specs)


def _decode(content: bytes) -> Dataset:
    with zipfile.ZipFile(io.BytesIO(content)) as members:
        if (broken := members.testzip()) is not None:
            raise zipfile.BadZipFile(f"wrong checksum of {broken}")
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        x, y, sizes = arrays["x"], arrays["y"], arrays["sizes"]
    ends = np.cumsum(sizes)[:-1]
    return Dataset(*map(Split, np.split(x, ends), np.split(y, ends)))


def _write(path: Path, dataset: Dataset) -> None:
    buffer = io.BytesIO()
    x, y = map(np.concatenate, zip(*dataset, strict=True))
    np.savez(buffer, x=x, y=y, sizes=[len(split.y) for split in dataset])
    with _naming(path, "written"):
        path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, buffer.getbuffer())


@contextlib.contextmanager
def _naming(path: Path, verb: str) -> Iterator[None]:
    """Lets errors of the file system name the data set, not a temporary file."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, f"data set cannot be {verb}: {error.strerror}", str(path)) from error
