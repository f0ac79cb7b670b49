"""Argument: a number that a user hands in, checked before anything is computed with it."""

from collections.abc import Callable
from typing import Any

import numpy as np


def check_number(value: Any, what: str, expected: str, accepts: Callable[[float], bool]) -> None:
    """Refuse what is no real number, or is out of range.

    Parameters
    ----------
    value : object
    what, expected : str
        For the message.
    accepts : callable
        Says whether the number is in range; NaN fails every comparison.

    Raises
    ------
    TypeError
        If it is no number.
    ValueError
        If it is not accepted.
    """
    message = f"Invalid {what}. Expected {expected}. Received {value!r}."
    if isinstance(value, bool) or not isinstance(value, (int, float, np.integer, np.floating)):
        raise TypeError(message)
    try:
        accepted = accepts(float(value))
    except OverflowError:  # an integer beyond every float
        accepted = False
    if not accepted:
        raise ValueError(message)
