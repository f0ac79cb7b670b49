"""The power of a pass: how large an error can hide from random directions."""

from functools import lru_cache
from statistics import NormalDist

#: Probability with which an error is excluded.
CONFIDENCE = 0.99


def excluded_error(slope_error: float, reach: float, checks: int = 1) -> float:
    """Say how large an error can hide behind readings along Gaussian directions.

    Parameters
    ----------
    slope_error : float
        What was left between the two slopes, rounding bound included.
    reach : float
        Standard deviation of the direction's coordinates in the tensor.
    checks : int, default=1
        Number of fresh directions that read no more than this.

    Returns
    -------
    float
        The norm that an error of the gradient stays below with 99 % probability, in units of the gradient.

    Notes
    -----
    An error ``e`` shows along ``d ~ N(0, reach²)`` as ``e·d ~ N(0, reach²·||e||²)``, whatever its shape. It stays
    below ``slope_error`` in all of ``checks`` fresh directions with probability
    ``(2·Phi(slope_error / (reach·||e||)) - 1)**checks``; set that to 1 %. For one direction this is the familiar
    ``P(miss) = 0.80 · slope_error / (reach · ||e||)``.
    """
    missed = (1.0 - CONFIDENCE) ** (1.0 / checks)
    return slope_error / (reach * normal_quantile(missed))


@lru_cache(maxsize=64)
def normal_quantile(probability: float) -> float:
    """Give ``q`` such that a standard normal lies within ``±q`` with this probability."""
    return NormalDist().inv_cdf(0.5 * (1.0 + probability))
