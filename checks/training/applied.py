"""The gradient that is about to be applied, held against the loss of its batch.

`checks.check` asks whether backprop is right: in float64, on rows of its own, without dropout. Here the very vector
that the optimizer will get is asked about, on the very batch, with the very masks, in the precision of the training and
at the very parameters.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, TypeAlias

import numpy as np

from checks.check import compare
from checks.judge.power import excluded_error, random_direction
from checks.measure.difference import largest, relative_difference
from checks.measure.layout import Array, Layout
from checks.measure.objective import EPS, ROUNDING, Objective
from checks.measure.slopes import IMAGINARY_STEP
from checks.options import Options
from checks.report.findings import Applied
from checks.report.report import GradientReport
from checks.training.step import Step, same_bits, worst
from checks.verdict import Cause, Verdict
from trainer.rows import batch_dtype

#: A float32 gradient within so many eps of the float64 one needs no second look: correct networks read 1 to 2.
EASY = 8.0
#: A step made again may differ by so many eps where products are summed in another order, as on several threads.
REORDERED = 64.0
#: How often a float32 step is made again: at the same parameters, and at some a few last places off, which shows what
#: rounding does to it. A unit whose input is about zero changes sides in half of these.
AGAIN = 12
LAST_PLACES = 4
#: The same for a tensor that none of those changes, as the last bias of a dead network, which is smaller than the
#: probability that it moves. 1.5e-5 of a parameter, a sixth of the mistake that is always found.
FAR_PLACES = 128
#: What those show, times this, is what rounding may have done: the nudges are larger than rounding's own.
CERTAIN = 4.0
#: Questions for which what rounding does is taken to stay as it was measured.
LASTS = 20

#: How far a gradient's claim may lie from the slope along one direction, as a share of each tensor's part in it: by the
#: complex step, which rounds like the loss, and by a central difference. What lies further is looked into.
EXACT = 1e-12
CENTRAL = 3e-8
#: Typical move of a coordinate of the tensor that goes furthest: long enough for CENTRAL, and short of most kinks.
SHORT = 3e-7
#: A central difference that rounds more than this tells too little.
BLURRED = 1e-6
#: A tensor with a smaller share of the largest tensor's gradient than this has less say than the others.
LEAST = 0.03
#: Directions along which a step is looked into before it passes: one of them may be unlucky.
LOOKS = 3

FLOAT64 = np.dtype(np.float64)
#: Of each tensor, the relative difference and the error that is excluded.
Seen: TypeAlias = tuple[dict[str, float], dict[str, float]]
#: Verdict, cause, where, what to say, and of each tensor the relative difference and the error that is excluded.
Answer: TypeAlias = tuple[Verdict, Cause, str, str, dict[str, float], dict[str, float]]


@dataclass(frozen=True, eq=False)
class BatchSlope:
    """The slope of a batch's loss along one direction."""

    direction: Array
    sizes: dict[str, float]  # of each tensor's part in it, about, where the applied gradient is right
    slope: float
    bound: float
    tolerance: float  # how far a claim may lie from it, as a share of a tensor's part

    def seen(self, claimed: Array, rounded: float = 0.0) -> Seen | None:
        """Give the evidence of a gradient that agrees with it, ``rounded`` as it may be; None where that is none."""
        root = math.sqrt(len(self.sizes))
        mismatch = abs(float(claimed @ self.direction) - self.slope)
        is_near = mismatch <= (self.tolerance + rounded) * root + self.bound
        if not (is_near and self.bound <= BLURRED * root):
            return None
        left = excluded_error(mismatch + self.bound, 1.0)
        differences = {name: mismatch / (2.0 * size) for name, size in self.sizes.items() if size > 0.0}
        return differences, {name: left / size for name, size in self.sizes.items() if size > 0.0}


class AppliedCheck:
    """Asks of steps of one run whether the gradient that is about to be applied is right."""

    def __init__(self, parameters: Any, options: Options) -> None:
        self.layout = Layout(parameters)
        self.options = options
        self._lent = parameters.astype if hasattr(parameters, "astype") else None
        self._masks = np.random.default_rng(0)  # only ever put into the state of another
        self._rounding = np.zeros(len(self.layout.slices))  # what it does to each tensor's gradient, as last measured
        self._lasts = 0
        self._evaluations = 0
        nothing: Any = None, (np.empty(0), np.empty(0))
        self._exact_rows: tuple[Step | None, tuple[Array, Array]] = nothing  # in float64, of the step at hand
        #: Whether the loss may be read by the complex step; None until that was tried.
        self.complex_trust: bool | None = None

    def ask(self, step: Step, rng: np.random.Generator, *, thorough: bool = True) -> Applied:
        """Say whether the gradient of a step is that of its batch's loss.

        Thoroughly, the step is made again too, in float64, and compared tensor by tensor: what the slope along one
        direction may hide shows in that.
        """
        started, self._evaluations = time.perf_counter(), 0
        answer = self._changed(step)
        if answer is None:
            reading = self._read(step, rng)
            answer = None if thorough or reading is None else self._passed(step, reading)
            answer = answer or self._judged(step, reading, rng)
        verdict, cause, tensor, sentence, differences, excluded = answer
        return Applied(
            verdict,
            cause,
            largest(differences.values()),
            tensor,
            _known(step.applied.dtype)[0],
            len(step.targets),
            excluded,
            sentence,
            self._evaluations,
            time.perf_counter() - started,
        )

    def _changed(self, step: Step) -> Answer | None:
        """Say what needs no measuring: that something was written to which nothing may write to."""
        if not same_bits(step.begin, step.now):
            where, before, after = worst(self.layout, step.begin, step.now)
            sentence = (
                f"{where} was {before:.9g} before backprop and is {after:.9g}. Between the two nothing may write to "
                "the parameters: look for a forward, a backward or a callback that works in place."
            )
            return wrong(Cause.MOVED, where, step.begin, step.now, sentence)
        if not same_bits(step.returned, step.applied):
            where, before, after = worst(self.layout, step.returned, step.applied)
            sentence = f"{where} is {after:.9g}, and backprop gave {before:.9g}."
            if step.between:
                sentence += f" Look at the callbacks before the check: {', '.join(step.between)}."
            return wrong(Cause.CHANGED, where, step.returned, step.applied, sentence)
        return None

    def _passed(self, step: Step, reading: BatchSlope) -> Answer | None:
        """Pass a gradient whose slope is that of the batch's loss, up to its own rounding."""
        is_exact = step.applied.dtype == FLOAT64
        seen = reading.seen(step.applied, 0.0 if is_exact else EASY * _known(step.applied.dtype)[1])
        if seen is None:
            return None
        return Verdict.PASS, Cause.AGREES, max(seen[0], key=seen[0].__getitem__, default=""), "", *seen

    def _judged(self, step: Step, reading: BatchSlope | None, rng: np.random.Generator) -> Answer:
        """Judge what backprop gave by the same step again, and by the slope of the batch's loss."""
        is_exact, unit = step.applied.dtype == FLOAT64, _known(step.applied.dtype)[1]
        twin = self.backprop(step, FLOAT64)
        norms, apart = self._norms(twin), np.zeros(len(self.layout.slices))
        differs = False
        if not (is_exact and same_bits(twin, step.applied)):
            apart = self._apart(step.applied, twin)
            differs = not np.all(apart <= (REORDERED if is_exact else EASY) * unit * norms)  # NaN does
        easy = EASY * unit * norms
        usual = differs and not is_exact and self._is_usual(apart, easy)
        other = self._repeated(step, twin, times=1 if usual else AGAIN) if differs else None
        if other is not None:
            where, now, then = worst(self.layout, other, step.applied)
            sentence = (
                f"The same step, made again with the same parameters, rows and masks, gives another gradient: {where} "
                f"was {then:.9g} and is {now:.9g}. Look for what backprop keeps from call to call, such as a sum that "
                "goes on in the storage it is lent."
            )
            return wrong(Cause.NOT_REPEATABLE, where, other, step.applied, sentence)
        claimed = step.applied if is_exact else twin
        seen = reading.seen(claimed) if reading is not None else None
        report = None if seen is not None else self._looked_into(step, claimed, rng, is_exact=is_exact)
        if report is not None and report.verdict is Verdict.FAIL:
            first = report.culprits[0]
            told = first.mistake.sentence if first.mistake is not None else f"{first.evidence}."
            should = f", should be {first.numerical:.9g}" if math.isfinite(first.numerical) else ""
            sentence = f"{first.label} is {first.gradient:.9g}{should}. {told}"
            return Verdict.FAIL, Cause.WRONG_ON_BATCH, first.label, sentence, {first.name: first.difference}, {}
        if differs and not usual and not self._is_explained(step, apart, easy):
            where, right, coarse = worst(self.layout, twin, step.applied)
            sentence = (
                f"{where} is {coarse:.9g} in {step.applied.dtype} and {right:.9g} in float64, which is not rounding. "
                "Look for what backprop does otherwise in this precision."
            )
            return wrong(Cause.LOST, where, twin, step.applied, sentence)
        differences, excluded = seen or (report.differences(), report.excluded_errors())  # type: ignore[union-attr]
        if not is_exact:
            for name, error, norm in zip(self.layout.slices, apart.tolist(), norms.tolist(), strict=True):
                if norm > 0.0:
                    differences[name] = error / (2.0 * norm)
                    excluded[name] = excluded.get(name, 0.0) + error / norm
        for tensor in [] if report is None or report.verdict is Verdict.PASS else report.tensors.values():
            if tensor.verdict is Verdict.UNDECIDED:
                return Verdict.UNDECIDED, tensor.cause, tensor.name, f"{tensor.evidence}.", differences, excluded
        where = max(differences, key=differences.__getitem__, default="")
        return Verdict.PASS, Cause.AGREES, where, "", differences, excluded

    def _read(self, step: Step, rng: np.random.Generator) -> BatchSlope | None:
        """Read the slope of the batch's loss along a fresh direction in which all tensors have the same say.

        Nearly every step is seen to be right by it, by one loss or two. None where it cannot be read so.
        """
        is_exact, norms = step.applied.dtype == FLOAT64, self._norms(step.applied)
        top = float(norms.max())
        if not 0.0 < top < math.inf or (is_exact and self.complex_trust is None):
            return None
        reach = 1.0 / np.maximum(norms, LEAST * top)
        sizes = dict(zip(self.layout.slices, (reach * norms).tolist(), strict=True))
        direction = random_direction(rng, step.applied.size)
        for place, far in zip(self.layout.slices.values(), reach.tolist(), strict=True):
            direction[place] *= far
        begin, loss = step.begin.astype(np.float64, copy=False), self._loss(step)
        try:
            with np.errstate(all="ignore"):
                if is_exact and self.complex_trust:
                    moved = begin.astype(np.complex128)
                    np.multiply(IMAGINARY_STEP, direction, out=moved.imag)
                    slope = complex(loss(moved)).imag / IMAGINARY_STEP
                    return BatchSlope(direction, sizes, slope, ROUNDING * EPS * abs(slope), EXACT)
                h = SHORT / float(reach.max())
                move = h * direction
                plus, minus = float(loss(begin + move)), float(loss(begin - move))
                bound = CERTAIN * EPS * max(abs(plus), abs(minus)) / h
                return BatchSlope(direction, sizes, (plus - minus) / (2.0 * h), bound, CENTRAL)
        except (ArithmeticError, ValueError, TypeError):
            return None

    def _looked_into(self, step: Step, claimed: Array, rng: np.random.Generator, *, is_exact: bool) -> GradientReport:
        """Check the step along fresh directions by all that `checks.check` knows; the first that is no PASS counts."""
        options = replace(self.options, coverage="directions", derivative="complex" if is_exact else "central")
        for _ in range(LOOKS):
            objective = Objective(
                self._loss(step),
                self.layout,
                step.begin.astype(np.float64),
                claimed,
                complex_confirmed=bool(self.complex_trust),
            )
            report = compare(objective, options, time.perf_counter(), rng=rng)
            self._evaluations += report.evaluations
            if is_exact:
                self.complex_trust = report.complex_confirmed
            if report.verdict is not Verdict.PASS:
                break
        return report

    def _loss(self, step: Step) -> Callable[[Any], Any]:
        """Give the loss of the batch, in float64 and with the masks of the step, over parameters or their vector."""
        rows = self._rows(step, FLOAT64)

        def loss(parameters: Any) -> Any:
            if isinstance(parameters, np.ndarray):
                self._evaluations += 1
                parameters = self.layout.unflatten(parameters)
            return step.network.loss(parameters, *rows, self._replayed(step))

        return loss

    def _repeated(self, step: Step, twin: Array, times: int) -> Array | None:
        """Make the step again, this often, in its own precision; give a gradient that is another one, if any is."""
        if twin.dtype == step.applied.dtype:
            return twin
        unit = EASY * _known(step.applied.dtype)[1]
        for _ in range(times):
            again = self.backprop(step, step.begin.dtype)
            if same_bits(again, step.applied):
                continue
            if not np.all(self._apart(again, step.applied) <= unit * self._norms(again)):  # NaN is another one
                return again
        return None

    def _is_usual(self, apart: Array, easy: Array) -> bool:
        """Say whether rounding may have made the difference to float64, as far as it was measured not long ago."""
        self._lasts -= 1
        return self._lasts > 0 and bool(np.all(apart <= CERTAIN * self._rounding + easy))

    def _is_explained(self, step: Step, apart: Array, easy: Array) -> bool:
        """Nudge the parameters until what rounding does is seen to be enough for the difference; say whether it is.

        Only of a step that can be repeated: in any other, this would measure what changes from call to call.
        """
        rng, eps = np.random.default_rng(0), _known(step.applied.dtype)[1]
        self._rounding, self._lasts = np.zeros(len(apart)), LASTS
        counted = np.ones(len(apart), dtype=bool)
        for most in (LAST_PLACES, FAR_PLACES):
            for _ in range(AGAIN):
                places = rng.integers(-most, most + 1, size=step.begin.size)
                nudged = (step.begin * (1.0 + eps * places)).astype(step.begin.dtype)
                moved = self._apart(self.backprop(step, step.begin.dtype, nudged), step.applied)
                self._rounding = np.maximum(self._rounding, np.where(counted, moved, 0.0))
                if np.all(apart <= CERTAIN * self._rounding + easy):  # NaN is not
                    return True
            counted = self._rounding == 0.0  # of larger nudges only in what the small ones leave as it is
            if not counted.any():
                break
        return False

    def backprop(self, step: Step, dtype: np.dtype[Any], at: Array | None = None) -> Array:
        """Make the forward and the backward pass of a step again."""
        point = step.begin if at is None else at
        if self._lent is None:
            parameters = self.layout.unflatten(point.astype(dtype))
        else:  # as the training's own, from which compiled code reads the vector
            parameters = self._lent(dtype)
            parameters.vector[...] = point
        claimed = step.network.loss_and_gradients(parameters, *self._rows(step, dtype), self._replayed(step))[1]
        if type(claimed) is type(parameters) and self._lent is not None:
            vector: Array = claimed.vector
            return vector
        return self.layout.flatten(claimed, "gradients").astype(dtype, copy=False)

    def _rows(self, step: Step, dtype: np.dtype[Any]) -> tuple[Array, Array]:
        kept, rows = self._exact_rows
        if dtype != FLOAT64 or kept is not step:
            inputs, targets = step.inputs, step.targets
            rows = (
                inputs.astype(batch_dtype(inputs, dtype), copy=False),
                targets.astype(batch_dtype(targets, dtype), copy=False),
            )
        if dtype == FLOAT64:
            self._exact_rows = step, rows
        return rows

    def _replayed(self, step: Step) -> np.random.Generator | None:
        """Give a generator that draws the masks of the step."""
        if step.masks is None:
            return None
        self._masks.bit_generator.state = step.masks
        return self._masks

    def _apart(self, one: Array, other: Array) -> Array:
        return self._norms(np.subtract(one, other, dtype=np.float64))

    def _norms(self, vector: Array) -> Array:
        """Give the Euclidean norm of every tensor of a vector."""
        parts = (vector[place] for place in self.layout.slices.values())
        return np.sqrt([np.vdot(part, part) for part in parts], dtype=np.float64)


@lru_cache(maxsize=4)
def _known(dtype: np.dtype[Any]) -> tuple[str, float]:
    """Give the name and the eps of a dtype: numpy takes as long for each as a small product does."""
    return dtype.name, float(np.finfo(dtype).eps)


def wrong(cause: Cause, tensor: str, right: Array, found: Array, sentence: str) -> Answer:
    """Give the answer that a gradient, or what it hangs on, is not what it should be."""
    return Verdict.FAIL, cause, tensor, sentence, {tensor: relative_difference(right, found)}, {}
