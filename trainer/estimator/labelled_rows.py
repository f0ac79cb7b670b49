"""LabelledRows: a scikit-learn user's table, labels and weights, turned into what the trainer takes.

A weight is the last column of the table, which no layer sees. So it travels with its row through shuffling, batches,
checkpoints and the rows that a gradient check picks, and loss and gradients stay pure functions.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.model_selection import train_test_split
from sklearn.utils import check_random_state
from sklearn.utils.class_weight import compute_class_weight
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import _check_sample_weight

from trainer.network.layers import Backward, Layer
from trainer.network.losses import WeightedBinaryCrossEntropy
from trainer.network.network import Network
from trainer.network.parameters import Array, Arrays, Rng
from trainer.network.softmax import SoftmaxNetwork

ClassWeight = dict[Any, float] | Literal["balanced"] | None


def checked_classes(labels: ArrayLike) -> Array:
    """Return the labels that occur, sorted; what is none, or several a row, is a ValueError."""
    kind = type_of_target(labels, input_name="y", raise_unknown=True)
    if kind not in ("binary", "multiclass"):
        check_classification_targets(labels)
        raise ValueError(f"There are several labels a row. Expected one. Received targets of the type {kind}.")
    return np.unique(np.asarray(labels))


@dataclass(frozen=True)
class LabelledRows:
    """The rows of a fit: features (and weights, of mean 1, as the last column), and the number of each one's class."""

    table: Array
    targets: Array
    weights: Array | None

    @classmethod
    def of(cls, rows: Array, labels: Array, classes: Array, sample_weight: ArrayLike | None) -> Self:
        """Encode the labels, and leave out the rows of weight 0; refuse unknown labels and negative weights."""
        unknown = ~np.isin(labels, classes)
        if unknown.any():
            raise ValueError(f"Unknown label. Expected one of {classes.tolist()}. Received {labels[unknown][0]!r}.")
        targets = np.searchsorted(classes, labels)
        if sample_weight is None:
            return cls(rows, targets, None)
        weights = _check_sample_weight(sample_weight, rows, dtype=np.float64)
        if (weights < 0).any():
            raise ValueError(f"Negative sample weight. Expected weights of at least 0. Received {weights.min()}.")
        kept = weights > 0
        if not kept.any():
            raise ValueError("All sample weights are 0. Expected at least one positive weight. Received none.")
        weights = weights[kept] / weights[kept].mean()
        return cls(np.column_stack([rows[kept], weights]), targets[kept], weights)

    def split(self, fraction: float, random_state: Any) -> tuple["LabelledRows", tuple[Array, Array] | None]:
        """Set a stratified share of the rows apart, to validate on."""
        if not fraction:
            return self, None
        kept, held_out = train_test_split(
            np.arange(len(self.targets)),
            test_size=fraction,
            stratify=self.targets,
            random_state=check_random_state(random_state),
        )
        weights = None if self.weights is None else self.weights[kept]
        apart = self.table[held_out], self.targets[held_out]
        return LabelledRows(self.table[kept], self.targets[kept], weights), apart

    def class_weights(self, class_weight: ClassWeight, classes: Array) -> list[float]:
        """Return how much more a row of each class counts than one of the first."""
        if isinstance(class_weight, str) and class_weight == "balanced":
            counts = np.bincount(self.targets, self.weights, minlength=len(classes))
            weights = counts[0] / np.where(counts > 0, counts, np.nan)
        else:
            weights = compute_class_weight(class_weight, classes=classes, y=classes)
            weights = weights / weights[0] if (weights > 0).all() else np.full(len(classes), np.nan)
        if not (weights > 0).all():
            raise ValueError(
                f"Invalid class_weight. Expected positive weights of all classes. Received {class_weight!r}."
            )
        return [float(weight) for weight in weights]


class _RowWeighted:
    """Makes of a network one of the same layers over a table whose last column is how much each row counts.

    ``loss = mean(w · per_row) + penalty``, with the mean over the rows of a batch. Weights of mean 1 over the training
    rows keep the balance between data and penalty; then an integer weight is the same as so many copies of the row:
    exactly where a batch holds all rows, and in expectation where it does not.
    """

    layers: list[Layer]
    criterion: WeightedBinaryCrossEntropy

    def __init__(self, layer_sizes: Sequence[int], **options: Any) -> None:
        super().__init__(layer_sizes, **options)  # type: ignore[call-arg]
        self.layer_sizes = (layer_sizes[0] + 1, *layer_sizes[1:])
        self.layers.insert(0, WithoutWeights())
        self.criterion = RowWeightedCriterion(self.criterion)

    def criterion_targets(self, inputs: Array, targets: Array) -> Array:
        """Return targets and weights, shape (n_rows, 2)."""
        return np.stack([targets, inputs[:, -1]], axis=1)


class RowWeightedNetwork(_RowWeighted, Network):
    """For two classes."""


class RowWeightedSoftmax(_RowWeighted, SoftmaxNetwork):
    """For more."""


class WithoutWeights(Layer):
    """Drops the last column; it comes before all parameters, so no gradient needs to pass back through it."""

    def forward(self, parameters: Arrays, inputs: Array, rng: Rng) -> tuple[Array, Backward]:
        """Return ``inputs[..., :-1]``."""
        return inputs[..., :-1], lambda output_gradient, gradients: None


class RowWeightedCriterion(WeightedBinaryCrossEntropy):
    """Cross-entropy of targets of shape (n_rows, 2), the second a factor of each row's loss and gradient."""

    def __init__(self, of: WeightedBinaryCrossEntropy) -> None:
        super().__init__(of.positive_weight)
        self.of = of

    def per_row(self, logits: Array, targets: Array) -> Array:
        """Return the weighted loss of every row."""
        losses = self.of.per_row(logits, targets[:, 0])
        losses *= targets[:, 1]
        return losses

    def value_and_gradient(self, logits: Array, targets: Array) -> tuple[float, Array]:
        """Return the mean of `per_row` and its gradient with respect to real logits, in their shape."""
        _, gradient = self.of.value_and_gradient(logits, targets[:, 0])
        gradient *= targets[:, 1] if gradient.ndim == 1 else targets[:, 1:]
        return float(self.per_row(logits, targets).mean()), gradient
