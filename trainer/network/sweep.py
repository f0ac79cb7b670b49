"""Coordinate losses: the loss with each entry of one tensor moved alone, without a forward pass an entry.

Moving ``W[i, j]`` by s adds ``s · a[:, j]`` to column i of ``z = a @ W.T + b`` and leaves the other
columns alone; through an elementwise activation it is still one column, and the next Linear turns a
changed column δ into a rank-1 change, ``δ · W_next[:, i]``. So the products before and at the tensor are
computed once, and the one after costs a multiplication and an addition. Where δ is zero, on the rows on
which a ReLU is off, the loss is the unmoved one: those rows are left out, half the work. `loss` one
entry at a time is the plain way; a property test holds the two equal to rounding.
"""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from trainer.network.layers import Layer, affine
from trainer.network.parameters import Array

if TYPE_CHECKING:
    from trainer.network.network import Network

Generator = np.random.Generator

COLUMNS = 524_288  # entries of a temporary of changed columns: four megabytes of float64
KEPT = 31 * 2**20  # bytes; glibc learns from freed blocks of up to 32 megabytes
BLOCK = 262_144  # entries of a temporary of the layers after: two megabytes


@dataclass(frozen=True)
class _Base:
    """The unmoved forward pass around one tensor, rows last, and what lies behind it."""

    inputs: Array  # of the Linear that owns the tensor, (n_inputs, n_rows)
    outputs: Array  # of that Linear, (n_units, n_rows)
    between: Sequence[Layer]  # the layers up to the next Linear
    hidden: Array  # what they make of `outputs`
    next_weight: Array | None  # of the next Linear, (n_next, n_units); None if there is none
    next_outputs: Array  # of that Linear, (n_next, n_rows)
    tail: Sequence[Layer]  # the layers after it
    losses: Array  # of the unmoved pass, (n_rows,)
    row_by_row: bool  # whether the layers after it treat every row for itself
    draws_between: Generator | None
    draws_tail: Generator | None


def coordinate_losses(
    network: "Network",
    parameters: Mapping[str, Array],
    inputs: Array,
    targets: Array,
    name: str,
    step: float | complex | Array,
    rng: Generator | None = None,
) -> Array:
    """Return ``loss(parameters with parameters[name][k] + step[k])`` for every index k.

    See `trainer.Network.coordinate_losses`. Where a replaced layer or an overridden `loss` makes the
    structured way differ from ``network.loss`` at the unmoved parameters, the plain way is taken.
    """
    if name not in network.shapes:
        raise ValueError(f"Unknown parameter. Expected one of {', '.join(network.shapes)}. Received {name!r}.")
    value = parameters[name]
    steps = np.broadcast_to(step, value.shape).astype(np.result_type(value, step))
    base = _base_pass(network, parameters, inputs, targets, name, rng)
    if base is None:
        return _plain(network, parameters, inputs, targets, name, steps, rng)
    # malloc hands large blocks back to the system, and every page of the next one costs a fault: a third of the time
    # here. From a freed block of this size glibc learns to keep them; it is never touched, so it costs microseconds.
    np.empty(KEPT, np.uint8)
    matrix = steps.reshape(len(steps), -1)  # a bias is the weight of a constant input
    losses = _structured(network, parameters, targets, matrix, base).reshape(steps.shape)
    losses += network.penalty.value(parameters, network.weights)
    if name in network.weights:
        losses += network.penalty.change(value, steps)
    return losses


def _plain(
    network: "Network",
    parameters: Mapping[str, Array],
    inputs: Array,
    targets: Array,
    name: str,
    steps: Array,
    rng: Generator | None,
) -> Array:
    moved = parameters[name].astype(steps.dtype)
    losses = np.empty_like(steps)
    for index in np.ndindex(moved.shape):
        unmoved = moved[index]
        moved[index] = unmoved + steps[index]
        losses[index] = network.loss({**parameters, name: moved}, inputs, targets, copy.deepcopy(rng))
        moved[index] = unmoved
    return losses


def _base_pass(
    network: "Network",
    parameters: Mapping[str, Array],
    inputs: Array,
    targets: Array,
    name: str,
    rng: Generator | None,
) -> _Base | None:
    """Return the unmoved pass, or None if the structure assumed here is not that of ``network.loss``."""
    layers = network.layers
    owner = next((index for index, layer in enumerate(layers) if name in layer.shapes), len(layers))
    following = next((index for index in range(owner + 1, len(layers)) if layers[index].shapes), len(layers))
    between = layers[owner + 1 : following]
    if owner == len(layers) or not all(layer.elementwise for layer in between):
        return None
    draws = copy.deepcopy(rng)
    a = _forward(layers[:owner], parameters, inputs, draws)
    z = _forward(layers[owner : owner + 1], parameters, a, draws)
    draws_between = copy.deepcopy(draws)
    h = _forward(between, parameters, z, draws)
    next_outputs = outputs = _forward(layers[following : following + 1], parameters, h, draws)
    draws_tail = copy.deepcopy(draws)
    row_by_row = rng is None
    for layer in layers[following + 1 :]:
        given, outputs = outputs, _forward([layer], parameters, outputs, draws)
        row_by_row = row_by_row and (layer.elementwise or _is_affine(layer, parameters, given, outputs))
    losses = network.criterion.per_row(outputs[..., 0], targets)
    loss = losses.mean().item() + network.penalty.value(parameters, network.weights)

    next_weight = None
    as_assumed = _is_affine(layers[owner], parameters, a, z)
    if following < len(layers):
        as_assumed = as_assumed and _is_affine(layers[following], parameters, h, next_outputs)
        next_weight = parameters[next(iter(layers[following].shapes))]
    if not as_assumed or loss != network.loss(parameters, inputs, targets, copy.deepcopy(rng)):
        return None
    if len(layers[owner].shapes[name]) == 1:
        a = np.ones((len(z), 1), z.dtype)
    a, z, h, next_outputs = (np.ascontiguousarray(array.T) for array in (a, z, h, next_outputs))
    tail = layers[following + 1 :]
    return _Base(a, z, between, h, next_weight, next_outputs, tail, losses, row_by_row, draws_between, draws_tail)


def _structured(
    network: "Network", parameters: Mapping[str, Array], targets: Array, steps: Array, base: _Base
) -> Array:
    """Return the data losses in the shape of `steps`, (n_units, n_inputs)."""
    n_units, n_inputs = steps.shape
    losses = np.empty((n_units, n_inputs), np.result_type(steps, base.next_outputs))
    block = max(1, COLUMNS // base.outputs.size)
    for start in range(0, n_inputs, block):
        chosen = slice(start, start + block)
        # variants[j, :, i] is column i of the outputs with W[i, j] moved; in memory rows come last, since numpy
        # is fast where the innermost loop is long
        columns = (steps[:, chosen, None] * base.inputs[chosen]).astype(losses.dtype, copy=False)
        columns += base.outputs[:, None]
        variants = columns.transpose(1, 2, 0)
        variants = _forward(base.between, parameters, variants, copy.deepcopy(base.draws_between))
        if base.next_weight is None:  # these are the logits
            losses[:, chosen] = network.criterion.per_row(variants[..., 0], targets).mean(axis=-1)
            continue
        changes = np.subtract(variants.transpose(2, 0, 1), base.hidden[:, None], out=columns)
        if n_inputs == 1:  # a bias: one variant a unit, and all units at once
            losses[:, 0] = _rank_one_losses(
                network, parameters, targets, changes[:, 0], base.next_weight, base, slice(None)
            )
            continue
        touched = (changes != 0).any(axis=1)
        for unit, change in enumerate(changes):
            rows = np.flatnonzero(touched[unit]) if base.row_by_row else slice(None)
            weight = base.next_weight[:, unit, None]
            losses[unit, chosen] = _rank_one_losses(network, parameters, targets, change, weight, base, rows)
    return losses


def _rank_one_losses(
    network: "Network",
    parameters: Mapping[str, Array],
    targets: Array,
    changes: Array,
    weight: Array,
    base: _Base,
    rows: Array | slice,
) -> Array:
    """Return a loss for each column that changes, of shape (n_variants, n_rows).

    `weight` is what each of them is multiplied with in the next Linear: (n_next, n_variants), or
    (n_next, 1) if it is the same column everywhere. Outside of `rows` nothing changes.
    """
    changes, next_outputs = (np.ascontiguousarray(array[:, rows]) for array in (changes, base.next_outputs))
    block = max(1, BLOCK // max(1, next_outputs.size))
    dtype = np.result_type(changes, next_outputs)
    storage = np.empty((len(weight), min(block, len(changes)), changes.shape[1]), dtype)
    logits = np.empty(changes.shape, dtype)
    for start in range(0, len(changes), block):
        chosen = slice(start, start + block)
        outputs = storage[:, : len(changes) - start]
        np.multiply(weight[:, chosen if weight.shape[1] > 1 else slice(None), None], changes[chosen], out=outputs)
        outputs += next_outputs[:, None]
        moved = _forward(base.tail, parameters, outputs.transpose(1, 2, 0), copy.deepcopy(base.draws_tail))
        logits[chosen] = moved[..., 0]
    moved = network.criterion.per_row(logits, targets[rows])
    moved -= base.losses[rows]
    losses: Array = base.losses.mean() + moved.sum(axis=1) / len(targets)
    return losses


def _forward(layers: Sequence[Layer], parameters: Mapping[str, Array], outputs: Array, rng: Generator | None) -> Array:
    for layer in layers:
        outputs, _ = layer.forward(parameters, outputs, rng)
    return outputs


def _is_affine(layer: Layer, parameters: Mapping[str, Array], inputs: Array, outputs: Array) -> bool:
    """Whether the layer did what `Linear` does, bit for bit; a replaced one may not."""
    if [len(shape) for shape in layer.shapes.values()] != [2, 1]:
        return False
    weight, bias = (parameters[name] for name in layer.shapes)
    return np.array_equal(affine(inputs, weight, bias), outputs)
