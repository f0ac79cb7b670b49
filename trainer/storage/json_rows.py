"""Rows as lines of JSON: what a history writes, and how it is read back."""

import enum
import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

Row = dict[str, Any]  # text, number, boolean, None, or lists of them

NON_FINITE = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}  # JSON has no word for these
PLAIN = frozenset((float, int, str, bool, type(None)))
#: Bytes that Python takes for what a mark of JSON begins or parts, and how much in all is no danger. Measured: an empty
#: list takes 22 times what it is long, a number of its own name in an object 14 times, a row of a history 5 times.
WEIGHTS = {b"[": 72, b"{": 72, b":": 64, b",": 32, b'"': 16}
LEAST, TIMES = 32 * 2**20, 10
ENCODER = json.JSONEncoder(allow_nan=False)  # made once: json.dumps with options makes one a row


def line_of(row: Mapping[str, Any]) -> bytes:
    """Write a row as one line; NaN and the infinities become strings, so that it is valid JSON."""
    try:
        text = ENCODER.encode(row)
    except (TypeError, ValueError):  # numpy's values, NaN: not in most rows
        text = ENCODER.encode(finite(plain(row)))
    return f"{text}\n".encode()


def is_lean(text: bytes | str) -> bool:
    """Say whether JSON, once read, takes a few times the memory that it is long, and not a hundred times."""
    content = text.encode() if isinstance(text, str) else text
    return sum(weight * content.count(mark) for mark, weight in WEIGHTS.items()) <= LEAST + TIMES * len(content)


def row_of(line: bytes) -> Row:
    """Read a row; a line that is no JSON object is a ValueError."""
    row = json.loads(line)
    if not isinstance(row, dict):
        raise ValueError("no object")
    return {name: NON_FINITE.get(value, value) if isinstance(value, str) else value for name, value in row.items()}


def plain(value: Any) -> Any:
    """Turn numpy's numbers and arrays, enumerations, tuples and unknown objects into plain Python."""
    if type(value) in PLAIN:
        return value
    if type(value) is dict:  # most often a row, and nearly all of it plain: no call for every value
        return {str(key): item if type(item) in PLAIN else plain(item) for key, item in value.items()}
    if isinstance(value, enum.Enum):
        return plain(value.value)
    if isinstance(value, (np.generic, np.ndarray)):
        return value.tolist()
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value if isinstance(value, (str, int, float)) else str(value)


def finite(value: Any) -> Any:
    """Turn NaN and the infinities within plain Python into the strings for them."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [finite(item) for item in value]
    return value
