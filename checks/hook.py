"""The check for one's own training loop, called between gradient and update."""

import logging
from dataclasses import replace
from typing import Any, Literal, cast

import numpy as np

from checks.check import GradientCheckError, check_gradients
from checks.judge.ladder import CERTAIN
from checks.measure.layout import Structure
from checks.measure.objective import Loss, Objective
from checks.measure.slopes import central_slope
from checks.measure.structure import form_of
from checks.options import STEP, THRESHOLD, Options
from checks.report.findings import TensorReport
from checks.report.loop import Loop
from checks.report.report import GradientReport
from checks.verdict import Cause, Verdict

logger = logging.getLogger(__name__)

#: Rounding of a right gradient, relative, in units of eps of its dtype: see tests/checks/test_hook.py for what it is.
ROUNDED = 32.0
#: Largest share of a tensor's gradient that may be rounding for it to pass: by then a mistake of 1e-3 could hide.
COARSEST = 1e-3
#: Points beside this one, a rounding away, at which a slope is measured to see what rounding does to it.
NUDGES = 8


class GradientCheckHook(Loop):
    """Checks the gradients of one's own training loop, at every k-th call, right before they are applied.

    What is checked is the very gradient that is handed in, at the very parameters, on the very batch.

    Parameters
    ----------
    loss : callable
        ``loss(parameters, *batch) -> float``, deterministic. It gets float64 copies of the parameters.
    every : int, default=100
        Check at the calls ``every, 2·every, …``; and at the first one, and at the first one with a batch of a new size,
        which is the length of the first thing behind the gradients.
    coverage : {"directions", "full"}, default="directions"
        One fresh random direction through all coordinates, or each of them.
    derivative, threshold, step
        As in `check_gradients`.
    on_failure : {"raise", "log"}, default="raise"
    seed : int, default=0
        Of the directions.

    Attributes
    ----------
    iteration : int
        Calls so far.
    reports : dict of int to GradientReport
        By iteration, the last 100.

    Raises
    ------
    ValueError, TypeError
        If an option is out of range, or the loss is no function.

    Notes
    -----
    Where parameters or gradients are of lower precision than float64, a tensor passes up to a difference of ``32·eps``
    of their dtype, 3.8e-6 for float32. What lies beyond that, but within what rounding the parameters does to the
    slope, passes if that is less than a thousandth of the gradient, and is UNDECIDED if more, as near a minimum.

    Examples
    --------
    >>> import numpy as np
    >>> rng, parameters = np.random.default_rng(0), {"w": np.zeros(3)}
    >>> def loss(parameters, inputs, targets):
    ...     return ((inputs @ parameters["w"] - targets) ** 2).mean()
    >>> check = GradientCheckHook(loss, every=100)
    >>> for _ in range(200):
    ...     inputs = rng.normal(size=(8, 3))
    ...     targets = inputs.sum(axis=1)
    ...     error = inputs @ parameters["w"] - targets
    ...     gradients = {"w": 2 * error @ inputs / len(error)}
    ...     report = check(parameters, gradients, inputs, targets)
    ...     parameters["w"] -= 0.05 * gradients["w"]
    >>> {iteration: report.verdict.value for iteration, report in check.reports.items()}
    {1: 'PASS', 100: 'PASS', 200: 'PASS'}
    """

    def __init__(
        self,
        loss: Loss,
        every: int = 100,
        *,
        coverage: Literal["directions", "full"] = "directions",
        derivative: Literal["central", "complex"] | None = None,
        threshold: float = THRESHOLD,
        step: float | None = None,
        on_failure: Literal["raise", "log"] = "raise",
        seed: int = 0,
    ) -> None:
        if not callable(loss):
            expected = "Expected loss(parameters, *batch) -> float"
            raise TypeError(f"loss is no function. {expected}. Received {type(loss).__name__}.")
        super().__init__(every, on_failure, seed)
        self.loss = loss
        self.options = Options(coverage, cast(str, derivative), threshold, cast(float, step))
        self._sizes: set[int | None] = set()
        self._complex_confirmed = False

    def __call__(self, parameters: Structure, gradients: Structure, *batch: Any) -> GradientReport | None:
        """Count a call, and check if it is one to be checked.

        Parameters
        ----------
        parameters, gradients : structure
            As in `check_gradients`, and as they are right before the update. They are neither modified nor kept.
        *batch
            What the loss wants behind the parameters. Where gradients are accumulated over micro-batches, the whole.

        Returns
        -------
        GradientReport or None
            None at a call at which nothing is checked.

        Raises
        ------
        GradientCheckError
            If the gradient is wrong, unless failures are only logged.
        ValueError, TypeError
            If the gradient has not the parameters' names and shapes.
        """
        self.iteration += 1
        size = _length(batch)
        if self.iteration % self.every and size in self._sizes:
            return None
        if callable(gradients):
            raise TypeError("gradients are a function. Expected those that are about to be applied.")
        eps = max(_eps_of(parameters), _eps_of(gradients))
        options = self.options
        if eps > np.finfo(np.float64).eps:
            options = replace(options, threshold=max(options.threshold, ROUNDED * eps))
        loss: Loss = lambda parameters: self.loss(parameters, *batch)  # noqa: E731
        more: dict[str, Any] = {"rng": self._rng, "complex_confirmed": self._complex_confirmed}
        report = check_gradients(loss, gradients, parameters, **vars(options), **more)
        self._sizes.add(size)
        self._complex_confirmed = report.complex_confirmed
        if options is not self.options:
            report = _allowing_for(report, eps, loss, parameters)
        if self._is_to_halt(report, logger):
            raise GradientCheckError(report, self._halted(report))
        return report


def _length(batch: tuple[Any, ...]) -> int | None:
    try:
        return len(batch[0])
    except (IndexError, TypeError):  # no batch, or a number
        return None


def _eps_of(structure: Structure) -> float:
    """Give eps of the coarsest floating dtype among the arrays; plain numbers are float64."""
    parts = [part for _, part in form_of(structure).leaves(structure, "gradients")]
    dtypes = [getattr(part, "dtype", np.dtype(np.float64)) for part in parts]
    return max([0.0, *(float(np.finfo(dtype).eps) for dtype in dtypes if np.issubdtype(dtype, np.inexact))])


def _allowing_for(report: GradientReport, eps: float, loss: Loss, parameters: Structure) -> GradientReport:
    """Fail no tensor for what rounding the parameters does to its worst slope."""
    rows: dict[str, TensorReport] = {}
    for tensor in [culprit for culprit in report.culprits if culprit.cause is Cause.WRONG]:
        noise, mismatch = CERTAIN * _noise(loss, parameters, tensor, eps), abs(tensor.gradient - tensor.numerical)
        if mismatch <= noise:
            evidence = f"rounding the parameters moves the slope by up to {noise:.2g}, the mismatch is {mismatch:.2g}"
            sharp = noise <= COARSEST * tensor.gradient_norm
            found: Any = (Verdict.PASS, Cause.AGREES) if sharp else (Verdict.UNDECIDED, Cause.ROUNDING)
            rows[tensor.name] = replace(tensor, verdict=found[0], cause=found[1], evidence=evidence, mistake=None)
    passed = [row.difference for row in rows.values() if row.verdict is Verdict.PASS]
    note = f"parameters or gradients are of lower precision than float64 (eps {eps:.1e}), so the threshold is higher"
    changes: dict[str, Any] = {"threshold": max([report.threshold, *passed]), "notes": (*report.notes, note)}
    return replace(report, tensors={**report.tensors, **rows}, **changes)


def _noise(loss: Loss, parameters: Structure, tensor: TensorReport, eps: float) -> float:
    """Measure by how much the slope of a tensor's worst entry changes as the parameters are rounded."""
    objective, rng = Objective.of(loss, parameters), np.random.default_rng(0)
    layout, point = objective.layout, objective.point
    direction = np.zeros(layout.size)
    layout.tensor(direction, tensor.name)[tensor.worst_index] = 1.0
    points = [point, *(point * (1.0 + eps * rng.uniform(-1.0, 1.0, point.size)) for _ in range(NUDGES))]
    slopes = [central_slope(Objective(loss, layout, point), direction, STEP).value for point in points]
    return max(abs(slope - slopes[0]) for slope in slopes)
