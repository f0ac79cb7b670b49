"""check_jacobian: a function of one vector or structure, and the matrix of its derivatives, dense or sparse."""

from collections.abc import Callable
from typing import Any, Unpack

from checks.doors.problem.contraction import Contraction
from checks.doors.problem.matrix import Matrix
from checks.options import Asked
from checks.report.report import GradientReport

__all__ = ["check_jacobian"]


def check_jacobian(function: Callable[[Any], Any], jacobian: Any, x: Any, **options: Unpack[Asked]) -> GradientReport:
    """Compare the Jacobian of a vector-valued function with the function.

    Parameters
    ----------
    function : callable
        ``function(x)`` gives an array, or a structure, of m numbers.
    jacobian : callable or matrix
        ``jacobian(x)``, or what it gives: a matrix of m rows, one an output, and a column for each of the n numbers in
        `x`; dense, of scipy.sparse, or a scipy LinearOperator. For arrays of more axes, as well of shape
        ``outputs.shape + x.shape``.
    x : array or structure
        Where to check; from a dict, the report has a block of columns for each name.
    **options
        As in `check_gradients`: coverage, derivative, threshold, step, rng, n_jobs.

    Returns
    -------
    GradientReport
        Of a tensor ``J`` of shape (m, n), or one for each block. A wrong one of at most 1e6 entries is measured whole.

    Raises
    ------
    ValueError, TypeError
        If an option is out of range, or the matrix has another shape.

    Notes
    -----
    As in `check_vjp`, one random combination of the rows stands for all of them.

    Examples
    --------
    >>> import numpy as np
    >>> A = np.arange(15.0).reshape(5, 3)
    >>> check_jacobian(lambda x: np.sin(A @ x), lambda x: np.cos(A @ x)[:, None] * A, np.ones(3)).verdict.value
    'PASS'
    """
    return Matrix(Contraction(function, (x,), "the Jacobian", **options), jacobian, "J").check()
