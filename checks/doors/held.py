"""held_by: a model that holds its parameters, as a function of them; it is left as it was."""

import copy
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np

__all__ = ["held_by"]


def held_by(model: Any, *names: str, **gradients: str) -> "Held":
    """Make functions of the parameters of a model that holds them.

    Parameters
    ----------
    model : object, or list, tuple or dict of objects
        What has the parameters as attributes: a network, or its layers. Layers without one of them have none there.
    *names : str
        Attributes that hold parameters, arrays or structures of arrays: ``held_by(model, "params")``.
    **gradients : str
        The same, each with the attribute in which the backward pass leaves its gradient: ``held_by(layers, W="dW")``.

    Returns
    -------
    Held
        ``held.parameters`` are those of the moment. ``held(function)`` makes of a function without arguments, such as
        ``lambda: model.loss(X, y)``, one of the parameters. ``held.gradients(function)`` is one that calls it and
        gives what stands in the attributes for gradients.

    Raises
    ------
    ValueError, TypeError
        If there are no names, or nothing has such an attribute.

    Notes
    -----
    Arrays of float64 are written to in place, so that layers that share them follow; others are replaced. After every
    call both parameters and gradients are what they were.

    Examples
    --------
    >>> import numpy as np
    >>> class Line:
    ...     def __init__(self):
    ...         self.params = {"w": np.ones(3), "b": 0.5}
    ...     def loss(self, x, y):
    ...         error = x @ self.params["w"] + self.params["b"] - y
    ...         return error @ error, {"w": 2 * x.T @ error, "b": 2 * error.sum()}
    >>> from checks import check_gradients
    >>> line, x = Line(), np.arange(15.0).reshape(5, 3)
    >>> held = held_by(line, "params")
    >>> check_gradients(held(lambda: line.loss(x, x[:, 0])), True, held.parameters).verdict.value
    'PASS'
    """
    attributes = (*names, *gradients)
    if not attributes:
        raise TypeError("held_by got no names. Expected those of attributes that hold parameters. Received none.")
    layers = model.values() if isinstance(model, Mapping) else model
    holders = list(layers) if isinstance(model, Mapping | list | tuple) else [model]
    for name in attributes:
        if not any(hasattr(holder, name) for holder in holders):
            got = ", ".join(dict.fromkeys(type(holder).__name__ for holder in holders))
            raise ValueError(f"nothing holds {name!r}. Expected an attribute of that name. Received {got or 'none'}.")
    return Held(model, attributes, gradients)


class Held:
    """A model and the names of what it holds."""

    def __init__(self, model: Any, names: tuple[str, ...], gradients: Mapping[str, str]) -> None:
        self._model, self._names, self._gradients = model, names, gradients

    @property
    def parameters(self) -> Any:
        """Copy the parameters: one attribute's as it is, several by name; of layers, for each of them."""
        return copy.deepcopy(self._read({name: name for name in self._names}))

    def __call__(self, function: Callable[[], Any]) -> Callable[[Any], Any]:
        """Give a function of the parameters that calls one without arguments while the model holds them."""

        def call(parameters: Any) -> Any:
            with self._holding(parameters):
                return function()

        return call

    def gradients(self, function: Callable[[], Any]) -> Callable[[Any], Any]:
        """Give a function of the parameters that calls one, and reads the gradients that it leaves behind."""
        if self._gradients.keys() != set(self._names):
            expected = "Expected W='dW' for every name, in held_by"
            raise TypeError(f"where gradients are left is not known. {expected}. Received {list(self._names)}.")
        return self(lambda: (function(), copy.deepcopy(self._read(self._gradients)))[1])

    def _read(self, attributes: Mapping[str, str]) -> Any:
        def of(holder: Any) -> Any:
            return {name: getattr(holder, given) for name, given in attributes.items() if hasattr(holder, name)}

        if isinstance(self._model, Mapping):
            return {key: of(holder) for key, holder in self._model.items()}
        if isinstance(self._model, list | tuple):
            return [of(holder) for holder in self._model]
        found = of(self._model)
        return found if len(attributes) > 1 else next(iter(found.values()))

    @contextmanager
    def _holding(self, parameters: Any) -> Iterator[None]:
        undo: list[Callable[[], Any]] = []
        many = isinstance(self._model, Mapping | list | tuple)
        keys = self._model if isinstance(self._model, Mapping) else range(len(self._model) if many else 1)
        try:
            for key in keys:
                holder, given = (self._model[key], parameters[key]) if many else (self._model, parameters)
                given = given if many or len(self._names) > 1 else {self._names[0]: given}
                left = {name: copy.deepcopy(getattr(holder, name, None)) for name in self._gradients.values()}
                for name, value in {**left, **given}.items():
                    if hasattr(holder, name):
                        _put(getattr(holder, name), value, partial(setattr, holder, name), undo)
            yield
        finally:
            for step in reversed(undo):
                step()


def _put(old: Any, new: Any, assign: Callable[[Any], Any], undo: list[Callable[[], Any]]) -> None:
    """Put a value in the place of another, part by part and in place where that can be; note how to undo it."""
    undo.append(lambda: assign(old))
    if isinstance(old, np.ndarray) and old.flags.writeable and old.dtype == getattr(new, "dtype", None):
        undo.append(partial(np.copyto, old, old.copy()))
        old[...] = new
    elif isinstance(old, dict | list):
        for key in old if isinstance(old, dict) else range(len(old)):
            _put(old[key], new[key], partial(old.__setitem__, key), undo)
    else:
        assign(new)
