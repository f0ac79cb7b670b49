"""Features: the columns of a table from which a network can learn, and why the others are left out."""

import re
import shlex
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from datasets.data import LEAK, Array
from datasets.preparing.columns import MISSING, MOST_TEXTS, dates_of, finite, numbers_of, read_numbers, texts_of
from datasets.preparing.dates import TRIED, formats_of
from datasets.preparing.money import currencies, decimal_mark
from datasets.preparing.suspects import is_kind, is_twin, no_feature, separates
from datasets.splits import Rows
from datasets.wording import in_words, listed, shown

if TYPE_CHECKING:
    import pandas


CODE = re.compile(r"0\d+")  # no number is written so


@dataclass(frozen=True, eq=False)
class Features:
    """Columns as float64, categories or dates, of shape (n_rows,), how they were read, and why others are left out."""

    columns: Mapping[str, "pandas.Series"]
    dropped: Mapping[str, str]
    read_as: Mapping[str, str]  # of texts: the decimal mark of numbers, the format of dates
    kinds: Collection[str]  # columns of numbers that are kinds, as asked for or by their name
    warnings: tuple[str, ...] = ()
    n_texts: Mapping[str, int] = field(default_factory=dict)  # how many a column of texts has in the training rows

    @classmethod
    def of(cls, frame: "pandas.DataFrame", categorical: Collection[str] = ()) -> Self:
        """Sort the columns by what all rows hold; an infinity is a ValueError."""
        columns: dict[str, Any] = {}
        read_as: dict[str, str] = {}
        dropped: dict[str, str] = {}
        told: list[str] = []
        kinds = set(categorical)
        for label in frame.columns:
            name, column = str(label), frame[label]
            try:
                plain, form = (texts_of(column), "") if name in kinds else _plain(column)
            except _NoFeature as reason:
                dropped[name] = str(reason)
                continue
            if name not in kinds and (why := no_feature(name, plain)):
                dropped[name] = why
                continue
            if is_kind(name, plain):
                kinds.add(name)
                plain, form = texts_of(column), ""
            if plain.dtype.kind == "f":
                finite(plain, name)
            if form:
                read_as[name] = form
                told += _numbers_told(name, column, form) if plain.dtype.kind == "f" else []
            columns[name] = plain
        return cls(columns, dropped, read_as, kinds, tuple(told))

    def copies(self, times: NDArray[Any] | None) -> Rows | None:
        """Give each row a number, equal ones the same, by these columns and the time; None if no two are equal."""
        import pandas as pd

        learned = {name: c for name, c in self.columns.items() if name in self.kinds or not _is_name(c)}
        columns = [*learned.values(), *([] if times is None else [pd.Series(times)])]
        rows = np.zeros(len(next(iter(self.columns.values()))), dtype=np.uint64)
        for column in columns:
            values = pd.util.hash_pandas_object(column, index=False).to_numpy()
            rows = rows * np.uint64(1_099_511_628_211) ^ values  # FNV's prime: the order of the columns counts
        numbers: Rows = np.unique(rows, return_inverse=True)[1]
        return numbers if numbers.max() + 1 < len(numbers) else None

    def known_by(self, train: Rows, targets: Array, times: NDArray[Any] | None, by: str | None) -> Self:
        """Leave out what the training rows do not support or the time tells, warn of what tells the labels alone."""
        unfit, leaks = {}, []
        n_texts: dict[str, int] = {}
        for name, column in self.columns.items():
            known = column.iloc[train]
            if reason := _unfit(known, name, name in self.kinds):
                unfit[name] = reason
                continue
            if times is not None and self._is_twin(name, times, by):
                unfit[name] = f"it follows {shown(str(by))}, and no later value of it was ever trained on"
                continue
            if known.dtype == "category":
                n_texts[name] = min(int(known.nunique()) + bool(known.isna().any()), MOST_TEXTS)
            if separates(known, targets[train]):
                leaks.append(name)
        leak = (
            f"{LEAK}{listed(leaks)} alone tell{'s' * (len(leaks) == 1)} fraud from honest rows. What is known only "
            f"after the fact is no feature: --drop {' '.join(map(shlex.quote, leaks))} (drop in Python)"
        )
        return replace(self._without(unfit), warnings=(*[leak][: len(leaks)], *self.warnings), n_texts=n_texts)

    def _is_twin(self, name: str, times: NDArray[Any], by: str | None) -> bool:
        """Say whether a column follows the time; of a date beside another the age tells more."""
        column = self.columns[name]
        is_kept = name == by or (column.dtype.kind == "M" and by in self.columns)
        return not is_kept and is_twin(column, times)

    def _without(self, dropped: Mapping[str, str]) -> Self:
        columns = {name: column for name, column in self.columns.items() if name not in dropped}
        return replace(self, columns=columns, dropped={**self.dropped, **dropped})

    def of_kind(self, kind: str) -> list[str]:
        """Name the columns of numbers, "f", of dates, "M", or of texts, "O"."""
        return [name for name, column in self.columns.items() if column.dtype.kind == kind]

    def rows(self, some: Rows) -> "dict[str, pandas.Series]":
        """Return some rows of all columns."""
        return {name: column.iloc[some].reset_index(drop=True) for name, column in self.columns.items()}

    def notes(self) -> Iterator[str]:
        """Say what becomes of which column."""
        if numbers := self.of_kind("f"):
            yield f"numbers, standardised: {listed(numbers)}"
        if self.n_texts:
            counts = [f"{name} ({count})" for name, count in self.n_texts.items()]
            yield f"texts, a column for each: {listed(counts)}"
        if dates := self.of_kind("M"):
            yield f"dates, now hour, weekday and age in days so far as they differ: {listed(dates)}"
        missing = {name: int(column.isna().sum()) for name, column in self.columns.items()}
        filled = [f"{name} ({count:,})" for name, count in missing.items() if count and name not in self.n_texts]
        if filled:
            yield f"missing numbers, now the training rows' median: {listed(filled)}"
        own = [f"{name} ({count:,})" for name, count in missing.items() if count and name in self.n_texts]
        if own:
            yield f"missing texts, now a text of their own, {MISSING}: {listed(own)}"

    def in_words(self) -> Iterator[str]:
        """Say what was guessed, and which columns are left out, and why."""
        yield from self.warnings
        by_reason: dict[str, list[str]] = {}
        for name, reason in self.dropped.items():
            by_reason.setdefault(reason, []).append(name or "(no name)")
        for reason, names in by_reason.items():
            yield f"left out: {listed(names)}: {reason}"


class _NoFeature(Exception):
    """Why a column is none."""


def _plain(column: "pandas.Series") -> "tuple[pandas.Series, str]":
    """Turn a column into float64, dates or categories of texts, and tell how texts were read."""
    import pandas as pd

    kinds = pd.api.types
    if kinds.is_bool_dtype(column) or (kinds.is_numeric_dtype(column) and not kinds.is_complex_dtype(column)):
        return numbers_of(column), ""
    if kinds.is_datetime64_any_dtype(column):
        return dates_of(column), ""
    found = kinds.infer_dtype(column, skipna=True)
    if found in ("date", "datetime"):
        return dates_of(pd.to_datetime(column, utc=True)), ""
    is_text = isinstance(column.dtype, pd.CategoricalDtype) or kinds.is_string_dtype(column)
    if not is_text and found not in ("string", "mixed-integer"):
        raise _NoFeature(f"{column.dtype} is no number, no text and no date")
    texts = texts_of(column)
    used = list(texts.cat.remove_unused_categories().cat.categories)
    plain_numbers = bool(used) and pd.to_numeric(pd.Series(used, dtype=object), errors="coerce").notna().all()
    if plain_numbers and (isinstance(column.dtype, pd.CategoricalDtype) or any(map(CODE.fullmatch, used))):
        return texts, ""  # they were called kinds, or are codes
    if used and (mark := "." if plain_numbers else decimal_mark(used)):
        return numbers_of(texts, mark), mark
    if len(used) > MOST_TEXTS:
        _refuse_numbers_gone_wrong(texts, used)
    forms = formats_of(used)
    if len(forms) > 1:
        raise _NoFeature("dates whose day and month cannot be told apart; written as 2026-01-31 they can")
    return (dates_of(texts, forms[0]), forms[0]) if forms else (texts, "")


def _numbers_told(name: str, column: "pandas.Series", mark: Any) -> Iterator[str]:
    """Say of texts that they were read as numbers, and of several currencies that they were not converted."""
    texts = [in_words(value) for value in column.dropna().unique()]
    if all(_is_plain(text) for text in texts):
        return
    shows = next((text for text in texts if not _is_plain(text)), texts[0])
    value = read_numbers([shows], mark)[0]
    none = f"if they are none, --categorical {shlex.quote(shown(name))} (categorical in Python)"
    yield f"numbers written as text: {shown(name)}, where {shown(shows, 40)!r} is {value:.15g}; {none}"
    several = sorted(currencies(texts))
    if len(several) > 1:
        yield f"several currencies, none of them converted: {shown(name)} has {listed(several)}"


def _is_plain(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _is_name(column: "pandas.Series") -> bool:
    return bool(column.dtype == "category" and column.nunique() > MOST_TEXTS)


def _unfit(known: Any, name: str, is_kind: bool) -> str | None:
    """Say why a column is to be left out by its training rows; None if it is not."""
    n_different = int(known.nunique())
    if _is_name(known) and not is_kind:
        return f"more than {MOST_TEXTS} different texts in the training rows, such as a name or an identifier has"
    if n_different + (known.dtype == "category" and bool(known.isna().any())) < 2:
        return "one value, or none, in all training rows"
    return None


def _refuse_numbers_gone_wrong(column: "pandas.Series", texts: list[str]) -> None:
    some = texts[:: max(1, len(texts) // TRIED)]
    if min(np.isnan(read_numbers(some, mark)).mean() for mark in (".", ",")) > 0.5:
        return
    wrong = min((np.isnan(read_numbers(texts, mark)) for mark in (".", ",")), key=np.count_nonzero)
    if wrong.mean() < 0.5:
        bad = column.isin(np.array(texts, dtype=object)[wrong]).to_numpy()
        row = int(bad.argmax())
        raise ValueError(
            f"The column {shown(str(column.name))!r} holds numbers, and some texts among them. Expected numbers only, "
            f"or nothing where one is missing; or it named by --drop or --categorical. "
            f"Received {shown(str(column.iloc[row]), 40)!r} in row {row + 1:,}."
        )
