"""Coordinate losses: the loss with each entry of one tensor moved alone, without a forward pass an entry.

Moving ``W[i, j]`` by s adds ``s · a[:, j]`` to column i of ``z = a @ W.T + b`` and leaves the other
columns alone; through an elementwise activation it is still one column, and the next Linear turns a
changed column δ into a rank-1 change, ``δ · W_next[:, i]``. So the products before and at the tensor are
computed once, and the one after costs a multiplication and an addition. Where δ is zero, on the rows on
which a ReLU is off, the loss is the unmoved one: those rows are left out, half the work. `loss` one
entry at a time is the plain way; a property test holds the two equal to rounding.
"""

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np

from trainer.network.layers import Layer, affine
from trainer.network.parameters import Array, Arrays, Rng

Step = float | complex | Array  # how far an entry moves: the same for all, or each its own
COLUMNS = 524_288  # entries of a temporary of changed columns: four megabytes of float64
KEPT = 31 * 2**20  # bytes; glibc learns from freed blocks of up to 32 megabytes
BLOCK = 262_144  # entries of a temporary of the layers after: two megabytes


def plain_losses(
    network: Any, parameters: Arrays, inputs: Array, targets: Array, name: str, step: Step, rng: Rng = None
) -> Array:
    """Return the loss with each entry of one tensor moved alone, by a forward pass an entry."""
    value = parameters[name]
    steps = np.broadcast_to(step, value.shape).astype(np.result_type(value, step))
    moved = value.astype(steps.dtype)
    point, losses = {**parameters, name: moved}, np.empty_like(steps)
    for index in np.ndindex(moved.shape):
        unmoved = moved[index]
        moved[index] = unmoved + steps[index]
        losses[index] = network.loss(point, inputs, targets, copy.deepcopy(rng))
        moved[index] = unmoved
    return losses


class Sweep:
    """One tensor to move, and the unmoved pass around it, arrays with the rows last.

    Where a replaced layer or an overridden `loss` makes the structured way differ from ``network.loss`` at the unmoved
    parameters, the plain way is taken.
    """

    def __init__(
        self, network: Any, parameters: Arrays, inputs: Array, targets: Array, name: str, rng: Rng = None
    ) -> None:
        if name not in network.shapes:
            raise ValueError(f"Unknown parameter. Expected one of {', '.join(network.shapes)}. Received {name!r}.")
        # A `trainer.Network`, which imports this file.
        self.network, self.parameters, self.inputs, self.targets = network, parameters, inputs, targets
        self.name, self.rng = name, rng
        self.criterion_targets = network.criterion_targets(inputs, targets)
        self.is_structured = hasattr(network.criterion, "per_row")
        if not self.is_structured:  # a loss of one's own, of which only the mean is known
            return

        layers = network.layers
        owner = next((index for index, layer in enumerate(layers) if name in layer.shapes), len(layers))
        following = next((index for index in range(owner + 1, len(layers)) if layers[index].shapes), len(layers))
        self.between, self.tail = layers[owner + 1 : following], layers[following + 1 :]  # up to the next Linear, after
        draws = copy.deepcopy(rng)
        given = self._forward(layers[:owner], inputs, draws)
        outputs = self._forward(layers[owner : owner + 1], given, draws)
        self.draws_between = copy.deepcopy(draws)
        hidden = self._forward(self.between, outputs, draws)
        last = next_outputs = self._forward(layers[following : following + 1], hidden, draws)
        self.draws_tail = copy.deepcopy(draws)
        self.row_by_row = rng is None  # whether the layers after the next Linear treat every row for itself
        for layer in self.tail:
            before, last = last, self._forward([layer], last, draws)
            self.row_by_row = self.row_by_row and (layer.elementwise or self._is_affine(layer, before, last))
        self.losses = network.criterion.per_row(last[..., 0], self.criterion_targets)
        self.is_structured = (
            owner < len(layers)
            and all(layer.elementwise for layer in self.between)
            and self._is_affine(layers[owner], given, outputs)
            and (following == len(layers) or self._is_affine(layers[following], hidden, next_outputs))
            and self.losses.mean().item() + network.penalty.value(parameters, network.weights)
            == network.loss(parameters, inputs, targets, copy.deepcopy(rng))
        )

        self.next_weight = parameters[next(iter(layers[following].shapes))] if following < len(layers) else None
        if parameters[name].ndim == 1:  # a bias is the weight of a constant input
            given = np.ones((len(outputs), 1), outputs.dtype)
        self.given, self.outputs, self.hidden, self.next_outputs = (
            np.ascontiguousarray(array.T) for array in (given, outputs, hidden, next_outputs)
        )

    def coordinate_losses(self, step: Step) -> Array:
        """Return ``loss(parameters with parameters[name][k] + step[k])`` for every index k."""
        value = self.parameters[self.name]
        steps = np.broadcast_to(step, value.shape).astype(np.result_type(value, step))
        if not self.is_structured:
            return plain_losses(self.network, self.parameters, self.inputs, self.targets, self.name, steps, self.rng)
        # malloc hands large blocks back to the system, and every page of the next one costs a fault: a third of the
        # time here. From a freed block of this size, never touched and so free, glibc learns to keep them.
        np.empty(KEPT, np.uint8)
        losses = self._structured_losses(steps.reshape(len(steps), -1)).reshape(steps.shape)
        losses += self.network.penalty.value(self.parameters, self.network.weights)
        if self.name in self.network.weights:
            losses += self.network.penalty.change(value, steps)
        return losses

    def _structured_losses(self, steps: Array) -> Array:
        """Return the data losses in the shape of `steps`, (n_units, n_inputs)."""
        n_units, n_inputs = steps.shape
        losses = np.empty((n_units, n_inputs), np.result_type(steps, self.next_outputs))
        block = max(1, COLUMNS // self.outputs.size)
        for start in range(0, n_inputs, block):
            chosen = slice(start, start + block)
            # variants[j, :, i] is column i of the outputs with W[i, j] moved; in memory rows come last, since numpy
            # is fast where the innermost loop is long
            columns = (steps[:, chosen, None] * self.given[chosen]).astype(losses.dtype, copy=False)
            columns += self.outputs[:, None]
            variants = self._forward(self.between, columns.transpose(1, 2, 0), copy.deepcopy(self.draws_between))
            if self.next_weight is None:  # these are the logits
                moved = self.network.criterion.per_row(variants[..., 0], self.criterion_targets)
                losses[:, chosen] = moved.mean(axis=-1)
                continue
            changes = np.subtract(variants.transpose(2, 0, 1), self.hidden[:, None], out=columns)
            if n_inputs == 1:  # a bias: one variant a unit, and all units at once
                losses[:, 0] = self._rank_one_losses(changes[:, 0], self.next_weight, slice(None))
                continue
            touched = (changes != 0).any(axis=1)
            for unit, change in enumerate(changes):
                rows = np.flatnonzero(touched[unit]) if self.row_by_row else slice(None)
                losses[unit, chosen] = self._rank_one_losses(change, self.next_weight[:, unit, None], rows)
        return losses

    def _rank_one_losses(self, changes: Array, weight: Array, rows: Array | slice) -> Array:
        """Return a loss for each column that changes, of shape (n_variants, n_rows).

        `weight` is what each of them is multiplied with in the next Linear: (n_next, n_variants), or
        (n_next, 1) if it is the same column everywhere. Outside of `rows` nothing changes.
        """
        changes, next_outputs = (np.ascontiguousarray(array[:, rows]) for array in (changes, self.next_outputs))
        block = max(1, BLOCK // max(1, next_outputs.size))
        dtype = np.result_type(changes, next_outputs)
        storage = np.empty((len(weight), min(block, len(changes)), changes.shape[1]), dtype)
        logits = np.empty(changes.shape, dtype)
        for start in range(0, len(changes), block):
            chosen = slice(start, start + block)
            outputs = storage[:, : len(changes) - start]
            np.multiply(weight[:, chosen if weight.shape[1] > 1 else slice(None), None], changes[chosen], out=outputs)
            outputs += next_outputs[:, None]
            logits[chosen] = self._forward(self.tail, outputs.transpose(1, 2, 0), copy.deepcopy(self.draws_tail))[
                ..., 0
            ]
        moved = self.network.criterion.per_row(logits, self.criterion_targets[rows])
        moved -= self.losses[rows]
        losses: Array = self.losses.mean() + moved.sum(axis=1) / len(self.targets)
        return losses

    def _forward(self, layers: Sequence[Layer], outputs: Array, rng: Rng) -> Array:
        for layer in layers:
            outputs, _ = layer.forward(self.parameters, outputs, rng)
        return outputs

    def _is_affine(self, layer: Layer, inputs: Array, outputs: Array) -> bool:
        """Say whether the layer did what `Linear` does, bit for bit; a replaced one may not."""
        if [len(shape) for shape in layer.shapes.values()] != [2, 1]:
            return False
        weight, bias = (self.parameters[name] for name in layer.shapes)
        return np.array_equal(affine(inputs, weight, bias), outputs)
