"""Coordinate losses: the loss with each entry of a tensor moved alone, without a forward pass an entry.

Moving ``W[i, j]`` by s adds ``s · a[:, j]`` to column i of ``z = a @ W.T + b`` and leaves the other
columns alone; through an elementwise activation it is still one column, and the next Linear turns a
changed column δ into a rank-1 change, ``δ · W_next[:, i]``. One unmoved pass serves all tensors, and all units and all
steps of a layer go on together.

A network of ReLU is straight between its kinks. So for each row a unit is moved as far as any of its entries moves
it, and the logit is evaluated there. Where nothing that goes into a ReLU behind has moved further than up to zero,
no kink lies that far to either side, and the logit is on the straight line from the unmoved one for every entry. A
short way along it, the loss of the row is a polynomial to a last place, of which seven evaluations tell all; and since
an entry's move is its step times what it is multiplied with, the sum over the rows is a product for each power. The few
rows with a kink in reach, and all rows of other networks, are evaluated entry by entry. `loss` one entry at a time is
the plain way; a property test holds all equal to rounding. Nothing here is taken from the way back.
"""

import copy
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from trainer.network.layers import Dropout, Layer, Linear, ReLU, affine
from trainer.network.losses import WeightedBinaryCrossEntropy
from trainer.network.parameters import Array, Arrays, Rng

STRAIGHT = ReLU.forward, Linear.forward, Dropout.forward  # a mask is a constant
NEAR = 0.01  # as far as a logit moves, the loss of its row is a polynomial of the sixth degree, to a last place
SHARES = np.cos(np.pi / 6 * np.array([0, 1, 2, 4, 5, 6]))  # where that is evaluated, besides at 0; by Chebyshev
POWERS = np.linalg.inv(SHARES[:, None] ** np.arange(1, 7))  # to its coefficients
COLUMNS = 65_536  # entries of a temporary of changed columns: half a megabyte of float64
KEPT = 31 * 2**20  # bytes; glibc learns from freed blocks of up to 32 megabytes
BLOCK = 131_072  # entries of a temporary of the layers after: one megabyte


def checked_steps(shapes: Mapping[str, tuple[int, ...]], steps: Mapping[str, ArrayLike]) -> dict[str, Array]:
    """Return steps of known parameters as arrays of shape (n_steps, *shape), or raise TypeError or ValueError."""
    if not isinstance(steps, Mapping):
        expected = "Expected a mapping of names to arrays of shape (n_steps, *shape)"
        raise TypeError(f"The steps are of the wrong kind. {expected}. Received {type(steps).__name__}.")
    arrays = {name: np.asarray(moves) for name, moves in steps.items()}
    n_steps = next((len(moves) for moves in arrays.values() if moves.ndim), 0) or "n_steps"
    for name, moves in arrays.items():
        if name not in shapes:
            raise ValueError(f"Unknown parameter. Expected one of {', '.join(shapes)}. Received {name!r}.")
        if moves.shape != (n_steps, *shapes[name]):
            expected = f"({', '.join(map(str, (n_steps, *shapes[name])))})"
            raise ValueError(f"The steps of {name} have the wrong shape. Expected {expected}. Received {moves.shape}.")
    return arrays


def plain_losses(
    network: Any, parameters: Arrays, inputs: Array, targets: Array, steps: Mapping[str, Array], rng: Rng = None
) -> dict[str, Array]:
    """Return the loss with each entry of the tensors moved alone, by a forward pass an entry."""
    found = {}
    for name, moves in steps.items():
        moved = parameters[name].astype(np.result_type(parameters[name], moves))
        point, losses = {**parameters, name: moved}, np.empty(moves.shape, moved.dtype)
        for number, *index in np.ndindex(moves.shape):
            place = tuple(index)
            unmoved = moved[place]
            moved[place] = unmoved + moves[(number, *place)]
            losses[(number, *place)] = network.loss(point, inputs, targets, copy.deepcopy(rng))
            moved[place] = unmoved
        found[name] = losses
    return found


class Sweep:
    """The unmoved pass of a network, around which entries of its tensors are moved.

    Where a replaced layer or an overridden `loss` makes the structured way differ from ``network.loss`` at the unmoved
    parameters, the plain way is taken.
    """

    def __init__(self, network: Any, parameters: Arrays, inputs: Array, targets: Array, rng: Rng = None) -> None:
        # A `trainer.Network`, which imports this file.
        self.network, self.parameters, self.inputs, self.targets, self.rng = network, parameters, inputs, targets, rng
        self.layers: list[Layer] = network.layers
        self.is_structured = hasattr(network.criterion, "per_row")
        if not self.is_structured:  # a loss of one's own, of which only the mean is known
            return
        # What every layer is given, the generator of masks as it gets it, and what the last one gives.
        self.given, self.draws, draws = [inputs], [copy.deepcopy(rng)], copy.deepcopy(rng)
        for layer in self.layers:
            self.given.append(layer.forward(parameters, self.given[-1], draws)[0])
            self.draws.append(copy.deepcopy(draws))
        self.criterion_targets = network.criterion_targets(inputs, targets)
        self.losses = network.criterion.per_row(self.given[-1][..., 0], self.criterion_targets)
        self.mean, self.penalty = self.losses.mean(), network.penalty.value(parameters, network.weights)
        whole = network.loss(parameters, inputs, targets, copy.deepcopy(rng))
        self.is_structured = self.mean.item() + self.penalty == whole

    def coordinate_losses(self, steps: Mapping[str, Array]) -> dict[str, Array]:
        """Return ``loss(parameters with parameters[name][k] + steps[name][s, k])`` for every name, s and k."""
        found: dict[str, Array] = {}
        if self.is_structured:
            # malloc hands large blocks back to the system, and every page of the next one costs a fault: a third of
            # the time here. From a freed block of this size, never touched and so free, glibc learns to keep them.
            np.empty(KEPT, np.uint8)
            for owner, layer in enumerate(self.layers):
                names = [name for name in layer.shapes if name in steps]
                if names and self._is_affine(owner):
                    found |= self._layer_losses(owner, {name: steps[name] for name in names})
        for name, losses in found.items():
            losses += self.penalty
            if name in self.network.weights:
                losses += self.network.penalty.change(self.parameters[name], steps[name])
        rest = {name: moves for name, moves in steps.items() if name not in found}
        return found | plain_losses(self.network, self.parameters, self.inputs, self.targets, rest, self.rng)

    def _layer_losses(self, owner: int, steps: Mapping[str, Array]) -> dict[str, Array]:
        """Return the data losses for the steps of tensors of one layer, if that is followed by what it takes."""
        column = _Column(self, owner)
        if not column.is_column:
            return {}
        inputs, n_units = self.given[owner], self.given[owner + 1].shape[-1]
        ones = np.ones((len(inputs), 1), inputs.dtype)  # a bias is the weight of a constant input
        given = np.concatenate([inputs if self.parameters[name].ndim == 2 else ones for name in steps], axis=1)
        n_steps = len(next(iter(steps.values())))
        moves = np.concatenate([each.reshape(n_steps, n_units, -1) for each in steps.values()], axis=2)
        losses = column.losses(moves.transpose(1, 0, 2).reshape(n_units, -1), given)
        losses = losses.reshape(n_units, n_steps, -1).transpose(1, 0, 2)
        ends = np.cumsum([each[0].size // n_units for each in steps.values()])
        pieces = np.split(losses, ends[:-1], axis=2)
        return {name: piece.reshape(steps[name].shape) for name, piece in zip(steps, pieces, strict=True)}

    def _is_affine(self, place: int) -> bool:
        """Say whether the layer did what `Linear` does, bit for bit; a replaced one may not."""
        layer, (inputs, outputs) = self.layers[place], self.given[place : place + 2]
        if [len(shape) for shape in layer.shapes.values()] != [2, 1]:
            return False
        weight, bias = (self.parameters[name] for name in layer.shapes)
        return np.array_equal(affine(inputs, weight, bias), outputs)


def _own(part: Any, method: str) -> Any:
    """Return the function behind a method, which a subclass or somebody else may have replaced."""
    return getattr(getattr(part, method), "__func__", None)


class _Column:
    """One column of what a Linear gives, and what is behind it.

    Moves are of shape (n_units, n_steps · n_entries), what they are multiplied with is of shape (n_rows, n_entries).
    """

    def __init__(self, sweep: Sweep, owner: int) -> None:
        self.sweep, layers = sweep, sweep.layers
        following = next((place for place in range(owner + 1, len(layers)) if layers[place].shapes), len(layers))
        self.is_last = following == len(layers)
        self.between, self.tail = range(owner + 1, following), range(following + 1, len(layers))  # places of layers
        self.is_column = all(layers[place].elementwise for place in self.between) and (
            sweep.given[-1].shape[-1] == 1 if self.is_last else sweep._is_affine(following)
        )
        self.outputs, self.hidden = sweep.given[owner + 1].T, sweep.given[following].T
        self.at_rest = sweep.given[-1][..., 0]
        self.next_outputs = self.at_rest[:, None]
        if not self.is_last:
            self.next_outputs = sweep.given[following + 1]
            self.next_weight = sweep.parameters[next(iter(layers[following].shapes))]
        behind = [layers[place] for place in (*self.between, *self.tail)]
        is_known = _own(sweep.network.criterion, "per_row") is WeightedBinaryCrossEntropy.per_row
        self.may_be_smooth = is_known and all(_own(layer, "forward") in STRAIGHT for layer in behind)

    def losses(self, moves: Array, given: Array) -> Array:
        """Return the data losses in the shape of the moves."""
        sums, n_steps = (
            np.zeros(moves.shape, np.result_type(moves, given, self.at_rest)),
            moves.shape[1] // given.shape[1],
        )
        is_bent = np.ones((len(moves), len(given)), bool)
        if self.may_be_smooth and not (moves.real.any() and moves.imag.any()):
            # Every move as a share of the furthest of its unit and its row.
            furthest, reach = np.abs(moves).max(axis=1)[:, None], np.abs(given).max(axis=1)[:, None]
            furthest[furthest == 0], reach[reach == 0] = 1, 1  # of nothing that moves, any share is none
            furthest = furthest if moves.real.any() else 1j * furthest
            changes, is_bent = self._along(furthest * reach.T)
            coefficients = np.tensordot(POWERS, np.where(is_bent, 0, changes), axes=1)
            shares, rows = (moves / furthest).real, given / reach
            powers = np.ones_like(rows), np.ones_like(shares)
            for coefficient in coefficients.astype(sums.dtype, copy=False):
                powers = powers[0] * rows, powers[1] * shares
                sums += np.tile(coefficient @ powers[0], n_steps) * powers[1]
        if is_bent.any():
            self._add_bent(sums, moves, np.tile(given, n_steps), is_bent)
        losses: Array = self.sweep.mean + sums / len(given)
        return losses

    def _along(self, furthest: Array) -> tuple[Array, Array]:
        """Return by how much the loss of a row changes along each unit, at `SHARES` of its way, and where that is bent.

        Both are of shape (n_units, n_rows), the former behind an axis of shares.
        """
        is_bent = np.zeros(furthest.shape, bool)
        logits = np.empty(furthest.shape, np.result_type(furthest, self.at_rest))
        with np.errstate(over="ignore", invalid="ignore"):
            ends, are_kept = self._end(self.between, (self.outputs + furthest).T)
            for is_kept in are_kept:
                is_bent |= ~is_kept.T
            together = max(1, BLOCK // self.next_outputs.size)
            for first in range(0, len(furthest), together):
                units = slice(first, first + together)
                outputs = ends.T[units, :, None]
                if not self.is_last:
                    outputs = self._next((ends.T[units] - self.hidden[units])[None], units, slice(None))[0]
                    outputs, are_kept = self._end(self.tail, outputs)
                    for is_kept in are_kept:
                        is_bent[units] |= ~is_kept.all(axis=-1)
                logits[units] = outputs[..., 0]
            logits -= self.at_rest
            is_bent |= ~(np.abs(logits) <= NEAR)  # NaN is not
            moved = self.at_rest + np.where(is_bent, 0, logits) * SHARES[:, None, None].astype(logits.real.dtype)
        return self._changes(moved, slice(None)), is_bent

    def _end(self, places: range, outputs: Array) -> tuple[Array, list[Array]]:
        """Go on through layers from the end of a line; also say where neither that nor the other end passes a kink."""
        are_kept, draws = [], copy.deepcopy(self.sweep.draws[places.start])
        for place in places:
            layer, at_rest = self.sweep.layers[place], self.sweep.given[place].real
            if _own(layer, "forward") is ReLU.forward:
                are_kept.append(np.abs(outputs.real - at_rest) <= np.abs(at_rest))
            outputs, _ = layer.forward(self.sweep.parameters, outputs, draws)
        return outputs, are_kept

    def _next(self, changes: Array, units: Any, rows: Any) -> Array:
        """Return the next outputs, (..., n_units, n_rows, n_next), for changes of each unit alone on each row.

        In memory rows come last, since numpy is fast where the innermost loop is long.
        """
        outputs: Array = self.next_weight[:, None, units, None] * changes
        outputs += self.next_outputs[rows].T[:, None, None]
        return np.moveaxis(outputs, 0, -1)

    def _add_bent(self, sums: Array, moves: Array, given: Array, is_bent: Array) -> None:
        """Add what happens to the loss of a row where a line is none, (n_units, n_rows), entry by entry."""
        units, rows = np.flatnonzero(is_bent.any(axis=1)), np.flatnonzero(is_bent.any(axis=0))
        own: Any = units
        if not self.may_be_smooth or self.sweep.rng is not None:  # masks, or layers, that are for all of them
            own, rows = slice(None), np.arange(len(given))
        outputs, hidden = self.outputs[own][:, rows], self.hidden[own][:, rows]
        block = max(1, COLUMNS // outputs.size)
        for start in range(0, moves.shape[1], block):
            chosen = slice(start, start + block)
            columns = moves.T[chosen, own, None] * given.T[chosen, None, rows]
            columns = columns.astype(sums.dtype, copy=False)
            columns += outputs
            logits = self._forward(self.between, columns.swapaxes(1, 2)).swapaxes(1, 2)
            if not self.is_last:
                changes = logits - hidden
                logits = self._logits(changes if own is units else changes[:, units], units, rows)
            changes = np.where(is_bent[units][:, rows], self._changes(logits, rows), 0)
            sums[units, chosen] += changes.sum(axis=-1).T

    def _logits(self, changes: Array, units: Array, rows: Array) -> Array:
        logits = np.empty_like(changes)
        size = self.next_outputs[rows].size
        together = min(len(units), max(1, BLOCK // size))
        block = max(1, BLOCK // (size * together))
        for first in range(0, len(units), together):
            these = slice(first, first + together)
            for start in range(0, len(changes), block):
                chosen = slice(start, start + block)
                outputs = self._next(changes[chosen, these], units[these], rows)
                logits[chosen, these] = self._forward(self.tail, outputs)[..., 0]
        return logits

    def _forward(self, places: range, outputs: Array) -> Array:
        draws = copy.deepcopy(self.sweep.draws[places.start])
        for place in places:
            outputs, _ = self.sweep.layers[place].forward(self.sweep.parameters, outputs, draws)
        return outputs

    def _changes(self, logits: Array, rows: Array | slice) -> Array:
        """Return by how much the loss of each row changes, for logits of shape (..., n_rows)."""
        moved = self.sweep.network.criterion.per_row(logits, self.sweep.criterion_targets[rows])
        changes: Array = moved - self.sweep.losses[rows]
        return changes
