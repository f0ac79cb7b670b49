"""The ladder: one slope at many steps, from both sides, and what the readings together say of it.

A reading counts where the noise leaves it standing, and it stands while no finer one contradicts it. Of a wrong
gradient the mismatch stays put as the step shrinks; at a kink the gap between left and right slopes stays.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from checks.measure.layout import Array
from checks.measure.noise import BITS, BOUND, bits_of, sampled
from checks.measure.objective import EPS, Objective
from checks.verdict import Cause

#: Steps in units of the base step: those that usually settle it, and those that do at a kink close by.
FIRST = (10.0, 1.0, 0.1)
FINER = (0.01, 0.001)
#: All steps, in units of ``max(1, |theta|)``: for losses that are coarse, and for those that bend close to the point.
ALL = (0.1, 0.1**1.5, 0.1**2, 0.1**2.5, *(0.1**power for power in range(3, 13)))
#: The truncation of a central difference falls with the square of the step; so many times less is allowed for.
SHORT = 3.0
#: How many bounds apart two readings must lie before rounding is ruled out.
CERTAIN = 2.0
#: Between the first and the last of three rungs a gap that stays keeps more than this share of itself, and less than
#: its inverse: where the loss only bends it falls a hundredfold.
STAYS = 0.7
#: A kink is one of the point if the gap is still there at a step below this one.
CLOSE = 1e-3
#: Share of a mismatch that the rungs which show it may differ by.
STEADY = 0.5


@dataclass(frozen=True)
class Rung:
    """Slopes to the left, to the right and across the point at one step; ``bound`` is for noise in ``central``."""

    step: float
    left: float
    right: float
    bound: float
    flat: bool = False  # the loss is the same to the last bit on both sides: no evidence, where it should have moved

    @property
    def central(self) -> float:
        """The central difference: the mean of the one-sided slopes."""
        return 0.5 * self.left + 0.5 * self.right

    @property
    def gap(self) -> float:
        """How far the one-sided slopes lie apart."""
        return abs(self.right - self.left)


@dataclass(frozen=True)
class Finding:
    """What the examination of one slope found."""

    cause: Cause  # AGREES, WRONG, KINK, ROUNDING, NOT_FINITE or NO_DEPENDENCE
    value: float  # the best measured slope
    bound: float  # on its error
    step: float  # of the best central reading
    evidence: str  # the readings on which the cause rests, in one sentence
    #: Whether left and right slopes stay apart down to the smallest step that can tell. What agrees with one side there
    #: is right for this direction; whether it is for several at once has to be asked.
    at_kink: bool = False


class Ladder:
    """One slope of an objective at many steps; ``noise`` bounds what rounding does to one evaluation.

    Steps are in units of ``max(1, |theta|)``, slopes in those of the direction.
    """

    def __init__(self, objective: Objective, direction: Array) -> None:
        self._objective = objective
        self._direction = direction
        self.length = objective.length(direction) or 1.0
        self.here = abs(objective.value)
        self.claims_any = bool(objective.gradient.any())
        self.is_fine = bits_of(np.array([objective.value])) == BITS[-1]  # of a loss in float64
        self.noise = 0.0  # as long as nobody has measured it, a few last places of the loss
        self._local: dict[float, float] = {}
        self._sides: dict[float, tuple[float, float]] = {}

    def at(self, step: float) -> float:
        """Evaluate the loss beside the point."""
        return self._objective.along(self._direction, step / self.length)

    def climb(self, steps: Iterable[float]) -> None:
        """Measure at these steps, from both sides."""
        for step in steps:
            if step > 0.0 and not any(abs(step / known - 1.0) < 0.1 for known in self._sides):
                self._sides[step] = self.at(step), self.at(-step)

    def look_at(self, step: float, rng: "np.random.Generator") -> bool:
        """Measure the noise at the point itself, at the scale of a step and the next finer; False if it is known.

        It may be more than that around. Only coarser steps can have seen it, so that what bends within one spoils no
        finer one.
        """
        if step in self._local:
            return False
        for at in (step, 0.1 * step):
            spacing = 0.25 * at
            self._local[at] = BOUND * sampled(self.at, float(rng.uniform(-4.0, 0.0)) * spacing, spacing)
        return True

    @property
    def is_flat_nearby(self) -> bool:
        """Whether the loss is the same to the last bit on both sides, at all of the finer half of the steps."""
        rungs = self.rungs
        return all(rung.flat for rung in rungs[len(rungs) // 2 :])

    def sides(self, steps: Iterable[float] = ()) -> list[tuple[float, float, float]]:
        """Give steps with the slopes on the left and on the right, finite or not: these, or those of the rungs."""
        here = self._objective.value
        wanted = {step: (self.at(step), self.at(-step)) for step in steps} or self._sides
        sides = sorted(wanted.items(), reverse=True)
        return [(h, (here - minus) * self.length / h, (plus - here) * self.length / h) for h, (plus, minus) in sides]

    @property
    def rungs(self) -> list[Rung]:
        """Give the readings from coarse to fine; steps at which the loss is not finite are left out."""
        here, rungs = self._objective.value, []
        with np.errstate(over="ignore", invalid="ignore"):
            for step, (plus, minus) in sorted(self._sides.items(), reverse=True):
                h = step / self.length
                local = max([0.0, *(noise for at, noise in self._local.items() if at <= 1.01 * step)])
                noise = max(self.noise, local, BOUND * EPS * max(abs(plus), abs(minus)))
                rung = Rung(step, (here - minus) / h, (plus - here) / h, noise / h, plus == minus == here)
                if np.isfinite(rung.central):
                    rungs.append(rung)
        return rungs


@dataclass(frozen=True)
class Reading:
    """The best slope that a ladder gives, and how far it may be off."""

    value: float
    error: float
    step: float
    bent: float = 0.0  # what a kink within the step may add, for all that the gaps say


def best_reading(rungs: list[Rung]) -> Reading | None:
    """Give the reading with the least error among those that no finer rung contradicts; None if there is none."""
    found: list[Reading] = []
    for place in range(len(rungs) - 1):
        middle, fine = rungs[place], rungs[place + 1]
        value, error, bent = middle.central, abs(middle.central - fine.central), middle.gap
        if place > 0:
            coarse = rungs[place - 1]
            ratio = (coarse.step / middle.step) ** 2  # by which the truncation falls (Richardson's extrapolation)
            value += (middle.central - coarse.central) / (ratio - 1.0)
            error = max(SHORT * abs(value - middle.central) / ratio, abs(value - fine.central))
            # Of a smooth loss the gap between left and right falls with the step; what is left of it, kinks make.
            bent = abs((middle.right - middle.left) - (coarse.right - coarse.left) * middle.step / coarse.step)
        error += middle.bound + max(0.0, bent - 2.0 * CERTAIN * middle.bound)
        if all(abs(value - finer.central) <= error + 2.0 * finer.bound for finer in rungs[place + 1 :]):
            found.append(Reading(value, error, middle.step, bent))
    return min(found, key=lambda reading: reading.error, default=None)


def kink(rungs: list[Rung]) -> Rung | None:
    """Give the rung that knows the slopes at a kink best, if their gap stays down to the finest that tells."""
    telling = [rung for rung in rungs if rung.gap > CERTAIN * 2.0 * rung.bound]
    if not telling or telling[-1].step >= CLOSE:
        return None
    fine = telling[-1]
    before = [rung for rung in rungs if 50.0 * fine.step < rung.step < 2000.0 * fine.step][-1:]
    between = [rung for rung in rungs if fine.step < rung.step < 50.0 * fine.step]
    same = [*before, *between, fine]
    stays = all(STAYS * rung.gap < fine.gap < rung.gap / STAYS for rung in same)
    closed = [rung for rung in rungs if rung.step < fine.step and CERTAIN * 2.0 * rung.bound < 0.5 * fine.gap]
    if not before or not stays or closed:
        return None
    # The finest is drowned in noise more than the others, which bends take further from the slopes at the point.
    while len(same) < len(telling) and STAYS < telling[-len(same) - 1].gap / fine.gap < 1.0 / STAYS:
        same.insert(0, telling[-len(same) - 1])
    off = [2.0 * r.bound + abs(r.left - n.left) + abs(r.right - n.right) for r, n in pairwise(same)]
    return min(zip(off, same, strict=False), key=lambda pair: pair[0])[1]


def read(rungs: list[Rung], claimed: float, tolerance: float) -> Finding:
    """Read a ladder against a claimed slope."""
    # Where no step moves the loss, it does not depend on this; where finer ones alone do not, they lie on a stair.
    flat = all(rung.flat for rung in rungs)
    standing = [rung for rung in rungs if flat or not rung.flat or abs(claimed) <= rung.bound]
    if len(rungs) < 2:
        evidence = "the loss is not finite beside the point at any step"
        return Finding(Cause.NOT_FINITE, float("nan"), float("inf"), 0.0, evidence)
    bend = kink(standing)
    best = best_reading(standing)
    if bend is not None:
        low, high = sorted((bend.left, bend.right))
        margin = 2.0 * CERTAIN * bend.bound + tolerance
        evidence = (
            f"at step {bend.step:.0e} the slope is {bend.left:.6g} on the left and {bend.right:.6g} on the right, and "
            f"the gradient {claimed:.6g} lies between"
        )
        if min(abs(claimed - low), abs(claimed - high)) <= margin:  # right for this direction alone: see `at_kink`
            side = f"at step {bend.step:.0e} the slope is {bend.left:.6g} on the left and {bend.right:.6g} on the right"
            return Finding(Cause.AGREES, claimed, margin, bend.step, side, True)
        if low - margin <= claimed <= high + margin:
            return Finding(Cause.KINK, claimed, bend.gap, bend.step, evidence, True)
        nearer = low if claimed < low else high
        evidence = evidence.replace("lies between", "does not lie between")
        return Finding(Cause.WRONG, nearer, 2.0 * bend.bound, bend.step, evidence, True)
    if best is None:
        evidence = "no two steps read the same slope: the loss is rough, or bends, at every step"
        return Finding(Cause.ROUNDING, float("nan"), float("inf"), 0.0, evidence)
    mismatch = abs(claimed - best.value)
    if mismatch <= tolerance + best.error:
        evidence = f"step {best.step:.0e} reads {best.value:.6g} ± {best.error:.1g}"
        return Finding(Cause.AGREES, best.value, best.error, best.step, evidence)
    telling = [
        rung
        for rung in standing
        if rung.step <= best.step
        and CERTAIN * rung.bound < mismatch
        and abs(rung.central - best.value) < STEADY * mismatch
    ]
    if mismatch > tolerance + CERTAIN * best.error + best.bent and len(telling) >= 2:
        evidence = (
            f"from step {telling[0].step:.0e} to {telling[-1].step:.0e} the mismatch stays: the slope is "
            f"{best.value:.6g} ± {best.error:.1g} at step {best.step:.0e}, the gradient says {claimed:.6g}"
        )
        return Finding(Cause.WRONG, best.value, best.error, best.step, evidence, bend is not None)
    evidence = (
        f"rounding hides the answer: at the best step {best.step:.0e} the slope is {best.value:.6g} ± {best.error:.1g}"
        f", but {tolerance:.1g} is needed"
    )
    return Finding(Cause.ROUNDING, best.value, best.error, best.step, evidence)
