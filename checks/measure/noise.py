"""The noise of a loss: what rounding does to one evaluation, measured where a verdict hangs on it."""

import numpy as np

from checks.measure.objective import EPS, REPEAT, ROUNDING, Objective

#: How far the search for the grain of the loss goes, in units of max(1, |theta|).
FAR = 1e-3


def noise(objective: Objective) -> float:
    """Bound the rounding error of one evaluation, by measuring it near the point.

    The loss is evaluated where every coordinate is moved by at most one unit in the last place: what it changes
    by cannot be told from rounding. Three such evaluations, kept with the objective; and where it does not
    change at all, those of `_grain`.
    """
    if objective.noise is None:
        rng = np.random.default_rng(0)  # which last places are moved is no secret and needs no seed
        moved = [objective.at(objective.nudged(rng)) - objective.value for _ in range(3)]
        unit, change = EPS * abs(objective.value), max(map(abs, moved))
        grain = _grain(objective, rng) if change == 0.0 else 0.0
        objective.noise = max(ROUNDING * unit, 4.0 * grain, 4.0 * change)
        if grain > REPEAT * unit:
            objective.noise = ROUNDING * grain
            objective.notes.append(f"the loss moves in steps of {grain:.1g}: is it computed in single precision")
    return objective.noise


def _grain(objective: Objective, rng: np.random.Generator) -> float:
    """Give the smallest change that the loss shows as the point moves away, at first by a last place only.

    It is about a last place of the loss, and far more where the loss is computed in single precision, or
    rounded, or something large is added and taken away.
    """
    direction = objective.scale() * rng.uniform(-1.0, 1.0, objective.point.size)
    step = EPS
    while step < FAR:
        change = abs(objective.along(direction, step) - objective.value)
        if change > 0.0:  # at the first step already, it is a slope and says nothing
            return change if step > EPS else 0.0
        step *= 8.0
    return 0.0


def floor(objective: Objective) -> float:
    """Bound the rounding inside a gradient, along a direction of unit length in units of ``max(1, |theta|)``.

    A backward pass makes small slopes out of differences of larger numbers, of which only the final result is
    seen here. Those numbers are taken to be as large as 1, the loss, or the largest slope.
    """
    slopes = 0.0 if objective.gradient is None else np.max(np.abs(objective.gradient) * objective.scale())
    return ROUNDING * EPS * float(max(1.0, abs(objective.value), slopes))


def spread(objective: Objective) -> float:
    """Give the largest change between three evaluations at the same point, in units of the loss."""
    return max(abs(objective.at(objective.point) - objective.value) for _ in range(2))


def repeats(objective: Objective) -> bool:
    """Say whether the loss gives the same number at the same point, up to rounding."""
    return spread(objective) <= REPEAT * EPS * abs(objective.value)
