"""FaultyDisk: the calls that a save makes of the system, of which one fails, or is the last before a crash."""

import errno
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from io import FileIO
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar
from unittest.mock import patch

from trainer.storage import durable, history

FAULTS = ("ENOSPC", "EIO", "half", "kill", "kill in half")

Result = TypeVar("Result")
Names = dict[str, int]  # the names in the folder, and the number of the file that each stands for


class Killed(BaseException):
    """The process is gone: nothing that it would do after this reaches the disk."""


class FaultyDisk:
    """Counts the calls that `trainer.storage` makes within a folder, and lets one fail.

    Parameters
    ----------
    folder : Path
    failing : int, optional
        The number of the call that fails; none by default.
    fault : str, default="EIO"
        One of `FAULTS`: the call fails with this error; it is done in half, and fails, where it is a write; the process
        is killed before it, or when it is done in half.

    Attributes
    ----------
    steps : list of str
        The calls, in order.

    Notes
    -----
    It also keeps book of what a loss of power would leave: a file holds what it held when it was last synced, and
    whatever came after may read as zeros; of the names that were given, moved and taken since the folder was last
    synced, the first so many are on disk.
    """

    def __init__(self, folder: Path, failing: int | None = None, fault: str = "EIO") -> None:
        self.folder = folder
        self.failing = failing
        self.fault = fault
        self.steps: list[str] = []
        self.dead = False
        self._synced: dict[int, bytes] = {}
        self._lengths: dict[int, int] = {}  # of files that hold more than was synced
        self._tables: list[Names] = []
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        """Stand between the packages and the disk."""
        self._tables = [self._names()]
        self._synced = {number: (self.folder / name).read_bytes() for name, number in self._tables[0].items()}
        disk = self

        class File(FileIO):
            """An unbuffered file whose calls are counted."""

            def __init__(self, path: Path | str, mode: str) -> None:
                disk.step(f"open {Path(path).name}", lambda: None)
                super().__init__(path, mode.replace("b", ""))
                disk.note(self.fileno(), fresh="w" in mode)

            def write(self, content: Any) -> int:
                def half() -> None:
                    super(File, self).write(content[: len(content) // 2])

                try:
                    return disk.step("write", lambda: super(File, self).write(content), half)
                finally:
                    disk.note(self.fileno())

            def close(self) -> None:
                if disk.dead or self.closed:
                    super().close()
                else:
                    disk.step("close", super().close, super().close)

        calls = _Calls(self)
        self._stack.enter_context(patch.object(durable, "os", calls))
        self._stack.enter_context(patch.object(history, "os", calls))
        self._stack.enter_context(patch.object(durable, "open", File, create=True))
        self._stack.enter_context(patch.object(history, "FileIO", File))
        self._stack.enter_context(patch.object(Path, "unlink", _unlink(self, Path.unlink)))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Step aside."""
        self._stack.close()

    def step(self, name: str, act: Callable[[], Result], half: Callable[[], object] | None = None) -> Result:
        """Make one call, unless it is the one that fails."""
        if self.dead:
            raise Killed
        self.steps.append(name)
        if len(self.steps) - 1 != self.failing:
            return act()
        if half is not None and ("half" in self.fault or name.startswith("close")):  # the system frees the handle
            half()
        if self.fault.startswith("kill"):
            self.dead = True
            raise Killed
        number = errno.EIO if self.fault == "EIO" else errno.ENOSPC
        raise OSError(number, os.strerror(number))

    def note(self, handle: int, *, fresh: bool = False) -> None:
        """Note that a file, perhaps a new one, holds more than what was synced."""
        status = os.fstat(handle)
        if fresh:
            self._synced[status.st_ino] = b""
        self._lengths[status.st_ino] = status.st_size
        self.note_names()

    def note_names(self) -> None:
        """Note that a name may have come, gone or moved."""
        names = self._names()
        if names != self._tables[-1]:
            self._tables.append(names)

    def sync(self, handle: int) -> None:
        """Note that a file, or the names in the folder, are on disk now."""
        status = os.fstat(handle)
        if stat.S_ISDIR(status.st_mode):
            self._tables = self._tables[-1:]
            return
        name = next((name for name, number in self._names().items() if number == status.st_ino), None)
        if name is not None:
            self._synced[status.st_ino] = (self.folder / name).read_bytes()
        self._lengths.pop(status.st_ino, None)

    def after_loss_of_power(self) -> Iterator[dict[str, bytes]]:
        """Give what the folder may hold once the power is back, one possibility after the other."""
        for names in self._tables:
            yield {name: self._synced[number] for name, number in names.items()}
            if self._lengths.keys() & names.values():
                yield {
                    name: self._synced[number].ljust(self._lengths.get(number, 0), b"\0")
                    for name, number in names.items()
                }

    def _names(self) -> Names:
        return {entry.name: entry.inode() for entry in os.scandir(self.folder) if entry.is_file()}


class _Calls:
    """The module `os`, with the calls that matter counted."""

    def __init__(self, disk: FaultyDisk) -> None:
        self._disk = disk

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)

    def open(self, path: Path, flags: int) -> int:
        return self._disk.step("open folder", lambda: os.open(path, flags))

    def close(self, handle: int) -> None:
        if self._disk.dead:
            os.close(handle)
        else:
            self._disk.step("close folder", lambda: os.close(handle), lambda: os.close(handle))

    def fsync(self, handle: int) -> None:
        self._disk.step("fsync", lambda: self._disk.sync(handle))

    def replace(self, source: Path, target: Path) -> None:
        self._disk.step("rename", lambda: os.replace(source, target))
        self._disk.note_names()


def _unlink(disk: FaultyDisk, unlink: Callable[..., None]) -> Callable[..., None]:
    def counted(path: Path, missing_ok: bool = False) -> None:
        if path.parent != disk.folder:
            unlink(path, missing_ok=missing_ok)
            return
        disk.step(f"unlink {path.name}", lambda: unlink(path, missing_ok=missing_ok))
        disk.note_names()

    return counted
