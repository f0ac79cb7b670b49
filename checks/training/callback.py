"""GradientCheck: the check as a callback of a training run: when, on which rows, log, halt."""

import logging
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np

from checks.check import GradientCheckError
from checks.options import STEP, THRESHOLD, Options
from checks.report.report import GradientReport
from checks.training.probe import Probe, Sampler, Storage
from checks.training.proof import Proof
from checks.training.row_set import RowSet
from checks.verdict import Cause, Verdict
from trainer.callbacks.base import Callback, TrainingHalted, TrainState

logger = logging.getLogger(__name__)

LOGGED_AT_MOST = 3  # violations of a run that goes on (on_failure="log") that are kept; the first tell the most
UNITS_EVERY = 10  # checks along a random direction from which one looks at active units and training precision too


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


class GradientCheck(Callback):
    """Check back-propagation every k iterations, and halt the run where it is wrong.

    Runs in ``on_gradients_computed``: after backprop and before the update. It works on a float64 copy of the
    parameters, on rows of its own choice from the training rows, with a generator of its own, so training with
    and without it gives bit-identical weights.

    Parameters
    ----------
    every : int, default=100
        Check at the iterations ``every, 2·every, …`` (one iteration is one parameter update).
    rows : int, default=64
        Size of the probe: a fresh stratified sample of the training rows for each check, with rows of both
        classes however rare one is.
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
        Check the loss of each class and the regulariser apart as well, so that a mistake in a small term is not
        drowned by a large one.
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
    """

    def __init__(
        self,
        every: int = 100,
        *,
        rows: int = 64,
        coverage: Literal["full", "directions"] = "full",
        derivative: Literal["central", "complex"] | None = None,
        threshold: float = THRESHOLD,
        step: float | None = None,
        dropout: Literal["off", "frozen"] = "off",
        terms: bool = False,
        on_failure: Literal["raise", "stop", "log"] = "raise",
        seed: int = 0,
        violations: Path | str | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        for name, value, least in (("every", every, 1), ("rows", rows, 2), ("seed", seed, 0)):
            if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
                raise ValueError(f"{name} is out of range. Expected an integer >= {least}. Received {value!r}.")
        for name, choice, choices in (
            ("dropout", dropout, ("off", "frozen")),
            ("on_failure", on_failure, ("raise", "stop", "log")),
        ):
            if not isinstance(choice, str) or choice not in choices:
                raise ValueError(f"{name} is unknown. Expected one of {choices}. Received {choice!r}.")
        if not isinstance(settings, Mapping | None):
            raise TypeError(f"settings are of the wrong kind. Expected a mapping. Received {settings!r}.")
        self.every = every
        self.rows = rows
        self.options = Options(coverage, cast(str, derivative), threshold, cast(float, step))
        self.dropout = dropout
        self.terms = terms
        self.on_failure = on_failure
        self.seed = seed
        self.violations = None if violations is None else Path(violations)
        self.settings = dict(settings or {})
        self.violation: Path | None = None
        self.report: GradientReport | None = None
        self.proof = Proof()
        self._rng = np.random.default_rng(seed)
        self._rows: tuple[Sampler, Storage] | None = None  # of the run that is watched
        self._complex_confirmed = False
        self._n_kept = 0

    def __repr__(self) -> str:
        """Show the settings."""
        options: dict[str, Any] = {"coverage": self.options.coverage}
        if self.options.derivative != Options(self.options.coverage).derivative:
            options["derivative"] = self.options.derivative
        options["threshold"] = self.options.threshold
        if self.options.step != STEP:
            options["step"] = self.options.step
        options |= {"dropout": self.dropout, "terms": self.terms, "on_failure": self.on_failure, "seed": self.seed}
        settings = ", ".join(f"{name}={value!r}" for name, value in options.items())
        return f"{type(self).__name__}(every={self.every}, rows={self.rows}, {settings})"

    def on_train_begin(self, state: TrainState) -> None:
        """Start afresh: no evidence of an earlier run counts."""
        self._rng = np.random.default_rng(self.seed)
        sampler = Sampler(state.targets, self.rows)
        self._rows = sampler, Storage(state.parameters, keeps_gradient=self.options.coverage == "full")
        self._complex_confirmed = False
        self._n_kept = 0
        self.report = self.violation = None
        self.proof = Proof(
            coverage=cast(Any, self.options.coverage),
            dropout=self.dropout if getattr(state.network, "dropout", 1.0) else "none",
            threshold=self.options.threshold,
            n_positive=sampler.n_positive,
            rows=RowSet(len(state.targets)),
            positive_rows=RowSet(len(state.targets)),
        )

    def on_gradients_computed(self, state: TrainState) -> None:
        """Check, log, and halt if the gradient is wrong."""
        if state.iteration % self.every != 0:
            return
        if self._rows is None:
            raise RuntimeError("the gradient check has no rows. Expected on_train_begin to be called first.")
        sampler, storage = self._rows
        probe = storage.draw(state, sampler, self._rng, frozen=self.dropout == "frozen")
        generator = {} if self.violations is None else self._rng.bit_generator.state
        report = probe.check(
            self.options,
            self._rng,
            terms=self.terms,
            complex_confirmed=self._complex_confirmed,
            storage=storage,
        )
        confirmed, self._complex_confirmed = self._complex_confirmed, report.complex_confirmed
        self.report = report
        self.proof.derivative = report.derivative
        # Along one direction these passes would take as long as the check itself: the first, and every tenth after.
        thorough = report.coverage == "full" or self.proof.n_checks % UNITS_EVERY == 0
        self.proof.add(
            state.iteration, report, probe.exercised(state.parameters, storage.gradient if thorough else None)
        )
        state.row.update(report.row())
        self._log(state, report, probe)
        if report.verdict is Verdict.FAIL:
            self._keep(state, report, probe, {"generator": generator, "complex_confirmed": confirmed})
            if self.on_failure == "raise":
                raise TrainingHaltedByCheck(report, state.iteration, self.violation)
            if self.on_failure == "stop":
                state.request_stop(f"gradient check failed at iteration {state.iteration}: {report.summary()}")

    def on_train_end(self, state: TrainState) -> None:
        """Put what the checks have shown into the history."""
        state.row["proof"] = str(self.proof)

    def state_dict(self) -> dict[str, Any]:
        """Give the check's own generator and the evidence so far, as plain data for JSON."""
        return {
            "settings": repr(self),
            "rng": self._rng.bit_generator.state,
            "complex_confirmed": self._complex_confirmed,
            "proof": self.proof.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up where a `state_dict` left off: the same fresh directions and probes, the same evidence.

        To be called after ``on_train_begin``, which starts afresh.

        Raises
        ------
        ValueError
            If the state is that of a check with other settings.
        """
        if state["settings"] != repr(self):
            raise ValueError(f"The check has other settings. Expected {state['settings']}. Received {self}.")
        self._rng.bit_generator.state = state["rng"]
        self._complex_confirmed = state["complex_confirmed"]
        self.proof = Proof.from_state(state["proof"])

    def _log(self, state: TrainState, report: GradientReport, probe: Probe) -> None:
        level = {Verdict.PASS: logging.INFO, Verdict.UNDECIDED: logging.WARNING, Verdict.FAIL: logging.ERROR}
        if not logger.isEnabledFor(level[report.verdict]):
            return
        dead = f"  ({probe.inactivity()})" if report.cause is Cause.NOT_EXERCISED else ""
        logger.log(level[report.verdict], "iteration %d  %s%s", state.iteration, report.summary(), dead)

    def _keep(self, state: TrainState, report: GradientReport, probe: Probe, before: dict[str, Any]) -> None:
        """Write the violation; whatever goes wrong with that, the check has failed, and the halt must come."""
        self.violation = None
        if self.violations is None or (self.on_failure == "log" and self._n_kept >= LOGGED_AT_MOST):
            return
        try:
            from checks.training.violation_file import keep_violation

            before |= {"dtype": str(next(iter(state.parameters.values())).dtype), "settings": self.settings}
            options = {**vars(self.options), "terms": self.terms}
            self.violation = keep_violation(self.violations, probe, report, state.iteration, options, **before)
        except Exception as error:
            message = "iteration %d  the violation could not be kept: %s: %s"
            logger.warning(message, state.iteration, type(error).__name__, error)
        else:
            self._n_kept += 1
            message = "iteration %d  the case is kept, and checked again by: python -m experiments.replay %s"
            logger.warning(message, state.iteration, shlex.quote(str(self.violation)))
