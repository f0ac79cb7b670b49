"""Noise: how far a function of one number scatters around a smooth one, and where that can be seen.

A staircase (single precision inside, ``1 - p``, a large number added and taken away) is flat between its stairs, so
that nudges of a last place see nothing of it. It is seen where values lie as far apart as the steps of a difference do.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np

from checks.measure.layout import Array

Function = Callable[[float], float]

EPS = float(np.finfo(np.float64).eps)

#: Equally spaced values of a difference table: as many as ECnoise asks for.
VALUES = 8
#: Spacings at which a function is looked at, in units of max(1, |theta|): a smooth one drops out of the differences at
#: any spacing that is far below its own scale, stairs at none above their width.
SPACINGS = (1e-2, 1e-4, 1e-6, 1e-8)
#: Noise of more last places than this is no rounding of the final number alone.
LARGE = 1e3 * EPS
#: Largest share of a function that rounding makes: bfloat16 has three digits. What jumps by more is not continuous.
HIGHEST = 0.02
#: Of a last place: whatever is less is no rounding.
QUARTER = 0.25
#: Share of the noise that a single jump may have, where many small ones make it.
LEAST = 1e-2
#: Noise of so many times a jump's height may come of jumps, for several make it together.
OF_A_JUMP = 1.5
#: Halvings in a row that leave a change as it is: one that is smooth halves with each.
SAME = 6
#: Halvings that end far below any stair.
HALVINGS = 44
#: Spacings from close to far at which a function is looked at that may jump.
CLOSE = (1e-9, 1e-7, 1e-5, 1e-3, 1e-2)
#: Distances from the point, from and to, of the places at which it is looked at: away from what bends at the point.
AWAY = (1e-3, 1e-1)
#: Significant bits of bfloat16, float16, float32 and float64.
BITS = (8, 11, 24, 53)
#: Significant bits of float16, which has more of them than bfloat16.
HALF_BITS = 11
#: Distances from 0 at which a function is looked at for its bits, and places at which it is for its noise.
WIDELY, PLACES = (-0.41, -0.13, 0.17, 0.37), 3
#: Standard deviations that bound one evaluation: as estimated from few values, which may give half of what it is.
BOUND = 5.0
#: Estimates from three differences in a row within this factor of each other are noise: of a smooth function they fall.
ALIKE = 4.0


def scatter(values: Sequence[float] | Array) -> float:
    """Give the standard deviation of the noise in equally spaced values; 0 where they are smooth, or not finite.

    Differences of the k-th order of independent noise have the variance (2k)! / k!² of it, while those of a smooth
    function vanish with k (Moré and Wild, Estimating computational noise, SIAM J. Sci. Comput. 33(3), 2011).
    """
    table: Array = np.asarray(values, dtype=np.float64)
    size = float(np.max(np.abs(table)))
    if size == 0.0 or not np.isfinite(size):
        return 0.0
    table = table / size  # so that no square overflows
    gamma, levels, changes = 1.0, [], []
    for k in range(1, len(values) - 1):
        table = np.diff(table)
        gamma *= 0.5 * k / (2 * k - 1)
        levels.append(size * float(np.sqrt(gamma * np.mean(np.square(table)))))
        changes.append(bool(table.max() > 0.0 > table.min()))
    for k in range(len(levels) - 2):
        three = levels[k : k + 3]
        if any(changes[k : k + 3]) and min(three) > 0.0 and max(three) <= ALIKE * min(three):
            return three[0]
    return 0.0


def noise_around(function: Function, here: float, rng: "np.random.Generator") -> float:
    """Bound the noise that a function has around 0, where it is ``here``.

    With fewer bits than single precision its stairs may be too wide to be seen: then it is at least the last bit.
    """
    bits = bits_of(np.array([here, *(function(at) for at in WIDELY)]))
    last_bit = 2.0**-bits * abs(here) if 0 < bits <= HALF_BITS else 0.0
    return max(BOUND * noise_away(function, rng, PLACES), last_bit)


def noise_away(function: Function, rng: "np.random.Generator", places: int) -> float:
    """Give the noise that a function has everywhere: the median of several places away from 0.

    What only bends somewhere, or has a kink there, scatters in that place alone, and does not jump.
    """
    found = []
    for _ in range(places):
        start = rng.choice((-1.0, 1.0)) * float(np.exp(rng.uniform(*np.log(AWAY))))
        if not np.isfinite(function(start)):  # outside of the domain, which the other side may be in
            start = -start
        found.append(noise_from(function, start, rng))
    return sorted(found)[places // 2]


def noise_from(function: Function, start: float, rng: "np.random.Generator") -> float:
    """Give the noise from one place on, seen at several spacings.

    What is more than rounding of the final number counts only as far as jumps make it: kinks and bends scatter as well.
    """
    found = 0.0
    for unit in SPACINGS:
        # Further out, not over the point; and not the same everywhere, or it might be in step with the stairs.
        spacing = math.copysign(unit * rng.uniform(0.5, 1.0), start)
        values = np.array([function(start + number * spacing) for number in range(VALUES)])
        noise, size = scatter(values), float(np.max(np.abs(values)))
        if noise <= QUARTER * EPS * size:  # less than a last place: stairs that the spacing is in step with
            continue
        if noise <= LARGE * size:  # of the last places: where the function is smaller, so are they
            return found or noise * min(1.0, abs(function(0.0)) / size)
        height = _jump_among(function, start, noise, values, spacing) if noise < HIGHEST * size else 0.0
        if height > 0.0:
            found = max(found, min(noise, OF_A_JUMP * height))
        elif found:
            break
    return found


def _jump_among(function: Function, start: float, noise: float, values: Array, spacing: float) -> float:
    """Give the height of a jump among these values, as far as it may make their noise; 0 if there is none."""
    near = 1e-5 * spacing
    slope = (function(start + near) - float(values[0])) / near  # that of a stair's tread, if there are stairs
    apart = np.abs(np.diff(values) - slope * spacing)
    ends = (start + np.argsort(-apart)[:2] * spacing).tolist()
    return max(jump(function, end, end + spacing, slope, LEAST * noise) for end in ends)


def jump(function: Function, left: float, right: float, slope: float = 0.0, least: float = 0.0) -> float:
    """Give the size of a jump between two points, found by halving; 0 if it is below ``least``, or rounding.

    ``slope`` is that of a straight line that is taken away. Where a function only moves, its change vanishes with the
    distance.
    """
    left, right = min(left, right), max(left, right)
    low, high = function(left) - slope * left, function(right) - slope * right
    same = 0  # halvings that left the change as it was
    for _ in range(HALVINGS):
        before = abs(high - low)
        middle = 0.5 * left + 0.5 * right
        if not left < middle < right or not abs(high - low) > least:
            break
        at = function(middle) - slope * middle
        if abs(at - low) >= abs(high - at):
            right, high = middle, at
        else:
            left, low = middle, at
        same = same + 1 if abs(high - low) > 0.9 * before else 0
        if same == SAME:
            break
    size = abs(high - low)
    return size if size > max(least, LARGE * max(abs(low), abs(high))) else 0.0


def noise_of_steps(function: Function) -> float:
    """Give the noise at 0 of a function that may jump where it should, as a gradient does at kinks of its loss.

    It is looked at as closely as it can be told from a constant: so close, few jumps are its own.
    """
    for spacing in CLOSE:
        values = [function(number * spacing) for number in range(VALUES)]
        if min(values) < max(values):
            return scatter(values)
    return 0.0


def sampled(function: Function, start: float, spacing: float) -> float:
    """Give the noise seen in values from ``start`` on, ``spacing`` apart."""
    return scatter([function(start + number * spacing) for number in range(VALUES)])


def bits_of(values: Array) -> int:
    """Give how many significant bits the numbers need: 8 for bfloat16, 11 for float16 …; 0 where all are 0."""
    mantissas = np.frexp(values[np.isfinite(values) & (values != 0.0)])[0]
    if not mantissas.size:
        return 0
    return next((bits for bits in BITS if not np.any(mantissas * 2.0**bits % 1.0)), BITS[-1])
