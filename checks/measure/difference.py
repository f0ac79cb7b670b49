"""The difference of two gradients: the one number of the classic check."""

import math
from collections.abc import Iterable, Mapping

import numpy as np

from checks.measure.layout import Array, Structure

TINY = 1e-280  # of a sum of squares: below, they may have lost digits


def relative_difference(gradient: Structure, gradapprox: Structure) -> float:
    """Compare two gradients by the classic number, dimensionless, from 0 (equal) to 1 (opposite).

    Parameters
    ----------
    gradient, gradapprox : float, array, dict of arrays, or sequence of arrays
        The two gradients, of the same structure.

    Returns
    -------
    float
        ``||gradient - gradapprox|| / (||gradient|| + ||gradapprox||)`` with Euclidean norms over all
        coordinates; 0 where both are exactly zero; NaN where one of them holds NaN.
    """
    if isinstance(gradient, Mapping) and isinstance(gradapprox, Mapping):
        left, right = (_flat([part[name] for name in gradient]) for part in (gradient, gradapprox))
    else:
        left, right = _flat(gradient), _flat(gradapprox)
    scale = euclidean(left) + euclidean(right)
    if math.isinf(scale):
        left, right = 0.25 * left, 0.25 * right
        scale = euclidean(left) + euclidean(right)
    return euclidean(left - right) / scale if scale != 0.0 else 0.0


def euclidean(vector: Array) -> float:
    """Give the Euclidean norm, also where the squares overflow or vanish: then the entries are scaled first."""
    squares = float(np.vdot(vector, vector))  # which does not warn
    if TINY < squares < math.inf or not vector.size:
        return math.sqrt(squares)
    with np.errstate(over="ignore", under="ignore"):
        top = float(np.max(np.abs(vector)))
        if top == 0.0 or not math.isfinite(top):
            return top
        scaled = vector / top
        return top * math.sqrt(float(np.vdot(scaled, scaled)))


def largest(values: Iterable[float]) -> float:
    """Give the largest value; NaN wins, for a difference that is not known is not small."""
    found = 0.0
    for value in values:
        if not value <= found:  # NaN is no less than anything
            if value != value:
                return math.nan
            found = value
    return found


def _flat(structure: Structure) -> Array:
    values = structure if isinstance(structure, list | tuple) else [structure]
    return np.concatenate([np.ravel(np.asarray(value, dtype=np.float64)) for value in values])
