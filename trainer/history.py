"""History: flat rows of what a training run logged, one JSON line each, flushed as written."""

import enum
import json
import math
from collections.abc import Iterator, Mapping
from io import FileIO
from pathlib import Path
from typing import Any, Self

import numpy as np

Row = dict[str, Any]  # text, number, boolean, None, or lists of them

NON_FINITE = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}  # JSON has no word for these
ENCODER = json.JSONEncoder(allow_nan=False)  # made once: json.dumps with options makes one a row


class History:
    """The rows of one training run.

    Rows are flat dicts; their key ``"event"`` says which kind they are: ``"iteration"`` (one parameter
    update), ``"epoch"`` (one pass over the training rows) or ``"end"``.

    Parameters
    ----------
    path : path, optional
        File to write as well, replaced if it exists; one JSON object a line, flushed row by row. NaN and
        the infinities become the strings ``"nan"``, ``"inf"``, ``"-inf"``, so that every line is valid JSON.

    Attributes
    ----------
    rows : list of dict
        In the order written, numpy scalars and arrays turned into plain Python.

    Raises
    ------
    OSError
        If the file cannot be opened for writing.
    """

    def __init__(self, path: Path | str | None = None) -> None:
        self.rows: list[Row] = []
        self._file = None if path is None else FileIO(path, "w")  # unbuffered: a row is out when written

    def append(self, row: Mapping[str, Any]) -> None:
        """Keep one row, and have it on disk before returning."""
        plain: Row = {name: _plain(value) for name, value in row.items()}
        self.rows.append(plain)
        if self._file is not None:
            self._file.write((ENCODER.encode(_finite(plain)) + "\n").encode())

    def column(self, name: str) -> list[Any]:
        """Return the values of one key, over the rows that have it."""
        return [row[name] for row in self.rows if name in row]

    def close(self) -> None:
        """Close the file, if there is one; the rows stay readable."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def __iter__(self) -> Iterator[Row]:
        """Iterate over the rows."""
        return iter(self.rows)

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.rows)

    def __repr__(self) -> str:
        """Say how many rows there are."""
        return f"History({len(self.rows)} rows)"

    @classmethod
    def read(cls, path: Path | str) -> Self:
        """Return the rows of a file written by a History; it is not opened for writing."""
        history = cls()
        with Path(path).open(encoding="utf-8") as lines:
            history.rows = [
                {
                    name: NON_FINITE.get(value, value) if isinstance(value, str) else value
                    for name, value in json.loads(line).items()
                }
                for line in lines
            ]
        return history


def _plain(value: Any) -> Any:
    if value is None or type(value) in (float, int, str, bool):
        return value
    if isinstance(value, enum.Enum):
        return _plain(value.value)
    if isinstance(value, (np.generic, np.ndarray)):
        return value.tolist()
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value if isinstance(value, (str, int, float)) else str(value)


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return value
