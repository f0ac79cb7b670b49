"""The layout of somebody's parameters: named tensors laid end to end in one flat vector.

It copies what it is handed and never writes to it; every loss evaluation gets fresh arrays.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[Any]
#: A number, an array, a dict of arrays, or a list or tuple of arrays.
Structure: TypeAlias = float | Array | Mapping[str, Any] | Sequence[Any]

SINGLE = "parameters"  # the tensor's name where the user gave a bare number or a bare array


class Layout:
    """Where each named tensor lies in the flat vector of ``size`` coordinates, and how to go back.

    ``shapes`` and ``slices`` have the tensors in the order given, which is that of the forward pass.
    """

    def __init__(self, parameters: Structure) -> None:
        self._kind = _kind(parameters)
        self._is_tuple = isinstance(parameters, tuple)
        self._keys = list(parameters) if isinstance(parameters, Mapping) else []
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.slices: dict[str, slice] = {}
        start = 0
        for name, value in _items(parameters, self._kind):
            if name in self.shapes:
                raise ValueError(
                    f"two parameters have the same name. Expected different names. Received {name!r} twice."
                )
            array = _real_array(value, name)
            self.shapes[name] = array.shape
            self.slices[name] = slice(start, start + array.size)
            start += array.size
        self.size = start
        if self.size == 0:
            raise ValueError("parameters hold no number. Expected at least one. Received an empty structure.")

    def flatten(self, structure: Structure, role: str) -> Array:
        """Copy a structure of this layout into a flat float64 vector; ``role`` says what it is where it is refused.

        Gradients in a dict may also carry the classic names: ``dW1`` for ``W1``.
        """
        as_mapping, as_sequence = isinstance(structure, Mapping), np.iterable(structure)
        if (self._kind == "mapping") != as_mapping or (self._kind == "sequence" and not as_sequence):
            raise TypeError(
                f"{role} have another structure than the parameters. Expected a {self._kind} with "
                f"{list(self.shapes)}. Received {type(structure).__name__}."
            )
        values = dict(_items(structure, self._kind))
        if self._kind == "sequence" and len(values) != len(self.shapes):
            raise ValueError(
                f"{role} have the wrong length. Expected {len(self.shapes)} arrays. Received {len(values)}."
            )
        classic = "" if all(name in values for name in self.shapes) else "d"
        vector = np.empty(self.size)
        for name, shape in self.shapes.items():
            value = values.get(classic + name, values.get(name))
            if value is None:
                raise ValueError(
                    f"{role} lack {name!r}. Expected the names {list(self.shapes)}. Received {list(values)}."
                )
            array = _real_array(value, f"{role} of {name}")
            if array.shape != shape:
                raise ValueError(f"{role} of {name} have the wrong shape. Expected {shape}. Received {array.shape}.")
            self.tensor(vector, name)[...] = array
        return vector

    def point(self, parameters: Structure) -> Array:
        """Give `flatten` of the parameters, but without a copy where they have it as their ``vector`` already."""
        vector = getattr(parameters, "vector", None)
        if not isinstance(vector, np.ndarray) or vector.shape != (self.size,) or vector.dtype != np.float64:
            return self.flatten(parameters, "parameters")
        if not all(np.array_equal(vector[self.slices[n]], np.ravel(v)) for n, v in _items(parameters, self._kind)):
            return self.flatten(parameters, "parameters")
        view: Array = vector[:]
        view.flags.writeable = False
        return view

    def unflatten(self, vector: Array) -> Any:
        """Give the structure that the loss takes; its arrays are views into ``vector``."""
        views = {name: vector[self.slices[name]].reshape(shape) for name, shape in self.shapes.items()}
        if self._kind == "mapping":  # by the user's own keys, which need not be text
            return dict(zip(self._keys, views.values(), strict=True))
        if self._kind == "sequence":
            return tuple(views.values()) if self._is_tuple else list(views.values())
        return vector[0] if self._kind == "number" else views[SINGLE]

    def tensor(self, vector: Array, name: str) -> Array:
        """View one tensor of a flat vector in its own shape."""
        view: Array = vector[self.slices[name]].reshape(self.shapes[name])
        return view

    def index(self, name: str, flat: int) -> tuple[int, ...]:
        """Turn a position within a tensor into its index."""
        return tuple(int(i) for i in np.unravel_index(flat, self.shapes[name]))

    def label(self, name: str, flat: int) -> str:
        """Name one coordinate the way its owner would: ``W2[3, 1]``, or ``theta`` for a number."""
        index = self.index(name, flat)
        return f"{name}[{', '.join(map(str, index))}]" if index else name


def _items(structure: Any, kind: str) -> Iterator[tuple[str, Any]]:
    if kind == "mapping":
        yield from ((str(name), value) for name, value in structure.items())
    elif kind == "sequence":
        yield from ((f"[{position}]", value) for position, value in enumerate(structure))
    else:
        yield SINGLE, structure


def _kind(parameters: Structure) -> str:
    if isinstance(parameters, Mapping):
        return "mapping"
    if isinstance(parameters, list | tuple) and any(np.ndim(value) > 0 for value in parameters):
        return "sequence"
    return "number" if np.ndim(parameters) == 0 and not isinstance(parameters, np.ndarray) else "array"


def _real_array(value: Any, role: str) -> Array:
    """Convert to float64, without a copy where it is that; refuse what is not made of real numbers."""
    try:
        array = np.asarray(value)
    except ValueError as error:  # ragged nested lists
        raise ValueError(f"{role} is not an array of numbers. Expected real numbers. Received {error}.") from None
    if array.dtype.kind not in "fiub":
        raise TypeError(
            f"{role} is not made of real numbers. Expected floats or integers. Received dtype {array.dtype}."
        )
    return array.astype(np.float64, copy=False)
