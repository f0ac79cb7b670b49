"""Optimizers: how a gradient moves the parameters, in place, as passes over one flat vector.

An optimizer holds its settings only. What it remembers of a fit is an `OptimizerState`, owned by the
trainer, so one optimizer serves any number of fits.
"""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from trainer.argument import FRACTION, NOT_NEGATIVE, POSITIVE, checked_number, described
from trainer.optimizers.schedules import LearningRate, checked_rate, rate_at
from trainer.rows import Array


@dataclass
class OptimizerState:
    """What an optimizer remembers between two updates.

    Attributes
    ----------
    n_updates : int
    moments : dict of str to ndarray of shape (n_parameters,)
        With `n_updates`, all that a checkpoint needs.
    scratch : ndarray of shape (n_parameters,)
        Working storage, of no meaning between updates: no update allocates.
    """

    n_updates: int
    moments: dict[str, Array]
    scratch: Array


class Optimizer(ABC):
    """Settings, and the rule for one update.

    Attributes
    ----------
    moment_names : tuple of str
        Of the vectors, one number a parameter, that an update finds in ``state.moments``.
    max_norm : float or None
        See `clipped`.
    """

    moment_names: tuple[str, ...] = ()
    max_norm: float | None = None

    def settings(self) -> dict[str, Any]:
        """Return what tells it from others of its class, which a checkpoint compares: its public attributes."""
        own = {name: value for name, value in vars(self).items() if not name.startswith("_") and value is not None}
        own.pop("moment_names", None)
        return own

    def __repr__(self) -> str:
        """Show the settings."""
        return described(self)

    def initial_state(self, n_parameters: int, dtype: DTypeLike = np.float64) -> OptimizerState:
        """Return the state before the first update, of `n_parameters` numbers of `dtype` a moment."""
        moments = {name: np.zeros(n_parameters, dtype) for name in self.moment_names}
        return OptimizerState(0, moments, np.empty(n_parameters, dtype))

    @abstractmethod
    def update(self, vector: Array, gradient: Array, state: OptimizerState) -> None:
        """Move `vector` against `gradient`, in place.

        Parameters
        ----------
        vector, gradient : ndarray of shape (n_parameters,)
            The gradient is only read.
        state : OptimizerState
            Goes on to the next update.
        """

    def clipped(self, gradient: Array, state: OptimizerState) -> Array:
        """Return `gradient`, or where it is longer than `max_norm`, it scaled down to that in ``state.scratch``.

        Parameters
        ----------
        gradient : ndarray of shape (n_parameters,)
        state : OptimizerState

        Notes
        -----
        The length is the Euclidean norm over all parameters: Pascanu et al., On the difficulty of training recurrent
        neural networks, ICML 2013, algorithm 1. A gradient that is not finite is given as it is.
        """
        if self.max_norm is None:
            return gradient
        square, largest = float(np.vdot(gradient, gradient)), 1.0  # vdot does not warn
        if math.sqrt(square) <= self.max_norm:
            return gradient
        if not math.isfinite(square):  # perhaps only the square is too large
            largest = float(np.abs(gradient).max())
            if not math.isfinite(largest):
                return gradient
            square = float(np.square(gradient / largest).sum())
        return np.multiply(gradient, self.max_norm / largest / math.sqrt(square), out=state.scratch)

    def _set_max_norm(self, max_norm: float | None) -> None:
        self.max_norm = None if max_norm is None else float(checked_number(max_norm, "max_norm", *POSITIVE))


class SGD(Optimizer):
    """Gradient descent with momentum.

    Parameters
    ----------
    learning_rate : float > 0 or function of the update, default=0.01
        A schedule such as `CosineSchedule`, or any function that gives the rate of the first update for 1, and so on.
    momentum : float in [0, 1), default=0.0
    max_norm : float > 0, optional
        A gradient whose Euclidean norm is above it is scaled down to it for the update; `TrainState.gradients` is not.

    Raises
    ------
    TypeError, ValueError
        If a setting is no number, or out of its range.

    Notes
    -----
    ``v = momentum · v + g``, then ``θ = θ - learning_rate · v``: Sutskever et al., On the importance of initialization
    and momentum in deep learning, ICML 2013, eq. 1-2; there v carries the learning rate, the same if that is constant.
    """

    def __init__(
        self, learning_rate: LearningRate = 0.01, momentum: float = 0.0, *, max_norm: float | None = None
    ) -> None:
        self.learning_rate = checked_rate(learning_rate)
        self.momentum: float = checked_number(momentum, "momentum", *FRACTION)
        self.moment_names = ("velocity",) if momentum else ()
        self._set_max_norm(max_norm)

    def update(self, vector: Array, gradient: Array, state: OptimizerState) -> None:
        """Apply the formula above to every entry."""
        state.n_updates += 1
        gradient = self.clipped(gradient, state)
        if self.momentum:
            velocity = state.moments["velocity"]
            velocity *= self.momentum
            velocity += gradient
            gradient = velocity
        np.multiply(gradient, rate_at(self.learning_rate, state.n_updates), out=state.scratch)
        vector -= state.scratch


class Adam(Optimizer):
    """Steps scaled by running moments of the gradient, entry by entry.

    Parameters
    ----------
    learning_rate : float > 0 or function of the update, default=1e-3
        As in `SGD`.
    beta_1, beta_2 : float in [0, 1), default=0.9, 0.999
        Decay of the first and of the second moment.
    epsilon : float > 0, default=1e-8
        Keeps the step finite where the gradient was always zero.
    max_norm : float > 0, optional
        A gradient whose Euclidean norm is above it is scaled down to it for the update; `TrainState.gradients` is not.
    weight_decay : float >= 0, default=0.0
        Decoupled decay of all parameters, AdamW: before its step each loses this share, times the learning rate.

    Raises
    ------
    TypeError, ValueError
        If a setting is no number, or out of its range.

    Notes
    -----
    ``m = β₁ m + (1-β₁) g``, ``v = β₂ v + (1-β₂) g²``, and at update t
    ``θ = θ - learning_rate · m̂ / (√v̂ + epsilon)`` with ``m̂ = m / (1-β₁ᵗ)``, ``v̂ = v / (1-β₂ᵗ)``: Kingma and Ba,
    Adam: a method for stochastic optimization, ICLR 2015, algorithm 1. The decay is before that
    ``θ = θ - learning_rate · weight_decay · θ``: Loshchilov and Hutter, Decoupled weight decay regularization, ICLR
    2019, algorithm 2, with η as the schedule.

    Kept are the plain sums ``M = m / (1-β₁)`` and ``V = v / (1-β₂)``, which need two passes less. With
    ``r = √((1-β₂) / (1-β₂ᵗ))`` the step is ``rate · M / (√V + epsilon / r)``, where the scalar
    ``rate = learning_rate · (1-β₁) / ((1-β₁ᵗ) · r)`` takes in every correction.
    """

    moment_names = ("first", "second")

    def __init__(
        self,
        learning_rate: LearningRate = 1e-3,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        *,
        max_norm: float | None = None,
        weight_decay: float = 0.0,
    ) -> None:
        self.learning_rate = checked_rate(learning_rate)
        self.beta_1: float = checked_number(beta_1, "beta_1", *FRACTION)
        self.beta_2: float = checked_number(beta_2, "beta_2", *FRACTION)
        self.epsilon: float = checked_number(epsilon, "epsilon", *POSITIVE)
        self._set_max_norm(max_norm)
        self.weight_decay: float = checked_number(weight_decay, "weight_decay", *NOT_NEGATIVE)

    def settings(self) -> dict[str, Any]:
        """Return the settings, but for a decay that there is not."""
        own = super().settings()
        return own if self.weight_decay else {name: own[name] for name in own if name != "weight_decay"}

    def update(self, vector: Array, gradient: Array, state: OptimizerState) -> None:
        """Apply the formula above to every entry."""
        epsilon, rate = self.begin(vector, state)
        gradient = self.clipped(gradient, state)
        first, second, scratch = state.moments["first"], state.moments["second"], state.scratch
        first *= self.beta_1
        first += gradient
        second *= self.beta_2
        np.multiply(gradient, gradient, out=scratch)
        second += scratch
        np.sqrt(second, out=scratch)
        scratch += epsilon
        np.divide(first, scratch, out=scratch)
        scratch *= rate
        vector -= scratch

    def begin(self, vector: Array, state: OptimizerState) -> tuple[float, float]:
        """Return ``epsilon / r`` and ``rate`` of one more update, counted in `state`; before it, let `vector` decay."""
        state.n_updates += 1
        t = state.n_updates
        learning_rate = rate_at(self.learning_rate, t)
        if self.weight_decay:
            vector *= 1 - learning_rate * self.weight_decay
        r = math.sqrt((1 - self.beta_2) / (1 - self.beta_2**t))
        return self.epsilon / r, learning_rate * (1 - self.beta_1) / ((1 - self.beta_1**t) * r)
