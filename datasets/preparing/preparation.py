"""Preparation: what turns the rows of any such table into what the network was trained on."""

import difflib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Self

import numpy as np

from datasets.data import Array
from datasets.preparing.columns import Column, Date, Number, Text
from datasets.preparing.dates import ISO
from datasets.wording import listed, shown

if TYPE_CHECKING:
    import pandas


@dataclass(frozen=True)
class Preparation:
    """How columns become features, as learned from training rows: nothing but names, numbers and texts.

    Attributes
    ----------
    numbers : tuple of Number
        Columns of numbers: the median, which stands where one is missing, and mean and standard deviation, in the
        unit of the column; those of the logarithm, too, where the training rows are skewed.
    texts : tuple of Text
        Columns of texts, and of other values that are kinds: every text that the training rows hold, or the most
        frequent ones.
    dates : tuple of Date
        Columns of dates: hour (0 to 23), weekday (0 is Monday) and age in days.
    """

    numbers: tuple[Number, ...]
    texts: tuple[Text, ...]
    dates: tuple[Date, ...] = ()

    @classmethod
    def fit(
        cls,
        columns: "Mapping[str, pandas.Series]",
        read_as: Mapping[str, str] = MappingProxyType({}),
        moment: str | None = None,
    ) -> Self:
        """Learn from training rows.

        Parameters
        ----------
        columns : mapping of str to pandas.Series of shape (n_rows,)
            float64 with NaN where one is missing, categories of texts, or dates.
        read_as : mapping of str to str, optional
            Of columns that stand in the file as texts: the decimal mark of numbers, or the format of dates.
        moment : str, optional
            The column of dates that tells when a row was: the age of other dates is that at this moment.

        Returns
        -------
        Preparation

        Raises
        ------
        ValueError
            If numbers are too large to be standardised.
        """
        words = [name for name, column in columns.items() if column.dtype == "category"]
        days = [name for name, column in columns.items() if column.dtype.kind == "M"]
        numbers = [name for name in columns if name not in words and name not in days]
        return cls(
            tuple(Number.fit(name, columns[name], read_as.get(name, ".")) for name in numbers),
            tuple(Text.fit(name, columns[name]) for name in words),
            tuple(Date.fit(name, columns, read_as.get(name, ISO), moment) for name in days),
        )

    @property
    def columns(self) -> tuple[Column, ...]:
        """Every column, in the order of the features."""
        return (*self.numbers, *self.texts, *self.dates)

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Names of the features: ``Amount``, maybe ``log Amount``, ``Country=DE`` of a text, ``Day hour`` of a date."""
        return tuple(name for column in self.columns for name in column.features)

    def demand(self, names: Iterable[str]) -> None:
        """Go on only with a table that has all columns.

        Parameters
        ----------
        names : iterable of str
            Of the columns that it has.

        Raises
        ------
        ValueError
            If one that was learned from is not among them.
        """
        wanted, given = [column.name for column in self.columns], list(names)
        lacking = [name for name in wanted if name not in given]
        if lacking:
            lower = {name.lower(): name for name in given if name not in wanted}
            close = difflib.get_close_matches(lacking[0].lower(), lower, n=1)
            meant = f", perhaps {shown(lower[close[0]])!r}" if close else ""
            raise ValueError(
                f"The table lacks columns that the model was trained on. Expected {listed(lacking)}, too{meant}. "
                f"Received {listed(given) or 'none'}."
            )

    def plain(
        self, frame: "Mapping[str, pandas.Series] | pandas.DataFrame", *, first_row: int = 0
    ) -> "dict[str, pandas.Series]":
        """Give the columns of a table that features are made of, as float64, categories of texts, and dates.

        Parameters
        ----------
        frame : pandas.DataFrame of shape (n_rows, n_columns)
            With the columns that were learned from; whatever others it has are not looked at.
        first_row : int, default=0
            How many rows of the table stand before these: for messages.

        Returns
        -------
        dict of str to pandas.Series of shape (n_rows,)

        Raises
        ------
        ValueError
            If a column is not there, or does not hold the numbers that it held.
        """
        names = {str(label): label for label in frame}
        self.demand(names)
        return {column.name: column.plain(frame[names[column.name]], first_row) for column in self.columns}

    def transform(self, frame: "Mapping[str, pandas.Series] | pandas.DataFrame") -> Array:
        """Turn rows into features, row by row alike whatever other rows there are.

        Parameters
        ----------
        frame : pandas.DataFrame of shape (n_rows, n_columns)
            As `plain` takes it, or gives it.

        Returns
        -------
        ndarray of shape (n_rows, n_features), float64
            C-contiguous; numbers in standard deviations of the training rows, texts as 0 and 1.

        Raises
        ------
        ValueError
            As `plain` does.
        """
        plain = self.plain(frame)
        n_rows = len(next(iter(plain.values())))
        features, end = np.empty((n_rows, len(self.feature_names))), 0
        for column in self.columns:
            start, end = end, end + column.width
            if column.width:
                features[:, start:end] = column.transform(*(plain[name] for name in column.needs))
        return features

    def strange(self, frame: "Mapping[str, pandas.Series] | pandas.DataFrame") -> Iterator[tuple[str, str, int, float]]:
        """Say of which columns how many rows are unlike all training rows.

        Parameters
        ----------
        frame : pandas.DataFrame of shape (n_rows, n_columns)
            As `plain` takes it, or gives it.

        Yields
        ------
        tuple of str, str, int, float
            Name of the column, how its rows differ, how many of them, also where it is none, and what share of them,
            from 0 to 1, would be nothing to speak of.

        Raises
        ------
        ValueError
            As `plain` does.
        """
        plain = self.plain(frame)
        for column in self.columns:
            for how, (count, allowed) in column.strange(*(plain[name] for name in column.needs)).items():
                yield column.name, how, count, allowed
