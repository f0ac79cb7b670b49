"""The ladder: one slope at many steps, from both sides, and what the differences between them mean.

A wrong gradient shows a mismatch that stays put as the step shrinks; a kink shows left and right slopes that stay
apart; rounding grows as one over the step.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from checks.measure.layout import Array
from checks.measure.objective import Objective
from checks.measure.slopes import Slope, central_slope, slopes_around
from checks.verdict import Cause

#: Steps of the ladder in units of the base step, and those added where it leaves a question open: for
#: parameters whose natural scale is far from ``max(1, |theta|)``.
RUNGS = (10.0, 1.0, 0.1)
FINER_RUNGS = (0.01, 0.001)
FURTHER_RUNGS = (1e3, 1e2, 1e-4, 1e-5, 1e-6, 1e-7, 1e-8)


#: How many bounds apart two readings must lie before rounding is ruled out: the bounds are three to five times
#: above what was measured on networks, so four of them leave a factor of ten or more.
CERTAIN = 4.0
#: A mismatch that changes by less than this share of itself from step to step stays put.
STEADY = 0.1


@dataclass(frozen=True)
class Rung:
    """Slopes to the left, to the right and across the point at one step; ``bound`` is for ``central``."""

    step: float
    left: float
    right: float
    bound: float

    @property
    def central(self) -> float:
        """The central difference: the mean of the one-sided slopes."""
        return 0.5 * (self.left + self.right)

    @property
    def gap(self) -> float:
        """How far the one-sided slopes lie apart."""
        return abs(self.right - self.left)


@dataclass(frozen=True)
class Finding:
    """What the examination of one slope found."""

    cause: Cause  # AGREES, WRONG, KINK, ROUNDING or NOT_FINITE
    value: float  # the best measured slope
    bound: float  # on its error
    step: float  # of the best central reading
    evidence: str  # the readings on which the cause rests, in one sentence
    at_kink: bool = False  # whether left and right slopes stay apart down to the smallest step that can tell


def climb(
    objective: Objective, direction: Array, claimed: float, tolerance: float, step: float, exact: Slope | None = None
) -> Finding:
    """Examine by central and one-sided differences alone, with further steps where the usual ones leave it open.

    Where the exact slope is known and the first rungs read the same, the finer ones have nothing to add.
    """
    rungs = ladder(objective, direction, step, RUNGS)
    finding = read_ladder(rungs, claimed, tolerance)
    known = finding.cause in (Cause.AGREES, Cause.WRONG) and _kink(rungs) is None
    if exact is None or not known or abs(exact.value - finding.value) > tolerance + CERTAIN * finding.bound:
        rungs += ladder(objective, direction, step, FINER_RUNGS)
        finding = read_ladder(rungs, claimed, tolerance)
    if finding.cause in (Cause.ROUNDING, Cause.NOT_FINITE):
        rungs += ladder(objective, direction, step, FURTHER_RUNGS)
        finding = read_ladder(sorted(rungs, key=lambda rung: -rung.step), claimed, tolerance)
    if finding.cause is Cause.WRONG and finding.at_kink:
        far = 10.0 * step * objective.length(direction)
        near = slopes_around(objective, direction, far, lambda beside, d: central_slope(beside, d, 0.01 * step))
        return between(near, claimed, finding)
    return finding


def ladder(objective: Objective, direction: Array, step: float, factors: Iterable[float]) -> list[Rung]:
    """Measure one slope at many steps; steps at which the loss is not finite, or that round to 0, are left out."""
    rungs = []
    for h in filter(None, (factor * step for factor in factors)):
        plus, minus = objective.along(direction, h), objective.along(direction, -h)
        rung = Rung(h, (objective.value - minus) / h, (plus - objective.value) / h, objective.noise / h)
        if np.isfinite(rung.central):
            rungs.append(rung)
    return rungs


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
    if mismatch > tolerance + CERTAIN * bound and _stays_put(rungs, best, mismatch) and not _is_too_coarse(rungs):
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


def between(near: tuple[float, float], claimed: float, finding: Finding) -> Finding:
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


def _is_too_coarse(rungs: list[Rung]) -> bool:
    """Say whether left and right slopes move further apart as the step shrinks, and not by rounding.

    They do where the loss swings to and fro within every step, and then none of them has seen its slope.
    """
    return any(
        fine.gap > 2.0 * coarse.gap and fine.gap > CERTAIN * 2.0 * fine.bound for coarse, fine in pairwise(rungs)
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
