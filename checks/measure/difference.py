"""The difference of two gradients: the one number of the classic check."""

import math
from collections.abc import Iterable, Mapping

import numpy as np

from checks.measure.layout import Array, Structure


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
        difference, scale = np.linalg.norm(left - right), np.linalg.norm(left) + np.linalg.norm(right)
        if np.isinf(scale) and np.isfinite(left).all() and np.isfinite(right).all():  # their squares overflow
            largest_entry = max(np.abs(left).max(), np.abs(right).max())
            return relative_difference(left / largest_entry, right / largest_entry)
    return float(difference) / float(scale) if scale != 0.0 else 0.0


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
