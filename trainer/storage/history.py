"""History: flat rows of what a training run logged, one JSON line each, flushed as written."""

import difflib
import logging
import os
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from io import BufferedReader
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, BinaryIO, Self
from zlib import crc32

from trainer.storage.codec import LARGEST, Within, from_plain
from trainer.storage.durable import File
from trainer.storage.json_rows import Row, line_of, plain, row_of

LAST = 8  # rows kept at hand beside a file: more than any moment of a run adds
BLOCK = 2**20  # bytes read at a time
LONGEST = 2**20  # bytes of a row: the longest, that of the end with its proof, takes some kB

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class FileState:
    """What a checkpoint keeps of a history in a file: how much of it there was."""

    n_rows: Annotated[int, Within(0, LARGEST)]
    n_bytes: Annotated[int, Within(0, LARGEST)]
    crc32: Annotated[int, Within(0, 2**32 - 1)]


class History:
    """The rows of one training run.

    Rows are flat dicts; their key ``"event"`` says which kind they are: ``"iteration"`` (one parameter
    update), ``"epoch"`` (one pass over the training rows) or ``"end"``.

    Parameters
    ----------
    path : path, optional
        File that holds the rows, replaced if it exists; one JSON object a line, written whole row by row. NaN and
        the infinities become the strings ``"nan"``, ``"inf"``, ``"-inf"``, so that every line is valid JSON. With a
        file, a run of any length takes the same memory: rows are read back from it. Without, they stay in memory.

    Attributes
    ----------
    path : Path or None
    torn : int
        Bytes of a last line that a crash had cut short, and that `read` has skipped.

    Raises
    ------
    OSError
        If the file cannot be opened for writing, as where a link has its name.
    """

    def __init__(self, path: File | Path | str | None = None) -> None:
        self._place = None if path is None else File.of(path)
        self.torn = 0
        self._rows: list[Row] = []  # where there is no file
        self._last: deque[Row] = deque(maxlen=LAST)
        self._n_rows = self._n_bytes = self._crc = 0
        self._named = False  # whether the file's name is on disk for certain
        self._file = None if self._place is None else self._place.open("w")  # unbuffered: a row is out when written
        self._inode = None if self._file is None else _inode(self._file)

    @property
    def path(self) -> Path | None:
        """Where the rows are, if they are in a file."""
        return None if self._place is None else self._place.path

    @property
    def rows(self) -> list[Row]:
        """All rows in the order written, in plain Python; from a file they are read anew each time."""
        return list(self)

    def append(self, row: Mapping[str, Any]) -> None:
        """Keep one `row`, and have it in the file before returning.

        Raises
        ------
        OSError
            If the file takes no more; then it ends with the row before.
        ValueError
            If the history was closed, or the row takes more than a MiB.
        """
        if self._place is None:
            self._rows.append(plain(row))
        else:
            self._write(line_of(row))
            self._last.append(dict(row))
        self._n_rows += 1

    def last(self, n: int) -> list[Row]:
        """Return the last `n` rows, at most `LAST`, without reading a file."""
        if self._place is None:
            return self._rows[max(0, len(self._rows) - n) :]
        return [plain(row) for row in islice(reversed(self._last), n)][::-1]

    def column(self, name: str) -> list[Any]:
        """Return the values of the key `name`, over the rows that have it.

        Raises
        ------
        KeyError
            If none has, and some have a key that is spelled nearly so.
        """
        values, names = [], set[str]()
        for row in self:
            names.update(row)
            if name in row:
                values.append(row[name])
        near = difflib.get_close_matches(name, names, n=1, cutoff=0.85)
        if near and not values:
            expected = f"Expected {', '.join(sorted(names))}. Did you mean {near[0]!r}?"
            raise KeyError(f"The history has no such column. {expected} Received {name!r}.")
        return values

    def to_dataframe(self) -> Any:
        """Return all rows as a `pandas.DataFrame`; a key that a row lacks is NaN there.

        Raises
        ------
        ImportError
            If pandas is missing.
        """
        try:
            import pandas
        except ImportError as error:
            raise ImportError(
                f"to_dataframe needs pandas. Expected it installed, as by pip install pandas. Received {error}."
            ) from error
        return pandas.DataFrame(self.rows)

    def _repr_html_(self) -> str:
        """Give a table for a notebook."""
        from trainer.storage.table import table  # for notebooks only; with it come all names of HTML's characters

        return table(self)

    def close(self) -> None:
        """Close the file, if there is one; the rows stay readable."""
        if self._file is not None:
            self._file.close()

    def reopen(self) -> None:
        """Take rows again, behind those of a run that has ended."""
        if self._file is not None and self._file.closed and self._place is not None:
            self._file = self._place.open("r+")
            self._file.seek(self._n_bytes)
            self._inode = _inode(self._file)

    def state_dict(self) -> dict[str, Any]:
        """Give what a checkpoint needs: the rows, or how much of the file they are, which is on disk by then."""
        if self._file is None:
            return {"rows": self._rows}
        os.fsync(self._file.fileno())
        if self._place is not None and not self._named:  # a synced file whose name is lost is lost
            self._place.folder.sync()
            self._named = True
        return vars(FileState(self._n_rows, self._n_bytes, self._crc))

    @staticmethod
    def verify(state: Mapping[str, Any], path: File | Path | str | None) -> list[Row] | FileState:
        """Hold the file at `path` against the `state` that `state_dict` gave; nothing is changed.

        Raises
        ------
        ValueError
            If the file no longer begins with the rows that it held then, or if there is none to go on with.
        """
        if isinstance(state, Mapping) and "rows" in state:
            rows: list[Row] = from_plain(list[Row], state["rows"], "history.rows")
            return rows
        kept: FileState = from_plain(FileState, state, "history")
        if path is None:
            raise ValueError("The history needs its file. Expected the history_path of the run. Received none.")
        expected, crc, left = f"{kept.crc32:08x}", 0, kept.n_bytes
        for block in _blocks(File.of(path), kept.n_bytes):
            crc, left = crc32(block, crc), left - len(block)
        if left or f"{crc:08x}" != expected:
            raise ValueError(
                f"{path} is not the history of this run. Expected {kept.n_bytes:,} bytes with the CRC-32 "
                f"{expected} at its beginning. Received {f'{left:,} bytes less' if left else f'{crc:08x}'}."
            )
        return kept

    @classmethod
    def from_state(cls, state: Mapping[str, Any], path: File | Path | str | None) -> Self:
        """Take up the `state` that `state_dict` gave, once `verify` agrees; the file at `path` is cut back to it.

        It is copied for that: a run that was thought to be gone, and is not, goes on in the old one.
        """
        kept = cls.verify(state, path)
        if isinstance(kept, list):
            history = cls(path)
            for row in kept:
                history.append(row)
            return history
        history = cls()
        history._place = place = File.of(str(path) if path is None else path)

        def copy(file: BinaryIO) -> None:
            for block in _blocks(place, kept.n_bytes):
                file.write(block)

        place.folder.replace(place.name, copy)
        history._file = place.open("r+")
        history._inode = _inode(history._file)
        history._n_rows, history._n_bytes, history._crc = kept.n_rows, kept.n_bytes, kept.crc32
        history._file.seek(history._n_bytes)
        return history

    @classmethod
    def read(cls, path: File | Path | str) -> Self:
        """Return the rows of the file at `path`, written by a History; it is not opened for writing.

        A last line that was cut short by a crash is skipped, logged, and counted in `torn`. However long the file is,
        one row is held at a time.

        Raises
        ------
        ValueError
            If any other line is no row.
        """
        history = cls()
        place = File.of(path)
        with BufferedReader(place.open("r")) as lines:
            for number, line in enumerate(_lines(lines), start=1):
                try:
                    if not line.endswith(b"\n"):
                        raise ValueError("cut short" if len(line) < LONGEST else "too long")
                    row = row_of(line)
                except (ValueError, RecursionError) as error:
                    if lines.peek(1):
                        raise ValueError(
                            f"{path} is no history. Expected a JSON object in line {number}. Received {line[:40]!r}."
                        ) from error
                    history.torn = len(line)
                    logger.warning("%s: the last line was cut short and is skipped (%d bytes)", path, len(line))
                else:
                    history._last.append(row)
                    history._n_rows, history._n_bytes = number, history._n_bytes + len(line)
            history._place, history._inode = place, _inode(lines.raw)
        return history

    def __iter__(self) -> Iterator[Row]:
        """Iterate over the rows."""
        if self._place is None:
            yield from self._rows
        elif self._n_bytes:
            with BufferedReader(self._place.open("r")) as file:
                if _inode(file.raw) != self._inode:
                    raise OSError(
                        f"{self.path} is no longer there. Expected the file of this run. Received another one."
                    )
                for line in islice(_lines(file), self._n_rows):
                    yield row_of(line)

    def __len__(self) -> int:
        """Return the number of rows."""
        return self._n_rows

    def __repr__(self) -> str:
        """Say how many rows there are."""
        return f"History({len(self)} rows)"

    def _write(self, line: bytes) -> None:
        if self._file is None or self._file.closed:
            raise ValueError("The history is closed. Expected rows before the end of the run. Received one after it.")
        if len(line) > LONGEST:
            raise ValueError(f"The row is too long. Expected at most {LONGEST:,} bytes. Received {len(line):,}.")
        left = line
        try:
            while left:  # a disk that is nearly full takes a part
                left = left[self._file.write(left) :]
        except OSError:
            with suppress(OSError):
                self._file.truncate(self._n_bytes)
                self._file.seek(self._n_bytes)
            raise
        self._n_bytes += len(line)
        self._crc = crc32(line, self._crc)


def _inode(file: Any) -> tuple[int, int]:
    status = os.fstat(file.fileno())
    return status.st_dev, status.st_ino


def _lines(file: Any) -> Iterator[bytes]:
    """Give the lines of a file; one that is longer than a row can be, in pieces."""
    return iter(lambda: file.readline(LONGEST), b"")


def _blocks(place: File, length: int) -> Iterator[bytes]:
    """Give the first so many bytes of a file, or all that it has."""
    with place.open("r") as file:
        while length and (block := file.read(min(length, BLOCK))):
            yield block
            length -= len(block)
