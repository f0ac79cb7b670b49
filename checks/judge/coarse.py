"""The coarse verdict on a tensor, where the loss is too coarse for any one of its slopes: bfloat16 or float16 inside.

Over many segments around the point, how far the loss moved is regressed on how far the claimed gradient says it should.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from checks.explain.entries import Suspect
from checks.judge.power import CONFIDENCE
from checks.measure.difference import euclidean
from checks.measure.layout import Array
from checks.measure.noise import BITS, bits_of
from checks.measure.objective import Objective
from checks.measure.regression import EntryFits, Fit, students
from checks.measure.segments import (
    AT_MOST,
    BATCH,
    ENTRIES,
    FINER,
    FIRST,
    TIMES,
    TOO_BENT,
    WEIGHTS,
    Segment,
    Segments,
    columns,
    weighted,
)
from checks.report.findings import TensorReport
from checks.verdict import Cause, Verdict

#: Chance that a right tensor is called wrong at a look at it, and that half of its segments alone say so.
CHANCE, HALF_CHANCE = 1e-8, 1e-3
#: What the Gauss rule may be off by, as a multiple of the bends' share cubed: tanh, over up to two units.
CUBED = 0.2
#: What kinks that all long segments cross may make together, as a share of the bends: one right tensor of float16 in
#: 10,000, where they went 2.7 far, was 1.5 % off with bends of 10 %.
KINKS = 0.1
#: If all of the bends is rounding of the gradients, its share of the variance of the claimed moves is the square of
#: theirs times this. Noise in what it is regressed on draws a factor towards 0.
BLUR = 2.0 * float(WEIGHTS @ WEIGHTS / (6.0 * WEIGHTS[0] ** 2))
#: So few segments at one reach may be straighter than the others, by luck.
LUCKY = 1.5
#: The least noise of a move, as a share of what was measured: moves that all vanish within a stair show none.
LEAST = 0.3
#: Where the noise is more than this share of the moves, they may be within a stair of the loss, and systematically off.
DROWNED = 1.0
#: What no dithering moves is rounded as well. A gradient in low precision may be off as a whole by so many units of
#: roundoff; and one of higher precision than its loss does not know how that rounds its data, which is as much as
#: rounding the parameters does over a step of length 1: so many times the noise of a segment, or of one in low
#: precision, which rounds its data as the loss does.
UNITS, DATA, SAME_DATA = 2.0, 2.0, 0.25
#: How many times what rounding and kinks make of a move is more than that, in most of at least so many segments.
UNHEARD_OF, ENOUGH = 20.0, 16
#: Scale error that is excluded: enough to stop, and the most that a PASS may leave; and of an entry, enough to stop.
FINE, COARSEST, FINE_ENTRY = 0.03, 0.1, 0.2
#: Of the largest entry: a smaller error of one entry is never certain, for a kink may lie on the few steps through it.
SMALL_ENTRY = 0.1
#: Where the loss is finer than bfloat16: what a PASS may leave of scale errors, what is enough to stop, and what slopes
#: may leave without segments being asked.
SEES, FINEST, WORTH = 9e-3, 1e-3, 2e-4
#: Share of a mismatch that segments need not exclude for there to be none.
REFUTED = 0.5
#: What to do where the gradient was given as numbers.
NUMBERS_ONLY = "; pass the gradient as a function, so that it can be asked at other points"
#: Evaluations from which on it is no use to name their number.
MANY = 1e4
#: Lines, points on each, and degree of what counts as a smooth move: where nothing is claimed, there is no regression.
LINES, POINTS, DEGREE = 5, 9, 4
#: How many times the mean square of a smooth move is that of the rest before it is no chance: below `CHANCE` in normal
#: noise, with 20 degrees of freedom on either side.
CLEAR = 25.0


@dataclass(frozen=True)
class CoarseFinding:
    """What the segments through one tensor say; ``measured = factor · claimed``, as far as they tell."""

    verdict: Verdict
    cause: Cause
    evidence: str
    factor: float = math.nan
    half_width: float = math.inf  # of the factor's confidence interval, with all that may be systematic
    excluded_scale: float = math.inf  # an error of scale above this share is excluded
    excluded_entry: float = math.inf  # an error of one entry above this share of the largest entry is
    worst: int | None = None  # a wrong entry, in the tensor's flat order, if it is one or all that are zero
    n_wrong: int = 0  # of such entries
    confidence: float = CONFIDENCE
    evaluations: int = 0  # of the loss and of the gradient


def is_for_segments(objective: Objective) -> bool:
    """Say whether a loss is so coarse that no single slope tells anything, and segments may."""
    # The noise is dear to measure.
    return may_tell(objective) and objective.noise > 0.0 and objective.is_rough and objective.moves


def may_tell(objective: Objective) -> bool:
    """Say whether segments may tell more than slopes: loss or gradient are computed in less than float64.

    Of a staircase that has another reason, as where ``1 - p`` cancels, long steps leave the stairs for other ground.
    """
    parts = [objective.gradient[place] for place in objective.layout.slices.values()]
    return objective.gradient_at is not None and any(
        0 < bits_of(part) < BITS[-1] for part in (np.array([objective.value]), *parts)
    )


def wanting(objective: Objective) -> str:
    """Say what is wanting where segments might tell, if anything is."""
    if not objective.is_rough or objective.gradient_at is not None:
        return ""
    return NUMBERS_ONLY


def judge_coarsely(objective: Objective, name: str, rng: "np.random.Generator") -> CoarseFinding:
    """Judge one tensor by losses and gradients at many points around; where entries of it are zero, these as well."""
    found, gradient = _judged(objective, name, rng), objective.gradient[objective.layout.slices[name]]
    n_zeros = gradient.size - int(np.count_nonzero(gradient))
    if found.verdict is Verdict.FAIL or not 0 < n_zeros < gradient.size:
        return found
    # What goes along the gradient never moves these, and a kernel that leaves out the end of a row is right there.
    of_zeros = _judged(objective, name, rng, gradient == 0.0)
    evaluations = found.evaluations + of_zeros.evaluations
    if of_zeros.verdict is not Verdict.FAIL:
        return replace(found, evaluations=evaluations)
    evidence = f"in the {n_zeros} of {gradient.size} entries where it is zero: {of_zeros.evidence}"
    worst = int(np.argmax(gradient == 0.0))
    return replace(of_zeros, evidence=evidence, worst=worst, n_wrong=n_zeros, evaluations=evaluations)


def _judged(objective: Objective, name: str, rng: "np.random.Generator", among: Array | None = None) -> CoarseFinding:
    """Judge a tensor, or some entries of it, by at most `AT_MOST` losses and gradients."""
    if objective.gradient_at is None:
        evidence = f"the loss is too coarse for any one slope{NUMBERS_ONLY}"
        return CoarseFinding(Verdict.UNDECIDED, Cause.ROUNDING, evidence)
    segments = Segments(objective, objective.gradient_at, name, rng, among=among)
    segments.choose_reach()
    while True:
        if segments.is_unclaimed:
            finding = _unclaimed(segments)
            return replace(finding, evaluations=segments.evaluations)
        reading = _Reading(segments)
        finding = reading.finding()
        if finding.verdict is not Verdict.UNDECIDED or segments.is_spent:
            return replace(finding, evaluations=segments.evaluations)
        if reading.bent >= TOO_BENT:
            segments.shorten()
        segments.draw(BATCH)


def sharper(
    report: TensorReport, objective: Objective, name: str, rng: "np.random.Generator"
) -> tuple[TensorReport, Suspect | None]:
    """Judge a tensor by segments too where slopes tell little of it, as in float32; give what tells more.

    The suspect comes with what segments say.
    """
    is_asked = report.cause is Cause.ROUNDING or report.precision > WORTH
    if is_asked and objective.is_staircase and may_tell(objective):
        found, suspect = coarse_report(objective, name, rng)
        is_finer = found.verdict is Verdict.PASS and found.precision <= (report.precision or SEES)
        if is_finer or found.verdict is Verdict.FAIL:
            return found, suspect
    return report, None


def is_seen_around(objective: Objective, direction: Array, share: float) -> bool:
    """Say whether a mismatch of this share of the slope stands out along segments around the point as well.

    Kinks within the long steps that a coarse loss needs look like a mistake here and there; a mistake is everywhere.
    """
    if objective.gradient_at is None:
        return True
    segments = Segments(objective, objective.gradient_at, None, np.random.default_rng(0), direction)
    segments.choose_reach()
    while True:
        if segments.is_unclaimed:
            return _unclaimed(segments).verdict is Verdict.FAIL
        reading = _Reading(segments)
        if reading.is_off() or reading.is_unexplained():
            return True
        if segments.is_spent or reading.excluded < REFUTED * share:
            return False
        segments.draw(BATCH)


def coarse_report(objective: Objective, name: str, rng: "np.random.Generator") -> tuple[TensorReport, Suspect]:
    """Judge a tensor coarsely; its report, and what is known of it for a diagnosis."""
    found, layout = judge_coarsely(objective, name, rng), objective.layout
    gradient, shape = objective.gradient[layout.slices[name]], layout.shapes[name]
    size, numerical = euclidean(gradient), gradient * found.factor
    difference = abs(found.factor - 1.0) / (abs(found.factor) + 1.0) if math.isfinite(found.factor) else 1.0
    if found.cause is Cause.NOT_EXERCISED:
        difference = 0.0
    if found.worst is not None:  # of which no more is known than that it is off by at least so much
        is_lost = gradient == 0.0 if found.n_wrong > 1 else np.arange(gradient.size) == found.worst
        numerical = np.where(is_lost, math.nan, gradient)
        largest = float(np.max(np.abs(gradient)))
        difference = max(difference, SMALL_ENTRY * largest / (2.0 * size)) if size > 0.0 else 1.0
    worst = int(np.argmax(np.abs(gradient))) if found.worst is None else found.worst
    report = TensorReport(
        name=name,
        shape=shape,
        verdict=found.verdict,
        cause=found.cause,
        difference=difference,
        gradient_norm=size,
        worst_index=layout.index(name, worst),
        gradient=float(gradient[worst]),
        numerical=float(numerical[worst]),
        untouched=0 if found.n_wrong > 1 else gradient.size - int(np.count_nonzero(gradient)),
        excluded=found.excluded_scale,
        confidence=found.confidence,
        precision=found.excluded_scale if found.verdict is Verdict.PASS and size > 0.0 else 0.0,
        evidence=found.evidence,
    )
    with np.errstate(invalid="ignore"):
        bounds = np.nan_to_num(np.abs(gradient) * found.half_width, nan=math.inf, posinf=math.inf)
    return report, Suspect(
        gradient=gradient.reshape(shape),
        numerical=numerical.reshape(shape),
        bounds=bounds.reshape(shape),
        aside=np.zeros(shape, dtype=bool),
        name=name,
        parameter=layout.tensor(objective.point, name),
        alone=found.n_wrong == 1,
    )


class _Reading:
    """What all segments together say of the factor that they have in common, and what rounding may do to it."""

    def __init__(self, segments: Segments) -> None:
        self.segments = segments
        made = [each for each in segments.made if each.is_finite]
        claimed, _, bends = columns(made)
        size = euclidean(claimed)
        self.bent = euclidean(bends) / size if size else math.inf
        self.blur = 0.0 if segments.is_fine else min(1.0, BLUR * min(self.bent, LUCKY * segments.straightest) ** 2)
        self.noisy = segments.noise * math.sqrt(claimed.size) / size if size else math.inf
        self.made = weighted(made, segments.grain)
        claimed, measured, bends = columns(self.made)
        self.least = max(segments.grain, LEAST * segments.noise)
        self.fit = Fit.of(claimed, measured, self.least)
        off = euclidean(bends) / euclidean(claimed) if size else math.inf
        self.roundoff = UNITS * segments.roundoff
        length = min(1.0, segments.reach * euclidean(segments.lengths))
        foreign = DATA * max(segments.noise, self.fit.noise)
        self.data = length * (SAME_DATA * segments.noise if segments.roundoff > FINER else foreign)
        self.systematic = (
            self.roundoff + CUBED * off**3 + self.data * math.sqrt(claimed.size) / (euclidean(claimed) or 1.0)
        )
        self.apart = self.fit.factor - 1.0
        self.width = self.fit.width(1.0 - CONFIDENCE) + self.systematic + self.blur
        self.excluded = abs(self.apart) + self.width
        self.way = f"{segments.reach:.2g} of the tensor's root mean square in each entry"

    def finding(self) -> CoarseFinding:
        """Judge: by the factor, then by the entries."""
        if not self.fit.error < math.inf:
            evidence = "the loss, or the gradient, is not finite around the point"
            return CoarseFinding(Verdict.UNDECIDED, Cause.NOT_FINITE, evidence)
        moves = (
            f"over {len(self.made)} segments the loss moves {self.fit.factor:.4g} ± {self.width:.2g} times as far "
            "as the gradient says"
        )
        if self.bent >= TOO_BENT:
            evidence = f"{moves}, but over {self.way}, the gradient changes so much that this says little"
            return self._found(Verdict.UNDECIDED, Cause.ROUNDING, evidence)
        if self.is_off():
            return self._found(Verdict.FAIL, Cause.WRONG, f"{moves}, over the shorter half of them as over the longer")
        if self.is_unexplained():
            evidence = f"{moves}, and most of them by far more or less than rounding could make of it"
            return self._found(Verdict.FAIL, Cause.WRONG, evidence)
        entry, wrong = self._entries()
        if wrong is not None:
            evidence = f"{moves}; beside that, entry {wrong} is off by {entry:.2g} of the largest"
            return self._found(Verdict.FAIL, Cause.WRONG, evidence, worst=wrong, n_wrong=1)
        excluded = {"excluded_scale": self.excluded, "excluded_entry": entry}
        fine = FINEST if self.segments.is_fine else FINE
        done = self.segments.is_spent or (self.excluded <= fine and entry <= FINE_ENTRY)
        if done and self.excluded <= COARSEST and abs(self.apart) <= self.width:
            single = f"an entry off by more than {100.0 * entry:.2g} % of the largest" if entry < math.inf else ""
            what = ", ".join(filter(None, [f"excludes a scale error above {100.0 * self.excluded:.2g} %", single]))
            evidence = f"{what}, with {100.0 * CONFIDENCE:.0f} %: {moves}"
            return self._found(Verdict.PASS, Cause.AGREES, evidence, **excluded)
        return self._found(Verdict.UNDECIDED, Cause.ROUNDING, f"{moves}; {self._needed()}", **excluded)

    def _needed(self) -> str:
        """Say what it would take: that many evaluations, or less rounding."""
        far = abs(self.apart)
        slack = self.systematic + self.blur
        if far > self.width:
            what, share = "to call that wrong", self.fit.width(CHANCE) / (far - slack)
        else:
            left = COARSEST - far - slack
            what = f"to exclude a scale error above {100.0 * COARSEST:.0f} %"
            share = self.fit.width(1.0 - CONFIDENCE) / left if left > 0.0 else math.inf
        number = self.segments.evaluations * max(1.0, share) ** 2
        if number < MANY:
            return f"{what} would take some {number:.0f} evaluations"
        return f"{what}, the rounding, {100.0 * self.noisy:.2g} % of a move over {self.way}, must be smaller"

    def is_off(self) -> bool:
        """Whether the factor is another than 1 beyond any doubt, and each half of the segments says so, too."""
        if self.noisy > DROWNED:
            return False
        side = math.copysign(1.0, self.apart)
        blur = (self.blur if side < 0.0 else 0.0) + (KINKS * self.bent if self.segments.reach > FIRST else 0.0)
        if not side * self.apart - self.systematic - blur > self.fit.width(CHANCE):
            return False
        halves = [Fit.of(*columns(half)[:2], self.least) for half in self._halves()]
        return all(side * (half.factor - 1.0) - blur > half.width(HALF_CHANCE) for half in halves)

    def is_unexplained(self) -> bool:
        """Whether most moves are others than what is claimed, and neither noise nor kinks on the way explain it."""
        shares = []
        for half in self._halves():
            claimed, measured, bends = columns(half)
            slack = np.hypot(self.segments.noise, bends) + self.systematic * np.abs(claimed)
            shares.append(float(np.mean(np.abs(measured - claimed) > UNHEARD_OF * slack)))
        return len(self.made) >= ENOUGH and min(shares) > 0.5

    def _entries(self) -> tuple[float, int | None]:
        """Give the error of an entry that is excluded; or that of the one that is wrong, and which it is."""
        segments, largest = self.segments, self.segments.largest
        if not 1 < segments.size <= ENTRIES:
            return (self.excluded if segments.size == 1 else math.inf), None
        fits = _entry_fits(self.made)
        slack = self.roundoff * largest + self.data / fits.steps
        kinks = SMALL_ENTRY * float(np.max(largest))
        certain = np.abs(fits.errors) - slack - kinks
        certain -= students(CHANCE / segments.size, fits.freedom) * fits.uncertain
        worst = int(np.argmax(np.nan_to_num(certain, nan=-np.inf)))
        if certain[worst] > 0.0 and self.noisy <= DROWNED:
            halves = [_entry_fits(half) for half in self._halves()]
            shares = [
                half.errors[worst] / half.uncertain[worst] / students(HALF_CHANCE, half.freedom) for half in halves
            ]
            if min(shares) > 1.0 or max(shares) < -1.0:
                return float(abs(fits.errors[worst]) / np.max(largest)), worst
        hidden = np.abs(fits.errors) + slack + students(1.0 - CONFIDENCE, fits.freedom) * fits.uncertain
        with np.errstate(divide="ignore"):  # such an error shows as one of scale, too
            scale = self.excluded * (float(largest @ largest) / largest)
        return float(np.max(np.fmin(hidden, scale)) / np.max(largest)), None

    def _halves(self) -> list[list[Segment]]:
        return [[each for each in self.made if each.is_short == is_short] for is_short in (False, True)]

    def _found(self, verdict: Verdict, cause: Cause, evidence: str, **more: Any) -> CoarseFinding:
        return CoarseFinding(verdict, cause, evidence, self.fit.factor, self.width, **more)


def _entry_fits(made: Sequence[Segment]) -> EntryFits:
    claimed, measured, _ = columns(made)
    return EntryFits.of(claimed, measured, np.array([each.step for each in made]))


def _unclaimed(segments: Segments) -> CoarseFinding:
    """Judge a gradient that is zero wherever it was asked: does the loss move, and more smoothly than rounding does."""
    unclaimed = "the gradient is zero wherever it was asked, and the loss"
    moves = [abs(each.measured) for each in segments.made if each.is_finite]
    if segments.is_fine and np.mean(np.array(moves) > UNHEARD_OF * segments.noise) > 0.5:
        evidence = f"{unclaimed} moves by up to {max(moves):.2g}, far more than rounding makes"
        return CoarseFinding(Verdict.FAIL, Cause.WRONG, evidence)
    places = np.linspace(-0.5, 0.5, POINTS)
    smooth = np.linalg.qr(np.vander(places, DEGREE + 1))[0]
    reach, most = FIRST, max(moves, default=0.0)
    while segments.evaluations + LINES * POINTS <= AT_MOST:
        ways = [(segments.beside(), reach * segments.step(0)) for _ in range(LINES)]
        lines = np.array([[segments.loss(segments.moved(at, place * way)) for place in places] for at, way in ways])
        if not np.isfinite(lines).all():
            break
        apart = lines - np.mean(lines, axis=1, keepdims=True)
        most = max(most, float(np.max(np.ptp(lines, axis=1), initial=0.0)))
        smoothly = euclidean(apart @ smooth) ** 2
        rest = max(euclidean(apart) ** 2 - smoothly, 0.0)
        is_stair = np.mean(np.diff(lines, axis=1) == 0.0) > 0.5
        if smoothly * (POINTS - 1 - DEGREE) > CLEAR * DEGREE * rest and not is_stair:
            if any(segments.slopes(segments.moved(at, side * way)) @ way for at, way in ways for side in (-0.5, 0.5)):
                break  # so far away a unit goes on, say, and the gradient knows
            evidence = f"{unclaimed} moves smoothly, by up to {most:.2g}"
            return CoarseFinding(Verdict.FAIL, Cause.WRONG, evidence)
        reach *= TIMES
    if most == 0.0:
        evidence = f"{unclaimed} never moves, over up to {reach / TIMES:.2g}"
        return CoarseFinding(Verdict.PASS, Cause.NOT_EXERCISED, evidence, excluded_scale=0.0, excluded_entry=0.0)
    evidence = f"{unclaimed} moves by {most:.2g}, no more than rounding may"
    return CoarseFinding(Verdict.UNDECIDED, Cause.ROUNDING, evidence)
