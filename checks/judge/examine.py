"""The examination of one suspicious slope: either the gradient is wrong, or the measurement is.

Two witnesses are heard, the ladder of differences and the complex step, and neither is believed at first sight.
"""

import contextlib
import math
from dataclasses import replace

import numpy as np

from checks.judge.ladder import CERTAIN, Finding, between, climb
from checks.judge.power import random_direction
from checks.measure.layout import Array
from checks.measure.objective import ComplexRefusedError, Objective
from checks.measure.slopes import Slope, central_slope, complex_noise, complex_slope, one_sided_slopes, slopes_around
from checks.verdict import Cause

#: A complex step that lies further than this share of the slope from a steady central difference is not believed.
NOT_ANALYTIC = 1e-6
#: A central difference whose bound is below this share of the slope is sharp enough to confirm a complex step.
SHARP = 1e-2
#: How far beside the point the complex step is held against central differences, in units of max(1, |theta|).
ELSEWHERE = 1e-3
#: How far beside the point, in base steps, the complex step reads the one-sided slopes: 1e-12 at the default.
BESIDE = 1e-7


def examine(objective: Objective, direction: Array, claimed: float, tolerance: float, step: float) -> Finding:
    """Examine one slope along one direction, whose length is part of the slope.

    ``claimed`` is what the gradient says it is, ``tolerance`` how far the two may lie apart, ``step`` the base step in
    units of ``max(1, |theta|)``.
    """
    # A step goes equally far for every direction, whatever its length, in units of max(1, |theta|).
    length = objective.length(direction)
    exact = _exact(objective, direction, step)
    by_ladder = climb(objective, direction, claimed, tolerance, step / length, exact)
    finding = by_ladder
    if exact is not None:
        with contextlib.suppress(ComplexRefusedError):  # found out on the way; the objective keeps the reason
            finding = _with_complex_step(objective, direction, claimed, tolerance, step / length, by_ladder, exact)
    hidden = length * objective.floor()
    if finding.cause is Cause.WRONG and abs(claimed - finding.value) <= hidden:
        evidence = (
            f"the mismatch of {abs(claimed - finding.value):.1g} is no more than what the rounding of a gradient's own "
            f"terms makes ({hidden:.1g}), as where p - y is taken of a saturated output"
        )
        finding = replace(finding, cause=Cause.ROUNDING, evidence=evidence)
    return replace(finding, step=finding.step * length)


def _exact(objective: Objective, direction: Array, step: float) -> Slope | None:
    """Measure the slope by the complex step, where that can be trusted."""
    if not confirm_complex(objective, step):
        return None
    try:
        exact = complex_slope(objective, direction)
    except ComplexRefusedError:
        return None
    return exact if np.isfinite(exact.value) else None


def confirm_complex(objective: Objective, step: float) -> bool:
    """Say whether the complex step may be used: the loss takes it, and central differences confirm it once.

    An operation that is not analytic (``np.abs``, ``.real``) drops a part of the slope without an error. It
    shows as a steady mismatch along a random direction through the tensor it acts on; then the objective refuses
    the complex step from there on, and says why.
    """
    if not objective.complex_confirmed and objective.complex_refusal is None:
        rng = np.random.default_rng(0)
        # Beside the point, because on a kink the two need not agree, and fresh networks have zeros to stand on.
        beside = objective.beside(rng, ELSEWHERE)
        try:
            for name, place in objective.layout.slices.items():
                direction = np.zeros(objective.layout.size)
                units = random_direction(rng, place.stop - place.start)
                direction[place] = beside.scale(name) * units
                length = math.sqrt(units @ units)
                refusal = _not_analytic(beside, direction, name, step / length) if length > 0.0 else None
                if refusal is not None:
                    objective.refuse_complex(refusal)
        except ComplexRefusedError as refused:
            objective.refuse_complex(str(refused))
        objective.confirm_complex()
    return objective.complex_refusal is None


def _not_analytic(beside: Objective, direction: Array, name: str, step: float) -> str | None:
    """Hold the complex step against central differences along one direction; the reason not to use it, if any."""
    exact, central = complex_slope(beside, direction), central_slope(beside, direction, step)
    tolerance = NOT_ANALYTIC * abs(exact.value)
    mismatch = abs(exact.value - central.value)
    if mismatch <= tolerance or (mismatch <= tolerance + central.bound and central.bound <= SHARP * abs(exact.value)):
        return None
    finding = climb(beside, direction, exact.value, tolerance, step)
    if finding.cause is not Cause.WRONG:
        return None
    return (
        f"along a random direction through {name} the complex step reads {exact.value:.6g} where central differences "
        f"read {finding.value:.6g}: an operation of the forward is not analytic (np.abs, .real, ...)"
    )


def _with_complex_step(
    objective: Objective,
    direction: Array,
    claimed: float,
    tolerance: float,
    step: float,
    by_ladder: Finding,
    exact: Slope,
) -> Finding:
    """Let the exact slope settle what the ladder read, unless a steady ladder contradicts it."""
    mismatch = abs(claimed - exact.value)
    apart = abs(exact.value - by_ladder.value) > tolerance + CERTAIN * (by_ladder.bound + exact.bound)
    agrees = mismatch <= tolerance + exact.bound
    confirmed = abs(claimed - by_ladder.value) <= tolerance + CERTAIN * by_ladder.bound
    if apart and (by_ladder.cause is Cause.WRONG if agrees else confirmed):
        objective.refuse_complex(
            f"the complex step reads {exact.value:.6g} where central differences read {by_ladder.value:.6g} "
            "at every step: an operation of the forward is not analytic"
        )
        return by_ladder
    if agrees:
        if by_ladder.cause is Cause.AGREES:
            return Finding(Cause.AGREES, exact.value, exact.bound, by_ladder.step, by_ladder.evidence)
        evidence = f"the complex step reads {exact.value:.6g}, which agrees; else {by_ladder.evidence}"
        return Finding(Cause.AGREES, exact.value, exact.bound, by_ladder.step, evidence)
    noise = complex_noise(objective, direction, exact.value)
    if mismatch <= tolerance + CERTAIN * noise:
        if by_ladder.cause is Cause.KINK:
            return by_ladder
        evidence = f"a rounding of the parameters moves the slope by {noise:.2g}, the mismatch is {mismatch:.2g}"
        return Finding(Cause.ROUNDING, exact.value, noise, by_ladder.step, evidence)
    low, high = one_sided_slopes(objective, direction, BESIDE * step)
    if high - low > tolerance and _is_kink(objective, direction, high - low, BESIDE * step):
        near = slopes_around(objective, direction, BESIDE * step * objective.length(direction), complex_slope)
        near = min(low, exact.value, near[0]), max(high, exact.value, near[1])
        kink = between(near, claimed, by_ladder)
        if kink.cause is Cause.KINK:
            return kink
    central = f"; {by_ladder.evidence}" if by_ladder.cause is Cause.WRONG else ""
    evidence = f"the complex step reads {exact.value:.6g} ± {noise:.1g}, the gradient says {claimed:.6g}{central}"
    return Finding(Cause.WRONG, exact.value, noise, by_ladder.step, evidence)


def _is_kink(objective: Objective, direction: Array, gap: float, distance: float) -> bool:
    """Say whether the slopes on both sides stay apart ten times closer; where the loss only bends, they meet."""
    low, high = one_sided_slopes(objective, direction, 0.1 * distance)
    return high - low > 0.5 * gap
