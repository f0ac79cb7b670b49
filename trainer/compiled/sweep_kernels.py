"""Sweep kernels: the sweep of `trainer.network.sweep`, compiled; without dropout, and in float64.

Loops stand where a slice, a maximum or a sum of an array would do: of each of these numba compiles a function, the text
of its errors with it, and whoever starts for the first time waits for that.
"""

import math

import numpy as np

from trainer.compiled.kernels import compiled
from trainer.network.parameters import Array

NEAR = 1e-3  # of what moves a logit by less, series of five terms leave out less than a last place


@compiled
def moved_losses(
    vector: Array, sizes: Array, inputs: Array, targets: Array, weights: Array, steps: Array, layers: Array
) -> Array:
    """Return the mean loss with each parameter of some layers moved alone by each of its steps.

    `vector`, `sizes` and `inputs` are as in `kernels.loss_and_gradients`; `weights` are those of the rows, and `steps`
    of shape (n_steps, n_parameters), as are the losses. At most two layers may come after one of `layers`. A unit
    that no entry can switch on passes nothing on, and one that none can switch off the whole change.
    """
    n_rows, n_layers, n_steps = len(inputs), len(sizes) - 1, len(steps)
    activations, sums, starts = [inputs], [inputs], [0]
    for number in range(n_layers):
        n_inputs, n_units = sizes[number], sizes[number + 1]
        middle = starts[number] + n_units * n_inputs
        outputs = np.dot(activations[number], np.ascontiguousarray(_weight(vector, sizes, starts[number], number).T))
        passed_on = np.empty(outputs.shape)
        for row in range(n_rows):
            for unit in range(n_units):
                outputs[row, unit] += vector[middle + unit]
                passed_on[row, unit] = max(outputs[row, unit], 0.0)
        sums.append(outputs)
        activations.append(passed_on)
        starts.append(middle + n_units)
    signs, margins, at_rest, risks = np.empty(n_rows), np.empty(n_rows), np.empty(n_rows), np.empty(n_rows)
    mean, losses = 0.0, np.empty(steps.shape)
    for row in range(n_rows):
        signs[row] = 1.0 - 2.0 * targets[row]
        margins[row] = signs[row] * sums[n_layers][row, 0]
        at_rest[row] = _softplus(margins[row])
        risks[row] = 1.0 / (1.0 + math.exp(-margins[row]))
        mean += weights[row] * at_rest[row]
    mean /= n_rows
    for layer in layers:
        start, after, n_inputs, n_units = starts[layer], n_layers - 1 - layer, sizes[layer], sizes[layer + 1]
        width = n_inputs + 1  # a bias is the weight of a constant input
        given, moves = np.ones((n_rows, n_steps * width)), np.empty((n_units, n_steps * width))
        for number in range(n_steps):
            first, last = number * width, number * width + n_inputs
            for k in range(n_inputs):
                for row in range(n_rows):
                    given[row, first + k] = activations[layer][row, k]
                for unit in range(n_units):
                    moves[unit, first + k] = steps[number, start + unit * n_inputs + k]
            for unit in range(n_units):
                moves[unit, last] = steps[number, start + n_units * n_inputs + unit]
        # Of the unit: what it does to every unit of the next layer, and at most to the logit.
        W_next = W_last = np.ones((1, n_units))
        if after > 0:
            W_next = _weight(vector, sizes, starts[layer + 1], layer + 1)
        if after == 2:
            W_last = _weight(vector, sizes, starts[layer + 2], layer + 2)
        totals = np.zeros(moves.shape)
        change, bent = np.empty(n_steps * width), np.empty(n_steps * width)
        reach = np.empty(n_rows)
        for row in range(n_rows):
            reach[row] = _furthest(given[row])
        for unit in range(n_units):
            furthest, most = _furthest(moves[unit]), 0.0
            for k in range(len(W_next)):
                most += abs(W_next[k, unit] * (W_last[0, k] if after == 2 else 1.0))
            total = totals[unit]
            for row in range(n_rows):
                own, far = sums[layer + 1][row, unit], furthest * reach[row]
                if after > 0 and not own + far > 0.0:
                    continue
                for e in range(len(change)):
                    change[e] = moves[unit, e] * given[row, e]
                if after > 0 and not own - far > 0.0:
                    for e in range(len(change)):
                        change[e] = max(own + change[e], 0.0) - max(own, 0.0)
                slope = signs[row] * W_next[0, unit]
                for e in range(len(change)):
                    bent[e] = 0.0
                if after == 2:
                    slope = 0.0
                    for k in range(len(W_next)):
                        weight, near = W_next[k, unit], sums[layer + 2][row, k]
                        passed, wide = signs[row] * W_last[0, k], abs(weight) * far
                        if near - wide > 0.0:
                            slope += passed * weight
                        elif near + wide > 0.0:
                            for e in range(len(change)):
                                bent[e] += passed * (max(near + weight * change[e], 0.0) - max(near, 0.0))
                for e in range(len(change)):
                    change[e] = slope * change[e] + bent[e]
                if far * most <= NEAR:  # log1p(p expm1(d)), each by its series
                    for e in range(len(change)):
                        d = change[e]
                        d = d * (1.0 + d * (1 / 2 + d * (1 / 6 + d * (1 / 24 + d * (1 / 120)))))
                        d *= risks[row]
                        d = d * (1.0 - d * (1 / 2 - d * (1 / 3 - d * (1 / 4 - d * (1 / 5)))))
                        total[e] += weights[row] * d
                else:
                    for e in range(len(change)):
                        total[e] += weights[row] * (_softplus(margins[row] + change[e]) - at_rest[row])
        for number in range(n_steps):
            first, middle = number * width, start + n_units * n_inputs
            for unit in range(n_units):
                begin = start + unit * n_inputs
                for k in range(n_inputs):
                    losses[number, begin + k] = mean + totals[unit, first + k] / n_rows
                losses[number, middle + unit] = mean + totals[unit, first + n_inputs] / n_rows
    return losses


@compiled
def _weight(vector: Array, sizes: Array, start: int, layer: int) -> Array:
    n_inputs, n_units = sizes[layer], sizes[layer + 1]
    return vector[start : start + n_units * n_inputs].reshape(n_units, n_inputs)


@compiled
def _softplus(margin: float) -> float:
    return max(margin, 0.0) + math.log1p(math.exp(-abs(margin)))


@compiled
def _furthest(entries: Array) -> float:
    furthest = 0.0
    for entry in entries:
        furthest = max(furthest, abs(entry))
    return furthest
