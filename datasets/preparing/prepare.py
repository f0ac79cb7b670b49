"""Prepare: split a table, and turn it into what a network takes, by what its training rows alone tell."""

import difflib
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from datasets.data import FraudData, Split
from datasets.preparing.features import Features
from datasets.preparing.labels import labels_of
from datasets.preparing.preparation import Preparation
from datasets.splits import at_random, by_time
from datasets.tables.memory import memory_for_tables, refuse_more
from datasets.wording import listed, shown

if TYPE_CHECKING:
    import pandas

COPIES = 3  # of the prepared rows that are held at once: the parts, and one of them on its way


def prepare(
    frame: "pandas.DataFrame",
    target: str,
    *,
    split_by: str | None = None,
    seed: int = 0,
    name: str = "the table",
    memory: int | None = None,
) -> FraudData:
    """Split a table and prepare it for a network.

    Parameters
    ----------
    frame : pandas.DataFrame of shape (n_rows, n_columns)
        As `read_table` gives it, or one of your own: numbers, truth values, texts, categories and dates.
    target : str
        Column of the labels. Of 0 and 1, 1 is fraud; of False and True, True; of two others, the rarer one.
    split_by : str, optional
        Column of numbers or dates. The oldest 60 % of the rows train, the next 20 % validate, and the newest 20 %
        test; the column itself is no feature then, for no later value of it was ever seen in training. By default
        the rows are split at random, each part with the same share of fraud.
    seed : int, default=0
        Of the split at random.
    name : str, default="the table"
        For messages.
    memory : int, optional
        Bytes that the prepared rows may take; half of what is free by default.

    Returns
    -------
    FraudData
        With `notes` on what was done, and the `preparation` that does it to other rows. Numbers are standardised as
        ``(x - mean) / standard deviation``, after missing ones were replaced by the median; skewed ones have their
        logarithm beside them. Each text is a column of its own, 1.0 where it stands and 0.0 elsewhere, missing ones
        among them, and a text that no training row holds is 0.0 everywhere. Mean, deviation, median and texts are
        those of the training rows.

    Raises
    ------
    ValueError
        If a column is not there or twice, if the labels are not two, if numbers are infinite, if a part has no
        rows of one class, if no column is left to learn from, or if the prepared rows would not fit into memory.
    """
    _refuse_bad_columns(frame, target, split_by, name)
    targets, fraud = labels_of(frame[target])
    if split_by is None:
        parts, how = at_random(targets, seed), "at random"
    else:
        parts, how = by_time(times_of(frame[split_by]), targets), f"by {shown(split_by)}, which is no feature then"
    features = Features.of(frame.drop(columns=[target] if split_by is None else [target, split_by]), parts[0])
    if not features.columns:
        raise ValueError(
            f"{name} has no column to learn from. Expected one besides the target. Received {list(frame)}."
        )
    preparation = Preparation.fit(features.rows(parts[0]))
    width = len(preparation.feature_names)
    needed = len(frame) * width * np.dtype(np.float64).itemsize * COPIES
    refuse_more(needed, memory_for_tables() if memory is None else memory, f"{name} is, with {width:,} features,")
    train, validation, test = (Split(preparation.transform(features.rows(of)), targets[of], of) for of in parts)
    n_fraud = int(targets.sum())
    notes = (
        f"{name}: {len(frame):,} rows, of which {n_fraud:,} ({n_fraud / len(frame):.3%}) are fraud: "
        f"{shown(target)} = {shown(fraud)}",
        f"split {how}",
        *features.notes(),
        *_skewed_in_words(preparation),
    )
    return FraudData(
        train,
        validation,
        test,
        preparation.feature_names,
        notes,
        tuple(features.dropped_in_words()),
        preparation,
        f"{shown(target)} = {shown(fraud)}",
    )


def _skewed_in_words(preparation: Preparation) -> Iterator[str]:
    skewed = [number.name for number in preparation.numbers if number.logarithm is not None]
    if skewed:
        yield f"skewed numbers, with their logarithm beside them: {listed(skewed)}"


def _refuse_bad_columns(frame: "pandas.DataFrame", target: str, split_by: str | None, name: str) -> None:
    columns = [str(column) for column in frame.columns]
    twice = [column for column in columns if columns.count(column) > 1]
    if twice:
        raise ValueError(f"{name} has two columns of one name. Expected every name once. Received {shown(twice[0])!r}.")
    for wanted in (target, split_by):
        if wanted is not None and wanted not in columns:
            lower = {column.lower(): column for column in columns}
            close = difflib.get_close_matches(wanted.lower(), lower, n=1)
            meant = f", perhaps {shown(lower[close[0]])!r}" if close else ""
            raise ValueError(
                f"{name} has no column {shown(wanted)!r}. Expected one of its {len(columns):,} columns{meant}: "
                f"{listed(columns)}. Received {shown(wanted)!r}."
            )
    if target == split_by:
        raise ValueError(
            f"The target cannot split the rows. Expected another column. Received {shown(target)!r} for both."
        )


def times_of(column: "pandas.Series") -> NDArray[np.generic]:
    """Give numbers as float64 and dates as datetime64; a ValueError if it holds anything else, or nothing somewhere."""
    import pandas as pd

    times = column
    if not (pd.api.types.is_numeric_dtype(column) or pd.api.types.is_datetime64_any_dtype(column)):
        times = pd.to_datetime(column.astype(object), format="ISO8601", errors="coerce", utc=True)
    bad = times.isna().to_numpy()
    if bad.any():
        row = int(bad.argmax())
        raise ValueError(
            f"The column {shown(str(column.name))!r} cannot split the rows by time. Expected a number or an ISO 8601 "
            f"date in every row. Received {shown(str(column.iloc[row]), 40)!r} in row {row + 1:,}."
        )
    return np.asarray(times.to_numpy(dtype="float64" if pd.api.types.is_numeric_dtype(times) else "datetime64[ns]"))
