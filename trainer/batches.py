"""Batches: the rows of one epoch in a fresh random order, cut into pieces of one size."""

from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

import numpy as np
from numpy.typing import DTypeLike

from trainer.network.parameters import Array
from trainer.rows import is_mapped, release

WINDOW = 131_072  # rows of a memory-mapped file that are shuffled together: 16 MB at 30 float32 columns
BLOCKS = 16  # contiguous runs of rows that make a window; each is read in one go


class Batch(NamedTuple):
    """The rows of one iteration: inputs (n_rows, n_features) and targets (n_rows,), in the run's dtype."""

    inputs: Array
    targets: Array


class Batches:
    """The rows of a training run, batch by batch.

    Parameters
    ----------
    inputs, targets : ndarray of shape (n_samples, n_features) and (n_samples,)
        Memory-mapped or not.
    batch_size : int >= 1
    dtype : dtype
        Of every batch.
    window : int >= 1, optional
        Rows that are shuffled together. Default: all of them, or `WINDOW` of a memory-mapped file.

    Notes
    -----
    With all rows in one window an epoch is one permutation. Otherwise the rows are cut into contiguous blocks,
    a sixteenth of a window each; the blocks come in random order, sixteen at a time are copied into
    memory, and their rows are permuted. So what a batch holds comes from sixteen random places at most; neighbours in
    the file are likely to meet in a window, and no permutation of all the rows is ever made.
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
        """Iterate over every row once; the last batch may be smaller.

        Parameters
        ----------
        rng : numpy.random.Generator
        skip : int, default=0
            Batches at the beginning that are left out: those that a resumed run has behind it.
        """
        inputs, targets = self._inputs, self._targets
        if self._window >= len(inputs):
            yield from self._cut(inputs, targets, rng.permutation(len(inputs))[skip * self._batch_size :])
            return
        yield from islice(self._windows(rng), skip, None)

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
