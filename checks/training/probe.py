"""The probe: the rows one check runs on, the network's loss and gradients on them, and the storage for it."""

import copy
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from checks.check import Terms, compare
from checks.explain.mistake import Hints, Kind, Mistake
from checks.judge.full import measure
from checks.measure.layout import Array, Layout
from checks.measure.objective import CoordinateLosses, Loss, Objective
from checks.options import Options
from checks.report.report import GradientReport
from checks.training.proof import Exercised
from checks.training.rows import Sampler, classes_of
from trainer.model import coordinate_losses_of, offered
from trainer.rows import batch_dtype

#: Relative difference beyond which one row's entry counts as wrong.
ROW_THRESHOLD = 1e-5
ROWS_A_CLASS = 6


@dataclass(frozen=True)
class Probe:
    """A float64 copy of parameters and rows, and the loss there as a function of the parameters alone."""

    network: Any
    parameters: Mapping[str, Array]
    index: Array  # positions among the training rows
    inputs: Array
    targets: Array
    mask_seed: int | None  # of the dropout masks, drawn anew from it in every evaluation; None leaves dropout off

    def loss(self, parameters: Any) -> Any:
        """Evaluate the loss on the probe."""
        return self.network.loss(parameters, self.inputs, self.targets, self._mask_rng())

    def gradients(self, parameters: Any, *out: Any) -> Any:
        """Evaluate backprop on the probe; `out` is storage for the gradients, if the network is to use any."""
        return self.network.loss_and_gradients(parameters, self.inputs, self.targets, self._mask_rng(), *out)[1]

    def check(
        self,
        options: Options,
        rng: np.random.Generator | None = None,
        *,
        terms: bool = False,
        complex_confirmed: bool = False,
        storage: "Storage | None" = None,
    ) -> GradientReport:
        """Compare backprop on the probe with the loss there."""
        started = time.perf_counter()
        objective = self.objective(complex_confirmed, storage)
        apart = self.terms() if terms else None
        return compare(objective, options, started, rng=rng, terms=apart, hints=self.hints)

    def objective(self, complex_confirmed: bool = False, storage: "Storage | None" = None) -> Objective:
        """Give the loss at the parameters, with the gradient that backprop gives there."""
        faster: dict[str, Any] = {
            "coordinate_losses": self.coordinate_losses,
            "complex_confirmed": complex_confirmed,
        }
        if storage is None:
            return Objective.of(self.loss, self.parameters, self.gradients, **faster)
        faster |= {"gradient_of": self.gradients, "faithful": storage.faithful}
        return Objective(self.loss, storage.layout, storage.point.vector, storage.backprop(self), **faster)

    @property
    def coordinate_losses(self) -> CoordinateLosses | None:
        """The network's structured evaluation, if it has one."""
        evaluate = coordinate_losses_of(self.network)
        if evaluate is None:
            return None
        return lambda steps: evaluate(self.parameters, self.inputs, self.targets, steps, self._mask_rng())

    def hints(self) -> Hints:
        """Say what is known about the loss, for naming the kind of a mistake."""
        n_rows = len(self.index)
        return Hints({float(n_rows): f"{n_rows}, the number of rows"}, self._explain)

    def terms(self) -> Terms:
        """Give the loss of each class, and the regulariser, each with its own gradient."""
        penalty, everything = offered(self.network, "penalty"), np.ones(len(self.targets), dtype=bool)
        is_regularised = bool(getattr(penalty, "strength", 0.0))
        bare = without_l2(self.network) if is_regularised else self.network
        terms: dict[str, tuple[Loss, Callable[[Any], Any]]] = {}
        for label in classes_of(self.targets):
            part = self._of(bare, self.targets == label)
            terms[f"class {label}"] = (part.loss, part.gradients)
        if is_regularised:
            plain, whole = self._of(bare, everything), self._of(self.network, everything)
            weights = self.network.weights

            def regulariser_gradients(parameters: Any) -> dict[str, Array]:
                with_l2, without = whole.gradients(parameters), plain.gradients(parameters)
                return {name: with_l2[name] - without[name] for name in weights}

            terms["l2"] = (lambda parameters: penalty.value(parameters, weights), regulariser_gradients)
        return terms

    def exercised(self, *, thorough: bool) -> Exercised:
        """Say which rows this probe exercised, and, thoroughly, by a pass of its own, which units."""
        positive = self.index[self.targets == 1.0] if self.targets.ndim == 1 else []
        active = [np.any(layer != 0.0, axis=0) for layer in self._activations()] if thorough else []
        n_active = sum(int(layer.sum()) for layer in active)
        return Exercised(self.index, positive, n_active, sum(layer.size for layer in active))

    def inactivity(self) -> str:
        """Count the units that no row of the probe activates, layer by layer."""
        counts = [(int(np.sum(~np.any(layer != 0.0, axis=0))), layer.shape[1]) for layer in self._activations()]
        dead = [f"layer {n}: {count} of {size} units dead" for n, (count, size) in enumerate(counts, 1) if count]
        return ", ".join(dead) or "no dead units on these rows"

    def _activations(self) -> Sequence[Array]:
        evaluate = offered(self.network, "hidden_activations")
        return evaluate(self.parameters, self.inputs) if evaluate is not None else []

    def _mask_rng(self) -> np.random.Generator | None:
        return None if self.mask_seed is None else np.random.default_rng(self.mask_seed)

    def _of(self, network: Any, rows: Any) -> "Probe":
        """Give some of the rows to a network, without dropout."""
        return Probe(network, self.parameters, self.index[rows], self.inputs[rows], self.targets[rows], None)

    def _explain(self, names: Sequence[str]) -> Mistake | None:
        if self.mask_seed is not None:  # a single row would draw another mask than it had among the others
            return None

        def row_case(row: int) -> tuple[Loss, Callable[[Any], Any]]:
            part = self._of(self.network, slice(row, row + 1))
            return part.loss, part.gradients

        is_binary = set(classes_of(self.targets)) == {0, 1}
        labels = self.targets if is_binary else np.zeros(len(self.targets))
        try:
            return explain_by_rows(row_case, labels, self.parameters, names)
        except Exception:  # a model whose loss is none of a single row; a verdict hangs on no hint
            return None


@dataclass(frozen=True, eq=False)
class Case:
    """What it takes to check a probe again: with it the state of the generator of directions, and what was known."""

    probe: Probe
    generator: Mapping[str, Any]
    complex_confirmed: bool  # whether an earlier check of the run had confirmed the complex step


class Storage:
    """What the checks of one run share, so that a check of a direction allocates next to nothing.

    Parameters are a mapping with a flat ``vector``. A model that takes it is lent storage for the gradient, where no
    report keeps that.
    """

    def __init__(self, parameters: Any, *, lends: bool) -> None:
        self.layout = Layout(parameters)
        self.point = parameters.astype(np.float64)
        self.gradient: Array = np.zeros(0)  # of the last check
        self.faithful: set[str] = set()  # the tensors at which the sweep was found to be the loss
        self._lent = self.point.copy()  # what the network may write to
        self._out = self.point.copy() if lends else None

    def draw(self, state: Any, sampler: Sampler, rng: np.random.Generator, *, frozen: bool) -> Probe:
        """Draw a fresh probe from the training rows; it holds until the next is drawn."""
        index = sampler.draw(rng)
        self.point.vector[...] = state.parameters.vector
        inputs, targets = (
            np.asarray(rows.take(index, axis=0), dtype=batch_dtype(of_batch, np.float64))
            for rows, of_batch in zip((state.inputs, state.targets), state.batch, strict=True)
        )
        return Probe(state.network, self.point, index, inputs, targets, int(rng.integers(2**32)) if frozen else None)

    def backprop(self, probe: Probe) -> Array:
        """Give what backprop says of a probe, as one vector."""
        self._lent.vector[...] = self.point.vector
        claimed = probe.gradients(self._lent, *([] if self._out is None else [self._out]))
        own = self._out is not None and claimed is self._out
        self.gradient = claimed.vector if own else self.layout.flatten(claimed, "gradients")
        return self.gradient


def without_l2(network: Any) -> Any:
    """Copy a network and take its regulariser away."""
    bare = copy.copy(network)
    bare.l2 = 0.0
    bare.penalty = copy.copy(network.penalty)
    bare.penalty.strength = 0.0
    return bare


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
    rows, confirmed = _Rows(), False  # of every row's loss alike, which is the same function
    for label in (0, 1):
        for row in np.flatnonzero(classes == label)[:ROWS_A_CLASS]:
            loss, gradients = row_case(int(row))
            objective = Objective.of(loss, parameters, gradients, complex_confirmed=confirmed)
            gradient = objective.gradient[objective.layout.slices[name]]
            rows.add(label, gradient, measure(objective, [name], Options(derivative="complex"))[name][0])
            confirmed = objective.complex_confirmed and objective.complex_refusal is None
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
