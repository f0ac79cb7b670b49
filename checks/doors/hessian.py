"""check_hessian: a gradient and the matrix of second derivatives, its diagonal, or its product with a vector."""

import inspect
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Unpack

import numpy as np

from checks.check import check_gradients
from checks.doors.problem.contraction import Contraction
from checks.doors.problem.matrix import Matrix
from checks.doors.problem.pullback import SAME, Pull, check_pullback, pulled
from checks.judge.power import random_direction
from checks.measure.difference import euclidean
from checks.measure.objective import Loss
from checks.options import Asked
from checks.report.report import GradientReport

__all__ = ["check_hessian"]


def check_hessian(
    gradient: Callable[[Any], Any], hessian: Any, x: Any, *, loss: Loss | None = None, **options: Unpack[Asked]
) -> GradientReport:
    """Compare a Hessian with the gradient whose Jacobian it is.

    Parameters
    ----------
    gradient : callable
        ``gradient(x)``, of the structure of `x`.
    hessian : callable or matrix
        ``hessian(x)``, or what it gives: a matrix, dense or of scipy.sparse; a LinearOperator; or the diagonal alone, a
        vector, where all else is zero. Or ``hessian(x, v)``, two arguments without a default: its product with v.
    x : array or structure
        Where to check.
    loss : callable, optional
        ``loss(x) -> float``: then the gradient is held against it first, and stands in the report's ``terms``.
    **options
        As in `check_gradients`: coverage, derivative, threshold, step, rng, n_jobs.

    Returns
    -------
    GradientReport
        As from `check_jacobian`, with a tensor ``H``; of a product or a diagonal, one of the shape of `x`. A note says
        if it is not symmetric.

    Raises
    ------
    ValueError, TypeError
        If an option is out of range, or the gradient or the matrix has another shape.

    Examples
    --------
    >>> from scipy.optimize import rosen_der, rosen_hess, rosen_hess_prod
    >>> [check_hessian(rosen_der, second, [1.3, 0.7, 0.8]).verdict.value for second in (rosen_hess, rosen_hess_prod)]
    ['PASS', 'PASS']
    """
    problem = Contraction(gradient, (x,), "the Hessian", **options)
    shapes, expected = list(problem.outputs.shapes.values()), list(problem.layout.shapes.values())
    if shapes != expected:
        raise ValueError(f"the gradient has another shape than x. Expected {expected}. Received {shapes}.")
    product = _product(hessian, *problem.here().values())
    if product is None:
        matrix = Matrix(problem, hessian, "H")
        pull: Pull = matrix.pull
        report = matrix.check()
    else:
        pull = lambda vector, here: (product(here, vector),)  # noqa: E731
        report = check_pullback(problem, pull)
    if not _is_symmetric(problem, pull):
        report = replace(report, notes=(*report.notes, "the Hessian is not symmetric: u·Hv is not v·Hu"))
    if loss is not None:
        report = replace(report, terms={"the gradient": check_gradients(loss, gradient, x, **options)})
    return report


def _product(hessian: Any, here: Any) -> Callable[[Any, Any], Any] | None:
    """Give the product with a vector, where that or the diagonal is what there is."""
    if not callable(hessian) or hasattr(hessian, "matvec"):
        return None
    try:
        parameters = list(inspect.signature(hessian).parameters.values())
    except (TypeError, ValueError):  # of one that is compiled
        parameters = []
    if sum(p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) and p.default is p.empty for p in parameters) == 2:
        given: Callable[[Any, Any], Any] = hessian
        return given
    found = hessian(here)
    is_diagonal = isinstance(here, np.ndarray) and isinstance(found, np.ndarray) and found.shape == here.shape
    return (lambda point, vector: hessian(point) * vector) if is_diagonal else None


def _is_symmetric(problem: Contraction, pull: Pull) -> bool:
    one, other = (random_direction(np.random.default_rng(seed), problem.layout.size) for seed in (2, 3))
    first, second = (pulled(problem, pull, vector) for vector in (one, other))
    size = max(euclidean(first) * euclidean(other), euclidean(second) * euclidean(one))
    return not abs(first @ other - second @ one) > SAME * size
