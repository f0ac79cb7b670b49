"""Results: what one run of the main job ended with, as data and in words; nothing that was not measured."""

import math
import textwrap
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any, Self

from checks import Verdict
from checks.training.proof import Proof
from datasets import FraudData, Split
from experiments.model.threshold import Threshold
from experiments.runs.judging import Scores
from experiments.screen import WIDTH, wrapped
from trainer import Trainer

NAME = 26  # columns for a name in a table of scores


@dataclass(frozen=True)
class Rival:
    """What else one could run, on the same rows."""

    name: str
    average_precision: float
    recall: float  # at a cut that was chosen as that of the network was
    precision: float | None
    seconds: float  # of its training


@dataclass(frozen=True)
class Table:
    """What a run has learned from and was judged on; rows and frauds are those to train, to validate and to test."""

    name: str
    rows: tuple[int, int, int]
    frauds: tuple[int, int, int]
    features: int
    notes: list[str]  # what was made of its columns
    warnings: list[str]  # what of it is not used

    @classmethod
    def of(cls, name: str, data: FraudData) -> Self:
        """Describe it."""
        parts = data.train, data.validation, data.test
        train, validation, test = ((part.n_samples, part.n_fraud) for part in parts)
        rows, frauds = zip(train, validation, test, strict=True)
        return cls(name, rows, frauds, data.n_features, list(data.notes), list(data.warnings))


@dataclass(frozen=True)
class Results:
    """What `metrics.json` holds."""

    outcome: str  # "completed", "stopped", "halted", "diverged" or "interrupted"
    reason: str | None  # why, unless it completed
    iterations: int
    epochs: int  # the last one perhaps in part
    seconds: float  # of the training, checks included, since it was begun or resumed
    checks_seconds: float  # of all checks
    checks: int
    checks_failed: int
    checks_undecided: int
    test: Scores | None  # after an end in good order
    threshold: Threshold | None = None
    rivals: list[Rival] = field(default_factory=list)
    table: Table | None = None
    best_epoch: int | None = None  # whose parameters were kept: the best by the next number
    validation_average_precision: float | None = None

    @property
    def checks_share(self) -> float:
        """Share of the training's time that the checks took, from 0 to 1."""
        return self.checks_seconds / self.seconds if self.seconds else 0.0

    def to_dict(self) -> dict[str, object]:
        """Give them as plain data for JSON."""
        return asdict(self) | {"checks_share": self.checks_share}

    def in_words(self, rows: Split, proof: str) -> str:
        """Give them as text of at most 100 columns: of the test rows, of the training, and the proof last."""
        lines = []
        if self.checks_failed:
            lines.append(
                f"DO NOT TRUST THIS MODEL: {self.checks_failed} of {self.checks} gradient checks FAILED; the run "
                + ("went on all the same." if self.outcome == "completed" else "stopped there.")
            )
        if self.test is not None and self.threshold is not None:
            lines.append(f"Test rows: {rows.n_samples:,}, of which {rows.n_fraud:,} are fraud")
            lines += _scores_in_words(self.test, self.threshold, rows.n_fraud / rows.n_samples)
            lines += _rivals_in_words(self.rivals, self.test)
        lines.append(f"Training: {self.iterations:,} iterations in {self.seconds:.2f} s")
        if self.best_epoch:
            lines.append(
                f"  kept is epoch {self.best_epoch:,} of {self.epochs:,}, "
                f"with the best average precision on the validation rows, {self.validation_average_precision:.3f}"
            )
        if self.checks:
            plural = "check" if self.checks == 1 else "checks"
            took = f"took {self.checks_seconds:.2f} s of it, {self.checks_share:.0%}"
            lines.append(f"  {self.checks} gradient {plural} {took}")
        paragraph = textwrap.fill(proof, WIDTH, initial_indent="  ", subsequent_indent="  ")
        return "\n".join([*wrapped(lines), "Proof:", paragraph])


def _scores_in_words(scores: Scores, threshold: Threshold, share: float) -> Iterator[str]:
    def line(name: str, value: float | None, remark: str = "") -> str:
        low, high = scores.intervals.get(name.replace(" ", "_"), (None, None))
        between = "" if low is None else f"{low:.3f} to {high:.3f}"
        return f"  {name:<{NAME}} {'none' if value is None else f'{value:.3f}'}   {between:<16}   {remark}".rstrip()

    yield line("average precision", scores.average_precision, f"({share:.3f} by guessing)")
    yield line("ROC AUC", scores.roc_auc, "(0.500 by guessing)")
    if scores.alarms:
        yield line("recall", scores.recall, f"called fraud from {threshold} on")
    else:
        yield line("recall", scores.recall, "nothing is called fraud")
    yield line("precision", scores.precision)
    if scores.cost is not None:
        yield f"  {'cost':<{NAME}} {scores.cost:,.2f} ({scores.cost_of_nothing:,.2f} if nothing was called fraud)"
    if scores.worse_of_late is not None:
        yield f"  It is worse of late: {scores.worse_of_late}."
    yield f"  The cut was chosen on the validation rows for {threshold.rule};"
    if threshold.cut == math.inf:
        yield "  no cut does it."
    yield "  the intervals hold 95 % of samples of the test rows."


def _rivals_in_words(rivals: list[Rival], own: Scores) -> Iterator[str]:
    if not rivals:
        return
    yield "Beside it, on the same rows (average precision, recall and precision):"
    for rival in rivals:
        precision = "none" if rival.precision is None else f"{rival.precision:.3f}"
        yield f"  {rival.name:<{NAME}} {rival.average_precision:.3f}   {rival.recall:.3f}   {precision}"
    best = max(rivals, key=lambda rival: rival.average_precision)
    if best.average_precision > own.average_precision:
        high = own.intervals["average_precision"][1]
        surely = "by more than chance explains" if best.average_precision > high else "if not surely"
        yield f"  Better on these rows, {surely}: {best.name}."


def results(trainer: Trainer, proof: Proof, seconds: float, test: Scores | None, **rest: Any) -> Results:
    """Collect what a run that has ended leaves."""
    state = trainer.state
    diverged = state.outcome == "completed" and test is None
    verdicts = Counter(row.get("verdict") for row in trainer.history if row["event"] == "iteration")
    return Results(
        outcome="diverged" if diverged else state.outcome,
        reason="the outputs are not finite" if diverged else trainer.history.last(1)[0]["reason"],
        iterations=state.optimizer_state.n_updates,
        epochs=state.epoch,
        seconds=seconds,
        checks_seconds=proof.seconds,
        checks=proof.n_checks,
        checks_failed=verdicts[Verdict.FAIL],  # of either question
        checks_undecided=verdicts[Verdict.UNDECIDED],
        test=test,
        **rest,
    )
