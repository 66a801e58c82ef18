"""Image files as they arrive: in a folder, in zip or tar archives, or in both."""

import bz2
import functools
import gzip
import io
import lzma
import os
import posixpath
import shutil
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO, NamedTuple

SUFFIXES = (".jpg", ".jpeg", ".png")
ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
# The folder, in small letters, of what macOS adds to an archive.
MACOS = "__macosx"
# What compressed files start with, and what opens them.
COMPRESSED: dict[bytes, Callable[[Path], io.BufferedIOBase]] = {
    b"\x1f\x8b": gzip.open,
    b"BZ": bz2.open,
    b"\xfd7": lzma.open,
}


class Member(NamedTuple):
    """A file in an archive: what changes when it does, and its content, which raises OSError where it is damaged."""

    stamp: tuple[Hashable, ...]
    read: Callable[[], bytes]


class ImageFiles:
    """Reads files by their name in an archive or, where no archive has it, by their path below a folder.

    Where all of an archive, or of the folder, lies in one folder, a name may leave that out. Reading is safe from
    several threads.
    """

    def __init__(self, folder: str | os.PathLike, archives: Sequence[str] = ("",)) -> None:
        """Lists the archives. Compressed tar archives are unpacked to a temporary file, which lives as long as this.

        Args:
          folder: where the images or the archives are.
          archives: how the archives' names start, in small letters, directly in `folder`; the first of these that
            some archives start with is taken.

        Raises:
          OSError: there is no such folder, or no space to unpack.
          ValueError: an archive is damaged; the message names it.
        """
        self.folder = Path(folder)
        if not self.folder.is_dir():
            raise NotADirectoryError(f"there is no image folder {folder}")
        with os.scandir(self.folder) as entries:
            self._inner = self.folder / _only_folder(f"{entry.name}/" for entry in entries if entry.is_dir())
        self._members: dict[str, Member] = {}
        self._shorter: dict[str, str] = {}
        for path in _archives(self.folder, archives):
            members = dict(_zip_members(path) if path.name.lower().endswith(".zip") else _tar_members(path))
            start = _only_folder(members)
            for name, member in members.items():
                self._members.setdefault(name, member)
                self._shorter.setdefault(name.removeprefix(start), name)

    def names(self) -> list[str]:
        """The images in the archives or, where there are none, below the folder; sorted by file name, then folder."""
        found = self._members if self._members else _files_below(self.folder)
        images = [name for name in found if _is_image(name)]
        return sorted(images, key=lambda name: (name.rsplit("/", 1)[-1], name))

    def stamp(self, name: str) -> tuple[Hashable, ...] | None:
        """What changes when the file does (its size, and its checksum or time), without reading it; None if missing."""
        if member := self._member(name):
            return member.stamp
        try:
            status = self._path(name).stat()
        except OSError:
            return None
        return status.st_size, status.st_mtime_ns

    def read(self, name: str) -> bytes:
        """The content of a file. Raises OSError if it is missing or, in an archive, damaged."""
        member = self._member(name)
        return member.read() if member else self._path(name).read_bytes()

    def _member(self, name: str) -> Member | None:
        return self._members.get(name) or self._members.get(self._shorter.get(name, ""))

    def _path(self, name: str) -> Path:
        path = self.folder / name
        return path if path.exists() else self._inner / name


def plain_path(name: str) -> str:
    """A relative path in one spelling: with / and without . and doubled separators; ".." may remain at its start."""
    return posixpath.normpath(name.replace("\\", "/"))


def _only_folder(names: Iterable[str]) -> str:
    """The folder, with a / at its end, that all of these paths with a folder start with; "" if there is none."""
    tops = {name.split("/", 1)[0] for name in names if "/" in name}
    tops = {top for top in tops if not top.startswith(".") and top.lower() != MACOS}
    return f"{tops.pop()}/" if len(tops) == 1 else ""


def _archives(folder: Path, starts: Sequence[str]) -> list[Path]:
    found = sorted(path for path in folder.iterdir() if path.name.lower().endswith(ARCHIVES) and path.is_file())
    for start in starts:
        if chosen := [path for path in found if path.name.lower().startswith(start)]:
            return chosen
    return []


def _zip_members(path: Path) -> Iterator[tuple[str, Member]]:
    try:
        archive = zipfile.ZipFile(path)
    except zipfile.BadZipFile as error:
        raise ValueError(f"{path} is no readable zip archive: {error}") from error
    for info in archive.infolist():
        if not info.is_dir():
            read = functools.partial(_read_zipped, archive, info)
            yield plain_path(info.filename), Member((info.file_size, info.CRC), read)


def _read_zipped(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    try:
        return archive.read(info)
    except (zipfile.BadZipFile, RuntimeError, NotImplementedError) as error:  # damaged, encrypted, unknown method
        raise OSError(f"{info.filename} in {archive.filename} cannot be read: {error}") from error


def _tar_members(path: Path) -> Iterator[tuple[str, Member]]:
    """The files of a tar archive by their place in it; they have no checksum, so the archive's time stands for one."""
    written = path.stat().st_mtime_ns
    try:
        file = _uncompressed(path)
        for info in tarfile.open(fileobj=file, mode="r:"):
            if info.isfile():
                read = functools.partial(_read_part, path, file, info.offset_data, info.size)
                yield plain_path(info.name), Member((info.size, info.offset_data, written), read)
    except (tarfile.TarError, EOFError, zlib.error, lzma.LZMAError) as error:
        raise ValueError(f"{path} is no readable tar archive: {error}") from error


def _uncompressed(path: Path) -> IO[bytes]:
    file = path.open("rb")
    opened = COMPRESSED.get(file.read(2))
    file.seek(0)
    if opened is None:
        return file
    file.close()
    with opened(path) as packed:
        whole = tempfile.TemporaryFile()
        try:
            shutil.copyfileobj(packed, whole, 1 << 20)
            whole.flush()
        except OSError as error:
            if error.errno is None:  # what the decompressors raise
                raise tarfile.ReadError(str(error)) from error
            temporary = tempfile.gettempdir()
            raise OSError(f"{path} cannot be unpacked to {temporary} ({error.strerror}); set TMPDIR") from error
    whole.seek(0)
    return whole


def _read_part(path: Path, file: IO[bytes], start: int, size: int) -> bytes:
    data = os.pread(file.fileno(), size, start)  # without a position that threads would share
    if len(data) < size:
        raise OSError(f"{path} ends early: it is not complete")
    return data


def _files_below(folder: Path) -> Iterator[str]:
    """Paths of the files below a folder, and below folders that are links; a folder that several links show once."""
    seen = set()
    for place, folders, files in os.walk(folder, followlinks=True):
        status = os.stat(place)
        if (status.st_dev, status.st_ino) in seen:
            folders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        folders.sort()
        for file in files:
            yield Path(place, file).relative_to(folder).as_posix()


def _is_image(name: str) -> bool:
    parts = name.lower().split("/")
    # macOS puts a "._" companion with a picture's suffix beside every picture.
    return parts[-1].endswith(SUFFIXES) and not parts[-1].startswith(".") and parts[0] != MACOS
