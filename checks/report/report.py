"""The report of one gradient check: the findings, the ways to look at them, and to raise them."""

import math
import sys
from dataclasses import dataclass, field
from typing import Any, Literal, Self

from checks.report.findings import Findings
from checks.report.plain import to_dict
from checks.report.words import summary, table
from checks.verdict import Verdict


class GradientCheckError(AssertionError):
    """A gradient does not match its loss.

    Parameters
    ----------
    report : GradientReport
        Says where and why; also an attribute.
    message : str, default=""
        What the error says; the report in words by default.
    """

    def __init__(self, report: "GradientReport", message: str = "") -> None:
        super().__init__(message or str(report))
        self.report = report

    def __reduce__(self) -> tuple[Any, ...]:
        """Let it cross the border of a process."""
        return type(self), (self.report, str(self))


@dataclass(frozen=True)
class GradientReport(Findings):
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
    verdict : Verdict
        FAIL if any tensor, any term or the applied gradient fails, else UNDECIDED if any is, else PASS.
    cause : Cause
        That of the tensor that decides the verdict.
    culprits : list of TensorReport
        The failing tensors in the order of backprop: an error flows into every layer before, so look at the first.
    applied : Applied or None
        Within a training run, what was found out about the very gradient that is about to be applied: ``verdict``,
        ``cause``, ``difference``, ``tensor``, ``sentence``, ``excluded``, ``dtype``, ``n_rows``.
    n_parameters, kinks : int
        Coordinates the report speaks of, and those set aside because the loss has a kink there.
    """

    terms: dict[str, "GradientReport"] = field(default_factory=dict, metadata={"may_lack": True})

    def raise_unless_pass(self, *, not_exercised: Literal["pass", "raise"] = "pass") -> Self:
        """Return the report of a PASS, and raise it else: a gradient test in one line, for any check.

        Parameters
        ----------
        not_exercised : {"pass", "raise"}, default="pass"
            What becomes of a tensor whose gradient and slopes are zero everywhere: right here, but nothing was tested.
            Where that is so of every tensor, it raises in any case.

        Returns
        -------
        GradientReport
            This one.

        Raises
        ------
        GradientCheckError
            If the verdict is FAIL or UNDECIDED, or too little was exercised.
        """
        __tracebackhide__ = True  # pytest then shows the caller's line and the report, not this function
        if not_exercised not in ("pass", "raise"):
            raise ValueError(f"not_exercised is unknown. Expected 'pass' or 'raise'. Received {not_exercised!r}.")
        if self.verdict is not Verdict.PASS:
            raise GradientCheckError(self)
        left_out = self.not_exercised
        if left_out and (not_exercised == "raise" or len(left_out) == len(self.tensors)):
            raise GradientCheckError(self, f"nothing was exercised in {', '.join(left_out)}. {self}")
        return self

    def summary(self) -> str:
        """Give the check in one line, for a log."""
        return summary(self)

    def row(self) -> dict[str, Any]:
        """Give the fields that the check adds to a row of a history, as plain data."""
        row: dict[str, Any] = ({} if self.applied is None else self.applied.row()) | {
            "difference": self.difference,
            "plain_difference": self.plain_difference,
            "threshold": self.threshold,
            "verdict": self.verdict.value,
            "cause": self.cause.value,
            "parameters_checked": self.n_parameters,
            "kinks": self.kinks,
            "rounding": self.rounding_floor,
            "evaluations": self.evaluations,
            "milliseconds": 1e3 * self.seconds,
        }
        if self.culprits:
            worst = self.culprits[0]
            row |= {"worst": worst.label, "gradient": worst.gradient, "numerical": worst.numerical}
            row["ratio"] = worst.ratio
        return row

    @property
    def rounding_floor(self) -> float:
        """The relative difference that rounding alone would leave where the gradient is right, an estimate.

        Two losses, each rounded to ``eps·|J|``, divided by two steps: about ``eps·|J| / step`` in each of n slopes,
        against twice the gradient's norm. The complex step subtracts nothing and rounds like ``eps`` itself. NaN where
        the loss or the gradient is not finite, or zero.
        """
        eps = sys.float_info.epsilon
        if self.derivative == "complex":
            return eps
        norm = math.hypot(*self.column("gradient_norm"))
        error = eps * abs(self.loss) / self.step * math.sqrt(self.n_parameters)
        return max(eps, error / (2.0 * norm)) if norm > 0.0 and math.isfinite(error) else math.nan

    def plot(self, **options: Any) -> Any:
        """Draw every tensor as a heat map, by `options` as in `checks.report.plot.plot`; needs the extra ``report``."""
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
