"""The proof: what the checks of a whole run have shown, in one paragraph and as data."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Self

from checks.power import CONFIDENCE, normal_quantile
from checks.rendering import proof_paragraph
from checks.report import GradientReport
from checks.verdict import Cause, Verdict


@dataclass
class Exercised:
    """What one probe exercised.

    Attributes
    ----------
    rows, positive_rows : list of int
        Positions of the probe's rows among the training rows, and of those with target 1.
    active_units, units : int
        Hidden units that were active for at least one row of the probe, out of how many.
    precision_difference : float or None
        Relative difference between the gradient in the training precision and in float64, where they differ.
    """

    rows: list[int]
    positive_rows: list[int]
    active_units: int
    units: int
    precision_difference: float | None = None


@dataclass
class Proof:
    """What the checks of one run have shown; nothing that was not measured.

    Attributes
    ----------
    coverage, derivative, dropout : str
        The options of the checks; dropout is ``"none"`` where the network has none.
    iterations : list of int
        When a check ran.
    n_parameters : int
        Coordinates of the network.
    n_positive : int
        Rows with target 1 among the training rows.
    """

    coverage: str = "full"
    derivative: str = "central"
    dropout: str = "off"
    threshold: float = math.nan
    n_parameters: int = 0
    n_positive: int = 0
    iterations: list[int] = field(default_factory=list)
    passed: int = 0
    largest: tuple[float, int, str] | None = None
    excluded: dict[str, list[float]] = field(default_factory=dict)
    terms: list[str] = field(default_factory=list)
    rows: set[int] = field(default_factory=set)
    positive_rows: set[int] = field(default_factory=set)
    active_share: float | None = None
    precision: float | None = None
    kinks: int = 0
    undecided: list[tuple[int, str, str]] = field(default_factory=list)
    failures: list[tuple[int, str, str]] = field(default_factory=list)
    notes: set[str] = field(default_factory=set)
    seconds: float = 0.0

    def add(self, iteration: int, report: GradientReport, exercised: Exercised) -> None:
        """Add one check."""
        self.iterations.append(iteration)
        self.n_parameters = report.n_parameters
        self.passed += report.verdict is Verdict.PASS
        self.seconds += report.seconds
        self.kinks += report.kinks
        self.notes |= set(report.notes)
        self.terms = list(report.terms)
        self.rows |= set(exercised.rows)
        self.positive_rows |= set(exercised.positive_rows)
        if exercised.units:
            self.active_share = max(self.active_share or 0.0, exercised.active_units / exercised.units)
        if exercised.precision_difference is not None:
            self.precision = max(self.precision or 0.0, exercised.precision_difference)
        for part, label in ((report, ""), *((term, f" (term {name})") for name, term in report.terms.items())):
            for tensor in reversed(part.tensors.values()):  # as backprop runs: the first to fail is where to look
                where = tensor.name + label
                if tensor.verdict is Verdict.FAIL:
                    text = tensor.mistake.sentence if tensor.mistake else tensor.evidence
                    self.failures.append((iteration, where, text))
                elif tensor.verdict is Verdict.UNDECIDED:
                    self.undecided.append((iteration, where, tensor.cause.value))
        for tensor in report.tensors.values():
            if tensor.verdict is Verdict.PASS:
                self.excluded.setdefault(tensor.name, []).append(tensor.excluded)
            measured = tensor.cause is not Cause.NOT_EXERCISED and not math.isnan(tensor.difference)
            if measured and (self.largest is None or tensor.difference > self.largest[0]):
                self.largest = (tensor.difference, iteration, tensor.name)

    def excluded_errors(self) -> dict[str, float]:
        """Give, for each tensor, the share of its gradient's norm above which an error is excluded.

        Full checks exclude it at every checked iteration, so the largest counts. Random directions add up: an
        error of the same relative size throughout the run would have to hide from every fresh direction, and is
        excluded where the probability of that is 1 %.
        """
        if self.coverage == "full":
            return {name: max(values) for name, values in self.excluded.items()}
        return {name: _hidden_from_all(values) for name, values in self.excluded.items()}

    def state_dict(self) -> dict[str, Any]:
        """Give everything added so far as plain data for JSON; `from_state` takes it back."""
        sets = {name: sorted(getattr(self, name)) for name in ("rows", "positive_rows", "notes")}
        return asdict(self) | sets

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Self:
        """Take up where a `state_dict` left off."""
        sets = {name: set(state[name]) for name in ("rows", "positive_rows", "notes")}
        lists = {name: [tuple(entry) for entry in state[name]] for name in ("undecided", "failures")}
        largest = None if state["largest"] is None else tuple(state["largest"])
        return cls(**{**state, **sets, **lists, "largest": largest})

    def __str__(self) -> str:
        """Give the proof as one paragraph."""
        return proof_paragraph(self)

    def to_dict(self) -> dict[str, Any]:
        """Give the proof as plain data for JSON."""
        return {
            "checks": len(self.iterations),
            "iterations": list(self.iterations),
            "passed": self.passed,
            "coverage": self.coverage,
            "derivative": self.derivative,
            "dropout": self.dropout,
            "threshold": self.threshold,
            "n_parameters": self.n_parameters,
            "largest_difference": None
            if self.largest is None
            else dict(zip(("difference", "iteration", "tensor"), self.largest, strict=True)),
            "excluded": self.excluded_errors(),
            "confidence": 1.0 if self.coverage == "full" else CONFIDENCE,
            "terms": list(self.terms),
            "rows": len(self.rows),
            "positive_rows": len(self.positive_rows),
            "positive_rows_in_training": self.n_positive,
            "active_share_of_units": self.active_share,
            "precision_difference": self.precision,
            "kinks": self.kinks,
            "undecided": [dict(zip(("iteration", "tensor", "cause"), u, strict=True)) for u in self.undecided],
            "failures": [dict(zip(("iteration", "tensor", "mistake"), f, strict=True)) for f in self.failures],
            "notes": sorted(self.notes),
            "seconds": self.seconds,
            "paragraph": str(self),
        }


def _hidden_from_all(excluded: list[float]) -> float:
    """Give the error that hides from every one of several Gaussian directions with probability 1 %.

    Each value is what one direction excludes with 99 %; times the 0.5 % quantile it is that direction's reading. The
    largest of ``n`` readings stays below ``x`` with the n-th power of the probability that one does. (The product
    of each reading's own probability is no probability of all of them: it is small for every error.)
    """
    readings = [value * normal_quantile(1.0 - CONFIDENCE) for value in excluded]
    return max(readings) / normal_quantile((1.0 - CONFIDENCE) ** (1.0 / len(readings)))
