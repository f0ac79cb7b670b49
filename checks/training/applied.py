"""The gradient that is about to be applied, held against the loss of its batch.

`checks.check` asks whether backprop is right: in float64, on rows of its own, without dropout. Here the very vector
that the optimizer will get is asked about, on the very batch, with the very masks, in the precision of the training and
at the very parameters.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from checks.check import compare
from checks.measure.difference import largest, relative_difference
from checks.measure.layout import Array, Layout
from checks.measure.objective import Objective
from checks.options import Options
from checks.report.findings import Applied
from checks.report.report import GradientReport
from checks.verdict import Cause, Verdict
from trainer.callbacks.base import Callback, TrainState

#: A float32 gradient within so many eps of the float64 one needs no second look: correct networks read 1 to 2.
EASY = 8.0
#: A step made again may differ by so many eps where products are summed in another order, as on several threads.
REORDERED = 64.0
#: How often a float32 step is made again: at the same parameters, and at some a few last places off, which shows what
#: rounding does to it. A unit whose input is about zero changes sides in half of these.
AGAIN = 12
LAST_PLACES = 4
#: What those show, times this, is what rounding may have done: the nudges are larger than rounding's own.
CERTAIN = 4.0
#: Questions for which what rounding does is taken to stay as it was measured.
LASTS = 20


@dataclass(frozen=True, eq=False)
class Step:
    """One step of training as it was made: what it takes to make it again. Vectors are in the training's precision."""

    network: Any
    begin: Array  # the parameters before backprop
    now: Array  # and after it, when they are about to be updated
    inputs: Array  # of the batch
    targets: Array
    masks: Mapping[str, Any] | None  # state of the generator of dropout masks before backprop
    returned: Array  # the gradient as backprop gave it
    applied: Array  # and as it is about to be applied
    between: tuple[str, ...] = ()  # the callbacks that had their turn between the two
    directions: Mapping[str, Any] | None = None  # state of the generator of directions when it was asked about
    complex_confirmed: bool = False  # and whether the complex step was confirmed by then


class AppliedCheck:
    """Asks of steps of one run whether the gradient that is about to be applied is right."""

    def __init__(self, layout: Layout, options: Options) -> None:
        self.layout = layout
        self.options = options
        self._masks = np.random.default_rng(0)  # only ever put into the state of another
        self._rounding = np.zeros(len(layout.slices))  # what it does to each tensor's gradient, as last measured
        self._lasts = 0

    def ask(
        self, step: Step, rng: np.random.Generator, *, complex_confirmed: bool = False
    ) -> tuple[Applied, GradientReport]:
        """Give what was found out, and the report of the batch's loss along a fresh direction on which it rests."""
        started = time.perf_counter()
        is_exact = step.applied.dtype == np.float64
        twin = self._backprop(step, np.dtype(np.float64))
        rows = self._rows(step, np.dtype(np.float64))
        objective = Objective(
            lambda parameters: step.network.loss(parameters, *rows, self._replayed(step)),
            self.layout,
            step.begin.astype(np.float64),
            step.applied.copy() if is_exact else twin,
            complex_confirmed=complex_confirmed,
        )
        # The complex step reads a float64 gradient to its last digits; a float32 one has none that would need it.
        derivative = "complex" if is_exact else "central"
        options = Options("directions", derivative, self.options.threshold, self.options.step)
        report = compare(objective, options, started, rng=rng)
        found = self._changed(step) or self._judged(step, twin, report, is_exact=is_exact)
        return replace(found, evaluations=report.evaluations, seconds=time.perf_counter() - started), report

    def _changed(self, step: Step) -> Applied | None:
        """Say what needs no measuring: that something was written to which nothing may write to."""
        if not np.array_equal(step.begin, step.now, equal_nan=True):
            where, before, after = worst(self.layout, step.begin, step.now)
            sentence = (
                f"{where} was {before:.9g} before backprop and is {after:.9g}. Between the two nothing may write to "
                "the parameters: look for a forward, a backward or a callback that works in place."
            )
            return _fail(step, Cause.MOVED, where, step.begin, step.now, sentence)
        if not np.array_equal(step.returned, step.applied, equal_nan=True):
            where, before, after = worst(self.layout, step.returned, step.applied)
            sentence = f"{where} is {after:.9g}, and backprop gave {before:.9g}."
            if step.between:
                sentence += f" Look at the callbacks before the check: {', '.join(step.between)}."
            return _fail(step, Cause.CHANGED, where, step.returned, step.applied, sentence)
        return None

    def _judged(self, step: Step, twin: Array, report: GradientReport, *, is_exact: bool) -> Applied:
        """Judge what backprop gave by the same step again, and by the slope of the batch's loss."""
        differs = not self._is_near(twin, step.applied, REORDERED if is_exact else EASY)
        other = self._repeated(step, twin, is_exact=is_exact) if differs else None
        if other is not None:
            where, now, then = worst(self.layout, other, step.applied)
            sentence = (
                f"The same step, made again with the same parameters, rows and masks, gives another gradient: {where} "
                f"was {then:.9g} and is {now:.9g}. Look for what backprop keeps from call to call, such as a sum that "
                "goes on in the storage it is lent."
            )
            return _fail(step, Cause.NOT_REPEATABLE, where, other, step.applied, sentence)
        if report.verdict is Verdict.FAIL:
            first = report.culprits[0]
            told = first.mistake.sentence if first.mistake is not None else f"{first.evidence}."
            sentence = f"{first.label} is {first.gradient:.9g}, should be {first.numerical:.9g}. {told}"
            found = _found(step, Verdict.FAIL, Cause.WRONG_ON_BATCH, first.label, sentence)
            return replace(found, difference=first.difference)
        if differs and not self._is_explained(step, twin):
            where, right, coarse = worst(self.layout, twin, step.applied)
            sentence = (
                f"{where} is {coarse:.9g} in {step.applied.dtype} and {right:.9g} in float64, which is not rounding. "
                "Look for what backprop does otherwise in this precision."
            )
            return _fail(step, Cause.LOST, where, twin, step.applied, sentence)
        differences, excluded = report.differences(), report.excluded_errors()
        if not is_exact:
            columns = zip(self.layout.slices, self._apart(step.applied, twin), self._norms(twin), strict=True)
            for name, apart, norm in columns:
                if norm > 0.0:
                    differences[name] = float(apart / (2.0 * norm))
                    excluded[name] = excluded.get(name, 0.0) + float(apart / norm)
        for tensor in report.tensors.values() if report.verdict is Verdict.UNDECIDED else ():
            if tensor.verdict is Verdict.UNDECIDED and tensor.cause is not Cause.NOT_EXERCISED:
                found = _found(step, Verdict.UNDECIDED, tensor.cause, tensor.name, f"{tensor.evidence}.")
                return replace(found, difference=largest(differences.values()), excluded=excluded)
        where = max(differences, key=differences.__getitem__, default="")
        found = _found(step, Verdict.PASS, Cause.AGREES, where, "")
        return replace(found, difference=largest(differences.values()), excluded=excluded)

    def _repeated(self, step: Step, twin: Array, *, is_exact: bool) -> Array | None:
        """Make the step again in its own precision; give a gradient that is another one, if there is any."""
        if is_exact:
            return twin
        tries = (self._backprop(step, step.begin.dtype) for _ in range(AGAIN))
        return next((again for again in tries if not self._is_near(again, step.applied, EASY)), None)

    def _is_explained(self, step: Step, twin: Array) -> bool:
        """Say whether rounding may have made the difference to float64; nudging the parameters shows what it does."""
        eps, apart = np.finfo(step.applied.dtype).eps, self._apart(step.applied, twin)
        easy = EASY * eps * self._norms(twin)
        self._lasts -= 1
        if self._lasts > 0 and np.all(apart <= CERTAIN * self._rounding + easy):
            return True
        rng = np.random.default_rng(0)
        self._rounding, self._lasts = np.zeros(len(apart)), LASTS
        for _ in range(AGAIN):
            places = rng.integers(-LAST_PLACES, LAST_PLACES + 1, size=step.begin.size)
            nudged = (step.begin * (1.0 + eps * places)).astype(step.begin.dtype)
            moved = self._apart(self._backprop(step, step.begin.dtype, nudged), step.applied)
            self._rounding = np.maximum(self._rounding, moved)
        return bool(np.all(apart <= CERTAIN * self._rounding + easy))  # NaN is not

    def _backprop(self, step: Step, dtype: np.dtype[Any], at: Array | None = None) -> Array:
        """Make the forward and the backward pass of a step again."""
        point = (step.begin if at is None else at).astype(dtype)
        claimed = step.network.loss_and_gradients(
            self.layout.unflatten(point), *self._rows(step, dtype), self._replayed(step)
        )[1]
        gradient: Array = np.empty(point.size, dtype)
        for name, place in self.layout.slices.items():
            gradient[place] = np.ravel(claimed[name])
        return gradient

    def _rows(self, step: Step, dtype: np.dtype[Any]) -> tuple[Array, Array]:
        return step.inputs.astype(dtype, copy=False), step.targets.astype(dtype, copy=False)

    def _replayed(self, step: Step) -> np.random.Generator | None:
        """Give a generator that draws the masks of the step."""
        if step.masks is None:
            return None
        self._masks.bit_generator.state = step.masks
        return self._masks

    def _is_near(self, one: Array, other: Array, eps: float) -> bool:
        """Say whether two gradients are the same, or lie within so many eps of each tensor's norm."""
        if np.array_equal(one, other, equal_nan=True):
            return True
        unit = eps * np.finfo(other.dtype).eps
        return bool(np.all(self._apart(one, other) <= unit * self._norms(one)))  # NaN is not

    def _apart(self, one: Array, other: Array) -> Array:
        return self._norms(np.subtract(one, other, dtype=np.float64))

    def _norms(self, vector: Array) -> Array:
        """Give the Euclidean norm of every tensor of a vector."""
        return np.array([np.linalg.norm(vector[place]) for place in self.layout.slices.values()], dtype=np.float64)


def worst(layout: Layout, one: Array, other: Array) -> tuple[str, float, float]:
    """Name the coordinate at which two vectors lie furthest apart, and give both values there; NaN is furthest."""
    with np.errstate(all="ignore"):
        apart = np.abs(np.subtract(one, other, dtype=np.float64))
    apart = np.where(np.isnan(apart) & (one != other) & ~(np.isnan(one) & np.isnan(other)), np.inf, apart)
    position = int(np.nanargmax(np.nan_to_num(apart, nan=0.0, posinf=np.inf)))
    name = next(name for name, place in layout.slices.items() if position < place.stop)
    label = layout.label(name, position - layout.slices[name].start)
    return label, float(one[position]), float(other[position])


def _found(step: Step, verdict: Verdict, cause: Cause, tensor: str, sentence: str) -> Applied:
    rows = len(step.targets)
    return Applied(verdict, cause, 0.0, tensor, step.applied.dtype.name, rows, sentence=sentence)


def _fail(step: Step, cause: Cause, tensor: str, right: Array, wrong: Array, sentence: str) -> Applied:
    found = _found(step, Verdict.FAIL, cause, tensor, sentence)
    return replace(found, difference=relative_difference(right, wrong))


class Watch:
    """Keeps of an iteration what it takes to make its step again, from before backprop until after the update."""

    def __init__(self, state: TrainState, own: Callback) -> None:
        self.state = state
        self._own = own
        self._masks: Mapping[str, Any] | None = None
        self._begin: Array | None = None
        self._returned: Array | None = None
        self._step: Step | None = None

    def begin(self, state: TrainState) -> None:
        """Keep the parameters and the masks; to be called before backprop."""
        self._masks = state.place.masks.bit_generator.state
        self._begin, self._returned = state.parameters.vector.copy(), None
        state.after_backprop.append(self._after_backprop)

    def step(self, state: TrainState, rng: np.random.Generator, *, complex_confirmed: bool) -> Step | None:
        """Give the step as it stands before the update; None if its beginning was not to be looked at."""
        begin, returned, self._begin = self._begin, self._returned, None
        if begin is None or returned is None:
            return None
        applied, now = state.gradients.vector.copy(), state.parameters.vector.copy()
        between = self._others(state, before=True)
        made = Step(state.network, begin, now, *state.batch, self._masks, returned, applied, between)
        self._step = replace(made, directions=dict(rng.bit_generator.state), complex_confirmed=complex_confirmed)
        return self._step

    def changed(self, state: TrainState) -> tuple[Step, Applied] | None:
        """Give the step if its gradient was changed after it was checked; to be called after the update."""
        step, self._step = self._step, None
        if step is None or np.array_equal(step.applied, state.gradients.vector, equal_nan=True):
            return None
        after = self._others(state, before=False)
        step = replace(step, returned=step.applied, applied=state.gradients.vector.copy(), between=after)
        label, checked, now = worst(Layout(state.parameters), step.returned, step.applied)
        sentence = f"{label} is {now:.9g}, and was {checked:.9g} when it was checked: the update has had it already."
        if after:
            sentence += f" Look at the callbacks after the check: {', '.join(after)}."
        return step, _fail(step, Cause.CHANGED, label, step.returned, step.applied, sentence)

    def _after_backprop(self, state: TrainState) -> None:
        self._returned = state.gradients.vector.copy()
        state.after_backprop.remove(self._after_backprop)

    def _others(self, state: TrainState, *, before: bool) -> tuple[str, ...]:
        """Name the callbacks that have their turn at a gradient before the check, or after it."""
        callbacks = list(state.callbacks)
        place = callbacks.index(self._own)
        others = callbacks[:place] if before else callbacks[place + 1 :]
        idle = Callback.on_gradients_computed, type(self._own).on_gradients_computed
        return tuple(type(other).__name__ for other in others if type(other).on_gradients_computed not in idle)
