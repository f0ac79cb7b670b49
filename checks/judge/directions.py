"""Directions: one fresh random direction through all the parameters; only a mismatch is looked into."""

import math
from collections.abc import Iterable
from dataclasses import replace
from functools import partial

import numpy as np

from checks.explain.entries import Suspect
from checks.judge.coarse import coarse_report, is_for_segments, sharper, wanting
from checks.judge.examine import confirm_complex, examine
from checks.judge.full import FAR_OFF
from checks.judge.ladder import Finding
from checks.judge.location import look_closer
from checks.judge.outcome import NOTHING, Judged, does_not_move, empty, not_deterministic, not_finite_loss, outcome
from checks.judge.power import CONFIDENCE, excluded_error, random_direction
from checks.measure.difference import euclidean, largest
from checks.measure.layout import Array
from checks.measure.objective import EPS, ROUNDING, ComplexRefusedError, Objective
from checks.measure.slopes import IMAGINARY_STEP, Reading, Slope, central_slope, complex_slope, slope_of
from checks.options import Options
from checks.report.findings import QUIET, TensorReport, Tensors
from checks.verdict import Cause, Verdict

#: A mismatch above this share of the threshold is looked into. Looking costs a few evaluations and decides
#: nothing; the smaller the share, the less an unlucky direction hides.
SUSPICIOUS = 0.02
#: Further directions through a tensor whose one reading is neither small nor clearly beyond the threshold: their
#: mean square tells the size of the error.
FURTHER = 4
CLEAR = 10.0
#: Tensors with larger gradients, or smaller than its inverse, all have the same reach: along a much shorter one the
#: complex step vanishes, along a much longer one it overflows.
HUGE = 1e100
#: Numbers drawn together: an eighth of a megabyte.
PIECE = 16_384


def check_direction(objective: Objective, options: Options, rng: "np.random.Generator") -> Judged:
    """Check along one fresh random direction; look into every tensor if the two slopes do not agree.

    ``rng`` moves on, so that the next check gets another one. A failing tensor is narrowed down to one coordinate.
    """
    check = DirectionCheck(objective, options, rng)
    try:
        tensors = check.run()
    except ComplexRefusedError:  # found out on the way: nothing that was read so far counts
        check = DirectionCheck(objective, options, rng)
        tensors = check.run()
    if not math.isfinite(objective.last) and not math.isfinite(objective.value):
        return not_finite_loss(objective)
    if Cause.NO_DEPENDENCE in tensors.column("cause"):
        return does_not_move(objective)
    if any(cause not in (Cause.AGREES, *QUIET) for cause in tensors.column("cause")):
        if not math.isfinite(objective.value):
            return not_finite_loss(objective)
        if not objective.repeats():
            return not_deterministic(objective)
    failing: list[Suspect] = check.coarse
    closer: dict[str, TensorReport] = {}
    for name in [name for name in reversed(list(tensors)) if name in check.suspects]:
        closer[name], suspect = look_closer(objective, tensors[name], check.suspects[name], check.read, options)
        failing.append(suspect)
    tensors = tensors.with_rows(closer)
    difference = largest(tensors.column("difference"))
    return Judged(tensors, difference, difference, failing)


class DirectionCheck:
    """The check along one random direction, and a closer look at each tensor where it does not agree."""

    def __init__(self, objective: Objective, options: Options, rng: "np.random.Generator") -> None:
        self.objective = objective
        self.slices = objective.layout.slices
        self.gradient = gradient = objective.gradient
        self.options = options
        self.use_complex = options.derivative == "complex" and confirm_complex(objective, options.step)
        self.rng = rng
        self.norms = {name: euclidean(gradient[place]) for name, place in self.slices.items()}
        self.largest, self.whole = max(self.norms.values()), euclidean(np.array(list(self.norms.values())))
        self.reach = self._reach()
        self.empty = {name: empty(objective, name) for name, place in self.slices.items() if place.start == place.stop}
        self.suspects: dict[str, Reading] = {}
        self.coarse: list[Suspect] = []  # those that failed by segments, in the order of backprop

    def run(self) -> Tensors:
        """Check along the direction; look into every tensor if the two slopes do not agree."""
        whole = self._read_whole()
        scale = math.hypot(*(self.reach[name] * norm for name, norm in self.norms.items()))
        tolerance = self.options.threshold * 2.0 * scale
        rows: dict[str, TensorReport] = {}
        unseen = list(self.slices)
        if whole.slope.bound <= tolerance and whole.mismatch <= SUSPICIOUS * tolerance + whole.slope.bound:
            if all(self.norms.values()):
                passed = self._passed_together(whole)
                if largest(passed.column("difference")) <= self.options.threshold:
                    return passed
            rows = {name: self._passed(name, [whole]) for name in self.slices}
            # A tensor beside which the others are large has hardly been seen: its own directions tell more.
            unseen = [
                name
                for name, row in rows.items()
                if row.difference > self.options.threshold or row.cause is Cause.NO_EFFECT
            ]
        if unseen:
            if is_for_segments(self.objective):
                return self._judged_coarsely()
            self.use_complex = confirm_complex(self.objective, self.options.step)
            rows |= {name: self._look_into(name) for name in unseen if name not in self.empty}
            if self.use_complex and self.objective.complex_refusal is not None:
                raise ComplexRefusedError(self.objective.complex_refusal)
        for name in [name for name, row in rows.items() if row.cause is Cause.NOT_EXERCISED]:
            rows[name] = self._zero(name, rows[name])
        for name in rows:
            rows[name] = self._kept(*sharper(rows[name], self.objective, name, self.rng))
        return Tensors.of((rows | self.empty)[name] for name in self.slices)

    def _zero(self, name: str, passed: TensorReport) -> TensorReport:
        """Look at a tensor of zero slopes over a long step too: it may be at a kink, or on the tread of a stair."""
        direction = self._draw([name])
        length = self.objective.length(direction) or 1.0
        step, far = self.options.step / length, FAR_OFF / length
        plus, minus, beyond, before = (self.objective.along(direction, h) for h in (step, -step, far, -far))
        gap = abs((plus - self.objective.value) + (minus - self.objective.value))
        if beyond == before and gap <= ROUNDING * EPS * max(abs(plus), abs(minus)):
            return passed
        finding = examine(self.objective, direction, 0.0, 0.0, self.options.step)
        if finding.cause is Cause.AGREES:
            return passed
        if finding.cause is Cause.WRONG:
            self.suspects[name] = Reading(direction, 0.0, Slope(finding.value, finding.bound))
            return self._report(name, [self.suspects[name]], Verdict.FAIL, Cause.WRONG, finding.evidence)
        return replace(passed, verdict=Verdict.UNDECIDED, cause=finding.cause, evidence=finding.evidence)

    def _judged_coarsely(self) -> Tensors:
        """Judge every tensor by segments: the loss is so coarse that no single slope tells anything."""
        rows = self.empty | {
            name: self._kept(*coarse_report(self.objective, name, self.rng))
            for name in self.slices
            if name not in self.empty
        }
        return Tensors.of(rows[name] for name in self.slices)

    def _kept(self, report: TensorReport, suspect: Suspect | None) -> TensorReport:
        """Give a report, and keep the suspect of one that failed by segments."""
        if suspect is not None and report.verdict is Verdict.FAIL:
            self.coarse.insert(0, suspect)
        return report

    def read(self, direction: Array) -> Reading:
        """Measure the slope along one direction, in the way chosen for this check."""
        if self.use_complex and self.objective.complex_refusal is None:
            slope = complex_slope(self.objective, direction)
        else:  # a reach made for the complex step may be long; the step along it is not
            length = max(1.0, euclidean(direction / self.objective.scale()))
            slope = central_slope(self.objective, direction, self.options.step / length)
        return Reading(direction, float(self.gradient @ direction), slope)

    def _read_whole(self) -> Reading:
        """Measure one fresh direction through all the tensors; it is not kept, nobody looks at it again.

        It is drawn piece by piece into the imaginary part of the vector at which the loss is evaluated: with the
        parameters and the gradient, that vector is all the memory that a check takes.
        """
        if not self.use_complex:
            return self.read(self._draw(self.slices))
        moved = np.empty(self.objective.layout.size, np.complex128)
        moved.real = self.objective.point
        claimed = 0.0
        for start in range(0, moved.size, PIECE):
            piece = slice(start, min(start + PIECE, moved.size))
            direction = random_direction(self.rng, piece.stop - start)
            for name, place in self.slices.items():
                direction[max(place.start - start, 0) : max(place.stop - start, 0)] *= self.reach[name]
            if self.objective.frozen is not None:
                direction[self.objective.frozen[piece]] = 0.0
            claimed += float(self.gradient[piece] @ direction)
            np.multiply(direction, IMAGINARY_STEP, out=moved.imag[piece])
        return Reading(np.empty(0), claimed, slope_of(self.objective.complex_at(moved)))

    def _reach(self) -> dict[str, float]:
        """Choose how far the direction goes in each tensor.

        The complex step has no rounding to drown a small tensor in, so every tensor gets the same say: reach
        ``1/||gradient||``. A central difference moves the point for real: there the direction has unit length
        in units of the parameters, and what this proves of a tensor with a small gradient is said.
        """
        if self.use_complex:
            largest, least = self.largest or 1.0, NOTHING * self.largest
            own = {name: norm if norm > least else largest for name, norm in self.norms.items()}
            return {name: 1.0 / max(1.0 / HUGE, min(norm, HUGE)) for name, norm in own.items()}
        point, frozen = self.objective.point, self.objective.frozen
        point, root = point if frozen is None else np.where(frozen, 0.0, point), math.sqrt(self.objective.layout.size)
        sizes = {name: max(1, place.stop - place.start) for name, place in self.slices.items()}
        return {
            name: max(1.0, math.sqrt(point[place] @ point[place] / sizes[name])) / root
            for name, place in self.slices.items()
        }

    def _draw(self, names: Iterable[str]) -> Array:
        direction = np.zeros(self.objective.layout.size)
        for name in names:
            place = self.slices[name]
            direction[place] = self.reach[name] * random_direction(self.rng, place.stop - place.start)
        if self.objective.frozen is not None:
            direction[self.objective.frozen] = 0.0
        return direction

    def _look_into(self, name: str) -> TensorReport:
        """Judge one tensor by several directions through it alone."""
        readings = [self.read(self._draw([name]))]
        # What the threshold allows in a tensor, where the norms of both gradients are about the same.
        tolerance = 2.0 * self.options.threshold * self.reach[name] * self.norms[name]
        if SUSPICIOUS * tolerance + readings[0].slope.bound < readings[0].mismatch < CLEAR * tolerance:
            readings += [self.read(self._draw([name])) for _ in range(FURTHER)]
        settled: list[Reading] = []
        left_open: Finding | None = None
        while readings:
            if _typical(readings + settled) <= tolerance:
                return self._passed(name, readings + settled)
            worst = max(readings, key=lambda reading: np.nan_to_num(reading.mismatch, nan=np.inf))
            finding = examine(self.objective, worst.direction, worst.claimed, tolerance, self.options.step)
            if finding.cause is Cause.WRONG:
                self.suspects[name] = worst
                return self._report(name, [*readings, *settled], Verdict.FAIL, Cause.WRONG, finding.evidence)
            readings = [reading for reading in readings if reading is not worst]
            if finding.cause is Cause.AGREES or (finding.cause is Cause.ROUNDING and math.isfinite(finding.value)):
                bound = finding.bound
                if finding.cause is Cause.ROUNDING:
                    left_open, bound = finding, max(bound, abs(worst.claimed - finding.value))
                settled.append(Reading(worst.direction, worst.claimed, Slope(finding.value, bound)))
                if bound > tolerance and len(settled) + len(readings) <= FURTHER:  # one coarse reading hides too much
                    readings.append(self.read(self._draw([name])))
            else:
                left_open = finding
                if finding.cause is Cause.NO_DEPENDENCE:
                    break
        return self._settled(name, settled, left_open, worst)

    def _settled(self, name: str, settled: list[Reading], left_open: Finding | None, worst: Reading) -> TensorReport:
        """Report a tensor along no direction of which the gradient was found wrong."""
        if settled and (left_open is None or left_open.cause is Cause.ROUNDING):
            reach, norm = self.reach[name], self.norms[name]
            blur = max(reading.slope.bound for reading in settled) / reach
            measured = max(abs(reading.slope.value) for reading in settled) / reach
            mismatch = _typical(settled) / reach
            if mismatch <= 2.0 * self.options.threshold * norm and left_open is None:
                return self._passed(name, settled)
            found = outcome(norm, measured, max(blur, mismatch), self.objective, self.options.threshold)
            if found.verdict is Verdict.PASS:
                seen = found.precision and (blur + mismatch) / norm
                return self._report(name, settled, Verdict.PASS, found.cause, "", seen)
        if left_open is not None:
            return self._report(name, [worst], Verdict.UNDECIDED, left_open.cause, left_open.evidence)
        evidence = (
            f"rounding hides the answer: along {len(settled)} directions the slope is known to {blur / norm:.1g} of it"
        )
        return self._report(name, settled, Verdict.UNDECIDED, Cause.ROUNDING, evidence + wanting(self.objective))

    def _passed_together(self, whole: Reading) -> Tensors:
        """Report all tensors by the one reading: nearly every check ends here, in a few microseconds."""
        n, zeros = len(self.norms), (self.gradient == 0.0, list(self.slices.values()))
        sizes = [reach * norm for reach, norm in zip(self.reach.values(), self.norms.values(), strict=True)]
        mismatch, left = whole.mismatch, excluded_error(whole.mismatch + whole.slope.bound, 1.0)
        return Tensors(
            list(self.slices),
            shape=list(self.objective.layout.shapes.values()),
            verdict=[Verdict.PASS] * n,
            cause=[Cause.AGREES] * n,
            difference=[mismatch / (2.0 * size) for size in sizes],  # the tensor's part in the reading has that size
            gradient_norm=list(self.norms.values()),
            worst_index=[()] * n,
            gradient=[whole.claimed] * n,
            numerical=[whole.slope.value] * n,
            untouched=partial(_counts, *zeros),  # of each tensor, when somebody asks
            excluded=[left / size for size in sizes],
            confidence=[CONFIDENCE] * n,
        )

    def _passed(self, name: str, readings: list[Reading]) -> TensorReport:
        cause, norm = Cause.AGREES, self.norms[name]
        left = max(reading.mismatch + reading.slope.bound for reading in readings) / self.reach[name]
        if norm == 0.0:
            cause = Cause.NOT_EXERCISED
        elif norm <= NOTHING * self.largest and left >= norm:  # the reading tells nothing of its own
            cause = Cause.NO_EFFECT
        return self._report(name, readings, Verdict.PASS, cause, "")

    def _report(
        self, name: str, readings: list[Reading], verdict: Verdict, cause: Cause, evidence: str, precision: float = 0.0
    ) -> TensorReport:
        worst = max(readings, key=lambda reading: np.nan_to_num(reading.mismatch, nan=np.inf))
        reach, norm, gradient = self.reach[name], self.norms[name], self.gradient[self.slices[name]]
        size = _typical(readings) / reach
        numerical = max(norm, abs(worst.slope.value) / reach) if verdict is Verdict.FAIL else norm
        left = excluded_error(worst.mismatch + worst.slope.bound, reach, len(readings))
        share = norm
        if cause in QUIET:  # beside the other tensors: what is left of its own is noise
            share = numerical = self.whole
        return TensorReport(
            name=name,
            shape=self.objective.layout.shapes[name],
            verdict=verdict,
            cause=cause,
            difference=min(1.0, size / (norm + numerical)) if norm + numerical > 0.0 else 0.0,
            gradient_norm=norm,
            worst_index=(),
            gradient=worst.claimed,
            numerical=worst.slope.value,
            untouched=gradient.size - int(np.count_nonzero(gradient)),
            excluded=left / share if share > 0.0 else 0.0 if cause is Cause.NOT_EXERCISED else math.inf,
            confidence=CONFIDENCE,
            precision=precision,
            evidence=evidence,
        )


def _typical(readings: list[Reading]) -> float:
    """Give the root of the mean square of what lies between claimed and measured slopes."""
    return math.hypot(*(reading.mismatch for reading in readings)) / math.sqrt(len(readings))


def _counts(mask: Array, places: list[slice]) -> list[int]:
    return [int(np.count_nonzero(mask[place])) for place in places]
