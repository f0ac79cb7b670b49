"""Batches: the rows of a run, cut into pieces in a fresh random order."""

from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

import numpy as np

from trainer.rows import Array, Rows, is_mapped, release

WINDOW = 131_072  # rows of a memory-mapped file that are shuffled together: 16 MB at 30 float32 columns
BLOCKS = 16  # contiguous runs of rows that make a window; each is read in one go


class Batch(NamedTuple):
    """The rows of one iteration, real numbers in the run's dtype.

    Attributes
    ----------
    inputs, targets : ndarray of shape (n_rows, ...)
        Of a `Network`: (n_rows, n_features), and (n_rows,) of 0 or 1.
    """

    inputs: Array
    targets: Array


class Batches:
    """The rows of a training run, batch by batch; `window` is how many are shuffled together.

    With all rows in one window an epoch is one permutation. Otherwise, as `WINDOW` of a memory-mapped file by
    default, the rows are cut into contiguous blocks, a sixteenth of a window each; the blocks come in random order,
    sixteen at a time are copied into memory, and their rows are permuted. So what a batch holds comes from sixteen
    random places at most; neighbours in the file are likely to meet in a window, and no permutation of all the rows
    is ever made.
    """

    def __init__(self, rows: Rows, batch_size: int, window: int | None = None) -> None:
        self._inputs, self._targets, self._dtypes = rows
        self._batch_size = batch_size
        if window is None:
            window = WINDOW if is_mapped(rows.inputs) or is_mapped(rows.targets) else len(rows.inputs)
        self._window = window

    def __len__(self) -> int:
        """Return the number of batches in an epoch."""
        return -(-len(self._inputs) // self._batch_size)

    def epoch(self, rng: "np.random.Generator", skip: int = 0) -> Iterator[Batch]:
        """Iterate over every row once, but for the first `skip` batches; the last batch may be smaller."""
        if self._window < len(self._inputs):
            yield from islice(self._windows(rng), skip, None)
        else:
            order = rng.permutation(len(self._inputs))
            yield from self._cut(self._inputs, self._targets, order[skip * self._batch_size :])

    def _windows(self, rng: "np.random.Generator") -> Iterator[Batch]:
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
        (dtype, label_dtype), size = self._dtypes, self._batch_size
        for start in range(0, len(order), size):
            chosen = order[start : start + size]
            rows, labels = inputs.take(chosen, axis=0), targets.take(chosen, axis=0)
            yield Batch(rows.astype(dtype, copy=False), labels.astype(label_dtype, copy=False))
