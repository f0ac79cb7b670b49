"""Data: a table of payments in three parts, ready for a network."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pandas

Array = NDArray[np.float64]

LEAK = "LEAK: "  # how a warning begins that a column tells the labels alone


class Prepares(Protocol):
    """What turns rows of a table into inputs; `Preparation` is what there is."""

    def transform(self, frame: "pandas.DataFrame") -> Array:
        """Turn rows into features."""


@dataclass(frozen=True, eq=False, repr=False)
class Split:
    """Some rows of the table and what they turned out to be.

    Attributes
    ----------
    inputs : ndarray of shape (n_samples, n_features), float64
        One payment a row, C-contiguous. Every column of numbers is in standard deviations of the training rows.
    targets : ndarray of shape (n_samples,), float64
        1.0 for fraud, 0.0 for an honest payment.
    rows : ndarray of shape (n_samples,), int, optional
        Where in the table these rows stand, counted from 0; None for a synthetic table.
    """

    inputs: Array
    targets: Array
    rows: NDArray[np.intp] | None = None

    @property
    def n_samples(self) -> int:
        """Number of rows."""
        return len(self.targets)

    @property
    def n_fraud(self) -> int:
        """Number of rows that are fraud."""
        return int(np.count_nonzero(self.targets))

    def __repr__(self) -> str:
        """Say how large it is; the rows themselves would fill the screen."""
        return f"Split({self.n_samples} rows, {self.n_fraud} fraud, {self.inputs.shape[1]} features)"


@dataclass(frozen=True, eq=False)
class FraudData:
    """The three parts of a table of payments.

    Attributes
    ----------
    train, validation, test : Split
        60, 20 and 20 % of the rows. No row is in two of them.
    feature_names : tuple of str
        One name a column. ``("V1", "V2", ...)`` of `make_fraud`, where every column means the same kind of thing: an
        anonymous score of a payment, standardised and therefore dimensionless.
    notes : tuple of str
        Where the rows come from and what was done to them, one sentence each; none for a synthetic table.
    warnings : tuple of str
        What of a table is not used, or was guessed, and why; leaks first.
    preparation : Preparation, optional
        What turns other rows of such a table into inputs; None for a synthetic table, whose rows are inputs.
    label : str
        Which value of which column is fraud, such as ``"Class = 1"``; empty for a synthetic table.
    """

    train: Split
    validation: Split
    test: Split
    feature_names: tuple[str, ...]
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    preparation: Prepares | None = None
    label: str = ""

    @property
    def leaks(self) -> tuple[str, ...]:
        """Those of the warnings that call a column a leak."""
        return tuple(warning for warning in self.warnings if warning.startswith(LEAK))

    @property
    def n_features(self) -> int:
        """Number of columns."""
        return len(self.feature_names)

    @property
    def n_samples(self) -> int:
        """Number of rows in all three parts together."""
        return self.train.n_samples + self.validation.n_samples + self.test.n_samples
