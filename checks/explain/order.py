"""Orders: a gradient with the right numbers in the wrong places, and how they were moved."""

from collections.abc import Iterator
from itertools import combinations

import numpy as np

from checks.explain.entries import Suspect
from checks.explain.factors import EXPLAINED
from checks.explain.mistake import Kind, Mistake
from checks.measure.difference import euclidean
from checks.measure.layout import Array

#: Bounds above this share of the error hide whether a move explains it.
BLURRED = 0.1
#: The longest order that is said line by line, and the largest search for one, in comparisons.
SAID = 12
SEARCHED = 20_000_000


def misplaced(suspect: Suspect, of: str) -> Mistake | None:
    """Match the right numbers in the wrong places, and say the order; ``of`` is what the owner calls the gradient.

    Sorted, they must agree far better than in their places: two gradients that differ by little are close in any order.
    """
    gradient, numerical, name = suspect.gradient, suspect.numerical, suspect.name
    size, noise = _norm(suspect.error), 4.0 * _norm(suspect.bounds)
    if gradient.size < 2 or not suspect.known.all() or noise > BLURRED * size:
        return None
    allowed = EXPLAINED * size + noise
    if _norm(np.sort(gradient, axis=None) - np.sort(numerical, axis=None)) > allowed:
        return None
    for first, second in _square_axes(numerical):
        if _norm(gradient - np.swapaxes(numerical, first, second)) <= allowed:
            sentence = f"{name}: backprop is transposed, its axes {first} and {second} are swapped: look at {of}."
            return Mistake(Kind.TRANSPOSED, sentence)
    close = 4.0 * float(suspect.bounds.max())
    order = "".join(f": {words}" for words in _orders(gradient, numerical, allowed, close))
    sentence = f"{name}: backprop has the right numbers in the wrong places{order}. Look at the indices in {of}."
    return Mistake(Kind.MISPLACED, sentence)


def _orders(gradient: Array, numerical: Array, allowed: float, close: float) -> list[str]:
    """Say how the numbers were moved, in one way, or in none if no way is regular."""
    axes = [axis for axis, length in enumerate(gradient.shape) if length > 1]
    for axis in axes:
        to, of = (np.moveaxis(part, axis, 0).reshape(part.shape[axis], -1) for part in (gradient, numerical))
        words = _order(to, of, _lines(gradient.shape, axis), allowed, close)
        if words:
            return [words]
    for some in (some for count in range(2, len(axes) + 1) for some in combinations(axes, count)):
        if _norm(gradient - np.flip(numerical, some)) <= allowed:
            return [f"in reverse order along axes {', '.join(map(str, some))}"]
    flat = gradient.reshape(-1, 1), numerical.reshape(-1, 1)
    words = _order(*flat, "entries", allowed, close) if len(axes) > 1 else ""
    return [words] if words else []


def _lines(shape: tuple[int, ...], axis: int) -> str:
    if len(shape) == 2 and min(shape) > 1:
        return ("rows", "columns")[axis]
    return "entries" if max(shape) == np.prod(shape) else f"lines of axis {axis}"


def _square_axes(values: Array) -> Iterator[tuple[int, int]]:
    if values.ndim > 2:
        for first, second in combinations(range(values.ndim), 2):
            if values.shape[first] == values.shape[second]:
                yield first, second


def _order(to: Array, of: Array, lines: str, allowed: float, close: float) -> str:
    """Say in which order the lines stand, if that is all there is to it; else nothing."""
    n = len(to)
    order = _nearest(to, of, close)
    if order is None:
        return ""
    moved = np.flatnonzero(order != np.arange(n))
    is_order = _norm(to - of[order]) <= allowed
    if is_order and len(moved) == 2:
        return f"{lines} {moved[0]} and {moved[1]} are swapped"
    if _norm(to - of[::-1]) <= allowed:
        return f"{lines} in reverse order"
    shift = int(-order[0] % n)
    if _norm(to - np.roll(of, shift, axis=0)) <= allowed:
        by, towards = (shift, "end") if 2 * shift <= n else (n - shift, "front")
        return f"{lines} shifted by {'one' if by == 1 else by} towards the {towards}"
    return f"{lines} in the order {', '.join(map(str, order))}" if is_order and n <= SAID else ""


def _nearest(to: Array, of: Array, close: float) -> Array | None:
    """Find for each line the line it was: the nearest that is left, and its own place where that is as near."""
    n, width = to.shape
    if n * n * width > SEARCHED:
        return None
    order, free = np.empty(n, dtype=int), np.ones(n, dtype=bool)
    for i in range(n):
        apart = np.where(free, np.abs(of - to[i]).max(axis=1), np.inf)
        nearest = int(np.argmin(apart))
        order[i] = i if apart[i] <= apart[nearest] + close else nearest
        free[order[i]] = False
    return order


def _norm(values: Array) -> float:
    return euclidean(values.ravel())
