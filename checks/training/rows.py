"""Rows: which ones a check draws, of every class where targets are classes, and which all checks have drawn."""

import base64
from typing import Any, Self

import numpy as np

from checks.measure.layout import Array

#: At least this share of a probe is of the rarer class, as far as there are such rows.
RARE_SHARE = 0.125
#: Targets with more values than this are numbers, no classes.
MOST_CLASSES = 20
#: Rows that tell so, most often, without a look at the others.
FIRST = 1_024


def classes_of(targets: Array) -> list[int]:
    """Give the labels, in their order, if the targets are of few classes, and nothing if they are anything else."""
    if np.ndim(targets) != 1:
        return []
    labels = np.unique(targets[:FIRST])
    if len(labels) <= MOST_CLASSES and not np.isin(targets, labels).all():
        labels = np.unique(targets)
    is_few = len(labels) <= MOST_CLASSES and np.array_equal(labels, np.trunc(labels.astype(float)))
    return [int(label) for label in labels] if is_few else []


class Sampler:
    """Draws rows without replacement, stratified where the targets are classes.

    A batch of 64 at 0.2 % fraud holds no fraud in 88 % of cases, and then a mistake in the class weight passes.
    The rows of each class, in their order, are cut into as many equal runs as rows are wanted, and one is drawn from
    each: every row has the same chance, none comes twice, and a draw is three passes over as many numbers.
    """

    def __init__(self, targets: Array, rows: int) -> None:
        labels = classes_of(np.asarray(targets))
        is_binary = bool(labels) and max(labels) <= 1 and len(labels) <= 2
        #: Rows with target 1, where that is the second of two classes; 0 where there is no such.
        self.n_positive = int(np.count_nonzero(np.asarray(targets) == 1)) if is_binary else 0
        #: For the proof: 0 of two classes such as 0 and 1; 1 of targets that are no classes; else how many there are.
        self.n_classes = 0 if is_binary else len(labels) if 1 < len(labels) <= rows else 1
        rows = min(rows, len(targets))
        if is_binary:
            groups = np.asarray(targets) != 1  # the positive ones first
            counts = [self.n_positive, len(targets) - self.n_positive]
        elif self.n_classes > 1:
            sizes = [int(np.count_nonzero(targets == label)) for label in labels]
            order = np.argsort(sizes, kind="stable")  # the largest class, which fills up what is left, last
            groups = np.argsort(order).astype(np.uint8)[np.searchsorted(labels, targets)]
            counts = [sizes[place] for place in order]
        else:
            groups, counts = np.zeros(len(targets), bool), [len(targets)]
        self._rows: Array = np.argsort(groups, kind="stable")
        starts = np.cumsum([0, *counts[:-1]])
        ends = [start + _cut(*pair) for start, *pair in zip(starts, counts, _shares(counts, rows), strict=True)]
        self._starts = np.concatenate([cuts[:-1] for cuts in ends])
        self._widths = np.concatenate([np.diff(cuts) for cuts in ends]).astype(float)

    def draw(self, rng: np.random.Generator) -> Array:
        """Draw sorted positions of rows."""
        chosen: Array = self._rows.take(self._starts + (rng.random(len(self._starts)) * self._widths).astype(np.intp))
        chosen.sort()
        return chosen


class RowSet:
    """Positions of rows, each counted once: one byte a training row, however many checks have added to it.

    It grows where a larger position is added than there are rows.
    """

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


def _shares(counts: list[int], rows: int) -> list[int]:
    """Say how many rows to draw of each class: its share of all, but a rare one's least; the last takes the rest."""
    others = len(counts) - 1
    least, left, drawn = max(1, round(RARE_SHARE * rows / max(others, 1))), rows, []
    for behind, count in zip(range(others, 0, -1), counts, strict=False):
        share = round(rows * count / sum(counts))
        drawn.append(min(count, max(least, min(share, left - behind * least))))
        left -= drawn[-1]
    return [*drawn, min(counts[-1], left)]


def _cut(length: int, pieces: int) -> Array:
    """Give the limits of pieces of equal length, as far as that goes."""
    return np.arange(pieces + 1) * length // max(pieces, 1)
