"""The objective: somebody's loss as a function of one flat vector, counted and guarded."""

import math
import re
import warnings
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np

from checks.measure.layout import Array, Layout

Loss: TypeAlias = Callable[[Any], Any]
#: ``(name, step) -> losses``: entry k is the loss with parameter ``name[k]`` increased by ``step[k]``.
CoordinateLosses: TypeAlias = Callable[[str, Any], Array]

EPS = float(np.finfo(np.float64).eps)
#: Rounding of one evaluation, in units of eps·|J|: the constant of the prototype in the project's design,
#: which raised no alarm on 187 correct networks. Where a verdict hangs on it, the noise is measured instead.
ROUNDING = 16.0
#: Evaluations at the same point that differ by more than this many eps·|J| are not one function.
REPEAT = 1e4


class ComplexRefusedError(Exception):
    """The loss cannot be evaluated at complex parameters; the message says why."""


class Objective:
    """A loss over the flat vector of a layout, at one point.

    Parameters
    ----------
    loss : callable
        Takes the parameters in their own structure, returns one real number.
    layout : Layout
        Where each tensor lies.
    point : ndarray of shape (n_parameters,), float64
        The parameters at which the gradient is checked; never written to.
    coordinate_losses : callable, optional
        A faster way to the same numbers, all coordinates of one tensor at once. It is compared with the
        plain way on one coordinate of every tensor before it is used.
    n_jobs : int, default=1
        Processes for sweeps, as in joblib.

    Attributes
    ----------
    evaluations : int
        Loss evaluations so far; a sweep over a tensor counts one for each coordinate.
    last : float
        The loss evaluated last: at the point, or within a step of it.
    gradient : ndarray of shape (n_parameters,), or None
        The gradient under test, for the size of the numbers in it.
    coordinate_losses : callable or None
        As given; None from where it was found to differ from the loss.
    faithful : set of str
        The tensors at which it was found not to.
    noise : float or None
        Bound on the rounding of one evaluation, once `checks.measure.noise` has measured it.
    complex_refusal : str or None
        Why the complex step cannot be used, once that has been tried.
    complex_confirmed : bool
        Whether the complex step has been held against central differences.
    notes : list of str
        What the reader of the report should know.
    """

    def __init__(
        self,
        loss: Loss,
        layout: Layout,
        point: Array,
        coordinate_losses: CoordinateLosses | None = None,
        n_jobs: int = 1,
    ) -> None:
        self.layout = layout
        self.n_jobs = n_jobs
        self.point = point
        self.evaluations = 0
        self.last = float("nan")
        self.gradient: Array | None = None
        self.complex_refusal: str | None = None
        self.complex_confirmed = False
        self.notes: list[str] = []
        self._loss = loss
        self.coordinate_losses = coordinate_losses
        self.faithful: set[str] = set()
        self._value: float | None = None
        self._is_beside = False
        self.noise: float | None = None

    @property
    def value(self) -> float:
        """The loss at the point, evaluated once."""
        if self._value is None:
            self._value = self.at(self.point)
        return self._value

    def scale(self, name: str | None = None) -> Array:
        """How far a unit step goes for each coordinate: ``max(1, |theta|)``, the usual convention."""
        part = self.point if name is None else self.point[self.layout.slices[name]]
        return np.maximum(1.0, np.abs(part))

    def length(self, direction: Array) -> float:
        """Give the length of a direction in units of ``max(1, |theta|)``."""
        return float(np.linalg.norm(direction / self.scale()))

    def at(self, vector: Array) -> float:
        """Evaluate the loss at a real vector; the loss gets fresh arrays and may do with them what it likes."""
        self.evaluations += 1
        # Beside the point the loss may be asked outside its domain: that is the check's doing, and no warning or
        # error; what it says of the point itself is what counts.
        is_point = vector is self.point and not self._is_beside
        with np.errstate(all=None if is_point else "ignore"):
            try:
                value = self._loss(self.layout.unflatten(vector.copy()))
            except (ArithmeticError, ValueError):
                if is_point:
                    raise
                return math.nan
        self.last = float(_one_number(value, "fiub"))
        return self.last

    def along(self, direction: Array, step: float) -> float:
        """Evaluate the loss at ``point + step · direction``."""
        return self.at(self.point + step * direction)

    def complex_along(self, direction: Array, step: float, point: Array | None = None) -> complex:
        """Evaluate the loss at ``point + i · step · direction``; the point is the objective's unless given.

        Raises
        ------
        ComplexRefusedError
            If the loss raises, warns that it drops the imaginary part, or returns a real number.
        """
        moved = np.empty(direction.size, np.complex128)
        moved.real = self.point if point is None else point
        np.multiply(step, direction, out=moved.imag)
        return self.complex_at(moved)

    def complex_at(self, vector: Array) -> complex:
        """Evaluate the loss at a complex vector, which it may do with what it likes; see `complex_along`."""
        self.evaluations += 1
        value = complex(_one_number(self.complex_call(lambda: self._loss(self.layout.unflatten(vector))), "c"))
        self.last = value.real
        return value

    def complex_call(self, call: Callable[[], Any]) -> Array:
        """Make a call that must give complex numbers; turn whatever goes wrong into a refusal."""
        if self.complex_refusal is None:
            try:
                value = np.asarray(call() if self.complex_confirmed else _without_warning(call))
            except Exception as error:  # whatever a foreign loss raises, it is an answer: no complex step
                self.complex_refusal = _why_not_complex(error)
            else:
                if value.dtype.kind == "c":
                    return value
                self.complex_refusal = (
                    "the loss returned a real number for complex parameters: it drops the imaginary part"
                )
        raise ComplexRefusedError(self.complex_refusal)

    def moved(self, name: str, position: int, step: float) -> float:
        """Evaluate the loss with one coordinate of one tensor increased by ``step``."""
        vector = self.point.copy()
        vector[self.layout.slices[name].start + position] += step
        return self.at(vector)

    def nudged(self, rng: np.random.Generator) -> Array:
        """Give the point with every coordinate moved by at most one unit in the last place."""
        nudged: Array = self.point * (1.0 + EPS * rng.integers(-1, 2, size=self.point.size))
        return nudged

    def alone(self) -> "Objective":
        """Give the same loss at the same point with nothing else, to be sent to another process."""
        return Objective(self._loss, self.layout, self.point)

    def beside(self, rng: np.random.Generator, distance: float) -> "Objective":
        """Give the same loss at a point beside this one: a random step of this length for each coordinate."""
        jitter = rng.random(self.point.size) - 0.5
        jitter += np.copysign(0.5, jitter)  # uniform between 0.5 and 1 on either side
        twin = Objective(self._loss, self.layout, self.point + distance * self.scale() * jitter)
        twin._is_beside = True
        return twin


def _without_warning(call: Callable[[], Any]) -> Any:
    """Make a call in which it is an error to drop an imaginary part.

    Looking out for that costs a check within a run some twenty microseconds; a confirmed loss is no longer watched.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("error", np.exceptions.ComplexWarning)
        return call()


def _one_number(value: Any, kinds: str) -> Any:
    """Take the loss out of its array; refuse what is not one number of these kinds of dtype."""
    try:
        array = np.asarray(value)
    except ValueError:  # ragged nested lists
        array = np.asarray(None)
    if array.size != 1 or array.dtype.kind not in kinds:
        described = f"{type(value).__name__} of shape {array.shape}, dtype {array.dtype}"
        raise TypeError(f"the loss is not one real number. Expected a float. Received {described}.")
    return array.reshape(())[()]


def _why_not_complex(error: Exception) -> str:
    text = str(error).splitlines()[0] if str(error) else type(error).__name__
    ufunc = re.search(r"ufunc '(\w+)'", text)
    if ufunc:
        return f"`np.{ufunc.group(1)}` does not take complex numbers"
    if isinstance(error, np.exceptions.ComplexWarning):
        return "the loss casts complex numbers to real ones and drops the imaginary part"
    return f"the loss does not take complex parameters ({type(error).__name__}: {text})"
