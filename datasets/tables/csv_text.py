"""CSVText: the bytes of a CSV file on their way to the parser, refused as soon as they are no such thing."""

import codecs
import csv
import io
from typing import BinaryIO

from datasets.tables.memory import in_units, refuse_more

BLOCK = 1 << 20  # bytes that are parsed together; no row may be longer
# Bytes of memory for each cell, besides its text: an Arrow offset (4), a float64 (8) and, while the table is
# prepared, a copy and a half of it more. A text that is unlike all others takes as much as a Python string.
PER_CELL = 48


class CSVText(io.RawIOBase):
    """A stream of bytes that raises instead of handing on what is not UTF-8, holds NUL or does not fit into memory.

    Where the size of the whole text is known, in bytes, a table too large is refused at its first block.
    """

    def __init__(
        self, stream: BinaryIO, name: str, memory: float, size: int | None = None, separator: str = ","
    ) -> None:
        super().__init__()
        self._stream, self._name, self._memory, self._size = stream, name, memory, size
        self._separator = separator.encode()
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._needed = 0
        self.n_bytes = 0

    def readable(self) -> bool:
        """Say that it can be read."""
        return True

    def read(self, size: int = -1) -> bytes:
        """Read up to `size` bytes, and all if it is negative; a ValueError if they are not what is expected."""
        block = self._stream.read(size)
        if b"\0" in block:
            raise ValueError(
                f"{self._name} is not plain text. Expected UTF-8. "
                f"Received a NUL byte at position {self.n_bytes + block.index(0):,}, as in binary files and UTF-16."
            )
        try:
            self._decoder.decode(block, final=not block)
        except UnicodeDecodeError as error:
            raise ValueError(
                f"{self._name} is not UTF-8 text. Expected it encoded in UTF-8. "
                f"Received the byte 0x{error.object[error.start]:02x} near position {self.n_bytes + error.start:,}."
            ) from error
        self.n_bytes += len(block)
        self._needed += memory_of(block, self._separator)
        if self._size:
            refuse_more(self._needed / self.n_bytes * self._size, self._memory, f"{self._name} is")
        refuse_more(self._needed, self._memory, f"{self._name} has {in_units(self.n_bytes)} of text so far, and is")
        return block


def memory_of(text: bytes, separator: bytes = b",") -> int:
    """Return how many bytes of memory a table takes whose text this is, at most."""
    return len(text) + PER_CELL * (text.count(separator) + text.count(b"\n"))


def header_of(text: bytes, name: str, separator: str = ",") -> list[str]:
    """Return the names of the columns, from the first line that is not blank; a ValueError if there is none."""
    rows = csv.reader(io.StringIO(text.decode("utf-8-sig", errors="ignore"), newline=""), delimiter=separator)
    try:
        names = next((row for row in rows if row), [])
    except csv.Error as error:
        raise ValueError(f"{name} has no header. Expected the names of the columns first. Received {error}.") from error
    others = [mark for mark in ";\t|," if len(names) == 1 and mark in names[0]]
    if others:
        typed = "tab" if others[0] == "\t" else f"'{others[0]}'"
        expected = "commas" if separator == "," else repr(separator)
        raise ValueError(
            f"{name} has one column; another separator is named by --separator {typed} (separator in Python). "
            f"Expected {expected} between columns. Received {others[0]!r}."
        )
    return names
