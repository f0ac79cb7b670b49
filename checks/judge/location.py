"""The location of a mistake: a failing direction is halved until one coordinate is left."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from checks.explain.entries import Suspect
from checks.judge.full import TensorCheck, measure
from checks.judge.ladder import CERTAIN
from checks.measure.layout import Array
from checks.measure.objective import Objective
from checks.measure.slopes import Reading
from checks.options import Options
from checks.report.findings import TensorReport
from checks.verdict import Verdict

#: Largest tensor that is measured entry by entry to find out what kind of mistake it is; of larger ones, a sample.
MEASURED_AT_MOST = 10_000
SAMPLE = 512
#: Share of a mismatch that is left over where two readings of it agree.
EXACT = 1e-3
#: Largest share of the mismatch that may be noise for an entry to be called the only wrong one.
CLEAR = 0.1


@dataclass(frozen=True)
class Location:
    """Where halving ended: a position in the tensor's flat order, on the path of the larger mismatch."""

    position: int
    #: Whether the other half agreed at every level: then this coordinate is the only wrong one, up to what a random
    #: direction can hide. Otherwise the mistake is spread over several coordinates.
    alone: bool


def locate(read: Callable[[Array], Reading], place: slice, failing: Reading, noise: float) -> Location:
    """Narrow a failing direction through one tensor down to one coordinate, in ``ceil(log2(n))`` readings.

    Slopes are linear in the direction, so the mismatch of the second half is the whole's less the first's. One of
    at most ``noise`` counts as agreement.
    """
    low, high = place.start, place.stop
    mismatch = failing.signed_mismatch
    alone = noise <= CLEAR * abs(mismatch)  # else noise would pass for agreement of the other half
    while high - low > 1:
        middle = (low + high) // 2
        half = np.zeros_like(failing.direction)
        half[low:middle] = failing.direction[low:middle]
        first = read(half).signed_mismatch
        second = mismatch - first
        alone = alone and min(abs(first), abs(second)) <= noise
        if abs(first) >= abs(second):
            high, mismatch = middle, first
        else:
            low, mismatch = middle, second
    return Location(low - place.start, alone)


def look_closer(
    objective: Objective,
    report: TensorReport,
    failing: Reading,
    read: Callable[[Array], Reading],
    options: Options,
) -> tuple[TensorReport, Suspect]:
    """Find the culprit in a failing tensor, and measure enough of the tensor to name the kind of mistake.

    A single wrong entry takes ``O(log n)`` evaluations. A mistake that turns out to be spread is measured entry
    by entry, or in a sample where the tensor is large: the run halts here, so this cost is paid once.
    """
    layout, name, gradient = objective.layout, report.name, objective.gradient
    place = layout.slices[name]
    noise = max(EXACT * failing.mismatch, CERTAIN * failing.slope.bound)
    found = locate(read, place, failing, noise)
    if found.alone and noise > EXACT * failing.mismatch:  # halves may have agreed by luck: ask all the others once more
        others = np.zeros_like(failing.direction)
        others[place] = np.random.default_rng(0).permutation(failing.direction[place])
        others[place.start + found.position] = 0.0
        found = replace(found, alone=read(others).mismatch <= noise)
    if not found.alone and gradient[place].size <= MEASURED_AT_MOST:
        options = replace(options, derivative="complex" if objective.complex_confirmed else "central")
        check = TensorCheck(objective, name, options, measure(objective, [name], options)[name])
        full = check.run()
        if full.verdict is Verdict.FAIL:
            return full, check.suspect()
    positions = np.array([found.position])
    if not found.alone:
        size = gradient[place].size
        others = np.random.default_rng(0).choice(size, min(SAMPLE, size), replace=False)
        positions = np.unique(np.append(others, found.position))
    numerical = np.full(gradient[place].size, np.nan)
    bounds = np.full(gradient[place].size, np.nan)
    for position in positions:
        unit = np.zeros_like(gradient)
        unit[place.start + position] = 1.0
        slope = read(unit).slope
        numerical[position], bounds[position] = slope.value, slope.bound
    shape = layout.shapes[name]
    located = replace(
        report,
        worst_index=layout.index(name, found.position),
        gradient=float(gradient[place][found.position]),
        numerical=float(numerical[found.position]),
    )
    return located, Suspect(
        gradient=layout.tensor(gradient, name),
        numerical=numerical.reshape(shape),
        bounds=bounds.reshape(shape),
        aside=np.zeros(shape, dtype=bool),
        name=name,
        parameter=layout.tensor(objective.point, name),
        alone=found.alone,
    )
