"""Flat gradients: a loss and its gradient as scipy takes them, functions of one vector."""

from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from checks.check import check_gradients, pair_of
from checks.measure.layout import Array
from checks.measure.structure import Blocks
from checks.report.report import GradientReport

__all__ = ["check_flat"]

SINGLE = "x"  # the vector's name where its coordinates have none

#: One name a coordinate; or one a block of them, with its shape.
Names: TypeAlias = Sequence[str] | Mapping[str, int | tuple[int, ...]]


def check_flat(
    f: Callable[..., Any],
    grad: Callable[..., Any] | Literal[True],
    x: ArrayLike,
    *,
    args: Sequence[Any] = (),
    names: Names | None = None,
    **options: Any,
) -> GradientReport:
    """Compare a gradient with its loss where both take one vector, as for `scipy.optimize`.

    Parameters
    ----------
    f : callable
        ``f(x, *args) -> float``; or a pair of this and the gradient, if `grad` is True.
    grad : callable or True
        ``grad(x, *args)``, of the shape of `x`. True is what ``jac=True`` is to `scipy.optimize.minimize`.
    x : array-like
        Where to check; of any shape, which `f` gets back.
    args : sequence, default=()
        Further arguments of both.
    names : sequence of str, or mapping of str to int or tuple, optional
        One name a coordinate: then each is judged by its own size, and the report names those that are wrong. Or
        the names of blocks that follow each other in `x`, each with its length or shape: ``{"coef": 20,
        "intercept": 1}``. Default: one block, ``x``.
    **options
        As in `check_gradients`.

    Returns
    -------
    GradientReport

    Raises
    ------
    ValueError
        If the names do not fit `x`; and what `check_gradients` raises.

    Examples
    --------
    >>> from scipy.optimize import rosen, rosen_der
    >>> check_flat(rosen, rosen_der, [1.3, 0.7, 0.8]).verdict.value
    'PASS'
    """
    if not callable(f):
        raise TypeError(f"f is no function. Expected f(x, *args) -> float. Received {type(f).__name__}.")
    if grad is not True and not callable(grad):
        raise TypeError(f"grad is no function. Expected grad(x, *args), or True. Received {type(grad).__name__}.")
    if not isinstance(args, Sequence):
        raise TypeError(f"args are no sequence. Expected further arguments of f and grad. Received {args!r}.")
    point = _array(x, "x")
    if not point.size:
        raise ValueError(f"x is empty. Expected at least one coordinate. Received shape {point.shape}.")
    np.empty(point.size)  # what cannot fit is refused before its names are read one by one
    shapes = _shapes(names, point.shape)

    def loss(vector: Array) -> Any:
        value = f(vector, *args)
        return pair_of(value)[0] if grad is True else value

    def gradients(vector: Array) -> Array:
        given = _array(pair_of(f(vector, *args))[1] if grad is True else grad(vector, *args), "the gradient")
        if given.shape != point.shape:
            raise ValueError(f"the gradient has the wrong shape. Expected {point.shape}. Received {given.shape}.")
        return given

    return check_gradients(loss, gradients, Blocks(point, shapes), **options)


def _array(value: ArrayLike, what: str) -> Array:
    try:
        return np.asarray(value)
    except ValueError as error:  # ragged nested lists
        raise ValueError(f"{what} is not an array of numbers. Expected real numbers. Received {error}.") from None


def _shapes(names: Names | None, shape: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
    if names is None:
        return {SINGLE: shape}
    if isinstance(names, Mapping):
        shapes = {str(name): (size,) if isinstance(size, int) else size for name, size in names.items()}
        for name, block in shapes.items():
            if not isinstance(block, tuple | list) or any(not isinstance(n, int) or n < 0 for n in block):
                raise TypeError(f"The shape of {name} is none. Expected a length, or a tuple. Received {block!r}.")
        total = sum(prod(block) for block in shapes.values())
    elif isinstance(names, str) or not np.iterable(names) or not hasattr(names, "__len__"):
        raise TypeError(f"names are no sequence. Expected names, or a mapping. Received {type(names).__name__}.")
    else:
        total = len(names)
        shapes = {str(name): () for name in names} if total == prod(shape) else {}
        if 0 < len(shapes) < total:
            raise ValueError(f"two coordinates have the same name. Expected different names. Received {list(names)}.")
    if total != prod(shape):
        raise ValueError(f"the names do not fit x. Expected names for {prod(shape)} coordinates. Received {total}.")
    return shapes
