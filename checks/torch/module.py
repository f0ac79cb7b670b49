"""The gradient check for a torch module, as for one with a hand-written `torch.autograd.Function`."""

import logging
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from typing import Any, Literal, TypeAlias

import numpy as np
import torch

from checks.check import GradientCheckError
from checks.report.loop import Loop
from checks.report.report import GradientReport
from checks.report.suite import tell
from checks.torch.applied import Gradients, compare_applied, gradients_of
from checks.torch.twin import (
    LossFunction,
    Tensors,
    Twin,
    Wrt,
    as_module,
    generators_untouched,
    mapped,
    one_thread,
    tensors_in,
)

logger = logging.getLogger(__name__)

SMALL = 100_000  # numbers below which threads would mostly wait for each other
#: In which a copy computes: None for float64, "own" for what it has.
Precision: TypeAlias = torch.dtype | Literal["own"] | None


def check_module(
    module: torch.nn.Module | Callable[..., Any],
    loss_fn: LossFunction,
    inputs: Tensors,
    targets: Tensors,
    *,
    mode: Literal["eval", "own"] = "eval",
    dtype: Precision = None,
    wrt: Wrt | None = None,
    **options: Any,
) -> GradientReport:
    """Compare what autograd gives for a module's parameters, or inputs, with the loss it should be the gradient of.

    Parameters
    ----------
    module : torch.nn.Module or callable
        Deep-copied, where it is, to float64; the module itself, its gradients, buffers and mode are left alone. A
        function is called as it is.
    loss_fn : callable
        ``loss_fn(outputs, targets)``, such as ``torch.nn.BCEWithLogitsLoss()``.
    inputs, targets : tensor or tuple of tensors
        ``module(inputs)``, or ``module(*inputs)`` for a tuple. Those of floating point are taken as float64. Every
        evaluation gets copies, so that a forward pass may work in place.
    mode : {"eval", "own"}, default="eval"
        Check in evaluation mode, without dropout; or in the module's own mode of the moment, where every evaluation
        draws the same dropout masks and begins with the same buffers.
    dtype : torch.dtype or "own", optional
        In which the copy computes, in place of float64: for kernels that refuse that. ``"own"`` leaves module and
        tensors as they are. The parameters are then rounded at every evaluation, and the verdict is a coarser one.
    wrt : {"parameters", "inputs", "both"}, optional
        Whose gradients are checked: by default the parameters', and the inputs' where there are no parameters. Of the
        inputs, those that require a gradient; where none does, all of floating point. Targets are constants.
    **options
        As in `check_gradients`; the slopes are central differences.

    Returns
    -------
    GradientReport
        A tensor for every parameter that requires a gradient, under its name in ``module.named_parameters()``; and for
        every input, under its name in ``module.forward``. Complex ones are pairs of real numbers along a last axis.

    Raises
    ------
    ValueError, TypeError
        If an option is out of range, nothing requires a gradient, or the loss is no real number.

    Notes
    -----
    The state of torch's, numpy's and Python's generators is put back. The complex step is not used: few modules,
    and fewer autograd functions, take complex parameters.
    """
    for name, choice, choices in (
        ("mode", mode, ("eval", "own")),
        ("wrt", wrt, (None, "parameters", "inputs", "both")),
    ):
        if choice not in choices:
            expected = " or ".join(map(repr, choices))
            raise ValueError(f"{name} is unknown. Expected {expected}. Received {choice!r}.")
    if wrt is None:
        wrt = "parameters" if list(as_module(module).parameters()) else "inputs"
    with twin_of(module, loss_fn, inputs, targets, own_mode=mode == "own", dtype=dtype, wrt=wrt) as twin:
        return twin.check(**options)


@contextmanager
def twin_of(
    function: Any, loss_fn: LossFunction, inputs: Tensors, targets: Tensors, *, dtype: Precision, **how: Any
) -> Iterator[Twin]:
    """Make a twin, and leave torch as it was: its generators, and its threads, of which a small one needs one."""
    if not (dtype is None or dtype == "own" or (isinstance(dtype, torch.dtype) and dtype.is_floating_point)):
        expected = "Expected 'own', or a dtype of floating point such as torch.bfloat16"
        raise TypeError(f"dtype is of the wrong kind. {expected}. Received {dtype!r}.")
    precision = torch.float64 if dtype is None else None if dtype == "own" else dtype
    module = as_module(function)
    n_numbers = sum(tensor.numel() for tensor in tensors_in([list(module.parameters()), inputs]))
    threads = one_thread() if n_numbers < SMALL else nullcontext()
    with generators_untouched(module, inputs), threads, torch.inference_mode(False):
        yield Twin(module, loss_fn, inputs, targets, dtype=precision, **how)


class GradientCheckHook(Loop):
    """Checks the gradients of a torch module every k iterations of a plain loop, and what is about to be applied.

    Call it between ``loss.backward()`` and ``optimizer.step()``, before gradients are clipped: a wrong one is then
    halted before it is applied. Two questions are asked: whether backprop is right, on some rows of the batch, as
    `check_module` does; and whether ``p.grad`` is the gradient of the loss on the whole batch.

    Parameters
    ----------
    module : torch.nn.Module
    every : int, default=100
        Check at the calls ``every, 2·every, …``.
    rows : int or None, default=64
        Of each batch, that many rows from a fresh random choice for the first question; None for all of them.
    applied : bool, default=True
        Ask the second question.
    grad_scale : float or callable, default=1.0
        What ``p.grad`` is multiplied by until it is unscaled, or a function that gives it: ``scaler.get_scale``.
    autocast : torch.dtype, optional
        In which the forward pass runs under ``torch.autocast``.
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
        By iteration, the last 100.

    Raises
    ------
    ValueError, TypeError
        If an option is out of range.

    Notes
    -----
    The reference for ``p.grad`` is autograd in float64, in the module's own mode. How far a right one may lie beside
    it is measured, by the same gradient in the module's own precision at parameters a rounding away. Where the module
    draws random numbers, as dropout does while training, or depends on the forward pass before, ``p.grad`` cannot be
    compared: a note of the report and, once, a warning in the log say so. Batch norm that is training takes the
    statistics of each micro-batch, so what they add up to is the gradient of no batch: there, use ``applied=False``.

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
        applied: bool = True,
        grad_scale: float | Callable[[], float] = 1.0,
        autocast: torch.dtype | None = None,
        on_failure: Literal["raise", "log"] = "raise",
        seed: int = 0,
        **options: Any,
    ) -> None:
        super().__init__(every, on_failure, seed)
        if rows is not None and (isinstance(rows, bool) or not isinstance(rows, int) or rows < 1):
            raise ValueError(f"rows is out of range. Expected an integer >= 1. Received {rows!r}.")
        if not isinstance(applied, bool):
            raise TypeError(f"applied is of the wrong kind. Expected True or False. Received {applied!r}.")
        if autocast is not None and not (isinstance(autocast, torch.dtype) and autocast.is_floating_point):
            expected = "Expected a dtype of floating point, such as torch.bfloat16"
            raise TypeError(f"autocast is of the wrong kind. {expected}. Received {autocast!r}.")
        self.module = module
        self.rows = rows
        self.applied = applied
        self.grad_scale = grad_scale
        self.autocast = autocast
        self.options = options
        self._previous: Gradients = {}
        self._warned = False
        if not callable(grad_scale):
            self._scale()

    def __call__(self, loss_fn: LossFunction, inputs: Tensors, targets: Tensors) -> GradientReport | None:
        """Count an iteration, and check if it is one to be checked.

        Parameters
        ----------
        loss_fn, inputs, targets
            As in `check_module`: of the whole batch, where gradients are accumulated over micro-batches.

        Returns
        -------
        GradientReport or None
            None at a call at which nothing is checked.

        Raises
        ------
        GradientCheckError
            If the gradient is wrong, unless failures are only logged.
        """
        self.iteration += 1
        if self.iteration % self.every:
            return None
        some = self._some_rows(inputs, targets)
        report = check_module(self.module, loss_fn, *some, rng=self._rng, **self.options)
        if self.applied:
            found, report = report, self._with_applied(report, loss_fn, inputs, targets)
            tell(report, found)
        if self._is_to_halt(report, logger):
            raise GradientCheckError(report, self._halted(report))
        return report

    def _with_applied(
        self, report: GradientReport, loss_fn: LossFunction, inputs: Tensors, targets: Tensors
    ) -> GradientReport:
        """Ask the second question; what the first has found stands."""
        of_batch = self.module, loss_fn, inputs, targets
        scale = self._scale()
        gradients = gradients_of(self.module, scale)
        how: dict[str, Any] = {"scale": scale, "threshold": report.threshold, "previous": self._previous}
        with generators_untouched(self.module), np.errstate(invalid="ignore", over="ignore"):
            exact = Twin(*of_batch, own_mode=True)
            own = Twin(*of_batch, own_mode=True, dtype=None, autocast=self.autocast)
            found = compare_applied(gradients, exact, own, **how)
        self._previous = gradients
        if not found.is_compared and not self._warned:
            logger.warning("iteration %d  %s", self.iteration, found.note)
            self._warned = True
        failed = {tensor.name for tensor in report.culprits}
        rows = {name: row for name, row in found.wrong.items() if name not in failed}
        difference = float(np.maximum(found.difference, report.difference)) if rows else report.difference
        tensors = {**report.tensors, **rows}
        return replace(report, tensors=tensors, difference=difference, notes=(*report.notes, found.note))

    def _scale(self) -> float:
        scale = self.grad_scale() if callable(self.grad_scale) else self.grad_scale
        if isinstance(scale, bool) or not isinstance(scale, int | float) or not 0.0 < scale < math.inf:
            raise ValueError(f"grad_scale is out of range. Expected a finite number > 0. Received {scale!r}.")
        return float(scale)

    def _some_rows(self, inputs: Tensors, targets: Tensors) -> tuple[Tensors, Tensors]:
        sizes = {len(tensor) for tensor in tensors_in((inputs, targets)) if tensor.ndim}
        if self.rows is None or len(sizes) != 1 or max(sizes) <= self.rows:  # what shares no axis is left whole
            return inputs, targets
        chosen = torch.from_numpy(np.sort(self._rng.choice(sizes.pop(), self.rows, replace=False)))

        def take(tensor: torch.Tensor) -> torch.Tensor:
            return tensor[chosen.to(tensor.device)] if tensor.ndim else tensor

        return mapped(take, inputs), mapped(take, targets)
