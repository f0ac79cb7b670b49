"""Losses: what training makes small; each value beside its gradient.

Both are analytic in complex arguments, branching on the real part only, so that the complex step holds.
"""

from collections.abc import Iterable

import numpy as np

from trainer.argument import NOT_NEGATIVE, POSITIVE, checked_number
from trainer.network.parameters import Array, Arrays


def sigmoid(logits: Array) -> Array:
    """Return ``1 / (1 + exp(-z))`` of real logits, without overflow."""
    return _parts(logits)[2]


def _parts(margins: Array) -> tuple[Array, Array, Array]:
    """Return ``max(u, 0)``, ``log1p(exp(-|u|))`` and ``sigmoid(u)``: most of their passes are the same ones.

    ``exp(min(u, 0))`` is 1 for ``u >= 0`` and ``exp(-|u|)``, which cannot overflow, otherwise: the sigmoid's
    numerator.
    """
    low, high = np.minimum(margins, 0), np.maximum(margins, 0)
    decay = np.exp(low - high)
    rest = np.log1p(decay)
    decay += 1
    probabilities: Array = np.exp(low, out=low)
    probabilities /= decay
    return high, rest, probabilities


class WeightedBinaryCrossEntropy:
    """Negative log-likelihood of 0/1 targets, from logits; the rare class may weigh more.

    Parameters
    ----------
    positive_weight : float > 0, default=1.0
        Weight of a row with target 1; a row with target 0 weighs 1.

    Raises
    ------
    TypeError, ValueError
        If `positive_weight` is no number, or not positive and finite.

    Notes
    -----
    From ``-y log(s(z)) - (1-y) log(1-s(z))`` with ``s(z) = 1 / (1 + exp(-z))``, per row

    ``loss = w (max(z, 0) - z y + log1p(exp(-|z|)))``, ``w = positive_weight if y == 1 else 1``

    which neither overflows nor needs a clip. ``log(1 + exp(z))`` has the derivative ``s(z)``, therefore
    ``dloss/dz = w (s(z) - y)``; the mean over rows divides it by n_rows.
    """

    def __init__(self, positive_weight: float = 1.0) -> None:
        self.positive_weight: float = checked_number(positive_weight, "positive_weight", *POSITIVE)

    def per_row(self, logits: Array, targets: Array) -> Array:
        """Return the weighted loss of every row.

        Parameters
        ----------
        logits : ndarray of shape (..., n_rows)
            Real or complex.
        targets : ndarray of shape (n_rows,)
            0 or 1.

        Returns
        -------
        ndarray of shape (..., n_rows)
            In nats.
        """
        targets = targets.astype(logits.real.dtype, copy=False)
        losses: Array
        if logits.dtype.kind == "c":
            positive = logits.real > 0
            losses = np.log1p(np.exp(np.where(positive, -logits, logits)))
            losses += logits * (positive - targets)
        else:
            decay = np.abs(logits)
            np.exp(np.negative(decay, out=decay), out=decay)
            losses = np.maximum(logits, 0)
            losses -= logits * targets
            losses += np.log1p(decay, out=decay)
        if self.positive_weight != 1:
            losses *= self._weights(targets)
        return losses

    def value(self, logits: Array, targets: Array) -> float | complex:
        """Return the mean of `per_row`, of `logits` and `targets`, over the rows; it is complex for complex logits."""
        losses = self.per_row(logits, targets)
        mean: float | complex = np.add.reduce(losses, axis=None).item() / losses.size
        return mean

    def value_and_gradient(self, logits: Array, targets: Array) -> tuple[float, Array]:
        """Return the mean loss and its gradient by real `logits`: of shape (n_rows,), as they and the `targets` are.

        Both in terms of ``u = z`` where the target is 0 and ``u = -z`` where it is 1: ``softplus(u)`` and ``±s(u)``.
        The textbook's ``s(z) - y`` cancels where the network is sure and right: at z = 40 it gives 0 for ``-4e-18``,
        and a check that can tell rightly complains.
        """
        n_rows = len(logits)
        signs = 1 - 2 * targets.astype(logits.dtype, copy=False)
        losses, rest, gradient = _parts(signs * logits)
        losses += rest
        gradient *= signs
        if self.positive_weight != 1:
            weights = self._weights(targets)
            losses *= weights
            gradient *= weights
        gradient /= n_rows
        return float(np.add.reduce(losses)) / n_rows, gradient

    def _weights(self, targets: Array) -> Array:
        weights: Array = 1 + (self.positive_weight - 1) * targets
        return weights


class L2Penalty:
    """A pull of the weights towards zero; biases are left alone.

    Parameters
    ----------
    strength : float >= 0, default=0.0
        λ below, dimensionless.

    Raises
    ------
    TypeError, ValueError
        If `strength` is no number, or negative or not finite.

    Notes
    -----
    ``λ/2 · sum(W · W)`` over the weights, whose gradient is ``λ W``. The square is ``W · W``, not ``|W|²``, so that it
    is analytic in a complex W.
    """

    def __init__(self, strength: float = 0.0) -> None:
        self.strength: float = checked_number(strength, "L2 strength", *NOT_NEGATIVE)

    def value(self, parameters: Arrays, names: Iterable[str]) -> float | complex:
        """Return the penalty of the weights `names` of `parameters`; it is complex where they are."""
        if not self.strength:
            return 0.0
        flat = (parameters[name].ravel() for name in names)
        total: float | complex = sum(np.dot(weight, weight).item() for weight in flat)
        return self.strength / 2 * total

    def add_gradient(self, parameters: Arrays, gradients: Arrays, names: Iterable[str]) -> None:
        """Add the gradient of `value` at `parameters` to `gradients`, in place, for each of `names`."""
        if not self.strength:
            return
        for name in names:
            gradient = gradients[name]
            gradient += self.strength * parameters[name]

    def change(self, weight: Array, step: Array | complex) -> Array | float:
        """Return by how much `value` grows when each entry alone moves by its `step`.

        ``λ/2 ((w + s)² - w²) = λ s (w + s/2)``, in the shape of `weight`; a step is one number or of that shape, too.
        """
        if not self.strength:
            return 0.0
        growth: Array = self.strength * step * (weight + step / 2)
        return growth
