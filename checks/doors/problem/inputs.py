"""The inputs of somebody's function, by name: those that a gradient is taken for, and those that stand still."""

import copy
import inspect
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from checks.measure.structure import form_of


class Inputs:
    """What a function is called with. A tuple or a list is an input each; anything else is the only one.

    ``moving`` are those that hold a float. Integers, text and the like are handed on as they are.
    """

    def __init__(self, function: Callable[..., Any], inputs: Any, door: str) -> None:
        if not callable(function):
            got = type(function).__name__
            raise TypeError(f"{door} got no function. Expected function(*inputs) -> outputs. Received {got}.")
        numbers = isinstance(inputs, list) and bool(inputs) and np.ndim(inputs[0]) == 0
        self.is_one = numbers or not isinstance(inputs, tuple | list) or hasattr(inputs, "_fields")
        self._values = [inputs] if self.is_one else list(inputs)
        self.names = _names(function, len(self._values))
        self.moving = {n: v for n, v in zip(self.names, self._values, strict=True) if _holds_a_float(v)}
        if not self.moving:
            got = ", ".join(type(value).__name__ for value in self._values) or "none"
            raise TypeError(f"no input holds a float. Expected floats or complex numbers. Received {got}.")

    def arguments(self, moved: Mapping[str, Any]) -> list[Any]:
        """Give the arguments of a call: those that move, from here, and copies of the others."""
        pairs = zip(self.names, self._values, strict=True)
        return [moved[name] if name in moved else copy.copy(value) for name, value in pairs]

    def tangents(self, moved: Mapping[str, Any]) -> list[Any]:
        """Give the tangents of a call: zero for what stands still."""
        pairs = zip(self.names, self._values, strict=True)
        zeros = {name: np.zeros_like(value) for name, value in pairs if isinstance(value, np.ndarray)}
        return [moved.get(name, zeros.get(name)) for name in self.names]

    def packed(self, arguments: list[Any]) -> Any:
        """Give arguments as the inputs came: the only one, or a tuple."""
        return arguments[0] if self.is_one else tuple(arguments)

    def by_name(self, gradients: Any, what: str) -> Mapping[str, Any]:
        """Name the gradients, or tangents, that somebody's function gives: one an input, or one for each that moves."""
        if self.is_one:
            bare = isinstance(gradients, tuple) and len(gradients) == 1 and not isinstance(self._values[0], tuple)
            return {self.names[0]: gradients[0] if bare else gradients}
        if isinstance(gradients, Mapping):
            return gradients
        expected = f"Expected one for each of {', '.join(self.names)}"
        if not isinstance(gradients, tuple | list):
            raise TypeError(f"{what} gives no tuple. {expected}. Received {type(gradients).__name__}.")
        for names in (self.names, list(self.moving)):
            if len(gradients) == len(names):
                return {n: g for n, g in zip(names, gradients, strict=True) if n in self.moving}
        raise ValueError(f"{what} gives the wrong number of gradients. {expected}. Received {len(gradients)}.")


def _names(function: Callable[..., Any], count: int) -> list[str]:
    """Give the names of a function's first arguments, as its owner wrote them; numbers where they cannot be had."""
    try:
        parameters = list(inspect.signature(function).parameters.values())[:count]
    except (TypeError, ValueError):  # of one that is compiled
        parameters = []
    if len(parameters) == count and all(p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) for p in parameters):
        return [parameter.name for parameter in parameters]
    return [f"inputs[{number}]" for number in range(count)]


def _holds_a_float(value: Any) -> bool:
    dtypes = [
        getattr(leaf, "dtype", None) or np.asarray(leaf).dtype for _, leaf in form_of(value, "x").leaves(value, "")
    ]
    return any(dtype.kind in "fc" for dtype in dtypes)
