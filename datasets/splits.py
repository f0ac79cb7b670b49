"""Splits: which rows train, which validate, and which test."""

import numpy as np
from numpy.typing import NDArray

from datasets.data import Array

TRAIN_SHARE = 0.6  # of the rows; validation and test halve the rest
ROWS_PER_CLASS = 5  # the fewest of which a 60/20/20 split gives every part one
PARTS = ("train", "validation", "test")

Rows = NDArray[np.intp]


def at_random(targets: Array, seed: int, copies: Rows | None = None) -> tuple[Rows, Rows, Rows]:
    """Draw 60, 20 and 20 % of the rows, each part with the same share of fraud; same seed, same parts.

    Where `copies` numbers the rows, equal ones alike, it is the different ones that are drawn, and their copies go
    with them, unless so few of a class are different that a part would have none.
    """
    from sklearn.model_selection import train_test_split

    if copies is not None:
        of_different = np.bincount(copies, weights=targets) > 0  # whether any copy is fraud
        n_fraud = int(np.count_nonzero(of_different))
        if min(n_fraud, len(of_different) - n_fraud) >= ROWS_PER_CLASS:
            train, validation, test = (
                np.flatnonzero(np.isin(copies, part)) for part in at_random(of_different.astype(np.float64), seed)
            )
            return train, validation, test
    n_fraud = int(np.count_nonzero(targets))
    rarer = min(n_fraud, len(targets) - n_fraud)
    if rarer < ROWS_PER_CLASS:
        raise ValueError(
            "Too few rows for each of train, validation and test to hold a row of each class. "
            f"Expected at least {ROWS_PER_CLASS} of each. "
            f"Received {n_fraud} of fraud and {len(targets) - n_fraud} honest."
        )
    train, rest = train_test_split(np.arange(len(targets)), train_size=TRAIN_SHARE, stratify=targets, random_state=seed)
    validation, test = train_test_split(rest, test_size=0.5, stratify=targets[rest], random_state=seed)
    return train, validation, test


def by_time(times: NDArray[np.generic], targets: Array) -> tuple[Rows, Rows, Rows]:
    """Take the oldest 60 % of the rows to train, then 20 % to validate and 20 % to test; equal times stay together."""
    order = np.argsort(times, kind="stable")
    in_order = times[order]
    shares = (TRAIN_SHARE, (1 + TRAIN_SHARE) / 2)
    ends = [
        np.searchsorted(in_order, in_order[max(0, round(share * len(order)) - 1)], side="right") for share in shares
    ]
    parts = np.split(order, ends)
    for name, rows in zip(PARTS, parts, strict=True):
        n_fraud = int(np.count_nonzero(targets[rows]))
        if not 0 < n_fraud < len(rows):
            raise ValueError(
                f"The split by time leaves {name} without rows of both classes. Expected frauds and honest rows "
                f"in each part. Received {n_fraud:,} of fraud among {len(rows):,} rows."
            )
    train, validation, test = parts
    return train, validation, test
