"""Rows looked at one by one, to tell mistakes apart that look alike in their sum over the rows."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from checks.explain.mistake import Kind, Mistake
from checks.judge.full import measure
from checks.measure.layout import Array
from checks.measure.objective import Loss, Objective
from checks.options import Options

#: Relative difference beyond which one row's entry counts as wrong.
ROW_THRESHOLD = 1e-5
ROWS_A_CLASS = 6


def explain_by_rows(
    row_case: Callable[[int], tuple[Loss, Callable[[Any], Any]]],
    classes: Array,
    parameters: Any,
    names: Sequence[str],
) -> Mistake | None:
    """Check the bias of the first failing layer on single rows, whose loss and gradients ``row_case`` gives.

    The bias of a layer is what flows into it, summed over the rows: for one row it is the flow itself. CLASS if the
    rows of one class only are wrong; ACTIVATION if a unit is wrong where it is inactive.
    """
    name = names[0]
    if np.ndim(parameters[name]) != 1:
        return None
    rows = _Rows()
    for label in (0, 1):
        for row in np.flatnonzero(classes == label)[:ROWS_A_CLASS]:
            loss, gradients = row_case(int(row))
            objective = Objective.of(loss, parameters, gradients)
            gradient = objective.gradient[objective.layout.slices[name]]
            rows.add(label, gradient, measure(objective, name, Options(derivative="complex"))[0])
    return rows.class_mistake(name) or rows.activation_mistake(name)


class _Rows:
    """What single rows showed of the bias of one layer."""

    def __init__(self) -> None:
        self.factors: dict[int, list[float]] = {0: [], 1: []}
        self.leaks = 0
        self.active_errors = 0

    def add(self, label: int, gradient: Array, numerical: Array) -> None:
        """Add one row of a class."""
        wrong = np.abs(gradient - numerical) > ROW_THRESHOLD * (np.abs(gradient) + np.abs(numerical)).max()
        self.leaks += int(np.sum(wrong & (numerical == 0.0)))
        self.active_errors += int(np.sum(wrong & (numerical != 0.0) & (gradient != 0.0)))
        if numerical.any():
            factor = float(gradient @ numerical / (numerical @ numerical))
            scaled = np.abs(gradient - factor * numerical).max() <= ROW_THRESHOLD * np.abs(gradient).max()
            self.factors[label].append(factor if scaled else float("nan"))

    def class_mistake(self, name: str) -> Mistake | None:
        """Recognise one factor for each class, and not the same one."""
        means = {label: float(np.mean(found)) for label, found in self.factors.items() if found}
        steady = all(
            np.ptp(found) <= ROW_THRESHOLD * abs(means[label]) for label, found in self.factors.items() if found
        )
        if len(means) < 2 or not steady or abs(means[0] - means[1]) <= ROW_THRESHOLD * abs(means[1]):
            return None
        sentence = (
            f"{name}: row by row, backprop is {means[0]:.4g} × the numerical gradient where the target is 0 and "
            f"{means[1]:.4g} × where it is 1. Class weight: look at how the loss's gradient weighs the two classes."
        )
        return Mistake(Kind.CLASS, sentence)

    def activation_mistake(self, name: str) -> Mistake | None:
        """Recognise units that pass a gradient where they are inactive."""
        if not self.leaks or self.active_errors:
            return None
        layer = "".join(c for c in name if c.isdigit())
        sentence = (
            f"{name}: row by row, backprop is wrong only where a unit is inactive (there the numerical gradient is "
            f"zero). Activation: look at the mask, the derivative of the activation of layer {layer}."
        )
        return Mistake(Kind.ACTIVATION, sentence)
