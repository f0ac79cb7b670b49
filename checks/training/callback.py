"""GradientCheck: the check as a callback of a training run: when, on which rows, log, halt."""

import logging
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np

from checks.check import GradientCheckError
from checks.options import STEP, THRESHOLD, Options, coverage_or, refuse_unless_integer
from checks.report.findings import Applied
from checks.report.loop import LEVELS
from checks.report.report import GradientReport
from checks.report.suite import tell
from checks.report.words import line
from checks.training.applied import AppliedCheck
from checks.training.kept import CheckState, kept, restored
from checks.training.probe import Case, Storage
from checks.training.proof import Proof
from checks.training.rows import RowSet, Sampler
from checks.training.step import Step, Watch
from checks.verdict import Cause, Verdict
from trainer.callbacks.base import Callback, TrainingDiverged, TrainingHalted, TrainState
from trainer.model import takes_out
from trainer.storage.codec import from_plain
from trainer.storage.durable import Folder

logger = logging.getLogger(__name__)

#: Rows of a probe: along one direction, a pass over more of them costs more than they add.
ROWS = {"full": 64, "directions": 24}
LOGGED_AT_MOST = 3  # violations of a run that goes on (on_failure="log") that are kept; the first tell the most
THOROUGH_EVERY = 10  # checks, of which the first takes passes that nearly always tell nothing new


class TrainingHaltedByCheck(TrainingHalted, GradientCheckError):
    """A gradient check failed during training; ``report`` says where and why, ``iteration`` when.

    ``violation`` is the file in which the case was kept, if it was.
    """

    def __init__(self, report: GradientReport, iteration: int, violation: Path | None = None) -> None:
        GradientCheckError.__init__(self, report, f"Training halted at iteration {iteration}.\n{report}")
        self.iteration = iteration
        self.violation = violation

    def __reduce__(self) -> tuple[Any, ...]:
        """Let it cross the border of a process."""
        return type(self), (self.report, self.iteration, self.violation)


@dataclass(eq=False)
class _Run:
    """What belongs to the run that is watched."""

    sampler: Sampler
    storage: Storage
    applied: AppliedCheck
    watch: Watch
    masks: Mapping[str, Any] | None = None  # the state of their generator before the first batch; {} after it
    case: Case | None = None  # of the first question, in the iterations in which it is asked


class GradientCheck(Callback):
    """Check back-propagation every k iterations, and halt the run where it is wrong.

    Runs in ``on_gradients_computed``, after backprop and before the update, and asks two questions. Is backprop right?
    That is checked on float64 copies of the parameters and of rows of its own choice, without dropout. And is the very
    gradient that is about to be applied the gradient of its batch's loss? That is checked on the batch, with its
    dropout masks, in the training's precision, also at the first batch of every size. Its generators are its own, so
    training with and without it gives bit-identical weights.

    Parameters
    ----------
    every : int, default=100
        Check at the iterations ``every, 2·every, …`` (one iteration is one parameter update).
    rows : int, optional
        Size of the probe, by default 64, along directions 24: a fresh sample of the training rows for each check;
        where the targets are few classes, stratified, with rows of each however rare it is.
    coverage : {"full", "directions"}, default="full"
        Every coordinate, or one fresh random direction through all of them.
    derivative : {"central", "complex"}, optional
        See `check_gradients`.
    threshold : float, default=1e-7
        Largest relative difference that passes, dimensionless.
    step : float, default=1e-5
        Base step of central differences; it need not be chosen.
    dropout : {"off", "frozen"}, default="off"
        Off, or one mask replayed in every evaluation of a check, so that dropout's own backward is checked.
    terms : bool, default=False
        Check the loss of each class, and the regulariser of a `Network`, apart as well, so that a mistake in a small
        term is not drowned by a large one.
    applied : bool, default=True
        Ask the second question.
    on_failure : {"raise", "stop", "log"}, default="raise"
        Halt by an exception, end the run in good order, or only log.
    seed : int, default=0
        Seed of the check's own generator.
    violations : path, optional
        Folder in which a failed check is kept whole, the probe's rows included, before anything is raised: as
        ``violation-000100.npz``, for ``python -m experiments.replay``. With ``on_failure="log"`` the first three.
        Nothing there is replaced; if it cannot be written, that is logged, and the run halts all the same.
    settings : mapping, optional
        What else is to be kept in that file, such as the settings of the run.

    Attributes
    ----------
    report : GradientReport or None
        The last check.
    violation : Path or None
        The file of the last failed check of the run, if it was kept.
    proof : Proof
        What the checks of the run have shown so far.

    Raises
    ------
    ValueError
        If an option is out of range.
    RuntimeError
        Out of `Trainer.fit`, if the check watches another run that has not ended.
    """

    def __init__(
        self,
        every: int = 100,
        *,
        rows: int | None = None,
        coverage: Literal["full", "directions"] | None = None,
        derivative: Literal["central", "complex"] | None = None,
        threshold: float = THRESHOLD,
        step: float | None = None,
        dropout: Literal["off", "frozen"] = "off",
        terms: bool = False,
        applied: bool = True,
        on_failure: Literal["raise", "stop", "log"] = "raise",
        seed: int = 0,
        violations: Folder | Path | str | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        for name, value, least in (("every", every, 1), ("rows", 2 if rows is None else rows, 2), ("seed", seed, 0)):
            refuse_unless_integer(name, value, least)
        for name, choice, choices in (
            ("dropout", dropout, ("off", "frozen")),
            ("on_failure", on_failure, ("raise", "stop", "log")),
        ):
            if not isinstance(choice, str) or choice not in choices:
                raise ValueError(f"{name} is unknown. Expected one of {choices}. Received {choice!r}.")
        if not isinstance(settings, Mapping | None):
            raise TypeError(f"settings are of the wrong kind. Expected a mapping. Received {settings!r}.")
        self.every = every
        self.options = Options(coverage_or("full", coverage), cast(str, derivative), threshold, cast(float, step))
        self.rows = ROWS[self.options.coverage] if rows is None else rows
        self.dropout = dropout
        self.terms = terms
        self.applied = bool(applied)
        self.on_failure = on_failure
        self.seed = seed
        self.violations = None if violations is None else Folder.of(violations)
        self.settings = dict(settings or {})
        self.violation: Path | None = None
        self.report: GradientReport | None = None
        self.proof = Proof()
        self._run: _Run | None = None
        self._looks = True  # whether anything is asked in the current iteration
        self._begin_afresh()

    def _begin_afresh(self) -> None:
        self._rng = np.random.default_rng(self.seed)
        self._applied_rng = np.random.default_rng([self.seed, 1])  # so that the first question draws as it did alone
        self._sizes: set[int] = set()  # of the batches on which the second question was asked
        self._complex_confirmed = False
        self._n_kept = 0
        self._kept_report: tuple[GradientReport, dict[str, Any]] | None = None  # of the last one, for checkpoints

    def __repr__(self) -> str:
        """Show the settings."""
        options: dict[str, Any] = {"coverage": self.options.coverage}
        if self.options.derivative != Options(self.options.coverage).derivative:
            options["derivative"] = self.options.derivative
        options["threshold"] = self.options.threshold
        if self.options.step != STEP:
            options["step"] = self.options.step
        options |= {"dropout": self.dropout, "terms": self.terms, "on_failure": self.on_failure, "seed": self.seed}
        options |= {} if self.applied else {"applied": False}
        settings = ", ".join(f"{name}={value!r}" for name, value in options.items())
        return f"{type(self).__name__}(every={self.every}, rows={self.rows}, {settings})"

    def on_train_begin(self, state: TrainState) -> None:
        """Start afresh: no evidence of an earlier run counts."""
        if self._run is not None:
            raise RuntimeError(
                "The gradient check watches another run. Expected a GradientCheck of its own for each run. "
                "Received a second run while the first goes on."
            )
        self._begin_afresh()
        sampler = Sampler(state.targets, self.rows)
        self._run = _Run(
            sampler,
            Storage(state.parameters, lends=self.options.coverage != "full" and takes_out(state.network)),
            AppliedCheck(state.parameters, self.options),
            Watch(state, self),
        )
        self.report = self.violation = None
        self.proof = Proof(
            coverage=cast(Any, self.options.coverage),
            dropout="none",
            threshold=self.options.threshold,
            n_positive=sampler.n_positive,
            n_classes=sampler.n_classes,
            rows=RowSet(len(state.targets)),
            positive_rows=RowSet(len(state.targets)),
        )

    def on_batch_begin(self, state: TrainState) -> None:
        """Keep what it takes to make the step again, where it is to be looked at."""
        run, due = self._run or self._running(), state.iteration % self.every == 0
        asks_second = self.applied and (due or len(state.batch.targets) not in self._sizes)
        self._looks = due or asks_second or run.masks is None
        if run.masks is None:  # the first batch
            run.masks = state.place.masks.bit_generator.state
        if asks_second:
            run.watch.begin(state)

    def on_gradients_computed(self, state: TrainState) -> None:
        """Check, log, and halt if the gradient is wrong."""
        if not self._looks:  # as nearly always: what a run pays at every iteration is this
            return
        is_due, run = state.iteration % self.every == 0, self._running()
        if run.masks:  # the first batch
            if run.masks != state.place.masks.bit_generator.state:  # masks were drawn, so there is dropout
                self.proof.dropout = self.dropout
            run.masks = {}
        if is_due:
            self._ask_first(state, run)
        if self._complex_confirmed:
            run.applied.complex_trust = True
        step = run.watch.step(state, self._applied_rng, run.applied.complex_trust)
        if step is not None:
            thorough = len(step.targets) not in self._sizes or self.proof.applied.n % THOROUGH_EVERY == 0
            self._sizes.add(len(step.targets))
            applied = run.applied.ask(step, self._applied_rng, thorough=thorough)
            self._complex_confirmed |= bool(run.applied.complex_trust)
            self._add(state, run, step, applied)
        elif is_due:
            self._conclude(state, run, None)

    def on_batch_end(self, state: TrainState) -> None:
        """Notice what was changed after the check, and end the run for it."""
        if not self._looks:
            return
        run = self._running()
        found = run.watch.changed(state)
        if found is not None:
            self._add(state, run, *found)
        run.case = None

    def on_train_end(self, state: TrainState) -> None:
        """Put what the checks have shown into the history."""
        if self._run is not None and self._run.watch.state is state:  # else it is a run that was refused
            self._run = None
            state.row["proof"] = str(self.proof)

    def _running(self) -> _Run:
        if self._run is None:
            raise RuntimeError("the gradient check has no rows. Expected on_train_begin to be called first.")
        return self._run

    def _ask_first(self, state: TrainState, run: _Run) -> None:
        """Ask whether backprop is right, on rows of the check's own."""
        probe = run.storage.draw(state, run.sampler, self._rng, frozen=self.dropout == "frozen")
        thorough = self.proof.n_checks % THOROUGH_EVERY == 0
        if thorough:
            run.storage.faithful.clear()
        generator = {} if self.violations is None else self._rng.bit_generator.state
        run.case = Case(probe, generator, self._complex_confirmed)
        known: dict[str, Any] = {"complex_confirmed": self._complex_confirmed, "storage": run.storage}
        report = probe.check(self.options, self._rng, terms=self.terms, **known)
        if report.verdict is Verdict.UNDECIDED and report.cause is Cause.NOT_FINITE:
            state.demand_finite()
            raise TrainingDiverged(f"a loss of {probe.loss(probe.parameters)} on rows of the check", state.iteration)
        self.report, self._complex_confirmed = report, report.complex_confirmed
        self.proof.derivative = report.derivative
        new = [name for name in report.not_exercised if name not in self.proof.not_exercised]
        if new:  # once for each: the report of every check names them
            message = "iteration %d  gradient and slopes are zero, so nothing was tested, in %s%s"
            logger.warning(message, state.iteration, ", ".join(new), f" ({probe.inactivity()})")
        self.proof.add(state.iteration, report, probe.exercised(thorough=thorough))

    def _add(self, state: TrainState, run: _Run, step: Step, applied: Applied) -> None:
        """Add an answer to the second question; at bad news the first is asked too, so that the case is whole."""
        if applied.verdict is Verdict.FAIL and run.case is None:
            self._ask_first(state, run)
        self.proof.add_applied(state.iteration, applied)
        if run.case is not None and self.report is not None:
            self.report = replace(self.report, applied=applied)
            self._conclude(state, run, step)
            return
        state.row.update(applied.row())
        if applied.verdict is not Verdict.PASS:
            logger.warning("iteration %d  %s", state.iteration, applied)

    def _conclude(self, state: TrainState, run: _Run, step: Step | None) -> None:
        """Log the report of this iteration, and halt where it is a FAIL."""
        report, case = self.report, run.case
        if report is None or case is None:
            return
        tell(report)
        state.row.update(report.row())
        if logger.isEnabledFor(LEVELS[report.verdict]):
            logger.log(LEVELS[report.verdict], "%s", line(report, state.iteration))
        if report.verdict is Verdict.FAIL:
            self._keep(state, report, case, step)
            if self.on_failure == "raise":
                raise TrainingHaltedByCheck(report, state.iteration, self.violation)
            if self.on_failure == "stop":
                state.request_stop(f"gradient check failed at iteration {state.iteration}: {report.summary()}")

    def state_dict(self) -> dict[str, Any]:
        """Give the check's own generators, the last report and the evidence so far, as plain data for JSON."""
        trust = None if self._run is None else self._run.applied.complex_trust
        if self._kept_report is None or self._kept_report[0] is not self.report:
            self._kept_report = None if self.report is None else (self.report, kept(self.report))
        return {
            "settings": repr(self),
            "rng": self._rng.bit_generator.state,
            "complex_confirmed": self._complex_confirmed,
            "proof": self.proof.state_dict(),
            "applied": {
                "rng": self._applied_rng.bit_generator.state,
                "sizes": sorted(self._sizes),
                "complex_trust": trust,
            },
            "report": None if self._kept_report is None else self._kept_report[1],
            "faithful": [] if self._run is None else sorted(self._run.storage.faithful),
            "n_kept": self._n_kept,
            "violation": None if self.violation is None else self.violation.name,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up where a `state_dict` left off: the same fresh directions and probes, the same evidence.

        To be called after ``on_train_begin``, which starts afresh.

        Raises
        ------
        ValueError
            If the state is that of a check with other settings.
        """
        known: CheckState = from_plain(CheckState, state, "check")
        if known.settings != repr(self):
            raise ValueError(f"The check has other settings. Expected {known.settings}. Received {self}.")
        self._rng.bit_generator.state = known.rng
        self._complex_confirmed = known.complex_confirmed
        self.proof = known.proof
        self.report = None if known.report is None else restored(known.report)
        self._running().storage.faithful.update(known.faithful)
        self._n_kept = known.n_kept
        if known.violation is not None and self.violations is not None:
            self.violation = self.violations.path / known.violation
        if known.applied is not None:
            self._applied_rng.bit_generator.state = known.applied.rng
            self._sizes = set(known.applied.sizes)
            self._running().applied.complex_trust = known.applied.complex_trust

    def _keep(self, state: TrainState, report: GradientReport, case: Case, step: Step | None) -> None:
        """Write the violation; whatever goes wrong with that, the check has failed, and the halt must come."""
        self.violation = None
        if self.violations is None or (self.on_failure == "log" and self._n_kept >= LOGGED_AT_MOST):
            return
        try:
            from checks.training.violation_file import keep_violation

            options = {**vars(self.options), "terms": self.terms}
            dtype = str(state.parameters.vector.dtype)
            what: dict[str, Any] = {"options": options, "dtype": dtype, "settings": self.settings}
            self.violation = keep_violation(self.violations, state.iteration, report, case, step, **what)
        except Exception as error:
            message = "iteration %d  the violation could not be kept: %s: %s"
            logger.warning(message, state.iteration, type(error).__name__, error)
        else:
            self._n_kept += 1
            message = "iteration %d  the case is kept, and checked again by: python -m experiments.replay %s"
            logger.warning(message, state.iteration, shlex.quote(str(self.violation)))
