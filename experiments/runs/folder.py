"""RunFolder: what one run leaves behind; files appear whole or not at all, and one run at a time writes them."""

import fcntl
import json
import os
import re
import zipfile
import zlib
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from io import FileIO
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import numpy as np

from experiments.command import UsageError
from experiments.model.model import FILE
from trainer.callbacks.checkpoint import NAME as CHECKPOINT
from trainer.storage.durable import UNFINISHED, File, Folder, FolderLost, NoFileOfOurs
from trainer.storage.json_rows import finite, is_lean, plain

T = TypeVar("T")

STATE = "run.json"
SETTINGS = "settings.json"
MOST_JSON = 64 << 20  # bytes of a file that is read back; a report of thousands of tensors takes one MiB
BROKEN = (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RuntimeError, EOFError, MemoryError)
BALLAST = 2**14  # bytes that the lock file takes up meanwhile: room for the last run.json on a disk that is full
FINDING = re.compile(r"violation-\d{6,}(-\d+)?\.npz", re.ASCII)


class RunFolder:
    """A folder for the files of one run. Asking for it creates nothing; entering it as a context does.

    ``run.json`` says how the run ended; while it is at work, and after it was killed outright, ``"running"``. Which of
    both, the lock on the file ``lock`` tells: the system lifts it when a process ends in whichever way.
    """

    history = "history.jsonl"
    log = "log.txt"
    lock = "lock"
    files = (
        *(STATE, SETTINGS, history, "metrics.json", "proof.json", "report.json", "parameters.npz", log, FILE),
        *("check.npz", "curve.json", "report.html"),  # for the page, and the page
    )

    def __init__(self, path: Path | str, *, overwrite: bool = False, resume: bool = False) -> None:
        self.path = Path(path)
        self.place = Folder(path)
        self._overwrite = overwrite
        self._resume = resume
        self._lock: FileIO | None = None
        self._state: dict[str, Any] = {}
        try:
            nearest = next(folder for folder in (self.path, *self.path.absolute().parents) if folder.exists())
            if not nearest.is_dir():
                raise NotADirectoryError(f"{nearest} is a file")
            if not os.access(nearest, os.W_OK | os.X_OK):
                raise PermissionError(f"{nearest} is not writable")
            self._refuse_to_lose()
        except OSError as error:
            raise self._refusal(error) from error

    def __truediv__(self, name: str) -> Path:
        """Give the path of one file."""
        return self.path / name

    def __enter__(self) -> Self:
        """Make the folder, lock it, and take away what an earlier run left, unless that is to go on."""
        try:
            self.place.make()
            self.place.hold()
            self._lock = self._locked()
            self._refuse_to_lose()
            self.place.guard = self._demand_to_be_alone
            os.pwrite(self._lock.fileno(), bytes(BALLAST), 0)  # which from now on says that the files here are a run's
            self._clear(only_torn=self._resume)
            now = datetime.now(UTC).isoformat(timespec="seconds")
            self._state = {"outcome": "running", "pid": os.getpid(), "started": now}
            self.write_json(STATE, self._state)
        except OSError as error:
            self._release()
            raise self._refusal(error) from error
        except BaseException:
            self._release()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Say that the run failed, unless it ended in a way that was told, and unlock the folder."""
        if self._state["outcome"] == "running":
            with suppress(OSError, FolderLost):
                self.end("interrupted" if kind and issubclass(kind, KeyboardInterrupt) else "failed", str(error))
        self._release()

    def end(self, outcome: str, reason: str | None, **more: Any) -> None:
        """Say in ``run.json`` how the run ended."""
        ended = datetime.now(UTC).isoformat(timespec="seconds")
        self._state |= {"outcome": outcome, "reason": reason, "ended": ended} | more
        if self._lock is not None:
            self._demand_to_be_alone()
            self._lock.truncate(0)
        self.write_json(STATE, self._state)

    def write_json(self, name: str, data: Mapping[str, Any]) -> None:
        """Write one JSON file; NaN and the infinities become strings, as in the history."""
        text = json.dumps(finite(plain(data)), indent=2, allow_nan=False) + "\n"
        self.place.replace(name, lambda file: file.write(text.encode()))

    def write_arrays(self, name: str, arrays: Mapping[str, Any]) -> None:
        """Write named arrays, for `numpy.load`."""
        self.place.replace(name, lambda file: np.savez(file, **arrays))

    def read_json(self, name: str) -> dict[str, Any] | None:
        """Read one JSON file back, None if there is none; a `UsageError` if it holds something else."""
        return read_file(self / name, MOST_JSON, json_object)

    def _is_ours(self, name: str) -> bool:
        """Say whether a run gives this name to a file."""
        return name in self.files or any(kind.fullmatch(name) for kind in (CHECKPOINT, FINDING))

    def _clear(self, *, only_torn: bool) -> None:
        """Take an earlier run's files away, or only what a kill has cut short; and nothing else."""
        for name in self.place.names():
            is_torn = name.endswith(UNFINISHED) and self._is_ours(name.removesuffix(UNFINISHED))
            if is_torn or (self._is_ours(name) and not only_torn):
                self.place.unlink(name)

    def _refuse_to_lose(self) -> None:
        """Refuse a folder in which something would be lost that no run of this kind has left."""
        found = [name for name in self.place.names() if self._is_ours(name.removesuffix(UNFINISHED))]
        for name in (*found, self.lock):
            self.place.demand_own(name)
        lock = b"" if self.place.status(self.lock) is None else _content(self.place / self.lock)
        if len(lock) > BALLAST or any(lock):
            raise UsageError(
                f"--out holds a file called {self.lock} that is no run's. Expected an empty one, or none. "
                f"Received {self / self.lock} with something in it."
            )
        if found and len(lock) != BALLAST and not self._tells_of_a_run():
            raise UsageError(
                f"--out holds files of something else. Expected a new folder, or that of a run of this command. "
                f"Received {self.path} with {found[0]}."
            )
        whole = [name for name in found if self._is_ours(name)]
        if whole and not self._overwrite and not self._resume:
            raise UsageError(
                f"--out already holds a run. Expected a new folder, --resume, or --overwrite. "
                f"Received {self.path} with {whole[0]}."
            )

    def _tells_of_a_run(self) -> bool:
        """Say whether the state or the settings are those of a run of this kind."""
        for name, keys in ((STATE, {"outcome", "pid", "started"}), (SETTINGS, {"argv", "versions"})):
            with suppress(UsageError):
                if keys <= (self.read_json(name) or {}).keys():
                    return True
        return False

    def _locked(self) -> FileIO:
        file = self.place.open(self.lock, "c")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            other = self.read_json(STATE) or {}
            raise UsageError(
                f"--out is in use. Expected a folder in which no run is at work. Received {self.path}, "
                f"where process {other.get('pid', 'unknown')} has been since {other.get('started', 'just now')}."
            ) from None
        return file

    def _demand_to_be_alone(self) -> None:
        """Go on only while the path leads to the lock of this run: if not, another may be at work there."""
        found = None
        with suppress(OSError):
            found = os.stat(self / self.lock, follow_symlinks=False)
        if self._lock is None or found is None or not os.path.samestat(found, os.fstat(self._lock.fileno())):
            raise FolderLost(
                f"--out was moved, deleted or taken over. Expected the folder that this run had begun in, with its "
                f"lock. Received {self.path} with {'no lock' if found is None else 'another lock'}; nothing more was "
                "written."
            )

    def _release(self) -> None:
        if self._lock is not None:
            self._lock.close()
            self._lock = None
        self.place.guard = None
        self.place.release()

    def _refusal(self, error: OSError) -> UsageError:
        if isinstance(error, NoFileOfOurs):
            return UsageError(str(error))
        reason = error.strerror or error
        return UsageError(
            f"--out cannot be written. Expected a folder, or where one can be made. Received {self.path}: {reason}."
        )


def read_file(path: Path, most: int, read: Callable[[Path], T]) -> T | None:
    """Read a file, None if there is none; refuse it where it is too large or not what it should be."""
    try:
        if not path.is_file():
            return None
        if path.stat().st_size > most:
            raise UsageError(f"a file is too large. Expected at most {most >> 20} MiB. Received {path}")
        return read(path)
    except UsageError:
        raise
    except OSError as error:
        raise UsageError(f"a file cannot be read. Expected permission to. Received {path}: {error.strerror}") from error
    except (*BROKEN, zipfile.BadZipFile, zlib.error) as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise UsageError(
            f"a file is broken. Expected what a run of this version wrote. Received {path}: {reason}"
        ) from error


def json_object(path: Path) -> dict[str, Any]:
    """Read a JSON file that holds an object."""
    content = _content(File.of(path))
    if not is_lean(content):
        raise ValueError(f"{len(content):,} bytes of small values, which would take far more memory")
    data = json.loads(content)
    if not isinstance(data, dict):
        raise TypeError(f"not an object but {type(data).__name__}")
    return data


def _content(file: File) -> bytes:
    """Give the bytes of a file, of one that is too long to be read its beginning."""
    with file.open("r") as opened:
        return opened.read(MOST_JSON)
