"""One step of training as it was made, and the watch that keeps it from before backprop until after the update."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from checks.measure.difference import relative_difference
from checks.measure.layout import Array, Layout
from checks.report.findings import Applied
from checks.verdict import Cause, Verdict
from trainer.callbacks.base import Callback, TrainState


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
    complex_trust: bool | None = None  # and what was known of the complex step


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
        if self._after_backprop not in state.after_backprop:
            state.after_backprop.append(self._after_backprop)

    def step(self, state: TrainState, rng: np.random.Generator, complex_trust: bool | None) -> Step | None:
        """Give the step as it stands before the update; None if its beginning was not to be looked at."""
        begin, returned, self._begin = self._begin, self._returned, None
        if begin is None or returned is None:
            return None
        applied, now = state.gradients.vector.copy(), state.parameters.vector.copy()
        between = self._others(state, before=True)
        asked = dict(rng.bit_generator.state), complex_trust
        self._step = Step(state.network, begin, now, *state.batch, self._masks, returned, applied, between, *asked)
        return self._step

    def changed(self, state: TrainState) -> tuple[Step, Applied] | None:
        """Give the step if its gradient was changed after it was checked; to be called after the update."""
        step, self._step = self._step, None
        if step is None or same_bits(step.applied, state.gradients.vector):
            return None
        after = self._others(state, before=False)
        step = replace(step, returned=step.applied, applied=state.gradients.vector.copy(), between=after)
        label, checked, now = worst(Layout(state.parameters), step.returned, step.applied)
        sentence = f"{label} is {now:.9g}, and was {checked:.9g} when it was checked: the update has had it already."
        if after:
            sentence += f" Look at the callbacks after the check: {', '.join(after)}."
        difference = relative_difference(step.returned, step.applied)
        dtype, rows = step.applied.dtype.name, len(step.targets)
        return step, Applied(Verdict.FAIL, Cause.CHANGED, difference, label, dtype, rows, sentence=sentence)

    def _after_backprop(self, state: TrainState) -> None:
        if self._begin is not None:
            self._returned = state.gradients.vector.copy()

    def _others(self, state: TrainState, *, before: bool) -> tuple[str, ...]:
        """Name the callbacks that have their turn at a gradient before the check, or after it."""
        callbacks = list(state.callbacks)
        place = callbacks.index(self._own)
        others = callbacks[:place] if before else callbacks[place + 1 :]
        idle = Callback.on_gradients_computed, type(self._own).on_gradients_computed
        return tuple(type(other).__name__ for other in others if type(other).on_gradients_computed not in idle)


def same_bits(one: Array, other: Array) -> bool:
    """Say whether two vectors are the same, to the last bit and in dtype."""
    return one.dtype == other.dtype and one.tobytes() == other.tobytes()


def worst(layout: Layout, one: Array, other: Array) -> tuple[str, float, float]:
    """Name the coordinate at which two vectors lie furthest apart, and give both values there; NaN is furthest."""
    with np.errstate(all="ignore"):
        apart = np.abs(np.subtract(one, other, dtype=np.float64))
    apart = np.where(np.isnan(apart) & (one != other) & ~(np.isnan(one) & np.isnan(other)), np.inf, apart)
    position = int(np.nanargmax(np.nan_to_num(apart, nan=0.0, posinf=np.inf)))
    name = next(name for name, place in layout.slices.items() if position < place.stop)
    label = layout.label(name, position - layout.slices[name].start)
    return label, float(one[position]), float(other[position])
