"""Factors: what a gradient is multiplied by, as somebody would write it."""

import math

from checks.explain.entries import Suspect
from checks.explain.mistake import Hints
from checks.measure.difference import euclidean

#: Two factors are one below this relative difference; so is what is left of an error that is explained.
EXPLAINED = 1e-3
#: A factor this close to a whole number, or to one over it, relatively, is called that.
WHOLE = 1e-4
#: Below, some whole number is always close to the inverse.
WHOLE_AT_LEAST = 1e-3
#: Inverses that are as short as decimals.
DECIMAL = (2, 4, 5, 10)
#: Whole factors, and their inverses, that are looked for where the measurement is coarse.
SMALL = range(2, 11)
#: What may be left of an error, as a share, where a factor is looked for among those that somebody would write; and how
#: many times less it must be than with the next of them.
COARSE = 0.2
CLEARLY = 3.0


def is_written(factor: float) -> bool:
    """Say whether it is a small whole number or one over it, up to its sign."""
    whole = max(abs(factor), 1.0 / abs(factor)) if factor else 0.0
    return whole < 100.0 and abs(whole - round(whole)) < EXPLAINED


def is_same(left: float | None, right: float | None) -> bool:
    """Say whether two factors are one, up to what two fits of the error, which is a multiple less by 1, leave open."""
    if left is None or right is None or not math.isclose(left, right, rel_tol=EXPLAINED):
        return False
    return math.isclose(left - 1.0, right - 1.0, rel_tol=2.0 * EXPLAINED)


def named(factor: float, hints: Hints) -> str:
    """Name a factor: as the hints do, as a whole number, as one over it, or by its digits."""
    for value, text in hints.factors.items():
        for inverse, known in (("", value), ("1 / ", 1.0 / value)):
            if abs(factor / known - 1.0) < EXPLAINED:
                return f"{inverse}{text}"
    below = round(1.0 / factor) if abs(factor) > WHOLE_AT_LEAST else 0
    if abs(below) > 1 and abs(below) not in DECIMAL and abs(below * factor - 1.0) < WHOLE:
        return f"{'-' if below < 0 else ''}1 / {abs(below)}"
    return digits(factor)


def digits(factor: float) -> str:
    """Show enough digits to tell it from 1."""
    return f"{factor:.8g}" if abs(factor - 1.0) <= 1e-2 else f"{factor:.4g}"


def through_noise(suspect: Suspect, hints: Hints) -> float | None:
    """Find the one factor that somebody would write and that the bounds allow, where they are too wide for a fit.

    The largest bound stands for all: it comes from the entry that was looked into, and tells the noise of the loss.
    """
    known = suspect.known
    gradient, numerical, root = suspect.gradient[known], suspect.numerical[known], math.sqrt(known.sum())
    size, norm, slopes = euclidean(suspect.error[known]), euclidean(gradient), euclidean(numerical)
    noise = 4.0 * float(suspect.bounds[known].max(initial=0.0)) * root
    if noise <= EXPLAINED * size or min(norm, slopes) == 0.0:
        return None
    whole = {1.0, *map(float, SMALL), *hints.factors}
    written = {0.0} | {sign * factor for n in whole for factor in (n, 1.0 / n) for sign in (1.0, -1.0)}
    left = {factor: euclidean(gradient - factor * numerical) for factor in written}
    best, second = sorted(written, key=left.__getitem__)[:2]
    # The noise of a measured slope is multiplied, too.
    allowed = min(EXPLAINED * size + abs(best) * noise, COARSE * size, left[second] / CLEARLY)
    if best in (0.0, 1.0) or left[best] > allowed:
        return None
    # Many entries tell a factor better than one: what they say together must not be another.
    blur = left[best] / norm
    mean = float(gradient @ numerical) / slopes**2
    return best if abs(mean / best - 1.0) <= EXPLAINED + 4.0 * blur / root + 2.0 * blur**2 else None
