"""The difference of two gradients: the one number of the classic check."""

import math
from collections.abc import Iterable, Mapping

import numpy as np

from checks.measure.layout import Array, Structure

#: The square of a smaller number has lost digits, or is zero.
SQUARABLE = 1e-140


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
    with np.errstate(over="ignore"):
        scale = float(np.linalg.norm(left) + np.linalg.norm(right))
    if not SQUARABLE < scale < math.inf:  # squares of what is finite may not be, and may vanish
        most = float(max(np.abs(left).max(initial=0.0), np.abs(right).max(initial=0.0)))
        if 0.0 < most < math.inf:
            left, right = left / most, right / most
            scale = float(np.linalg.norm(left) + np.linalg.norm(right))
    return float(np.linalg.norm(left - right)) / scale if scale != 0.0 else 0.0


def norm(vector: Array) -> float:
    """Give the Euclidean norm; where squares overflow, of the vector scaled by its largest entry."""
    with np.errstate(over="ignore"):
        found = math.sqrt(vector @ vector)
    if math.isfinite(found):
        return found
    most = float(np.abs(vector).max())
    return most * norm(vector / most) if most < math.inf else most


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
