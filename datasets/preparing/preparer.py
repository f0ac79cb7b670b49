"""TablePreparer: the preparation of a table as a transformer of scikit-learn's."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from datasets.data import Array
from datasets.preparing.features import Features
from datasets.preparing.preparation import Preparation

if TYPE_CHECKING:
    import pandas


class TablePreparer(TransformerMixin, BaseEstimator):
    """Makes features of the columns of a table, as `prepare` does, in a pipeline of scikit-learn's.

    Parameters
    ----------
    categorical : sequence of str, default=()
        Columns of numbers that are kinds, such as those of countries or shops.

    Attributes
    ----------
    preparation_ : Preparation
        What was learned of the columns.
    dropped_ : dict of str to str
        Columns that are left out, and why.
    feature_names_in_ : ndarray of shape (n_columns,)
        Names of the columns of the table.
    n_features_in_ : int
        How many these are.
    """

    def __init__(self, categorical: Sequence[str] = ()) -> None:
        self.categorical = categorical

    def fit(self, X: "pandas.DataFrame", y: object = None) -> Self:
        """Learn from training rows.

        Parameters
        ----------
        X : pandas.DataFrame of shape (n_rows, n_columns)
            Numbers, truth values, texts, categories and dates; without the labels.
        y : object, optional
            Not looked at.

        Returns
        -------
        TablePreparer
            Itself.

        Raises
        ------
        TypeError
            If it is no data frame.
        ValueError
            If numbers are infinite, or no column is left to learn from.
        """
        if not hasattr(X, "columns"):
            raise TypeError(f"The rows have no names of columns. Expected a data frame. Received {type(X).__name__}.")
        rows = np.arange(len(X))
        no_labels = (rows % 2).astype(np.float64)  # what tells fraud alone is looked for by `prepare`, which knows them
        features = Features.of(X, self.categorical).known_by(rows, no_labels, None, None)
        if not features.columns:
            raise ValueError(f"The table has no column to learn from. Expected one. Received {list(X)}.")
        self.preparation_ = Preparation.fit(features.rows(rows), features.read_as)
        self.dropped_ = dict(features.dropped)
        self.feature_names_in_ = np.array([str(name) for name in X.columns], dtype=object)
        self.n_features_in_ = len(self.feature_names_in_)
        return self

    def transform(self, X: "pandas.DataFrame") -> Array:
        """Turn rows into features.

        Parameters
        ----------
        X : pandas.DataFrame of shape (n_rows, n_columns)
            With the columns that were learned from.

        Returns
        -------
        ndarray of shape (n_rows, n_features), float64

        Raises
        ------
        ValueError
            If a column is not there, or does not hold what it held.
        """
        check_is_fitted(self)
        return self.preparation_.transform(X)

    def get_feature_names_out(self, input_features: Any = None) -> NDArray[Any]:
        """Give the names of the features, shape (n_features,); `input_features` is not looked at."""
        check_is_fitted(self)
        return np.array(self.preparation_.feature_names, dtype=object)
