"""The examination of one suspicious slope: either the gradient is wrong, or the measurement is.

Nothing here is believed at first sight. A wrong gradient shows a mismatch that stays put as the step shrinks;
a kink shows left and right slopes that stay apart; rounding grows as one over the step.
"""

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from checks.layout import Array
from checks.objective import ComplexRefusedError, Objective
from checks.slopes import (
    FURTHER_RUNGS,
    RUNGS,
    Rung,
    central_slope,
    complex_noise,
    complex_slope,
    ladder,
    one_sided_slopes,
    slopes_around,
)
from checks.verdict import Cause

#: How many bounds apart two readings must lie before rounding is ruled out: the bounds are three to five times
#: above what was measured on networks, so four of them leave a factor of ten or more.
CERTAIN = 4.0


#: A mismatch that changes by less than this share of itself from step to step stays put.
STEADY = 0.1
#: A complex step that lies further than this share of the slope from a steady central difference is not believed.
NOT_ANALYTIC = 1e-6
#: How far beside the point the complex step is held against central differences, in units of max(1, |theta|).
ELSEWHERE = 1e-3
#: How far beside the point, in base steps, the complex step reads the one-sided slopes: 1e-12 at the default.
BESIDE = 1e-7


@dataclass(frozen=True)
class Finding:
    """What the examination of one slope found.

    Attributes
    ----------
    cause : Cause
        AGREES, WRONG, KINK, ROUNDING or NOT_FINITE.
    value, bound : float
        The best measured slope and the bound on its error.
    at_kink : bool
        Whether left and right slopes stay apart down to the smallest step that can tell.
    step : float
        The step of the best central reading.
    evidence : str
        The readings on which the cause rests, in one sentence.
    """

    cause: Cause
    value: float
    bound: float
    step: float
    evidence: str
    at_kink: bool = False


def examine(objective: Objective, direction: Array, claimed: float, tolerance: float, step: float) -> Finding:
    """Examine one slope along one direction.

    Parameters
    ----------
    objective : Objective
        The loss.
    direction : ndarray of shape (n_parameters,)
        The direction; its length is part of the slope.
    claimed : float
        What the gradient says the slope is: ``gradient · direction``.
    tolerance : float
        How far the two may lie apart, in the units of the slope.
    step : float
        The base step; the ladder reaches from a hundred times this down to a hundred-thousandth.

    Returns
    -------
    Finding
    """
    # Unit length in units of max(1, |theta|), so that the ladder's steps mean the same for every direction.
    length = float(np.linalg.norm(direction / objective.scale()))
    direction, claimed, tolerance = direction / length, claimed / length, tolerance / length
    finding = _examine_unit(objective, direction, claimed, tolerance, step)
    floor = objective.floor()
    if finding.cause is Cause.WRONG and abs(claimed - finding.value) <= floor:
        evidence = (
            f"the mismatch of {abs(claimed - finding.value):.1g} is no more than what the rounding of a gradient's own "
            f"terms makes ({floor:.1g}), as where p - y is taken of a saturated output"
        )
        finding = replace(finding, cause=Cause.ROUNDING, evidence=evidence)
    return replace(finding, value=finding.value * length, bound=finding.bound * length)


def _examine_unit(objective: Objective, direction: Array, claimed: float, tolerance: float, step: float) -> Finding:
    by_ladder = climb(objective, direction, claimed, tolerance, step)
    if not confirm_complex(objective, step):
        return by_ladder
    try:
        return _with_complex_step(objective, direction, claimed, tolerance, step, by_ladder)
    except ComplexRefusedError:
        return by_ladder


def confirm_complex(objective: Objective, step: float) -> bool:
    """Say whether the complex step may be used: the loss takes it, and central differences confirm it once.

    An operation that is not analytic (``np.abs``, ``.real``) drops a part of the slope without an error. It
    shows as a steady mismatch along a random direction; then the objective refuses the complex step from
    there on, and says why.
    """
    if not objective.complex_confirmed:
        rng = np.random.default_rng(0)
        # Beside the point, because on a kink the two need not agree, and fresh networks have zeros to stand on.
        beside = objective.beside(rng, ELSEWHERE)
        direction = rng.standard_normal(objective.point.size)
        direction *= objective.scale() / np.linalg.norm(direction)
        try:
            exact = complex_slope(beside, direction)
        except ComplexRefusedError:
            objective.complex_refusal = beside.complex_refusal
            return False
        finally:
            objective.evaluations += beside.evaluations
        before = beside.evaluations
        tolerance = NOT_ANALYTIC * max(abs(exact.value), beside.noise())
        finding = climb(beside, direction, exact.value, tolerance, step)
        objective.evaluations += beside.evaluations - before
        if finding.cause is Cause.WRONG:
            objective.complex_refusal = (
                f"along a random direction the complex step reads {exact.value:.6g} where central differences "
                f"read {finding.value:.6g}: an operation of the forward is not analytic (np.abs, .real, ...)"
            )
        objective.complex_confirmed = True
    return objective.complex_refusal is None


def climb(objective: Objective, direction: Array, claimed: float, tolerance: float, step: float) -> Finding:
    """Examine by central and one-sided differences alone, with further steps where the usual ones leave it open."""
    rungs = ladder(objective, direction, step, RUNGS)
    finding = read_ladder(rungs, claimed, tolerance)
    if finding.cause in (Cause.ROUNDING, Cause.NOT_FINITE):
        rungs += ladder(objective, direction, step, FURTHER_RUNGS)
        finding = read_ladder(sorted(rungs, key=lambda rung: -rung.step), claimed, tolerance)
    if finding.cause is Cause.WRONG and finding.at_kink:
        near = slopes_around(objective, direction, 10.0 * step, lambda beside, d: central_slope(beside, d, 0.01 * step))
        return _between(near, claimed, finding)
    return finding


def _between(near: tuple[float, float], claimed: float, finding: Finding) -> Finding:
    """Set a slope aside if the gradient could be a mixture of the slopes around the point.

    Where several kinks meet at a point, a gradient that takes one side at each of them need not lie between the
    two slopes along one line, only within what the slopes around the point span; twice that span is allowed,
    since they are a sample.
    """
    low, high = near
    span = high - low
    if not low - span <= claimed <= high + span:
        return finding
    evidence = (
        f"the point lies on a kink: slopes around it go from {low:.6g} to {high:.6g}, and the gradient "
        f"{claimed:.6g} could be a mixture of them"
    )
    return Finding(Cause.KINK, claimed, span, finding.step, evidence, True)


def read_ladder(rungs: list[Rung], claimed: float, tolerance: float) -> Finding:
    """Read a ladder of central and one-sided differences against a claimed slope."""
    if len(rungs) < 2:
        evidence = "the loss is not finite beside the point at any step"
        return Finding(Cause.NOT_FINITE, float("nan"), float("inf"), 0.0, evidence)
    value, bound, best = _best_reading(rungs)
    mismatch = abs(claimed - value)
    kink = _kink(rungs)
    at_kink = kink is not None and kink.step <= best.step
    if kink is not None and (at_kink or bound > tolerance):
        low, high = sorted((kink.left, kink.right))
        margin = CERTAIN * kink.bound + tolerance
        between = low - margin <= claimed <= high + margin
        nearer = _contradiction(rungs, kink, claimed, tolerance)
        if between and nearer is not None:
            evidence = (
                f"there is a kink, but not within step {nearer.step:.0e}: there the slope is {nearer.central:.6g} "
                f"± {nearer.bound:.1g}, the gradient says {claimed:.6g}"
            )
            return Finding(Cause.WRONG, nearer.central, nearer.bound, nearer.step, evidence)
        if between and mismatch > tolerance:
            evidence = (
                f"at step {kink.step:.0e} the slope is {kink.left:.6g} on the left and {kink.right:.6g} on the "
                f"right, and the gradient {claimed:.6g} lies between"
            )
            return Finding(Cause.KINK, claimed, kink.gap, best.step, evidence, at_kink)
    if mismatch <= tolerance:
        evidence = f"step {best.step:.0e} reads {value:.6g} ± {bound:.1g}"
        return Finding(Cause.AGREES, value, bound, best.step, evidence)
    if mismatch > tolerance + CERTAIN * bound and _stays_put(rungs, best, mismatch):
        evidence = (
            f"from step {rungs[0].step:.0e} to {rungs[-1].step:.0e} the mismatch stays: the slope is {value:.6g} "
            f"± {bound:.1g} at step {best.step:.0e}, the gradient says {claimed:.6g}"
        )
        return Finding(Cause.WRONG, value, bound, best.step, evidence, at_kink)
    evidence = (
        f"rounding hides the answer: at the best step {best.step:.0e} the slope is {value:.6g} ± {bound:.1g}, "
        f"but {tolerance:.1g} is needed"
    )
    return Finding(Cause.ROUNDING, value, bound, best.step, evidence)


def _with_complex_step(
    objective: Objective, direction: Array, claimed: float, tolerance: float, step: float, by_ladder: Finding
) -> Finding:
    """Let the exact slope settle what the ladder read, unless a steady ladder contradicts it."""
    exact = complex_slope(objective, direction)
    if not np.isfinite(exact.value):
        return by_ladder
    mismatch = abs(claimed - exact.value)
    apart = abs(exact.value - by_ladder.value) > tolerance + CERTAIN * (by_ladder.bound + exact.bound)
    agrees = mismatch <= tolerance + exact.bound
    confirmed = abs(claimed - by_ladder.value) <= tolerance + CERTAIN * by_ladder.bound
    if apart and (by_ladder.cause is Cause.WRONG if agrees else confirmed):
        objective.complex_refusal = (
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
        near = slopes_around(objective, direction, BESIDE * step, complex_slope)
        near = min(low, exact.value, near[0]), max(high, exact.value, near[1])
        kink = _between(near, claimed, by_ladder)
        if kink.cause is Cause.KINK:
            return kink
    central = f"; {by_ladder.evidence}" if by_ladder.cause is Cause.WRONG else ""
    evidence = f"the complex step reads {exact.value:.6g} ± {noise:.1g}, the gradient says {claimed:.6g}{central}"
    return Finding(Cause.WRONG, exact.value, noise, by_ladder.step, evidence)


def _is_kink(objective: Objective, direction: Array, gap: float, distance: float) -> bool:
    """Say whether the slopes on both sides stay apart ten times closer; where the loss only bends, they meet."""
    low, high = one_sided_slopes(objective, direction, 0.1 * distance)
    return high - low > 0.5 * gap


def _best_reading(rungs: list[Rung]) -> tuple[float, float, Rung]:
    """Pick the rung with the smallest error: rounding bound plus what the next rung says otherwise."""
    errors = [rung.bound + 2.0 * abs(rung.central - finer.central) for rung, finer in pairwise(rungs)]
    error, best = min(zip(errors, rungs, strict=False), key=lambda pair: pair[0])
    return best.central, error, best


def _contradiction(rungs: list[Rung], kink: Rung, claimed: float, tolerance: float) -> Rung | None:
    """Find a step too small to reach the kink, left and right agreeing, at which the slope is clearly another one."""
    for rung in rungs:
        closed = rung.step < kink.step and rung.gap <= CERTAIN * 2.0 * rung.bound < 0.5 * kink.gap
        if closed and abs(claimed - rung.central) > tolerance + CERTAIN * rung.bound:
            return rung
    return None


def _stays_put(rungs: list[Rung], best: Rung, mismatch: float) -> bool:
    """Say whether every finer step that can tell reads what the best one reads.

    Where the loss bends within the step (parameters of a tiny natural scale), coarse steps agree on nothing.
    """
    return all(
        abs(rung.central - best.central) <= STEADY * mismatch + CERTAIN * rung.bound
        for rung in rungs
        if rung.step < best.step and CERTAIN * rung.bound < mismatch
    )


def _kink(rungs: list[Rung]) -> Rung | None:
    """Find the finest rung whose one-sided slopes stay apart.

    For a smooth loss the gap between them is curvature · step and shrinks tenfold from rung to rung; at a kink
    it stays. A gap within the rounding of one-sided slopes (twice that of central ones) says nothing.
    """
    found = None
    for coarse, fine in pairwise(rungs):
        if fine.gap > CERTAIN * 2.0 * fine.bound and fine.gap > 0.5 * coarse.gap:
            found = fine
    return found
