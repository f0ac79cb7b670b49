"""Segments through one tensor: how far the loss moves along each, and how far the claimed gradient says it should.

The loss at one point less the loss at another is the integral of its gradient along the segment between them. So the
claimed gradient, asked at the nodes of a Gauss rule, says how far the loss should move over a step as long as it takes
for the move to rise above the rounding, and no curvature is mistaken for a mistake.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from checks.measure.difference import euclidean
from checks.measure.layout import Array
from checks.measure.noise import BITS, BOUND, bits_of
from checks.measure.objective import Objective
from checks.measure.regression import Fit

#: Gauss-Legendre on [-1/2, 1/2]: exact for polynomials up to degree 5. Its nodes are not the ends of the segment, so
#: that what rounds the gradients has nothing to do with what rounds the losses.
NODES = (-math.sqrt(0.15), 0.0, math.sqrt(0.15))
WEIGHTS = np.array([5.0, 8.0, 5.0]) / 18.0
#: Losses and gradients that a segment takes, and that a tensor may take.
COST, AT_MOST = 2 + len(NODES), 300
#: Segments drawn at a time, and those by which a reach is tried.
BATCH, TRIAL = 8, 5
#: How far a segment goes at first, in each entry, in units of the tensor's root mean square; the shortest and the
#: longest ones that are tried, and how many times one reach is the next. Far away all is saturated or linear, and then
#: what rounds a gradient is the same everywhere. A small tensor may go as far as 1.
FIRST, SHORTEST, LONGEST, TIMES = 0.3, 1e-3, 3.0, 3.0
#: Noise of a move, as a share of it, that a loss in float32 is to have: short segments cross few kinks.
AUDIBLE = 1e-3
#: A gradient whose unit of roundoff is larger is computed in bfloat16 or float16.
FINER = 2.0**-12
#: The least of these units, and that of tensors of zeros: a scalar may be anything by chance.
SMALLEST = 0.1
#: Noise of a move, as a share of it, at which segments are long enough.
QUIET = 0.01
#: How much of the claimed moves the second differences between the nodes make where segments grow no longer, and where
#: they show nothing wrong.
BENT, TOO_BENT = 0.2, 0.4
#: Every other segment is that much shorter: a mistake of the rule would be far smaller there, one of the gradient not.
SHORTER = 0.6
#: How far the segments' ends lie from the point: several spacings of bfloat16.
DITHER = 0.05
#: A segment counts the less the more it bends: as if this share of its bend, as of a kink on the way, were noise.
KINKED = 0.3
#: Lines on which the noise of a loss is measured, and the spacing of the four points on each, in the same units: third
#: differences of noise have 20 times its variance. So few of them may show less of it than there is.
LINES, SPACING, FEW = 4, 0.02, 1.5
THIRD = np.array([1.0, -3.0, 3.0, -1.0])
#: Entries of a tensor up to which the steps are kept: of more, so few segments cannot tell one from the others.
ENTRIES = 4096


@dataclass(frozen=True)
class Segment:
    """One step through the tensor: how far the loss moved, and how far the gradient says it should."""

    step: Array
    claimed: float
    measured: float
    bend: float  # second difference of the claimed slopes, times the weight of one
    reach: float
    is_short: bool

    @property
    def is_finite(self) -> bool:
        """Whether it tells anything."""
        return math.isfinite(self.claimed + self.measured + self.bend)

    def times(self, weight: float) -> "Segment":
        """Give the same, as it counts by this weight."""
        moved: dict[str, Any] = {
            "step": weight * self.step,
            "claimed": weight * self.claimed,
            "measured": weight * self.measured,
            "bend": weight * self.bend,
        }
        return replace(self, **moved)


class Segments:
    """The segments through a tensor, or some entries of it, or along a direction, so far, and how precise they are."""

    def __init__(
        self,
        objective: Objective,
        gradient_at: Callable[[Array], Array],
        name: str | None,
        rng: "np.random.Generator",
        direction: Array | None = None,
        among: Array | None = None,
    ) -> None:
        self.objective, self.rng = objective, rng
        self._gradient_at = gradient_at
        self._direction = direction
        self.place = slice(0, objective.point.size) if name is None else objective.layout.slices[name]
        self.units = _units(objective)
        is_moved = np.isfinite(objective.point[self.place]) & (True if among is None else among)
        #: How far a step goes in each entry, at reach 1.
        self.lengths: Array = np.where(is_moved, np.maximum(self.units[self.place], SMALLEST), 0.0)
        self.size = self.place.stop - self.place.start
        self.made: list[Segment] = []
        self.reach = FIRST
        self.straightest = math.inf  # of all reaches tried, the smallest share of bends
        self.bits = {each: 0 for each in objective.layout.slices}  # that the claimed gradients have needed so far
        self.loss_bits = 0
        self.largest = np.abs(objective.gradient[self.place])  # of each entry's slopes
        self.largest_loss = 0.0
        self.evaluations = 0

    @property
    def is_spent(self) -> bool:
        """Whether there is no room for another batch."""
        return self.evaluations + COST * TRIAL > AT_MOST

    @property
    def is_unclaimed(self) -> bool:
        """Whether the gradient says that the loss does not move at all."""
        return bool(self.made) and not any(segment.claimed for segment in self.made)

    @property
    def grain(self) -> float:
        """The least noise of a move: what the losses' own last place makes."""
        spacing = 2.0 ** (math.frexp(self.largest_loss)[1] - self.loss_bits) if self.loss_bits else 0.0
        return spacing / math.sqrt(6.0)

    @property
    def roundoff(self) -> float:
        """The unit of roundoff in which the gradient is computed, or some tensor of it; 0 for float64."""
        bits = min((bits for bits in self.bits.values() if bits), default=BITS[-1])
        return 2.0**-bits if bits < BITS[-1] else 0.0

    @property
    def is_fine(self) -> bool:
        """Whether the loss is known to be a staircase, but no coarser one than float32 makes."""
        return self.objective.is_staircase and not self.objective.is_rough and self.roundoff <= FINER

    def choose_reach(self) -> None:
        """Try shorter segments while curvature bends them, or longer ones while the noise is large."""
        bent, noisy = self._try(FIRST)
        reach = self._quiet_reach() if self.is_fine else self._tried_reach(bent, noisy)
        self.made = [segment for segment in self.made if segment.reach <= reach]
        self.reach = reach

    def _quiet_reach(self) -> float:
        """Draw segments at the reach at which the noise is just heard beside the moves; give it."""
        claimed = columns(self.made)[0]
        size = euclidean(claimed) / math.sqrt(max(1, claimed.size))
        reach = max(SHORTEST, FIRST * min(1.0, self.noise / (AUDIBLE * size) if size > 0.0 else 1.0))
        if reach < FIRST:
            self._try(reach)
        return reach

    def _tried_reach(self, bent: float, noisy: float) -> float:
        reach, longest = FIRST, max(LONGEST, 1.0 / float(np.max(self.lengths, initial=SMALLEST)))
        is_long = 2.0 * bent > BENT
        while is_long and (bent > BENT or noisy > QUIET) and reach > SHORTEST:
            next_bent, next_noisy = self._try(reach / TIMES)
            if next_noisy > noisy and bent <= TOO_BENT:
                break
            reach, bent, noisy = reach / TIMES, next_bent, next_noisy
        while not is_long and noisy > QUIET and reach * TIMES <= longest:
            next_bent, next_noisy = self._try(reach * TIMES)
            if next_bent > BENT or next_noisy > noisy:
                return reach * (math.sqrt(TIMES) if next_bent < TIMES * BENT else 1.0)
            reach, bent, noisy = reach * TIMES, next_bent, next_noisy
        return reach

    def _try(self, reach: float) -> tuple[float, float]:
        """Draw a few segments; give the share of bends in the claimed moves, and that of noise."""
        self.reach, start = reach, len(self.made)
        self.draw(TRIAL)
        claimed, measured, bends = columns(self.made[start:])
        size = euclidean(claimed)
        if claimed.size < TRIAL:
            return math.inf, math.inf
        if size == 0.0:
            return 0.0, 0.0
        bent = euclidean(bends) / size
        self.straightest = min(self.straightest, bent)
        return bent, Fit.of(claimed, measured, self.grain).noise * math.sqrt(TRIAL) / size

    def shorten(self) -> None:
        """Go on with shorter segments alone, unless these are the shortest."""
        if self.reach > SHORTEST:
            self.made = [segment for segment in self.made if segment.reach < self.reach]
            self.reach /= TIMES

    def draw(self, number: int) -> None:
        """Go along some more segments, from near the point."""
        room = (AT_MOST - self.evaluations) // COST
        for count in range(len(self.made), len(self.made) + min(number, room)):
            step = self.step(count // 2) * (self.reach * (SHORTER if count % 2 else 1.0))
            middle = self.beside()
            middle[self.place] += 0.5 * step
            slopes = [self.slopes(self.moved(middle, node * step)) for node in NODES]
            start, end = (self.loss(self.moved(middle, side * step)) for side in (-0.5, 0.5))
            claims = np.array([float(slope @ step) for slope in slopes])
            bend = float(WEIGHTS[0] * (claims[0] - 2.0 * claims[1] + claims[2]))
            kept = step if self.size <= ENTRIES else step[:0]
            made = Segment(kept, float(WEIGHTS @ claims), end - start, bend, self.reach, count % 2 == 1)
            if made.is_finite:
                self.largest = np.maximum(self.largest, np.abs(slopes[1]))
            self.made.append(made)

    @cached_property
    def noise(self) -> float:
        """The noise of one move as rounding makes it, measured once, at places that segments lead to."""
        if self.is_fine:
            return max(self.grain, math.sqrt(2.0) * self.objective.noise / BOUND)
        squares = []
        for line in range(LINES):
            start, step = self.beside(), SPACING * self.units * self.rng.uniform(-1.0, 1.0, self.units.size)
            start[self.place] += self.rng.uniform(0.0, self.reach) * self.step(line)
            losses = np.array([self.loss(start + place * step) for place in range(THIRD.size)])
            squares.append(float(THIRD @ losses) ** 2 / float(THIRD @ THIRD))
        finite = [each for each in squares if math.isfinite(each)] or [math.inf]
        return max(self.grain, FEW * math.sqrt(2.0 * sum(finite) / len(finite)))

    def beside(self) -> Array:
        """Give a point near the one in question."""
        beside: Array = self.objective.point + DITHER * self.units * self.rng.uniform(-1.0, 1.0, self.units.size)
        return beside

    def moved(self, vector: Array, step: Array) -> Array:
        """Give the vector with the tensor moved."""
        moved = vector.copy()
        moved[self.place] += step
        return moved

    def loss(self, vector: Array) -> float:
        """Evaluate the loss."""
        self.evaluations += 1
        loss = self.objective.at(vector)
        if math.isfinite(loss):
            self.loss_bits = max(self.loss_bits, bits_of(np.array([loss])))
            self.largest_loss = max(self.largest_loss, abs(loss))
        return loss

    def slopes(self, vector: Array) -> Array:
        """Ask for the claimed gradient."""
        self.evaluations += 1
        gradient = self._gradient_at(vector)
        for name, place in self.objective.layout.slices.items():
            if self.bits[name] < BITS[-1]:
                self.bits[name] = max(self.bits[name], bits_of(gradient[place]))
        slopes: Array = np.where(self.lengths > 0.0, gradient[self.place], 0.0)  # of a mask, it may be NaN
        return slopes

    def step(self, kind: int) -> Array:
        """Draw a step: where the loss should move most, or through all entries, or through a few of them, far."""
        if self._direction is not None:
            return self._as_long(self.rng.choice((-1.0, 1.0)) * self._direction)
        slopes = np.where(self.lengths > 0.0, self.objective.gradient[self.place], 0.0)
        signs = self.rng.choice((-1.0, 1.0), self.size)
        if kind % 4 and slopes.any():
            step = signs[0] * self.rng.uniform(0.2, 1.0, self.size) * (slopes / np.max(np.abs(slopes)))
        else:
            step = signs * self.lengths
            few = step * (self.rng.random(self.size) < max(0.125, 2.0 / self.size))
            step = few if kind % 8 and few.any() else step
        return self._as_long(step)

    def _as_long(self, step: Array) -> Array:
        """Make a step as long as all: as one by a unit in every entry, or in every entry of a direction."""
        moved = self.lengths if self._direction is None else self.lengths[self._direction != 0.0]
        length = euclidean(step)
        return np.asarray(step * (euclidean(moved) / length) if length > 0.0 else step)


def columns(segments: Sequence[Segment]) -> tuple[Array, Array, Array]:
    """Give what is claimed, measured and bent of the segments; all that is not finite is left out."""
    rows = [(each.claimed, each.measured, each.bend) for each in segments if each.is_finite]
    table = np.array(rows).reshape(-1, 3)
    return table[:, 0], table[:, 1], table[:, 2]


def _units(objective: Objective) -> Array:
    """Give each entry the root mean square of its tensor; one that is not finite, as of a mask, is not moved."""
    units = np.zeros(objective.point.size)
    for place in objective.layout.slices.values():
        part = objective.point[place]
        finite = np.isfinite(part)
        size = euclidean(part[finite]) / math.sqrt(max(1, int(np.count_nonzero(finite))))
        units[place] = np.where(finite, size or SMALLEST, 0.0)
    return units


def weighted(made: list[Segment], grain: float) -> list[Segment]:
    """Let segments count by what is known of their noise."""
    claimed, measured, bends = columns(made)
    left = measured - Fit.of(claimed, measured).factor * claimed
    noise = max(float(np.median(np.abs(left))) if left.size else 0.0, grain)
    if not noise > 0.0:
        return made
    weights = noise / np.hypot(noise, KINKED * bends)
    return [each.times(float(weight)) for each, weight in zip(made, weights, strict=True)]
