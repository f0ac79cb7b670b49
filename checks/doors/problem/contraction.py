"""A function of several inputs as a loss: its outputs, each with a random weight, are added up."""

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Unpack

import numpy as np

from checks.check import check_gradients
from checks.doors.problem.inputs import Inputs
from checks.judge.power import CONFIDENCE, excluded_through, random_direction
from checks.measure.difference import euclidean
from checks.measure.layout import Array, Layout
from checks.options import STEP, Asked, refuse_unless_known
from checks.report.report import GradientReport
from checks.verdict import Cause

#: Share of a slope by which two steps may differ for it to be one, and not what rounding makes.
STEADY = 0.1


class Contraction:
    """``cotangent · function(*inputs)``, whose gradient is the function's vector-Jacobian product.

    Weights are drawn as directions are: from a fixed seed for full coverage, fresh for directions. ``door`` is what the
    words call the derivative that is checked.
    """

    def __init__(self, function: Callable[..., Any], inputs: Any, door: str, **options: Unpack[Asked]) -> None:
        refuse_unless_known(options)
        self.inputs = Inputs(function, inputs, door)
        self.options: Asked = options
        self.door = door
        self._function = function
        self.layout = Layout(self.inputs.moving)
        self.point = self.layout.flatten(self.inputs.moving, "inputs")
        self.outputs = Layout(self._call(self.here()), "output")
        seed = None if options.get("coverage") == "directions" else 0
        self.rng = options.get("rng") or np.random.default_rng(seed)
        self.weights = self._weights()
        self.cotangent: Array = random_direction(self.rng, self.outputs.size) * self.weights

    def here(self, vector: Array | None = None) -> Any:
        """Give the inputs that move, fresh, by name: at the point, or as another vector has them."""
        return self.layout.unflatten((self.point if vector is None else vector).copy())

    def _call(self, moved: Mapping[str, Any]) -> Any:
        return self._function(*self.inputs.arguments(moved))

    def at(self, moved: Mapping[str, Any]) -> Array:
        """Evaluate the outputs as one vector, complex where a complex step has made them so."""
        value = self._call(moved)
        leaves = self.outputs.form.leaves(value, "outputs")
        stepped = not (self.outputs.is_complex or self.layout.is_complex) and any(np.iscomplexobj(v) for _, v in leaves)
        return self.outputs.flatten(value, "outputs", np.complex128 if stepped else np.float64)

    def loss(self, moved: Mapping[str, Any]) -> Any:
        """Give the weighted sum of the outputs."""
        return self.cotangent @ self.at(moved)

    def judged(self, loss: Any, gradients: Any, parameters: Any) -> GradientReport:
        """Check a sum of the outputs; say what that excludes of the Jacobian, and speak of what was checked."""
        options: Asked = {**self.options, "rng": self.rng}
        report = check_gradients(loss, gradients, parameters, **options)
        rows = {}
        for name, row in report.tensors.items():
            if row.mistake is not None:
                sentence = row.mistake.sentence.replace("backprop", self.door).replace("the loss", "the function")
                rows[name] = replace(row, mistake=replace(row.mistake, sentence=sentence))
            elif row.cause is Cause.AGREES and self.outputs.size > 1:
                left = excluded_through(row.excluded, row.confidence)
                rows[name] = replace(row, excluded=left, confidence=CONFIDENCE)
        note = f"one random combination of the {self.outputs.size} outputs stands for all of them"
        notes = (*report.notes, note) if self.outputs.size > 1 else report.notes
        return replace(report, tensors=report.tensors.with_rows(rows), notes=notes)  # type: ignore[attr-defined]

    def slopes(self, direction: Array, times: float = 1.0) -> Array:
        """Measure the slopes of all outputs along a direction by central differences, at a multiple of the step."""
        length = euclidean(direction / np.maximum(1.0, np.abs(self.point)))
        step = times * (self.options.get("step") or STEP) / (length or 1.0)
        with np.errstate(all="ignore"):
            plus, minus = (self.at(self.here(self.point + h * direction)) for h in (step, -step))
            slopes: Array = (plus - minus) / (2.0 * step)
        return slopes

    def _weights(self) -> Array:
        """Weigh several outputs so that each has the same say, but those that only rounding moves."""
        weights = np.ones(self.outputs.size)
        if len(self.outputs.slices) > 1:
            direction = random_direction(np.random.default_rng(0), self.layout.size)
            slopes, again = self.slopes(direction), self.slopes(direction, 3.0)
            sizes = {name: _size(slopes[place], again[place]) for name, place in self.outputs.slices.items()}
            largest = max(sizes.values()) or 1.0
            for name, place in self.outputs.slices.items():
                weights[place] = 1.0 / (sizes[name] or largest)
        return weights


def _size(slopes: Array, again: Array) -> float:
    """Give the typical slope of an output; zero where two steps read different ones."""
    size = euclidean(slopes) / math.sqrt(max(1, slopes.size))
    return size if math.isfinite(size) and euclidean(slopes - again) <= STEADY * euclidean(slopes) else 0.0


def unit_vector(size: int, entry: int) -> Array:
    """Give zeros with a one."""
    unit = np.zeros(size)
    unit[entry] = 1.0
    return unit
