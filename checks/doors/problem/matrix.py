"""A matrix of derivatives, dense, sparse or an operator: checked by its product, told and measured as a matrix."""

import math
from dataclasses import replace
from typing import Any

import numpy as np

from checks.doors.problem.blocks import as_matrix
from checks.doors.problem.contraction import Contraction, unit_vector
from checks.doors.problem.pattern import block, sparsity
from checks.doors.problem.pullback import check_pullback
from checks.explain.diagnosis import diagnose
from checks.explain.entries import Entries, Suspect
from checks.explain.mistake import Hints
from checks.measure.layout import Array
from checks.measure.objective import EPS, ROUNDING
from checks.options import STEP
from checks.report.findings import TensorReport
from checks.report.report import GradientReport

#: Entries up to which a wrong matrix is measured whole, to name the row, the column and the kind of mistake.
MEASURED_AT_MOST = 1_000_000
#: Truncation of a central difference, as a share of the largest entry.
TRUNCATED = 1e-8


class Matrix:
    """What somebody gives for the Jacobian of a function of one input: a matrix, or a function that gives one."""

    def __init__(self, problem: Contraction, given: Any, name: str) -> None:
        self.problem, self.given, self.name = problem, given, name
        (self.input,) = problem.inputs.moving
        self.shape = problem.outputs.size, problem.layout.size
        self._last: tuple[Array, Any] | None = None  # where it was asked for last, and what it was there
        if problem.outputs.is_complex or problem.layout.is_complex:
            kinds = "real inputs and outputs"
            raise TypeError(f"{problem.door} is of complex numbers. Expected {kinds}. Received complex ones.")

    def check(self) -> GradientReport:
        """Check the product with a random combination of the rows."""
        return self.told(check_pullback(self.problem, self.pull))

    def pull(self, cotangent: Any, here: Any) -> tuple[Any]:
        """Give the product of a cotangent with the matrix."""
        weights = self.problem.outputs.flatten(cotangent, "cotangents")
        point = self.problem.layout.flatten({self.input: here}, "inputs")
        if self._last is None or not np.array_equal(self._last[0], point):  # both halves of a cotangent want the same
            self._last = point, self.at(here)
        return (self.problem.here(np.asarray(self._last[1].T @ weights, dtype=np.float64))[self.input],)

    def at(self, here: Any) -> Any:
        """Give the matrix."""
        found = self.given(here) if callable(self.given) and not hasattr(self.given, "matvec") else self.given
        return as_matrix(found, self.problem)

    def told(self, report: GradientReport) -> GradientReport:
        """Tell a report of the sum over the rows as one of the matrix, by blocks of columns; measure a wrong one."""
        layout = self.problem.layout
        names = {leaf: self.name if len(layout.shapes) == 1 else f"{self.name} of {leaf}" for leaf in layout.shapes}
        rows = {}
        for leaf, row in report.tensors.items():
            shape = self.shape[0], math.prod(layout.shapes[leaf])
            rows[leaf] = replace(row, name=names[leaf], shape=shape, worst_index=(), entries=None)
        if report.culprits and math.prod(self.shape) <= MEASURED_AT_MOST:
            claimed = self.at(self.problem.here()[self.input])
            units = (unit_vector(self.shape[1], column) for column in range(self.shape[1]))
            dense = claimed.toarray() if hasattr(claimed, "toarray") else claimed
            dense = np.stack([claimed @ unit for unit in units], axis=1) if hasattr(claimed, "matvec") else dense
            measured, bounds = self._measured()
            for leaf in [tensor.name for tensor in report.culprits]:
                gradient, numerical, bound = (part[:, layout.slices[leaf]] for part in (dense, measured, bounds))
                nowhere = np.zeros(gradient.shape, dtype=bool)
                suspect = Suspect(gradient, numerical, bound, nowhere, names[leaf], np.zeros(gradient.shape))
                rows[leaf] = self._wrong(rows[leaf], suspect, report.threshold, hasattr(claimed, "toarray"))
        return replace(report, tensors={names[leaf]: row for leaf, row in rows.items()})

    def _wrong(self, row: TensorReport, suspect: Suspect, threshold: float, is_sparse: bool) -> TensorReport:
        """Name the worst entry of a block, and what kind of mistake it is."""
        worst = np.unravel_index(int(np.argmax(np.abs(np.nan_to_num(suspect.error, nan=np.inf)))), row.shape)
        mistake = sparsity(suspect, threshold) if is_sparse else None
        mistake = mistake or diagnose([suspect], threshold, Hints())[suspect.name]
        words = {"backprop": self.problem.door, f"d{suspect.name}": suspect.name, "its gradient": "it"}
        sentence = mistake.sentence
        for word, better in words.items():
            sentence = sentence.replace(word, better)
        return replace(
            row,
            worst_index=tuple(map(int, worst)),
            gradient=float(suspect.gradient[worst]),
            numerical=float(suspect.numerical[worst]),
            mistake=replace(mistake, sentence=sentence),
            evidence=row.evidence + block(suspect.wrong(threshold)),
            entries=Entries(suspect.gradient, suspect.numerical, suspect.bounds, suspect.aside),
        )

    def _measured(self) -> tuple[Array, Array]:
        """Measure the matrix by central differences, with bounds on their rounding and truncation."""
        units = (unit_vector(self.shape[1], column) for column in range(self.shape[1]))
        columns = np.stack([self.problem.slopes(unit) for unit in units], axis=1)
        step = (self.problem.options.get("step") or STEP) * np.maximum(1.0, np.abs(self.problem.point))
        size = np.abs(self.problem.at(self.problem.here()))
        return columns, ROUNDING * EPS * size[:, None] / step + TRUNCATED * np.nanmax(np.abs(columns))
