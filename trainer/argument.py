"""Argument: a number that a user hands in, checked before anything is computed with it."""

from collections.abc import Callable
from typing import Any

import numpy as np


def is_integer(value: Any) -> bool:
    """Say whether it is an integer of Python's or numpy's; True and False are none."""
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def is_number(value: Any) -> bool:
    """Say whether it is a real number of Python's or numpy's, NaN and the infinities included."""
    return isinstance(value, float | np.floating) or is_integer(value)


def checked_integer(
    value: Any, what: str, least: int, most: int | None = None, *, wrong_kind: type[Exception] = TypeError
) -> int:
    """Return an integer in range, as Python's; refuse another one by ValueError, and anything else by `wrong_kind`."""
    if is_integer(value) and value >= least and (most is None or value <= most):
        return int(value)
    expected = f"an integer, at least {least}" if most is None else f"an integer from {least} to {most}"
    error = ValueError if is_integer(value) else wrong_kind
    raise error(f"Invalid {what}. Expected {expected}. Received {value!r}.")


def check_number(value: Any, what: str, expected: str, accepts: Callable[[float], bool]) -> None:
    """Refuse what is no real number by TypeError, and what `accepts` says is out of range, as NaN is, by ValueError."""
    message = f"Invalid {what}. Expected {expected}. Received {value!r}."
    if not is_number(value):
        raise TypeError(message)
    try:
        accepted = accepts(float(value))
    except OverflowError:  # an integer beyond every float
        accepted = False
    if not accepted:
        raise ValueError(message)
