"""Prepare: split a table, and turn it into what a network takes, by what its training rows alone tell."""

import difflib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from datasets.data import LEAK, FraudData, Split
from datasets.preparing.dates import ISO, formats_of, moments
from datasets.preparing.features import Features
from datasets.preparing.labels import labels_of
from datasets.preparing.preparation import Preparation
from datasets.splits import Rows, at_random, by_time
from datasets.tables.memory import memory_for_tables, refuse_more
from datasets.wording import in_words, listed, shown

if TYPE_CHECKING:
    import pandas

COPIES = 3  # of the prepared rows that are held at once: the parts, and one of them on its way


def prepare(
    frame: "pandas.DataFrame",
    target: str,
    *,
    split_by: str | None = None,
    fraud_label: object = None,
    drop: Sequence[str] = (),
    categorical: Sequence[str] = (),
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
        Labels that differ only in case or spaces are one.
    split_by : str, optional
        Column of numbers or dates. The oldest 60 % of the rows train, the next 20 % validate, and the newest 20 %
        test. The column itself is no feature then, for no later value of it was ever seen in training, but for the
        hour and the weekday of a date; nor is another that follows it. By default the rows are split at random, each
        part with the same share of fraud, and equal rows stay together.
    fraud_label : optional
        The value of `target` that is fraud, where the rule above errs.
    drop : sequence of str, default=()
        Columns to leave out.
    categorical : sequence of str, default=()
        Columns of numbers that are kinds, as of countries or shops. Of more than 100 of them, the 99 most frequent
        are features of their own.
    seed : int, default=0
        Of the split at random.
    name : str, default="the table"
        For messages.
    memory : int, optional
        Bytes that the prepared rows may take; half of what is free by default.

    Returns
    -------
    FraudData
        With `notes` on what was done, `warnings` of what was left out or guessed, and the `preparation` that does it
        to other rows. Numbers are standardised as ``(x - mean) / standard deviation``, after missing ones were
        replaced by the median; skewed ones have their logarithm beside them. Each text is a column of its own, 1.0
        where it stands and 0.0 elsewhere, missing ones among them, and a text that no training row holds is 0.0
        everywhere. A date becomes hour, weekday and age in days, which are numbers. Mean, deviation, median and texts
        are those of the training rows. Indices, running numbers and identifiers are left out; texts such as
        ``"$1,234.50"`` or ``"12,30"`` are numbers.

    Raises
    ------
    ValueError
        If a column is not there or twice, if the labels are not two, if numbers are infinite, if a part has no
        rows of one class, if no column is left to learn from, or if the prepared rows would not fit into memory.
    """
    _refuse_bad_columns(frame, target, [*([] if split_by is None else [split_by]), *drop, *categorical], name)
    targets, fraud, doubts = labels_of(frame[target], fraud_label)
    times = None if split_by is None else times_of(frame[split_by])
    moment = split_by if times is not None and times.dtype.kind == "M" else None
    no_features = {target, *drop} | ({split_by} - {moment})
    features = Features.of(frame[[label for label in frame if str(label) not in no_features]], categorical)
    copies = features.copies(times) if features.columns else None
    if times is None:
        parts, how = at_random(targets, seed, copies), "at random"
    else:
        left = "only its hour and weekday are features" if moment else "which is no feature then"
        parts, how = by_time(times, targets), f"by {shown(str(split_by))}, {left}"
    features = features.known_by(parts[0], targets, times, split_by)
    moment = moment if moment in features.of_kind("M") else None
    if not features.columns:
        raise ValueError(
            f"{name} has no column to learn from. Expected one besides the target. Received {list(frame)}."
        )
    preparation = Preparation.fit(features.rows(parts[0]), features.read_as, moment)
    width = len(preparation.feature_names)
    needed = len(frame) * width * np.dtype(np.float64).itemsize * COPIES
    refuse_more(needed, memory_for_tables() if memory is None else memory, f"{name} is, with {width:,} features,")
    train, validation, test = (Split(preparation.transform(features.rows(of)), targets[of], of) for of in parts)
    n_fraud = int(targets.sum())
    notes = (
        f"{name}: {len(frame):,} rows, of which {n_fraud:,} ({n_fraud / len(frame):.3%}) are fraud: "
        f"{shown(target)} = {shown(fraud)}",
        f"split {how}",
        *([f"left out, as asked: {listed(drop)}"] if drop else []),
        *features.notes(),
        *_skewed_in_words(preparation),
    )
    warnings = (*doubts, *_copies_told(copies, times is not None), *features.in_words())
    warnings = tuple(sorted(warnings, key=lambda warning: not warning.startswith(LEAK)))
    return FraudData(
        train,
        validation,
        test,
        preparation.feature_names,
        notes,
        warnings,
        preparation,
        f"{shown(target)} = {shown(fraud)}",
    )


def _skewed_in_words(preparation: Preparation) -> Iterator[str]:
    skewed = [number.name for number in preparation.numbers if number.logarithm is not None]
    if skewed:
        yield f"skewed numbers, with their logarithm beside them: {listed(skewed)}"


def _copies_told(copies: Rows | None, by_time: bool) -> list[str]:
    if copies is None:
        return []
    n_copies = len(copies) - 1 - int(copies.max())
    where = "" if by_time else "; all copies of a row are in one part"
    return [f"duplicated rows: {n_copies:,} of {len(copies):,} equal another in all that is learned from{where}"]


def _refuse_bad_columns(frame: "pandas.DataFrame", target: str, others: Sequence[str], name: str) -> None:
    columns = [str(column) for column in frame.columns]
    twice = [column for column in columns if columns.count(column) > 1]
    if twice:
        raise ValueError(f"{name} has two columns of one name. Expected every name once. Received {shown(twice[0])!r}.")
    for wanted in (target, *others):
        if wanted not in columns:
            lower = {column.lower(): column for column in columns}
            close = difflib.get_close_matches(wanted.lower(), lower, n=1)
            meant = f", perhaps {shown(lower[close[0]])!r}" if close else ""
            raise ValueError(
                f"{name} has no column {shown(wanted)!r}. Expected one of its {len(columns):,} columns{meant}: "
                f"{listed(columns)}. Received {shown(wanted)!r}."
            )
    if target in others:
        raise ValueError(
            "The target cannot split the rows, be left out or be of kinds. Expected another column. "
            f"Received {shown(target)!r} for both."
        )


def times_of(column: "pandas.Series") -> NDArray[np.generic]:
    """Give numbers as float64 and dates as datetime64; a ValueError if it holds anything else, or nothing somewhere."""
    import pandas as pd

    times = column
    if not (pd.api.types.is_numeric_dtype(column) or pd.api.types.is_datetime64_any_dtype(column)):
        texts = column.astype(object).map(in_words, na_action="ignore")
        forms = formats_of(list(texts.dropna().unique()))
        times = moments(texts, forms[0] if len(forms) == 1 else ISO)
    bad = times.isna().to_numpy()
    if bad.any():
        row = int(bad.argmax())
        raise ValueError(
            f"The column {shown(str(column.name))!r} cannot split the rows by time. Expected a number or an ISO 8601 "
            f"date in every row. Received {shown(str(column.iloc[row]), 40)!r} in row {row + 1:,}."
        )
    return np.asarray(times.to_numpy(dtype="float64" if pd.api.types.is_numeric_dtype(times) else "datetime64[ns]"))
