"""Columns: the kinds of columns that become features, each with what the training rows have told of it.

A kind turns a column of whatever table into float64 or words (`plain`), and these into features (`transform`). What it
has learned are plain numbers and texts, so that it can be kept in a file. Another kind is another class here, and a
field of `Preparation`.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from datasets.data import Array
from datasets.wording import in_words, shown

if TYPE_CHECKING:
    import pandas

MISSING = "(missing)"  # the text of a missing text
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

    @classmethod
    def fit(cls, name: str, column: "pandas.Series") -> Self:
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
        return cls(name, median, standard, float(known.min()), float(known.max()), logarithm)

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
        return finite(numbers_of(column, first_row), self.name, first_row)

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
        known = column.cat.remove_unused_categories()
        return cls(name, tuple(sorted({*known.cat.categories, *([MISSING] if known.isna().any() else [])})))

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
        of = [place.get(text, -1) for text in [*column.cat.categories, MISSING]]  # code -1 is that of a missing one
        return np.array(of, dtype=np.intp)[column.cat.codes.to_numpy()]


Column = Number | Text


def numbers_of(column: "pandas.Series", first_row: int = 0) -> "pandas.Series":
    """Turn a column into float64; of texts, too, as they stand in a CSV file."""
    import pandas as pd

    kinds = pd.api.types
    if kinds.is_bool_dtype(column) or (kinds.is_numeric_dtype(column) and not kinds.is_complex_dtype(column)):
        return pd.Series(column.to_numpy(dtype=np.float64, na_value=np.nan), copy=False)
    texts = column.reset_index(drop=True).astype(object)
    given = texts.notna() & (texts.astype(str).str.strip() != "")
    numbers = pd.to_numeric(texts.where(given), errors="coerce").astype(np.float64)
    bad = (given & numbers.isna()).to_numpy()
    if bad.any():
        row = int(bad.argmax())
        found = f"{shown(str(texts.iloc[row]), 40)!r} in row {first_row + row + 1:,}"
        raise ValueError(
            f"The column {shown(str(column.name))!r} holds no numbers only. Expected numbers, as in the training rows, "
            f"or nothing where one is missing. Received {found}."
        )
    return numbers


def texts_of(column: "pandas.Series") -> "pandas.Series":
    """Turn a column into categories of texts."""
    import pandas as pd

    plain = column.reset_index(drop=True)
    if isinstance(plain.dtype, pd.CategoricalDtype):
        words = [in_words(category) for category in plain.cat.categories]
        if len(set(words)) == len(words):
            return plain.cat.rename_categories(words)
        plain = plain.astype(object)
    return plain.map(in_words, na_action="ignore").astype("category")


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
