"""The objective: somebody's loss as a function of one flat vector, at one point, counted and guarded.

Whatever is found out about the loss on the way, its noise, whether it takes complex parameters, whether a faster way
to it is faithful, is kept here, and written here alone.
"""

import contextlib
import math
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Self, TypeAlias

import numpy as np

from checks.measure.difference import euclidean
from checks.measure.layout import CONVENTION, Array, Layout, Structure, one_number
from checks.measure.noise import BOUND, noise_around
from checks.measure.processes import one_thread, run

Loss: TypeAlias = Callable[[Any], Any]
#: Steps by name, of shape (n_steps, *shape), to losses: entry k is the loss with that parameter's entry k moved alone.
CoordinateLosses: TypeAlias = Callable[[Mapping[str, Array]], Mapping[str, Array]]

EPS = float(np.finfo(np.float64).eps)
#: Rounding of one evaluation, in units of eps·|J|, which raised no alarm on 187 correct networks. Where a verdict hangs
#: on it, the noise is measured instead.
ROUNDING = 16.0
#: Evaluations at the same point that differ by more than this many eps·|J| are not one function.
REPEAT = 1e4
#: A loss whose noise is more than this share of it is computed in float16 or bfloat16, or worse.
ROUGH = 2e-5
#: Coordinates that one process evaluates at a time, the plain way. How a sweep is cut depends on its size alone, not on
#: the number of processes, so nor does its result.
TOGETHER = 256

NOT_CLAIMED: Any = object()  # of a gradient, where none is to be compared with the loss


class ComplexRefusedError(Exception):
    """The loss cannot be evaluated at complex parameters; the message says why."""


@dataclass
class _Count:
    """Evaluations so far, of an objective and of those beside it."""

    n: int = 0
    is_elsewhere: bool = False  # whether the last one was at another point than the objective's


class Objective:
    """A loss over the flat vector of a layout, at a point, with the gradient that is claimed of it there.

    ``point`` and ``gradient`` are float64 vectors, never written to. ``coordinate_losses`` is a faster way to the same
    losses, compared with the plain way on one coordinate of every tensor before it is used.
    """

    def __init__(
        self,
        loss: Loss,
        layout: Layout,
        point: Array,
        gradient: Array | None = None,
        *,
        coordinate_losses: CoordinateLosses | None = None,
        gradient_of: Callable[[Any], Structure] | None = None,
        n_jobs: int = 1,
        complex_confirmed: bool = False,
        faithful: set[str] | None = None,
    ) -> None:
        self.layout = layout
        self.point = point
        self.gradient: Array = np.zeros(0) if gradient is None else gradient
        #: The claimed gradient at another vector, as `at` gives the loss; None where it was given as numbers.
        self.gradient_at = None if gradient_of is None else partial(self._gradient_at, gradient_of)
        self.n_jobs = n_jobs
        self.frozen: Array | None = None  # mask of the coordinates that cannot be moved
        self.moves = False  # whether any evaluation at other parameters gave another loss
        self.last = math.nan  # the loss evaluated last: at the point, or within a step of it
        #: Why the complex step cannot be used, once that has been tried.
        self.complex_refusal = "some parameters are complex themselves" if layout.is_complex else None
        self.complex_confirmed = complex_confirmed  # whether it has been held against central differences
        self.notes: list[str] = [CONVENTION] if layout.is_complex else []  # what the reader of the report should know
        self._loss = loss
        self._coordinate_losses = coordinate_losses
        self._faithful: set[str] = set() if faithful is None else faithful  # the tensors at which that is the loss
        self._count = _Count()
        self.is_staircase = False  # whether its noise, once measured, is more than the rounding of the final number
        self.is_rough = False  # whether it is so much more that no single slope tells anything
        self._value: float | None = None
        self._noise: float | None = None
        self._is_beside = False

    @classmethod
    def of(
        cls,
        loss: Loss,
        parameters: Structure,
        gradients: Structure | Callable[[Any], Structure] = NOT_CLAIMED,
        **options: Any,
    ) -> Self:
        """Make one of what users have: parameters, and their gradient or a function that gives it."""
        layout = Layout(parameters)
        point = layout.point(parameters)
        if gradients is NOT_CLAIMED:
            return cls(loss, layout, point, **options)
        claimed = gradients(layout.unflatten(point.copy())) if callable(gradients) else gradients
        options = options | {"gradient_of": gradients if callable(gradients) else None}
        return cls(loss, layout, point, layout.flatten(claimed, "gradients"), **options)

    @property
    def evaluations(self) -> int:
        """Loss evaluations so far; a sweep over a tensor counts one for each coordinate."""
        return self._count.n

    @property
    def value(self) -> float:
        """The loss at the point, evaluated once."""
        if self._value is None:
            self._value = self.at(self.point)
        return self._value

    def scale(self, name: str | None = None) -> Array:
        """How far a unit step goes for each coordinate: ``max(1, |theta|)``, the usual convention."""
        part = self.point if name is None else self.point[self.layout.slices[name]]
        scale = np.maximum(1.0, np.abs(part))
        return scale if self.frozen is None else np.where(np.isfinite(scale), scale, 1.0)

    def freeze(self, frozen: Array) -> None:
        """Leave these coordinates where they are: parameters that are NaN or infinite, at which the loss is finite."""
        self.frozen = frozen
        self.gradient = np.where(frozen, 0.0, self.gradient)
        self.notes.append(f"{frozen.sum()} of {frozen.size} parameters are NaN or infinite, and were not moved")

    def length(self, direction: Array) -> float:
        """Give the length of a direction in units of ``max(1, |theta|)``."""
        return euclidean(direction / self.scale())

    def at(self, vector: Array) -> float:
        """Evaluate the loss at a real vector; the loss gets fresh arrays and may do with them what it likes."""
        # Beside the point the loss may be asked outside its domain: that is the check's doing, and no warning or
        # error; what it says of the point itself is what counts.
        if vector is not self.point or self._is_beside:
            with np.errstate(all="ignore"):
                return self._elsewhere(vector.copy())
        self._count.n, self._count.is_elsewhere = self._count.n + 1, False
        with np.errstate():  # what the loss sets is not to stay set
            return self._kept(self._loss(self.layout.unflatten(vector.copy())))

    def _elsewhere(self, vector: Array) -> float:
        """Hand a vector over to the loss for good, with nobody warned; NaN where it raises, as outside its domain."""
        self._count.n, self._count.is_elsewhere = self._count.n + 1, True
        try:
            value = self._loss(self.layout.unflatten(vector))
        except (MemoryError, OSError):
            raise
        except Exception:  # whatever a foreign loss raises
            return math.nan
        return self._kept(value)

    def _kept(self, value: Any) -> float:
        self.last = float(one_number(value, "fiub"))
        self.moves = self.moves or (self._value is not None and self.last != self._value)
        return self.last

    def stand_back(self) -> None:
        """Evaluate the loss at the point once more, if it was last asked elsewhere."""
        if self._count.is_elsewhere:
            with contextlib.suppress(Exception):  # what it has to say was said
                self.at(self.point)

    def claimed_along(self, direction: Array, step: float) -> float:
        """Give what the gradient claims of the slope along a direction at ``point + step · direction``."""
        gradient_at = self.gradient_at
        return math.nan if gradient_at is None else float(gradient_at(self.point + step * direction) @ direction)

    def _gradient_at(self, gradient_of: Callable[[Any], Structure], vector: Array) -> Array:
        """Ask for the claimed gradient beside the point, NaN where it cannot be had; it counts as an evaluation."""
        self._count.n, self._count.is_elsewhere = self._count.n + 1, True
        with np.errstate(all="ignore"):
            try:
                claimed = gradient_of(self.layout.unflatten(vector.copy()))
            except (MemoryError, OSError):
                raise
            except Exception:  # whatever a foreign gradient raises outside its domain
                return np.full(vector.size, math.nan)
        return self.layout.flatten(claimed, "gradients")

    def along(self, direction: Array, step: float) -> float:
        """Evaluate the loss at ``point + step · direction``."""
        return self.at(self.point + step * direction)

    def complex_along(self, direction: Array, step: float, point: Array | None = None) -> complex:
        """Evaluate the loss at ``point + i · step · direction``; the point is the objective's unless given.

        `ComplexRefusedError` where the loss raises, warns that it drops the imaginary part, or returns a real number.
        """
        moved = np.empty(direction.size, np.complex128)
        moved.real = self.point if point is None else point
        np.multiply(step, direction, out=moved.imag)
        return self.complex_at(moved)

    def complex_at(self, vector: Array) -> complex:
        """Evaluate the loss at a complex vector, which it may do with what it likes; see `complex_along`."""
        self._count.n, self._count.is_elsewhere = self._count.n + 1, True
        value = complex(one_number(self._complex_call(lambda: self._loss(self.layout.unflatten(vector))), "c"))
        self.last = value.real
        return value

    def _complex_call(self, call: Callable[[], Any]) -> Array:
        """Make a call that must give complex numbers; turn whatever goes wrong into a refusal."""
        if self.complex_refusal is None:
            try:
                value = np.asarray(call() if self.complex_confirmed else _without_warning(call))
            except (MemoryError, OSError):  # says nothing about the loss, and is not to be swallowed
                raise
            except Exception as error:  # whatever else a foreign loss raises, it is an answer: no complex step
                self.complex_refusal = _why_not_complex(error)
            else:
                if value.dtype.kind == "c":
                    return value
                self.complex_refusal = (
                    "the loss returned a real number for complex parameters: it drops the imaginary part"
                )
        raise ComplexRefusedError(self.complex_refusal)

    def refuse_complex(self, reason: str) -> None:
        """Keep why the complex step is not to be used from here on; the first reason counts."""
        self.complex_refusal = self.complex_refusal or reason

    def confirm_complex(self) -> None:
        """Keep that the complex step was held against central differences, unless it is refused."""
        self.complex_confirmed = self.complex_refusal is None

    # Other points.

    def nudged(self, rng: "np.random.Generator") -> Array:
        """Give the point with every coordinate moved by at most one unit in the last place."""
        nudged: Array = self.point * (1.0 + EPS * rng.integers(-1, 2, size=self.point.size))
        return nudged

    def moved(self, direction: Array, step: float) -> "Objective":
        """Give the same loss, counted here, at ``point + step · direction``."""
        return self._twin(self.point + step * direction)

    def beside(self, rng: "np.random.Generator", distance: float) -> "Objective":
        """Give the same loss, counted here, at a point beside: a random step of this length for each coordinate."""
        jitter = rng.random(self.point.size) - 0.5
        jitter += np.copysign(0.5, jitter)  # uniform between 0.5 and 1 on either side
        return self._twin(self.point + distance * self.scale() * jitter)

    def _twin(self, point: Array) -> "Objective":
        twin = Objective(self._loss, self.layout, point)
        twin._is_beside, twin._count = True, self._count
        return twin

    # Sweeps: the loss with each coordinate of one tensor moved on its own, in as many processes as asked for.

    def moved_losses(self, steps: Mapping[str, Array]) -> dict[str, Array]:
        """Evaluate sweeps: for each tensor, how far its coordinates move, in flat order; (n_steps, size)."""
        fast, shapes = self._coordinate_losses, self.layout.shapes
        if fast is not None:
            shaped = {name: step.reshape(len(step), *shapes[name]) for name, step in steps.items()}
            jobs = [shaped] if self.n_jobs == 1 else [{n: step[None]} for n, h in shaped.items() for step in h]
            parts = run([partial(fast, job) for job in jobs], self.n_jobs)
            pieces = {name: [part[name] for part in parts if name in part] for name in steps}
            found = {name: np.concatenate(pieces[name]).reshape(step.shape) for name, step in steps.items()}
            if all(self._is_faithful(name, steps[name][0], losses[0]) for name, losses in found.items()):
                self._count.n += sum(step.size for step in steps.values())
                return found
        wanted = [(name, step) for name, several in steps.items() for step in several]
        plain = np.concatenate([np.empty(0), *self._one_by_one(wanted)])
        ends = np.cumsum([step.size for step in steps.values()])
        return {name: part.reshape(steps[name].shape) for name, part in zip(steps, np.split(plain, ends), strict=False)}

    def complex_losses(self, name: str, step: Array) -> Array:
        """Evaluate the loss with each coordinate moved by ``i · step``, or raise `ComplexRefusedError`."""
        fast = self._coordinate_losses
        if fast is not None:
            shape = self.layout.shapes[name]
            with one_thread():
                losses = self._complex_call(lambda: fast({name: 1j * step.reshape(1, *shape)})[name]).reshape(-1)
            if self._is_faithful(name, 1j * step, losses):
                self._count.n += step.size
                return losses
        try:
            return self._one_by_one([(name, 1j * step)])[0]
        except ComplexRefusedError as refusal:  # in another process, it may be
            self.complex_refusal = str(refusal)
            raise

    def _one_by_one(self, wanted: Sequence[tuple[str, Array]]) -> list[Array]:
        """Evaluate sweeps one coordinate at a time, `TOGETHER` of them in a process."""
        # To another process goes the same loss at the same point with nothing else.
        there = self if self.n_jobs == 1 else Objective(self._loss, self.layout, self.point)
        calls = [
            partial(there._moved, name, start, step[start : start + TOGETHER])
            for name, step in wanted
            for start in range(0, step.size, TOGETHER)
        ]
        found = run(calls, self.n_jobs)
        if there is not self and found:
            self._count.n += sum(losses.size - 1 for losses in found)
            self.last, self._count.is_elsewhere = float(found[-1][-1].real), True  # as if it had been here
        losses = np.concatenate([np.empty(0), *(piece[:-1] for piece in found)])
        return np.split(losses, np.cumsum([step.size for _, step in wanted])[:-1])

    def _moved(self, name: str, start: int, step: Array) -> Array:
        """Evaluate the loss with coordinates of one tensor, from ``start`` on, moved alone; add its last value."""
        first = self.layout.slices[name].start + start
        losses = np.empty(step.size + 1, step.dtype)
        is_real, point = step.dtype.kind == "f", self.point.astype(step.dtype)
        evaluate = self._elsewhere if is_real else self.complex_at
        with np.errstate(all="ignore" if is_real else None):  # once for all: it costs as much as a short loss
            for number, h in enumerate(step, first):
                moved = point.copy()
                moved[number] += h
                losses[number - first] = evaluate(moved)
        losses[-1] = self.last
        return losses

    def _is_faithful(self, name: str, step: Array, losses: Array) -> bool:
        """Compare a fast sweep with the plain way on one coordinate of the tensor; drop it where they differ.

        A subclass may override the loss and inherit the fast way of another. An imaginary part is a slope.
        """
        if name in self._faithful or not step.size:
            return True
        position = int(np.argmax(np.abs(self.point[self.layout.slices[name]])))
        fast, plain = losses[position], self._moved(name, position, step[position : position + 1])[0]
        apart = fast - plain
        real = abs(apart.real) <= REPEAT * EPS * max(abs(plain), abs(fast))
        if not (real and abs(apart.imag) <= REPEAT * EPS * np.max(np.abs(losses.imag))):
            self.notes.append(
                f"coordinate_losses differs from the loss at {self.layout.label(name, position)} "
                f"({fast:.9g} against {plain:.9g}); it was not used"
            )
            self._coordinate_losses = None
            return False
        self._faithful.add(name)
        return True

    # Noise: what rounding does to one evaluation, measured where a verdict hangs on it.

    @property
    def noise(self) -> float:
        """Bound on the rounding error of one evaluation, measured around the point along a random direction, once."""
        if self._noise is None:
            rng = np.random.default_rng(0)  # where it is measured is no secret and needs no seed
            direction = self.scale() * rng.uniform(-1.0, 1.0, self.point.size)
            direction /= self.length(direction) or 1.0
            unit, around = EPS * abs(self.value), noise_around(partial(self.along, direction), self.value, rng)
            self._noise = max(BOUND * unit, around)
            self.is_staircase = around > REPEAT * unit
            self.is_rough = around > ROUGH * abs(self.value)
            if self.is_staircase:
                self.notes.append(
                    f"the loss moves in steps of about {around / BOUND:.1g}: is it computed in single precision, "
                    "or from a difference of large numbers"
                )
        return self._noise

    def floor(self, *, asked: bool = True) -> float:
        """Bound the rounding inside a gradient, along a direction of unit length in units of ``max(1, |theta|)``.

        A backward pass makes small slopes out of differences of larger numbers, of which only the final result is
        seen here. Those numbers are taken to be as large as the largest slope; and as 1 and the loss, where it
        is not ``asked`` at other points what they are, cannot be, or is zero everywhere.
        """
        slopes = float(np.max(np.abs(self.gradient) * self.scale())) if self.gradient.size else 0.0
        known = self.gradient_at is not None and slopes > 0.0 and asked
        return ROUNDING * EPS * (slopes if known else max(1.0, abs(self.value), slopes))

    def spread(self) -> float:
        """Give the largest change between three evaluations at the same point, in units of the loss."""
        return max(abs(self.at(self.point) - self.value) for _ in range(2))

    def repeats(self) -> bool:
        """Say whether the loss gives the same number at the same point, up to rounding."""
        return self.spread() <= REPEAT * EPS * abs(self.value)


def _without_warning(call: Callable[[], Any]) -> Any:
    """Make a call in which it is an error to drop an imaginary part: dear, so a confirmed loss is not watched."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", np.exceptions.ComplexWarning)
        return call()


def _why_not_complex(error: Exception) -> str:
    text = str(error).splitlines()[0] if str(error) else type(error).__name__
    ufunc = re.search(r"ufunc '(\w+)'", text)
    if ufunc:
        return f"`np.{ufunc.group(1)}` does not take complex numbers"
    if isinstance(error, np.exceptions.ComplexWarning):
        return "the loss casts complex numbers to real ones and drops the imaginary part"
    return f"the loss does not take complex parameters ({type(error).__name__}: {text})"
