"""Parameters: named arrays that are views into one flat vector, so an update is one pass over it."""

from collections.abc import Iterator, Mapping
from math import prod
from typing import Any, Self, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from trainer.rows import Array as Array

Arrays = Mapping[str, Array]  # by the names of the parameters
Rng: TypeAlias = "np.random.Generator | None"  # of dropout masks; None is evaluation: no dropout, nothing drawn


class Parameters(Arrays):
    """Named arrays, each a view into one flat contiguous vector.

    Writing into ``parameters["W1"]`` writes into ``parameters.vector`` and the other way round; nothing
    is ever flattened or copied back.

    Parameters
    ----------
    shapes : mapping of str to tuple of int
        Name and shape of every array, in the order in which they lie in the vector.
    vector : ndarray of shape (n_parameters,), optional
        Storage to view; not copied. Zeros of `dtype` by default.
    dtype : dtype, default=float64
        Of the storage when `vector` is not given.

    Raises
    ------
    ValueError
        If `vector` is not one-dimensional, contiguous and as long as the shapes ask for.
    """

    def __init__(
        self, shapes: Mapping[str, tuple[int, ...]], vector: Array | None = None, dtype: DTypeLike = np.float64
    ) -> None:
        self.shapes = dict(shapes)
        length = sum(prod(shape) for shape in self.shapes.values())
        if vector is None:
            vector = np.zeros(length, dtype)
        if vector.shape != (length,) or not vector.flags.c_contiguous:
            raise ValueError(
                f"The vector does not fit the shapes. Expected a contiguous array of shape ({length},). "
                f"Received shape {vector.shape}."
            )
        self.vector = vector
        self._views: dict[str, Array] = {}
        start = 0
        for name, shape in self.shapes.items():
            stop = start + prod(shape)
            self._views[name] = vector[start:stop].reshape(shape)
            start = stop

    def __getitem__(self, name: str) -> Array:
        """Return the view of that name."""
        return self._views[name]

    def __setitem__(self, name: str, values: ArrayLike) -> None:
        """Write values of the same shape into the vector, so that ``gradients["b1"] *= 4`` works."""
        if name not in self._views or np.shape(values) != self._views[name].shape:
            received = f"{name!r} of shape {np.shape(values)}"
            raise ValueError(f"The values do not fit. Expected one of {self._view_shapes()}. Received {received}.")
        np.copyto(self._views[name], values)

    def assign(self, values: Mapping[str, ArrayLike], what: str = "values") -> None:
        """Write values of all names, or nothing.

        Parameters
        ----------
        values : mapping of str to array-like
            Of every name, in its shape. Gradients may have the classic names, ``"dW1"`` for ``"W1"``, and then others
            besides.
        what : str, default="values"
            What they are, for an error.

        Raises
        ------
        TypeError, ValueError
            If it is no mapping; if names or shapes are others.
        """
        if not isinstance(values, Mapping):
            raise TypeError(f"The {what} are no mapping. Expected arrays by name. Received {type(values).__name__}.")
        if self._views.keys() != values.keys() and all(f"d{name}" in values for name in self._views):
            values = {name: values[f"d{name}"] for name in self._views}
        received = {name: np.shape(value) for name, value in values.items()}
        if received != self._view_shapes():
            raise ValueError(f"The {what} do not fit. Expected {self._view_shapes()}. Received {received}.")
        for name, view in self._views.items():
            np.copyto(view, values[name])

    def _view_shapes(self) -> dict[str, tuple[int, ...]]:
        return {name: view.shape for name, view in self._views.items()}

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names, in the order of the vector."""
        return iter(self._views)

    def __len__(self) -> int:
        """Return the number of arrays."""
        return len(self._views)

    def __repr__(self) -> str:
        """Show names, shapes and dtype."""
        shapes = ", ".join(f"{name} {shape}" for name, shape in self.shapes.items())
        return f"Parameters({shapes}; {self.vector.size} {self.vector.dtype})"

    def copy(self) -> Self:
        """Return the same values in storage of their own."""
        return type(self)(self.shapes, self.vector.copy())

    def astype(self, dtype: DTypeLike) -> Self:
        """Return the same values as `dtype`, always in storage of their own."""
        return type(self)(self.shapes, self.vector.astype(dtype))

    def zeros_like(self) -> Self:
        """Return zeros of the same names, shapes and dtype."""
        return type(self)(self.shapes, np.zeros_like(self.vector))

    __copy__ = copy  # views of a vector cannot be shared halfway

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """Return `copy`."""
        return self.copy()

    def __reduce__(self) -> tuple[type[Self], tuple[dict[str, tuple[int, ...]], Array]]:
        """Pickle the vector once, and make the views anew."""
        return type(self), (self.shapes, self.vector)
