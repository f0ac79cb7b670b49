"""A model whose parameters are set for a call, and put back after it."""

import copy
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np


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

        read: dict[Any, Any] = {key: of(holder) for key, holder in holders(self._model).items()}
        if isinstance(self._model, list | tuple):
            return list(read.values())
        if isinstance(self._model, Mapping):
            return read
        return read[None] if len(attributes) > 1 else next(iter(read[None].values()))

    @contextmanager
    def _holding(self, parameters: Any) -> Iterator[None]:
        undo: list[Callable[[], Any]] = []
        try:
            for key, holder in holders(self._model).items():
                given = parameters if key is None else parameters[key]
                given = {self._names[0]: given} if key is None and len(self._names) == 1 else given
                left = {name: copy.deepcopy(getattr(holder, name, None)) for name in self._gradients.values()}
                for name, value in {**left, **given}.items():
                    if hasattr(holder, name):
                        _put(getattr(holder, name), value, partial(setattr, holder, name), undo)
            yield
        finally:
            for step in reversed(undo):
                step()


def holders(model: Any) -> dict[Any, Any]:
    """Give the layers of a model by key or position; or itself, under None."""
    if isinstance(model, Mapping):
        return dict(model)
    return dict(enumerate(model)) if isinstance(model, list | tuple) else {None: model}


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
