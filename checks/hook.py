"""The check for one's own training loop, called between gradient and update."""

import logging
from dataclasses import replace
from typing import Any, Literal, cast

import numpy as np

from checks.check import GradientCheckError, check_gradients
from checks.judge.precision import ROUNDED, allowing_for, eps_of
from checks.measure.layout import Structure
from checks.measure.objective import Loss
from checks.options import THRESHOLD, Options
from checks.report.loop import Loop
from checks.report.report import GradientReport

logger = logging.getLogger(__name__)


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
        parameters, gradients : float, array, dict of arrays, or sequence of arrays
            As they are right before the update; a dict may use ``dW1`` for ``W1``. They are neither modified nor kept.
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
        eps = max(eps_of(parameters), eps_of(gradients))
        options = self.options
        if eps > np.finfo(np.float64).eps:
            options = replace(options, threshold=max(options.threshold, ROUNDED * eps))
        loss: Loss = lambda parameters: self.loss(parameters, *batch)  # noqa: E731
        more: dict[str, Any] = {"rng": self._rng, "complex_confirmed": self._complex_confirmed}
        report = check_gradients(loss, gradients, parameters, **vars(options), **more)
        self._sizes.add(size)
        self._complex_confirmed = report.complex_confirmed
        if options is not self.options:
            report = allowing_for(report, eps, loss, parameters)
        if self._is_to_halt(report, logger):
            raise GradientCheckError(report, self._halted(report))
        return report


def _length(batch: tuple[Any, ...]) -> int | None:
    try:
        return len(batch[0])
    except (IndexError, TypeError):  # no batch, or a number
        return None
