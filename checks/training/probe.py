"""The probe: the rows one check runs on, and the network's loss and gradients on them."""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from checks.explain.mistake import Hints, Mistake
from checks.measure.difference import relative_difference
from checks.measure.layout import Array
from checks.measure.objective import Loss
from checks.measure.slopes import STEP
from checks.training.proof import Exercised
from checks.training.single_rows import explain_by_rows

#: At least this share of a probe is of the rarer class, as far as there are such rows.
RARE_SHARE = 0.125


class State(Protocol):
    """What a probe needs of a training run."""

    network: Any
    parameters: Any
    inputs: Any
    targets: Any


class Sampler:
    """Draws stratified rows without replacement.

    A batch of 64 at 0.2 % fraud holds no fraud in 88 % of cases, and then a mistake in the class weight passes.
    The rows of each class, in their order, are cut into as many equal runs as rows are wanted, and one is drawn from
    each: every row has the same chance, none comes twice, and a draw is three passes over as many numbers.

    Parameters
    ----------
    targets : ndarray of shape (n_samples,)
        0 or 1.
    rows : int
        Rows to draw; fewer if there are fewer.
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
    """A float64 copy of parameters and rows, and the loss there as a function of the parameters alone.

    Attributes
    ----------
    network : Network
        The network under test.
    parameters : mapping of str to ndarray
        float64 copies.
    index : ndarray of shape (n_rows,)
        Positions among the training rows.
    inputs : ndarray of shape (n_rows, n_features)
        float64.
    targets : ndarray of shape (n_rows,)
        0 or 1.
    mask_seed : int or None
        Seed of the dropout masks, drawn anew from it in every evaluation; None leaves dropout off.
    """

    network: Any
    parameters: Mapping[str, Array]
    index: Array
    inputs: Array
    targets: Array
    mask_seed: int | None

    @classmethod
    def draw(
        cls,
        state: State,
        sampler: Sampler,
        rng: np.random.Generator,
        *,
        frozen: bool,
        parameters: Any = None,
    ) -> "Probe":
        """Draw a fresh probe from the training rows; `parameters` is float64 storage to be overwritten, if given."""
        index = sampler.draw(rng)
        if parameters is None:
            parameters = state.parameters.astype(np.float64)
        else:
            parameters.vector[...] = state.parameters.vector
        return cls(
            state.network,
            parameters,
            index,
            np.asarray(state.inputs.take(index, axis=0), dtype=np.float64),
            np.asarray(state.targets.take(index), dtype=np.float64),
            int(rng.integers(2**32)) if frozen else None,
        )

    def loss(self, parameters: Any) -> Any:
        """Evaluate the loss on the probe."""
        return self.network.loss(parameters, self.inputs, self.targets, self._mask_rng())

    def gradients(self, parameters: Any, *out: Any) -> Any:
        """Evaluate backprop on the probe; `out` is storage for the gradients, if the network is to use any."""
        return self.network.loss_and_gradients(parameters, self.inputs, self.targets, self._mask_rng(), *out)[1]

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

    def terms(self) -> dict[str, tuple[Loss, Callable[[Any], Any]]]:
        """Give the loss of each class, and the regulariser, each with its own gradient."""
        bare = without_l2(self.network)
        terms: dict[str, tuple[Loss, Callable[[Any], Any]]] = {}
        for label, name in ((0, "legitimate rows"), (1, "fraud rows")):
            rows = self.targets == label
            part = Probe(bare, self.parameters, self.index[rows], self.inputs[rows], self.targets[rows], None)
            if rows.any():
                terms[name] = (part.loss, part.gradients)
        if self.network.l2:
            plain = Probe(bare, self.parameters, self.index, self.inputs, self.targets, None)
            whole = Probe(self.network, self.parameters, self.index, self.inputs, self.targets, None)
            weights = self.network.weights

            def regulariser_gradients(parameters: Any) -> dict[str, Array]:
                with_l2, without = whole.gradients(parameters), plain.gradients(parameters)
                return {name: with_l2[name] - without[name] for name in weights}

            terms["l2"] = (lambda parameters: self.network.penalty.value(parameters, weights), regulariser_gradients)
        return terms

    def exercised(self, state: State, gradient: Array | None = None) -> Exercised:
        """Say which rows this probe exercised.

        Given the gradient here, as one vector, also which units, and how far the training precision's gradient lies
        off it: that takes two passes, as much as a check along one direction.
        """
        positive = self.index[self.targets == 1.0]
        if gradient is None:
            return Exercised(self.index, positive, 0, 0)
        active = [np.any(layer != 0.0, axis=0) for layer in self._activations()]
        precision = None
        dtype = next(iter(state.parameters.values())).dtype
        if dtype != np.float64:
            rows = self.inputs.astype(dtype), self.targets.astype(dtype)
            trained = self.network.loss_and_gradients(state.parameters, *rows)[1]
            if self.mask_seed is not None:  # each precision draws masks of its own: compare without any
                plain = self.network.loss_and_gradients(self.parameters, self.inputs, self.targets)[1]
                precision = relative_difference(dict(plain), dict(trained))
            else:
                precision = relative_difference(gradient, [trained[name] for name in self.parameters])
        return Exercised(
            self.index,
            positive,
            active_units=sum(int(layer.sum()) for layer in active),
            units=sum(layer.size for layer in active),
            precision_difference=precision,
        )

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

    def _explain(self, names: Sequence[str]) -> Mistake | None:
        if self.mask_seed is not None:  # a single row would draw another mask than it had among the others
            return None

        def row_case(row: int) -> tuple[Loss, Callable[[Any], Any]]:
            one = slice(row, row + 1)
            part = Probe(self.network, self.parameters, self.index[one], self.inputs[one], self.targets[one], None)
            return part.loss, part.gradients

        return explain_by_rows(row_case, self.targets, self.parameters, names, STEP)


def without_l2(network: Any) -> Any:
    """Copy a network and take its regulariser away."""
    bare = copy.copy(network)
    bare.l2 = 0.0
    bare.penalty = copy.copy(network.penalty)
    bare.penalty.strength = 0.0
    return bare
