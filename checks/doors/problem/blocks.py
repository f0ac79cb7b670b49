"""What people give for a Jacobian, as a matrix with a row for every output and a column for every input."""

import math
from typing import Any

import numpy as np

from checks.doors.problem.contraction import Contraction
from checks.measure.layout import Array


def as_matrix(found: Any, problem: Contraction) -> Any:
    """Give it as it is if it can be multiplied; refuse one that is no matrix, or of another shape."""
    shape = problem.outputs.size, problem.layout.size
    if not (hasattr(found, "toarray") or hasattr(found, "matvec")):
        found = _dense(found, problem)
    if found.shape != shape:
        turned = ", that of its transpose" if found.shape == shape[::-1] else ""
        expected = f"Expected {shape}, a row for every output"
        raise ValueError(f"{problem.door} has the wrong shape. {expected}. Received {found.shape}{turned}.")
    return found


def _dense(found: Any, problem: Contraction) -> Array:
    """Take an array of the outputs' and the input's axes; or blocks, by output and by input, as jax gives them."""
    sides = [list(side.shapes.values()) for side in (problem.outputs, problem.layout)]
    if max(map(len, sides)) > 1 and not hasattr(found, "shape"):
        found = _joined(found, problem)
    array = np.asarray(found)
    if array.dtype.kind not in "fiub":
        got = f"{type(found).__name__}, dtype {array.dtype}"
        raise TypeError(f"{problem.door} is not made of real numbers. Expected a matrix. Received {got}.")
    axes = [shapes[0] if len(shapes) == 1 else (sum(map(math.prod, shapes)),) for shapes in sides]
    return array.reshape(sum(map(math.prod, sides[0])), -1) if array.shape == axes[0] + axes[1] else array


def _joined(found: Any, problem: Contraction) -> Array:
    """Join the blocks of several outputs, or several inputs, or both."""
    outputs, layout = problem.outputs, problem.layout
    (name,) = problem.inputs.moving
    rows = [found] if len(outputs.shapes) == 1 else [row for _, row in outputs.form.leaves(found, problem.door)]
    joined = []
    for row, shape in zip(rows, outputs.shapes.values(), strict=True):
        parts = (
            [row] if len(layout.shapes) == 1 else [part for _, part in layout.form.leaves({name: row}, problem.door)]
        )
        joined.append(np.concatenate([np.reshape(part, (math.prod(shape), -1)) for part in parts], axis=1))
    return np.concatenate(joined)
