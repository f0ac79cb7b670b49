"""SoftmaxNetwork: the same layers for more than two classes, and the cross-entropy on their logits."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from trainer.argument import POSITIVE, checked_number
from trainer.network.demands import checked_classes
from trainer.network.losses import WeightedBinaryCrossEntropy
from trainer.network.network import Network
from trainer.network.parameters import Array, Arrays, Rng
from trainer.network.sweep import checked_steps, plain_losses
from trainer.rows import Rows


class SoftmaxNetwork(Network):
    """A classifier of K classes: as `Network`, but that it ends in K logits and a softmax. Targets are 0 to K - 1.

    Parameters
    ----------
    layer_sizes : sequence of int
        As in `Network`, but the last is the number of classes, at least 2.
    class_weights : sequence of float > 0, optional
        How much a row of each class weighs; 1 by default.
    **options
        Activation, dropout and l2 as in `Network`.

    Raises
    ------
    TypeError
        If a size is no integer, or another setting no number.
    ValueError
        If an argument is out of its range.
    """

    n_outputs = None

    def __init__(
        self, layer_sizes: Sequence[int], *, class_weights: Sequence[float] | None = None, **options: Any
    ) -> None:
        super().__init__(layer_sizes, **options)
        self.class_weights = None if class_weights is None else tuple(float(weight) for weight in class_weights)
        if self.class_weights is not None:
            for weight in self.class_weights:
                checked_number(weight, "class weight", *POSITIVE)
            if len(self.class_weights) != self.layer_sizes[-1]:
                expected = f"{self.layer_sizes[-1]}, one a class"
                raise ValueError(f"Invalid class_weights. Expected {expected}. Received {self.class_weights}.")
        self.criterion = SoftmaxCrossEntropy(self.class_weights)

    def __repr__(self) -> str:
        """Show the arguments."""
        return (
            f"{type(self).__name__}({self.layer_sizes}, activation={self.activation!r}, dropout={self.dropout}, "
            f"l2={self.l2}, class_weights={self.class_weights}{self._own_parts()})"
        )

    def as_logits(self, outputs: Array) -> Array:
        """Return the `outputs` of the last layer, (n_rows, K): they are the logits."""
        return outputs

    def predict_proba(self, parameters: Arrays, inputs: Array) -> Array:
        """Return the probability of every class, (n_rows, K), for `parameters` and `inputs` as in `loss`."""
        return softmax(self.logits(parameters, inputs))

    def predict(self, parameters: Arrays, inputs: Array) -> Array:
        """Return the likeliest class, (n_rows,); `parameters` and `inputs` as in `loss`."""
        classes: Array = self.logits(parameters, inputs).argmax(axis=-1)
        return classes

    def checked_rows(
        self, inputs: ArrayLike, targets: ArrayLike, dtype: DTypeLike, *, both_classes: bool = True
    ) -> Rows:
        """Return `inputs`, as `dtype`, and as many `targets`, class numbers from 0; see `Network.checked_rows`.

        `both_classes` refuses rows of one class only.
        """
        rows = self.checked_inputs(inputs, dtype)
        labels = checked_classes(targets, rows, self.layer_sizes[-1], many=both_classes)
        return Rows(rows, labels, (np.dtype(dtype), np.dtype(np.intp)))

    def coordinate_losses(
        self, parameters: Arrays, inputs: Array, targets: Array, steps: Mapping[str, ArrayLike], rng: Rng = None
    ) -> dict[str, Array]:
        """Return the `loss` with each entry of some parameters moved alone, by each of its `steps`, as in `Network`."""
        return plain_losses(self, parameters, inputs, targets, checked_steps(self.shapes, steps), rng)


class SoftmaxCrossEntropy(WeightedBinaryCrossEntropy):
    """Negative log-likelihood of class numbers, from logits (…, n_rows, K): ``log(sum_k exp(z_k)) - z_y`` a row.

    With m the largest logit it is ``log1p(sum_{k ≠ m} exp(z_k - z_m)) - (z_y - z_m)``, which neither overflows nor
    loses the little that is left where the network is sure; its slope is ``softmax(z)``, less 1 at y.
    """

    def __init__(self, class_weights: Sequence[float] | None = None) -> None:
        super().__init__()
        self.class_weights = None if class_weights is None else np.asarray(class_weights)

    def per_row(self, logits: Array, targets: Array) -> Array:
        """Return the weighted loss of every row."""
        classes = targets.astype(np.intp, copy=False)
        shifted, odds = _odds(logits)
        losses: Array = np.log1p(odds.sum(axis=-1)) - shifted[..., np.arange(len(classes)), classes]
        if self.class_weights is not None:
            losses *= self._of(classes, losses)
        return losses

    def value_and_gradient(self, logits: Array, targets: Array) -> tuple[float, Array]:
        """Return the mean loss and its gradient, of the shape of real `logits`."""
        classes, every = targets.astype(np.intp, copy=False), np.arange(len(targets))
        losses = self.per_row(logits, classes)
        shifted, odds = _odds(logits)
        total = 1 + odds.sum(axis=1)
        gradient: Array = np.exp(shifted, out=shifted)
        gradient[every, classes] = 0
        gradient[every, classes] = -gradient.sum(axis=1)  # of p - 1, which would cancel
        gradient /= total[:, None]
        if self.class_weights is not None:
            gradient *= self._of(classes, gradient)[:, None]
        gradient /= len(classes)
        return float(np.add.reduce(losses)) / len(classes), gradient

    def _of(self, classes: Array, like: Array) -> Array:
        weights: Array = np.asarray(self.class_weights)[classes].astype(like.real.dtype)
        return weights


def softmax(logits: Array) -> Array:
    """Return the probabilities of real logits, without overflow."""
    odds: Array = np.exp(logits - logits.max(axis=-1, keepdims=True))
    odds /= odds.sum(axis=-1, keepdims=True)
    return odds


def _odds(logits: Array) -> tuple[Array, Array]:
    """Return the logits less the largest of their row, and the exponentials of all but that one."""
    top = logits.real.argmax(axis=-1)[..., None]
    shifted = logits - np.take_along_axis(logits, top, axis=-1)
    odds = np.exp(shifted)
    np.put_along_axis(odds, top, 0, axis=-1)
    return shifted, odds
