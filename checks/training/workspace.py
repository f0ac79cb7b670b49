"""Workspace: storage that the checks of one run share, so that a check of a direction allocates next to nothing."""

import time
from typing import Any

import numpy as np

from checks.check import compare
from checks.measure.layout import Array, Layout
from checks.measure.objective import Objective
from checks.report.report import GradientReport
from checks.training.probe import Probe, Sampler, State


class Workspace:
    """Draws and checks the probes of one run.

    Parameters
    ----------
    parameters : Parameters
        Of the run: a mapping with a flat ``vector`` and ``astype``.
    keeps_gradient : bool
        Whether reports keep the gradient, so that each needs one of its own.

    Attributes
    ----------
    gradient : ndarray of shape (n_parameters,)
        Of the last check.
    """

    def __init__(self, parameters: Any, *, keeps_gradient: bool) -> None:
        self._layout = Layout(parameters)
        self._point = parameters.astype(np.float64)
        self._lent = self._point.copy()  # what the network may write to
        self._out = None if keeps_gradient else self._point.copy()
        self.gradient: Array = np.zeros(0)

    def draw(self, state: State, sampler: Sampler, rng: np.random.Generator, *, frozen: bool) -> Probe:
        """Draw a fresh probe; it holds until the next is drawn."""
        return Probe.draw(state, sampler, rng, frozen=frozen, parameters=self._point)

    def check(
        self, probe: Probe, rng: np.random.Generator, *, terms: bool, complex_confirmed: bool, **options: Any
    ) -> GradientReport:
        """Compare backprop on the probe with the loss there; the options are those of `check_gradients`, valid."""
        started = time.perf_counter()
        self._lent.vector[...] = self._point.vector
        claimed = probe.gradients(self._lent, *([] if self._out is None else [self._out]))
        if self._out is not None and claimed is self._out:
            self.gradient = self._out.vector
        else:
            self.gradient = self._layout.flatten(claimed, "gradients")
        objective = Objective(probe.loss, self._layout, self._point.vector, probe.coordinate_losses)
        objective.complex_confirmed = complex_confirmed
        return compare(
            objective,
            self.gradient,
            started,
            rng=rng,
            terms=probe.terms() if terms else None,
            hints=probe.hints,
            **options,
        )
