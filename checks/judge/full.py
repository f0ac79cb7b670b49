"""Full coverage: the N-dimensional check, every coordinate of every tensor."""

import contextlib
import math
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import TypeAlias

import numpy as np

from checks.explain.entries import AllEntries, Entries, Suspect
from checks.judge.coarse import coarse_report, is_for_segments, sharper, wanting
from checks.judge.examine import SHARP, confirm_complex, examine
from checks.judge.ladder import CERTAIN, SHORT, Finding
from checks.judge.outcome import Judged, Outcome, does_not_move, empty, not_deterministic, not_finite_loss, outcome
from checks.measure.difference import TINY, euclidean, largest, relative_difference
from checks.measure.layout import Array
from checks.measure.objective import ComplexRefusedError, Objective
from checks.measure.slopes import central_slope, central_sweep, central_sweeps, complex_sweep
from checks.options import Options
from checks.report.findings import TensorReport, Tensors
from checks.verdict import Cause, Verdict

#: Coordinates of one tensor that are examined one by one before the rest is left UNDECIDED.
EXAMINED_AT_MOST = 200
#: As many coordinates in a row of which rounding hides the answer, and the tensor is left UNDECIDED.
ROUNDING_STREAK = 8
#: Share of a tensor's coordinates that may be set aside at kinks before its PASS would mean too little.
KINKS_AT_MOST = 0.1
#: A gap between left and right slopes above this share of the slope is looked into, though the mean of both agrees.
WIDE = 0.1
#: A central difference that lies further than this share of the slope from a complex sweep may be one at a kink.
CLOSE_TO = 1e-4
#: Share of the bounds, of five standard deviations each, within which 99 % of the errors lie.
WITHIN = 0.5
#: A long step, in units of ``max(1, |theta|)``.
FAR_OFF = 0.1
#: Second step of a sweep, as a share of the first, from which the truncation of both is told.
NEXT = 0.1**0.5
#: Steps of sweeps over a staircase: at long ones there is less noise, but kinks are close to some coordinates.
LONG = tuple(0.1 * NEXT**power for power in range(5))
#: The slopes along the coordinates of a tensor, bounds on their rounding, and the gaps where they were seen.
Measured: TypeAlias = tuple[Array, Array, Array | None]


def check_coordinates(objective: Objective, options: Options) -> Judged:
    """Check every coordinate of every tensor: the N-dimensional check."""
    if not np.isfinite(objective.value):
        return not_finite_loss(objective)
    measured = measure(objective, objective.layout.slices, options)
    plain = relative_difference(objective.gradient, np.concatenate([slopes for slopes, _, _ in measured.values()]))
    passed = _passed_together(objective, measured, options)
    if passed is not None:
        return Judged(passed, plain, plain)
    checks = [TensorCheck(objective, name, options, measured[name]) for name in objective.layout.slices]
    agree = all(check.agrees for check in checks)
    if not agree and not objective.repeats():
        return not_deterministic(objective)
    if not agree and is_for_segments(objective):
        return _judged_coarsely(objective, plain)
    tensors = Tensors.of(check.run() for check in checks)
    if Cause.NO_DEPENDENCE in tensors.column("cause"):
        return does_not_move(objective)
    return Judged(
        tensors,
        difference=relative_difference(
            [check.gradient[~check.aside] for check in checks],
            [check.numerical[~check.aside] for check in checks],
        ),
        plain_difference=plain,
        failing=[check.suspect() for check in reversed(checks) if tensors[check.name].verdict is Verdict.FAIL],
    )


def _passed_together(objective: Objective, measured: Mapping[str, Measured], options: Options) -> Tensors | None:
    """Pass all tensors where each agrees as measured and shows no gap, as nearly always; None: there is more to ask."""
    places = objective.layout.slices
    is_empty = any(place.start == place.stop for place in places.values())
    if objective.frozen is not None or is_empty or any(gaps is None for _, _, gaps in measured.values()):
        return None
    gradient = objective.gradient
    numerical, bounds, gaps = (np.concatenate(parts) for parts in zip(*measured.values(), strict=True))
    starts = [place.start for place in places.values()]
    with np.errstate(over="ignore", invalid="ignore"):
        squares = np.add.reduceat(np.stack([gradient, numerical, gradient - numerical, bounds]) ** 2, starts, axis=1)
        size, other, off, blur = np.sqrt(squares)
        is_sure = np.isfinite(squares).all() and squares[:2].min() > TINY
        agree = is_sure and (off <= options.threshold * (size + other)).all()
    if not agree or _telling(gaps, gradient, numerical, bounds).any():
        return None
    found = AllEntries(objective.layout, gradient, numerical, bounds)
    return Tensors(
        list(places),
        shape=list(objective.layout.shapes.values()),
        verdict=[Verdict.PASS] * len(places),
        cause=[Cause.AGREES] * len(places),
        difference=(off / (size + other)).tolist(),
        gradient_norm=size.tolist(),
        worst_index=found.worst_index,
        gradient=partial(found.at_worst, gradient),
        numerical=partial(found.at_worst, numerical),
        untouched=found.untouched,
        excluded=((off + blur) / size).tolist(),
        entries=found.entries,
    )


def _telling(gaps: Array, gradient: Array, numerical: Array, bounds: Array) -> Array:
    """Say where the slopes on both sides lie so far apart that there may be a kink."""
    with np.errstate(over="ignore"):
        wide: Array = np.abs(gaps) > np.maximum(WIDE * (np.abs(gradient) + np.abs(numerical)), 2.0 * CERTAIN * bounds)
    return wide


def _judged_coarsely(objective: Objective, plain: float) -> Judged:
    """Judge every tensor by segments: the loss is so coarse that no single slope tells anything."""
    rng = np.random.default_rng(0)
    found = {
        name: coarse_report(objective, name, rng)
        for name, place in objective.layout.slices.items()
        if place.start < place.stop
    }
    rows = {name: found[name][0] if name in found else empty(objective, name) for name in objective.layout.slices}
    failing = [found[name][1] for name in reversed(found) if rows[name].verdict is Verdict.FAIL]
    tensors = Tensors.of(rows.values())
    return Judged(tensors, largest(tensors.column("difference")), plain, failing)


def measure(objective: Objective, names: Iterable[str], options: Options) -> dict[str, Measured]:
    """Measure the slope along every coordinate of tensors."""
    found: dict[str, Measured] = {}
    for name in names if options.derivative == "complex" else ():
        if not confirm_complex(objective, options.step):
            break
        with contextlib.suppress(ComplexRefusedError):  # the objective keeps the reason, and the report prints it
            found[name] = *complex_sweep(objective, name), None
    return found | central_sweeps(objective, [name for name in names if name not in found], options.step)


class TensorCheck:
    """The full check of one tensor: measured, and where it does not agree at once, examined.

    ``numerical`` and ``bounds``, the measured slopes and the bounds on their error, are refined in place.
    """

    def __init__(self, objective: Objective, name: str, options: Options, measured: Measured) -> None:
        self.objective = objective
        self.name = name
        self.options = options
        place = objective.layout.slices[name]
        self.gradient = objective.gradient[place]
        self.numerical, self.bounds, self.gaps = measured
        self.aside = np.zeros(self.gradient.size, dtype=bool)  # at kinks
        self.at_kink = self.aside.copy()  # the same, and those at which the gradient has one side's slope
        self.frozen = self.aside if objective.frozen is None else objective.frozen[place]
        self.examined = self.frozen.copy()
        self.unknown = np.zeros(self.gradient.size, dtype=bool)  # examined, and known to a bound only
        self.refined = False  # whether the bounds hold the truncation and the noise of this very loss
        self.open = False  # whether a gradient of zero is that of a small neighbourhood only
        self.by_segments: Suspect | None = None  # where single slopes could not tell
        self.findings: list[Finding] = []

    @property
    def error(self) -> Array:
        """``gradient - numerical``, zero where a coordinate was set aside; NaN counts as infinite."""
        error = np.where(self.aside | self.frozen, 0.0, self.gradient - self.numerical)
        return np.where(np.isnan(error), np.inf, error)

    @property
    def excess(self) -> Array:
        """How far `error` goes beyond the bounds, once they are known to hold."""
        error = np.abs(self.error)
        return np.maximum(error - self.bounds, 0.0) if self.refined else error

    @property
    def tolerance(self) -> float:
        """How large the norm of `error` may be: the threshold in the units of the gradient."""
        kept = ~self.aside & np.isfinite(self.numerical)
        return self.options.threshold * (euclidean(self.gradient[kept]) + euclidean(self.numerical[kept]))

    @property
    def agrees(self) -> bool:
        """Whether the tensor as a whole is within the threshold; NaN is not."""
        return euclidean(self.error) <= self.tolerance < math.inf and not self.unknown.any()

    def run(self) -> TensorReport:
        """Judge the tensor."""
        while not self.agrees and not euclidean(self.excess) <= self.tolerance < math.inf:
            left = np.where(self.examined, -1.0, self.excess)
            worst = int(np.argmax(left))
            if left[worst] <= 0.0 or self._is_hopeless():
                break
            finding = self._examine(worst)
            if finding.cause is Cause.WRONG:
                self._measure_again(finding)
                return self._report(Verdict.FAIL, Cause.WRONG, finding.evidence, worst)
            if finding.cause is Cause.NO_DEPENDENCE:
                return self._report(Verdict.UNDECIDED, finding.cause, finding.evidence)
            if not self.refined:
                self._measure_again(finding)
        self._look_into_gaps()
        self._ask_differences()
        unseen = self._ask_further()
        if unseen is not None and unseen.cause is Cause.WRONG:
            self.numerical = central_sweep(self.objective, self.name, unseen.step)[0]
            return self._report(Verdict.FAIL, Cause.WRONG, unseen.evidence)
        wrong = self._along_kinks()
        if wrong is not None:
            central = central_sweep(self.objective, self.name, self.options.step)[0]
            self.numerical = np.where(self.at_kink, central, self.numerical)  # the mean of both sides
            worst = int(np.argmax(np.where(self.at_kink, np.abs(self.gradient), -1.0)))
            return self._report(Verdict.FAIL, Cause.WRONG, wrong.evidence, worst)
        if self.aside.sum() > KINKS_AT_MOST * self.aside.size:
            return self._report(Verdict.UNDECIDED, Cause.KINK, self._evidence(Cause.KINK))
        report = self._settled()
        report, self.by_segments = sharper(report, self.objective, self.name, np.random.default_rng(0))
        return report

    def _settled(self) -> TensorReport:
        """Report a tensor in which nothing was found wrong."""
        kept = ~self.aside & ~self.frozen
        sizes = euclidean(self.gradient), euclidean(np.where(kept, self.numerical, 0.0))
        blur = 0.0
        if not self.agrees:
            blur = (
                math.hypot(WITHIN * euclidean(self.bounds[kept]), euclidean(self.excess)) if self.refined else math.inf
            )
        if self.open:
            return self._report(Verdict.UNDECIDED, self.findings[-1].cause, self.findings[-1].evidence)
        found = outcome(*sizes, blur, self.objective, self.options.threshold)
        if found.cause is Cause.NOT_EXERCISED and self.at_kink.any():  # zero is the slope of one side
            found = Outcome(Verdict.PASS, Cause.AGREES)
        if found.verdict is Verdict.UNDECIDED:
            causes = [f.cause for f in self.findings if f.cause not in (Cause.AGREES, Cause.WRONG)]
            cause = max(causes, key=causes.count) if causes else found.cause
            share = blur / (sizes[0] or 1.0)
            known = f"rounding hides the answer: the slopes are known to {share:.1g} of the gradient only"
            known = known if share < math.inf else "no two steps read the same slope: the loss is rough at every step"
            evidence = (self._evidence(cause) or known) + wanting(self.objective)
            return self._report(found.verdict, cause, evidence)
        seen = found.precision and found.precision + euclidean(self.error[kept]) / sizes[0]
        return self._report(found.verdict, found.cause, self._evidence(Cause.AGREES), precision=seen)

    def suspect(self) -> Suspect:
        """Give what was measured, for a diagnosis."""
        if self.by_segments is not None:
            return self.by_segments
        parameter = self.objective.layout.tensor(self.objective.point, self.name)
        return Suspect(**vars(self._entries()), name=self.name, parameter=parameter)

    def _entries(self) -> Entries:
        shape = self.objective.layout.shapes[self.name]
        return Entries(*(a.reshape(shape) for a in (self.gradient, self.numerical, self.bounds, self.aside)))

    def _is_hopeless(self) -> bool:
        """Whether further coordinates would tell nothing new: too many, or one rounding after the other."""
        streak = [finding.cause for finding in self.findings[-ROUNDING_STREAK:]]
        return len(self.findings) >= EXAMINED_AT_MOST or streak == [Cause.ROUNDING] * ROUNDING_STREAK

    def _examine(self, position: int) -> Finding:
        direction = np.zeros(self.objective.layout.size)
        direction[self.objective.layout.slices[self.name].start + position] = 1.0
        claimed, share = float(self.gradient[position]), self.tolerance / np.sqrt(self.gradient.size)
        finding = examine(self.objective, direction, claimed, share, self.options.step)
        self.findings.append(finding)
        self.examined[position] = True
        self.at_kink[position] = finding.at_kink
        if finding.cause is Cause.KINK:
            self.aside[position] = True
        elif finding.cause is Cause.WRONG or finding.at_kink or finding.bound <= max(share, SHARP * abs(claimed)):
            self.numerical[position] = finding.value
            self.bounds[position] = finding.bound
        else:  # nothing sharper is known than what the gradient says, within a bound that counts
            self.numerical[position], self.unknown[position] = claimed, True
            self.bounds[position] = np.nan_to_num(finding.bound + abs(claimed - finding.value), nan=math.inf)
        return finding

    def _look_into_gaps(self) -> None:
        """Set aside kinks at which the mean of both slopes is what the gradient claims."""
        while self.gaps is not None and self.gradient.size:
            telling = ~self.examined & _telling(self.gaps, self.gradient, self.numerical, self.bounds)
            widest = int(np.argmax(np.where(telling, np.abs(self.gaps), 0.0)))
            if not telling[widest] or self._is_hopeless() or not self._examine(widest).at_kink:
                break

    def _ask_differences(self) -> None:
        """Hold a complex sweep against one central difference: at a kink each of its slopes is that of one side."""
        if self.gaps is not None or not self.gradient.size:
            return
        direction, place = self._signs(), self.objective.layout.slices[self.name]
        step = self.options.step / (self.objective.length(direction) or 1.0)
        central, slope = central_slope(self.objective, direction, step), float(self.gradient @ direction[place])
        size = euclidean(self.gradient) + abs(central.value)
        if abs(central.value - slope) > CLOSE_TO * size + CERTAIN * central.bound:
            self.gaps = central_sweep(self.objective, self.name, self.options.step)[2]
            self._look_into_gaps()

    def _ask_further(self) -> Finding | None:
        """Look at a gradient of zero over a long step as well: it may be that of a stair's tread."""
        if self.gradient.any() or self.numerical.any() or not self.gradient.size:
            return None
        direction = self._signs()
        length = self.objective.length(direction) or 1.0
        plus, minus = (self.objective.along(direction, side * FAR_OFF / length) for side in (1.0, -1.0))
        if plus != minus:
            finding = examine(self.objective, direction, 0.0, 0.0, self.options.step)
            if finding.cause not in (Cause.AGREES, Cause.KINK):  # the latter is asked along all kinks at once
                self.findings.append(finding)
                self.open = True
                return finding
        return None

    def _signs(self) -> Array:
        direction = np.zeros(self.objective.layout.size)
        signs = np.random.default_rng(0).choice((-1.0, 1.0), self.gradient.size)
        direction[self.objective.layout.slices[self.name]] = np.where(self.frozen, 0.0, signs)
        return direction

    def _along_kinks(self) -> Finding | None:
        """Examine directions through all kinks at once; the finding if the gradient is wrong along one of them.

        Each entry may lie between the slopes of its two sides, and the gradient be none all the same, as where all of
        several tied maxima get the whole of it.
        """
        if self.at_kink.sum() < 2:
            return None
        start, rng = self.objective.layout.slices[self.name].start, np.random.default_rng(0)
        for signs in (np.ones(self.at_kink.size), rng.choice((-1.0, 1.0), self.at_kink.size)):
            direction = np.zeros(self.objective.layout.size)
            direction[start : start + signs.size] = np.where(self.at_kink, signs, 0.0)
            claimed = float(self.objective.gradient @ direction)
            finding = examine(self.objective, direction, claimed, self.tolerance, self.options.step)
            if finding.cause is Cause.WRONG:
                return finding
        return None

    def _measure_again(self, finding: Finding) -> None:
        """Measure the whole tensor in the way that settled its worst coordinate."""
        share = self.tolerance / math.sqrt(self.gradient.size)
        todo = ~self.examined & ~(np.abs(self.error) <= share)
        if finding.at_kink:
            return
        self.refined = True
        if self.objective.complex_confirmed and self.objective.complex_refusal is None and todo.any():
            with contextlib.suppress(ComplexRefusedError):
                again, bounds = complex_sweep(self.objective, self.name)
                self.numerical[todo], self.bounds[todo] = again[todo], bounds[todo]
                return
        if finding.cause in (Cause.AGREES, Cause.ROUNDING) and finding.step > 0.0 and todo.any():
            self._extrapolate(LONG if self.objective.is_staircase else (finding.step, NEXT * finding.step), todo)

    def _extrapolate(self, steps: Sequence[float], todo: Array) -> None:
        """Measure at several steps, each coordinate by the two that tell most of it."""
        scale = self.objective.scale(self.name)
        best = np.full(self.gradient.size, np.inf)
        sweeps = [central_sweep(self.objective, self.name, step) for step in steps]
        for h, (coarse, _, wide), (fine, _, narrow) in zip(steps[1:], sweeps, sweeps[1:], strict=False):
            noise = self.objective.noise / (h * scale)
            better = (fine - coarse) / (NEXT**-2 - 1.0)  # Richardson's extrapolation
            bent = np.abs(narrow - NEXT * wide)  # of a smooth loss the gap falls with the step
            bounds = SHORT * NEXT**2 * np.abs(better) + noise + np.maximum(0.0, bent - 2.0 * CERTAIN * noise)
            taken = todo & (bounds < best)
            self.numerical[taken], self.bounds[taken] = (fine + better)[taken], bounds[taken]
            best[taken] = bounds[taken]

    def _evidence(self, cause: Cause) -> str:
        return next((f.evidence for f in self.findings if f.cause is cause), "")

    def _report(
        self, verdict: Verdict, cause: Cause, evidence: str, worst: int | None = None, precision: float = 0.0
    ) -> TensorReport:
        if self.gradient.size == 0:
            return empty(self.objective, self.name)
        if worst is None:
            worst = int(np.argmax(np.abs(self.error)))
        kept = ~self.aside & ~self.frozen
        size = euclidean(self.gradient)
        leeway = euclidean(self.error) + euclidean(self.bounds[kept])
        difference = relative_difference(self.gradient[kept], self.numerical[kept])
        whole = size
        if size == 0.0 or cause is Cause.NO_EFFECT:  # beside the other tensors: what is left of its own is noise
            whole = euclidean(self.objective.gradient)
            difference = euclidean(self.error) / (2.0 * whole) if whole > 0.0 else 0.0
        return TensorReport(
            name=self.name,
            shape=self.objective.layout.shapes[self.name],
            verdict=verdict,
            cause=cause,
            difference=difference,
            gradient_norm=size,
            worst_index=self.objective.layout.index(self.name, worst),
            gradient=float(self.gradient[worst]),
            numerical=float(self.numerical[worst]),
            kinks=int(self.aside.sum()),
            untouched=int(np.sum((self.gradient == 0.0) & (self.numerical == 0.0))),
            excluded=leeway / whole if whole > 0.0 else 0.0 if verdict is Verdict.PASS else math.inf,
            precision=precision,
            evidence=evidence,
            entries=self._entries(),
        )
