"""Sweep kernels: the sweep of `trainer.network.sweep` over one tensor, compiled; without dropout, and in float64."""

import numpy as np

from trainer.compiled.kernels import compiled
from trainer.network.parameters import Array


@compiled
def _unmoved(vector: Array, sizes: Array, inputs: Array, layer: int) -> tuple[Array, Array, Array, Array, Array, Array]:
    """Go forward with nothing moved, rows last, since the loops over them are to be the inner ones.

    Returns what the layer takes and gives before its activation, weights and outputs of the one behind it, the
    weights of the one behind that (as far as there are such layers), and the logits.
    """
    below = sums = given = own_sums = next_sums = np.ascontiguousarray(inputs.T)
    W_next = W_last = vector[:1].reshape(1, 1)
    start = 0
    for number in range(len(sizes) - 1):
        n_inputs, n_units = sizes[number], sizes[number + 1]
        middle = start + n_units * n_inputs
        W, b = vector[start:middle].reshape(n_units, n_inputs), vector[middle : middle + n_units]
        start = middle + n_units
        sums = np.dot(W, below)
        sums += b.reshape(n_units, 1)
        if number == layer:
            given, own_sums = below, sums
        elif number == layer + 1:
            W_next, next_sums = W, sums
        elif number == layer + 2:
            W_last = W
        below = np.maximum(sums, 0.0)
    return given, own_sums, W_next, next_sums, W_last, sums[0]


@compiled
def moved_margins(
    vector: Array,
    sizes: Array,
    inputs: Array,
    targets: Array,
    layer: int,
    is_bias: bool,
    steps: Array,
    units: tuple[int, int],
) -> tuple[Array, Array, Array, Array]:
    """Return ``±z`` for every row that sees an entry of one tensor moved; `trainer.network.sweep` tells how.

    The tensor is of `layer`, from 0, of which at most two may come after it; `steps`, of shape (n_units, n_inputs) or
    (n_units, 1) of a bias, say how far each entry moves, and only the units from the first to before the second of
    `units` are moved. Four arrays come back: the margins, unit by unit, entry by entry, row by row; at the beginning
    of each line of (n_units, n_rows) the rows on which the unit is on, or might be turned on; how many those are; and
    the unmoved ``±z``.
    """
    n_rows, after = len(inputs), len(sizes) - 2 - layer  # layers behind the one of the tensor
    given, own_sums, W_next, next_sums, W_last, unmoved = _unmoved(vector, sizes, inputs, layer)
    signs = 1.0 - 2.0 * targets
    if is_bias:
        given = np.ones((1, n_rows))
    reach = np.zeros(n_rows)
    for row in range(n_rows):
        for entry in range(len(given)):
            reach[row] = max(reach[row], abs(given[entry, row]))
    first, stop = units
    n_entries, n_near = steps.shape[1], len(W_next)
    margins = np.empty((stop - first) * n_entries * n_rows)
    rows, counts = np.empty((stop - first, n_rows), np.int64), np.zeros(stop - first, np.int64)
    own, near, change, logits = np.empty(n_rows), np.empty((n_near, n_rows)), np.empty(n_rows), np.empty(n_rows)
    inputs_here = np.empty((len(given), n_rows))
    end = 0
    for unit in range(first, stop):
        chosen, furthest, count = rows[unit - first], np.abs(steps[unit]).max(), 0
        for row in range(n_rows):
            if after == 0 or own_sums[unit, row] + furthest * reach[row] > 0.0:
                chosen[count] = row
                count += 1
        counts[unit - first] = count
        for c in range(count):
            own[c] = own_sums[unit, chosen[c]]
            for entry in range(len(given)):
                inputs_here[entry, c] = given[entry, chosen[c]]
            if after == 2:
                for k in range(n_near):
                    near[k, c] = next_sums[k, chosen[c]]
        for entry in range(n_entries):
            step, values = steps[unit, entry], inputs_here[entry]
            if after == 0:
                for c in range(count):
                    logits[c] = own[c] + step * values[c]
            else:
                for c in range(count):
                    change[c] = max(own[c] + step * values[c], 0.0) - max(own[c], 0.0)
            if after == 1:
                for c in range(count):
                    logits[c] = next_sums[0, chosen[c]] + W_next[0, unit] * change[c]
            if after == 2:
                logits[:count] = vector[-1]
                for k in range(n_near):
                    weight, weight_last = W_next[k, unit], W_last[0, k]
                    for c in range(count):
                        logits[c] += max(near[k, c] + weight * change[c], 0.0) * weight_last
            for c in range(count):
                margins[end + c] = signs[chosen[c]] * logits[c]
            end += count
    return margins[:end], rows, counts, signs * unmoved


@compiled
def mean_losses(
    losses: Array, margins: Array, softplus: Array, rows: Array, counts: Array, unmoved: Array, weights: Array
) -> None:
    """Write the mean loss for each entry moved, from ``log1p(exp(-|u|))`` of its margins u."""
    n_rows, end = len(unmoved), 0
    mean = (weights * unmoved).sum() / n_rows
    for unit in range(len(losses)):
        for entry in range(losses.shape[1]):
            total = 0.0
            for c in range(counts[unit]):
                row = rows[unit, c]
                total += weights[row] * (max(margins[end + c], 0.0) + softplus[end + c] - unmoved[row])
            losses[unit, entry] = mean + total / n_rows
            end += counts[unit]
