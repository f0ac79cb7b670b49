"""A set of rows: one byte a training row, however many checks have added to it."""

import base64
from typing import Any, Self

import numpy as np

from checks.measure.layout import Array


class RowSet:
    """Positions of rows, each counted once; it grows where a larger position is added than there are rows."""

    def __init__(self, n_rows: int = 0) -> None:
        self._is_in: Array = np.zeros(n_rows, dtype=bool)

    def add(self, positions: Any) -> None:
        """Add positions, counted from 0."""
        try:
            self._is_in[positions] = True
        except IndexError:
            more = int(np.max(positions)) + 1 - self._is_in.size
            self._is_in = np.append(self._is_in, np.zeros(more, dtype=bool))
            self._is_in[positions] = True

    def __len__(self) -> int:
        """Return the number of different rows."""
        return int(np.count_nonzero(self._is_in))

    def __eq__(self, other: object) -> bool:
        """Compare the rows."""
        return isinstance(other, RowSet) and np.array_equal(np.flatnonzero(self._is_in), np.flatnonzero(other._is_in))

    def __repr__(self) -> str:
        """Say how many there are."""
        return f"RowSet({len(self)} of {self._is_in.size} rows)"

    def to_text(self) -> str:
        """Give the set as text: one bit a row, in base64; `from_text` takes it back."""
        return base64.b64encode(np.packbits(self._is_in).tobytes()).decode()

    @classmethod
    def from_text(cls, text: str) -> Self:
        """Take back what `to_text` gave, or raise ValueError; rows beyond the last one of a byte are no rows."""
        rows = cls()
        rows._is_in = np.unpackbits(np.frombuffer(base64.b64decode(text, validate=True), dtype=np.uint8)).view(bool)
        return rows
