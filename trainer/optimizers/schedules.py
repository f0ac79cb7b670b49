"""Schedules: the learning rate as a function of the update, counted from 1, and of nothing else.

So a resumed run goes on where it was, and a second fit begins at the beginning.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

from trainer.argument import NOT_NEGATIVE, POSITIVE, checked_integer, checked_number

Schedule = Callable[[int], float]
LearningRate = float | Schedule


def checked_rate(learning_rate: LearningRate) -> LearningRate:
    """Return a learning rate, or a function that gives one; anything else is a TypeError or ValueError."""
    if callable(learning_rate):
        return learning_rate
    expected, accepts = POSITIVE
    rate: float = checked_number(learning_rate, "learning_rate", f"{expected}, or a function of the update", accepts)
    return rate


def rate_at(learning_rate: LearningRate, update: int) -> float:
    """Return the learning rate of one update, the first of which is 1."""
    if not callable(learning_rate):
        return learning_rate
    rate: float = checked_number(learning_rate(update), f"learning rate of update {update}", *NOT_NEGATIVE)
    return rate


@dataclass(frozen=True)
class CosineSchedule:
    """From a peak along half a cosine down to a final rate, which then stays.

    Parameters
    ----------
    peak : float > 0
        Of the first update.
    updates : int >= 1
        After so many it is at the end.
    final : float >= 0, default=0.0

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong kind or out of its range.

    Notes
    -----
    ``final + (peak - final) / 2 · (1 + cos(π t / updates))`` at t updates made: Loshchilov and Hutter, SGDR: Stochastic
    gradient descent with warm restarts, ICLR 2017, eq. 5, without the restarts.
    """

    peak: float
    updates: int
    final: float = 0.0

    def __post_init__(self) -> None:
        """Refuse what is no schedule."""
        checked_number(self.peak, "peak", *POSITIVE)
        checked_integer(self.updates, "updates", 1)
        checked_number(self.final, "final", *NOT_NEGATIVE)

    def __call__(self, update: int) -> float:
        """Return the learning rate of an `update`, the first of which is 1."""
        share = min(1.0, (update - 1) / self.updates)
        return self.final + (self.peak - self.final) / 2 * (1 + math.cos(math.pi * share))


@dataclass(frozen=True)
class StepSchedule:
    """From a first rate down by a factor every so many updates.

    Parameters
    ----------
    first : float > 0
        Of the first update.
    every : int >= 1
        Updates between two steps.
    factor : float > 0, default=0.1

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong kind or out of its range.
    """

    first: float
    every: int
    factor: float = 0.1

    def __post_init__(self) -> None:
        """Refuse what is no schedule."""
        checked_number(self.first, "first", *POSITIVE)
        checked_integer(self.every, "every", 1)
        checked_number(self.factor, "factor", *POSITIVE)

    def __call__(self, update: int) -> float:
        """Return the learning rate of an `update`, the first of which is 1."""
        rate: float = self.first * self.factor ** ((update - 1) // self.every)
        return rate


@dataclass(frozen=True)
class WarmupSchedule:
    """Straight up to a rate over the first updates, and from there on as that, or as the schedule that begins with it.

    Parameters
    ----------
    updates : int >= 1
        How many; the last of them has the full rate.
    then : float > 0 or function of the update
        The rate, or a schedule, which then begins with its first update.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong kind or out of its range.
    """

    updates: int
    then: LearningRate

    def __post_init__(self) -> None:
        """Refuse what is no schedule."""
        checked_integer(self.updates, "updates", 1)
        checked_rate(self.then)

    def __call__(self, update: int) -> float:
        """Return the learning rate of an `update`, the first of which is 1."""
        if update <= self.updates:
            return rate_at(self.then, 1) * update / self.updates
        return rate_at(self.then, update - self.updates)
