"""The gradient check for a torch module, as for one with a hand-written `torch.autograd.Function`."""

import logging
from contextlib import nullcontext
from typing import Any, Literal

import numpy as np
import torch

from checks.check import GradientCheckError, check_gradients
from checks.report.report import GradientReport
from checks.torch.twin import LossFunction, Tensors, Twin, generators_untouched, mapped, one_thread, tensors_in
from checks.verdict import Verdict

logger = logging.getLogger(__name__)

SMALL = 100_000  # parameters below which threads would mostly wait for each other


def check_module(
    module: torch.nn.Module,
    loss_fn: LossFunction,
    inputs: Tensors,
    targets: Tensors,
    *,
    mode: Literal["eval", "own"] = "eval",
    coverage: Literal["full", "directions"] = "full",
    **options: Any,
) -> GradientReport:
    """Compare what autograd gives for a module's parameters with the loss it should be the gradient of.

    Parameters
    ----------
    module : torch.nn.Module
        Deep-copied to float64; the module itself, its gradients, buffers and mode are left alone.
    loss_fn : callable
        ``loss_fn(outputs, targets)``, such as ``torch.nn.BCEWithLogitsLoss()``.
    inputs, targets : tensor or tuple of tensors
        ``module(inputs)``, or ``module(*inputs)`` for a tuple. Those of floating point are taken as float64.
    mode : {"eval", "own"}, default="eval"
        Check in evaluation mode, without dropout; or in the module's own mode of the moment, where every evaluation
        draws the same dropout masks and begins with the same buffers.
    coverage : {"full", "directions"}, default="full"
        Every coordinate, ``2n`` evaluations; or one random direction through all of them, a handful.
    **options
        As in `check_gradients`; the slopes are central differences.

    Returns
    -------
    GradientReport
        A tensor for every parameter that requires a gradient, under its name in ``module.named_parameters()``.

    Raises
    ------
    ValueError, TypeError
        If an option is out of range, no parameter requires a gradient, or the loss is no real number.

    Notes
    -----
    The state of torch's, numpy's and Python's generators is put back. The complex step is not used: few modules,
    and fewer autograd functions, take complex parameters.
    """
    if mode not in ("eval", "own"):
        raise ValueError(f"mode is unknown. Expected 'eval' or 'own'. Received {mode!r}.")
    small = sum(p.numel() for p in module.parameters()) < SMALL
    with generators_untouched(module), one_thread() if small else nullcontext():
        twin = Twin(module, loss_fn, inputs, targets, own_mode=mode == "own")
        options.setdefault("derivative", "central")
        return check_gradients(twin.loss, twin.gradients, twin.parameters(), coverage=coverage, **options)


class GradientCheckHook:
    """Checks the gradients of a torch module every k iterations of a plain loop.

    Call it between ``loss.backward()`` and ``optimizer.step()``: a wrong gradient is then halted before it is
    applied.

    Parameters
    ----------
    module : torch.nn.Module
    every : int, default=100
        Check at the calls ``every, 2·every, …``.
    rows : int or None, default=64
        Of each batch, that many rows from a fresh random choice; None for all of them.
    on_failure : {"raise", "log"}, default="raise"
    seed : int, default=0
        Of the choice of rows, and of directions.
    **options
        As in `check_module`.

    Attributes
    ----------
    iteration : int
        Calls so far.
    reports : dict of int to GradientReport
        By iteration.

    Raises
    ------
    ValueError
        If `every`, `rows` or `on_failure` is none of the above.

    Examples
    --------
    >>> check = GradientCheckHook(module, every=100)  # doctest: +SKIP
    >>> for inputs, targets in batches:  # doctest: +SKIP
    ...     optimizer.zero_grad()
    ...     loss_fn(module(inputs), targets).backward()
    ...     check(loss_fn, inputs, targets)
    ...     optimizer.step()
    """

    def __init__(
        self,
        module: torch.nn.Module,
        every: int = 100,
        *,
        rows: int | None = 64,
        on_failure: Literal["raise", "log"] = "raise",
        seed: int = 0,
        **options: Any,
    ) -> None:
        for name, value in (("every", every), ("rows", 1 if rows is None else rows)):
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ValueError(f"{name} is out of range. Expected an integer >= 1. Received {value!r}.")
        if on_failure not in ("raise", "log"):
            raise ValueError(f"on_failure is unknown. Expected 'raise' or 'log'. Received {on_failure!r}.")
        self.module = module
        self.every = every
        self.rows = rows
        self.on_failure = on_failure
        self.options = options
        self.iteration = 0
        self.reports: dict[int, GradientReport] = {}
        self._rng = np.random.default_rng(seed)

    def __call__(self, loss_fn: LossFunction, inputs: Tensors, targets: Tensors) -> GradientReport | None:
        """Count an iteration, and check if it is one to be checked.

        Raises
        ------
        GradientCheckError
            If the gradient is wrong, unless failures are only logged.
        """
        self.iteration += 1
        if self.iteration % self.every:
            return None
        inputs, targets = self._some_rows(inputs, targets)
        report = check_module(self.module, loss_fn, inputs, targets, rng=self._rng, **self.options)
        self.reports[self.iteration] = report
        level = {Verdict.PASS: logging.INFO, Verdict.UNDECIDED: logging.WARNING, Verdict.FAIL: logging.ERROR}
        logger.log(level[report.verdict], "iteration %d  %s", self.iteration, report.summary())
        if report.verdict is Verdict.FAIL and self.on_failure == "raise":
            raise GradientCheckError(report, f"Training halted at iteration {self.iteration}.\n{report}")
        return report

    def _some_rows(self, inputs: Tensors, targets: Tensors) -> tuple[Tensors, Tensors]:
        sizes = {len(tensor) for tensor in tensors_in((inputs, targets)) if tensor.ndim}
        if self.rows is None or len(sizes) != 1 or max(sizes) <= self.rows:  # what shares no axis is left whole
            return inputs, targets
        chosen = torch.from_numpy(np.sort(self._rng.choice(sizes.pop(), self.rows, replace=False)))

        def take(tensor: torch.Tensor) -> torch.Tensor:
            return tensor[chosen.to(tensor.device)] if tensor.ndim else tensor

        return mapped(take, inputs), mapped(take, targets)
