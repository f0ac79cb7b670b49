"""Preparation: what turns the rows of any such table into what the network was trained on."""

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

from datasets.data import Array
from datasets.preparing.columns import Column, Number, Text
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
        Columns of texts, and of other values that are kinds: every text that the training rows hold.
    """

    numbers: tuple[Number, ...]
    texts: tuple[Text, ...]

    @classmethod
    def fit(cls, columns: "Mapping[str, pandas.Series]") -> Self:
        """Learn from training rows.

        Parameters
        ----------
        columns : mapping of str to pandas.Series of shape (n_rows,)
            float64 with NaN where one is missing, or categories of texts.

        Returns
        -------
        Preparation

        Raises
        ------
        ValueError
            If numbers are too large to be standardised.
        """
        words = [name for name, column in columns.items() if column.dtype == "category"]
        return cls(
            tuple(Number.fit(name, column) for name, column in columns.items() if name not in words),
            tuple(Text.fit(name, columns[name]) for name in words),
        )

    @property
    def columns(self) -> tuple[Column, ...]:
        """Every column, in the order of the features."""
        return (*self.numbers, *self.texts)

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Names of the features: ``Amount`` and perhaps ``log Amount`` of a number, ``Country=DE`` of a text."""
        return tuple(name for column in self.columns for name in column.features)

    def plain(
        self, frame: "Mapping[str, pandas.Series] | pandas.DataFrame", *, first_row: int = 0
    ) -> "dict[str, pandas.Series]":
        """Give the columns of a table that features are made of, as float64 and categories of texts.

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
        lacking = [column.name for column in self.columns if column.name not in names]
        if lacking:
            close = difflib.get_close_matches(lacking[0], names, n=1)
            meant = f", perhaps {shown(close[0])!r}" if close else ""
            raise ValueError(
                f"The table lacks columns that the model was trained on. Expected {listed(lacking)}, too{meant}. "
                f"Received {listed(names) or 'none'}."
            )
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
            features[:, start:end] = column.transform(plain[column.name])
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
        for column, values in zip(self.columns, self.plain(frame).values(), strict=True):
            for how, (count, allowed) in column.strange(values).items():
                yield column.name, how, count, allowed
