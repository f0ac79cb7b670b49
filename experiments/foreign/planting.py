"""Planting: mistakes in somebody's gradient, and whether any step can show them, which the check has no say in.

What shows a mistake is a ladder of its own: the slope along the mistake, where it is largest, by central differences of
fourth order at steps from a third of the parameters' size down to 1e-13 of it. A mistake is shown where three
neighbouring steps each read the right slope to an eighth of the mistake, one unit in the last place of the loss is less
than that, too, and the loss has no kink there as large as the mistake: the gap between the left and the right slope,
with what a curve adds to it taken out, is smaller.
A wrong gradient that rounding hides from all steps is nobody's to find, and is counted apart.
"""

import math
from collections.abc import Callable, Iterator
from functools import partial

import numpy as np

from checks.measure.layout import Array
from experiments.foreign.sample import Gradients, Sample, Tensors

SMALLEST = 1e-5  # relative size of what counts as a mistake
PART_OF_IT = 8.0  # the right slope is read to this part of the mistake
FLAT = 1e-9  # a step at which only a loss that is flat gives the same
IN_A_ROW = 3  # neighbouring steps that must do so
LADDER = 10.0 ** np.arange(-0.5, -13.1, -0.5)  # in units of the parameters that move


def planted(sample: Sample, rng: np.random.Generator) -> Iterator[tuple[str, Gradients]]:
    """Give the wrong gradients of a sample, by what was done: its own, or those that are always planted."""
    if sample.mistakes is not None:
        yield from sample.mistakes.items()
        return
    yield "×1.01", _multiplied(sample.gradients, lambda right: {name: 1.01 for name in right})
    right = sample.gradients(_copied(sample.point))
    places = [(name, int(place)) for name, value in right.items() for place in np.flatnonzero(value)]
    if places:
        doubled, zeroed = (places[number] for number in rng.integers(len(places), size=2))
        yield "one entry ×2", _multiplied(sample.gradients, partial(_one_entry, doubled, 2.0))
        yield "one entry 0", _multiplied(sample.gradients, partial(_one_entry, zeroed, 0.0))
    if sample.lacking is not None:
        yield "one term dropped", sample.lacking


def relative_size(right: Tensors, wrong: Tensors) -> float:
    """Give the largest relative size that the mistake has in any tensor, whatever the unit of the loss."""
    sizes = [0.0]
    for name, value in right.items():
        unit = max(float(np.max(np.abs(each), initial=0.0)) for each in (value, wrong[name]))
        if unit > 0.0 and math.isfinite(unit):
            one, other = value / unit, wrong[name] / unit
            sizes.append(float(np.linalg.norm(one - other) / (np.linalg.norm(one) + np.linalg.norm(other))))
    return max(sizes)


def is_shown(sample: Sample, wrong: Tensors) -> bool:
    """Say whether any step shows the mistake: see the module."""
    flat = sample.flat
    right, mistaken = flat.gradient(flat.point), flat.vector(wrong)
    error = mistaken - right
    largest = float(np.max(np.abs(error), initial=0.0))
    if not (0.0 < largest < math.inf):
        return False
    direction = error / largest
    if not mistaken.any() and len({_along(flat.loss, flat.point, direction, h) for h in (0.0, FLAT, -FLAT)}) == 1:
        return False  # of a loss that is flat here, zero is the gradient, whatever its operator says
    slope = float(right @ direction)
    mistake = float(error @ direction)
    scale = float(np.max(np.abs(flat.point[error != 0.0]))) or 1.0
    return _confirmed(partial(_along, flat.loss, flat.point, direction), slope, mistake, scale)


def _along(loss: Callable[[Array], float], point: Array, direction: Array, step: float) -> float:
    """Evaluate the loss a step away; what raises is outside its domain."""
    try:
        with np.errstate(all="ignore"):
            return loss(point + step * direction)
    except (MemoryError, OSError):
        raise
    except Exception:
        return math.nan


def _confirmed(along: Callable[[float], float], slope: float, mistake: float, scale: float) -> bool:
    """Say whether neighbouring steps read the right slope so closely that the mistake stands out."""
    here, row = along(0.0), 0
    for share in LADDER:
        step = share * scale
        before, after, far_before, far_after = (along(at * step) for at in (-1, 1, -2, 2))
        central = (8.0 * (after - before) - (far_after - far_before)) / (12.0 * step)
        gap = (after - 2.0 * here + before) / step
        wide_gap = (far_after - 2.0 * here + far_before) / (2.0 * step)
        near = max(abs(central - slope), math.ulp(here) / step) <= abs(mistake) / PART_OF_IT
        row = row + 1 if near and abs(2.0 * gap - wide_gap) <= abs(mistake) else 0
        if row == IN_A_ROW:
            return True
    return False


def _one_entry(at: tuple[str, int], factor: float, right: Tensors) -> dict[str, Array]:
    factors = {name: np.ones(value.shape) for name, value in right.items()}
    factors[at[0]].reshape(-1)[at[1]] = factor
    return factors


def _multiplied(gradients: Gradients, factors: Callable[[Tensors], dict[str, float] | dict[str, Array]]) -> Gradients:
    def wrong(tensors: Tensors) -> Tensors:
        right = gradients(tensors)
        times = factors(right)
        return {name: value * times[name] for name, value in right.items()}

    return wrong


def _copied(tensors: Tensors) -> Tensors:
    return {name: value.copy() for name, value in tensors.items()}
