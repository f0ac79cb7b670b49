"""check_gradients: the front door of the library. It compares anybody's gradient with its loss."""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from checks.explain.diagnosis import diagnose
from checks.explain.mistake import Hints
from checks.judge.directions import check_direction
from checks.judge.full import check_coordinates
from checks.judge.passed import PassedReport, PassedTensors
from checks.judge.unmeasured import not_finite_gradient, not_finite_parameters
from checks.measure.layout import Array, Layout, Structure
from checks.measure.objective import CoordinateLosses, Loss, Objective
from checks.measure.slopes import STEP
from checks.options import THRESHOLD, validate_options
from checks.report.report import GradientReport
from checks.verdict import Verdict


class GradientCheckError(AssertionError):
    """A gradient does not match its loss; ``report`` says where and why."""

    def __init__(self, report: GradientReport, message: str = "") -> None:
        super().__init__(message or str(report))
        self.report = report

    def __reduce__(self) -> tuple[Any, ...]:
        """Let it cross the border of a process."""
        return type(self), (self.report, str(self))


def check_gradients(
    loss: Loss,
    gradients: Structure | Callable[[Any], Structure],
    parameters: Structure,
    *,
    coverage: str = "full",
    derivative: str | None = None,
    threshold: float = THRESHOLD,
    step: float | None = None,
    rng: np.random.Generator | None = None,
    terms: Mapping[str, tuple[Loss, Callable[[Any], Structure]]] | None = None,
    coordinate_losses: CoordinateLosses | None = None,
    hints: Hints | None = None,
    complex_confirmed: bool = False,
    n_jobs: int = 1,
) -> GradientReport:
    """Compare a gradient with the loss it should be the gradient of.

    Parameters
    ----------
    loss : callable
        ``loss(parameters) -> float``, deterministic. It gets fresh float64 arrays.
    gradients : structure or callable
        The gradient under test, of the same structure as ``parameters`` (a dict may use ``dW1`` for ``W1``), or
        a function of the parameters that gives it.
    parameters : float, array, dict of arrays, or sequence of arrays
        Where to check; never modified. Integers are read as floats.
    coverage : {"full", "directions"}, default="full"
        Every coordinate, ``2n`` evaluations; or one fresh random direction through all of them, one or two.
    derivative : {"central", "complex"}, optional
        How slopes are measured first: central differences, or the complex step where the loss takes complex
        parameters. Default: central for ``"full"``, complex for ``"directions"``. The other one is the second
        opinion when they disagree with the gradient.
    threshold : float, default=1e-7
        Largest relative difference that passes, dimensionless, for each tensor.
    step : float, default=1e-5
        Base step of central differences in units of ``max(1, |theta|)``. It need not be chosen: a suspicious
        slope is measured at three to twelve steps anyway.
    rng : numpy.random.Generator, optional
        Where random directions come from. Default: a fresh one, so that no two checks share a direction.
    terms : dict of str to (loss, gradients), optional
        Terms of the loss to be checked apart, each with a function for its own gradient. A term that does not
        depend on some tensors of a dict may leave them out of its gradient.
    coordinate_losses : callable, optional
        ``(name, step) -> losses``: a faster way to the loss with each entry of one tensor moved on its own;
        ``step`` has the tensor's shape, real or complex. Compared with ``loss`` before it is used.
    hints : Hints, optional
        What else is known, for naming the kind of a mistake.
    complex_confirmed : bool, default=False
        Skip holding the complex step against central differences once, because that has been done before.
    n_jobs : int, default=1
        Processes that share the evaluations of ``coverage="full"``, as in joblib: 1 is this process alone, and nothing
        is started; -1 is one for every core. ``joblib.parallel_config`` chooses where they are. The report is
        the same, bit for bit, but for its ``seconds``.

    Returns
    -------
    GradientReport

    Raises
    ------
    ValueError, TypeError
        If an option is out of range, or the gradient has not the parameters' names and shapes.

    Examples
    --------
    >>> report = check_gradients(lambda x: x * x, lambda x: 2.0 * x, 3.0)
    >>> report.verdict.value
    'PASS'
    """
    started = time.perf_counter()
    validate_options(coverage, derivative, threshold, step)
    if not callable(loss):
        raise TypeError(f"loss is no function. Expected loss(parameters) -> float. Received {type(loss).__name__}.")
    if isinstance(n_jobs, bool) or not isinstance(n_jobs, int) or n_jobs == 0:
        raise ValueError(f"n_jobs is out of range. Expected an integer other than 0. Received {n_jobs!r}.")
    if rng is not None and not isinstance(rng, np.random.Generator):
        raise TypeError(f"rng is no generator. Expected np.random.default_rng(seed). Received {rng!r}.")
    layout = Layout(parameters)
    point = layout.point(parameters)
    claimed = gradients(layout.unflatten(point.copy())) if callable(gradients) else gradients
    gradient = layout.flatten(claimed, "gradients")
    del claimed  # at ten million parameters every vector counts
    objective = Objective(loss, layout, point, coordinate_losses, n_jobs)
    objective.complex_confirmed = complex_confirmed
    return compare(
        objective,
        gradient,
        started,
        coverage=coverage,
        derivative=derivative,
        threshold=threshold,
        step=step,
        rng=rng,
        terms=terms,
        hints=lambda: hints or Hints(),
    )


def compare(
    objective: Objective,
    gradient: Array,
    started: float,
    *,
    coverage: str,
    derivative: str | None,
    threshold: float,
    step: float | None,
    rng: np.random.Generator | None = None,
    terms: Mapping[str, tuple[Loss, Callable[[Any], Structure]]] | None = None,
    hints: Callable[[], Hints] = Hints,
) -> GradientReport:
    """Do the work of `check_gradients`, which has made vectors of everything and refused what is out of range."""
    derivative = derivative or ("complex" if coverage == "directions" else "central")
    threshold, step = float(threshold), STEP if step is None else float(step)
    objective.gradient = gradient
    if not _is_finite(objective.point):
        outcome = not_finite_parameters(objective)
    elif not _is_finite(gradient):
        outcome = not_finite_gradient(objective, gradient)
    elif coverage == "full":
        outcome = check_coordinates(objective, gradient, threshold, step, derivative)
    else:
        direction_rng = np.random.default_rng() if rng is None else rng
        outcome = check_direction(objective, gradient, threshold, step, derivative, direction_rng)
    tensors = outcome.tensors
    if outcome.failing and isinstance(tensors, dict):
        mistakes = diagnose(outcome.failing, threshold, hints())
        tensors = tensors | {name: replace(tensors[name], mistake=mistakes[name]) for name in mistakes}
    apart = {}
    if terms:
        options: dict[str, Any] = {"coverage": coverage, "derivative": derivative, "threshold": threshold, "step": step}
        options |= {"rng": rng, "n_jobs": objective.n_jobs}
        point = objective.layout.unflatten(objective.point.copy())
        apart = {name: _check_term(*term, point, **options) for name, term in terms.items()}
    kind: Any = PassedReport if isinstance(tensors, PassedTensors) and not apart else GradientReport
    report: GradientReport = kind(
        difference=outcome.difference,
        plain_difference=outcome.plain_difference,
        threshold=threshold,
        tensors=tensors,
        coverage=coverage,
        derivative=derivative,
        loss=objective.last,
        step=step,
        evaluations=objective.evaluations,
        seconds=time.perf_counter() - started,
        terms=apart,
        notes=_notes(objective),
        complex_confirmed=objective.complex_confirmed and objective.complex_refusal is None,
    )
    return report


def _is_finite(vector: Array) -> bool:
    """Say whether all entries are finite: then their squares usually add up to a number, which is quicker to tell."""
    squares = np.vdot(vector, vector)  # which does not warn where they overflow
    return math.isfinite(squares) or bool(np.isfinite(vector).all())


def assert_gradients(loss: Loss, gradients: Any, parameters: Structure, **options: Any) -> GradientReport:
    """Raise if a gradient does not match its loss: a one-line gradient test for a pytest suite.

    Parameters
    ----------
    loss, gradients, parameters, **options
        As in `check_gradients`.

    Returns
    -------
    GradientReport
        If the verdict is PASS.

    Raises
    ------
    GradientCheckError
        If the verdict is FAIL or UNDECIDED (an AssertionError whose message is the report).
    """
    __tracebackhide__ = True  # pytest then shows the caller's line and the report, not this function
    report = check_gradients(loss, gradients, parameters, **options)
    if report.verdict is not Verdict.PASS:
        raise GradientCheckError(report)
    return report


def _check_term(
    loss: Loss, gradients: Callable[[Any], Structure], parameters: Structure, **options: Any
) -> GradientReport:
    """Check one term, over the tensors that its gradient speaks of."""
    if not isinstance(parameters, Mapping):
        return check_gradients(loss, gradients, parameters, **options)

    def with_rest(part: Mapping[str, Any]) -> dict[str, Any]:
        return {name: part[name] if name in part else np.copy(value) for name, value in parameters.items()}

    spoken_of: Any = gradients(with_rest({}))
    own = {name: value for name, value in parameters.items() if name in spoken_of or f"d{name}" in spoken_of}
    return check_gradients(lambda part: loss(with_rest(part)), lambda part: gradients(with_rest(part)), own, **options)


def _notes(objective: Objective) -> tuple[str, ...]:
    refusal = objective.complex_refusal
    return (
        *objective.notes,
        *([f"no complex step: {refusal}; central differences decided"] if refusal else []),
    )
