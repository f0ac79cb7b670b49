"""Suspects: columns that look like features and are none: an index, an identifier, a twin of the time, a leak."""

import re
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from datasets.data import Array

if TYPE_CHECKING:
    import pandas

MANY = 100  # different numbers; up to so many may be kinds
OWN = 0.75  # share of the rows with a value of their own from which it numbers or names them
LEAST_OWN = 25  # texts; of fewer rows each may be another kind
ALIKE = 0.995  # rank correlation with the time from which a column tells nothing but the time
SOME = 3_000  # rows that tell most columns from such a one
STRAY = 0.01  # share of the rarer class on the wrong side with which a column still separates them
LEAST_DIGITS = 1e15  # of numbers of cards and accounts, where they are no time in microseconds or nanoseconds

NAMELESS = re.compile(r"(unnamed\b.*|level_\d+|__index_level_\d+__)?", re.IGNORECASE)  # as an index is written out
WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
RUN_TOGETHER = re.compile(
    r"(trans(action)?|txn|payment|order|cust(omer)?|user|client|merchant|acc(oun)?t|card|device|terminal|record|row)id"
)
#: Last words of the names of columns whose numbers count nothing.
IDS = {"id", "uid", "uuid", "guid", "hash", "iban", "pan", "ssn", "customer", "client", "user", "merchant"}
NUMBERED = {"num", "number", "nr", "nbr", "no", "reference", "ref"}
PLACES = {"index", "idx", "row", "rownum", "seq", "serial"}  # only where nearly every row has its own


def no_feature(name: str, column: "pandas.Series") -> str | None:
    """Say why a plain column of all rows is an index or an identifier; None if it is neither."""
    if NAMELESS.fullmatch(name.strip()):
        return "a column without a name, such as the index of a table that was written out"
    if column.dtype.kind == "M":
        return None
    if column.dtype == "category":
        own = column.nunique() >= max(OWN * len(column), LEAST_OWN)
        return "nearly every row has its own text, as a name or an identifier has" if own else None
    values = _integers(column)
    if values is None:
        return None
    n_different = len(np.unique(values))
    own = n_different >= OWN * len(column)
    if own and n_different == values.max() - values.min() + 1:
        return "a running number"
    word = _last_word(name)
    named = word in IDS | NUMBERED or (values.max() > LEAST_DIGITS and not _is_time(values))
    if (named and n_different > MANY) or (own and word in IDS | NUMBERED | PLACES):
        return "an identifier, whose numbers name somebody or something, and count nothing"
    return None


def is_kind(name: str, column: "pandas.Series") -> bool:
    """Say whether a column of few numbers holds kinds, by its name."""
    values = _integers(column) if column.dtype.kind == "f" else None
    return values is not None and _last_word(name) in IDS and 2 < len(np.unique(values)) <= MANY


def _last_word(name: str) -> str:
    """Give the last word of a name: id of TransactionID, transaction_id, and of idTransaction."""
    words: list[str] = [word.lower() for word in WORDS.findall(name)] or [""]
    if RUN_TOGETHER.fullmatch(words[-1]):
        return "id"
    return words[0] if words[0] in IDS and len(words) > 1 and not words[1].isdigit() else words[-1]


def _integers(column: "pandas.Series") -> Array | None:
    """Give the numbers of a plain column that are not missing, if all are integers."""
    values: Array = column.to_numpy()
    known = values[~np.isnan(values)]
    return known if len(known) and (known == np.floor(known)).all() else None


def _is_time(values: Array) -> bool:
    return any(5e8 * unit < values.min() and values.max() < 2.5e9 * unit for unit in (1e6, 1e9))


def is_twin(column: "pandas.Series", times: NDArray[Any]) -> bool:
    """Say whether a plain column of all rows follows the time or runs against it, so that its later values are new."""
    if column.dtype == "category":
        return False
    known = np.flatnonzero(column.notna())
    some = known[:: max(1, len(known) // SOME)]
    return all(_follows(column.to_numpy()[rows], times[rows]) for rows in (some, known))


def _follows(values: NDArray[Any], times: NDArray[Any]) -> bool:
    if len(values) < 3:
        return False
    places, moments = (np.unique(part, return_inverse=True)[1] for part in (values, times))
    if min(places.max(), moments.max()) < 2:  # fewer than three different ones tell nothing
        return False
    if abs(np.corrcoef(_ranks(places), _ranks(moments))[0, 1]) >= ALIKE:
        return True
    return any((np.diff(part[np.lexsort((part, moments))]) >= 0).all() for part in (places, -places))


def _ranks(codes: NDArray[np.intp]) -> Array:
    """Give each place in the order of the values, the mean one where values tie."""
    counts = np.bincount(codes)
    ranks: Array = (np.cumsum(counts) - counts / 2)[codes]
    return ranks


def separates(column: "pandas.Series", targets: Array) -> bool:
    """Say whether a plain column of training rows alone tells fraud from honest rows, but for a stray one or two."""
    fraud = targets == 1.0
    most = STRAY * min(np.count_nonzero(fraud), np.count_nonzero(~fraud))
    missing = column.isna().to_numpy()
    if min(np.count_nonzero(missing != fraud), np.count_nonzero(missing == fraud)) <= most:
        return True
    if column.dtype == "category":
        return bool(_wrong_by_text(column.cat.codes.to_numpy() + 1, fraud) <= most)
    values = column.to_numpy().astype(np.float64)
    gaps_are_fraud = bool(missing.any()) and np.count_nonzero(fraud[missing]) > np.count_nonzero(missing) / 2
    for side in (fraud, ~fraud):  # one of them within an interval, and the other outside
        inside = values[side & ~missing]
        if len(inside):
            stray = most / 2 / len(inside)
            low, high = np.quantile(inside, (stray / 2, 1 - stray / 2), method="nearest")
            told = np.where(missing, gaps_are_fraud, ((values >= low) & (values <= high)) == (side is fraud))
            if np.count_nonzero(told != fraud) <= most:
                return True
    return False


def _wrong_by_text(codes: NDArray[np.intp], fraud: NDArray[np.bool_]) -> int:
    """Count the rows whose label the other rows with their text do not tell."""
    size, frauds = np.bincount(codes), np.bincount(codes, weights=fraud)
    told = 2 * (frauds[codes] - fraud) > size[codes] - 1
    return int(np.count_nonzero(told != fraud))
