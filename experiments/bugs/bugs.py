"""Bugs: named mistakes to plant in a backward pass, what people get wrong when they write one by hand."""

import copy
from typing import Any

import numpy as np

from checks.explain.mistake import Kind
from experiments.bugs.planting import Bug, data_line, flow, line, loss
from experiments.bugs.wrong_parts import BugSwitch, Pass
from trainer import Dropout, Network, ReLU, Tanh
from trainer.network.losses import sigmoid
from trainer.network.parameters import Array

ENTRY = (0.37, 0.61)  # where the one wrong entry stands, as shares of the tensor's sides: away from every corner


def plant(network: Network, name: str, *, layer: int | None = None, after: int = 0) -> tuple[Network, BugSwitch]:
    """Plant one of `BUGS` or `EXERCISE` in a copy: by default at the middle one of the Linear layers where it can be."""
    switch = BugSwitch(after)
    mistaken = copy.copy(network)
    for part, own_layer in EXERCISE.get(name, ((name, layer),)):
        if part not in BUGS:
            known = ", ".join((*EXERCISE, *BUGS))
            raise ValueError(f"there is no such bug. Expected one of {known}. Received {name!r}.")
        bug = BUGS[part]
        possible = bug.layers(network)
        if not possible:
            raise ValueError(f"bug {name!r} is no mistake in this network. Expected {bug.needs}. Received {network!r}.")
        chosen = possible[len(possible) // 2] if own_layer is None else own_layer
        if chosen not in possible:
            raise ValueError(f"bug {name!r} cannot stand at that layer. Expected one of {possible}. Received {chosen}.")
        bug.apply(mistaken, chosen, switch)
    return mistaken, switch


def entry(array: Array) -> tuple[int, ...]:
    """Give the index of the one entry that single-entry mistakes spoil."""
    return tuple(int(share * size) for share, size in zip(ENTRY, array.shape, strict=False))


def _at(array: Array, index: Any, value: Any) -> Array:
    array[index] = value
    return array


def _wide(network: Network, layer: int) -> bool:
    return min(network.layer_sizes[layer - 1 : layer + 1]) > 1


def _many(network: Network, layer: int) -> bool:
    return network.layer_sizes[layer] > 1


def _square(network: Network, layer: int) -> bool:
    return layer > 1 and network.layer_sizes[layer - 1] == network.layer_sizes[layer] > 1


def _has_l2(network: Network, layer: int) -> bool:
    return network.l2 > 0


def _weighs(network: Network) -> bool:
    return network.positive_weight != 1


def _spoil_dW(passed: Pass, dW: Array) -> None:
    passed.dW[...] = dW


def _spoil_db(passed: Pass, db: Array) -> None:
    passed.db[...] = db


def _without_last(array: Array) -> Array:
    return _at(array.copy(), -1, 0.0)


def _clipped(array: Array, low: float, high: float) -> Array:
    return np.asarray(np.clip(array, low, high))


_L2 = "l2 > 0"
_RELU = "ReLU"
_TANH = "tanh"

_LINES = (
    line("weight-doubled", "dW is doubled", lambda g, w, l2: 2.0 * g, Kind.SCALED),
    line("weight-halved", "dW is halved", lambda g, w, l2: 0.5 * g, Kind.SCALED),
    line("sign", "dW has the wrong sign", lambda g, w, l2: -g, Kind.SIGN),
    line("weight-1-percent", "dW is 1 % too large", lambda g, w, l2: 1.01 * g, Kind.SCALED),
    line("weight-1e-5", "dW is 0.001 % too large", lambda g, w, l2: (1.0 + 1e-5) * g, Kind.SCALED),
    line("weight-never-computed", "dW stays zero", lambda g, w, l2: 0.0 * g, Kind.NEVER_COMPUTED),
    line("bias-quadrupled", "db is quadrupled", lambda g, w, l2: 4.0 * g, Kind.SCALED, tensor="b"),
    line("bias-sign", "db has the wrong sign", lambda g, w, l2: -g, Kind.SIGN, tensor="b"),
    line("bias-halved", "db is halved", lambda g, w, l2: 0.5 * g, Kind.SCALED, tensor="b"),
    line("bias-never-computed", "db stays zero", lambda g, w, l2: 0.0 * g, Kind.NEVER_COMPUTED, tensor="b"),
    line("transposed", "dW is laid out as its transpose", lambda g, w, l2: g.T.reshape(g.shape), Kind.TRANSPOSED, where=_wide),
    line("rolled", "dW is shifted by one input", lambda g, w, l2: np.roll(g, 1, axis=1), Kind.MISPLACED, where=_wide),
    line("units-swapped", "dW is in reverse order of units", lambda g, w, l2: g[::-1], Kind.MISPLACED, where=_wide),
    line("one-entry", "one entry of dW is off by 1 %", lambda g, w, l2: _at(g, entry(g), 1.01 * g[entry(g)]), Kind.ONE_ENTRY, where=_wide),
    line("one-entry-sign", "one entry of dW has the wrong sign", lambda g, w, l2: _at(g, entry(g), -g[entry(g)]), Kind.ONE_ENTRY, where=_wide),
    line("one-entry-zero", "one entry of dW is zero", lambda g, w, l2: _at(g, entry(g), 0.0), Kind.ONE_ENTRY, where=_wide),
    line("one-entry-shifted", "one entry of dW is 0.001 too large", lambda g, w, l2: _at(g, entry(g), g[entry(g)] + 1e-3), Kind.ONE_ENTRY, where=_wide),
    line("one-bias-entry", "one entry of db is off by 1 %", lambda g, w, l2: _at(g, entry(g), 1.01 * g[entry(g)]), Kind.ONE_ENTRY, tensor="b", where=_many),
    line("one-unit", "one row of dW is zero", lambda g, w, l2: _at(g, entry(g)[0], 0.0), Kind.ONE_UNIT, where=_wide),
    line("one-input", "one column of dW is zero", lambda g, w, l2: _at(g, (slice(None), entry(g)[1]), 0.0), Kind.ONE_UNIT, where=_wide),
    line("clipped", "dW is clipped at half its largest entry", lambda g, w, l2: _clipped(g, -0.5 * abs(g).max(), 0.5 * abs(g).max()), Kind.SOME_ENTRIES, Kind.LINE, Kind.ONE_ENTRY, Kind.ONE_UNIT, where=_wide),
    line("absolute", "dW has lost its signs", lambda g, w, l2: abs(g), Kind.SOME_ENTRIES, Kind.LINE, Kind.SIGN, Kind.ONE_ENTRY, Kind.ONE_UNIT),
    line("float16", "dW went through half precision", lambda g, w, l2: g.astype(np.float16).astype(g.dtype), Kind.LINE, where=_wide),
    line("constant", "every entry of dW is 0.001 too large", lambda g, w, l2: g + 1e-3, Kind.LINE, where=_wide),
    line("bias-constant", "every entry of db is 0.001 too large", lambda g, w, l2: g + 1e-3, Kind.LINE, tensor="b", where=_many),
    line("l2-forgotten", "dW lacks the regulariser", lambda g, w, l2: g - l2 * w, Kind.REGULARISER, needs=_L2, where=_has_l2),
    line("l2-doubled", "dW has the regulariser twice", lambda g, w, l2: g + l2 * w, Kind.REGULARISER, needs=_L2, where=_has_l2),
    line("l2-sign", "the regulariser's sign is wrong", lambda g, w, l2: g - 2.0 * l2 * w, Kind.REGULARISER, needs=_L2, where=_has_l2),
    line("l2-halved", "the regulariser is halved", lambda g, w, l2: g - 0.5 * l2 * w, Kind.REGULARISER, needs=_L2, where=_has_l2),
    line("l2-on-bias", "the bias is regularised, though the loss does not say so", lambda g, w, l2: g + l2 * w, Kind.REGULARISER, tensor="b", needs=_L2, where=lambda network, layer: network.l2 > 0 and _many(network, layer)),
)  # fmt: skip

_DATA = (
    data_line("missing-mean", "dW is summed over the rows twice: times n_rows", lambda p: _spoil_dW(p, p.dW * len(p.given)), Kind.SCALED),
    data_line("bias-mean", "db is averaged over the rows once too often", lambda p: _spoil_db(p, p.db / len(p.given)), Kind.SCALED, tensor="b"),
    data_line("data-sign", "dW has the wrong sign in front of the data term", lambda p: _spoil_dW(p, -p.dW), Kind.SIGN),
    data_line("stale-inputs", "dW uses the inputs of the row before", lambda p: _spoil_dW(p, p.given.T @ np.roll(p.inputs, 1, axis=0)), Kind.LINE),
    data_line("last-row", "dW leaves out the last row", lambda p: _spoil_dW(p, _without_last(p.given).T @ p.inputs), Kind.LINE, Kind.ONE_UNIT, Kind.SOME_ENTRIES, Kind.ONE_ENTRY),
    data_line("bias-last-row", "db leaves out the last row", lambda p: _spoil_db(p, _without_last(p.given).sum(axis=0)), Kind.LINE, Kind.SOME_ENTRIES, Kind.ONE_ENTRY, tensor="b"),
)  # fmt: skip


def _product(passed: Pass) -> Array:
    return passed.parameters[next(iter(passed.layer.shapes))]


def _no_right(passed: Pass) -> Array:
    return np.zeros_like(passed.inputs) if passed.right is None else passed.right


_MASK = (Kind.ACTIVATION, Kind.FLOW, Kind.ONE_ENTRY, Kind.SOME_ENTRIES)
_FLOWS = (
    flow("product-transposed", "dA is dZ @ W.T where dZ @ W was meant", lambda p: p.given @ _product(p).T, Kind.FLOW, needs="two neighbouring layers of the same width", where=_square),
    flow("product-doubled", "dA is doubled", lambda p: 2.0 * _no_right(p), Kind.SCALED),
    flow("product-sign", "dA has the wrong sign", lambda p: -_no_right(p), Kind.SIGN),
    flow("product-last-row", "dA leaves out the last row", lambda p: _without_last(_no_right(p)), Kind.FLOW, Kind.SOME_ENTRIES, Kind.ONE_ENTRY),
    flow("product-first-unit", "dA misses its first unit", lambda p: _at(_no_right(p).copy(), (slice(None), 0), 0.0), Kind.ONE_ENTRY, Kind.ONE_UNIT),
    flow("missing-mask", "the derivative of ReLU is left out", lambda p: p.given, *_MASK, part=ReLU, needs=_RELU),
    flow("mask-inverted", "the ReLU mask is the wrong way round", lambda p: p.given * (p.outputs <= 0), *_MASK, part=ReLU, needs=_RELU),
    flow("leak", "inactive units pass 1 % of the gradient", lambda p: np.where(p.outputs > 0, p.given, 0.01 * p.given), *_MASK, part=ReLU, needs=_RELU),
    flow("stale-mask", "the ReLU mask is that of the row before", lambda p: p.given * np.roll(p.outputs > 0, 1, axis=0), *_MASK, part=ReLU, needs=_RELU),
    flow("tanh-identity", "the derivative of tanh is left out", lambda p: p.given, Kind.FLOW, part=Tanh, needs=_TANH),
    flow("tanh-not-squared", "the derivative of tanh is taken as 1 - a", lambda p: p.given * (1.0 - p.outputs), Kind.FLOW, part=Tanh, needs=_TANH),
    flow("activation-doubled", "the activation's derivative is doubled", lambda p: 2.0 * _no_right(p), Kind.SCALED, part=(ReLU, Tanh)),
    flow("dropout-unscaled", "dropout's backward forgets the factor 1 / (1 - rate)", lambda p: p.given * (p.outputs != 0), Kind.SCALED, part=Dropout, needs="dropout"),
    flow("dropout-unmasked", "dropout's backward forgets the mask", lambda p: p.given, Kind.FLOW, Kind.ONE_ENTRY, Kind.SOME_ENTRIES, part=Dropout, needs="dropout"),
)  # fmt: skip

_LOSSES = (
    loss("loss-missing-mean", "the loss's gradient is summed where the loss is a mean", lambda g, z, y, w: g * len(y), Kind.SCALED),
    loss("loss-sign", "the loss's gradient is y - p", lambda g, z, y, w: -g, Kind.SIGN),
    loss("loss-halved", "the loss's gradient is halved", lambda g, z, y, w: 0.5 * g, Kind.SCALED),
    loss("class-weight-forgotten", "the loss's gradient does not weigh fraud", lambda g, z, y, w: g / np.where(y == 1, w, 1.0), Kind.CLASS, needs="positive_weight other than 1", where=_weighs),
    loss("class-weight-twice", "the loss's gradient weighs fraud twice", lambda g, z, y, w: g * np.where(y == 1, w, 1.0), Kind.CLASS, needs="positive_weight other than 1", where=_weighs),
    loss("class-weight-swapped", "the loss's gradient weighs the wrong class", lambda g, z, y, w: g * np.where(y == 1, 1.0 / w, w), Kind.CLASS, needs="positive_weight other than 1", where=_weighs),
    loss("sigmoid-twice", "the loss's gradient has a factor p·(1 - p) too many", lambda g, z, y, w: g * sigmoid(z) * (1.0 - sigmoid(z)), Kind.FLOW),
    loss("loss-last-row", "the loss's gradient leaves out the last row", lambda g, z, y, w: _without_last(g), Kind.FLOW, Kind.CLASS),
    loss("targets-shifted", "the loss's gradient takes the target of the row before", lambda g, z, y, w: g + (y - np.roll(y, 1)) / len(y), Kind.FLOW),
)  # fmt: skip

#: Every mistake by its name.
BUGS: dict[str, Bug] = {bug.name: bug for bug in (*_LINES, *_DATA, *_FLOWS, *_LOSSES)}

#: The mistakes of the classic exercise: name and layer of each.
EXERCISE: dict[str, tuple[tuple[str, int | None], ...]] = {
    "dW2": (("weight-doubled", 2),),
    "db1": (("bias-quadrupled", 1),),
    "notebook": (("weight-doubled", 2), ("bias-quadrupled", 1)),
}
