"""check_gradients: the front door of the library. It compares anybody's gradient with its loss."""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Literal, TypeAlias, cast

import numpy as np

from checks.explain.diagnosis import diagnose
from checks.explain.mistake import Hints
from checks.judge.directions import check_direction
from checks.judge.full import check_coordinates
from checks.judge.outcome import not_finite
from checks.measure.layout import Array, Structure
from checks.measure.objective import CoordinateLosses, Loss, Objective
from checks.options import THRESHOLD, Options, coverage_or, refuse_unless_generator
from checks.report.findings import QUIET, Tensors
from checks.report.report import GradientCheckError as GradientCheckError
from checks.report.report import GradientReport
from checks.report.suite import tell
from checks.verdict import Cause, Verdict

#: Terms of a loss, by name: each with a function for its own gradient.
Terms: TypeAlias = Mapping[str, tuple[Loss, Callable[[Any], Structure]]]


def check_gradients(
    loss: Loss,
    gradients: Structure | Callable[[Any], Structure] | Literal[True],
    parameters: Structure,
    *,
    coverage: str | None = None,
    derivative: str | None = None,
    threshold: float = THRESHOLD,
    step: float | None = None,
    rng: "np.random.Generator | None" = None,
    terms: Terms | None = None,
    coordinate_losses: Callable[[str, Any], Array] | None = None,
    hints: Hints | None = None,
    complex_confirmed: bool = False,
    n_jobs: int = 1,
) -> GradientReport:
    """Compare a gradient with the loss it should be the gradient of.

    Parameters
    ----------
    loss : callable
        ``loss(parameters) -> float``, deterministic. It gets fresh float64 arrays, complex128 for complex ones.
    gradients : structure, callable or True
        The gradient under test, of the same structure as ``parameters`` (a dict may use ``dW1`` for ``W1``), or
        a function of the parameters that gives it. True, where ``loss(parameters) -> (loss, gradients)``.
    parameters : float, array, or dict, list, tuple or dataclass of them, however nested
        Where to check; never modified. Integers are read as floats, None is left alone, and so are the fields of a
        dataclass that are neither floats nor arrays. The report names leaves by their path, such as ``layers[0].W``.
        A complex array ``W`` is checked as ``W.real`` and ``W.imag``: its gradient is dJ/dRe + i·dJ/dIm, as in torch;
        jax and autograd give its conjugate.
    coverage : {"full", "directions"}, default="full"
        Every coordinate, ``2n`` evaluations; or one fresh random direction through all of them, one or two. Under
        pytest, ``--gradients`` sets the default.
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
    options = Options(coverage_or("full", coverage), cast(str, derivative), threshold, cast(float, step))
    if not callable(loss):
        raise TypeError(f"loss is no function. Expected loss(parameters) -> float. Received {type(loss).__name__}.")
    if isinstance(n_jobs, bool) or not isinstance(n_jobs, int) or n_jobs == 0:
        raise ValueError(f"n_jobs is out of range. Expected an integer other than 0. Received {n_jobs!r}.")
    refuse_unless_generator(rng)
    if gradients is True:
        both = loss
        loss, gradients = (lambda p: pair_of(both(p))[0]), (lambda p: pair_of(both(p))[1])
    fast = None if coordinate_losses is None else _together(coordinate_losses)
    more: dict[str, Any] = {"n_jobs": n_jobs, "complex_confirmed": complex_confirmed}
    objective = Objective.of(loss, parameters, gradients, coordinate_losses=fast, **more)
    try:
        how: dict[str, Any] = {"rng": rng, "terms": terms, "hints": lambda: hints or Hints()}
        report = compare(objective, options, started, **how, may_keep=True)
    except BaseException:
        objective.stand_back()
        raise
    tell(report)
    return report


def _together(coordinate_losses: Callable[[str, Any], Array]) -> CoordinateLosses:
    """Make one function of all steps of all tensors of one of a step of a tensor."""
    return lambda steps: {
        name: np.stack([coordinate_losses(name, step) for step in several]) for name, several in steps.items()
    }


def compare(
    objective: Objective,
    options: Options,
    started: float,
    *,
    rng: "np.random.Generator | None" = None,
    terms: Terms | None = None,
    hints: Callable[[], Hints] = Hints,
    may_keep: bool = False,
) -> GradientReport:
    """Do the work of `check_gradients`, which has made vectors of everything and refused what is out of range.

    Of a loss that may keep what it is handed, as a model that holds its parameters does, the last call is at the point.
    """
    judged = not_finite(objective)
    if judged is None and options.coverage == "full":
        judged = check_coordinates(objective, options)
    elif judged is None:
        judged = check_direction(objective, options, np.random.default_rng() if rng is None else rng)
    tensors = _finite_passes(judged.tensors)
    if judged.failing:
        with np.errstate(over="ignore", invalid="ignore"):  # a wrong gradient may be of any size
            mistakes = diagnose(judged.failing, options.threshold, hints(), _exercised(tensors))
        tensors = tensors.with_rows({name: replace(tensors[name], mistake=mistakes[name]) for name in mistakes})
    apart = {}
    if terms:
        point = objective.layout.unflatten(objective.point.copy())
        more: dict[str, Any] = {**vars(options), "rng": rng, "n_jobs": objective.n_jobs}
        apart = {name: _check_term(*term, point, **more) for name, term in terms.items()}
    if may_keep:
        objective.stand_back()
    refusal = objective.complex_refusal
    refused = () if refusal is None else (f"no complex step: {refusal}; central differences decided",)
    return GradientReport(
        difference=judged.difference,
        plain_difference=judged.plain_difference,
        threshold=options.threshold,
        tensors=tensors,
        coverage=options.coverage,
        derivative=options.derivative,
        loss=objective.last,
        step=options.step,
        evaluations=objective.evaluations,
        seconds=time.perf_counter() - started,
        terms=apart,
        notes=(*objective.notes, *refused),
        complex_confirmed=objective.complex_confirmed and refusal is None,
    )


def pair_of(value: Any) -> Any:
    """Take a loss with its gradient; refuse anything else."""
    if not isinstance(value, tuple | list) or len(value) != 2:
        expected = "Expected the loss and its gradient, where True stands for the gradient"
        raise TypeError(f"the loss gives no pair. {expected}. Received {value!r:.80}.")
    return value


def _exercised(tensors: Mapping[str, Any]) -> list[str]:
    """Name the tensors in which a mistake could show."""
    return [name for name, tensor in tensors.items() if tensor.cause not in QUIET]


def _finite_passes(tensors: Tensors) -> Tensors:
    """Let no tensor pass whose difference, or whose excluded error, is not finite."""
    if math.isfinite(math.fsum((*tensors.column("difference"), *tensors.column("excluded")))):
        return tensors
    open_ = {
        name: replace(
            tensor,
            verdict=Verdict.UNDECIDED,
            cause=Cause.NOT_FINITE,
            evidence=f"its difference is {tensor.difference:.3g}, and the error it excludes {tensor.excluded:.3g}",
        )
        for name, tensor in tensors.items()
        if tensor.verdict is Verdict.PASS and not (math.isfinite(tensor.difference) and math.isfinite(tensor.excluded))
    }
    return tensors.with_rows(open_)


def assert_gradients(
    loss: Loss,
    gradients: Any,
    parameters: Structure,
    *,
    not_exercised: Literal["pass", "raise"] = "pass",
    **options: Any,
) -> GradientReport:
    """Raise if a gradient does not match its loss: a one-line gradient test for a pytest suite.

    Parameters
    ----------
    loss, gradients, parameters, **options
        As in `check_gradients`.
    not_exercised : {"pass", "raise"}, default="pass"
        What becomes of a tensor of which nothing was tested, as in `GradientReport.raise_unless_pass`.

    Returns
    -------
    GradientReport
        If the verdict is PASS.

    Raises
    ------
    GradientCheckError
        If the verdict is FAIL or UNDECIDED, or too little was exercised: an AssertionError whose message is the report.
    """
    __tracebackhide__ = True  # pytest then shows the caller's line and the report, not this function
    report = check_gradients(loss, gradients, parameters, **options)
    return report.raise_unless_pass(not_exercised=not_exercised)


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
