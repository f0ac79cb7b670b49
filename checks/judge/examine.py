"""The examination of one suspicious slope: either the gradient is wrong, or the measurement is.

Two witnesses are heard, the ladder of differences and the complex step, and neither is believed at first sight.
"""

import contextlib
import math
from dataclasses import replace

import numpy as np

from checks.judge.coarse import is_seen_around
from checks.judge.ladder import ALL, CERTAIN, FINER, FIRST, Finding, Ladder, read
from checks.judge.power import random_direction
from checks.measure.difference import euclidean
from checks.measure.layout import Array
from checks.measure.noise import BOUND, HIGHEST, jump, noise_away, noise_from, noise_of_steps
from checks.measure.objective import EPS, ROUNDING, ComplexRefusedError, Objective
from checks.measure.slopes import Slope, central_slope, complex_noise, complex_slope, slopes_around
from checks.verdict import Cause

#: A complex step that lies further than this share of the slope from a steady central difference is not believed.
NOT_ANALYTIC = 1e-6
#: A central difference whose error is below this share of the slope is sharp enough to confirm a complex step.
SHARP = 1e-2
#: Where complex step and central differences agree to this share of the slope, nothing else need be asked.
SETTLED = 1e-6
#: A tensor with a smaller gradient than this share of the largest has a direction of its own to confirm it.
HEARD = 1e-3
#: How far beside the point the complex step is held against central differences, in units of max(1, |theta|): further
#: where rounding hides the slope, as in a network that is saturated here.
ELSEWHERE = (1e-3, 1e-2, 1e-1)
#: How far around a kink its slopes are sampled, in units of max(1, |theta|), and over which steps.
AROUND, ACROSS = 1e-4, 1e-7
#: Share of what keeps a coarse step and a fine one apart that one stair may make: less is a seam between two formulas,
#: more is a pole that was stepped over.
STAIRS = (1e-3, 4.0)
#: Share of a gradient that rounding to single precision on the way makes; of a loss in float64, no more is let pass.
SINGLE = 1e-5
#: Steps further out, at which alone the widest stairs are crossed.
FAR = (1.0, 0.1**0.5)
#: A coarse step that reads the claimed slope within this share of the mismatch confirms it.
CONFIRMS = 0.5
#: Places, in units of max(1, |theta|), at which a mismatch of the size of rounding is looked for again.
FAR_AWAY = (-1.0, 1.0, -3.0, 3.0, -10.0, 10.0)
#: The least that rounding of numbers like 1 makes of a slope, where rows and activations are as small as they come.
LAST = 1e-6 * EPS
#: Places at which the noise along a direction is measured before its gradient is called wrong.
PLACES = 3


def examine(objective: Objective, direction: Array, claimed: float, tolerance: float, step: float) -> Finding:
    """Examine one slope along one direction, whose length is part of the slope.

    ``claimed`` is what the gradient says it is, ``tolerance`` how far the two may lie apart, ``step`` the base step in
    units of ``max(1, |theta|)``.
    """
    exact = _exact(objective, direction, step)
    ladder = Ladder(objective, direction)
    for factors in (FIRST, FINER):
        ladder.climb(factor * step for factor in factors)
        finding = read(ladder.rungs, claimed, tolerance)
        if _is_settled(finding, exact, tolerance):
            if exact is not None:
                finding = replace(finding, value=exact.value, bound=exact.bound)
            if finding.cause is Cause.WRONG:
                complex_step = f"the complex step reads {finding.value:.6g} ± {finding.bound:.1g}"
                evidence = f"{complex_step}, the gradient says {claimed:.6g}; {finding.evidence}"
                finding = replace(finding, evidence=evidence)
                return _allowing_for_backprop(objective, direction, claimed, tolerance, finding)
            return finding
        if exact is None:
            break
    if finding.at_kink and exact is not None and abs(claimed - exact.value) <= tolerance + exact.bound:
        return replace(finding, cause=Cause.AGREES, value=exact.value, bound=exact.bound)
    ladder.climb(ALL)
    ladder.noise = objective.noise
    if not objective.moves and abs(claimed) * ALL[0] / ladder.length > ROUNDING * EPS * ladder.here:
        return Finding(Cause.NO_DEPENDENCE, 0.0, 0.0, 0.0, "the loss was the same in all evaluations")
    finding = _certain(ladder, claimed, tolerance)
    if exact is not None:
        with contextlib.suppress(ComplexRefusedError):  # found out on the way; the objective keeps the reason
            finding = _with_complex_step(objective, ladder, direction, claimed, tolerance, finding, exact)
    if finding.cause is Cause.WRONG and finding.at_kink:
        finding = _around(objective, direction, claimed, finding)
    if finding.cause is Cause.WRONG:
        finding = _allowing_for_backprop(objective, direction, claimed, tolerance, finding)
    share = abs(claimed - finding.value) / (abs(claimed) or 1.0)
    if finding.cause is Cause.WRONG and objective.is_staircase and not is_seen_around(objective, direction, share):
        evidence = f"{finding.evidence}; but beside the point no such mismatch is seen, so that kinks may have made it"
        finding = replace(finding, cause=Cause.ROUNDING, evidence=evidence)
    return finding


def _is_settled(finding: Finding, exact: Slope | None, tolerance: float) -> bool:
    """Say whether a few steps have settled it: with what is claimed, or with the complex step against it."""
    if finding.at_kink or finding.cause not in (Cause.AGREES, Cause.WRONG):
        return False
    if exact is None:
        return finding.cause is Cause.AGREES and finding.bound <= tolerance
    apart = abs(exact.value - finding.value) > tolerance + CERTAIN * finding.bound
    sharp = finding.bound <= max(tolerance, SETTLED * abs(exact.value))
    return sharp and not apart


def _certain(ladder: Ladder, claimed: float, tolerance: float) -> Finding:
    """Read a ladder; what would be called wrong is read again with the noise along this very direction."""
    finding = read(ladder.rungs, claimed, tolerance)
    if finding.cause is Cause.WRONG:
        rng = np.random.default_rng(0)
        ladder.noise = max(ladder.noise, BOUND * noise_away(ladder.at, rng, PLACES))
        finding = read(ladder.rungs, claimed, tolerance)
        # At the point there may be more; but a kink at the point would be taken for it.
        while finding.cause is Cause.WRONG and not finding.at_kink and ladder.look_at(finding.step, rng):
            finding = read(ladder.rungs, claimed, tolerance)
    return _inside_a_stair(ladder, claimed, finding) if finding.cause is Cause.WRONG else finding


def _inside_a_stair(ladder: Ladder, claimed: float, finding: Finding) -> Finding:
    """Call nothing wrong that coarse steps confirm, if the loss jumps on the way: fine ones never left a stair."""
    mismatch = abs(claimed - finding.value)
    if claimed == 0.0 and ladder.is_flat_nearby and not ladder.claims_any and ladder.is_fine:
        evidence = "the loss is a staircase, flat to the last bit around the point, and its gradient is zero everywhere"
        return replace(finding, cause=Cause.AGREES, value=0.0, bound=0.0, evidence=evidence)
    for step, left, right in [*ladder.sides(FAR), *ladder.sides()]:
        sides = [slope for slope in (left, right) if math.isfinite(slope)]
        if step > finding.step and sides and abs(claimed - sum(sides) / len(sides)) <= CONFIRMS * mismatch:
            ends = [end for end, slope in ((-step, left), (step, right)) if math.isfinite(slope)]
            slope = finding.value / ladder.length
            height = max(jump(ladder.at, 0.0, end, slope) for end in ends)
            if STAIRS[0] < height * ladder.length / (mismatch * step) < STAIRS[1] and height < HIGHEST * ladder.here:
                evidence = (
                    f"the loss is a staircase: within step {step:.0e}, which reads {sum(sides) / len(sides):.6g}, it "
                    f"jumps by {height:.1g}, and finer steps read {finding.value:.6g}, the slope of one stair"
                )
                return replace(finding, cause=Cause.ROUNDING, bound=mismatch, evidence=evidence)
            break
    return finding


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
    the complex step from there on, and says why. So it does where nothing could confirm it.
    """
    if not objective.complex_confirmed and objective.complex_refusal is None and not _all_agree(objective, step):
        rng = np.random.default_rng(0)
        sizes: list[float] = []
        open_: list[tuple[str, float]] = []
        try:
            for name, place in objective.layout.slices.items():
                units = random_direction(rng, place.stop - place.start)
                if units.size:
                    direction = np.zeros(objective.layout.size)
                    direction[place] = objective.scale(name) * units / math.sqrt(units @ units)
                    size, error = _held_against(objective, direction, step, name)
                    sizes.append(size)
                    open_ += [(name, error)] if error > 0.0 else []
        except ComplexRefusedError as refused:
            objective.refuse_complex(str(refused))
        for name, error in open_:
            # What a tensor beside which the others are large could hide of an operation that is not analytic is small.
            if error > SHARP * max(sizes):
                objective.refuse_complex(f"central differences along {name} are too coarse to confirm it")
        objective.confirm_complex()
    return objective.complex_refusal is None


def _all_agree(objective: Objective, step: float) -> bool:
    """Say whether central differences confirm the complex step along one direction in which every tensor has its say.

    Where they do not, or a tensor has too little, each is looked at alone, and that tells which.
    """
    gradient, slices = objective.gradient, objective.layout.slices
    norms = {name: euclidean(gradient[place]) for name, place in slices.items() if place.start < place.stop}
    top = max(norms.values()) if gradient.size else 0.0
    if not (0.0 < top < math.inf and min(norms.values()) >= HEARD * top):
        return False
    rng, direction = np.random.default_rng(0), np.zeros(objective.layout.size)
    for name, norm in norms.items():
        direction[slices[name]] = random_direction(rng, slices[name].stop - slices[name].start) * (top / norm)
    if objective.frozen is not None:
        direction[objective.frozen] = 0.0
    direction /= objective.length(direction)
    beside = objective.beside(rng, ELSEWHERE[0])
    try:
        exact, central = complex_slope(beside, direction), central_slope(beside, direction, step)
    except ComplexRefusedError as refused:
        objective.refuse_complex(str(refused))
        return True
    if _is_confirmed_by(exact, central):
        objective.confirm_complex()
        return True
    return False


def _is_confirmed_by(exact: Slope, central: Slope) -> bool:
    size, mismatch = abs(exact.value), abs(exact.value - central.value)
    return mismatch <= NOT_ANALYTIC * size + central.bound and central.bound <= SHARP * size


def _held_against(objective: Objective, direction: Array, step: float, name: str) -> tuple[float, float]:
    """Hold the complex step against central differences beside the point, along a direction of length 1.

    Return the size of the slope, and the error of the central difference where that was too large to tell, else 0.
    Where the two differ, the complex step is refused.
    """
    size = error = 0.0
    for distance in ELSEWHERE:
        # Beside the point, because on a kink the two need not agree, and fresh networks have zeros to stand on.
        beside = objective.beside(np.random.default_rng(0), distance)
        exact, central = complex_slope(beside, direction), central_slope(beside, direction, step)
        size, tolerance = abs(exact.value), NOT_ANALYTIC * abs(exact.value)
        if _is_confirmed_by(exact, central):
            return size, 0.0
        ladder = Ladder(beside, direction)
        ladder.climb(ALL)
        ladder.noise = beside.noise
        finding = _certain(ladder, exact.value, tolerance)
        if finding.cause is Cause.AGREES and finding.bound <= SHARP * size:
            return size, 0.0
        if finding.cause is Cause.WRONG:
            objective.refuse_complex(
                f"along a random direction through {name} the complex step reads {exact.value:.6g} where central "
                f"differences read {finding.value:.6g}: an operation of the forward is not analytic (np.abs, .real, "
                "...)"
            )
            return size, 0.0
        error = finding.bound
    return size, error


def _with_complex_step(
    objective: Objective,
    ladder: Ladder,
    direction: Array,
    claimed: float,
    tolerance: float,
    by_ladder: Finding,
    exact: Slope,
) -> Finding:
    """Let the exact slope settle what the ladder read, unless a steady ladder contradicts it."""
    if by_ladder.at_kink and by_ladder.cause is not Cause.WRONG:
        return by_ladder
    mismatch = abs(claimed - exact.value)
    apart = abs(exact.value - by_ladder.value) > tolerance + CERTAIN * (by_ladder.bound + exact.bound)
    steady = by_ladder.cause is Cause.WRONG or (by_ladder.cause is Cause.AGREES and by_ladder.bound <= tolerance)
    if apart and by_ladder.cause is Cause.WRONG and not by_ladder.at_kink and mismatch > tolerance + exact.bound:
        evidence = (
            f"the complex step reads {exact.value:.6g} and central differences {by_ladder.value:.6g}, the gradient "
            f"says {claimed:.6g}: where two measurements contradict each other, neither is believed"
        )
        return replace(by_ladder, cause=Cause.ROUNDING, bound=abs(exact.value - by_ladder.value), evidence=evidence)
    if apart and steady and not by_ladder.at_kink:
        objective.refuse_complex(
            f"the complex step reads {exact.value:.6g} where central differences read {by_ladder.value:.6g} "
            "at every step: an operation of the forward is not analytic"
        )
        return by_ladder
    if mismatch <= tolerance + exact.bound:
        if by_ladder.cause is Cause.WRONG:
            return by_ladder
        agrees = f"the complex step reads {exact.value:.6g}, which agrees"
        evidence = by_ladder.evidence if by_ladder.cause is Cause.AGREES else f"{agrees}; else {by_ladder.evidence}"
        return Finding(Cause.AGREES, exact.value, exact.bound, by_ladder.step, evidence)
    if by_ladder.cause is Cause.WRONG:
        return by_ladder if apart else replace(by_ladder, value=exact.value)
    noise = _noise_of_complex(objective, ladder, direction, exact.value)
    if mismatch > tolerance + CERTAIN * noise and not apart and _is_confirmed(objective, direction):
        evidence = f"the complex step reads {exact.value:.6g} ± {noise:.1g}, the gradient says {claimed:.6g}"
        return Finding(Cause.WRONG, exact.value, noise, by_ladder.step, evidence)
    if by_ladder.cause is Cause.AGREES:
        return by_ladder
    evidence = f"rounding moves the complex step by {noise:.2g}, the mismatch is {mismatch:.2g}; {by_ladder.evidence}"
    return Finding(Cause.ROUNDING, exact.value, noise, by_ladder.step, evidence)


def _noise_of_complex(objective: Objective, ladder: Ladder, direction: Array, here: float) -> float:
    """Bound what rounding does to a complex slope, at the scale of the steps as well as of a last place."""
    rng = np.random.default_rng(0)

    def slope(t: float) -> float:
        return complex_slope(objective.moved(direction, t / ladder.length), direction).value

    noise = max(noise_away(slope, rng, PLACES), noise_from(slope, 0.0, rng))
    return max(BOUND * noise, complex_noise(objective, direction, here))


def _is_confirmed(objective: Objective, direction: Array) -> bool:
    """Say whether central differences confirm the complex step along this direction, at the point or further beside."""
    length = objective.length(direction)
    return (
        length > 0.0
        and _held_against(objective, direction / length, 1e-5, "it")[1] == 0.0
        and (objective.complex_refusal is None)
    )


def _around(objective: Objective, direction: Array, claimed: float, finding: Finding) -> Finding:
    """Set a slope at a kink aside if the gradient could be a mixture of the slopes around the point.

    Where several kinks meet at a point, a gradient that takes one side at each of them need not lie between the
    two slopes along one line, only within what the slopes around the point span; twice that span is allowed,
    since they are a sample.
    """
    across = ACROSS / objective.length(direction)
    low, high = slopes_around(objective, direction, AROUND, lambda beside, d: central_slope(beside, d, across))
    span = high - low
    if not low - span <= claimed <= high + span:
        return finding
    evidence = (
        f"the point lies on a kink: slopes around it go from {low:.6g} to {high:.6g}, and the gradient "
        f"{claimed:.6g} could be a mixture of them"
    )
    return Finding(Cause.KINK, claimed, span, finding.step, evidence, True)


def _allowing_for_backprop(
    objective: Objective, direction: Array, claimed: float, tolerance: float, finding: Finding
) -> Finding:
    """Call nothing wrong that is within the rounding of the gradient itself, measured where it can be evaluated."""
    mismatch, length = abs(claimed - finding.value), objective.length(direction)
    noise = length * objective.floor()
    if objective.gradient_at is not None and math.isfinite(mismatch):
        # More than the arithmetic makes is no rounding, but a gradient that jumps, as that of a maximum does; unless
        # all of it is the difference of larger numbers.
        share = HIGHEST if objective.is_staircase else SINGLE
        most = max(share * abs(claimed), length * objective.floor(asked=False))
        if mismatch <= tolerance + CERTAIN * most:  # else no noise that is believed explains it
            seen = BOUND * noise_of_steps(lambda t: objective.claimed_along(direction, t / length))
            noise = max(noise, min(seen, most))
    if mismatch > tolerance + CERTAIN * noise:
        size = euclidean(direction)
        most = max(length * objective.floor(asked=False), ROUNDING * EPS * size)
        # What is far below a last place of 1 is made of smaller numbers.
        is_like_one = LAST * size < mismatch <= CERTAIN * most
        if not is_like_one or _is_elsewhere(objective, direction, claimed, finding):
            return finding
        noise = most
    evidence = (
        f"the mismatch of {mismatch:.1g} is no more than what the rounding of a gradient's own terms makes "
        f"({noise:.1g}), as where p - y is taken of a saturated output"
    )
    return replace(finding, cause=Cause.ROUNDING, bound=max(finding.bound, noise), evidence=evidence)


def _is_elsewhere(objective: Objective, direction: Array, claimed: float, finding: Finding) -> bool:
    """Say whether a mismatch that rounding of numbers like 1 could have made is seen further away, too.

    A mistake is the same share of the slope there, or grows; what such rounding makes never exceeds a last place of 1.
    ``p - y`` near 1 is a staircase so wide that nothing closer tells: it takes 0.5 to move p by one last place.
    """
    if objective.gradient_at is None:
        return True
    length, rounding = objective.length(direction), BOUND * EPS * euclidean(direction)
    share, shares = (claimed - finding.value) / (finding.value or 1.0), list[float]()
    for distance in FAR_AWAY:
        there = objective.moved(direction, distance / length)
        try:
            slope = complex_slope(there, direction) if objective.complex_confirmed else None
        except ComplexRefusedError:
            slope = None
        if slope is None:
            slope, finer = (central_slope(there, direction, h * finding.step / length) for h in (1.0, FAR[1]))
            slope = Slope(finer.value, finer.bound + abs(slope.value - finer.value))  # what bends within a step too
        mismatch = objective.claimed_along(direction, distance / length) - slope.value
        if abs(mismatch) > slope.bound + rounding:
            return True
        if abs(slope.value) >= abs(finding.value) and math.isfinite(mismatch):  # where rounding counts for less
            shares.append(mismatch / (slope.value or 1.0) / share)
    return bool(shares) and all(0.5 <= each <= 2.0 for each in shares)
