"""Batches: the rows of a run as a user hands them in, checked once, and cut into pieces in a fresh random order."""

import mmap
from collections.abc import Callable, Iterator
from itertools import islice
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from trainer.network.parameters import Array

BLOCK = 65_536  # rows looked at together, so that a memory-mapped file is never held as a whole
WINDOW = 131_072  # rows of a memory-mapped file that are shuffled together: 16 MB at 30 float32 columns
PREDICTION_ROWS = 8_192  # rows predicted together: bounds the memory of the activations
BLOCKS = 16  # contiguous runs of rows that make a window; each is read in one go


class Batch(NamedTuple):
    """The rows of one iteration, in the run's dtype.

    Attributes
    ----------
    inputs, targets : ndarray of shape (n_rows, n_features) and (n_rows,)
        The targets are 0 or 1.
    """

    inputs: Array
    targets: Array


class Batches:
    """The rows of a training run, batch by batch, as `dtype`; `window` is how many are shuffled together.

    With all rows in one window an epoch is one permutation. Otherwise, as `WINDOW` of a memory-mapped file by
    default, the rows are cut into contiguous blocks, a sixteenth of a window each; the blocks come in random order,
    sixteen at a time are copied into memory, and their rows are permuted. So what a batch holds comes from sixteen
    random places at most; neighbours in the file are likely to meet in a window, and no permutation of all the rows
    is ever made.
    """

    def __init__(
        self, inputs: Array, targets: Array, batch_size: int, dtype: DTypeLike, window: int | None = None
    ) -> None:
        self._inputs = inputs
        self._targets = targets
        self._batch_size = batch_size
        self._dtype = np.dtype(dtype)
        if window is None:
            window = WINDOW if is_mapped(inputs) or is_mapped(targets) else len(inputs)
        self._window = window

    def __len__(self) -> int:
        """Return the number of batches in an epoch."""
        return -(-len(self._inputs) // self._batch_size)

    def epoch(self, rng: np.random.Generator, skip: int = 0) -> Iterator[Batch]:
        """Iterate over every row once, but for the first `skip` batches; the last batch may be smaller."""
        if self._window < len(self._inputs):
            yield from islice(self._windows(rng), skip, None)
        else:
            order = rng.permutation(len(self._inputs))
            yield from self._cut(self._inputs, self._targets, order[skip * self._batch_size :])

    def _windows(self, rng: np.random.Generator) -> Iterator[Batch]:
        inputs, targets = self._inputs, self._targets
        block = -(-self._window // BLOCKS)
        starts = block * rng.permutation(-(-len(inputs) // block))
        left: tuple[Array, Array] = inputs[:0], targets[:0]
        for first in range(0, len(starts), BLOCKS):
            runs = [slice(start, start + block) for start in starts[first : first + BLOCKS]]
            rows = np.concatenate([left[0], *(inputs[run] for run in runs)])
            labels = np.concatenate([left[1], *(targets[run] for run in runs)])
            release(inputs)
            release(targets)
            order = rng.permutation(len(rows))
            is_last = first + BLOCKS >= len(starts)
            stop = len(rows) if is_last else len(rows) - len(rows) % self._batch_size
            yield from self._cut(rows, labels, order[:stop])
            left = rows[order[stop:]], labels[order[stop:]]  # too few for a batch: they go into the next window

    def _cut(self, inputs: Array, targets: Array, order: Array) -> Iterator[Batch]:
        dtype, size = self._dtype, self._batch_size
        for start in range(0, len(order), size):
            chosen = order[start : start + size]
            rows, labels = inputs.take(chosen, axis=0), targets.take(chosen)
            yield Batch(rows.astype(dtype, copy=False), labels.astype(dtype, copy=False))


def checked_inputs(inputs: ArrayLike, n_features: int, dtype: DTypeLike) -> Array:
    """Return inputs of shape (n_rows, n_features), as `dtype` unless they are memory-mapped.

    ValueError if they are not two-dimensional, numeric, finite, `n_features` wide and at least one row.
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

    ValueError if they are anything else, or of one class only where `both_classes` are asked for.
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
