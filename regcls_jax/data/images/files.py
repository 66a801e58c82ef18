"""Image files as they arrive: in a folder, in zip archives, or in both."""

import os
import zipfile
from collections.abc import Hashable
from pathlib import Path

SUFFIXES = (".jpg", ".jpeg", ".png")


class ImageFiles:
    """Reads files by their name in an archive or, where no archive has it, by their path below a folder.

    Reading is safe from several threads.
    """

    def __init__(self, folder: str | os.PathLike, archives: str = "*.zip") -> None:
        """Lists the archives.

        Args:
          folder: where the images or the archives are.
          archives: pattern of the archives' names, directly in `folder`.

        Raises:
          OSError: there is no such folder.
          ValueError: an archive is damaged; the message names it.
        """
        self.folder = Path(folder)
        if not self.folder.is_dir():
            raise NotADirectoryError(f"there is no image folder {folder}")
        self._members: dict[str, tuple[zipfile.ZipFile, zipfile.ZipInfo]] = {}
        for path in sorted(self.folder.glob(archives)):
            try:
                archive = zipfile.ZipFile(path)
            except zipfile.BadZipFile as error:
                raise ValueError(f"{path} is no readable zip archive: {error}") from error
            for member in archive.infolist():
                self._members.setdefault(member.filename, (archive, member))

    def names(self) -> list[str]:
        """The images in the archives or, where there are none, below the folder; sorted by file name, then folder."""
        if self._members:
            found = list(self._members)
        else:
            found = [path.relative_to(self.folder).as_posix() for path in self.folder.rglob("*")]
        images = [name for name in found if _is_image(name)]
        return sorted(images, key=lambda name: (name.rsplit("/", 1)[-1], name))

    def stamp(self, name: str) -> tuple[Hashable, ...] | None:
        """What changes when the file does (its size, and its checksum or time), without reading it; None if missing."""
        if name in self._members:
            member = self._members[name][1]
            return member.file_size, member.CRC
        try:
            status = (self.folder / name).stat()
        except OSError:
            return None
        return status.st_size, status.st_mtime_ns

    def read(self, name: str) -> bytes:
        """The content of a file. Raises OSError if it is missing or, in an archive, damaged."""
        if name not in self._members:
            return (self.folder / name).read_bytes()
        archive, member = self._members[name]
        try:
            return archive.read(member)
        except (zipfile.BadZipFile, RuntimeError, NotImplementedError) as error:  # damaged, encrypted, unknown method
            raise OSError(f"{name} in {archive.filename} cannot be read: {error}") from error


def _is_image(name: str) -> bool:
    parts = name.lower().split("/")
    # macOS puts a "._" companion with a picture's suffix beside every picture.
    return parts[-1].endswith(SUFFIXES) and not parts[-1].startswith(".") and parts[0] != "__macosx"
