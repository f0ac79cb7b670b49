"""Rows: what a user hands in to train on, looked at once; a file that is mapped is read in pieces, and let go of."""

import mmap
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

Array = NDArray[Any]  # the dtype varies: float32 or float64 to train, complex128 to check
BLOCK = 65_536  # rows looked at together, so that a memory-mapped file is never held as a whole
PREDICTION_ROWS = 8_192  # rows predicted together: bounds the memory of the activations


class Rows(NamedTuple):
    """Rows as they are kept, perhaps in a mapped file, and what they are in a batch; the first axis counts them."""

    inputs: Array
    targets: Array
    dtypes: tuple[np.dtype[Any], np.dtype[Any]]  # of inputs and targets in a batch

    @classmethod
    def of(cls, inputs: Array, targets: Array, dtype: DTypeLike) -> "Rows":
        """Take rows of any kind: real numbers come as `dtype`, and class numbers and the like as they are."""
        return cls(inputs, targets, (batch_dtype(inputs, dtype), batch_dtype(targets, dtype)))


def batch_dtype(array: Array, dtype: DTypeLike) -> np.dtype[Any]:
    """Say what rows of any kind are in a batch: real numbers `dtype`, integers and booleans what they are."""
    return np.dtype(dtype) if array.dtype.kind == "f" else array.dtype


def checked_array(what: str, values: ArrayLike, dtype: DTypeLike) -> Array:
    """Return rows of any shape; finite real numbers as `dtype` unless they are memory-mapped, the others as they are.

    ValueError if they are no numbers, have no axis that counts them, or are empty or not finite.
    """
    rows = numeric(what, values)
    if not rows.ndim:
        raise ValueError(f"The {what} have no rows. Expected an array whose first axis counts them. Received {rows}.")
    demand_rows(what, rows)
    if not isinstance(values, np.memmap):
        rows = rows.astype(batch_dtype(rows, dtype), copy=False)
    demand_finite(what, rows)
    return rows


def demand_rows(what: str, rows: Array) -> None:
    """Refuse no rows at all by ValueError."""
    if not len(rows):
        raise ValueError(f"The {what} are empty. Expected at least one row. Received shape {rows.shape}.")


def demand_targets(inputs: Array, targets: Array) -> None:
    """Refuse another number of targets than of inputs by ValueError."""
    if len(targets) != len(inputs):
        raise ValueError(
            f"Inputs and targets differ in length. Expected {len(inputs)} targets. Received {len(targets)}."
        )


def demand_finite(what: str, rows: Array) -> None:
    """Refuse NaN and infinity by ValueError, with the place of the first."""
    for start in range(0, len(rows) if rows.dtype.kind == "f" else 0, BLOCK):
        finite = np.isfinite(rows[start : start + BLOCK])
        if not finite.all():
            row, *rest = (int(i) for i in np.argwhere(~finite)[0])
            where = f"row {start + row}" + (f", column {', '.join(map(str, rest))}" if rest else "")
            raise ValueError(
                f"The {what} are not all finite. Expected finite numbers. "
                f"Received {rows[(start + row, *rest)]} in {where}."
            )
        release(rows)


def numeric(what: str, values: ArrayLike) -> Array:
    """Return an array of real numbers, or raise ValueError."""
    try:
        array = np.asarray(values)
    except ValueError as error:  # rows of unequal length
        raise ValueError(f"The {what} are no array. Expected numbers. Received {error}.") from error
    if array.dtype.kind not in "biuf":
        raise ValueError(f"The {what} are not numeric. Expected real numbers. Received dtype {array.dtype}.")
    return array


def in_blocks(function: Callable[[Array], Array], rows: Array, dtype: DTypeLike) -> Array:
    """Give what a function makes of rows in evaluation, called with `PREDICTION_ROWS` at a time as `dtype`."""
    parts = []
    for start in range(0, len(rows), PREDICTION_ROWS):
        parts.append(function(rows[start : start + PREDICTION_ROWS].astype(dtype, copy=False)))
        release(rows)
    return np.concatenate(parts)


def is_mapped(array: Array) -> bool:
    """Say whether an array is a view of a memory-mapped file."""
    return _map(array) is not None


def release(array: Array) -> None:
    """Let go of the pages that reading a memory-mapped array brought into this process; others are left alone.

    They stay in the system's cache of the file, but would count as memory of the process, up to the size of the file.
    """
    mapped = _map(array)
    if mapped is not None and hasattr(mmap, "MADV_DONTNEED"):  # Linux
        mapped.madvise(mmap.MADV_DONTNEED)


def _map(array: Array) -> mmap.mmap | None:
    """Return the file's map below an array, unless the array may hold changes that are not the file's."""
    below: object = array
    while isinstance(below, np.ndarray):
        if isinstance(below, np.memmap) and below.mode not in ("r", "r+"):
            return None
        below = below.base
    return below if isinstance(below, mmap.mmap) else None
