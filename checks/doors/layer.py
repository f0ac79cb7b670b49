"""check_layer: a layer as courses write it, a forward pass that keeps a cache and a backward pass that reads it."""

import contextlib
import functools
from collections.abc import Callable
from typing import Any, Unpack

import numpy as np

from checks.doors.problem.blame import named
from checks.doors.problem.contraction import Contraction
from checks.doors.problem.pullback import check_pullback
from checks.judge.power import random_direction
from checks.options import Asked
from checks.report.report import GradientReport

__all__ = ["check_layer"]

SPOILT = (
    "backward is right where it follows its forward at once, and wrong after a second forward, which spoils the cache: "
    "look for an array that is used again, or kept outside of it."
)


def check_layer(
    forward: Callable[..., Any], backward: Callable[..., Any], inputs: Any, **options: Unpack[Asked]
) -> GradientReport:
    """Compare the backward pass of a layer with its forward pass.

    Parameters
    ----------
    forward : callable
        ``forward(*inputs) -> (output, cache)``; the output may be any structure, the cache anything.
    backward : callable
        ``backward(cotangent, cache)`` gives one gradient an input, as `check_vjp` says.
    inputs : tuple, list or structure
        As in `check_vjp`: data, weights, and what stands still.
    **options
        As in `check_gradients`: coverage, derivative, threshold, step, rng, n_jobs.

    Returns
    -------
    GradientReport
        As from `check_vjp`.

    Raises
    ------
    ValueError, TypeError
        If an option is out of range, forward gives no pair, or the gradients do not fit the inputs.

    Notes
    -----
    Between forward and backward there is a second forward with other numbers, as where a layer is used twice: a cache
    that it spoils makes the gradients wrong, and is named.

    Examples
    --------
    >>> import numpy as np
    >>> def forward(x, w):
    ...     return x @ w, (x, w)
    >>> def backward(g, cache):
    ...     x, w = cache
    ...     return g @ w.T, x.T @ g
    >>> check_layer(forward, backward, (np.ones((5, 3)), np.ones((3, 2)))).verdict.value
    'PASS'
    """
    for name, function in (("forward", forward), ("backward", backward)):
        if not callable(function):
            raise TypeError(f"{name} is no function. Expected one. Received {type(function).__name__}.")

    def both(*arguments: Any) -> Any:
        found = forward(*arguments)
        if not isinstance(found, tuple | list) or len(found) != 2:
            got = f"{type(found).__name__} {found!r:.60}"
            raise TypeError(f"forward gives no pair. Expected (output, cache). Received {got}.")
        return found

    @functools.wraps(forward)  # whose arguments have names
    def output(*arguments: Any) -> Any:
        return both(*arguments)[0]

    def at_once(cotangent: Any, *arguments: Any) -> Any:
        return backward(cotangent, both(*arguments)[1])

    def later(cotangent: Any, *arguments: Any) -> Any:
        cache = both(*arguments)[1]
        with contextlib.suppress(Exception), np.errstate(all="ignore"):
            forward(*problem.inputs.arguments(problem.here(beside)))
        return backward(cotangent, cache)

    problem = Contraction(output, inputs, "backward", **options)
    beside = problem.point + np.maximum(1.0, np.abs(problem.point)) * random_direction(problem.rng, problem.layout.size)
    report = check_pullback(problem, later)
    if not report.culprits:
        return report
    alone = check_pullback(problem, at_once)
    return alone if alone.culprits else named(report, SPOILT)
