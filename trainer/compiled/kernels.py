"""Kernels: a network's way forward and back, and an update of Adam, each compiled by numba to one function.

What the formulas are, and why, is told in `trainer.network` and `trainer.optimizers`. numba's
``fastmath`` stays off: it would fuse and reorder operations, and take NaN for a number.
"""

import math

import numba
import numpy as np
import scipy.linalg.cython_blas  # noqa: F401  np.dot is compiled to it; loaded now, a limit on its threads finds it

from trainer.network.layers import LANES, SMALL, random_word
from trainer.network.parameters import Array

# Kept on disk, so compiled once on a machine; other Python threads go on meanwhile.
compiled = numba.njit(cache=True, error_model="numpy", nogil=True)


_random_word = compiled(random_word)


@compiled
def _random_bits(seed: int, n_units: int) -> Array:
    """Return 16 random bits for each of so many units, those of `trainer.network.layers.Dropout`."""
    words = np.empty(-(-n_units // LANES), np.uint64)
    for number in range(words.size):
        words[number] = _random_word(seed, np.uint64(number + 1))
    return words.view(np.uint16)


@compiled
def _relu(sums: Array, b: Array) -> None:
    """Add the bias to every row, and keep what is positive."""
    zero = sums.dtype.type(0)
    for row in range(len(sums)):
        for unit in range(len(b)):
            value = sums[row, unit] + b[unit]
            sums[row, unit] = zero if value <= zero else value  # NaN stays NaN


@compiled
def _relu_and_dropout(sums: Array, b: Array, bits: Array, least: int, factor: float) -> None:
    """Do as `_relu`, and then multiply with the mask: `factor` where a unit's bits are at `least` that, or zero."""
    zero = sums.dtype.type(0)
    for row in range(len(sums)):
        drawn = bits[row * len(b) : (row + 1) * len(b)]
        for unit in range(len(b)):
            value = sums[row, unit] + b[unit]
            sums[row, unit] = (zero if value <= zero else value) * (factor if drawn[unit] >= least else zero)


@compiled
def _relu_backward(flow: Array, outputs: Array, factor: float, db: Array) -> None:
    """Propagate `flow` back through both, and write the bias's gradient; an output is zero where a unit is off."""
    zero = flow.dtype.type(0)
    for unit in range(len(db)):
        db[unit] = zero
    for row in range(len(flow)):
        for unit in range(len(db)):
            value = flow[row, unit] * (factor if outputs[row, unit] > zero else zero)
            flow[row, unit] = value
            db[unit] += value


@compiled
def loss_and_gradients(
    vector: Array,
    gradient: Array,
    sizes: Array,
    inputs: Array,
    targets: Array,
    seeds: Array,
    dropped: int,
    passed: float,
    positive_weight: float,
) -> float:
    """Return the mean loss of LINEAR → RELU (→ DROPOUT) → … → LINEAR → SIGMOID, and write its gradient.

    `vector` holds ``W1, b1, W2, …`` end to end, `gradient` gets their gradients; `sizes` are the width of the inputs,
    of each hidden layer, and 1. `seeds`, of uint64, are those of the mask of every hidden layer, none without dropout:
    a unit is kept where its bits are at least `dropped`, and multiplied with `passed`, which is 1 without dropout.
    """
    number = vector.dtype.type
    zero, one, two, factor = number(0), number(1), number(2), number(passed)
    more, least, n_rows = number(positive_weight - 1), np.uint16(dropped), len(inputs)
    n_layers = len(sizes) - 1
    activations = [inputs]
    start = 0
    for layer in range(n_layers):
        n_inputs, n_units = sizes[layer], sizes[layer + 1]
        middle = start + n_units * n_inputs
        W, b = vector[start:middle].reshape(n_units, n_inputs), vector[middle : middle + n_units]
        start = middle + n_units
        outputs = np.empty((n_rows, n_units), vector.dtype)
        if W.size <= SMALL:  # as in `trainer.network.layers.affine`
            np.dot(activations[layer], np.ascontiguousarray(W.T), outputs)
        else:
            np.dot(activations[layer], W.T, outputs)
        if layer == n_layers - 1:
            for row in range(n_rows):
                outputs[row, 0] += b[0]
        elif seeds.size:
            _relu_and_dropout(outputs, b, _random_bits(seeds[layer], outputs.size), least, factor)
        else:
            _relu(outputs, b)
        activations.append(outputs)

    total = 0.0
    flow, bias = np.empty((n_rows, 1), vector.dtype), zero
    for row in range(n_rows):
        sign, weight = one - two * targets[row], one + more * targets[row]
        margin = sign * activations[n_layers][row, 0]
        decay = math.exp(-abs(margin))
        total += (max(margin, zero) + math.log1p(decay)) * weight
        flow[row, 0] = (decay if margin < zero else one) / (one + decay) * sign * weight / number(n_rows)
        bias += flow[row, 0]

    gradient[-1] = bias
    for layer in range(n_layers - 1, -1, -1):
        n_inputs, n_units = sizes[layer], sizes[layer + 1]
        middle = start - n_units
        begin = middle - n_units * n_inputs
        np.dot(flow.T, activations[layer], gradient[begin:middle].reshape(n_units, n_inputs))
        if layer:
            below = np.empty((n_rows, n_inputs), vector.dtype)
            np.dot(flow, vector[begin:middle].reshape(n_units, n_inputs), below)
            _relu_backward(below, activations[layer], factor, gradient[begin - n_inputs : begin])
            flow = below
        start = begin
    return total / n_rows


@compiled
def adam(
    vector: Array,
    gradient: Array,
    first: Array,
    second: Array,
    beta_1: float,
    beta_2: float,
    epsilon: float,
    rate: float,
) -> None:
    """Apply `trainer.optimizers.Adam`'s formula to every entry, in its order of operations and so to its last bit."""
    number = vector.dtype.type
    decay_1, decay_2, small, scale = number(beta_1), number(beta_2), number(epsilon), number(rate)
    for k in range(vector.size):
        slope = gradient[k]
        first[k] = first[k] * decay_1 + slope
        second[k] = second[k] * decay_2 + slope * slope
        vector[k] -= first[k] / (math.sqrt(second[k]) + small) * scale
