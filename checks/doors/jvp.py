"""check_jvp: a function with any number of inputs and outputs, and its Jacobian-vector product."""

from collections.abc import Callable
from typing import Any, Unpack

from checks.doors.problem.contraction import Contraction
from checks.doors.problem.tangents import Tangents
from checks.options import Asked
from checks.report.report import GradientReport

__all__ = ["check_jvp"]


def check_jvp(
    function: Callable[..., Any], jvp: Callable[..., Any], inputs: Any, **options: Unpack[Asked]
) -> GradientReport:
    """Compare a Jacobian-vector product, the derivative forward, with its function.

    Parameters
    ----------
    function : callable
        ``function(*inputs)`` gives an array, or a dict, list, tuple or dataclass of them.
    jvp : callable
        ``jvp(inputs, tangents)`` gives the tangents of the outputs, built as these are; or a pair of outputs and
        tangents, as jax does. Inputs that stand still have tangents of zero.
    inputs : tuple, list or structure
        As in `check_vjp`.
    **options
        As in `check_gradients`: coverage, derivative, threshold, step, rng, n_jobs. Full coverage asks for one tangent
        a coordinate, directions for a fresh one through each input.

    Returns
    -------
    GradientReport
        A tensor for every input; and "all inputs", for a tangent through all of them at once.

    Raises
    ------
    ValueError, TypeError
        If an option is out of range, or the tangents do not fit the outputs.

    Examples
    --------
    >>> import numpy as np
    >>> check_jvp(np.sin, lambda x, t: np.cos(x) * t, np.ones(3)).verdict.value
    'PASS'
    """
    if not callable(jvp):
        raise TypeError(f"jvp is no function. Expected jvp(inputs, tangents). Received {type(jvp).__name__}.")
    return Tangents(Contraction(function, inputs, "the JVP", **options), jvp).check()
