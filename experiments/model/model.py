"""FraudModel: all that it takes to call payments fraud or not, kept in one file."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, Self

import numpy as np
from numpy.typing import NDArray

from datasets import Preparation
from experiments.model.threshold import Threshold
from trainer import Network, Parameters
from trainer.network.losses import sigmoid
from trainer.storage.archive import ArchiveError, read_archive, write_archive
from trainer.storage.codec import LARGEST, BrokenError, Within, from_plain, to_plain
from trainer.storage.durable import File

if TYPE_CHECKING:
    import pandas

KIND, VERSION = "fraud model", 1
FILE = "model.npz"  # in a run's folder
# Rows that go through the network together. It is always so many, for the last bit of a matrix product depends on how
# many rows it has: so a payment has the same probability whatever stands around it.
BLOCK = 1_024

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Facts:
    """What is kept of a model beside its parameters."""

    layer_sizes: list[Annotated[int, Within(1, LARGEST)]]
    activation: Literal["relu", "tanh"]
    positive_weight: Annotated[float, Within(1e-300)]  # of the training
    preparation: Preparation
    threshold: Threshold
    fraud: str  # which value of which column it has learned to find
    doubt: str | None  # why not to trust it


class FraudModel:
    """A trained network, the preparation of its rows, and the probability from which on a payment is called fraud.

    Parameters
    ----------
    parameters : Parameters
        Of the network.
    facts : Facts
        Its shape, the preparation, the threshold, and what the labels were.

    Attributes
    ----------
    network : Network
    parameters : Parameters
    facts : Facts

    Raises
    ------
    ValueError
        If the parameters, or what the preparation makes of a row, do not fit the network.
    """

    def __init__(self, parameters: Parameters, facts: Facts) -> None:
        self.network = Network(facts.layer_sizes, activation=facts.activation, positive_weight=facts.positive_weight)
        n_features = len(facts.preparation.feature_names)
        expected = (self.network.shapes, self.network.layer_sizes[0])
        if (dict(parameters.shapes), n_features) != expected:
            raise ValueError(
                f"The parts of the model do not fit. Expected parameters {expected[0]} and {expected[1]} features. "
                f"Received {dict(parameters.shapes)} and {n_features}."
            )
        self.parameters = parameters
        self.facts = facts

    def __repr__(self) -> str:
        """Show what it is made of."""
        sizes = "-".join(map(str, self.network.layer_sizes))
        return f"FraudModel({sizes} {self.facts.activation}, fraud from {self.threshold} on)"

    @property
    def threshold(self) -> Threshold:
        """The cut, and what it was chosen for."""
        return self.facts.threshold

    @property
    def preparation(self) -> Preparation:
        """What turns payments into inputs."""
        return self.facts.preparation

    def predict_proba(self, frame: "pandas.DataFrame") -> Array:
        """Give the probability of fraud of every payment.

        Parameters
        ----------
        frame : pandas.DataFrame of shape (n_rows, n_columns)
            With the columns that the model was trained on; others are not looked at.

        Returns
        -------
        ndarray of shape (n_rows,), float64
            From 0 to 1. A row has the same probability, to the last bit, whatever other rows there are.

        Raises
        ------
        ValueError
            If a column is not there, or does not hold the numbers that it held.
        """
        return self.probabilities(self.preparation.transform(frame))

    def predict(self, frame: "pandas.DataFrame") -> NDArray[np.bool_]:
        """Decide on every payment.

        Parameters
        ----------
        frame : pandas.DataFrame of shape (n_rows, n_columns)
            As in `predict_proba`.

        Returns
        -------
        ndarray of shape (n_rows,), bool
            True where it is called fraud: where the probability is at least that of the threshold.

        Raises
        ------
        ValueError
            As in `predict_proba`.
        """
        return self.predict_proba(frame) >= self.threshold.cut

    def probabilities(self, inputs: Array, *, corrected: bool = True) -> Array:
        """Give the probability of fraud of prepared rows.

        Parameters
        ----------
        inputs : ndarray of shape (n_rows, n_features)
            As `preparation` makes them.
        corrected : bool, default=True
            Whether to put right what the `positive_weight` of the training has done: a weight w of the frauds
            multiplies the odds that a network learns by w (Elkan, The foundations of cost-sensitive learning, 2001).

        Returns
        -------
        ndarray of shape (n_rows,), float64
        """
        found = np.empty(len(inputs))
        block = np.zeros((BLOCK, self.network.layer_sizes[0]), self.parameters.vector.dtype)
        for start in range(0, len(inputs), BLOCK):
            rows = inputs[start : start + BLOCK]
            block[: len(rows)] = rows
            found[start : start + BLOCK] = self.network.logits(self.parameters, block)[: len(rows)]
        if corrected:
            found -= math.log(self.facts.positive_weight)
        return sigmoid(found)

    def save(self, path: File | Path | str) -> None:
        """Write it, whole or not at all; nothing is pickled.

        Parameters
        ----------
        path : path
            Of the file.
        """
        write_archive(path, KIND, VERSION, self.parameters, to_plain(self.facts))

    @classmethod
    def load(cls, path: Path | str) -> Self:
        """Read one.

        Parameters
        ----------
        path : path
            Of the folder that a run left with ``--out``, or of the file ``model.npz`` in it.

        Returns
        -------
        FraudModel

        Raises
        ------
        ArchiveError
            If the file is damaged, or something else.
        OSError
            If there is none.
        """
        file = Path(path) / FILE if Path(path).is_dir() else Path(path)
        archive = read_archive(file, KIND, VERSION)
        try:
            facts = from_plain(Facts, archive.facts, "model")
            shapes = {name: array.shape for name, array in archive.arrays.items()}
            dtype = next((array.dtype for array in archive.arrays.values()), np.dtype(np.float64))
            parameters = Parameters(shapes, dtype=dtype)
            parameters.assign(archive.arrays)
            return cls(parameters, facts)
        except (BrokenError, TypeError, ValueError) as error:
            raise ArchiveError(f"{file} is no whole model. {error}") from error
