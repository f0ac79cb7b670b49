"""Columns: the kinds of columns that become features, each with what the training rows have told of it.

A kind turns a column of whatever table into float64 or words (`plain`), and these into features (`transform`). What it
has learned are plain numbers and texts, so that it can be kept in a file. Another kind is another class here, and a
field of `Preparation`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self, cast

import numpy as np

from datasets.data import Array
from datasets.preparing.dates import ISO, moments
from datasets.preparing.money import Mark, amounts
from datasets.wording import in_words, shown

if TYPE_CHECKING:
    import pandas

MISSING = "(missing)"  # the text of a missing text
OTHER = "(other)"  # that of rare ones
# Training rows that a text must have, or it is rare: with its own weights it would be learned by heart. Of IEEE-CIS
# this raises the average precision on the validation rows from 0.19 to 0.23; a small table has no rare ones.
LEAST_ROWS, LEAST_SHARE = 10, 1 / 300
MOST_TEXTS = 100  # different ones in a column; beyond it a column is a name or a number of somebody, not a kind
DAY = 86_400  # seconds
# Shares of the rows of a table that may have a text that no training row holds, or no number: no news.
NEW, EMPTY = 0.01, 0.99
# Standard deviations from the training rows' mean. Squares beyond it overflow in float32, in which a network may train.
FARTHEST = 1e18
SKEWED = 3.0  # mean cube of standardised numbers; that of an exponential distribution is 2


@dataclass(frozen=True)
class Standard:
    """Numbers in standard deviations from their mean."""

    mean: float
    deviation: float

    @classmethod
    def fit(cls, values: Array) -> Self:
        """Learn both; of numbers that are constant, but for rounding, the deviation is 1."""
        with np.errstate(over="ignore", invalid="ignore"):
            mean, deviation = float(values.mean()), float(values.std())
        constant = deviation <= len(values) * np.finfo(np.float64).eps * abs(mean)
        return cls(mean, 1.0 if constant else deviation)

    def of(self, values: Array) -> Array:
        """Standardise."""
        return (values - self.mean) / self.deviation


@dataclass(frozen=True)
class Logarithm:
    """Skewed numbers, such as amounts, beside themselves: sign and logarithm, of 1 + distance from 0 in a unit."""

    unit: float  # half of the training rows are farther from 0
    standard: Standard

    @classmethod
    def fit(cls, values: Array) -> Self:
        """Learn from numbers that are not all 0."""
        unit = float(np.median(np.abs(values[values != 0.0])))
        return cls(unit, Standard.fit(_logarithm(values, unit)))

    def of(self, values: Array) -> Array:
        """Take it, and standardise."""
        return self.standard.of(_logarithm(values, self.unit))


def _logarithm(values: Array, unit: float) -> Array:
    return np.sign(values) * np.log1p(np.abs(values) / unit)


@dataclass(frozen=True)
class Number:
    """A column of numbers: missing ones become the median, all are standardised, and skewed ones logarithms, too."""

    name: str
    median: float
    standard: Standard
    least: float  # of the training rows, as is the largest
    largest: float
    logarithm: Logarithm | None = None
    mark: Mark = "."  # the decimal one, where numbers are texts

    @classmethod
    def fit(cls, name: str, column: "pandas.Series", mark: str = ".") -> Self:
        """Learn from a plain column."""
        values = column.to_numpy()
        known = values[~np.isnan(values)]
        with np.errstate(over="ignore", invalid="ignore"):
            median = float(np.median(known))
        filled = np.where(np.isnan(values), median, values)
        standard = Standard.fit(filled)
        if not standard.deviation < np.inf:
            raise ValueError(_too_far(name))
        skewed = abs(float(np.mean(standard.of(filled) ** 3))) > SKEWED
        logarithm = Logarithm.fit(filled) if skewed else None
        return cls(name, median, standard, float(known.min()), float(known.max()), logarithm, cast(Mark, mark))

    @property
    def needs(self) -> tuple[str, ...]:
        """Names of the columns that it is made of."""
        return (self.name,)

    @property
    def width(self) -> int:
        """How many features it becomes."""
        return len(self.features)

    @property
    def features(self) -> list[str]:
        """Names of what it becomes."""
        return [self.name] if self.logarithm is None else [self.name, f"log {self.name}"]

    def plain(self, column: "pandas.Series", first_row: int = 0) -> "pandas.Series":
        """Give the column of some table as float64; a text that is no number, or an infinity, is a ValueError."""
        return finite(numbers_of(column, self.mark, first_row), self.name, first_row)

    def transform(self, column: "pandas.Series") -> Array:
        """Give the features, shape (n_rows, 1 or 2), of a plain column."""
        values = column.to_numpy()
        filled = np.where(np.isnan(values), self.median, values)
        features = [self.standard.of(filled)]
        if not (np.abs(features[0]) < FARTHEST).all():
            raise ValueError(_too_far(self.name))
        if self.logarithm is not None:
            features.append(self.logarithm.of(filled))
        return np.stack(features, axis=1)

    def strange(self, column: "pandas.Series") -> dict[str, tuple[int, float]]:
        """Count the rows of a plain column that are unlike all training rows, and say what share of them may be."""
        values, span = column.to_numpy(), self.largest - self.least
        far = (values < self.least - span) | (values > self.largest + span)
        return {
            f"beyond {self.least:g} to {self.largest:g}, by more than that range": (int(np.count_nonzero(far)), 0.0),
            "without a number": (int(np.count_nonzero(np.isnan(values))), EMPTY),
        }


@dataclass(frozen=True)
class Text:
    """A column of texts, or of other values that are kinds: each one of the training rows is a column of 0 and 1."""

    name: str
    texts: tuple[str, ...]

    @classmethod
    def fit(cls, name: str, column: "pandas.Series") -> Self:
        """Learn from a plain column."""
        counts = column.astype(object).fillna(MISSING).value_counts()
        texts = counts.index[counts >= min(LEAST_ROWS, LEAST_SHARE * len(column), counts.iloc[0])]
        if len(texts) > MOST_TEXTS:
            texts = texts[: MOST_TEXTS - 1]
        return cls(name, (*sorted(texts), *([OTHER] if len(texts) < len(counts) else [])))

    @property
    def needs(self) -> tuple[str, ...]:
        """Names of the columns that it is made of."""
        return (self.name,)

    @property
    def width(self) -> int:
        """How many features it becomes."""
        return len(self.texts)

    @property
    def features(self) -> list[str]:
        """Names of what it becomes."""
        return [f"{self.name}={text}" for text in self.texts]

    def plain(self, column: "pandas.Series", first_row: int = 0) -> "pandas.Series":
        """Give the column of some table as categories of texts."""
        return texts_of(column)

    def transform(self, column: "pandas.Series") -> Array:
        """Give the features, shape (n_rows, n_texts), of a plain column; a text not learned is 0 in all of them."""
        features = np.zeros((len(column), self.width))
        places = self._places(column)
        known = np.flatnonzero(places >= 0)
        features[known, places[known]] = 1.0
        return features

    def strange(self, column: "pandas.Series") -> dict[str, tuple[int, float]]:
        """Count the rows of a plain column that are unlike all training rows, and say what share of them may be."""
        return {"with a text that no training row holds": (int(np.count_nonzero(self._places(column) < 0)), NEW)}

    def _places(self, column: "pandas.Series") -> Any:
        """Give the place of each row's text, -1 if there is none."""
        place = {text: number for number, text in enumerate(self.texts)}
        other = place.get(OTHER, -1)
        of = [place.get(text, other) for text in [*column.cat.categories, MISSING]]  # code -1 is that of a missing one
        return np.array(of, dtype=np.intp)[column.cat.codes.to_numpy()]


@dataclass(frozen=True)
class Date:
    """A column of dates: their hour, their weekday, and their age in days, so far as these differ.

    The age is that at the moment of the row, where the rows are split by a date, and else at the newest date of the
    training rows. The moment itself has none: no later one was ever trained on.
    """

    name: str
    form: str  # of texts
    newest: str  # of the training rows, ISO 8601
    moment: str | None  # the column of the moment of the row
    parts: tuple[Number, ...]

    @classmethod
    def fit(cls, name: str, columns: "Mapping[str, pandas.Series]", form: str, moment: str | None) -> Self:
        """Learn from plain columns, of which one is the moment of each row."""
        column = columns[name]
        date = cls(name, form, column.max().isoformat(), moment, ())
        numbers = date._numbers(*(columns[need] for need in date.needs)).items()
        return replace(date, parts=tuple(Number.fit(part, of) for part, of in numbers if of.nunique() > 1))

    @property
    def needs(self) -> tuple[str, ...]:
        """Names of the columns that it is made of."""
        return (self.name,) if self.moment in (None, self.name) else (self.name, self.moment)

    @property
    def width(self) -> int:
        """How many features it becomes."""
        return len(self.features)

    @property
    def features(self) -> list[str]:
        """Names of what it becomes."""
        return [feature for part in self.parts for feature in part.features]

    def plain(self, column: "pandas.Series", first_row: int = 0) -> "pandas.Series":
        """Give the column of some table as dates in UTC without a zone; a text that is none is a ValueError."""
        return dates_of(column, self.form, first_row)

    def transform(self, *columns: "pandas.Series") -> Array:
        """Give the features, shape (n_rows, n_parts), of plain columns."""
        numbers = self._numbers(*columns)
        return np.concatenate([part.transform(numbers[part.name]) for part in self.parts], axis=1)

    def strange(self, *columns: "pandas.Series") -> dict[str, tuple[int, float]]:
        """Count the rows of plain columns that are unlike all training rows, and say what share of them may be."""
        numbers = self._numbers(*columns)
        age = [part.strange(numbers[part.name]) for part in self.parts if part.name == self._age]
        return {f"of an age {how}": count for found in age for how, count in found.items()}

    @property
    def _age(self) -> str:
        return f"{self.name} age in days"

    def _numbers(self, column: "pandas.Series", moment: "pandas.Series | None" = None) -> "dict[str, pandas.Series]":
        import pandas as pd

        numbers = {f"{self.name} hour": column.dt.hour, f"{self.name} weekday": column.dt.day_of_week}
        if self.moment != self.name:
            since = (pd.Timestamp(self.newest) if moment is None else moment) - column
            numbers[self._age] = since.dt.total_seconds() / DAY
        return {name: number.astype(np.float64) for name, number in numbers.items()}


Column = Number | Text | Date


def dates_of(column: "pandas.Series", form: str = ISO, first_row: int = 0) -> "pandas.Series":
    """Turn a column into dates, in UTC without a zone; of texts, too."""
    import pandas as pd

    plain = column.reset_index(drop=True)
    if pd.api.types.is_datetime64_any_dtype(plain):
        return plain if plain.dt.tz is None else plain.dt.tz_convert("UTC").dt.tz_localize(None)
    codes, texts = pd.factorize(plain.astype(object))
    read = moments([str(text) for text in texts], form)
    dates = read.reindex(codes).reset_index(drop=True)  # of a missing one, -1, NaT
    _refuse_others(dates.isna() & (codes >= 0), plain, "dates", first_row)
    return dates


def numbers_of(column: "pandas.Series", mark: Mark = ".", first_row: int = 0) -> "pandas.Series":
    """Turn a column into float64; of texts, too, as they stand in a file, with this decimal mark."""
    import pandas as pd

    kinds = pd.api.types
    if kinds.is_bool_dtype(column) or (kinds.is_numeric_dtype(column) and not kinds.is_complex_dtype(column)):
        return pd.Series(column.to_numpy(dtype=np.float64, na_value=np.nan), copy=False)
    codes, found = pd.factorize(column.reset_index(drop=True).astype(object))
    texts = [str(text).strip() for text in found]
    values = read_numbers(texts, mark)
    numbers = pd.Series(np.append(values, np.nan)[codes])  # of a missing one, -1
    given = np.array([*map(bool, texts), False])[codes]
    _refuse_others(numbers.isna() & given, column, "numbers", first_row)
    return numbers


def read_numbers(texts: Sequence[str], mark: Mark) -> Array:
    """Read texts as numbers, plain ones or amounts with this decimal mark; NaN where one is neither."""
    import pandas as pd

    values = amounts(texts, mark)
    if mark == "." and np.isnan(values).any():  # 1e-5 is no amount
        plain = pd.to_numeric(pd.Series(texts, dtype=object), errors="coerce").to_numpy(np.float64)
        values = np.where(np.isnan(values), plain, values)
    return values


def _refuse_others(wrong: "pandas.Series", column: "pandas.Series", expected: str, first_row: int) -> None:
    bad = wrong.to_numpy()
    if bad.any():
        row = int(bad.argmax())
        found = f"{shown(str(column.iloc[row]), 40)!r} in row {first_row + row + 1:,}"
        raise ValueError(
            f"The column {shown(str(column.name))!r} holds no {expected} only. Expected {expected}, as in the training "
            f"rows, or nothing where one is missing. Received {found}."
        )


def texts_of(column: "pandas.Series") -> "pandas.Series":
    """Turn a column into categories of texts, without the blanks around them; a text of nothing else is missing."""
    import pandas as pd

    plain = column.reset_index(drop=True)
    if isinstance(plain.dtype, pd.CategoricalDtype):
        words = [in_words(category).strip() for category in plain.cat.categories.tolist()]
        if len({*words, ""}) == len(words) + 1:
            return plain.cat.rename_categories(words)
        plain = plain.astype(object)
    return plain.map(lambda value: in_words(value).strip() or None, na_action="ignore").astype("category")


def finite(column: "pandas.Series", name: str, first_row: int = 0) -> "pandas.Series":
    """Give a column of float64 back, if nothing in it is infinite."""
    infinite = np.isinf(column.to_numpy())
    if infinite.any():
        row = int(infinite.argmax())
        raise ValueError(
            f"The column {shown(name)!r} is not finite. Expected finite numbers. "
            f"Received {column.iloc[row]} in row {first_row + row + 1:,}."
        )
    return column


def _too_far(name: str) -> str:
    return (
        f"The column {shown(name)!r} cannot be standardised. Expected values within {FARTHEST:g} standard deviations "
        "of the training rows' mean. Received some beyond."
    )
