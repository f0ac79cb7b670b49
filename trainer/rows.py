"""Rows: samples as a user hands them in, checked once and made fit for the training loop."""

import mmap

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from trainer.network.parameters import Array

BLOCK = 65_536  # rows looked at together, so that a memory-mapped file is never held as a whole


def checked_inputs(inputs: ArrayLike, n_features: int, dtype: DTypeLike) -> Array:
    """Return inputs of shape (n_rows, n_features), as `dtype` unless they are memory-mapped.

    Raises
    ------
    ValueError
        If they are not two-dimensional, numeric, finite, `n_features` wide and at least one row.
    """
    rows = _numeric("inputs", inputs, dtype)
    if rows.ndim != 2 or rows.shape[1] != n_features:
        raise ValueError(
            f"The inputs have the wrong shape. Expected (n_rows, {n_features}), as layer_sizes says. "
            f"Received {rows.shape}."
        )
    if not len(rows):
        raise ValueError(f"The inputs are empty. Expected at least one row. Received shape {rows.shape}.")
    for start in range(0, len(rows), BLOCK):
        finite = np.isfinite(rows[start : start + BLOCK])
        if not finite.all():
            row, column = np.argwhere(~finite)[0]
            raise ValueError(
                "The inputs are not all finite. Expected finite numbers. "
                f"Received {rows[start + row, column]} in row {start + row}, column {column}."
            )
        release(rows)
    return rows


def checked_targets(targets: ArrayLike, n_rows: int, dtype: DTypeLike, *, both_classes: bool) -> Array:
    """Return targets of shape (n_rows,), 0 or 1, as `dtype` unless they are memory-mapped.

    Raises
    ------
    ValueError
        If they are not one-dimensional, as many as the inputs, and 0 or 1; and if only one of the two
        occurs where `both_classes` are asked for.
    """
    labels = _numeric("targets", targets, dtype)
    if labels.ndim != 1:
        hint = " Use targets.ravel()." if labels.ndim == 2 and labels.shape[1] == 1 else ""
        raise ValueError(
            f"The targets have the wrong shape. Expected one dimension, (n_rows,). Received {labels.shape}.{hint}"
        )
    if len(labels) != n_rows:
        raise ValueError(f"Inputs and targets differ in length. Expected {n_rows} targets. Received {len(labels)}.")
    n_positive = 0
    for start in range(0, len(labels), BLOCK):
        block = labels[start : start + BLOCK]
        wrong = (block != 0) & (block != 1)
        if wrong.any():
            raise ValueError(
                "The targets are not labels of two classes. Expected only 0 and 1. "
                f"Received {block[wrong][0]} in row {start + int(np.argmax(wrong))}."
            )
        n_positive += int(np.count_nonzero(block))
        release(labels)
    if both_classes and n_positive in (0, n_rows):
        raise ValueError(
            "The targets hold one class only. Expected rows of both classes, 0 and 1. "
            f"Received {n_rows} rows of class {int(n_positive > 0)}."
        )
    return labels


def is_mapped(array: Array) -> bool:
    """Say whether an array is a view of a memory-mapped file."""
    return _map(array) is not None


def release(array: Array) -> None:
    """Let go of the pages that reading a memory-mapped array brought into this process; others are left alone.

    The pages stay in the system's cache of the file; but without this they would count as memory of the process,
    up to the size of the file.
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


def _numeric(what: str, values: ArrayLike, dtype: DTypeLike) -> Array:
    try:
        array = np.asarray(values)
    except ValueError as error:  # rows of unequal length
        raise ValueError(f"The {what} are no array. Expected numbers. Received {error}.") from error
    if array.dtype.kind not in "biuf":
        raise ValueError(f"The {what} are not numeric. Expected real numbers. Received dtype {array.dtype}.")
    if isinstance(values, np.memmap):  # converted batch by batch, never as a whole
        return array
    return array.astype(dtype, copy=False)
