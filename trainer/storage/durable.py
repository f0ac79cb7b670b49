"""Durable files: in a folder that is held by a descriptor, written beside, synced and moved into place.

A name only ever holds a whole file, and what is opened to be written is a file of one's own: no link is followed, no
other name of it is written through, and no pipe is waited for.
"""

import errno
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from io import BufferedRandom, FileIO
from pathlib import Path
from typing import Any, BinaryIO, Literal, NamedTuple, Self, cast

UNFINISHED = ".unfinished"  # what the name of a file ends with while it is being written
NEW = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
OURS = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
READ = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC  # a link that is read through harms nobody
FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC

ALONE = "a plain file, with this name only"

Mode = Literal["r", "w", "r+", "c", "a"]


class FolderLost(RuntimeError):
    """The folder of a run was moved, or another run has taken it over: nothing more is written there."""


class NoFileOfOurs(OSError):
    """What has the name of a file to be written is a link, has other names, or is no file at all."""


class Folder:
    """A folder, and the files in it by their names.

    While it is held, it stays the one that it was, wherever its path leads to by now; else each call finds it by its
    path. Before anything is written or taken away, its `guard` may raise.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self.guard: Callable[[], None] | None = None
        self._handle: int | None = None

    @classmethod
    def of(cls, folder: "Self | Path | str") -> Self:
        """Give the folder itself, or that of a path."""
        return folder if isinstance(folder, cls) else cls(cast(Path, folder))

    def __reduce__(self) -> tuple[Any, ...]:
        """Let it be copied, but not its descriptor."""
        return type(self), (self.path,)

    def __truediv__(self, name: str) -> "File":
        """Give one file."""
        return File(self, name)

    def make(self) -> None:
        """Make it and those above it that are missing, and have their names on disk before returning."""
        if self._handle is None:
            missing = [above for above in (self.path, *self.path.parents) if not above.exists()]
            self.path.mkdir(parents=True, exist_ok=True)
            for made in missing:
                Folder(made.parent).sync()

    def hold(self) -> bool:
        """Hold it from now on; say whether it was not held before."""
        if self._handle is not None:
            return False
        self._handle = os.open(self.path, FOLDER)
        return True

    def release(self) -> None:
        """Hold it no longer."""
        if self._handle is not None:
            handle, self._handle = self._handle, None
            with suppress(OSError):  # nothing is lost by that
                os.close(handle)

    @contextmanager
    def descriptor(self, *, to_write: bool = False) -> Iterator[int]:
        """Give its descriptor for a while."""
        if to_write and self.guard is not None:
            self.guard()
        held = self._handle
        handle = os.open(self.path, FOLDER) if held is None else held
        try:
            yield handle
        except OSError:
            if to_write and self.guard is not None:
                self.guard()  # a folder that was lost in between is why, and says more
            raise
        finally:
            if held is None:
                with suppress(OSError):  # what was written was synced
                    os.close(handle)

    def names(self) -> list[str]:
        """List what is there, in order; nothing where there is no folder."""
        try:
            with self.descriptor() as folder:
                return sorted(os.listdir(folder))
        except FileNotFoundError:
            return []

    def status(self, name: str) -> os.stat_result | None:
        """Look at what has a name, without following a link; None if nothing has."""
        try:
            with self.descriptor() as folder:
                return os.stat(name, dir_fd=folder, follow_symlinks=False)
        except FileNotFoundError:
            return None

    def demand_own(self, name: str) -> None:
        """Refuse what has a name and is not a file of one's own."""
        found = self.status(name)
        if found is not None and not _is_own(found):
            raise _foreign(self.path / name, found)

    def open(self, name: str, mode: Mode) -> FileIO:
        """Open a file, unbuffered: to read, write anew, change what is there (``"c"``: or is made), or add to it."""
        with self.descriptor(to_write=mode != "r") as folder:
            if mode == "r":
                return _opened(self.path / name, os.open(name, READ, dir_fd=folder), "r")
            at_end = os.O_APPEND if mode == "a" else 0
            if mode != "r+":
                with suppress(FileExistsError):
                    return FileIO(os.open(name, NEW | at_end, 0o666, dir_fd=folder), "r+")
            try:
                handle = os.open(name, OURS | at_end, dir_fd=folder)
            except OSError as error:
                if error.errno in (errno.ELOOP, errno.EMLINK, errno.EISDIR, errno.ENXIO):
                    raise _foreign(self.path / name, self.status(name)) from error
                raise
            file = _opened(self.path / name, handle, "r+")
            if mode == "w":
                file.truncate()
            return file

    def replace(self, name: str, write: Callable[[BinaryIO], object]) -> None:
        """Write a file whole or not at all: `write` gets one open for reading and writing, and fills it.

        Whatever happens meanwhile, a kill or a loss of power included, the name has either what it had before or all
        of the new content. On an OSError it is as it was, unless only the last sync of the folder failed: then it is
        whole, but a loss of power may still undo it. The order is that of Pillai et al., All file systems are not
        created equal, OSDI 2014: without the first sync a crash may leave an empty file under the good name, without
        the last the old one.
        """
        beside = name + UNFINISHED
        with self.descriptor(to_write=True) as folder:
            raw = self._new(beside, folder)
            try:
                with BufferedRandom(raw) as file:
                    write(cast(BinaryIO, file))
                    file.flush()
                    os.fsync(file.fileno())
                os.replace(beside, name, src_dir_fd=folder, dst_dir_fd=folder)
            except BaseException:
                with suppress(OSError):
                    os.unlink(beside, dir_fd=folder)
                raise
            os.fsync(folder)

    def _new(self, name: str, folder: int) -> FileIO:
        """Make a file that is not there; one that a killed save has left goes."""
        try:
            return FileIO(os.open(name, NEW, 0o666, dir_fd=folder), "r+")
        except FileExistsError:
            found = self.status(name)
            if found is None or not _is_own(found):
                raise _foreign(self.path / name, found) from None
            os.unlink(name, dir_fd=folder)
            return FileIO(os.open(name, NEW, 0o666, dir_fd=folder), "r+")

    def unlink(self, name: str) -> None:
        """Take a file away, if it is there."""
        with self.descriptor(to_write=True) as folder, suppress(FileNotFoundError):
            os.unlink(name, dir_fd=folder)

    def sync(self) -> None:
        """Have its names on disk before returning, or raise OSError."""
        with self.descriptor() as folder:
            os.fsync(folder)


class File(NamedTuple):
    """One file of a folder."""

    folder: Folder
    name: str

    @classmethod
    def of(cls, path: "File | Path | str") -> "File":
        """Give the file itself, or that of a path."""
        if isinstance(path, File):
            return path
        path = Path(path)
        return cls(Folder(path.parent), path.name)

    @property
    def path(self) -> Path:
        """Where it was when its folder was opened."""
        return self.folder.path / self.name

    def __str__(self) -> str:
        """Give the path."""
        return str(self.path)

    def open(self, mode: Mode) -> FileIO:
        """Open it; see `Folder.open`."""
        return self.folder.open(self.name, mode)


def replace_file(path: File | Path | str, write: Callable[[BinaryIO], object]) -> None:
    """Write a file whole or not at all; see `Folder.replace`."""
    file = File.of(path)
    file.folder.replace(file.name, write)


def _is_own(found: os.stat_result) -> bool:
    return stat.S_ISREG(found.st_mode) and found.st_nlink <= 1


def _opened(path: Path, handle: int, mode: str) -> FileIO:
    found = os.fstat(handle)
    if stat.S_ISREG(found.st_mode) if mode == "r" else _is_own(found):
        return FileIO(handle, mode)
    os.close(handle)
    raise _foreign(path, found, "a plain file" if mode == "r" else ALONE)


def _foreign(path: Path, found: os.stat_result | None, expected: str = ALONE) -> NoFileOfOurs:
    what = "something that comes and goes"
    if found is not None:
        kinds = (
            (stat.S_ISLNK, "a link"),
            (stat.S_ISDIR, "a folder"),
            (stat.S_ISREG, "one with another name elsewhere"),
        )
        what = next((word for is_kind, word in kinds if is_kind(found.st_mode)), "a pipe or a device")
    return NoFileOfOurs(f"{path} is left alone. Expected {expected}. Received {what}")
