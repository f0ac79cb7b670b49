"""The layout of somebody's parameters: named tensors laid end to end in one flat vector.

It copies what it is handed and never writes to it; every loss evaluation gets fresh arrays.
"""

import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from checks.measure.structure import SINGLE, Blocks, Leaf, form_of

Array: TypeAlias = NDArray[Any]
#: A number, an array, or a dict, list, tuple, named tuple or dataclass of structures.
Structure: TypeAlias = float | Array | Mapping[str, Any] | Sequence[Any] | Any

#: What a complex array's gradient is taken to be.
CONVENTION = (
    "the gradient of complex parameters is taken as dJ/dRe + i·dJ/dIm, the way of steepest ascent, as torch gives it; "
    "jax and autograd give its conjugate"
)


class Layout:
    """Where each named tensor lies in the flat vector of ``size`` coordinates, and how to go back.

    ``shapes`` and ``slices`` have the tensors in the order given, which is that of the forward pass. A complex array
    is two of them, ``W.real`` and ``W.imag``. A ``name`` is what their paths begin with.
    """

    def __init__(self, parameters: Structure, name: str = "") -> None:
        self.form = form_of(parameters, name)
        role = f"{name}s" if name else "parameters"
        self._leaves: dict[str, tuple[str, ...]] = {}  # the tensors of each: one, or real and imaginary part
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.slices: dict[str, slice] = {}
        start = 0
        for leaf, value in self.form.leaves(parameters, role):
            array = _array(value, leaf, own=True)
            names = (f"{leaf}.real", f"{leaf}.imag") if array.dtype.kind == "c" else (leaf,)
            for name in names:
                if name in self.shapes or leaf in self._leaves:
                    raise ValueError(
                        f"two {role} have the same name. Expected different names. Received {name!r} twice."
                    )
                self.shapes[name] = array.shape
                self.slices[name] = slice(start, start + array.size)
                start += array.size
            self._leaves[leaf] = names
        #: Whether any of the parameters are complex.
        self.is_complex = len(self._leaves) < len(self.shapes)
        self._places = [(place, self.shapes[name]) for name, place in self.slices.items()]
        self.size = start
        if self.size == 0:
            raise ValueError(f"{role} hold no number. Expected at least one. Received an empty structure.")

    def flatten(self, structure: Structure, role: str, dtype: type[Any] = np.float64) -> Array:
        """Copy a structure of this layout into a flat float64 vector; ``role`` says what it is where it is refused.

        Gradients in a dict may also carry the classic names: ``dW1`` for ``W1``. A complex dtype is for complex values
        of what is real here.
        """
        is_bare = isinstance(self.form, Leaf) and not self.is_complex
        its = (dtype, self._places[0][1])
        if is_bare and type(structure) is np.ndarray and (structure.dtype, structure.shape) == its:
            return structure.flatten()  # as below; of somebody's outputs at every evaluation
        vector = np.empty(self.size, dtype)
        for leaf, value in self.form.leaves(structure, role):
            shape = self.shapes[self._leaves[leaf][0]]
            if value is None:
                one = "the gradient" if role == "gradients" else role
                which = one if leaf == SINGLE else f"{one} of {leaf}"
                raise ValueError(
                    f"{which} is None. Expected an array of shape {shape}, of zeros perhaps. Received None."
                )
            array = _array(value, f"{role} of {leaf}", own=False)
            if array.shape != shape:
                raise ValueError(f"{role} of {leaf} have the wrong shape. Expected {shape}. Received {array.shape}.")
            self._put(vector, leaf, array, role)
        return vector

    def _put(self, vector: Array, leaf: str, array: Array, role: str) -> None:
        real, *imaginary = self._leaves[leaf]
        if vector.dtype.kind == "c":
            self.tensor(vector, real)[...] = array
            return
        if array.dtype.kind == "c" and not imaginary:
            what = leaf if role == "parameters" else f"{role} of {leaf}"
            raise TypeError(
                f"{what} is not made of real numbers. Expected floats or integers. Received dtype {array.dtype}."
            )
        self.tensor(vector, real)[...] = array.real
        for name in imaginary:
            self.tensor(vector, name)[...] = array.imag

    def point(self, parameters: Structure) -> Array:
        """Give `flatten` of the parameters, but without a copy where they have it as their ``vector`` already."""
        vector = getattr(parameters, "vector", None)
        if not isinstance(vector, np.ndarray) or vector.shape != (self.size,) or vector.dtype != np.float64:
            return self.flatten(parameters, "parameters")
        leaves = self.form.leaves(parameters, "parameters")
        if self.is_complex or not all(np.array_equal(vector[self.slices[n]], np.ravel(v)) for n, v in leaves):
            return self.flatten(parameters, "parameters")
        view: Array = vector[:]
        view.flags.writeable = False
        return view

    def unflatten(self, vector: Array) -> Any:
        """Give the structure that the loss takes; its arrays, unless complex, are views into ``vector``."""
        if self.is_complex:
            return self.form.built(self._values(vector))
        # Most evaluations of a foreign loss pass here, and a slope of one costs two.
        if isinstance(self.form, Blocks):
            return vector.reshape(self.form.array.shape)
        return self.form.built(iter([vector[place].reshape(shape) for place, shape in self._places]))

    def _values(self, vector: Array) -> Iterator[Array]:
        for real, *imaginary in self._leaves.values():
            value = self.tensor(vector, real)
            if imaginary:
                if vector.dtype.kind == "c":
                    raise TypeError("they are complex themselves")
                value = value + 1j * self.tensor(vector, imaginary[0])
            yield value

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


def _array(value: Any, role: str, *, own: bool) -> Array:
    """Convert to float64 or complex128, without a copy where it is that; refuse what is not made of numbers.

    Of somebody's ``own`` parameters, those are refused that the loss would get back as another kind of array.
    """
    if own and isinstance(value, _odd()):
        kind = type(value).__name__
        raise TypeError(f"{role} is a {kind}. Expected a plain array, which is what the loss gets. Received np.{kind}.")
    try:
        array = np.asarray(value.toarray() if hasattr(value, "toarray") and not own else value)
    except (ValueError, TypeError, RuntimeError) as error:  # ragged nested lists, a tensor that requires a gradient
        raise ValueError(f"{role} is not an array of numbers. Expected real numbers. Received {error}.") from None
    if array.dtype.kind not in "fiubc":
        got = f"{type(value).__name__}, dtype {array.dtype}"
        raise TypeError(f"{role} is not made of real numbers. Expected floats or integers. Received {got}.")
    return array.astype(np.complex128 if array.dtype.kind == "c" else np.float64, copy=False)


def _odd() -> tuple[type[Any], ...]:
    """Give what has the look of an array and another arithmetic."""
    # Nobody has a masked array who has not loaded them, which takes an eighth of the time that numpy does.
    return (np.matrix, np.ma.MaskedArray) if "numpy.ma" in sys.modules else (np.matrix,)


def one_number(value: Any, kinds: str) -> Any:
    """Take the loss out of its array; refuse what is not one number of these kinds of dtype."""
    if isinstance(value, tuple | list) and len(value) > 1:
        got = f"({', '.join(type(part).__name__ for part in value):.80})"
        expected = "Expected a float: hand over its first element, or, where the second is the gradient, gradients=True"
        raise TypeError(f"the loss gives a {type(value).__name__} of {len(value)}. {expected}. Received {got}.")
    if isinstance(value, float) and "f" in kinds:  # nearly all are, and need no look; np.float64 is one
        return value
    try:
        array = np.asarray(value)
    except ValueError:  # ragged nested lists
        array = np.asarray(None)
    if array.size != 1 or array.dtype.kind not in kinds:
        described = f"{type(value).__name__} of shape {array.shape}, dtype {array.dtype}"
        raise TypeError(f"the loss is not one real number. Expected a float. Received {described}.")
    return array.reshape(())[()]
