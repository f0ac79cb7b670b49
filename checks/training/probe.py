"""The probe: the rows one check runs on, the network's loss and gradients on them, and the storage for it."""

import copy
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from checks.check import Terms, compare
from checks.explain.mistake import Hints, Mistake
from checks.measure.layout import Array, Layout
from checks.measure.objective import Loss, Objective
from checks.options import Options
from checks.report.report import GradientReport
from checks.training.proof import Exercised
from checks.training.single_rows import explain_by_rows

#: At least this share of a probe is of the rarer class, as far as there are such rows.
RARE_SHARE = 0.125


class Sampler:
    """Draws stratified rows without replacement.

    A batch of 64 at 0.2 % fraud holds no fraud in 88 % of cases, and then a mistake in the class weight passes.
    The rows of each class, in their order, are cut into as many equal runs as rows are wanted, and one is drawn from
    each: every row has the same chance, none comes twice, and a draw is three passes over as many numbers.
    """

    def __init__(self, targets: Array, rows: int) -> None:
        is_positive = np.asarray(targets) == 1
        self.n_positive = int(np.count_nonzero(is_positive))
        n_negative = len(targets) - self.n_positive
        rows = min(rows, len(targets))
        least = max(1, round(RARE_SHARE * rows))
        share = round(rows * self.n_positive / len(targets))
        n_drawn = min(self.n_positive, max(least, min(share, rows - least)))
        self._rows: Array = np.argsort(~is_positive, kind="stable")  # the positive ones first
        ends = _cut(self.n_positive, n_drawn), self.n_positive + _cut(n_negative, min(n_negative, rows - n_drawn))
        self._starts = np.concatenate([cuts[:-1] for cuts in ends])
        self._widths = np.concatenate([np.diff(cuts) for cuts in ends]).astype(float)

    def draw(self, rng: np.random.Generator) -> Array:
        """Draw sorted positions of rows."""
        chosen: Array = self._rows.take(self._starts + (rng.random(len(self._starts)) * self._widths).astype(np.intp))
        chosen.sort()
        return chosen


def _cut(length: int, pieces: int) -> Array:
    """Give the limits of pieces of equal length, as far as that goes."""
    return np.arange(pieces + 1) * length // max(pieces, 1)


@dataclass(frozen=True)
class Probe:
    """A float64 copy of parameters and rows, and the loss there as a function of the parameters alone."""

    network: Any
    parameters: Mapping[str, Array]
    index: Array  # positions among the training rows
    inputs: Array
    targets: Array  # 0 or 1
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
        faster["gradient_of"] = self.gradients
        return Objective(self.loss, storage.layout, storage.point.vector, storage.backprop(self), **faster)

    @property
    def coordinate_losses(self) -> Callable[[str, Any], Array] | None:
        """The network's structured evaluation, if it has one."""
        evaluate = getattr(self.network, "coordinate_losses", None)
        if evaluate is None:
            return None
        return lambda name, step: evaluate(self.parameters, self.inputs, self.targets, name, step, self._mask_rng())

    def hints(self) -> Hints:
        """Say what is known about the loss, for naming the kind of a mistake."""
        n_rows = len(self.index)
        return Hints({float(n_rows): f"{n_rows}, the number of rows"}, self._explain)

    def terms(self) -> Terms:
        """Give the loss of each class, and the regulariser, each with its own gradient."""
        bare, everything = without_l2(self.network), np.ones(len(self.targets), dtype=bool)
        terms: dict[str, tuple[Loss, Callable[[Any], Any]]] = {}
        for label in (0, 1):
            rows = self.targets == label
            if rows.any():
                part = self._of(bare, rows)
                terms[f"class {label}"] = (part.loss, part.gradients)
        if self.network.l2:
            plain, whole = self._of(bare, everything), self._of(self.network, everything)
            weights = self.network.weights

            def regulariser_gradients(parameters: Any) -> dict[str, Array]:
                with_l2, without = whole.gradients(parameters), plain.gradients(parameters)
                return {name: with_l2[name] - without[name] for name in weights}

            terms["l2"] = (lambda parameters: self.network.penalty.value(parameters, weights), regulariser_gradients)
        return terms

    def exercised(self, *, thorough: bool) -> Exercised:
        """Say which rows this probe exercised, and, thoroughly, by a pass of its own, which units."""
        positive = self.index[self.targets == 1.0]
        active = [np.any(layer != 0.0, axis=0) for layer in self._activations()] if thorough else []
        n_active = sum(int(layer.sum()) for layer in active)
        return Exercised(self.index, positive, n_active, sum(layer.size for layer in active))

    def inactivity(self) -> str:
        """Count the units that no row of the probe activates, layer by layer."""
        counts = [(int(np.sum(~np.any(layer != 0.0, axis=0))), layer.shape[1]) for layer in self._activations()]
        dead = [f"layer {n}: {count} of {size} units dead" for n, (count, size) in enumerate(counts, 1) if count]
        return ", ".join(dead) or "no dead units on these rows"

    def _activations(self) -> Sequence[Array]:
        evaluate = getattr(self.network, "hidden_activations", None)
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

        return explain_by_rows(row_case, self.targets, self.parameters, names)


@dataclass(frozen=True, eq=False)
class Case:
    """What it takes to check a probe again: with it the state of the generator of directions, and what was known."""

    probe: Probe
    generator: Mapping[str, Any]
    complex_confirmed: bool  # whether an earlier check of the run had confirmed the complex step


class Storage:
    """What the checks of one run share, so that a check of a direction allocates next to nothing.

    Parameters are a mapping with a flat ``vector``. Where reports keep the gradient, each needs one of its own.
    """

    def __init__(self, parameters: Any, *, keeps_gradient: bool) -> None:
        self.layout = Layout(parameters)
        self.point = parameters.astype(np.float64)
        self.gradient: Array = np.zeros(0)  # of the last check
        self._lent = self.point.copy()  # what the network may write to
        self._out = None if keeps_gradient else self.point.copy()

    def draw(self, state: Any, sampler: Sampler, rng: np.random.Generator, *, frozen: bool) -> Probe:
        """Draw a fresh probe from the training rows; it holds until the next is drawn."""
        index = sampler.draw(rng)
        self.point.vector[...] = state.parameters.vector
        inputs = np.asarray(state.inputs.take(index, axis=0), dtype=np.float64)
        targets = np.asarray(state.targets.take(index, axis=0), dtype=np.float64)
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
