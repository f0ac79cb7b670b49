"""The check of a Jacobian-vector product: slopes of a contraction along tangents of its inputs."""

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from checks.doors.problem.blame import evident, halved, named, told, with_rows
from checks.doors.problem.contraction import Contraction, unit_vector
from checks.explain.mistake import Kind
from checks.judge.power import CONFIDENCE, TWICE, random_direction, reading_below
from checks.measure.difference import euclidean
from checks.measure.layout import Array
from checks.report.report import GradientReport
from checks.verdict import Cause

TOGETHER = "all inputs"  # the tensor of one tangent through all of them
NOT_LINEAR = "the JVP is right for one tangent at a time, and wrong for several: it is not linear in its tangents."
#: What one slope through many entries can tell of a mistake.
TELLING = (Kind.SCALED, Kind.SIGN, Kind.NEVER_COMPUTED, Kind.NOT_FINITE)


class Tangents:
    """The slopes of a contraction along tangents: each is a number, zero at the point, by which it moves the inputs."""

    def __init__(self, problem: Contraction, jvp: Callable[..., Any]) -> None:
        self.problem, self.jvp, self.here = problem, jvp, problem.point
        self.is_full = problem.options.get("coverage", "full") == "full"
        whole = self._unit(random_direction(problem.rng, self.here.size))
        self.tangents = {TOGETHER: whole}  # before the others: what is wrong in one of them is wrong in it, too
        for name, place in problem.layout.slices.items() if not self.is_full else ():
            part = np.zeros(whole.size)
            part[place] = random_direction(problem.rng, place.stop - place.start)
            self.tangents[name] = self._unit(part)

    def check(self) -> GradientReport:
        """Check all tangents."""
        numbers: dict[str, Any] = dict.fromkeys(self.tangents, 0.0)
        if self.is_full:
            report = self.problem.judged(self._loss, self._gradients, {**numbers, **self.problem.inputs.moving})
        else:  # every one of a handful of numbers
            derivative = self.problem.options.get("derivative") or "complex"
            self.problem.options = {**self.problem.options, "coverage": "full", "derivative": derivative}
            report = self._as_directions(self.problem.judged(self._loss, self._gradients, numbers))
        return self._blaming(report) if report.culprits else report

    def claimed(self, point: Array, tangent: Array) -> Array:
        """Give what the JVP says of a tangent, a number for every output."""
        inputs, outputs = self.problem.inputs, self.problem.outputs
        moved, along = (self.problem.here(vector) for vector in (point, tangent))
        found = self.jvp(inputs.packed(inputs.arguments(moved)), inputs.packed(inputs.tangents(along)))
        if isinstance(found, tuple) and len(found) == 2:
            with contextlib.suppress(TypeError, ValueError):  # then they are the tangents of two outputs
                return outputs.flatten(found[1], "tangents")
        return outputs.flatten(found, "tangents")

    def _loss(self, moved: Mapping[str, Any]) -> Any:
        return self.problem.loss(self.problem.here(self._point(moved)))

    def _point(self, moved: Mapping[str, Any]) -> Array:
        numbers, start = np.array([moved[name] for name in self.tangents]), self.here
        if self.is_full:
            start = self.problem.layout.flatten(moved, "inputs", np.result_type(numbers, np.float64).type)
        point: Array = start + numbers @ np.array(list(self.tangents.values()))
        return point

    def _gradients(self, moved: Mapping[str, Any]) -> dict[str, Any]:
        point, weights = self._point(moved), self.problem.cotangent
        with np.errstate(invalid="ignore"):  # what is claimed may be NaN
            found = {name: weights @ self.claimed(point, tangent) for name, tangent in self.tangents.items()}
            if not self.is_full:
                return found
            each = [weights @ self.claimed(point, unit_vector(point.size, entry)) for entry in range(point.size)]
        return {**found, **self.problem.layout.unflatten(np.array(each))}

    def _as_directions(self, report: GradientReport) -> GradientReport:
        """Give every input its own shape, and say what two random directions exclude."""
        rows = {}
        for name, row in report.tensors.items():
            size = euclidean(self.problem.weights * self.claimed(self.here, self.tangents[name]))
            left = row.excluded
            if row.cause is Cause.AGREES and size > 0.0:  # what is left of one slope, beside the size of them all
                left = row.excluded * reading_below(1.0 - CONFIDENCE) * abs(row.gradient) / (size * TWICE)
            mistake = row.mistake if row.mistake is not None and row.mistake.kind in TELLING else None
            rows[name] = replace(row, shape=self.problem.layout.shapes.get(name, ()), excluded=left, mistake=mistake)
        return replace(with_rows(report, rows), coverage="directions")

    def _blaming(self, report: GradientReport) -> GradientReport:
        """Say of the worst entry from which output its mismatch comes."""
        problem, first = self.problem, report.culprits[0]
        if first.name == TOGETHER:
            return named(report, NOT_LINEAR)
        place = problem.layout.slices[first.name]
        if self.is_full:
            entry = place.start + int(np.ravel_multi_index(first.worst_index, first.shape))
        else:
            tangent = self.tangents[first.name]
            output = int(np.argmax(np.abs(problem.cotangent * self._apart(tangent))))
            entry = halved(tangent, lambda part: float(self._apart(part)[output]))
        unit = unit_vector(self.here.size, entry)
        apart, measured = self._apart(unit), problem.slopes(unit)
        output, whole = int(np.argmax(np.abs(problem.cotangent * apart))), float(problem.cotangent @ apart)
        numerical = float(problem.cotangent @ measured)
        where = problem.layout.index(first.name, entry - place.start)
        worst = replace(first, worst_index=where, gradient=numerical + whole, numerical=numerical)
        return evident(report, worst, told(problem, output, measured[output], measured[output] + apart[output], whole))

    def _apart(self, tangent: Array) -> Array:
        """Give the mismatch of every output along a tangent."""
        apart: Array = np.nan_to_num(self.claimed(self.here, tangent) - self.problem.slopes(tangent), nan=np.inf)
        return apart

    def _unit(self, direction: Array) -> Array:
        """Scale a direction to length 1 in units of ``max(1, |x|)``."""
        scaled: Array = direction * np.maximum(1.0, np.abs(self.here))
        return scaled / (euclidean(direction) or 1.0)
