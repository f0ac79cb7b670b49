"""History: flat rows of what a training run logged, one JSON line each, flushed as written."""

import difflib
import logging
import os
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from io import FileIO
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, Self
from zlib import crc32

from trainer.storage.codec import LARGEST, Within, from_plain
from trainer.storage.durable import sync_folder
from trainer.storage.json_rows import Row, line_of, plain, row_of
from trainer.storage.table import table

LAST = 8  # rows kept at hand beside a file: more than any moment of a run adds
BLOCK = 2**20  # bytes read at a time

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
        If the file cannot be opened for writing.
    """

    def __init__(self, path: Path | str | None = None) -> None:
        self.path = None if path is None else Path(path)
        self.torn = 0
        self._rows: list[Row] = []  # where there is no file
        self._last: deque[Row] = deque(maxlen=LAST)
        self._n_rows = self._n_bytes = self._crc = 0
        self._named = False  # whether the file's name is on disk for certain
        self._file = None if path is None else FileIO(path, "w")  # unbuffered: a row is out when written

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
            If the history was closed.
        """
        if self.path is None:
            self._rows.append(plain(row))
        else:
            self._write(line_of(row))
            self._last.append(dict(row))
        self._n_rows += 1

    def last(self, n: int) -> list[Row]:
        """Return the last `n` rows, at most `LAST`, without reading a file."""
        if self.path is None:
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
        return table(self)

    def close(self) -> None:
        """Close the file, if there is one; the rows stay readable."""
        if self._file is not None:
            self._file.close()

    def reopen(self) -> None:
        """Take rows again, behind those of a run that has ended."""
        if self._file is not None and self._file.closed and self.path is not None:
            self._file = FileIO(self.path, "r+")
            self._file.seek(self._n_bytes)

    def state_dict(self) -> dict[str, Any]:
        """Give what a checkpoint needs: the rows, or how much of the file they are, which is on disk by then."""
        if self._file is None:
            return {"rows": self._rows}
        os.fsync(self._file.fileno())
        if self.path is not None and not self._named:  # a synced file whose name is lost is lost
            sync_folder(self.path.parent)
            self._named = True
        return vars(FileState(self._n_rows, self._n_bytes, self._crc))

    @staticmethod
    def verify(state: Mapping[str, Any], path: Path | str | None) -> list[Row] | FileState:
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
        with open(path, "rb") as file:
            while left and (block := file.read(min(left, BLOCK))):
                crc, left = crc32(block, crc), left - len(block)
        if left or f"{crc:08x}" != expected:
            raise ValueError(
                f"{path} is not the history of this run. Expected {kept.n_bytes:,} bytes with the CRC-32 "
                f"{expected} at its beginning. Received {f'{left:,} bytes less' if left else f'{crc:08x}'}."
            )
        return kept

    @classmethod
    def from_state(cls, state: Mapping[str, Any], path: Path | str | None) -> Self:
        """Take up the `state` that `state_dict` gave, once `verify` agrees; the file at `path` is cut back to it."""
        kept = cls.verify(state, path)
        if isinstance(kept, list):
            history = cls(path)
            for row in kept:
                history.append(row)
            return history
        history = cls()
        history.path = Path(str(path))
        history._file = FileIO(history.path, "r+")
        history._n_rows, history._n_bytes, history._crc = kept.n_rows, kept.n_bytes, kept.crc32
        history._file.truncate(history._n_bytes)
        history._file.seek(history._n_bytes)
        return history

    @classmethod
    def read(cls, path: Path | str) -> Self:
        """Return the rows of the file at `path`, written by a History; it is not opened for writing.

        A last line that was cut short by a crash is skipped, logged, and counted in `torn`.

        Raises
        ------
        ValueError
            If any other line is no row.
        """
        history = cls()
        for number, line in enumerate(lines := Path(path).read_bytes().splitlines(keepends=True), start=1):
            try:
                if not line.endswith(b"\n"):
                    raise ValueError("cut short")
                history.append(row_of(line))
            except (ValueError, RecursionError) as error:
                if number < len(lines):
                    raise ValueError(
                        f"{path} is no history. Expected a JSON object in line {number}. Received {line[:40]!r}."
                    ) from error
                history.torn = len(line)
                logger.warning("%s: the last line was cut short and is skipped (%d bytes)", path, len(line))
        return history

    def __iter__(self) -> Iterator[Row]:
        """Iterate over the rows."""
        if self.path is None:
            yield from self._rows
        elif self._n_bytes:
            with self.path.open("rb") as file:
                for line in islice(file, self._n_rows):
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
