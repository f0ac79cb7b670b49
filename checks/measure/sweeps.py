"""Sweeps: the loss with each coordinate of one tensor moved on its own, in as many processes as asked for.

How the work is cut depends on its size alone, not on the number of processes, so nor does the result.
"""

from collections.abc import Sequence
from functools import partial

import numpy as np

from checks.measure.layout import Array
from checks.measure.objective import EPS, REPEAT, ComplexRefusedError, Objective
from checks.measure.processes import one_thread, run

#: Coordinates that one process evaluates at a time, the plain way.
TOGETHER = 256


def moved_losses(objective: Objective, wanted: Sequence[tuple[str, Array]]) -> list[Array]:
    """Evaluate the loss with each coordinate of a tensor moved on its own.

    Parameters
    ----------
    objective : Objective
        The loss; its count of evaluations goes on, wherever they are made.
    wanted : sequence of (str, ndarray of shape (n_coordinates,))
        The tensor, and how far each coordinate moves, in the tensor's flat order.

    Returns
    -------
    list of ndarray of shape (n_coordinates,), float64
    """
    if objective.coordinate_losses is not None:
        shapes = objective.layout.shapes
        calls = [partial(objective.coordinate_losses, name, step.reshape(shapes[name])) for name, step in wanted]
        found = [np.asarray(losses, dtype=np.float64).reshape(-1) for losses in run(calls, objective.n_jobs)]
        if all(_is_faithful(objective, *one, losses) for one, losses in zip(wanted, found, strict=True)):
            objective.evaluations += sum(step.size for _, step in wanted)
            return found
    return _one_by_one(objective, wanted)


def complex_losses(objective: Objective, name: str, step: Array) -> Array:
    """Evaluate the loss with each coordinate moved by ``i · step``.

    Raises
    ------
    ComplexRefusedError
        If the loss does not take complex parameters.
    """
    fast = objective.coordinate_losses
    if fast is not None:
        shape = objective.layout.shapes[name]
        with one_thread():
            losses = objective.complex_call(lambda: fast(name, 1j * step.reshape(shape))).reshape(-1)
        if _is_faithful(objective, name, 1j * step, losses):
            objective.evaluations += step.size
            return losses
    try:
        return _one_by_one(objective, [(name, 1j * step)])[0]
    except ComplexRefusedError as refusal:  # in another process, it may be
        objective.complex_refusal = str(refusal)
        raise


def _one_by_one(objective: Objective, wanted: Sequence[tuple[str, Array]]) -> list[Array]:
    """Evaluate sweeps one coordinate at a time, `TOGETHER` of them in a process."""
    there = objective if objective.n_jobs == 1 else objective.alone()
    calls = [
        partial(_moved, there, name, start, step[start : start + TOGETHER])
        for name, step in wanted
        for start in range(0, step.size, TOGETHER)
    ]
    found = run(calls, objective.n_jobs)
    if there is not objective and found:
        objective.evaluations += sum(losses.size - 1 for losses in found)
        objective.last = float(found[-1][-1].real)
    losses = np.concatenate([np.empty(0), *(piece[:-1] for piece in found)])
    return np.split(losses, np.cumsum([step.size for _, step in wanted])[:-1])


def _moved(objective: Objective, name: str, start: int, step: Array) -> Array:
    """Evaluate the loss with coordinates of one tensor, from ``start`` on, moved on their own; add its last value."""
    first = objective.layout.slices[name].start + start
    losses = np.empty(step.size + 1, step.dtype)
    for number, h in enumerate(step):
        moved = objective.point.astype(step.dtype)
        moved[first + number] += h
        losses[number] = objective.complex_at(moved) if moved.dtype.kind == "c" else objective.at(moved)
    losses[-1] = objective.last
    return losses


def _is_faithful(objective: Objective, name: str, step: Array, losses: Array) -> bool:
    """Compare a fast sweep with the plain way on one coordinate of the tensor; drop it where they differ.

    A subclass may override the loss and inherit the fast way of another: then it must not decide. An imaginary part
    is a slope, and is held against the largest of them.
    """
    if name in objective.faithful or not step.size:
        return True
    position = int(np.argmax(np.abs(objective.point[objective.layout.slices[name]])))
    fast, plain = losses[position], _moved(objective, name, position, step[position : position + 1])[0]
    apart = fast - plain
    real = abs(apart.real) <= REPEAT * EPS * max(abs(plain), abs(fast))
    if not (real and abs(apart.imag) <= REPEAT * EPS * np.max(np.abs(losses.imag))):
        objective.notes.append(
            f"coordinate_losses differs from the loss at {objective.layout.label(name, position)} "
            f"({fast:.9g} against {plain:.9g}); it was not used"
        )
        objective.coordinate_losses = None
        return False
    objective.faithful.add(name)
    return True
