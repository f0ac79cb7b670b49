"""Train a network that finds fraud, check its back-propagation as it learns, and report: the main job."""

import logging
import sys
import time
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from platform import python_version
from typing import Any

import numpy as np

from checks import GradientCheck, GradientCheckError, Verdict
from checks.training.proof import Proof
from datasets import FraudData
from experiments.bugs.bugs import BUGS, EXERCISE
from experiments.command import DONE, NOT_SO, UsageError, run_command, signalled
from experiments.fraud.arguments import parse
from experiments.fraud.deciding import Decision, decided
from experiments.fraud.parts import (
    METRIC,
    average_precision,
    best_epoch_of,
    check_of,
    network_of,
    optimizer_of,
    payments_of,
    telling_of_compilation,
    threads_of,
)
from experiments.fraud.payments import Payments
from experiments.fraud.resuming import demand_the_same, resumed
from experiments.fraud.settings import LIST_BUGS, Settings
from experiments.model.model import FILE
from experiments.report.main import add_page
from experiments.runs.folder import RunFolder
from experiments.runs.record import Record
from experiments.runs.results import Results, Table, results
from experiments.screen import log_lines, of_payments, one_screen, show, stride_of, wrapped
from trainer import Checkpoint, EarlyStopping, ProgressBar, Snapshot, Trainer, TrainingDiverged, latest_checkpoint
from trainer.callbacks.interruption import Interruption

COPIES = 5  # of the parameters that a training holds: themselves, the gradients, and the optimizer's

logger = logging.getLogger("experiments.fraud")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the main job and return its exit code; ``--help`` says what each means."""

    def body() -> int:
        settings = parse(sys.argv[1:] if argv is None else argv)
        if settings.bug == LIST_BUGS:
            return _list_bugs()
        return run(resumed(settings) if settings.resume else settings)

    return run_command(
        "python -m experiments.fraud",
        body,
        memory="not enough memory. Expected --samples, --features and --hidden that fit.",
        disk="cannot write. Expected room and permission for the run's files; then --resume goes on.",
        interrupted="Interrupted before the training began, or after it had ended.",
    )


def run(settings: Settings) -> int:
    """Train, check and report; return the exit code.

    Settings that cannot be followed are refused before anything is trained or written, and an earlier run that cannot
    go on is left as it was.
    """
    folder = None
    if settings.out is not None:
        folder = RunFolder(settings.out, overwrite=settings.overwrite, resume=settings.resume)
    try:
        payments = payments_of(settings)
        network, first = network_of(settings, payments.data.n_features)
    except ValueError as error:
        raise UsageError(str(error)) from error
    np.empty(COPIES * network.n_parameters)  # what cannot fit is refused before anything is written
    check = check_of(settings, None if folder is None else folder.place)
    saves = []
    if folder is not None and settings.checkpoint_every:
        saves = [Checkpoint(folder.place, settings.checkpoint_every, settings=settings.deciding())]
    interruption = Interruption(saves[0] if saves else None)
    best = best_epoch_of(settings)
    watching = [*([] if check is None else [check]), best, *([] if settings.quiet else [ProgressBar()])]
    trainer = Trainer(
        network,
        optimizer=optimizer_of(settings),
        batch_size=settings.batch_size,
        epochs=settings.epochs,
        dtype=settings.dtype,
        seed=settings.seed,
        callbacks=[*first, *watching, *saves, interruption],
        history_path=None if folder is None else folder.place / folder.history,
    )
    with interruption, folder or nullcontext():
        log = None if folder is None else folder.place / folder.log
        stride = stride_of(_n_checks(settings, payments.data))
        with log_lines(quiet=settings.quiet, file=log, go_on=settings.resume, stride=stride):
            snapshot = None
            if folder is not None:
                if settings.resume:
                    snapshot = latest_checkpoint(folder.place, trainer.history_path)
                    demand_the_same(settings, snapshot)
                folder.write_json("settings.json", kept_settings(settings))
            return _train(settings, payments, trainer, check, folder, snapshot)


def kept_settings(settings: Settings) -> dict[str, Any]:
    """Give what `settings.json` holds."""
    import sklearn

    versions = {"python": python_version(), "numpy": np.__version__, "scikit-learn": sklearn.__version__}
    return settings.to_dict() | {"versions": versions}


def _train(
    settings: Settings,
    payments: Payments,
    trainer: Trainer,
    check: GradientCheck | None,
    folder: RunFolder | None,
    snapshot: Snapshot | None,
) -> int:
    data = payments.data
    _announce(settings, data, trainer, snapshot)
    started, interrupt = time.perf_counter(), None
    validation = data.validation.inputs, data.validation.targets
    try:
        metrics = {METRIC: average_precision}
        with threads_of(settings, trainer.network), telling_of_compilation(settings):
            trainer.fit(data.train.inputs, data.train.targets, validation, metrics=metrics, resume=snapshot)
    except (GradientCheckError, TrainingDiverged):
        pass  # trainer.outcome and check.report say so
    except KeyboardInterrupt as error:
        if not _began(trainer):
            raise
        interrupt = error
    seconds = time.perf_counter() - started
    proof, report = (Proof(), None) if check is None else (check.proof, check.report)
    in_order, decision = trainer.outcome in ("completed", "stopped"), None
    if in_order:
        decision = decided(settings, payments, trainer, _doubt(trainer))
    rest: dict[str, Any] = {}
    if decision is not None:
        best = next(callback for callback in trainer.callbacks if isinstance(callback, EarlyStopping))
        rest = {"threshold": decision.model.threshold, "rivals": decision.rivals}
        name = "the synthetic table" if settings.data is None else Path(settings.data).name
        rest["table"] = Table.of(name, data)
        rest |= {"best_epoch": best.best_epoch or None, "validation_average_precision": best.best}
    found = results(trainer, proof, seconds, None if decision is None else decision.scores, **rest)
    if report is not None and report.verdict is Verdict.FAIL and found.outcome in ("halted", "stopped"):
        title = f"Training {found.outcome} at iteration {trainer.state.iteration}."
        show(f"\n{one_screen(report, title)}", sys.stderr)
    if in_order:
        show(found.in_words(data.test, of_payments(proof)))
        for leak in data.leaks:
            show("\n".join(wrapped([leak])))
    if folder is not None:
        _keep(folder, settings, trainer, found, check, decision)
        if in_order:
            logger.info("what the run leaves is in %s", folder.path)
    if found.outcome == "diverged":
        raise UsageError(
            "the training diverged. Expected settings under which the network's outputs stay finite. "
            f"Received --learning-rate {settings.learning_rate:g}."
        )
    if interrupt is not None:
        kept = "" if settings.out is None else f" What was achieved until then is in {settings.out}; --resume goes on."
        show(f"Interrupted after {found.iterations:,} iterations.{kept}", sys.stderr)
        return signalled(interrupt)
    return DONE if found.outcome == "completed" or (found.outcome == "stopped" and not found.checks_failed) else NOT_SO


def _keep(
    folder: RunFolder,
    settings: Settings,
    trainer: Trainer,
    found: Results,
    check: GradientCheck | None,
    decision: Decision | None,
) -> None:
    """Write what the run leaves, then how it ended, and last the page, without which the run is whole."""
    proof, report, violation = Proof(), None, None
    if check is not None:
        proof, report, violation = check.proof, check.report, check.violation
    paragraph = of_payments(proof)
    folder.write_json("metrics.json", found.to_dict())
    folder.write_json("proof.json", proof.to_dict() | {"paragraph": paragraph})
    folder.write_arrays("parameters.npz", trainer.parameters)
    curve = None
    if decision is not None and decision.curve is not None:
        decision.model.save(folder.place / FILE)
        curve = decision.curve
    if report is not None:
        folder.write_json("report.json", report.to_dict())
    failed = report is not None and report.verdict is Verdict.FAIL
    kept = {"report": "report.json" if failed else None, "violation": None if violation is None else violation.name}
    folder.end(found.outcome, found.reason, iterations=found.iterations, **kept)

    def record() -> Record:
        rest = {"outcome": found.outcome, "metrics": found, "proof": paragraph, "report": report, "curve": curve}
        return Record.of(kept_settings(settings), trainer.history, **rest)

    add_page(folder, report, curve, None if settings.no_report else record)


def _doubt(trainer: Trainer) -> str | None:
    """Say why the model is not to be trusted; None if nothing speaks against it."""
    failed = sum(row.get("verdict") == Verdict.FAIL for row in trainer.history if row["event"] == "iteration")
    return f"do not trust this model: {failed} gradient checks of its training FAILED" if failed else None


def _began(trainer: Trainer) -> bool:
    try:
        return trainer.outcome == "interrupted"
    except RuntimeError:
        return False


def _announce(settings: Settings, data: FraudData, trainer: Trainer, snapshot: Snapshot | None) -> None:
    asked, network = settings, trainer.network
    rows = [f"{split.n_samples:,}" for split in (data.train, data.validation, data.test)]
    for note in data.notes:
        logger.info("%s", note)
    for warning in data.warnings:
        logger.warning("%s", warning)
    logger.info("%s payments: %s to train, %s to validate, %s to test", f"{data.n_samples:,}", *rows)
    sizes, regularised = "-".join(map(str, network.layer_sizes)), f"dropout {asked.dropout:g}, l2 {asked.l2:g}"
    logger.info("%s %s network, %d parameters, %s", sizes, asked.activation, network.n_parameters, regularised)
    how = f"{asked.optimizer}, learning rate {asked.learning_rate:g}, batches of {asked.batch_size}, {asked.dtype}"
    how += ", compiled" if asked.compiled else ""
    logger.info("%d epochs, %s", asked.epochs, how)
    n_iterations = _n_iterations(asked, data)
    for options in (callback.options for callback in trainer.callbacks if isinstance(callback, GradientCheck)):
        how = f"{options.coverage}/{options.derivative}, threshold {options.threshold:g}"
        logger.info("a gradient check every %d iterations: %s", asked.check_every, how)
    if (stride := stride_of(_n_checks(asked, data))) > 1:
        logger.info("of the checks that pass, one in %d is shown on this terminal", stride)
    if not asked.check_every:
        logger.warning("--check-every 0: the gradient is never checked")
    elif asked.check_every > n_iterations:
        what = "nothing is checked" if asked.check_applied == "off" else "only the first batches are checked"
        logger.warning("--check-every %d: %s, for the last iteration is %d", asked.check_every, what, n_iterations)
    if snapshot is not None:
        logger.info("resumed after iteration %d", snapshot.iteration)
    elif asked.resume:
        logger.info("there is no checkpoint to resume: from the beginning")
    if asked.bug is not None:
        logger.warning("planted on purpose, from iteration %d on: %s", max(1, asked.bug_after), asked.bug)
        if asked.bug.startswith("dropout-") and asked.check_dropout == asked.check_applied == "off":
            logger.warning("the check leaves dropout off and cannot see it: --check-applied on can")


def _n_iterations(settings: Settings, data: FraudData) -> int:
    return settings.epochs * -(-data.train.n_samples // settings.batch_size)


def _n_checks(settings: Settings, data: FraudData) -> int:
    return _n_iterations(settings, data) // settings.check_every if settings.check_every else 0


def _list_bugs() -> int:
    width = max(map(len, BUGS))
    exercise = [
        f"{name:<{width}}  the exercise's: " + ", ".join(f"{bug} in layer {layer}" for bug, layer in parts)
        for name, parts in EXERCISE.items()
    ]
    show("\n".join([*exercise, *(f"{bug.name:<{width}}  {bug.description}" for bug in BUGS.values())]))
    return DONE
