"""The options that every check takes: their defaults and their ranges."""

import math

import numpy as np

from checks.measure.slopes import STEP

SMALLEST_STEP = 1e-100  # far below what moves a float64, and far from where arithmetic loses its digits
THRESHOLD = 1e-7  # the classic one: below it, the exercise calls a gradient right


def validate_options(coverage: str, derivative: str | None, threshold: float, step: float | None) -> None:
    """Refuse options out of range.

    Raises
    ------
    ValueError
        With what was expected and what was received.
    """
    if not isinstance(coverage, str) or coverage not in ("full", "directions"):
        raise ValueError(f"coverage is unknown. Expected 'full' or 'directions'. Received {coverage!r}.")
    if derivative is not None and (not isinstance(derivative, str) or derivative not in ("central", "complex")):
        raise ValueError(f"derivative is unknown. Expected 'central' or 'complex'. Received {derivative!r}.")
    step = STEP if step is None else step
    for name, value, most in (("threshold", threshold, 1.0), ("step", step, math.inf)):
        number = isinstance(value, int | float | np.floating) and not isinstance(value, bool)
        if not number or not 0.0 < value < most:  # a relative difference is never above 1
            below = f" and < {most:g}" if most < math.inf else ""
            raise ValueError(f"{name} is out of range. Expected a finite number > 0{below}. Received {value!r}.")
    if step < SMALLEST_STEP:
        raise ValueError(f"step is too small to divide by. Expected at least {SMALLEST_STEP:g}. Received {step!r}.")
