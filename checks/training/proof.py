"""The proof: what the checks of a whole run have shown, in one paragraph and as data."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from html import escape
from typing import Annotated, Any, Literal, Self, TypeAlias

from numpy.typing import ArrayLike

from checks.judge.power import CONFIDENCE, reading_below
from checks.measure.difference import largest
from checks.report.findings import Applied, Count, Findings
from checks.training.rows import RowSet
from checks.verdict import Verdict
from trainer.storage.codec import from_plain, to_plain

MOST_KEPT = 20  # failures, undecided tensors and notes; what comes later is counted (notes are not)
DROPOUT = {
    "off": ["Dropout was off during the checks, so its own backward was not checked."],
    "frozen": ["One dropout mask was replayed within each check, so dropout's own backward was checked too."],
}

UNSEEN = (
    "No check sees whether the loss is the one that is meant, what the optimizer makes of a gradient, and what neither "
    "a probe nor a checked batch has drawn."
)

#: Iteration, tensor, and the cause or the mistake.
Event: TypeAlias = tuple[Count, str, str]


@dataclass
class Exercised:
    """What one probe exercised."""

    rows: ArrayLike  # positions among the training rows
    positive_rows: ArrayLike  # of those with target 1
    active_units: int  # hidden ones that were active for at least one row of the probe, out of how many
    units: int


@dataclass
class AppliedProof:
    """What the answers to the second question add up to."""

    n: Count = 0
    first: Count = 0
    last: Count = 0
    passed: Count = 0
    failed: Count = 0
    largest: tuple[float, Count, str] | None = None  # difference, iteration, tensor
    excluded: dict[str, float] = field(default_factory=dict)  # the largest error that a question could not exclude
    sizes: list[Count] = field(default_factory=list)  # of the batches
    dtype: str = ""

    def add(self, iteration: int, applied: Applied) -> None:
        """Add one answer."""
        self.first = self.first if self.n else iteration
        self.last, self.n, self.dtype = iteration, self.n + 1, applied.dtype
        self.passed += applied.verdict is Verdict.PASS
        self.failed += applied.verdict is Verdict.FAIL
        if self.largest is None or not (math.isnan(self.largest[0]) or applied.difference <= self.largest[0]):
            self.largest = (applied.difference, iteration, applied.tensor)
        if applied.n_rows not in self.sizes:
            self.sizes = sorted([*self.sizes, applied.n_rows])[-MOST_KEPT:]
        if applied.verdict is Verdict.PASS:
            for name, size in applied.excluded.items():
                self.excluded[name] = largest((self.excluded.get(name, 0.0), size))

    def sentence(self, *, masks: bool) -> str:
        """Say it, of a network with dropout masks or without."""
        if not self.n:
            return "Whether the gradients that were applied are those of their batches was not looked at."
        when = (
            f"at iteration {self.first}"
            if self.n == 1
            else f"{self.n} times, at iterations {self.first} to {self.last}"
        )
        sizes = " and ".join(map(str, self.sizes)) if len(self.sizes) < 3 else f"{self.sizes[0]} to {self.sizes[-1]}"
        text = (
            f"The very gradient about to be applied was compared {when}, in {self.dtype}, on its batch of {sizes} rows"
            f"{' and with its dropout masks' * masks}, with the slope of that batch's loss: "
            f"{self.passed} of {self.n} passed"
        )
        if self.largest is None or self.failed:
            return f"{text}."
        difference, iteration, tensor = self.largest
        return f"{text}, the largest difference {difference:.1e} (in {tensor} at iteration {iteration})."

    def to_dict(self) -> dict[str, Any]:
        """Give it as plain data for JSON."""
        data: dict[str, Any] = {"checks": self.n, "passed": self.passed, "failed": self.failed, "dtype": self.dtype}
        data |= {"first_iteration": self.first or None, "last_iteration": self.last or None}
        data["batch_sizes"], data["excluded"] = list(self.sizes), dict(self.excluded)
        if self.largest is not None:
            data["largest_difference"] = dict(zip(("difference", "iteration", "tensor"), self.largest, strict=True))
        return data


@dataclass
class Proof:
    """What the checks of one run have shown; nothing that was not measured.

    It takes no more memory after a million checks than after the first few: one byte a training row.

    Attributes
    ----------
    coverage, derivative, dropout : str
        The options of the checks; dropout is ``"none"`` where the model drew no masks.
    threshold : float
        What the differences were held against.
    n_checks, first, last : int
        How many checks ran, and the iterations of the first and of the last.
    passed, failed : int
        How many of them did; the others were undecided.
    n_parameters : int
        Coordinates of the network.
    n_positive : int
        Rows with target 1 among the training rows, where these are of two classes.
    n_classes : int
        Of the targets where they are not 0 and 1, 1 where they are no classes; 0 where they are 0 and 1.
    largest : (float, int, str) or None
        The largest relative difference, when, and in which tensor.
    excluded : dict of str to (float, int)
        For each tensor the largest error that a check could not exclude, and how often the tensor passed.
    terms : list of str
        The terms of the loss that were checked apart.
    rows, positive_rows : RowSet
        The rows that some check exercised.
    active_share : float or None
        The largest share of the hidden units that one check found active.
    kinks : int
        Coordinates set aside because the loss has a kink there, over all checks.
    undecided, failures : list of (int, str, str)
        The first `MOST_KEPT`: iteration, tensor, and the cause or the mistake.
    undecided_counts : dict of str to int
        How often each tensor was left undecided, by ``"tensor: cause"``.
    n_failures : int
        How many there were in all.
    not_exercised : dict of str to int
        How often each tensor passed because its gradient is zero: right, but nothing of it was tested.
    notes : set of str
        What the reader should know; about `MOST_KEPT`.
    seconds : float
        Time that all checks took.
    applied : AppliedProof
        What the answers to the second question add up to.
    """

    coverage: Literal["full", "directions"] = "full"
    derivative: str = "central"
    dropout: str = "off"
    threshold: float = math.nan
    n_parameters: Count = 0
    n_positive: Count = 0
    n_classes: Count = field(default=0, metadata={"may_lack": True})  # version 0.1 had two classes only
    n_checks: Count = 0
    first: Count = 0
    last: Count = 0
    passed: Count = 0
    failed: Count = 0
    largest: tuple[float, Count, str] | None = None
    excluded: dict[str, tuple[float, Annotated[int, (1, 2**63)]]] = field(default_factory=dict)
    terms: list[str] = field(default_factory=list)
    rows: RowSet = field(default_factory=RowSet)
    positive_rows: RowSet = field(default_factory=RowSet)
    active_share: float | None = None
    kinks: Count = 0
    undecided: list[Event] = field(default_factory=list)
    undecided_counts: dict[str, Count] = field(default_factory=dict)
    failures: list[Event] = field(default_factory=list)
    n_failures: Count = 0
    not_exercised: dict[str, Count] = field(default_factory=dict, metadata={"may_lack": True})
    notes: set[str] = field(default_factory=set)
    seconds: float = 0.0
    # Of the second question; version 0.1 did not ask it.
    applied: AppliedProof = field(default_factory=AppliedProof, metadata={"may_lack": True})

    def add(self, iteration: int, report: Findings, exercised: Exercised) -> None:
        """Add one check: the `report` of it, made at an `iteration`, and what its probe `exercised`."""
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
        for name, size in report.excluded_errors().items():
            before, count = self.excluded.get(name, (0.0, 0))
            self.excluded[name] = largest((before, size)), count + 1
        for name in report.not_exercised:
            self.not_exercised[name] = self.not_exercised.get(name, 0) + 1
        for name, difference in report.differences().items():
            if self.largest is None or not difference <= self.largest[0]:
                self.largest = (difference, iteration, name)
        if report.verdict is not Verdict.PASS:
            self._add_exceptions(iteration, report)

    def add_applied(self, iteration: int, applied: Applied) -> None:
        """Add one answer to the second question.

        Parameters
        ----------
        iteration : int
            When it was asked.
        applied : Applied
            Whether the gradient about to be applied was right.
        """
        self.applied.add(iteration, applied)
        self.seconds += applied.seconds
        if applied.verdict is Verdict.FAIL:
            self.n_failures += 1
            if len(self.failures) < MOST_KEPT:
                self.failures.append((iteration, applied.tensor, f"{applied.cause.capitalize()}: {applied.sentence}"))
        elif applied.verdict is Verdict.UNDECIDED:
            what = f"{applied.tensor} on a batch: {applied.cause.value}"
            self.undecided_counts[what] = self.undecided_counts.get(what, 0) + 1
            if len(self.undecided) < MOST_KEPT:
                self.undecided.append((iteration, applied.tensor, applied.cause.value))

    def _add_exceptions(self, iteration: int, report: Findings) -> None:
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
        state: dict[str, Any] = to_plain(self)
        return state

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Self:
        """Take up where a `state_dict` left off.

        Raises
        ------
        ValueError
            If `state` is none.
        """
        proof: Self = from_plain(cls, state, "proof")
        return proof

    def __repr__(self) -> str:
        """Show how much was checked, and how it went."""
        if not self.n_checks and not self.applied.n:
            return "Proof(no checks)"
        when = "" if not self.n_checks else f", iterations {self.first} to {self.last}"
        when = when if self.n_checks != 1 else f", iteration {self.first}"
        applied = f", {self.applied.passed} of {self.applied.n} applied gradients" * bool(self.applied.n)
        largest = "" if self.largest is None else f", largest difference {self.largest[0]:.1e}"
        failed = f" and {self.failed} FAILED" * bool(self.failed)
        return f"Proof({self.passed} of {self.n_checks} checks passed{failed}{applied}{when}{largest})"

    def _repr_html_(self) -> str:
        """Give the paragraph for a notebook."""
        return f"<p>{escape(self.paragraph())}</p>"

    def __str__(self) -> str:
        """Give the proof as one paragraph."""
        return self.paragraph()

    def paragraph(self, positive: str = "target 1") -> str:
        """Give what a run has shown as one paragraph, for a reader who is no specialist.

        Parameters
        ----------
        positive : str, default="target 1"
            What rows of class 1 have, in the words of whoever made the data.
        """
        if not self.n_checks and self.applied.n:
            asked = self.applied.sentence(masks=self.dropout != "none")
            return f"Backprop was not checked on rows of the check's own. {asked} {UNSEEN}"
        if not self.n_checks:
            return "No gradient check was run, so nothing is shown about the back-propagation of this run."
        n = self.n_checks
        times = f"{n} times" if n > 2 else ("once", "twice")[n - 1]
        when = f"at iteration {self.first}" if n == 1 else f"at iterations {self.first} to {self.last}"
        over = (
            f"over all {self.n_parameters} parameters"
            if self.coverage == "full"
            else f"along {n} fresh random direction{'s' * (n > 1)} through all {self.n_parameters} parameters"
        )
        text = [f"The back-propagation was compared {times}, {when}, with a numerical gradient {over}."]
        text.append(self.applied.sentence(masks=self.dropout != "none"))
        if self.failures:
            iteration, tensor, sentence = self.failures[0]
            text.append(f"It is WRONG: at iteration {iteration} the check failed at {tensor}. {sentence}")
        else:
            text.append(
                f"{self.passed} of {n} checks passed and none failed"
                + (", so on what was exercised it is right." if self.passed and not self.applied.failed else ".")
            )
        if self.largest is not None:
            difference, iteration, tensor = self.largest
            text.append(
                f"The largest relative difference was {difference:.1e} (in {tensor} at iteration {iteration}), "
                f"against a threshold of {self.threshold:.0e}."
            )
        excluded = self.excluded_errors()
        if excluded:
            sizes = ", ".join(f"{name} {value:.1e}" for name, value in excluded.items())
            how = "at every check" if self.coverage == "full" else "over the whole run, with 99 % probability,"
            how += " at which the tensor passed" if self.failures or self.undecided else ""
            text.append(f"Excluded {how} is an error larger than this share of a tensor's gradient: {sizes}.")
        units = "" if self.active_share is None else f", and {self.active_share:.0%} of the hidden units"
        among = {0: f", {len(self.positive_rows)} of the {self.n_positive} with {positive} among them", 1: ""}
        classes = among.get(self.n_classes, f", of each of the {self.n_classes} classes")
        text.append(f"Exercised were {len(self.rows)} rows{classes}{units}.")
        text += DROPOUT.get(self.dropout, [])[: 0 if self.applied.n else 1]
        if self.terms:
            text.append(f"The terms {', '.join(self.terms)} of the loss were checked apart.")
        if self.kinks:
            text.append(f"{self.kinks} slopes were set aside at kinks of the loss, where no single slope exists.")
        if self.undecided:
            listed = ", ".join(f"{what} ({count} ×)" for what, count in self.undecided_counts.items())
            text.append(f"Left UNDECIDED: {listed}.")
        if self.not_exercised:
            listed = ", ".join(f"{name} ({count} ×)" for name, count in self.not_exercised.items())
            text.append(f"Not exercised, for gradient and slopes are zero, or zero up to rounding: {listed}.")
        text += [f"Note: {note}." for note in sorted(self.notes)]
        text.append(UNSEEN)
        return " ".join(text)

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
            "applied": self.applied.to_dict(),
            "kinks": self.kinks,
            "not_exercised": dict(self.not_exercised),
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
