"""RunFolder: what one run leaves behind; files appear whole or not at all, and one run at a time writes them."""

import fcntl
import json
import os
import zipfile
import zlib
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import numpy as np

from experiments.command import UsageError
from experiments.model.model import FILE
from trainer.callbacks.checkpoint import PATTERN
from trainer.storage.durable import UNFINISHED, make_folder, replace_file
from trainer.storage.json_rows import finite, plain

T = TypeVar("T")

STATE = "run.json"
MOST_JSON = 64 << 20  # bytes of a file that is read back; a report of thousands of tensors takes one MiB
BROKEN = (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RuntimeError, EOFError, MemoryError)
BALLAST = 2**14  # bytes that the lock file takes up meanwhile: room for the last run.json on a disk that is full


class RunFolder:
    """A folder for the files of one run. Asking for it creates nothing; entering it as a context does.

    ``run.json`` says how the run ended; while it is at work, and after it was killed outright, ``"running"``. Which of
    both, the lock on the file ``lock`` tells: the system lifts it when a process ends in whichever way.
    """

    history = "history.jsonl"
    log = "log.txt"
    lock = "lock"
    files = (
        *(STATE, "settings.json", history, "metrics.json", "proof.json", "report.json", "parameters.npz", log, FILE),
        *("check.npz", "curve.json", "report.html"),  # for the page, and the page
    )
    findings = "violation-*.npz"
    patterns = (PATTERN, findings, f"*{UNFINISHED}")

    def __init__(self, path: Path | str, *, overwrite: bool = False, resume: bool = False) -> None:
        self.path = Path(path)
        self._overwrite = overwrite
        self._resume = resume
        self._handle: int | None = None
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
            make_folder(self.path)
            self._handle = self._locked()
            self._refuse_to_lose()
            if self._resume:
                self._clear(f"*{UNFINISHED}")  # what a kill has cut short
            else:
                self.clear()
            os.pwrite(self._handle, bytes(BALLAST), 0)
            now = datetime.now(UTC).isoformat(timespec="seconds")
            self._state = {"outcome": "running", "pid": os.getpid(), "started": now}
            self.write_json(STATE, self._state)
        except OSError as error:
            self._release()
            raise self._refusal(error) from error
        except UsageError:
            self._release()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Say that the run failed, unless it ended in a way that was told, and unlock the folder."""
        if self._state["outcome"] == "running":
            with suppress(OSError):
                self.end("interrupted" if kind and issubclass(kind, KeyboardInterrupt) else "failed", str(error))
        self._release()

    def end(self, outcome: str, reason: str | None, **more: Any) -> None:
        """Say in ``run.json`` how the run ended."""
        ended = datetime.now(UTC).isoformat(timespec="seconds")
        self._state |= {"outcome": outcome, "reason": reason, "ended": ended} | more
        if self._handle is not None:
            os.ftruncate(self._handle, 0)
        self.write_json(STATE, self._state)

    def clear(self) -> None:
        """Take an earlier run's files away, and nothing else."""
        for name in self.files:
            (self / name).unlink(missing_ok=True)
        for pattern in self.patterns:
            self._clear(pattern)

    def write_json(self, name: str, data: Mapping[str, Any]) -> None:
        """Write one JSON file; NaN and the infinities become strings, as in the history."""
        text = json.dumps(finite(plain(data)), indent=2, allow_nan=False) + "\n"
        replace_file(self / name, lambda file: file.write(text.encode()))

    def write_arrays(self, name: str, arrays: Mapping[str, Any]) -> None:
        """Write named arrays, for `numpy.load`."""
        replace_file(self / name, lambda file: np.savez(file, **arrays))

    def read_json(self, name: str) -> dict[str, Any] | None:
        """Read one JSON file back, None if there is none; a `UsageError` if it holds something else."""
        return read_file(self / name, MOST_JSON, json_object)

    def _clear(self, pattern: str) -> None:
        for path in self.path.glob(pattern):
            path.unlink()

    def _refuse_to_lose(self) -> None:
        found = [name for name in self.files if (self / name).exists()]
        found += sorted(path.name for path in self.path.glob(self.findings))
        if found and not self._overwrite and not self._resume:
            raise UsageError(
                f"--out already holds a run. Expected a new folder, --resume, or --overwrite. "
                f"Received {self.path} with {found[0]}."
            )

    def _locked(self) -> int:
        handle = os.open(self / self.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            other = self.read_json(STATE) or {}
            raise UsageError(
                f"--out is in use. Expected a folder in which no run is at work. Received {self.path}, "
                f"where process {other.get('pid', 'unknown')} has been since {other.get('started', 'just now')}."
            ) from None
        return handle

    def _release(self) -> None:
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None

    def _refusal(self, error: OSError) -> UsageError:
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
    data = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(data, dict):
        raise TypeError(f"not an object but {type(data).__name__}")
    return data
