"""The objective: somebody's loss as a function of one flat vector, counted and guarded."""

import math
import re
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeAlias

import numpy as np

from checks.layout import Array, Layout
from checks.processes import one_thread, run

Loss: TypeAlias = Callable[[Any], Any]
#: ``(name, step) -> losses``: entry k is the loss with parameter ``name[k]`` increased by ``step[k]``.
CoordinateLosses: TypeAlias = Callable[[str, Any], Array]

EPS = float(np.finfo(np.float64).eps)
#: Rounding of one evaluation, in units of eps·|J|: the constant of the prototype in the project's design,
#: which raised no alarm on 187 correct networks. Where a verdict hangs on it, the noise is measured instead.
ROUNDING = 16.0
#: Evaluations at the same point that differ by more than this many eps·|J| are not one function.
REPEAT = 1e4
#: Coordinates that one process evaluates at a time, the plain way.
TOGETHER = 256
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
        self._sweep = coordinate_losses
        self._sweep_tested: set[str] = set()
        self._value: float | None = None
        self._is_beside = False
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

    def length(self, direction: Array) -> float:
        """Give the length of a direction in units of ``max(1, |theta|)``."""
        return float(np.linalg.norm(direction / self.scale()))

    def at(self, vector: Array) -> float:
        """Evaluate the loss at a real vector; the loss gets fresh arrays and may do with them what it likes."""
        self.evaluations += 1
        # Beside the point the loss may be asked outside its domain: that is the check's doing, not worth a warning.
        with np.errstate(all="ignore" if self._is_beside or vector is not self.point else None):
            try:
                value = self._loss(self.layout.unflatten(vector.copy()))
            except (ArithmeticError, ValueError):
                if not self._is_beside and vector is self.point:
                    raise
                return math.nan  # asked outside its domain: what it says of the point itself is what counts
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
        moved = np.empty(direction.size, np.complex128)
        moved.real = self.point if point is None else point
        np.multiply(step, direction, out=moved.imag)
        return self.complex_at(moved)

    def complex_at(self, vector: Array) -> complex:
        """Evaluate the loss at a complex vector, which it may do with what it likes; see `complex_along`."""
        self.evaluations += 1
        value = complex(self._complex_call(lambda: self._loss(self.layout.unflatten(vector))).reshape(()))
        self.last = value.real
        return value

    def complex_sweep(self, name: str, step: Array) -> Array:
        """Sweep with each coordinate moved by ``i · step``; see `sweeps` and `complex_along`."""
        if self._sweep is not None:
            sweep, shape = self._sweep, self.layout.shapes[name]
            with one_thread():
                losses = self._complex_call(lambda: sweep(name, 1j * step.reshape(shape))).reshape(-1)
            if self._is_faithful(name, 1j * step, losses):
                self.evaluations += step.size
                return losses
        try:
            return self._plain_sweeps([(name, 1j * step)])[0]
        except ComplexRefusedError as refusal:  # in another process, it may be
            self.complex_refusal = str(refusal)
            raise

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
        """Evaluate one sweep; see `sweeps`."""
        return self.sweeps([(name, step)])[0]

    def sweeps(self, wanted: Sequence[tuple[str, Array]]) -> list[Array]:
        """Evaluate the loss with each coordinate of a tensor moved on its own, in `n_jobs` processes.

        Parameters
        ----------
        wanted : sequence of (str, ndarray of shape (n_coordinates,))
            The tensor, and how far each coordinate moves, in the tensor's flat order.

        Returns
        -------
        list of ndarray of shape (n_coordinates,), float64
        """
        if self._sweep is not None:
            calls = [partial(self._sweep, name, step.reshape(self.layout.shapes[name])) for name, step in wanted]
            found = [np.asarray(losses, dtype=np.float64).reshape(-1) for losses in run(calls, self.n_jobs)]
            if all(self._is_faithful(*one, losses) for one, losses in zip(wanted, found, strict=True)):
                self.evaluations += sum(step.size for _, step in wanted)
                return found
        return self._plain_sweeps(wanted)

    def _plain_sweeps(self, wanted: Sequence[tuple[str, Array]]) -> list[Array]:
        """Evaluate sweeps one coordinate at a time, `TOGETHER` of them in a process."""
        alone = self if self.n_jobs == 1 else Objective(self._loss, self.layout, self.point)
        calls = [
            partial(alone.moved_one_by_one, name, start, step[start : start + TOGETHER])
            for name, step in wanted
            for start in range(0, step.size, TOGETHER)
        ]
        found = run(calls, self.n_jobs)
        if alone is not self:
            self.evaluations += sum(losses.size for losses in found)
            self.last = float(found[-1][-1].real)
        ends = np.cumsum([-(-step.size // TOGETHER) for _, step in wanted])
        starts = [0, *ends[:-1]]
        return [np.concatenate(found[start:end] or [np.empty(0)]) for start, end in zip(starts, ends, strict=True)]

    def moved_one_by_one(self, name: str, start: int, step: Array) -> Array:
        """Evaluate the loss with coordinates of one tensor, from ``start`` on, moved on their own."""
        first = self.layout.slices[name].start + start
        losses = np.empty_like(step)
        for position, h in enumerate(step, start=first):
            if step.dtype.kind == "c":
                moved = self.point.astype(np.complex128)
                moved[position] += h
                losses[position - first] = self.complex_at(moved)
            else:
                losses[position - first] = self.moved(name, position - first + start, float(h))
        return losses

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
        slopes = 0.0 if self.gradient is None else np.max(np.abs(self.gradient) * self.scale())
        return ROUNDING * EPS * float(max(1.0, abs(self.value), slopes))

    def nudged(self, rng: np.random.Generator) -> Array:
        """Give the point with every coordinate moved by at most one unit in the last place."""
        nudged: Array = self.point * (1.0 + EPS * rng.integers(-1, 2, size=self.point.size))
        return nudged

    def beside(self, rng: np.random.Generator, distance: float) -> "Objective":
        """Give the same loss at a point beside this one: a random step of this length for each coordinate."""
        jitter = rng.choice([-1.0, 1.0], size=self.point.size) * rng.uniform(0.5, 1.0, size=self.point.size)
        twin = Objective(self._loss, self.layout, self.point + distance * self.scale() * jitter)
        twin._is_beside = True
        return twin

    def spread(self) -> float:
        """Largest change between three evaluations at the same point, in units of the loss."""
        return max(abs(self.at(self.point) - self.value) for _ in range(2))

    def repeats(self) -> bool:
        """Say whether the loss gives the same number at the same point, up to rounding."""
        return self.spread() <= REPEAT * EPS * abs(self.value)

    def _is_faithful(self, name: str, step: Array, losses: Array) -> bool:
        """Compare a fast sweep with the plain way on one coordinate of the tensor; drop it where they differ.

        A subclass may override the loss and inherit the fast way of another: then it must not decide.
        """
        if name in self._sweep_tested or not step.size:
            return True
        position = int(np.argmax(np.abs(self.point[self.layout.slices[name]])))
        fast, plain = losses[position], self.moved_one_by_one(name, position, step[position : position + 1])[0]
        apart = fast - plain
        real = abs(apart.real) <= REPEAT * EPS * max(abs(plain), abs(fast))
        if not (real and abs(apart.imag) <= REPEAT * EPS * np.max(np.abs(losses.imag))):
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
