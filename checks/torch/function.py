"""The gradient check for a function of tensors, as for a hand-written `torch.autograd.Function` without parameters."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from checks.options import coverage_or
from checks.report.report import GradientReport
from checks.torch.module import Precision, twin_of
from checks.torch.projected import Projected
from checks.torch.twin import Tensors

#: A function of tensors and whatever else, or a Function, which is applied.
Function = Callable[..., Any] | type[torch.autograd.Function]


def check_function(
    function: Function,
    inputs: Tensors,
    *,
    dtype: Precision = None,
    rng: np.random.Generator | None = None,
    **options: Any,
) -> GradientReport:
    """Compare what autograd gives for the inputs of a function with the slopes of its outputs.

    Parameters
    ----------
    function : callable, torch.autograd.Function or torch.nn.Module
        ``function(*inputs)`` gives a tensor, or a tuple, list or dict of tensors of any shape. A Function may be handed
        over as the class or as its ``apply``. A module is deep-copied, and checked in the mode it is in.
    inputs : tensor or tuple
        ``function(inputs)``, or ``function(*inputs)`` for a tuple. The tensors that require a gradient are checked;
        where none does, all of floating point, also within lists, tuples and dicts. The rest is passed on as it is.
        Every evaluation gets copies, of float64, so that a function may work in place.
    dtype : torch.dtype or "own", optional
        In which the tensors are handed over, in place of float64: for kernels that refuse that, as in `check_module`.
    rng : numpy.random.Generator, optional
        Of the cotangents, and of directions. Default: for ``coverage="full"`` the same ones in every check, else fresh.
    **options
        As in `check_gradients`; the slopes are central differences.

    Returns
    -------
    GradientReport
        A tensor for every input, under its name in the function's signature: ``weight``, ``states[1]``. Complex ones
        are pairs of real numbers along a last axis.

    Raises
    ------
    ValueError, TypeError
        If an option is out of range, no input requires a gradient, or no output has one.

    Notes
    -----
    What is compared is the gradient of ``Σ u · output`` with one random cotangent ``u`` for every output: a mistake in
    the gradient of any entry of any output changes it. Outputs without a gradient, such as those marked as not
    differentiable, are left out, and a note says so. Every evaluation draws the same numbers from torch's generators,
    whose state is put back. Graphs are recorded, so that a gradient may be checked as a function: its check is one of
    the second order.

    Examples
    --------
    >>> check_function(torch.special.expit, torch.randn(5, 3)).verdict.value  # doctest: +SKIP
    'PASS'
    """
    is_full = coverage_or("full", options.get("coverage")) == "full"
    projected = Projected(np.random.default_rng(0 if is_full else None) if rng is None else rng)
    with twin_of(function, projected, inputs, (), own_mode=True, dtype=dtype, wrt="inputs") as twin:
        twin.gradients(twin.parameters())
        terms = projected.terms(twin)
        report = twin.check(rng=rng, terms=terms, **options)
    return replace(report, notes=(*report.notes, *projected.notes()))
