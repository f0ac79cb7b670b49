"""Results: what one run of the main job ended with, as data and in words; nothing that was not measured."""

import textwrap
from collections.abc import Mapping
from dataclasses import asdict, dataclass

import numpy as np

from checks.training.proof import Proof
from datasets import Split
from experiments.screen import WIDTH, wrapped
from trainer import Trainer
from trainer.network.parameters import Array

PRECISION = 0.9  # at which the recall is given: one false alarm in ten is what a payments team puts up with


@dataclass(frozen=True)
class Results:
    """What `metrics.json` holds.

    Attributes
    ----------
    outcome : str
        ``"completed"``, ``"stopped"``, ``"halted"``, ``"interrupted"`` or ``"failed"``.
    reason : str or None
        Why, unless it completed.
    iterations, epochs : int
        Done, the last one perhaps in part.
    seconds, checks_seconds : float
        Of the training, checks included, since it was begun or resumed; and of the checks alone, all of them.
    checks, checks_failed, checks_undecided : int
        How many, and how many of them with these verdicts.
    test : dict of str to float, or None
        `measured`, where the run ended in good order.
    """

    outcome: str
    reason: str | None
    iterations: int
    epochs: int
    seconds: float
    checks_seconds: float
    checks: int
    checks_failed: int
    checks_undecided: int
    test: Mapping[str, float] | None

    @property
    def checks_share(self) -> float:
        """Share of the training's time that the checks took, from 0 to 1."""
        return self.checks_seconds / self.seconds if self.seconds else 0.0

    def to_dict(self) -> dict[str, object]:
        """Give them as plain data for JSON."""
        return asdict(self) | {"checks_share": self.checks_share}

    def in_words(self, rows: Split, proof: Proof) -> str:
        """Give them as text of at most 100 columns, the proof last.

        Parameters
        ----------
        rows : Split
            The test rows.
        proof : Proof
            What the checks have shown.
        """
        lines = []
        if self.checks_failed:
            lines.append(
                f"DO NOT TRUST THIS MODEL: {self.checks_failed} of {self.checks} gradient checks FAILED; the run "
                + ("went on all the same." if self.outcome == "completed" else "stopped there.")
            )
        if self.test is not None:
            lines += [
                f"Test rows: {rows.n_samples:,}, of which {rows.n_fraud:,} are fraud",
                f"  average precision              {self.test['average_precision']:.3f}   "
                f"({rows.n_fraud / rows.n_samples:.3f} by guessing)",
                f"  ROC AUC                        {self.test['roc_auc']:.3f}   (0.500 by guessing)",
                f"  recall at {PRECISION:.0%} precision        {self.test['recall_at_90_precision']:.3f}",
            ]
        lines.append(f"Training: {self.iterations:,} iterations in {self.seconds:.2f} s")
        if self.checks:
            plural = "check" if self.checks == 1 else "checks"
            took = f"took {self.checks_seconds:.2f} s of it, {self.checks_share:.0%}"
            lines.append(f"  {self.checks} gradient {plural} {took}")
        paragraph = textwrap.fill(str(proof), WIDTH, initial_indent="  ", subsequent_indent="  ")
        return "\n".join([*wrapped(lines), "Proof:", paragraph])


def results(trainer: Trainer, proof: Proof, seconds: float, test: Mapping[str, float] | None) -> Results:
    """Collect what a run that has ended leaves."""
    state = trainer.state
    diverged = state.outcome == "completed" and test is None
    return Results(
        outcome="failed" if diverged else state.outcome,
        reason="the outputs are not finite" if diverged else trainer.history.last(1)[0]["reason"],
        iterations=state.optimizer_state.n_updates,
        epochs=state.epoch,
        seconds=seconds,
        checks_seconds=proof.seconds,
        checks=proof.n_checks,
        checks_failed=proof.failed,
        checks_undecided=proof.n_checks - proof.passed - proof.failed,
        test=test,
    )


def measured(probabilities: Array, targets: Array) -> dict[str, float] | None:
    """Measure how well fraud is found, or give None where the probabilities are not finite.

    Parameters
    ----------
    probabilities, targets : ndarray of shape (n_rows,)
        Of fraud; 1 for fraud and 0 for none, both present.

    Returns
    -------
    dict of str to float, or None
        ``"average_precision"``, ``"roc_auc"``, and ``"recall_at_90_precision"``, the largest share of the frauds
        that some cut finds while nine in ten of its alarms are right; each from 0 to 1.
    """
    from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score

    if not np.isfinite(probabilities).all():
        return None
    precision, recall, _ = precision_recall_curve(targets, probabilities)
    return {
        "average_precision": float(average_precision_score(targets, probabilities)),
        "roc_auc": float(roc_auc_score(targets, probabilities)),
        "recall_at_90_precision": float(recall[precision >= PRECISION].max()),
    }
