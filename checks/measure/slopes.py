"""The slope of a loss along one direction, measured two ways, each with a bound on its rounding error."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from checks.measure.layout import Array, Structure
from checks.measure.objective import EPS, ROUNDING, Objective
from checks.options import STEP

#: The imaginary step moves no real part, so it only has to be far below sqrt(eps) and far above underflow
#: (Squire and Trapp, SIAM Review 40(1), 1998; Martins, Sturdza and Alonso, ACM TOMS 29(3), 2003).
IMAGINARY_STEP = 1e-30
#: Points at which the slopes around a kink are sampled.
AROUND = 8


@dataclass(frozen=True)
class Slope:
    """A measured slope: ``value`` is off by at most ``bound`` for rounding, in units of loss per parameter."""

    value: float
    bound: float


@dataclass(frozen=True)
class Reading:
    """One direction, what the gradient claims of it, and what was measured."""

    direction: Array
    claimed: float
    slope: Slope

    @property
    def signed_mismatch(self) -> float:
        """Claimed less measured slope; NaN where the loss is not finite."""
        return self.claimed - self.slope.value

    @property
    def mismatch(self) -> float:
        """How far the two slopes lie apart."""
        return abs(self.signed_mismatch)


SlopeMeasure = Callable[[Objective, Array], Slope]


def numerical_gradient(loss: Callable[[Any], float], parameters: Structure, step: float = STEP) -> Any:
    """Approximate a gradient by central differences, one coordinate at a time.

    Parameters
    ----------
    loss : callable
        Takes the parameters, returns one real number.
    parameters : float, array, dict of arrays, or sequence of arrays
        Where to differentiate; never written to.
    step : float, default=1e-5
        Absolute step of every coordinate.

    Returns
    -------
    same structure as ``parameters``
        ``(J(theta + step) - J(theta - step)) / (2 · step)`` for each coordinate.

    Notes
    -----
    This is the classic formula and nothing else: no verdict, no look at kinks or rounding.
    `check_gradients` is the one to believe.
    """
    objective = Objective.of(loss, parameters)
    gradient = np.empty(objective.layout.size)
    places = objective.layout.slices
    steps = {name: np.full(place.stop - place.start, step) for name, place in places.items()}
    for name, (plus, minus) in objective.moved_losses({name: np.stack([h, -h]) for name, h in steps.items()}).items():
        gradient[places[name]] = (plus - minus) / (2.0 * step)
    return objective.layout.unflatten(gradient)


def central_slope(objective: Objective, direction: Array, step: float) -> Slope:
    """Measure a slope by a central difference; two evaluations, rounding bound ``16·eps·|J|/h``."""
    plus, minus = objective.along(direction, step), objective.along(direction, -step)
    return Slope((plus - minus) / (2.0 * step), ROUNDING * EPS * max(abs(plus), abs(minus)) / step)


def central_sweeps(objective: Objective, names: Iterable[str], step: float) -> dict[str, tuple[Array, Array, Array]]:
    """Measure the slope along every coordinate of tensors; gives of each the values, rounding bounds, and gaps.

    A gap is the slope on the right less that on the left.
    """
    steps = {name: step * objective.scale(name) for name in names}
    losses = objective.moved_losses({name: np.stack([h, -h]) for name, h in steps.items()})
    found = {}
    for name, h in steps.items():
        plus, minus = losses[name]
        bounds = ROUNDING * EPS * np.maximum(np.abs(plus), np.abs(minus)) / h
        with np.errstate(over="ignore", invalid="ignore"):
            gaps = ((plus - objective.value) + (minus - objective.value)) / h
            found[name] = (plus - minus) / (2.0 * h), bounds, gaps
    return found


def central_sweep(objective: Objective, name: str, step: float) -> tuple[Array, Array, Array]:
    """Measure the slope along every coordinate of one tensor, as `central_sweeps` does."""
    return central_sweeps(objective, [name], step)[name]


def complex_slope(objective: Objective, direction: Array) -> Slope:
    """Measure a slope by the complex step, ``Im J(theta + i·h·d)/h``: one evaluation, no subtraction.

    The bound is for the multiplications on the way: too small where terms cancel inside the loss (`complex_noise`).
    """
    return slope_of(objective.complex_along(direction, IMAGINARY_STEP))


def slope_of(value: complex) -> Slope:
    """Give the slope along a direction that stands, times `IMAGINARY_STEP`, in the loss's imaginary part."""
    slope = value.imag / IMAGINARY_STEP
    return Slope(slope, ROUNDING * EPS * abs(slope))


def complex_sweep(objective: Objective, name: str) -> tuple[Array, Array]:
    """Measure the slope along every coordinate by the complex step; returns values and rounding bounds."""
    steps = IMAGINARY_STEP * objective.scale(name)
    values = objective.complex_losses(name, steps).imag / steps
    return values, ROUNDING * EPS * np.abs(values)


def complex_noise(objective: Objective, direction: Array, here: float) -> float:
    """Bound what rounding does to a complex slope, by nudging every coordinate by one unit in the last place.

    A gradient cannot be known better than it changes, from what it is ``here``, when its parameters are rounded.
    """
    rng = np.random.default_rng(0)
    moved = [
        slope_of(objective.complex_along(direction, IMAGINARY_STEP, objective.nudged(rng))).value for _ in range(3)
    ]
    return 4.0 * max(abs(value - here) for value in moved) + ROUNDING * EPS * abs(here)


def slopes_around(objective: Objective, direction: Array, distance: float, slope: SlopeMeasure) -> tuple[float, float]:
    """Measure the slope at several random points beside this one; the smallest and the largest."""
    rng = np.random.default_rng(0)
    found = [slope(objective.beside(rng, distance), direction).value for _ in range(AROUND)]
    return min(found), max(found)
