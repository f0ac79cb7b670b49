"""Kernels: a network's way forward and back, and an update of Adam, each compiled by numba to one function.

What the formulas are, and why, is told in `trainer.network` and `trainer.optimizers`. numba's
``fastmath`` stays off: it would fuse and reorder operations, and take NaN for a number.
"""

import math

import numba
import numpy as np
import scipy.linalg.cython_blas  # noqa: F401  np.dot is compiled to it; loaded now, a limit on its threads finds it

from trainer.network.parameters import Array

compiled = numba.njit(cache=True, error_model="numpy")  # kept on disk: compiled once on a machine


@compiled
def loss_and_gradients(
    vector: Array,
    gradient: Array,
    sizes: Array,
    inputs: Array,
    targets: Array,
    draws: Array,
    rate: float,
    positive_weight: float,
) -> float:
    """Return the mean loss of LINEAR → RELU (→ DROPOUT) → … → LINEAR → SIGMOID, and write its gradient.

    `vector` holds ``W1, b1, W2, …`` end to end, `gradient` gets their gradients; `sizes` are the width of the inputs,
    of each hidden layer, and 1. `draws`, of float32, is what dropout draws for every hidden layer, end to end: below
    `rate` a unit is dropped. Without dropout it is empty, and `rate` 0.
    """
    number = vector.dtype.type
    zero, one, two, passed = number(0), number(1), number(2), number(1 / (1 - rate))
    more, dropped, n_rows = number(positive_weight - 1), np.float32(rate), len(inputs)
    n_layers = len(sizes) - 1
    activations = [inputs]
    start = drawn = 0
    for layer in range(n_layers):
        n_inputs, n_units = sizes[layer], sizes[layer + 1]
        middle = start + n_units * n_inputs
        W, b = vector[start:middle].reshape(n_units, n_inputs), vector[middle : middle + n_units]
        start = middle + n_units
        outputs = np.empty((n_rows, n_units), vector.dtype)
        np.dot(activations[layer], np.ascontiguousarray(W.T), outputs)
        if layer == n_layers - 1:
            outputs += b
        else:
            for row in range(n_rows):
                for unit in range(n_units):
                    value = outputs[row, unit] + b[unit]
                    outputs[row, unit] = zero if value <= zero else value  # NaN stays NaN
            if draws.size:
                for row in range(n_rows):
                    for unit in range(n_units):
                        outputs[row, unit] *= passed if draws[drawn] >= dropped else zero
                        drawn += 1
        activations.append(outputs)

    total = 0.0
    flow = np.empty((n_rows, 1), vector.dtype)
    for row in range(n_rows):
        sign, weight = one - two * targets[row], one + more * targets[row]
        margin = sign * activations[n_layers][row, 0]
        decay = math.exp(-abs(margin))
        total += (max(margin, zero) + math.log1p(decay)) * weight
        flow[row, 0] = (decay if margin < zero else one) / (one + decay) * sign * weight / number(n_rows)

    for layer in range(n_layers - 1, -1, -1):
        n_inputs, n_units = sizes[layer], sizes[layer + 1]
        middle = start - n_units
        begin = middle - n_units * n_inputs
        dW, db = gradient[begin:middle].reshape(n_units, n_inputs), gradient[middle:start]
        np.dot(flow.T, activations[layer], dW)
        db[:] = zero
        for row in range(n_rows):
            for unit in range(n_units):
                db[unit] += flow[row, unit]
        if layer:
            given, below = activations[layer], np.empty((n_rows, n_inputs), vector.dtype)
            np.dot(flow, vector[begin:middle].reshape(n_units, n_inputs), below)
            for row in range(n_rows):
                for unit in range(n_inputs):  # where a unit was off or dropped, its output is zero
                    below[row, unit] *= passed if given[row, unit] > zero else zero
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
