"""How the options of the command line are read: each reader says what it expected and received."""

import argparse
import difflib
import math
from collections.abc import Callable

from experiments.bugs.bugs import BUGS, EXERCISE

LIST_BUGS = "list"


def integer(least: int, most: int | None = None) -> Callable[[str], int]:
    """Read an integer in a range."""
    expected = f"an integer of at least {least}" if most is None else f"an integer from {least} to {most}"

    def read(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = least - 1
        if value < least or (most is not None and value > most):
            raise argparse.ArgumentTypeError(f"invalid value. Expected {expected}. Received {text!r}.")
        return value

    return read


def number(expected: str, accepts: Callable[[float], bool]) -> Callable[[str], float]:
    """Read a finite number that is accepted; NaN never is, for it fails every comparison."""

    def read(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not accepts(value):
            raise argparse.ArgumentTypeError(f"invalid value. Expected a finite number {expected}. Received {text!r}.")
        return value

    return read


positive = number("above 0", lambda x: 0 < x < math.inf)


def one_of(*names: str) -> Callable[[str], str]:
    """Read one of some names."""

    def read(text: str) -> str:
        if text not in names:
            raise argparse.ArgumentTypeError(f"invalid value. Expected {' or '.join(names)}. Received {text!r}.")
        return text

    return read


def bug(text: str) -> str:
    """Read the name of a mistake."""
    names = (*EXERCISE, *BUGS, LIST_BUGS)
    if text not in names:
        close = difflib.get_close_matches(text, names, n=1) or ["dW2"]
        raise argparse.ArgumentTypeError(
            f"no such mistake. Expected a name that --bug {LIST_BUGS} shows, such as {close[0]}. Received {text!r}."
        )
    return text


def path(text: str) -> str:
    """Read the path of a file or folder; the empty one would be the current folder."""
    if not text:
        raise argparse.ArgumentTypeError("invalid value. Expected a path. Received ''.")
    return text
