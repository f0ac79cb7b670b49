"""Features: the columns of a table from which a network can learn, and why the others are left out."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from datasets.preparing.columns import MISSING, finite, numbers_of, texts_of
from datasets.splits import Rows
from datasets.wording import listed, shown

if TYPE_CHECKING:
    import pandas

MOST_TEXTS = 100  # different ones in a column; beyond it a column is a name or a number of somebody, not a kind


@dataclass(frozen=True, eq=False)
class Features:
    """Columns as float64 or categories, of shape (n_rows,), and why others are left out."""

    columns: Mapping[str, "pandas.Series"]
    n_texts: Mapping[str, int]  # how many different texts, of any row, a column of texts holds
    n_missing: Mapping[str, int]  # where any are
    dropped: Mapping[str, str]

    @classmethod
    def of(cls, frame: "pandas.DataFrame", train: Rows) -> Self:
        """Sort the columns by what the training rows hold; an infinity or a text among numbers is a ValueError."""
        columns: dict[str, Any] = {}
        n_texts: dict[str, int] = {}
        n_missing: dict[str, int] = {}
        dropped: dict[str, str] = {}
        for label in frame.columns:
            name, column = str(label), frame[label].reset_index(drop=True)
            plain, reason = _plain(column), f"{column.dtype} is no number and no text; dates can only split the rows"
            if plain is None or (reason := _unfit(plain, name, train) or ""):
                dropped[name] = reason
                continue
            if missing := int(plain.isna().sum()):
                n_missing[name] = missing
            if plain.dtype == "category":
                n_texts[name] = int(plain.iloc[train].nunique()) + bool(missing)
            columns[name] = plain
        return cls(columns, n_texts, n_missing, dropped)

    @property
    def numbers(self) -> list[str]:
        """Names of the columns of numbers."""
        return [name for name in self.columns if name not in self.n_texts]

    def rows(self, some: Rows) -> "dict[str, pandas.Series]":
        """Return some rows of all columns."""
        return {name: column.iloc[some].reset_index(drop=True) for name, column in self.columns.items()}

    def notes(self) -> Iterator[str]:
        """Say what becomes of which column."""
        if self.numbers:
            yield f"numbers, standardised: {listed(self.numbers)}"
        if self.n_texts:
            counts = [f"{name} ({count})" for name, count in self.n_texts.items()]
            yield f"texts, a column for each: {listed(counts)}"
        filled = [f"{name} ({count:,})" for name, count in self.n_missing.items() if name not in self.n_texts]
        if filled:
            yield f"missing numbers, now the training rows' median: {listed(filled)}"
        own = [f"{name} ({count:,})" for name, count in self.n_missing.items() if name in self.n_texts]
        if own:
            yield f"missing texts, now a text of their own, {MISSING}: {listed(own)}"

    def dropped_in_words(self) -> Iterator[str]:
        """Say which columns are left out, and why."""
        by_reason: dict[str, list[str]] = {}
        for name, reason in self.dropped.items():
            by_reason.setdefault(reason, []).append(name)
        for reason, names in by_reason.items():
            yield f"left out: {listed(names)}: {reason}"


def _plain(column: "pandas.Series") -> Any:
    """Turn a column into float64 or categories of texts; None if it is neither."""
    import pandas as pd

    kinds = pd.api.types
    if kinds.is_bool_dtype(column) or (kinds.is_numeric_dtype(column) and not kinds.is_complex_dtype(column)):
        return numbers_of(column)
    if isinstance(column.dtype, pd.CategoricalDtype) or kinds.is_string_dtype(column):
        return texts_of(column)
    return texts_of(column) if kinds.infer_dtype(column, skipna=True) in ("string", "mixed-integer") else None


def _unfit(column: Any, name: str, train: Rows) -> str | None:
    """Say why a column is to be left out; None if it is not."""
    known = column.iloc[train]
    if column.dtype != "category":
        finite(column, name)
    n_different = int(known.nunique())
    if column.dtype == "category" and n_different > MOST_TEXTS:
        _refuse_numbers_gone_wrong(column, name)
        return f"more than {MOST_TEXTS} different texts in the training rows, such as a name or an identifier has"
    if n_different + (column.dtype == "category" and bool(known.isna().any())) < 2:
        return "one value, or none, in all training rows"
    return None


def _refuse_numbers_gone_wrong(column: Any, name: str) -> None:
    import pandas as pd

    texts = column.cat.categories
    wrong = pd.to_numeric(pd.Series(list(texts), dtype=object), errors="coerce").isna().to_numpy()
    if wrong.mean() < 0.5:
        bad = column.isin(texts[wrong]).to_numpy()
        row = int(bad.argmax())
        raise ValueError(
            f"The column {shown(name)!r} holds numbers, and some texts among them. Expected numbers only, or nothing "
            f"where one is missing. Received {shown(str(column.iloc[row]), 40)!r} in row {row + 1:,}."
        )
