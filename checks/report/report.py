"""The report of one gradient check: data first; `checks.report.words` turns it into words."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from checks.explain.mistake import Mistake
from checks.measure.layout import Array
from checks.report.words import summary, table, to_dict
from checks.verdict import Cause, Verdict


@dataclass(frozen=True, eq=False)
class Entries:
    """Both gradients of one tensor, entry by entry, each an array of the tensor's shape.

    Attributes
    ----------
    gradient, numerical : ndarray
        The gradient under test and the measured one; NaN where nothing was measured.
    aside : ndarray of bool
        The entries that were set aside because the loss has a kink there.
    """

    gradient: Array
    numerical: Array
    aside: Array


@dataclass(frozen=True)
class TensorReport:
    """What the check found out about one tensor.

    Attributes
    ----------
    name : str
        The tensor.
    shape : tuple of int
        Its shape.
    verdict : Verdict
        PASS, FAIL or UNDECIDED for this tensor alone.
    cause : Cause
        Why.
    difference : float
        Classic relative difference over the coordinates that were not set aside, dimensionless. With
        ``coverage="directions"`` an estimate from one random direction.
    gradient_norm : float
        Euclidean norm of the gradient under test, in units of loss per parameter.
    worst_index : tuple of int
        Where gradient and numerical gradient lie furthest apart. Empty where that was not looked for.
    gradient, numerical : float
        Both values there (or both slopes along the direction, where there is no index).
    kinks : int
        Coordinates set aside because the loss has a kink there.
    untouched : int
        Coordinates at which both are exactly zero: nothing was exercised there.
    excluded : float
        An error above this share of ``gradient_norm`` is excluded, with probability ``confidence``.
    confidence : float
        1 for a full check, 0.99 for a random direction.
    evidence : str
        The readings the verdict rests on, where it is not a plain PASS.
    mistake : Mistake or None
        What kind of mistake it looks like, where the verdict is FAIL.
    entries : Entries or None
        Both gradients whole, after a full check; it is not in `GradientReport.to_dict`.
    """

    name: str
    shape: tuple[int, ...]
    verdict: Verdict
    cause: Cause
    difference: float
    gradient_norm: float
    worst_index: tuple[int, ...]
    gradient: float
    numerical: float
    kinks: int = 0
    untouched: int = 0
    excluded: float = float("inf")
    confidence: float = 1.0
    evidence: str = ""
    mistake: Mistake | None = None
    entries: Entries | None = field(default=None, compare=False, repr=False)

    @property
    def size(self) -> int:
        """Number of coordinates."""
        return math.prod(self.shape)

    @property
    def ratio(self) -> float:
        """``gradient / numerical`` at the worst index: 2, -1, the number of rows … often names the mistake."""
        if self.numerical == 0.0:
            return float("nan") if self.gradient == 0.0 else float(np.copysign(np.inf, self.gradient))
        return self.gradient / self.numerical

    @property
    def label(self) -> str:
        """The worst coordinate as its owner would write it, such as ``W2[3, 1]``."""
        return f"{self.name}[{', '.join(map(str, self.worst_index))}]" if self.worst_index else self.name


@dataclass(frozen=True)
class GradientReport:
    """What one gradient check found out; `str` gives a readable table.

    Attributes
    ----------
    difference : float
        ``||grad - gradapprox|| / (||grad|| + ||gradapprox||)`` over everything not set aside.
    plain_difference : float
        The same before anything was examined: what the classic check would have printed.
    threshold : float
        What the differences were held against.
    tensors : mapping of str to TensorReport
        In the order of the forward pass.
    terms : dict of str to GradientReport
        The terms of the loss that were checked apart.
    coverage, derivative : str
        ``"full"`` or ``"directions"``; ``"central"`` or ``"complex"``.
    loss : float
        The loss at the point.
    step : float
        Base step of the central differences, in units of ``max(1, |theta|)``.
    evaluations : int
        Loss evaluations used.
    seconds : float
        Time the check took.
    notes : tuple of str
        What the reader should know, such as why the complex step was not used.
    complex_confirmed : bool
        Whether the complex step was held against central differences, and agreed.
    """

    difference: float
    plain_difference: float
    threshold: float
    tensors: Mapping[str, TensorReport]
    coverage: str
    derivative: str
    loss: float
    step: float
    evaluations: int
    seconds: float
    terms: dict[str, "GradientReport"] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    complex_confirmed: bool = False

    @cached_property
    def verdict(self) -> Verdict:
        """FAIL if any tensor or term fails, else UNDECIDED if any is, else PASS."""
        verdicts = {tensor.verdict for tensor in self.tensors.values()}
        verdicts |= {term.verdict for term in self.terms.values()}
        return next(v for v in (Verdict.FAIL, Verdict.UNDECIDED, Verdict.PASS) if v in verdicts)

    @cached_property
    def cause(self) -> Cause:
        """The cause of the verdict: that of the tensor that decides it."""
        deciding = self.culprits or [t for t in self.tensors.values() if t.verdict is self.verdict]
        if deciding:
            return deciding[0].cause
        return next(term.cause for term in self.terms.values() if term.verdict is self.verdict)

    @cached_property
    def culprits(self) -> list[TensorReport]:
        """The failing tensors in the order of backprop, from the output to the input.

        An error in one layer's backward flows into every layer before it, so the first is where to look. Where
        only terms fail, those of the terms.
        """
        own = [tensor for tensor in reversed(list(self.tensors.values())) if tensor.verdict is Verdict.FAIL]
        return own or [tensor for term in self.terms.values() for tensor in term.culprits]

    @property
    def not_exercised(self) -> list[TensorReport]:
        """The tensors about which the check says nothing, because both gradients are zero."""
        return [tensor for tensor in self.tensors.values() if tensor.cause is Cause.NOT_EXERCISED]

    @cached_property
    def n_parameters(self) -> int:
        """Number of coordinates the report speaks of."""
        return sum(tensor.size for tensor in self.tensors.values())

    @property
    def kinks(self) -> int:
        """Coordinates set aside because the loss has a kink there."""
        return sum(tensor.kinks for tensor in self.tensors.values())

    def excluded_errors(self) -> dict[str, float]:
        """Give what each tensor that passed excludes: errors above this share of its gradient's norm."""
        return {tensor.name: tensor.excluded for tensor in self.tensors.values() if tensor.verdict is Verdict.PASS}

    def differences(self) -> dict[str, float]:
        """Give the relative difference of each tensor in which something was exercised and measured."""
        return {
            tensor.name: tensor.difference
            for tensor in self.tensors.values()
            if tensor.cause is not Cause.NOT_EXERCISED and not math.isnan(tensor.difference)
        }

    def summary(self) -> str:
        """Give the check in one line, for a log."""
        return summary(self)

    def plot(self, **options: Any) -> Any:
        """Draw every tensor as a heat map; see `checks.report.plot.plot`. Needs matplotlib, the extra ``report``."""
        from checks.report.plot import plot

        return plot(self, **options)

    def _repr_html_(self) -> str:
        """Give a table for a notebook."""
        from checks.report.html import table as html

        return html(self)

    def to_dict(self) -> dict[str, Any]:
        """Give everything as plain data for JSON."""
        return to_dict(self)

    def __str__(self) -> str:
        """Give a readable table, with where and why."""
        return table(self)
