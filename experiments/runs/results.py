"""Results: what one run of the main job ended with, as data and in words; nothing that was not measured."""

import textwrap
from collections import Counter
from dataclasses import asdict, dataclass

import numpy as np

from checks import Verdict
from checks.training.proof import Proof
from datasets import Split
from experiments.screen import WIDTH, wrapped
from trainer import Trainer
from trainer.network.parameters import Array

PRECISION = 0.9  # at which the recall is given: one false alarm in ten is what a payments team puts up with
POINTS = 500  # of the curve that are kept; more than a picture shows


@dataclass(frozen=True)
class Scores:
    """How well fraud is found among the test rows, each from 0 to 1; the last is `Curve.cut_recall`."""

    average_precision: float
    roc_auc: float
    recall_at_90_precision: float


@dataclass(frozen=True)
class Confusion:
    """How many rows are fraud, and how many were called so."""

    true_positives: int
    false_positives: int
    false_negatives: int
    true_negatives: int


@dataclass(frozen=True)
class Curve:
    """What `curve.json` holds: recall and precision at every cut, the strictest last, and one cut that is chosen."""

    recall: list[float]
    precision: list[float]
    share: float  # of fraud: the precision of guessing
    cut: float  # the probability from which on a payment is called fraud
    cut_recall: float
    cut_precision: float
    confusion: Confusion


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
        if self.test is not None:
            lines += [
                f"Test rows: {rows.n_samples:,}, of which {rows.n_fraud:,} are fraud",
                f"  average precision              {self.test.average_precision:.3f}   "
                f"({rows.n_fraud / rows.n_samples:.3f} by guessing)",
                f"  ROC AUC                        {self.test.roc_auc:.3f}   (0.500 by guessing)",
                f"  recall at {PRECISION:.0%} precision        {self.test.recall_at_90_precision:.3f}",
            ]
        lines.append(f"Training: {self.iterations:,} iterations in {self.seconds:.2f} s")
        if self.checks:
            plural = "check" if self.checks == 1 else "checks"
            took = f"took {self.checks_seconds:.2f} s of it, {self.checks_share:.0%}"
            lines.append(f"  {self.checks} gradient {plural} {took}")
        paragraph = textwrap.fill(proof, WIDTH, initial_indent="  ", subsequent_indent="  ")
        return "\n".join([*wrapped(lines), "Proof:", paragraph])


def results(trainer: Trainer, proof: Proof, seconds: float, test: Scores | None) -> Results:
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
    )


def measured(probabilities: Array, targets: Array) -> tuple[Scores, Curve] | tuple[None, None]:
    """Measure how well fraud (target 1) is found, or give None where the probabilities are not finite.

    The cut that is chosen has the largest recall at a precision of at least `PRECISION`; where there is none it is
    infinity: nothing is called fraud.
    """
    from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score

    if not np.isfinite(probabilities).all():
        return None, None
    precision, recall, cuts = precision_recall_curve(targets, probabilities)
    good = np.flatnonzero(precision >= PRECISION)
    most = good[recall[good] == recall[good].max()]
    chosen = int(most[np.argmax(precision[most])])
    cut = float(cuts[chosen]) if chosen < cuts.size else float("inf")
    called, fraud = probabilities >= cut, targets == 1.0
    along = np.cumsum(np.abs(np.diff(recall, prepend=1.0)) + np.abs(np.diff(precision, prepend=precision[0])))
    shown = np.unique(np.searchsorted(along, np.linspace(0.0, along[-1], POINTS)))  # evenly along the curve
    curve = Curve(
        recall=recall[shown].tolist(),
        precision=precision[shown].tolist(),
        share=float(fraud.mean()),
        cut=cut,
        cut_recall=float(recall[chosen]),
        cut_precision=float(precision[chosen]),
        confusion=Confusion(
            true_positives=int(np.sum(called & fraud)),
            false_positives=int(np.sum(called & ~fraud)),
            false_negatives=int(np.sum(~called & fraud)),
            true_negatives=int(np.sum(~called & ~fraud)),
        ),
    )
    average, area = average_precision_score(targets, probabilities), roc_auc_score(targets, probabilities)
    return Scores(float(average), float(area), curve.cut_recall), curve
