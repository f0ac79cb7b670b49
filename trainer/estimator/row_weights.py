"""Row weights: a network whose inputs carry, in a last column, how much each row counts."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from trainer.network.layers import Backward, Layer
from trainer.network.losses import WeightedBinaryCrossEntropy
from trainer.network.network import Network
from trainer.network.parameters import Array, Parameters


class RowWeightedNetwork(Network):
    """A network whose loss counts every row by its weight.

    The weight is the last column of the inputs, which no layer sees. So it travels with its row through
    shuffling, batches and the rows that a gradient check picks, and loss and gradients stay pure functions of
    parameters, inputs and targets.

    Parameters
    ----------
    layer_sizes : sequence of int
        As in `Network`, without the column of weights; the attribute `layer_sizes` has it.
    **options
        As in `Network`.

    Notes
    -----
    ``loss = mean(w · per_row) + penalty``, with the mean over the rows of a batch. Weights of mean 1 over the
    training rows keep the balance between data and penalty; then an integer weight is the same as so many copies
    of the row: exactly where a batch holds all rows, and in expectation where it does not.
    """

    def __init__(self, layer_sizes: Sequence[int], **options: Any) -> None:
        super().__init__(layer_sizes, **options)
        self.layer_sizes = (self.layer_sizes[0] + 1, *self.layer_sizes[1:])
        self.layers.insert(0, WithoutWeights())
        self.criterion = RowWeightedCriterion(self.positive_weight)

    def loss(
        self,
        parameters: Mapping[str, Array],
        inputs: Array,
        targets: Array,
        rng: np.random.Generator | None = None,
    ) -> float | complex:
        """Return the weighted mean loss plus the penalty."""
        return self._with_plain_loss().loss(parameters, inputs, _weighted(targets, inputs), rng)

    def loss_and_gradients(
        self,
        parameters: Mapping[str, Array],
        inputs: Array,
        targets: Array,
        rng: np.random.Generator | None = None,
        out: Parameters | None = None,
    ) -> tuple[float, Parameters]:
        """Return `loss` and its gradient with respect to every parameter, by back-propagation."""
        plain = self._with_plain_loss()
        return plain.loss_and_gradients(parameters, inputs, _weighted(targets, inputs), rng, out)

    def coordinate_losses(
        self,
        parameters: Mapping[str, Array],
        inputs: Array,
        targets: Array,
        name: str,
        step: float | complex | Array,
        rng: np.random.Generator | None = None,
    ) -> Array:
        """Return the `loss` with each entry of one tensor moved by its step."""
        plain = self._with_plain_loss()
        return plain.coordinate_losses(parameters, inputs, _weighted(targets, inputs), name, step, rng)

    def _with_plain_loss(self) -> Network:
        """Return these layers, criterion and penalty as a network that takes targets and weights together."""
        plain = object.__new__(Network)
        plain.__dict__.update(self.__dict__)
        return plain


class WithoutWeights(Layer):
    """Drops the last column; it comes before all parameters, so no gradient needs to pass back through it."""

    def forward(
        self, parameters: Mapping[str, Array], inputs: Array, rng: np.random.Generator | None
    ) -> tuple[Array, Backward]:
        """Return ``inputs[..., :-1]``."""

        def backward(output_gradient: Array, gradients: Mapping[str, Array]) -> Array | None:
            return None

        return inputs[..., :-1], backward


class RowWeightedCriterion(WeightedBinaryCrossEntropy):
    """Binary cross-entropy of rows that count differently; the targets are of shape (n_rows, 2): target, weight.

    Notes
    -----
    Each row's loss, and so its gradient, is multiplied by its weight; the mean divides both by n_rows.
    """

    def per_row(self, logits: Array, targets: Array) -> Array:
        """Return the weighted loss of every row."""
        losses = super().per_row(logits, targets[:, 0])
        losses *= targets[:, 1]
        return losses

    def value_and_gradient(self, logits: Array, targets: Array) -> tuple[float, Array]:
        """Return the mean of `per_row` and its gradient with respect to real logits, shape (n_rows,)."""
        _, gradient = super().value_and_gradient(logits, targets[:, 0])
        gradient *= targets[:, 1]
        return float(self.per_row(logits, targets).mean()), gradient


def _weighted(targets: Array, inputs: Array) -> Array:
    return np.stack([targets, inputs[:, -1]], axis=1)
