"""The objective: somebody's loss as a function of one flat vector, counted and guarded."""

import re
import warnings
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np

from checks.layout import Array, Layout

Loss: TypeAlias = Callable[[Any], Any]
#: ``(name, step) -> losses``: entry k is the loss with parameter ``name[k]`` increased by ``step[k]``.
CoordinateLosses: TypeAlias = Callable[[str, Any], Array]

EPS = float(np.finfo(np.float64).eps)
#: Rounding of one evaluation, in units of eps·|J|: the constant of the prototype in the project's design,
#: which raised no alarm on 187 correct networks. Where a verdict hangs on it, the noise is measured instead.
ROUNDING = 16.0
#: Evaluations at the same point that differ by more than this many eps·|J| are not one function.
REPEAT = 1e4
#: How far the search for the grain of the loss goes, in units of max(1, |theta|).
FAR = 1e-3


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

    Attributes
    ----------
    evaluations : int
        Loss evaluations so far; a sweep over a tensor counts one for each coordinate.
    last : float
        The loss evaluated last: at the point, or within a step of it.
    largest_slope : float
        Largest entry of the gradient under test, times ``max(1, |theta|)``.
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
    ) -> None:
        self.layout = layout
        self.point = point
        self.evaluations = 0
        self.last = float("nan")
        self.largest_slope = 0.0
        self.complex_refusal: str | None = None
        self.complex_confirmed = False
        self.notes: list[str] = []
        self._loss = loss
        self._sweep = coordinate_losses
        self._sweep_tested: set[str] = set()
        self._value: float | None = None
        self._noise: float | None = None

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

    def at(self, vector: Array) -> float:
        """Evaluate the loss at a real vector; the loss gets fresh arrays and may do with them what it likes."""
        self.evaluations += 1
        # Beside the point the loss may be asked outside its domain: that is the check's doing, not worth a warning.
        with np.errstate(all=None if vector is self.point else "ignore"):
            value = self._loss(self.layout.unflatten(vector.copy()))
        if np.ndim(value) != 0 and np.size(value) == 1:
            value = np.asarray(value).reshape(())[()]
        if np.ndim(value) != 0 or np.asarray(value).dtype.kind not in "fiub":
            described = f"{type(value).__name__} of shape {np.shape(value)}, dtype {np.asarray(value).dtype}"
            raise TypeError(f"the loss is not one real number. Expected a float. Received {described}.")
        self.last = float(value)
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
        self.evaluations += 1
        moved = (self.point if point is None else point) + 1j * step * direction
        value = complex(self._complex_call(lambda: self._loss(self.layout.unflatten(moved))).reshape(()))
        self.last = value.real
        return value

    def complex_sweep(self, name: str, step: Array) -> Array:
        """Sweep with each coordinate moved by ``i · step``; see `sweep` and `complex_along`."""
        if self._sweep is not None and self._sweep_is_faithful(name):
            sweep, shape = self._sweep, self.layout.shapes[name]
            self.evaluations += step.size
            return self._complex_call(lambda: sweep(name, 1j * step.reshape(shape))).reshape(-1)
        unit = np.zeros(self.layout.size)
        losses = np.empty(step.size, dtype=np.complex128)
        start = self.layout.slices[name].start
        for position in range(step.size):
            unit[start + position] = 1.0
            losses[position] = self.complex_along(unit, step[position])
            unit[start + position] = 0.0
        return losses

    def _complex_call(self, call: Callable[[], Any]) -> Array:
        """Make a call that must give complex numbers; turn whatever goes wrong into a refusal."""
        if self.complex_refusal is None:
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("error", np.exceptions.ComplexWarning)
                    value = np.asarray(call())
            except Exception as error:  # whatever a foreign loss raises, it is an answer: no complex step
                self.complex_refusal = _why_not_complex(error)
            else:
                if value.dtype.kind == "c":
                    return value
                self.complex_refusal = (
                    "the loss returned a real number for complex parameters: it drops the imaginary part"
                )
        raise ComplexRefusedError(self.complex_refusal)

    def sweep(self, name: str, step: Array) -> Array:
        """Evaluate the loss with each coordinate of one tensor moved on its own.

        Parameters
        ----------
        name : str
            The tensor.
        step : ndarray of shape (n_coordinates,), float64
            How far each coordinate moves, in the tensor's flat order.

        Returns
        -------
        ndarray of shape (n_coordinates,), float64
        """
        if self._sweep is not None and self._sweep_is_faithful(name):
            self.evaluations += step.size
            shape = self.layout.shapes[name]
            return np.asarray(self._sweep(name, step.reshape(shape)), dtype=np.float64).reshape(-1)
        return np.array([self.moved(name, position, float(h)) for position, h in enumerate(step)])

    def moved(self, name: str, position: int, step: float) -> float:
        """Evaluate the loss with one coordinate of one tensor increased by ``step``."""
        vector = self.point.copy()
        vector[self.layout.slices[name].start + position] += step
        return self.at(vector)

    def noise(self) -> float:
        """Bound the rounding error of one evaluation, by measuring it near the point.

        The loss is evaluated where every coordinate is moved by at most one unit in the last place: what
        it changes by cannot be told from rounding. Three such evaluations, kept; and where it does not change at
        all, those of `_grain`.
        """
        if self._noise is None:
            rng = np.random.default_rng(0)  # which last places are moved is no secret and needs no seed
            moved = [self.at(self.nudged(rng)) - self.value for _ in range(3)]
            unit, change = EPS * abs(self.value), max(map(abs, moved))
            grain = self._grain(rng) if change == 0.0 else 0.0
            self._noise = max(ROUNDING * unit, 4.0 * grain, 4.0 * change)
            if grain > REPEAT * unit:
                self._noise = ROUNDING * grain
                self.notes.append(f"the loss moves in steps of {grain:.1g}: is it computed in single precision")
        return self._noise

    def _grain(self, rng: np.random.Generator) -> float:
        """Give the smallest change that the loss shows as the point moves away, at first by a last place only.

        It is about a last place of the loss, and far more where the loss is computed in single precision, or
        rounded, or something large is added and taken away.
        """
        direction = self.scale() * rng.uniform(-1.0, 1.0, self.point.size)
        step = EPS
        while step < FAR:
            change = abs(self.at(self.point + step * direction) - self.value)
            if change > 0.0:  # at the first step already, it is a slope and says nothing
                return change if step > EPS else 0.0
            step *= 8.0
        return 0.0

    def floor(self) -> float:
        """Bound the rounding inside a gradient, along a direction of unit length in units of ``max(1, |theta|)``.

        A backward pass makes small slopes out of differences of larger numbers, of which only the final result
        is seen here. Those numbers are taken to be as large as 1, the loss, or the largest slope.
        """
        return ROUNDING * EPS * max(1.0, abs(self.value), self.largest_slope)

    def nudged(self, rng: np.random.Generator) -> Array:
        """Give the point with every coordinate moved by at most one unit in the last place."""
        nudged: Array = self.point * (1.0 + EPS * rng.integers(-1, 2, size=self.point.size))
        return nudged

    def beside(self, rng: np.random.Generator, distance: float) -> "Objective":
        """Give the same loss at a point beside this one: a random step of this length for each coordinate."""
        jitter = rng.choice([-1.0, 1.0], size=self.point.size) * rng.uniform(0.5, 1.0, size=self.point.size)
        return Objective(self._loss, self.layout, self.point + distance * self.scale() * jitter)

    def spread(self) -> float:
        """Largest change between four evaluations at the same point, in units of the loss."""
        return max(abs(self.at(self.point) - self.value) for _ in range(3))

    def repeats(self) -> bool:
        """Say whether the loss gives the same number at the same point, up to rounding."""
        return self.spread() <= REPEAT * EPS * abs(self.value)

    def _sweep_is_faithful(self, name: str) -> bool:
        """Compare the fast sweep with the plain way on one coordinate; drop it where they differ.

        A subclass may override the loss and inherit the fast way of another: then it must not decide.
        """
        if name in self._sweep_tested:
            return True
        if self._sweep is None:
            return False
        position = int(np.argmax(np.abs(self.point[self.layout.slices[name]])))
        fast = float(np.asarray(self._sweep(name, np.full(self.layout.shapes[name], 1e-3))).ravel()[position])
        plain = self.moved(name, position, 1e-3)
        if not abs(fast - plain) <= REPEAT * EPS * max(abs(plain), abs(fast)):
            self.notes.append(
                f"coordinate_losses differs from the loss at {self.layout.label(name, position)} "
                f"({fast:.9g} against {plain:.9g}); it was not used"
            )
            self._sweep = None
            return False
        self._sweep_tested.add(name)
        return True


def _why_not_complex(error: Exception) -> str:
    text = str(error).splitlines()[0] if str(error) else type(error).__name__
    ufunc = re.search(r"ufunc '(\w+)'", text)
    if ufunc:
        return f"`np.{ufunc.group(1)}` does not take complex numbers"
    if isinstance(error, np.exceptions.ComplexWarning):
        return "the loss casts complex numbers to real ones and drops the imaginary part"
    return f"the loss does not take complex parameters ({type(error).__name__}: {text})"
