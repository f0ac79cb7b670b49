"""The proof: what the checks of a whole run have shown, in one paragraph and as data."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Self

from numpy.typing import ArrayLike

from checks.judge.power import CONFIDENCE, reading_below
from checks.report.report import GradientReport
from checks.report.words import proof_paragraph
from checks.training.proof_state import refuse_broken
from checks.training.row_set import RowSet
from checks.verdict import Verdict

MOST_KEPT = 20  # failures, undecided tensors and notes; what comes later is counted (notes are not)


@dataclass
class Exercised:
    """What one probe exercised.

    Attributes
    ----------
    rows, positive_rows : array-like of int
        Positions of the probe's rows among the training rows, and of those with target 1.
    active_units, units : int
        Hidden units that were active for at least one row of the probe, out of how many.
    precision_difference : float or None
        Relative difference between the gradient in the training precision and in float64, where they differ.
    """

    rows: ArrayLike
    positive_rows: ArrayLike
    active_units: int
    units: int
    precision_difference: float | None = None


@dataclass
class Proof:
    """What the checks of one run have shown; nothing that was not measured.

    It takes no more memory after a million checks than after the first few: one byte a training row.

    Attributes
    ----------
    coverage, derivative, dropout : str
        The options of the checks; dropout is ``"none"`` where the network has none.
    n_checks, first, last : int
        How many checks ran, and the iterations of the first and of the last.
    passed, failed : int
        How many of them did; the others were undecided.
    n_parameters : int
        Coordinates of the network.
    n_positive : int
        Rows with target 1 among the training rows.
    largest : (float, int, str) or None
        The largest relative difference, when, and in which tensor.
    excluded : dict of str to (float, int)
        For each tensor the largest error that a check could not exclude, and how often the tensor passed.
    rows, positive_rows : RowSet
        The rows that some check exercised.
    undecided, failures : list of (int, str, str)
        The first `MOST_KEPT`: iteration, tensor, and the cause or the mistake.
    undecided_counts : dict of str to int
        How often each tensor was left undecided, by ``"tensor: cause"``.
    n_failures : int
        How many there were in all.
    """

    coverage: str = "full"
    derivative: str = "central"
    dropout: str = "off"
    threshold: float = math.nan
    n_parameters: int = 0
    n_positive: int = 0
    n_checks: int = 0
    first: int = 0
    last: int = 0
    passed: int = 0
    failed: int = 0
    largest: tuple[float, int, str] | None = None
    excluded: dict[str, tuple[float, int]] = field(default_factory=dict)
    terms: list[str] = field(default_factory=list)
    rows: RowSet = field(default_factory=RowSet)
    positive_rows: RowSet = field(default_factory=RowSet)
    active_share: float | None = None
    precision: float | None = None
    kinks: int = 0
    undecided: list[tuple[int, str, str]] = field(default_factory=list)
    undecided_counts: dict[str, int] = field(default_factory=dict)
    failures: list[tuple[int, str, str]] = field(default_factory=list)
    n_failures: int = 0
    notes: set[str] = field(default_factory=set)
    seconds: float = 0.0

    def add(self, iteration: int, report: GradientReport, exercised: Exercised) -> None:
        """Add one check."""
        self.first = self.first if self.n_checks else iteration
        self.last = iteration
        self.n_checks += 1
        self.n_parameters = report.n_parameters
        self.passed += report.verdict is Verdict.PASS
        self.failed += report.verdict is Verdict.FAIL
        self.seconds += report.seconds
        self.kinks += report.kinks
        if len(self.notes) < MOST_KEPT:
            self.notes.update(report.notes)
        self.terms = list(report.terms)
        self.rows.add(exercised.rows)
        self.positive_rows.add(exercised.positive_rows)
        if exercised.units:
            self.active_share = max(self.active_share or 0.0, exercised.active_units / exercised.units)
        if exercised.precision_difference is not None:
            self.precision = max(self.precision or 0.0, exercised.precision_difference)
        for name, size in report.excluded_errors().items():
            largest, count = self.excluded.get(name, (0.0, 0))
            self.excluded[name] = max(largest, size), count + 1
        for name, difference in report.differences().items():
            if self.largest is None or difference > self.largest[0]:
                self.largest = (difference, iteration, name)
        if report.verdict is not Verdict.PASS:
            self._add_exceptions(iteration, report)

    def _add_exceptions(self, iteration: int, report: GradientReport) -> None:
        """Add the tensors that failed or were left undecided."""
        for part, label in ((report, ""), *((term, f" (term {name})") for name, term in report.terms.items())):
            for tensor in reversed(list(part.tensors.values())):  # as backprop runs: the first to fail is where to look
                where = tensor.name + label
                if tensor.verdict is Verdict.FAIL:
                    text = tensor.mistake.sentence if tensor.mistake else tensor.evidence
                    self.n_failures += 1
                    if len(self.failures) < MOST_KEPT:
                        self.failures.append((iteration, where, text))
                elif tensor.verdict is Verdict.UNDECIDED:
                    what = f"{where}: {tensor.cause.value}"
                    self.undecided_counts[what] = self.undecided_counts.get(what, 0) + 1
                    if len(self.undecided) < MOST_KEPT:
                        self.undecided.append((iteration, where, tensor.cause.value))

    def excluded_errors(self) -> dict[str, float]:
        """Give, for each tensor, the share of its gradient's norm above which an error is excluded.

        Full checks exclude it at every checked iteration, so the largest counts. Random directions add up: an
        error of the same relative size throughout the run would have to hide from every fresh direction, and is
        excluded where the probability of that is 1 %.
        """
        if self.coverage == "full":
            return {name: largest for name, (largest, _) in self.excluded.items()}
        return {name: _hidden_from_all(*evidence) for name, evidence in self.excluded.items()}

    def state_dict(self) -> dict[str, Any]:
        """Give everything added so far as plain data for JSON; `from_state` takes it back."""
        state = {part.name: getattr(self, part.name) for part in fields(self)}
        state |= {name: state[name].to_text() for name in ("rows", "positive_rows")}
        copies = {
            name: state[name].copy() for name in ("excluded", "terms", "undecided", "undecided_counts", "failures")
        }
        return state | copies | {"notes": sorted(self.notes)}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Self:
        """Take up where a `state_dict` left off.

        Raises
        ------
        ValueError
            If it is none.
        """
        refuse_broken(state)
        own = {part.name: state[part.name] for part in fields(cls)}
        own |= {name: RowSet.from_text(state[name]) for name in ("rows", "positive_rows")}
        own |= {name: [tuple(entry) for entry in state[name]] for name in ("undecided", "failures")}
        own |= {"terms": list(state["terms"]), "undecided_counts": dict(state["undecided_counts"])}
        own["excluded"] = {name: tuple(evidence) for name, evidence in state["excluded"].items()}
        own["notes"] = set(state["notes"])
        own["largest"] = None if state["largest"] is None else tuple(state["largest"])
        return cls(**own)

    def __str__(self) -> str:
        """Give the proof as one paragraph."""
        return proof_paragraph(self)

    def to_dict(self) -> dict[str, Any]:
        """Give the proof as plain data for JSON."""
        return {
            "checks": self.n_checks,
            "first_iteration": self.first if self.n_checks else None,
            "last_iteration": self.last if self.n_checks else None,
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
            "undecided_counts": dict(self.undecided_counts),
            "undecided": [dict(zip(("iteration", "tensor", "cause"), u, strict=True)) for u in self.undecided],
            "n_failures": self.n_failures,
            "failures": [dict(zip(("iteration", "tensor", "mistake"), f, strict=True)) for f in self.failures],
            "notes": sorted(self.notes),
            "seconds": self.seconds,
            "paragraph": str(self),
        }


def _hidden_from_all(largest: float, checks: int) -> float:
    """Give the error that hides from every one of several random directions with probability 1 %.

    The largest value is what one direction excludes with 99 %; times `reading_below` 1 % it is that direction's
    reading. The largest of ``n`` readings stays below ``x`` with the n-th power of the probability that one does.
    (The product of each reading's own probability is no probability of all of them: it is small for every error.)
    """
    reading = largest * reading_below(1.0 - CONFIDENCE)
    return reading / reading_below((1.0 - CONFIDENCE) ** (1.0 / checks))
