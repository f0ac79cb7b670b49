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
ENCODER = json.JSONEncoder(allow_nan=False)  # made once: json.dumps with options makes one a row


def line_of(row: Mapping[str, Any]) -> bytes:
    """Write a row as one line; NaN and the infinities become strings, so that it is valid JSON."""
    try:
        text = ENCODER.encode(row)
    except (TypeError, ValueError):  # numpy's values, NaN: not in most rows
        text = ENCODER.encode(finite(plain(row)))
    return f"{text}\n".encode()


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
