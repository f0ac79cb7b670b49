"""check_vjp: a function with any number of inputs and outputs, and its vector-Jacobian product."""

from collections.abc import Callable
from typing import Any, Unpack

from checks.doors.problem.contraction import Contraction
from checks.doors.problem.pullback import check_pullback
from checks.options import Asked
from checks.report.report import GradientReport

__all__ = ["check_vjp"]


def check_vjp(
    function: Callable[..., Any], vjp: Callable[..., Any], inputs: Any, **options: Unpack[Asked]
) -> GradientReport:
    """Compare a vector-Jacobian product, the backward pass of a function, with the function.

    Parameters
    ----------
    function : callable
        ``function(*inputs)`` gives an array, or a dict, list, tuple or dataclass of them.
    vjp : callable
        ``vjp(cotangent, *inputs)`` gives one gradient an input: those of the sum of ``cotangent · function(*inputs)``.
        The cotangent is built as the outputs are. For complex outputs that sum is Re(conj(cotangent) · outputs).
    inputs : tuple, list or structure
        An input each; what is neither tuple nor list is the only one. Those without a float stand still, and need no
        gradient: None will do.
    **options
        As in `check_gradients`: coverage, derivative, threshold, step, rng, n_jobs.

    Returns
    -------
    GradientReport
        A tensor for every input, named as `function` names it. Where one is wrong, its evidence names the output.

    Raises
    ------
    ValueError, TypeError
        If an option is out of range, or the gradients do not fit the inputs.

    Notes
    -----
    Every output has a random weight, so that a single sum stands for all of them; the weights come from `rng`, else
    from a fixed seed for full coverage, and fresh for directions. What a PASS excludes is said of the whole Jacobian.

    Examples
    --------
    >>> import numpy as np
    >>> x, w = np.ones((5, 3)), np.ones((3, 2))
    >>> check_vjp(lambda x, w: x @ w, lambda g, x, w: (g @ w.T, x.T @ g), (x, w)).verdict.value
    'PASS'
    """
    if not callable(vjp):
        raise TypeError(f"vjp is no function. Expected vjp(cotangent, *inputs). Received {type(vjp).__name__}.")
    return check_pullback(Contraction(function, inputs, "the VJP", **options), vjp)
